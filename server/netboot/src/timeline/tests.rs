//! Every failure in its words, and lists in any order.

use super::*;
use crate::choice::Client;
use crate::sighting::SightingKind;
use muster_names::{Mac, Millis};
use proptest::prelude::*;

const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

fn at(seconds: f64, what: What) -> Entry {
    #[allow(clippy::cast_possible_truncation, reason = "times of a test are small")]
    Entry::of(Millis((seconds * 1000.0) as i64), Some(MAC), what)
}

pub(super) fn on(seconds: f64) -> Entry {
    at(seconds, What::Power { on: true, agent: true })
}

pub(super) fn packet(seconds: f64, kind: SightingKind, client: Client, got: Got, led: Led, words: &str) -> Entry {
    let (network, arch, vendor_class, giaddr, circuit_id, remote_id) = (None, None, None, None, None, None);
    let words = words.to_owned();
    at(
        seconds,
        What::Packet(Packet {
            kind,
            client,
            known_as: None,
            xid: 1,
            network,
            arch,
            vendor_class,
            giaddr,
            circuit_id,
            remote_id,
            got,
            led,
            words,
        }),
    )
}

pub(super) fn loader() -> Led {
    Led::Loader { file: "ipxe.efi".into() }
}

pub(super) fn disk(brake: bool) -> Led {
    Led::Disk { wanted: !brake, brake }
}

pub(super) fn asked(seconds: f64, client: Client, led: Led) -> [Entry; 2] {
    [
        packet(seconds, SightingKind::Discover, client, Got::Offer, led.clone(), "OFFER 10.0.0.9; x"),
        packet(seconds + 0.1, SightingKind::Request, client, Got::Ack, led, "ACK 10.0.0.9; x"),
    ]
}

fn silent(seconds: f64, why: &str) -> Entry {
    packet(seconds, SightingKind::Discover, Client::Pxe, Got::Silence, Led::Nothing, &format!("no answer: {why}"))
}

pub(super) fn fetch(seconds: f64, path: &str, took_ms: u64, bytes: u64, how: How) -> Entry {
    let via = if path.starts_with('/') { Via::Http } else { Via::Tftp };
    let (file, path, size) = (File::of(path), path.to_owned(), Some(10_000_000));
    at(seconds, What::Fetch(Fetch { via, file, path, bytes, size, took_ms, repeats: 0, how }))
}

pub(super) fn whole(seconds: f64, path: &str) -> Entry {
    fetch(seconds, path, 1_000, 10_000_000, How::Whole)
}

pub(super) fn script(seconds: f64, agent: bool, wanted: bool, why: &str) -> Entry {
    at(seconds, What::Script { agent, wanted, why: why.into() })
}

pub(super) fn spoke(seconds: f64, boot: &str, resident: bool) -> Entry {
    at(seconds, What::Agent(AgentSeen { boot: boot.into(), resident, kernel_ms: Some(4_200) }))
}

pub(super) fn log(seconds: f64, severity: u8, text: &str) -> Entry {
    at(seconds, What::Log(LogLine { severity, program: "kernel".into(), text: text.into() }))
}

/// A boot from the order to power on until its kernel has everything.
pub(super) fn loaded(from: f64) -> Vec<Entry> {
    let mut all = vec![on(from)];
    all.extend(asked(from + 10.0, Client::Pxe, loader()));
    all.push(whole(from + 11.0, "ipxe.efi"));
    all.extend(asked(from + 15.0, Client::Ipxe, Led::Script));
    all.push(script(from + 16.0, true, false, ""));
    all.push(whole(from + 17.0, "/boot/vmlinuz"));
    all.push(whole(from + 18.0, "/b/52-54-00-00-00-01/00/agent.cpio"));
    all.push(whole(from + 19.0, "/boot/initrd.zst"));
    all
}

fn judged(entries: Vec<Entry>, now: f64) -> Diagnosis {
    #[allow(clippy::cast_possible_truncation, reason = "times of a test are small")]
    let all = boots(entries, &[], Millis((now * 1000.0) as i64));
    all.last().map_or(Diagnosis::NeverSeen, |boot| boot.diagnosis.clone())
}

