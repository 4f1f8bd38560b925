//! The IPMI client against two simulators: ours (suites 17 and 3, with mishaps) and OpenIPMI's, which knows nothing
//! of us. `ipmitool` checks that our own simulator speaks the protocol and not just our dialect of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use muster_bmc::{
    Bmcs, BootDevice, BootOrder, Fault, Kind, PowerAction, PowerSet, Protocol, Quirk, Secret, Settings, Target,
};
use muster_names::{FirmwareMode, Power};
use muster_tests::ipmi_peers::{OpenIpmi, ipmitool, needs};
use muster_tests::ipmi_sim::{self, Exchange, IpmiSim, Mishap, Traits};
use std::time::Duration;

const PXE_ONCE: BootOrder = BootOrder { device: BootDevice::Pxe, mode: FirmwareMode::Uefi, once: true };

fn brisk() -> Settings {
    Settings {
        answer: Duration::from_millis(150),
        confirm_gap: Duration::from_millis(20),
        rest_after: 3,
        ..Settings::default()
    }
}

fn target(address: impl ToString) -> Target {
    Target::new(Protocol::Ipmi, address.to_string(), "admin", Secret::new("secret"))
}

async fn sim(traits: Traits) -> (IpmiSim, Bmcs, Target) {
    let sim = IpmiSim::start(traits).await;
    let target = target(sim.address);
    (sim, Bmcs::new(brisk()), target)
}

#[tokio::test]
async fn b8_2_suite_17_and_then_3_both_carry_a_session() {
    for suites in [vec![17], vec![3], vec![17, 3]] {
        let (sim, bmcs, target) = sim(Traits { suites: suites.clone(), ..Traits::default() }).await;
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "{suites:?}");
        assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
        assert!(bmcs.confirm_power(&target, Power::On).await.unwrap());
        assert!(!bmcs.confirm_power(&target, Power::Off).await.unwrap());
        assert!(!bmcs.confirm_power(&target, Power::Unknown).await.unwrap());
        assert_eq!(sim.state().logins, 1, "one session serves all operations");
        bmcs.close(&target).await;
        assert_eq!(sim.state().open_sessions(), 0);
    }
}

#[tokio::test]
async fn b8_2_a_bmc_that_is_silent_about_suite_17_is_asked_for_3() {
    let traits = Traits { suites: vec![3], silent_about_suites: true, ..Traits::default() };
    let (_sim, bmcs, target) = sim(traits).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn b8_2_no_other_suite_is_ever_taken() {
    let (_sim, bmcs, target) = sim(Traits { suites: vec![0], ..Traits::default() }).await;
    let error = bmcs.power(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Refused, "not-offered"));
}

#[tokio::test]
async fn b8_1_lost_bent_late_and_tripled_replies_do_no_harm() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    for mishap in [Mishap::LoseRequest, Mishap::LoseReply, Mishap::Triple, Mishap::Late, Mishap::Bend] {
        sim.plan([mishap.clone(), Mishap::Fine]);
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "{mishap:?}");
    }
    assert_eq!(sim.state().logins, 1);
}

#[tokio::test]
async fn b8_1_a_late_reply_is_not_taken_for_the_next_request() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    // The reply "off" comes back just before the reply to a later question, when the machine is on.
    sim.plan([Mishap::Late]);
    let asked = tokio::spawn({
        let (bmcs, target) = (bmcs.clone(), target.clone());
        async move { bmcs.power(&target).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    asked.abort();
    let _ = asked.await;
    sim.state().on = true;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::On);
    assert_eq!(sim.state().logins, 1, "a dropped reading leaves the session usable");
}

#[tokio::test]
async fn b8_1_busy_codes_are_asked_again() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    sim.plan([Mishap::Code(0xc0), Mishap::Code(0xd2)]);
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

#[tokio::test]
async fn b8_1_every_session_is_closed_even_when_its_owner_is_dropped() {
    let (sim, bmcs, target) = sim(Traits { slots: 1, ..Traits::default() }).await;
    for round in 0..5 {
        bmcs.power(&target).await.unwrap();
        sim.plan(vec![Mishap::LoseReply; 4]);
        // Silence closes the session with one datagram, and a new one is opened for the second try.
        assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off, "round {round}");
        assert_eq!(sim.state().open_sessions(), 1);
    }
    drop(bmcs);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sim.state().open_sessions(), 0, "the engine is gone, its slot is not free");
}

#[tokio::test]
async fn b8_1_taken_slots_mean_later() {
    let (_sim, bmcs, target) = sim(Traits { slots: 0, ..Traits::default() }).await;
    let error = bmcs.power(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.label()), (Kind::Later, "no-slot"));
}

