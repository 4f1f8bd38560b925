//! The serial console against our own simulator, which loses, nacks and refuses on demand, and against OpenIPMI's,
//! which knows nothing of us and has a real stream of bytes behind it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{
    Bmcs, Console, ConsoleEnd, Fault, Heard, Kind, Mark, PowerAction, PowerSet, Protocol, Quirk, Secret, Settings,
    Target, Trust,
};
use muster_tests::ipmi_peers::{OpenIpmi, ipmitool, needs};
use muster_tests::ipmi_sim::{IpmiSim, Mishap, Traits};
use muster_tests::redfish_sim::RedfishSim;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

fn brisk() -> Settings {
    let (answer, console_look) = (Duration::from_millis(150), Duration::from_millis(300));
    Settings { answer, console_look, rest_after: 100, ..Settings::default() }
}

fn target(address: impl ToString) -> Target {
    Target::new(Protocol::Ipmi, address.to_string(), "admin", Secret::new("secret"))
}

async fn sim() -> (IpmiSim, Bmcs, Target) {
    let sim = IpmiSim::start(Traits::default()).await;
    let target = target(sim.address);
    (sim, Bmcs::new(brisk()), target)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that is said until the text has this length.
async fn text(console: &mut Console, length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < length {
        match tokio::time::timeout(PATIENCE, console.heard()).await {
            Ok(Heard::Text(more)) => text.extend(more),
            Ok(Heard::Mark(_)) => {}
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    text
}

async fn end(console: &mut Console) -> ConsoleEnd {
    loop {
        match tokio::time::timeout(PATIENCE, console.heard()).await.unwrap() {
            Heard::Ended(end) => return end,
            Heard::Text(_) | Heard::Mark(_) => {}
        }
    }
}

fn fault(opened: Result<Console, muster_bmc::Error>) -> (Kind, String) {
    match opened {
        Ok(_) => panic!("it opened"),
        Err(error) => (error.kind(), error.fault().to_string()),
    }
}

#[tokio::test]
async fn text_goes_both_ways_and_power_is_switched_beside_an_open_console() {
    let (sim, bmcs, target) = sim().await;
    let mut console = bmcs.console(&target, false).await.unwrap();
    sim.state().sol.say(b"login: ");
    assert_eq!(text(&mut console, 7).await, b"login: ");
    sim.state().sol.echoes = true;
    let typed = b"a line that is longer than one packet of this BMC takes\r";
    assert!(console.keys().write(typed));
    assert_eq!(text(&mut console, typed.len()).await, typed);
    assert!(console.keys().send_break());
    until("the break", || sim.state().sol.breaks == 1).await;
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert_eq!(sim.state().open_sessions(), 2, "a session of its own");
    console.close().await;
    bmcs.close(&target).await;
    assert_eq!(sim.state().open_sessions(), 0);
    assert_eq!(sim.state().sol.active, None);
    assert_eq!(sim.state().carried_out(0x06, 0x49), 1, "the console is given back before the session");
}

#[tokio::test]
async fn whatever_is_lost_on_the_way_both_sides_hear_all_of_it_once() {
    let (sim, bmcs, target) = sim().await;
    sim.state().sol.loses = 4;
    let mut console = bmcs.console(&target, false).await.unwrap();
    let said: Vec<u8> = (0..3000_u32).map(|at| at as u8).collect();
    sim.state().sol.say(&said);
    let typed: Vec<u8> = (0..200_u32).map(|at| at as u8).collect();
    assert!(console.keys().write(&typed));
    assert_eq!(text(&mut console, said.len()).await, said);
    until("all that was typed", || sim.state().sol.typed.len() >= typed.len()).await;
    assert_eq!(sim.state().sol.typed, typed);
}

#[tokio::test]
async fn what_was_typed_last_arrives_though_the_console_is_left_at_once() {
    let (sim, bmcs, target) = sim().await;
    sim.state().sol.loses = 3;
    let console = bmcs.console(&target, false).await.unwrap();
    assert!(console.keys().write(b"a command of more than one packet, and then away\r"));
    console.close().await;
    assert_eq!(sim.state().sol.typed, b"a command of more than one packet, and then away\r");
    sim.state().sol.deaf = true;
    let console = bmcs.console(&target, false).await.unwrap();
    assert!(console.keys().write(b"nobody hears this"));
    let begun = std::time::Instant::now();
    console.close().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "who leaves is not kept");
    assert_eq!(sim.state().open_sessions(), 0);
}

#[tokio::test]
async fn a_machine_that_takes_little_or_nothing_for_a_while_gets_all_of_it() {
    let (sim, bmcs, target) = sim().await;
    sim.state().sol.takes = 3;
    sim.state().sol.nacks = 2;
    let mut console = bmcs.console(&target, false).await.unwrap();
    assert!(console.keys().write(b"reboot\r"));
    until("all of it", || sim.state().sol.typed.len() >= 7).await;
    assert_eq!(sim.state().sol.typed, b"reboot\r");
    let told = [console.heard().await, console.heard().await];
    assert_eq!(told, [Heard::Mark(Mark::Away), Heard::Mark(Mark::Back)]);
}

#[tokio::test]
async fn b8_5_a_console_that_says_it_took_nothing_and_took_all_is_told_everything_once() {
    for (quirks, once) in [(vec![Quirk::ConsoleTakesAll], true), (vec![], false)] {
        let (sim, bmcs, mut target) = sim().await;
        target.quirks = quirks;
        sim.state().sol.says_none = true;
        let console = bmcs.console(&target, false).await.unwrap();
        assert!(console.keys().write(b"reboot\n"));
        until("it is typed", || sim.state().sol.typed.starts_with(b"reboot\n")).await;
        let again = b"reboot\nreboot\n";
        if once {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert_eq!(sim.state().sol.typed, b"reboot\n");
        } else {
            until("it is typed again", || sim.state().sol.typed.starts_with(again)).await;
        }
    }
}

#[tokio::test]
async fn a_console_in_other_hands_is_named_and_taken_only_when_asked() {
    let (sim, bmcs, target) = sim().await;
    sim.state().sol.foreign = Some(0x0900_0009);
    let (kind, said) = fault(bmcs.console(&target, false).await);
    assert_eq!(kind, Kind::Later);
    assert!(said.contains("user number 7 from 10.0.0.9") && said.contains("take it over"), "{said}");
    assert_eq!(sim.state().sol.foreign, Some(0x0900_0009), "it was left alone");
    assert_eq!(sim.state().open_sessions(), 0, "who gets no console keeps no session");
    let mut console = bmcs.console(&target, true).await.unwrap();
    sim.state().sol.say(b"x");
    assert_eq!(text(&mut console, 1).await, b"x");
    sim.take_console().await;
    assert_eq!(end(&mut console).await, ConsoleEnd::TakenAway);
    console.close().await;
    until("the session's end", || sim.state().open_sessions() == 0).await;
    assert_eq!(sim.state().sol.foreign, Some(0x0900_0009), "it is not taken back from who has it now");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_not_taken_for_somebody_elses_console() {
    let (sim, bmcs, target) = sim().await;
    // Privilege and two settings, then Activate Payload, whose answer is lost.
    sim.plan([Mishap::Fine, Mishap::Fine, Mishap::Fine, Mishap::LoseReply]);
    let mut console = bmcs.console(&target, false).await.unwrap();
    sim.state().sol.say(b"here");
    assert_eq!(text(&mut console, 4).await, b"here");
}

#[tokio::test]
async fn every_refusal_has_its_words_and_keeps_no_session() {
    let (sim, bmcs, target) = sim().await;
    for (code, words) in [
        (0x81, "switched off there"),
        (0x82, "slots"),
        (0x83, "without encryption"),
        (0x84, "wants encryption"),
        (0xd4, "no console there"),
        (0xc1, "does not offer a console"),
    ] {
        sim.state().sol.refuses = Some(code);
        let (_, said) = fault(bmcs.console(&target, false).await);
        assert!(said.contains(words), "{code:02x}: {said}");
        assert_eq!(sim.state().open_sessions(), 0, "{code:02x}");
    }
    sim.state().sol.enabled = false;
    let (kind, said) = fault(bmcs.console(&target, false).await);
    assert!(kind == Kind::Refused && said.contains("sol set enabled true"), "{said}");
    let wrong = Target { password: Secret::new("wrong"), ..target };
    assert_eq!(fault(bmcs.console(&wrong, false).await).0, Kind::Refused);
}

#[tokio::test]
async fn all_slots_taken_means_later_and_a_dead_bmc_means_no_answer() {
    let (sim, bmcs, target) = sim().await;
    sim.state().traits.slots = 0;
    let (kind, said) = fault(bmcs.console(&target, false).await);
    assert!(kind == Kind::Later && said.contains("session slots"), "{said}");
    sim.state().dead = true;
    assert_eq!(fault(bmcs.console(&target, false).await).0, Kind::Unreachable);
}

#[tokio::test]
async fn a_quiet_console_is_kept_alive_and_one_that_is_lost_in_silence_is_noticed() {
    let (sim, bmcs, target) = sim().await;
    let mut console = bmcs.console(&target, false).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(sim.state().carried_out(0x06, 0x4b) >= 3, "asked and answered without any text");
    sim.state().sol.say(b"still here");
    assert_eq!(text(&mut console, 10).await, b"still here");
    sim.state().sol.active = Some(0x0900_0009);
    assert_eq!(end(&mut console).await, ConsoleEnd::TakenAway);
    let mut console = bmcs.console(&target, true).await.unwrap();
    sim.state().dead = true;
    assert_eq!(end(&mut console).await, ConsoleEnd::Silent);
}

#[tokio::test]
async fn a_bmc_that_acknowledges_nothing_ends_the_console_with_the_reason() {
    let (sim, bmcs, target) = sim().await;
    sim.state().sol.deaf = true;
    let mut console = bmcs.console(&target, false).await.unwrap();
    assert!(console.keys().write(b"x"));
    assert_eq!(end(&mut console).await, ConsoleEnd::Unheard);
    assert!(!console.keys().write(b"y") || end(&mut console).await == ConsoleEnd::Closed);
}

#[tokio::test]
async fn an_owner_that_is_dropped_leaves_no_session_behind() {
    let (sim, bmcs, target) = sim().await;
    for _ in 0..5 {
        drop(bmcs.console(&target, false).await.unwrap());
        until("given back", || sim.state().sol.active.is_none()).await;
    }
    until("the sessions' end", || sim.state().open_sessions() == 0).await;
}

#[tokio::test]
async fn a_listener_that_takes_nothing_loses_nothing_and_holds_nobody_up() {
    let (sim, bmcs, target) = sim().await;
    let mut console = bmcs.console(&target, false).await.unwrap();
    let said: Vec<u8> = (0..40_000_u32).map(|at| (at / 7) as u8).collect();
    sim.state().sol.say(&said);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(sim.state().sol.says.len() > 20_000, "what finds no room stays with the BMC");
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert_eq!(text(&mut console, said.len()).await, said);
}

#[tokio::test]
async fn what_the_bmc_lost_is_marked_and_garbage_is_passed_over() {
    let (sim, bmcs, target) = sim().await;
    let mut console = bmcs.console(&target, false).await.unwrap();
    let from = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for junk in [&[][..], &[6, 0, 0xff, 7, 6, 0xc1], &[0xff; 200]] {
        from.send_to(junk, sim.address).await.unwrap();
    }
    sim.state().sol.status = 0x08;
    assert_eq!(tokio::time::timeout(PATIENCE, console.heard()).await.unwrap(), Heard::Mark(Mark::Overrun));
    sim.state().sol.say(b"after");
    assert_eq!(text(&mut console, 5).await, b"after");
}

#[tokio::test]
async fn ipmitool_agrees_with_our_simulator_about_the_console() {
    needs("ipmitool", "ipmitool");
    let (sim, bmcs, target) = sim().await;
    let said = ipmitool("17", sim.address.port(), "sol info 1").await;
    assert!(said.contains("Enabled") && said.contains("true"), "{said}");
    let console = bmcs.console(&target, false).await.unwrap();
    let said = ipmitool("17", sim.address.port(), "sol activate").await;
    assert!(said.contains("already active on another session"), "{said}");
    // Its "deactivate" takes the console from whoever has it.
    ipmitool("17", sim.address.port(), "sol deactivate").await;
    assert_eq!(sim.state().sol.active, None);
    console.close().await;
}

#[tokio::test]
async fn a_bmc_of_redfish_has_its_console_where_it_says_that_ipmi_is() {
    let (sim, bmcs, _) = sim().await;
    let redfish = RedfishSim::start(vec![], None).await;
    let address = format!("http://{}", redfish.address);
    let target =
        Target { trust: Trust::Plain, ..Target::new(Protocol::Redfish, address, "admin", Secret::new("secret")) };
    let (kind, said) = fault(bmcs.console(&target, false).await);
    assert!(kind == Kind::Refused && said.contains("tells of no IPMI"), "{said}");
    let ssh = json!({"ServiceEnabled": true, "Port": 2200});
    redfish.state().set("SerialConsole", json!({"SSH": ssh, "IPMI": {"ServiceEnabled": false}}));
    let (_, said) = fault(bmcs.console(&target, false).await);
    assert!(said.contains("SSH on port 2200") && said.contains("switch on IPMI"), "{said}");
    assert_eq!(sim.state().rakp1, 0, "where it is off nobody logs in");
    let ipmi = json!({"ServiceEnabled": true, "Port": sim.address.port()});
    redfish.state().set("SerialConsole", json!({"SSH": ssh, "IPMI": ipmi}));
    let mut console = bmcs.console(&target, false).await.unwrap();
    sim.state().sol.say(b"over IPMI");
    assert_eq!(text(&mut console, 9).await, b"over IPMI");
    console.close().await;
    bmcs.close_all().await;
    assert_eq!(sim.state().open_sessions(), 0);
    assert_eq!(redfish.state().open_sessions(), 0);
}

#[tokio::test]
async fn a5_6_logins_that_fail_at_a_redfish_bmcs_console_count_for_its_account() {
    let (sim, bmcs, _) = sim().await;
    let redfish = RedfishSim::start(vec![], None).await;
    let ipmi = json!({"ServiceEnabled": true, "Port": sim.address.port()});
    redfish.state().set("SerialConsole", json!({"IPMI": ipmi}));
    sim.state().traits.password = "another".into();
    let address = format!("http://{}", redfish.address);
    let target =
        Target { trust: Trust::Plain, ..Target::new(Protocol::Redfish, address, "admin", Secret::new("secret")) };
    for _ in 0..2 {
        assert!(matches!(bmcs.console(&target, false).await.map(drop).unwrap_err().fault(), Fault::Login));
    }
    let tried = sim.state().rakp1;
    assert!(matches!(bmcs.console(&target, false).await.map(drop).unwrap_err().fault(), Fault::LoginsHeld(_)));
    bmcs.close(&target).await;
    assert!(matches!(bmcs.power(&target).await.unwrap_err().fault(), Fault::LoginsHeld(_)), "over Redfish too");
    assert_eq!(sim.state().rakp1, tried);
}

/// The machine behind OpenIPMI's simulator: a socket that greets and then sends back what it hears.
async fn machine() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"a real stream\r\n").await;
                let mut buffer = [0; 512];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let upper: Vec<u8> = buffer[..length].iter().map(u8::to_ascii_uppercase).collect();
                    let _ = stream.write_all(&upper).await;
                }
            });
        }
    });
    (port, task)
}