fn said(entries: Vec<Entry>, now: f64) -> String {
    judged(entries, now).to_string()
}

#[test]
fn a_boot_that_came_to_its_agent_shows_every_stage_with_its_length() {
    let mut entries = loaded(0.0);
    entries.push(packet(23.0, SightingKind::Discover, Client::Plain, Got::Offer, Led::Nothing, "OFFER"));
    entries.push(spoke(27.0, "a", false));
    let all = boots(entries, &[], Millis(60_000));
    assert_eq!(all.len(), 1);
    let boot = all.first().unwrap();
    let stages: Vec<_> = boot.stages.iter().map(|span| (span.stage.label(), span.millis)).collect();
    let lengths = [10_000, 1_000, 4_000, 2_000, 3_000, 7_000].map(Some);
    let names = ["power", "address", "loader", "script", "kernel", "system", "agent"];
    assert_eq!(stages, names.into_iter().zip(lengths.into_iter().chain([None])).collect::<Vec<_>>());
    assert_eq!(boot.diagnosis.to_string(), "the agent spoke after 27 s");
    assert_eq!((boot.diagnosis.grade(), boot.diagnosis.next_step()), (Grade::Well, ""));
}

#[test]
fn b12_what_firmware_asks_aside_over_ipv6_is_not_the_question_of_a_system() {
    let solicit = |seconds, client, led| packet(seconds, SightingKind::Solicit, client, Got::Offer, led, "ADVERTISE");
    let request = |seconds, client, led| packet(seconds, SightingKind::Request, client, Got::Ack, led, "REPLY");
    let firmware = [solicit(10.0, Client::Http, loader()), request(10.1, Client::Http, loader())];
    let aside = [solicit(11.0, Client::Plain, Led::Nothing), request(11.1, Client::Plain, Led::Nothing)];
    let mut entries = vec![on(0.0)];
    entries.extend(firmware.into_iter().chain(aside));
    entries.push(whole(22.0, "/boot/ipxe.efi"));
    entries.extend(asked(25.0, Client::Ipxe, Led::Script));
    let all = boots(entries, &[], Millis(26_000));
    assert_eq!(all.len(), 1);
    let stages: Vec<_> = all.first().unwrap().stages.iter().map(|span| span.stage.label()).collect();
    assert_eq!(stages, ["power", "address", "loader", "script"]);
}

#[test]
fn what_was_decided_before_the_first_power_is_no_boot_of_its_own() {
    let decided = at(-1.0, What::Event { words: "the machine is discovering".into() });
    let all = boots(vec![decided, on(0.0)], &[], Millis(95_000));
    assert_eq!(all.len(), 1);
    let boot = all.first().unwrap();
    assert_eq!((boot.began, boot.entries.len(), boot.diagnosis.label()), (Millis(0), 2, "never-asked"));
}

#[test]
fn power_without_a_word_names_cable_vlan_and_boot_order() {
    let young = judged(vec![on(0.0)], 95.0);
    assert_eq!(young.to_string(), "never asked: power was switched on 95 s ago and nothing was heard");
    assert!(young.grade() == Grade::Going && young.next_step().contains("cable, VLAN and relay"), "{young:?}");
    let old = judged(vec![on(0.0)], 400.0);
    assert!(old.grade() == Grade::Wrong && old.next_step().contains("boot order"), "{old:?}");
    assert_eq!(
        said(vec![on(0.0), at(9.0, What::Power { on: false, agent: false })], 10.0),
        "it was switched off by Muster"
    );
    assert_eq!(said(Vec::new(), 10.0), "never asked: nothing was ever heard of it");
}

