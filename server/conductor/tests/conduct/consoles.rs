//! Consoles as rooms: shared, recorded, given back, and never taken from anybody who was not asked.

use crate::bed::Site;
use muster_bmc::Mark;
use muster_conductor::console::{Said, Seat, Shown, Visitor, keep_consoles, lines};
use muster_conductor::plans::Action;
use muster_conductor::{Error, now};
use muster_names::{MachineId, Millis};
use muster_tests::ipmi_sim::{IpmiSim, Traits};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

async fn bed(site: &Site) -> (IpmiSim, MachineId) {
    let (sim, id) = (IpmiSim::start(Traits::default()).await, site.id("r1-n1").await);
    let address = sim.address;
    site.with_bmc(id, |fake| fake.console = Some(address)).await;
    (sim, id)
}

fn visitor(name: &str, may_write: bool) -> Visitor {
    Visitor { name: name.into(), may_write, take_over: false }
}

async fn sit(site: &Site, id: MachineId, visitor: Visitor) -> Seat {
    site.me.join_console(id, visitor).await.unwrap()
}

/// All that is shown until the text of the machine ends with this, and what we said meanwhile.
async fn shown(seat: &mut Seat, end: &[u8]) -> (Vec<u8>, Vec<String>) {
    let (mut text, mut notes) = (Vec::new(), Vec::new());
    while !text.ends_with(end) {
        match tokio::time::timeout(PATIENCE, seat.shown()).await {
            Ok(Some(Shown::Text(bytes))) => text.extend(bytes),
            Ok(Some(Shown::Note(note))) => notes.push(note),
            other => panic!("{other:?} after {} bytes and {notes:?}", text.len()),
        }
    }
    (text, notes)
}

async fn note(seat: &mut Seat, word: &str) -> String {
    loop {
        match tokio::time::timeout(PATIENCE, seat.shown()).await {
            Ok(Some(Shown::Note(note))) if note.contains(word) => return note,
            Ok(Some(Shown::Note(_) | Shown::Text(_))) => {}
            other => panic!("{other:?} while waiting for {word}"),
        }
    }
}