#[tokio::test]
async fn an_idle_session_gives_its_slot_back() {
    let sim = IpmiSim::start(Traits::default()).await;
    let bmcs = Bmcs::new(Settings { idle_close: Duration::from_millis(90), ..brisk() });
    bmcs.power(&target(sim.address)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sim.state().open_sessions(), 0);
    assert!(bmcs.power(&target(sim.address)).await.is_ok());
}

#[tokio::test]
async fn a_bmc_that_restarted_is_logged_into_again() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    sim.state().restart();
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(sim.state().logins, 2);
}

#[tokio::test]
async fn a5_6_a_wrong_password_is_tried_twice_and_then_held() {
    let (sim, bmcs, mut target) = sim(Traits::default()).await;
    target.password = Secret::new("wrong");
    for label in ["login", "login", "logins-held", "logins-held"] {
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Refused, label));
    }
    assert_eq!(sim.state().rakp1, 2);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(sim.state().open_sessions(), 0, "the failed handshakes hold slots");
}

#[tokio::test]
async fn a5_6_a_wrong_user_counts_too() {
    let (_sim, bmcs, mut target) = sim(Traits::default()).await;
    target.user = "nobody".into();
    for label in ["login", "login", "logins-held"] {
        assert_eq!(bmcs.power(&target).await.unwrap_err().label(), label);
    }
}

#[tokio::test]
async fn a_lost_reply_to_a_cycle_is_not_sent_again_and_may_have_happened() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    sim.state().on = true;
    bmcs.power(&target).await.unwrap();
    // Status is read, then the command.
    sim.plan([Mishap::Fine, Mishap::LoseReply]);
    let error = bmcs.set_power(&target, PowerAction::Cycle).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert_eq!(sim.state().carried_out(0x00, 0x02), 1);
}

#[tokio::test]
async fn a_lost_reply_to_off_is_asked_again() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    sim.state().on = true;
    bmcs.power(&target).await.unwrap();
    sim.plan([Mishap::Fine, Mishap::LoseRequest]);
    assert_eq!(bmcs.set_power(&target, PowerAction::Off).await.unwrap(), PowerSet::Taken);
    assert!(!sim.state().on);
}

#[tokio::test]
async fn a_refused_command_did_not_happen() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    sim.plan([Mishap::Fine, Mishap::Code(0xd4)]);
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert!(!error.may_have_happened());
    assert_eq!(error.kind(), Kind::Refused);
    // "Timed out" is no refusal.
    sim.plan([Mishap::Fine, Mishap::Code(0xc3), Mishap::Code(0xc3), Mishap::Code(0xc3), Mishap::Code(0xc3)]);
    assert!(bmcs.set_power(&target, PowerAction::On).await.unwrap_err().may_have_happened());
}

#[tokio::test]
async fn a_refusal_of_the_second_sending_does_not_deny_the_first() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    bmcs.power(&target).await.unwrap();
    sim.plan([Mishap::Fine, Mishap::LoseReply, Mishap::Code(0xd5)]);
    let error = bmcs.set_power(&target, PowerAction::On).await.unwrap_err();
    assert!(sim.state().on && error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn b8_4_off_when_off_sends_nothing_and_a_cycle_of_what_is_off_switches_on() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    assert_eq!(bmcs.set_power(&target, PowerAction::Off).await.unwrap(), PowerSet::AlreadySo);
    assert_eq!(sim.state().carried_out(0x00, 0x02), 0);
    assert_eq!(bmcs.set_power(&target, PowerAction::Cycle).await.unwrap(), PowerSet::Taken);
    assert!(sim.state().on);
}

#[tokio::test]
async fn b8_3_an_override_is_set_with_its_timeout_and_read_back() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    let set = bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    assert_eq!((set.device, set.mode, set.once), (Some(BootDevice::Pxe), Some(FirmwareMode::Uefi), Some(true)));
    let sent: Vec<Vec<u8>> =
        sim.state().done.iter().filter(|(f, c, _)| (*f, *c) == (0, 8)).map(|(.., data)| data.clone()).collect();
    assert_eq!(sent, [vec![0x03, 0x08], vec![0x05, 0xa0, 0x04, 0, 0, 0]]);
    let cleared = BootOrder { device: BootDevice::None, ..PXE_ONCE };
    assert_eq!(bmcs.set_boot(&target, cleared).await.unwrap().device, Some(BootDevice::None));
    assert_eq!(bmcs.get_boot(&target).await.unwrap().device, Some(BootDevice::None));
}

#[tokio::test]
async fn b8_3_a_refused_timeout_does_not_stop_the_override_and_the_quirk_leaves_it_out() {
    let (sim, bmcs, mut target) = sim(Traits { refuses_boot_timeout: true, ..Traits::default() }).await;
    bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    target.quirks = vec![Quirk::NoBootTimeout];
    bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    assert_eq!(sim.state().done.iter().filter(|(.., data)| data == &[0x03, 0x08]).count(), 1);
}