#[test]
fn silence_is_told_with_its_reason_and_how_often_it_asked() {
    let entries = [10.0, 14.0, 22.0].map(|s| silent(s, "no address is free in the network's ranges; widen them"));
    assert_eq!(
        said(entries.into(), 200.0),
        "asked 3 times, no offer: no address is free in the network's ranges; widen them"
    );
    let taken = "the machine took the offer of another DHCP server, 10.0.0.2";
    let request =
        packet(1.0, SightingKind::Request, Client::Pxe, Got::Silence, Led::Nothing, &format!("no answer: {taken}"));
    let offer = packet(0.0, SightingKind::Discover, Client::Pxe, Got::Offer, loader(), "OFFER");
    assert_eq!(said(vec![offer.clone(), request], 60.0), format!("asked once, no offer: {taken}"));
    assert_eq!(said(vec![offer.clone()], 60.0), "was offered an address once and did not take it");
    assert_eq!(judged(vec![offer], 2.0).grade(), Grade::Going);
    let nak = packet(1.0, SightingKind::Request, Client::Pxe, Got::Nak, Led::Nothing, "NAK: not its own");
    assert_eq!(said(vec![nak], 60.0), "was refused its address (not its own) and did not ask anew");
}

#[test]
fn a_loader_that_is_missing_cut_off_or_dumb_is_named() {
    let with = |more: Vec<Entry>| [asked(10.0, Client::Pxe, loader()).to_vec(), more].concat();
    assert_eq!(said(with(Vec::new()), 60.0), "has an address and never fetched its loader ipxe.efi");
    let missing = fetch(11.0, "ipxe.efi", 0, 0, How::NotFound);
    assert_eq!(said(with(vec![missing.clone()]), 13.0), "the loader's file ipxe.efi is not there");
    assert!(judged(with(vec![missing.clone()]), 13.0).next_step().contains("muster reload"));
    let refused = fetch(11.0, "ipxe.efi", 0, 0, How::Refused(8));
    assert_eq!(said(with(vec![refused]), 13.0), "the loader's file ipxe.efi was refused with code 8");
    let cut = fetch(11.0, "ipxe.efi", 30_000, 4_000_000, How::Lost);
    assert_eq!(said(with(vec![cut.clone()]), 45.0), "the loader was cut off at 40 %: ipxe.efi by TFTP");
    assert!(cut.to_string().starts_with("CUT OFF at 40 % after 30.0 s: the machine fell silent"), "{cut}");
    let dumb = said(with(vec![missing, whole(12.0, "ipxe.efi")]), 100.0);
    assert_eq!(dumb, "fetched its loader ipxe.efi whole, and the loader has said nothing for 87 s");
    let going = judged(with(vec![whole(12.0, "ipxe.efi")]), 20.0);
    assert_eq!(going, Diagnosis::Going { stage: Stage::Loader, seconds: 7 });
    let probed = fetch(12.0, "ipxe.efi", 10, 0, How::Probed);
    assert_eq!(said(with(vec![probed]), 90.0), "has an address and never fetched its loader ipxe.efi");
}

#[test]
fn b3_3_firmware_that_does_not_take_our_certificate_is_told_from_one_that_never_came() {
    let led = || asked(10.0, Client::Http, loader()).to_vec();
    let failed = |how| {
        let mut entry = fetch(11.0, "", 90, 0, how);
        if let What::Fetch(fetch) = &mut entry.what {
            fetch.via = Via::Https;
        }
        entry
    };
    let untrusted = failed(How::Untrusted);
    assert_eq!((untrusted.kind(), untrusted.asked().as_str()), ("https", "TLS"));
    let found = judged([led(), vec![untrusted.clone()]].concat(), 13.0);
    assert_eq!(found.to_string(), "does not trust the certificate that its loader ipxe.efi is given under");
    assert!(found.next_step().contains("the site's authority") && found.grade() == Grade::Wrong);
    assert_eq!(said([led(), vec![failed(How::NoTls)]].concat(), 13.0), "came to no TLS for its loader ipxe.efi");
    let came = judged([led(), vec![untrusted, whole(12.0, "/boot/ipxe.efi")]].concat(), 14.0);
    assert_eq!(came.grade(), Grade::Going, "a later try came through: {came}");
}