async fn left(site: &Site, sim: &IpmiSim) {
    site.when("the session's end", async || sim.state().open_sessions() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_share_one_session_and_one_of_them_types() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let mut ann = sit(&site, id, visitor("ann", true)).await;
    let mut bob = sit(&site, id, visitor("bob", true)).await;
    let mut eve = sit(&site, id, visitor("eve", false)).await;
    assert_eq!(sim.state().open_sessions(), 1);
    sim.state().sol.say(b"login: ");
    for seat in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(shown(seat, b"login: ").await.0, b"login: ");
    }
    ann.write(b"root\r".to_vec()).await;
    site.when("what ann types", async || sim.state().sol.typed == b"root\r").await;
    bob.write(b"rm".to_vec()).await;
    assert!(note(&mut bob, "ann is typing").await.contains("--take-over"));
    eve.write(b"rm".to_vec()).await;
    assert!(note(&mut eve, "look on").await.contains("operator"));
    eve.send_break().await;
    drop(bob);
    let bob = sit(&site, id, Visitor { take_over: true, ..visitor("bob", true) }).await;
    assert!(note(&mut ann, "keyboard").await.starts_with("bob has"));
    bob.write(b"!".to_vec()).await;
    ann.write(b"?".to_vec()).await;
    assert!(note(&mut ann, "bob is typing").await.contains("bob"));
    drop(bob);
    note(&mut ann, "bob has left").await;
    ann.write(b"#".to_vec()).await;
    site.when("the keyboard that is free again", async || sim.state().sol.typed.ends_with(b"#")).await;
    assert_eq!(sim.state().sol.typed, b"root\r!#");
    assert_eq!(sim.state().sol.breaks, 0);
    drop((ann, eve));
    left(&site, &sim).await;
    site.when("the log", async || site.kinds(id).await.iter().filter(|kind| *kind == "console-closed").count() == 4)
        .await;
    let log = site.log(Some(id)).await;
    let came: Vec<&str> = log.iter().filter(|row| row.kind == "console-opened").map(|row| row.actor.as_str()).collect();
    assert_eq!(came, ["ann", "bob", "eve", "bob"]);
    site.log_is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_skips_with_a_mark_and_holds_up_nobody() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let mut quick = sit(&site, id, visitor("quick", false)).await;
    let mut slow = sit(&site, id, visitor("slow", false)).await;
    let said = [&vec![b'x'; 64 * 400][..], b"END"].concat();
    sim.state().sol.say(&said);
    assert_eq!(shown(&mut quick, b"END").await.0, said);
    let mut had = 0;
    while had < 64 * 200 {
        if let Some(Shown::Text(bytes)) = slow.shown().await {
            had += bytes.len();
        }
    }
    sim.state().sol.say(b" and on");
    assert!(note(&mut slow, "skipped").await.contains("too slow"));
    // The last piece before it may have found room again.
    let text = shown(&mut slow, b" and on").await.0;
    assert!(text.len() <= 64 + 7, "{} bytes", text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_console_said_is_read_afterwards_with_its_times() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let begun = now();
    let mut ann = sit(&site, id, visitor("ann", true)).await;
    sim.state().sol.say(b"\x1b[31mKernel panic\x1b[0m\r\n");
    shown(&mut ann, b"\r\n").await;
    sim.state().sol.status = 0x08;
    note(&mut ann, &Mark::Overrun.to_string()).await;
    drop(ann);
    left(&site, &sim).await;
    let kept = site.me.recorded_console(id, begun, Millis(i64::MAX)).await.unwrap();
    let told: Vec<(String, bool)> = lines(&kept.pieces).into_iter().map(|line| (line.text, line.note)).collect();
    let text: Vec<&str> = told.iter().filter(|(_, note)| !note).map(|(text, _)| text.as_str()).collect();
    assert_eq!(text, ["Kernel panic"]);
    let notes: Vec<&str> = told.iter().filter(|(_, note)| *note).map(|(text, _)| text.as_str()).collect();
    assert_eq!(notes.first(), Some(&"the console is open"));
    assert!(notes.contains(&"ann is here") && notes.iter().any(|note| note.contains("missing here")), "{notes:?}");
    assert!(kept.pieces.iter().all(|piece| piece.at >= begun && piece.at <= now()));
    let raw =
        |piece: &muster_conductor::console::Piece| matches!(&piece.what, Said::Text(text) if text.contains(&0x1b));
    assert!(kept.pieces.iter().any(raw), "kept as it came");
    let none = site.me.recorded_console(id, Millis(now().0 + 1), Millis(i64::MAX)).await.unwrap();
    assert!(none.pieces.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_cannot_be_had_is_told_with_the_reason_and_leaves_nothing_open() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let refused = async |id, visitor| match site.me.join_console(id, visitor).await {
        Err(error @ (Error::Bmc { .. } | Error::Refused { .. } | Error::NoMachine { .. })) => error.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it opened"),
    };
    sim.state().sol.foreign = Some(0x0900_0009);
    let said = refused(id, visitor("ann", true)).await;
    assert!(said.contains("user number 7 from 10.0.0.9"), "{said}");
    let bare = site.id("bare1").await;
    assert!(refused(bare, visitor("ann", true)).await.contains("no BMC that is ours"));
    assert!(refused(MachineId(9), visitor("ann", true)).await.contains("no machine"));
    assert_eq!(sim.state().open_sessions(), 0);
    assert!(!site.kinds(id).await.contains(&"console-opened".to_owned()));
    let mut ann = sit(&site, id, Visitor { take_over: true, ..visitor("ann", true) }).await;
    sim.take_console().await;
    let end = loop {
        match tokio::time::timeout(PATIENCE, ann.shown()).await.unwrap() {
            Some(Shown::End(why)) => break why,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    };
    assert!(end.contains("another session took it"), "{end}");
    sim.state().sol.foreign = None;
    sit(&site, id, visitor("ann", true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_as_the_last_one_leaves_has_the_console_and_not_our_own_session_in_the_way() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    for _ in 0..12 {
        drop(sit(&site, id, visitor("ann", true)).await);
        tokio::task::yield_now().await;
    }
    left(&site, &sim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_boots_is_recorded_with_nobody_there_beside_its_boot_and_let_go_afterwards() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let cancel = CancellationToken::new();
    let recorder = tokio::spawn(keep_consoles(site.me.clone(), true, cancel.clone()));
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    site.until(id, "discovering").await;
    site.when("the recorder", async || sim.state().sol.active.is_some()).await;
    site.when("the power", async || site.power_log(id).await.contains(&"on".to_owned())).await;
    sim.state().sol.say(b"PXE-E61: Media test failure\r\n");
    let ann = sit(&site, id, visitor("ann", true)).await;
    assert_eq!(sim.state().open_sessions(), 1, "who sits down shares it");
    ann.write(b"x".to_vec()).await;
    site.when("what ann types", async || sim.state().sol.typed == b"x").await;
    drop(ann);
    site.when("the tape", async || {
        let told = site.me.boots_of(id).await.unwrap();
        site.me.consoles_of(&told).await.unwrap().iter().flatten().any(|console| console.bytes == 29)
    })
    .await;
    let consoles = site.me.consoles_of(&site.me.boots_of(id).await.unwrap()).await.unwrap();
    let console = consoles.iter().flatten().next().unwrap();
    assert!(console.first <= console.last && console.bytes == 29, "{console:?}");
    assert!(console.lines.is_empty(), "nothing is wrong yet: {console:?}");
    sim.take_console().await;
    left(&site, &sim).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(sim.state().sol.foreign, Some(0x0900_0009), "who takes it at the BMC keeps it");
    cancel.cancel();
    recorder.await.unwrap();
    let log = site.log(Some(id)).await;
    assert!(log.iter().any(|row| row.kind == "console-opened" && row.actor == "recorder"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_stops_gives_its_consoles_back_and_nothing_is_recorded_unless_the_site_says_so() {
    let (_folder, site) = Site::sqlite().await;
    let (sim, id) = bed(&site).await;
    let off = CancellationToken::new();
    let idle = tokio::spawn(keep_consoles(site.me.clone(), false, off.clone()));
    site.ask("operator", Action::Discover, &[id]).await.unwrap();
    site.until(id, "discovering").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(sim.state().sol.activated, 0);
    off.cancel();
    idle.await.unwrap();
    let cancel = CancellationToken::new();
    let recorder = tokio::spawn(keep_consoles(site.me.clone(), true, cancel.clone()));
    site.when("the recorder", async || sim.state().sol.active.is_some()).await;
    cancel.cancel();
    recorder.await.unwrap();
    assert_eq!(sim.state().open_sessions(), 0);
}