#[tokio::test]
async fn openipmis_simulator_carries_a_real_stream_both_ways() {
    needs("ipmi_sim", "openipmi");
    let (port, machine) = machine().await;
    let peer = OpenIpmi::start_with("", &format!("  sol \"tcp:127.0.0.1:{port}\" 115200\n"));
    let (bmcs, target) = (Bmcs::new(brisk()), target(format!("127.0.0.1:{}", peer.port)));
    let begun = std::time::Instant::now();
    let mut console = loop {
        match bmcs.console(&target, false).await {
            Ok(console) => break console,
            Err(error) if begun.elapsed() < PATIENCE => {
                assert!(!matches!(error.fault(), Fault::Garbled(_)), "{error:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    let typed = b"what is typed here comes back louder, in more packets than one of them\r";
    assert!(console.keys().write(typed));
    let (loud, mut heard) = (typed.to_ascii_uppercase(), Vec::new());
    while !heard.windows(loud.len()).any(|window| window == loud) {
        heard.extend(text(&mut console, 1).await);
    }
    let (kind, said) = fault(bmcs.console(&target, false).await);
    assert!(kind == Kind::Later && said.contains("the console is with"), "{said}");
    let mut second = bmcs.console(&target, true).await.unwrap();
    assert_eq!(end(&mut console).await, ConsoleEnd::TakenAway);
    assert!(second.keys().write(b"mine"));
    let mut heard = Vec::new();
    while !heard.windows(4).any(|window| window == b"MINE") {
        heard.extend(text(&mut second, 1).await);
    }
    second.close().await;
    for _ in 0..6 {
        bmcs.console(&target, false).await.unwrap().close().await;
    }
    machine.abort();
}