#[test]
fn a_script_that_leads_to_the_disk_says_why_and_whether_it_was_meant() {
    let base = || [asked(1.0, Client::Ipxe, Led::Script).to_vec()].concat();
    let with = |entry: Entry| [base(), vec![entry]].concat();
    assert_eq!(said(base(), 60.0), "its loader has an address and never fetched its script");
    let wrong = judged(with(script(2.0, false, false, "the database did not answer")), 3.0);
    assert_eq!(wrong.to_string(), "was sent to its own disk: the database did not answer");
    assert_eq!(wrong.grade(), Grade::Wrong);
    let meant = judged(with(script(2.0, false, true, "its state wants it to boot its disk")), 3.0);
    assert_eq!((meant.grade(), meant.next_step()), (Grade::Well, ""));
    let stranger = Led::Disk { wanted: false, brake: false };
    let strange = [asked(1.0, Client::Ipxe, stranger).to_vec(), vec![script(2.0, false, false, "")]].concat();
    assert_eq!(judged(strange, 5.0).grade(), Grade::Wrong, "the reason came with its address");
    assert_eq!(said(with(script(2.0, true, false, "")), 60.0), "has its script and never fetched the kernel");
    let busy = fetch(2.0, "/b/52-54-00-00-00-01/boot.ipxe", 3_000, 0, How::Refused(503));
    assert_eq!(said(with(busy), 30.0), "the script's file /b/52-54-00-00-00-01/boot.ipxe was refused with code 503");
}

#[test]
fn a_kernel_without_an_agent_is_told_with_its_last_words() {
    let mut entries = loaded(0.0);
    assert_eq!(judged(entries.clone(), 40.0), Diagnosis::Going { stage: Stage::System, seconds: 20 });
    assert_eq!(said(entries.clone(), 240.0), "the kernel started 3 min 40 s ago and the agent never spoke");
    entries.push(log(25.0, 0, "Kernel panic - not syncing: no init"));
    entries.push(log(26.0, 6, "Rebooting in 30 seconds"));
    assert!(said(entries.clone(), 240.0).ends_with("; the last it said: Kernel panic - not syncing: no init"));
    let cut = fetch(17.0, "/boot/vmlinuz", 9_000, 2_500_000, How::GaveUp);
    let short = [loaded(0.0).into_iter().take(7).collect(), vec![cut]].concat();
    assert_eq!(said(short, 60.0), "the kernel was cut off at 25 %: /boot/vmlinuz by HTTP");
    let part: Vec<Entry> = loaded(0.0).into_iter().take(8).collect();
    assert_eq!(said(part, 200.0), "fetched a part of kernel, initramfs and token, and then no more");
    let again = [loaded(0.0), vec![fetch(16.5, "/boot/vmlinuz", 300, 5, How::Lost), whole(17.2, "/boot/vmlinuz")]];
    assert_eq!(judged(again.concat(), 40.0).grade(), Grade::Going, "what failed and then came is no failure");
}

#[test]
fn b2_12_the_same_loader_four_times_is_a_boot_loop_and_the_brake_speaks_in_the_same_words() {
    let once = |from: f64| [asked(from, Client::Pxe, loader()).to_vec(), vec![whole(from + 1.0, "ipxe.efi")]].concat();
    let times = |n: u8| (0..n).flat_map(|one| once(f64::from(one) * 30.0)).collect::<Vec<_>>();
    assert_eq!(boots(times(4), &[], Millis(100_000)).len(), 4);
    assert_eq!(
        said(times(4), 100.0),
        "boot loop: fetched the loader 4 times within 2 min, ending each time after its loader"
    );
    assert!(!said(times(3), 70.0).contains("loop"));
    let braked = [times(3), asked(90.0, Client::Pxe, disk(true)).to_vec()].concat();
    assert_eq!(
        said(braked, 100.0),
        "boot loop: fetched the loader 3 times within 2 min, ending each time after its loader; sent to its own disk, for it asked for the same stage over three times in five minutes"
    );
    let ordered = [times(3), vec![on(85.0)], once(90.0)].concat();
    assert!(!said(ordered, 100.0).contains("loop"), "what we ordered begins a new count");
    let wanted = |from: f64| [once(from), vec![script(from + 5.0, false, true, "as it should")]].concat();
    let at_home = (0..5).flat_map(|one| wanted(f64::from(one) * 60.0)).collect();
    assert_eq!(said(at_home, 400.0), "was sent to its own disk: as it should", "its disk was where it was to go");
    let slowly = (0..6).flat_map(|one| once(f64::from(one) * 900.0)).collect();
    assert!(!said(slowly, 4_600.0).contains("loop"), "once a quarter of an hour is no loop");
}