#[tokio::test]
async fn an_override_that_does_not_read_back_is_an_error() {
    let (_sim, bmcs, target) = sim(Traits { forgets_boot: true, ..Traits::default() }).await;
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::BootDiffers { .. }), "{error:?}");
    assert!(error.may_have_happened());
}

#[tokio::test]
async fn it_tells_who_it_is() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    sim.state().store = ipmi_sim::store();
    let identity = bmcs.identify(&target).await.unwrap();
    assert_eq!(identity.manufacturer.as_deref(), Some("ACME"));
    assert_eq!((identity.model.as_deref(), identity.serial.as_deref()), (Some("R-2"), Some("SN-0042")));
    assert_eq!(identity.firmware.as_deref(), Some("3.47"));
    assert_eq!(identity.maker_number, Some(343));
    assert!(identity.uuids.contains(&"00112233-4455-4677-8809-0a0b0c0d0e0f".to_string()), "{:?}", identity.uuids);
}

#[tokio::test]
async fn a_dead_bmc_is_left_alone_after_some_tries() {
    let (sim, bmcs, target) = sim(Traits::default()).await;
    sim.state().dead = true;
    for label in ["no-answer", "no-answer", "no-answer", "resting", "resting"] {
        let error = bmcs.power(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.label()), (Kind::Unreachable, label));
    }
}

#[tokio::test]
async fn b8_5_capabilities_are_skipped_where_they_are_not_answered() {
    let (_sim, bmcs, mut target) = sim(Traits { tells_capabilities: false, ..Traits::default() }).await;
    assert_eq!(bmcs.power(&target).await.unwrap_err().label(), "no-answer");
    target.quirks = vec![Quirk::SkipAuthCapabilities, Quirk::OpenSessionPrivilege];
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
}

/// Logs in at a BMC with this key exchange, in each suite; the label of what went wrong.
async fn exchanged(exchange: Exchange, quirks: &[Quirk]) -> Vec<Result<Power, &'static str>> {
    let mut told = Vec::new();
    for suite in [17, 3] {
        let (_sim, bmcs, mut target) = sim(Traits { suites: vec![suite], exchange, ..Traits::default() }).await;
        target.quirks = quirks.to_vec();
        told.push(bmcs.power(&target).await.map_err(|error| error.label()));
    }
    told
}

#[tokio::test]
async fn b8_5_a_key_exchange_by_the_privilege_of_open_session_is_spoken_by_its_quirk() {
    assert_eq!(exchanged(Exchange::OpenedPrivilege, &[]).await, [Err("login"); 2]);
    assert_eq!(exchanged(Exchange::OpenedPrivilege, &[Quirk::OpenSessionPrivilege]).await, [Ok(Power::Off); 2]);
    assert_eq!(exchanged(Exchange::Plain, &[Quirk::OpenSessionPrivilege]).await, [Ok(Power::Off); 2]);
}

#[tokio::test]
async fn b8_5_a_name_is_padded_where_none_shorter_is_known() {
    assert_eq!(exchanged(Exchange::PaddedNames, &[]).await, [Err("login"); 2]);
    assert_eq!(exchanged(Exchange::PaddedNames, &[Quirk::PadUserName]).await, [Ok(Power::Off); 2]);
    assert_eq!(exchanged(Exchange::Plain, &[Quirk::PadUserName]).await, [Err("login"); 2]);
}

#[tokio::test]
async fn b8_5_the_field_of_the_name_is_sent_whole_where_nothing_shorter_is_answered() {
    assert_eq!(exchanged(Exchange::WholeNameField, &[]).await, [Err("no-answer"); 2]);
    assert_eq!(exchanged(Exchange::WholeNameField, &[Quirk::WholeNameField]).await, [Ok(Power::Off); 2]);
    assert_eq!(exchanged(Exchange::Plain, &[Quirk::WholeNameField]).await, [Ok(Power::Off); 2]);
}

#[tokio::test]
async fn b8_5_one_byte_behind_the_proof_is_passed_over_and_two_are_not() {
    assert_eq!(exchanged(Exchange::MoreBytes(1), &[]).await, [Ok(Power::Off); 2]);
    assert_eq!(exchanged(Exchange::MoreBytes(2), &[]).await, [Err("login"); 2]);
}