#[test]
fn a_disk_that_starts_instead_of_the_network_is_told_as_that() {
    let system = asked(60.0, Client::Plain, Led::Nothing).to_vec();
    assert_eq!(said(system.clone(), 70.0), "the system of its own disk runs");
    let instead = judged([vec![on(0.0)], system].concat(), 70.0);
    assert_eq!(instead, Diagnosis::DiskInstead);
    assert!(instead.next_step().contains("boot order"));
}

#[test]
fn a_file_on_its_way_is_told_with_its_rate() {
    let mut entries = loaded(0.0);
    entries.truncate(6);
    let running = Running {
        began: Millis(17_000),
        via: Via::Http,
        file: File::Kernel,
        path: "/boot/vmlinuz".into(),
        bytes: 4_300_000,
        size: 10_000_000,
    };
    let all = boots(entries, &[running], Millis(19_000));
    let told = all.last().unwrap().diagnosis.to_string();
    assert_eq!(told, "is fetching /boot/vmlinuz, 43 %, 2.1 MB/s");
}

#[test]
fn a_boot_begins_with_power_with_firmware_after_a_loader_and_with_another_agent() {
    let count = |entries: Vec<Entry>| boots(entries, &[], Millis(10_000_000)).len();
    let pxe = |s: f64| packet(s, SightingKind::Discover, Client::Pxe, Got::Offer, loader(), "OFFER");
    assert_eq!(count(vec![pxe(0.0), pxe(4.0), pxe(12.0), pxe(28.0)]), 1, "firmware repeats its question");
    assert_eq!(count(vec![pxe(0.0), pxe(4.0), pxe(200.0)]), 2, "and begins anew after silence");
    assert_eq!(count([loaded(0.0), vec![pxe(60.0)]].concat()), 2);
    assert_eq!(count([loaded(0.0), loaded(30.0)].concat()), 2);
    assert_eq!(count([loaded(0.0), vec![spoke(30.0, "a", false), spoke(40.0, "a", false)]].concat()), 1);
    assert_eq!(count([loaded(0.0), vec![spoke(30.0, "a", false), spoke(200.0, "b", true)]].concat()), 2);
    let script_again = [asked(0.0, Client::Ipxe, Led::Script).to_vec(), vec![script(1.0, true, false, "")]].concat();
    let later = asked(30.0, Client::Ipxe, Led::Script).to_vec();
    assert_eq!(count([script_again, later].concat()), 2, "a loader in the card asks anew: it was started anew");
    let renewal = packet(3.0, SightingKind::Request, Client::Plain, Got::Ack, Led::Nothing, "ACK");
    let mut course = Course::default();
    course.take(&renewal);
    assert!(course.is_renewal(&renewal) && !course.is_renewal(&pxe(5.0)));
}

#[test]
fn a_path_tells_what_the_file_is_to_a_boot() {
    for (path, file) in [
        ("ipxe.efi", File::Loader),
        ("undionly.kpxe", File::Loader),
        ("pxelinux.0", File::Loader),
        ("/boot/ipxe.efi", File::Loader),
        ("/boot/vmlinuz", File::Kernel),
        ("/boot/initrd.zst", File::Initrd),
        ("/b/52-54-00-00-00-01/boot.ipxe", File::Script),
        ("/b/52-54-00-00-00-01/ab/agent.cpio", File::Token),
        ("/images/debian-12/disk.raw.zst", File::Image),
        ("/boot/muster-agent", File::Other),
        ("", File::Other),
    ] {
        assert_eq!(File::of(path), file, "{path}");
    }
}