#[tokio::test]
async fn b8_5_settings_are_a_second_apart_where_haste_loses_them() {
    let hasty = Traits { loses_hasty_settings: true, ..Traits::default() };
    let (_sim, bmcs, target) = sim(hasty.clone()).await;
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::BootDiffers { .. }), "{error:?}");
    let (_sim, bmcs, mut target) = sim(hasty).await;
    target.quirks = vec![Quirk::SlowSettings];
    for device in [BootDevice::Pxe, BootDevice::Disk] {
        let set = bmcs.set_boot(&target, BootOrder { device, ..PXE_ONCE }).await.unwrap();
        assert_eq!(set.device, Some(device));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bmcs_share_one_socket_and_each_is_asked_one_thing_at_a_time() {
    let mut sims = Vec::new();
    for _ in 0..40 {
        sims.push(IpmiSim::start(Traits { slots: 1, ..Traits::default() }).await);
    }
    let bmcs = Bmcs::new(Settings { answer: Duration::from_secs(1), ..brisk() });
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..5 {
        for (at, sim) in sims.iter().enumerate() {
            let (bmcs, target) = (bmcs.clone(), target(sim.address));
            sim.state().on = at % 2 == 0;
            asked.spawn(async move { (at, bmcs.power(&target).await) });
        }
    }
    for (at, power) in asked.join_all().await {
        assert_eq!(power.unwrap(), if at % 2 == 0 { Power::On } else { Power::Off });
    }
    assert!(sims.iter().all(|sim| sim.state().logins == 1));
}

// ---- peers that know nothing of us

#[tokio::test]
async fn ipmitool_agrees_with_our_simulator_on_suites_17_and_3() {
    needs("ipmitool", "ipmitool");
    for suite in ["17", "3"] {
        let (sim, bmcs, target) = sim(Traits::default()).await;
        let port = sim.address.port();
        let said = ipmitool(suite, port, "chassis power status").await;
        assert!(said.contains("Chassis Power is off"), "suite {suite}: {said}");
        let said = ipmitool(suite, port, "chassis power on").await;
        assert!(said.contains("Up/On"), "suite {suite}: {said}");
        bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
        let said = ipmitool(suite, port, "chassis bootparam get 5").await;
        for words in ["Boot Flag Valid", "only next boot", "BIOS EFI boot", "Force PXE"] {
            assert!(said.contains(words), "suite {suite}, {words}: {said}");
        }
        let said = ipmitool(suite, port, "chassis bootdev disk options=persistent").await;
        assert!(said.contains("Set Boot Device to disk"), "suite {suite}: {said}");
        let set = bmcs.get_boot(&target).await.unwrap();
        assert_eq!((set.device, set.once), (Some(BootDevice::Disk), Some(false)));
        assert_eq!(set.mode, Some(FirmwareMode::Bios));
        bmcs.close(&target).await;
        assert_eq!(sim.state().open_sessions(), 0);
    }
}

async fn open_ipmi(bmcs: &Bmcs) -> (OpenIpmi, Target) {
    let peer = OpenIpmi::start("");
    let target = target(format!("127.0.0.1:{}", peer.port));
    for _ in 0..20 {
        if bmcs.power(&target).await.is_ok() {
            return (peer, target);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("ipmi_sim did not come up on port {}", peer.port);
}

#[tokio::test]
async fn openipmis_simulator_is_switched_on_and_off_and_told_what_to_boot() {
    needs("ipmi_sim", "openipmi");
    let bmcs = Bmcs::new(Settings { rest_after: 100, ..brisk() });
    let (_peer, mut target) = open_ipmi(&bmcs).await;
    assert_eq!(bmcs.power(&target).await.unwrap(), Power::Off);
    assert_eq!(bmcs.set_power(&target, PowerAction::On).await.unwrap(), PowerSet::Taken);
    assert!(bmcs.confirm_power(&target, Power::On).await.unwrap());
    // It keeps the device and answers with every flag at zero.
    let error = bmcs.set_boot(&target, PXE_ONCE).await.unwrap_err();
    assert!(matches!(error.fault(), Fault::BootDiffers { .. }), "{error:?}");
    target.quirks = vec![Quirk::BootReadBackPartial];
    let set = bmcs.set_boot(&target, PXE_ONCE).await.unwrap();
    assert_eq!(set.device, Some(BootDevice::Pxe));
    assert_eq!(bmcs.set_power(&target, PowerAction::Off).await.unwrap(), PowerSet::Taken);
    assert!(bmcs.confirm_power(&target, Power::Off).await.unwrap());
    let identity = bmcs.identify(&target).await.unwrap();
    assert!(identity.uuids.contains(&"a1234567-89ab-cdef-a123-456789000001".to_string()), "{identity:?}");
}

#[tokio::test]
async fn openipmis_simulator_never_runs_out_of_sessions() {
    needs("ipmi_sim", "openipmi");
    let bmcs = Bmcs::new(Settings { rest_after: 100, ..brisk() });
    let (_peer, target) = open_ipmi(&bmcs).await;
    for round in 0..100 {
        bmcs.power(&target).await.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        bmcs.close(&target).await;
    }
}