#[test]
fn what_a_later_version_wrote_is_still_listed() {
    let entry: Entry = serde_json::from_str(r#"{"at":5,"what":{"type":"telepathy","strength":3}}"#).unwrap();
    assert_eq!((entry.kind(), entry.what), ("unknown", What::Unknown));
}

fn some_what() -> impl Strategy<Value = What> {
    let clients = [Client::Plain, Client::Pxe, Client::Http, Client::Ipxe, Client::BareIpxe, Client::Other];
    let kinds = [SightingKind::Discover, SightingKind::Request, SightingKind::Inform, SightingKind::Decline];
    let gots = [Got::Offer, Got::Ack, Got::Nak, Got::Silence, Got::Dropped, Got::Noted];
    let leds = vec![Led::Nothing, loader(), Led::Script, disk(true), disk(false)];
    let hows =
        [How::Whole, How::Probed, How::Refused(1), How::GaveUp, How::Lost, How::Replaced, How::Untrusted, How::NoTls];
    let paths = ["ipxe.efi", "/boot/vmlinuz", "/boot/initrd.zst", "/b/x/boot.ipxe", "/b/x/0/agent.cpio", "/images/x"];
    let pick = proptest::sample::select::<Client>;
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(on, agent)| What::Power { on, agent }),
        (
            pick(clients.to_vec()),
            proptest::sample::select(kinds.to_vec()),
            proptest::sample::select(gots.to_vec()),
            proptest::sample::select(leds),
            any::<String>()
        )
            .prop_map(|(client, kind, got, led, words)| {
                match packet(0.0, kind, client, got, led, &words).what {
                    What::Packet(packet) => What::Packet(packet),
                    other => other,
                }
            }),
        (
            proptest::sample::select(paths.to_vec()),
            proptest::sample::select(hows.to_vec()),
            any::<u64>(),
            any::<u64>(),
            any::<Option<u64>>()
        )
            .prop_map(|(path, how, bytes, took_ms, size)| {
                let (via, file, path) = (Via::Http, File::of(path), path.to_owned());
                What::Fetch(Fetch { via, file, path, bytes, size, took_ms, repeats: 3, how })
            }),
        (any::<bool>(), any::<bool>(), any::<String>()).prop_map(|(agent, wanted, why)| What::Script {
            agent,
            wanted,
            why
        }),
        (any::<u8>(), any::<String>()).prop_map(|(severity, text)| What::Log(LogLine {
            severity,
            program: String::new(),
            text
        })),
        ("[ab]", any::<bool>(), any::<Option<u64>>()).prop_map(|(boot, resident, kernel_ms)| What::Agent(AgentSeen {
            boot,
            resident,
            kernel_ms
        })),
        any::<String>().prop_map(|words| What::Event { words }),
        Just(What::Unknown),
    ]
}

proptest! {
    #[test]
    fn any_list_in_any_order_is_told_and_no_entry_is_lost(
        list in proptest::collection::vec((any::<i64>(), some_what()), 0..40), now: i64,
    ) {
        let entries: Vec<Entry> = list.into_iter().map(|(at, what)| Entry::of(Millis(at), None, what)).collect();
        let count = entries.len();
        let all = boots(entries, &[], Millis(now));
        prop_assert_eq!(all.iter().map(|boot| boot.entries.len()).sum::<usize>(), count);
        for boot in &all {
            prop_assert!(!boot.diagnosis.to_string().is_empty());
            prop_assert!(Diagnosis::LABELS.contains(&boot.diagnosis.label()));
            let grave = boot.diagnosis.grade() == Grade::Wrong;
            prop_assert!(!grave || !boot.diagnosis.next_step().is_empty(), "what is wrong has a next step");
            boot.entries.iter().for_each(|entry| drop(entry.to_string() + entry.kind() + &entry.asked()));
        }
    }

    #[test]
    fn the_order_in_which_a_list_comes_changes_nothing(
        whats in proptest::collection::vec(some_what(), 0..25), seed: u64, step in 1i64..200_000,
    ) {
        let entries: Vec<Entry> = (0i64..).zip(whats).map(|(at, what)| Entry::of(Millis(at * step), None, what)).collect();
        let mut mixed = entries.clone();
        mixed.sort_by_key(|entry| (entry.at.0 as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let now = Millis(30 * step);
        prop_assert_eq!(boots(entries, &[], now), boots(mixed, &[], now));
    }

    #[test]
    fn what_is_kept_reads_back_as_it_was(at: i64, what in some_what()) {
        let entry = Entry::of(Millis(at), Some(MAC), what);
        let text = serde_json::to_string(&entry).unwrap();
        let back: Entry = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.what == What::Unknown, entry.what == What::Unknown);
        if entry.what != What::Unknown {
            prop_assert_eq!(back, entry);
        }
    }
}
