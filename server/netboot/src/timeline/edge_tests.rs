//! The edges of the timeline's rules: the last millisecond of each patience and the first after it, and every text whole.

use super::tests::{asked, disk, fetch, loaded, loader, log, on, packet, script, spoke, whole};
use super::*;
use crate::choice::{Choice, Client, WhyDisk};
use crate::clients::ProxyStyle;
use crate::reply::ReplyKind;
use crate::sighting::{Said, Sighting, SightingKind};
use crate::silence::Silence;
use crate::v6;
use muster_names::{Mac, Millis};

/// What the first of the boots came to.
fn first(entries: Vec<Entry>, now: i64) -> Diagnosis {
    boots(entries, &[], Millis(now)).first().map_or(Diagnosis::NeverSeen, |boot| boot.diagnosis.clone())
}

fn count(entries: Vec<Entry>) -> usize {
    boots(entries, &[], Millis(10_000_000)).len()
}

fn offered(seconds: f64, client: Client) -> Entry {
    packet(seconds, SightingKind::Discover, client, Got::Offer, loader(), "OFFER 10.0.0.9; x")
}

#[test]
fn each_patience_lasts_to_its_last_millisecond_and_ends_with_the_boot() {
    let part = || loaded(0.0).into_iter().take(8).collect::<Vec<_>>();
    for (entries, last, going, late) in [
        (vec![on(0.0)], 300_000, "never-asked", "never-asked"),
        (vec![offered(0.0, Client::Pxe)], 15_000, "going", "not-taken"),
        (asked(0.0, Client::Pxe, loader()).to_vec(), 30_100, "going", "loader-not-fetched"),
        (asked(0.0, Client::Ipxe, Led::Script).to_vec(), 30_100, "going", "script-not-fetched"),
        (vec![whole(12.0, "ipxe.efi")], 73_000, "going", "loader-silent"),
        (vec![script(5.0, true, false, "")], 35_000, "going", "kernel-not-fetched"),
        (part(), 78_000, "going", "kernel-incomplete"),
        (loaded(0.0), 200_000, "going", "kernel-silent"),
    ] {
        let before = first(entries.clone(), last);
        assert_eq!((before.label(), before.grade()), (going, Grade::Going), "{last}");
        let after = first(entries.clone(), last + 1);
        assert_eq!((after.label(), after.grade()), (late, Grade::Wrong), "{last}");
        let ended = first([entries, vec![on(50.0)]].concat(), 50_000);
        assert_eq!((ended.label(), ended.grade()), (late, Grade::Wrong), "{last}: the next boot has begun");
    }
}

#[test]
fn the_agents_word_is_told_with_its_time_only_where_the_begin_was_seen() {
    let spoke_at = |entries: Vec<Entry>| first([entries, vec![spoke(9.0, "a", false)]].concat(), 20_000);
    assert_eq!(spoke_at(Vec::new()), Diagnosis::AgentSpoke { resident: false, seconds: None });
    assert_eq!(spoke_at(vec![log(1.0, 6, "x")]), Diagnosis::AgentSpoke { resident: false, seconds: None });
    assert_eq!(spoke_at(vec![on(2.0)]), Diagnosis::AgentSpoke { resident: false, seconds: Some(7) });
}

#[test]
fn of_the_files_on_their_way_the_newest_is_told_and_one_of_unknown_size_without_its_share() {
    let running = |began, path: &str, size| Running {
        began: Millis(began),
        via: Via::Http,
        file: File::Kernel,
        path: path.into(),
        bytes: 3_000,
        size,
    };
    let told = |running: &[Running]| boots(vec![on(0.0)], running, Millis(3_000))[0].diagnosis.clone();
    let fetching = |path: &str, percent, rate| Diagnosis::Fetching { path: path.into(), percent, rate };
    assert_eq!(told(&[running(2_000, "/b", 4_000), running(1_000, "/a", 0)]), fetching("/b", Some(75), 3_000));
    assert_eq!(told(&[running(1_000, "/a", 0)]), fetching("/a", None, 1_500));
    assert_eq!(told(&[running(1_000, "/a", 1_000)]), fetching("/a", Some(100), 1_500));
}

#[test]
fn b2_12_a_loop_is_four_whole_loaders_or_scripts_in_a_row_without_a_long_pause() {
    let once = |from: f64, how| {
        let last = fetch(from + 1.0, "ipxe.efi", 100, 10_000_000, how);
        [asked(from, Client::Pxe, loader()).to_vec(), vec![last]].concat()
    };
    let newest = |entries: Vec<Entry>| boots(entries, &[], Millis(1_000_000)).last().unwrap().diagnosis.clone();
    let at = |pause: f64| {
        [once(0.0, How::Whole), once(30.0, How::Whole), once(60.0, How::Whole), once(60.0 + pause, How::Whole)]
    };
    let looped = Diagnosis::Loop { times: 4, minutes: 7, stage: Stage::Loader, braked: false };
    assert_eq!(newest(at(300.0).concat()), looped);
    assert_eq!(newest(at(300.5).concat()).label(), "loader-silent", "a pause of over five minutes");
    let cut = (0..5).flat_map(|one| once(f64::from(one) * 30.0, How::Lost)).collect();
    assert_ne!(newest(cut).label(), "loop", "what was cut off was not fetched");
    let card = |from: f64| {
        [asked(from, Client::Ipxe, Led::Script).to_vec(), vec![script(from + 1.0, true, false, "")]].concat()
    };
    let scripts: Vec<Entry> = (0..4).flat_map(|one| card(f64::from(one) * 30.0)).collect();
    assert_eq!(newest(scripts), Diagnosis::Loop { times: 4, minutes: 2, stage: Stage::Script, braked: false });
    let both = |from: f64| [once(from, How::Whole), card(from + 5.0)].concat();
    assert_ne!(newest([both(0.0), both(30.0)].concat()).label(), "loop", "a loader and its script are one try");
    let spoken = [
        once(0.0, How::Whole),
        once(30.0, How::Whole),
        vec![spoke(45.0, "a", false)],
        once(60.0, How::Whole),
        once(90.0, How::Whole),
    ];
    assert_ne!(newest(spoken.concat()).label(), "loop", "the agent spoke in between");
    let home = [
        once(0.0, How::Whole),
        once(30.0, How::Whole),
        asked(60.0, Client::Pxe, disk(false)).to_vec(),
        once(90.0, How::Whole),
        once(120.0, How::Whole),
    ];
    assert_ne!(newest(home.concat()).label(), "loop", "it was to go to its disk in between");
    let braked = asked(0.0, Client::Pxe, disk(true)).to_vec();
    assert_eq!(newest(braked), Diagnosis::Loop { times: 0, minutes: 1, stage: Stage::Address, braked: true });
}

#[test]
fn what_failed_counts_unless_another_name_came_and_each_file_of_the_kernel_has_to_come() {
    let missing = |path: &str| fetch(1.0, path, 0, 0, How::NotFound);
    let other = first(vec![missing("a.efi"), whole(2.0, "ipxe.efi")], 100_000);
    assert_eq!(other, Diagnosis::LoaderSilent { path: "ipxe.efi".into(), seconds: 97 });
    let kernel = first(vec![whole(0.0, "/boot/vmlinuz"), missing("/boot/initrd.zst")], 2_000);
    assert_eq!(
        kernel,
        Diagnosis::NotGiven { stage: Stage::Kernel, path: "/boot/initrd.zst".into(), how: How::NotFound }
    );
    let busy = first(vec![fetch(1.0, "/b/x/boot.ipxe", 0, 0, How::NoTls)], 2_000);
    assert_eq!(busy.label(), "cut-off");
    let unread = first(vec![fetch(1.0, "ipxe.efi", 0, 0, How::Probed)], 200_000);
    assert_eq!(unread, Diagnosis::LoaderNotFetched { file: "ipxe.efi".into() });
    let quiet = |lines: [Entry; 2]| match first([loaded(0.0), lines.to_vec()].concat(), 300_000) {
        Diagnosis::KernelSilent { said, .. } => said,
        other => panic!("{other}"),
    };
    assert_eq!(quiet([log(30.0, 4, "a"), log(31.0, 5, "b")]).as_deref(), Some("b"), "none is grave, so the last");
    assert_eq!(quiet([log(30.0, 3, "a"), log(31.0, 4, "b")]).as_deref(), Some("a"));
    assert_eq!(quiet([log(30.0, 6, "a PANIC"), log(31.0, 4, "b")]).as_deref(), Some("a PANIC"));
}

#[test]
fn a_system_runs_once_it_has_its_address_after_it_was_sent_to_its_disk() {
    let sent = |wanted| vec![script(10.0, false, wanted, "as told")];
    let system = |seconds, got| packet(seconds, SightingKind::Request, Client::Plain, got, Led::Nothing, "ACK");
    let to_disk = |wanted| Diagnosis::ToDisk { wanted, why: "as told".into() };
    for (wanted, entry, expected) in [
        (true, system(10.0, Got::Ack), Diagnosis::SystemRuns),
        (true, system(9.0, Got::Ack), to_disk(true)),
        (true, system(11.0, Got::Nak), to_disk(true)),
        (true, packet(11.0, SightingKind::Request, Client::Pxe, Got::Ack, Led::Nothing, "ACK"), to_disk(true)),
        (false, system(11.0, Got::Ack), to_disk(false)),
    ] {
        assert_eq!(first([sent(wanted), vec![entry.clone()]].concat(), 20_000), expected, "{entry:?}");
    }
    assert_eq!(
        first(asked(1.0, Client::Pxe, Led::Nothing).to_vec(), 9_000),
        Diagnosis::ToDisk { wanted: false, why: "ACK 10.0.0.9; x".into() }
    );
    let off = Entry::of(Millis(0), None, What::Power { on: true, agent: false });
    let plain = asked(60.0, Client::Plain, Led::Nothing).to_vec();
    assert_eq!(first([vec![off], plain].concat(), 70_000), Diagnosis::SystemRuns, "nobody ordered the agent");
}

#[test]
fn what_is_no_question_for_an_address_says_nothing_of_one() {
    let one = |kind, got| first(vec![packet(1.0, kind, Client::Plain, got, Led::Nothing, "x: y")], 60_000);
    for kind in [SightingKind::Decline, SightingKind::Release, SightingKind::Inform] {
        assert_eq!(one(kind, Got::Ack), Diagnosis::NeverSeen, "{kind:?}");
    }
    assert_eq!(one(SightingKind::Request, Got::Noted), Diagnosis::NeverSeen);
    assert_eq!(one(SightingKind::Request, Got::Dropped), Diagnosis::NoAnswer { times: 1, why: "y".into() });
    let mut failed = fetch(9.0, "", 90, 0, How::Untrusted);
    let with =
        |failed: &Entry| first([asked(10.0, Client::Http, loader()).to_vec(), vec![failed.clone()]].concat(), 60_000);
    assert_eq!(with(&failed).label(), "loader-not-fetched", "it failed before it was told of the loader");
    failed.at = Millis(10_010);
    assert_eq!(with(&failed).label(), "no-tls", "it ended just then");
}

#[test]
fn a_boot_ends_after_two_minutes_of_silent_firmware_and_ten_of_a_silent_system() {
    for (client, last) in [(Client::Pxe, 120.0), (Client::Other, 120.0), (Client::Ipxe, 120.0), (Client::Plain, 600.0)]
    {
        assert_eq!(count(vec![offered(0.0, client), offered(last, client)]), 1, "{client}");
        assert_eq!(count(vec![offered(0.0, client), offered(last + 0.5, client)]), 2, "{client}");
        let request = packet(last + 0.5, SightingKind::Request, client, Got::Ack, loader(), "ACK");
        assert_eq!(count(vec![offered(0.0, client), request]), 1, "{client}: only who has no address begins");
    }
    assert_eq!(count(vec![log(0.0, 6, "x"), offered(900.0, Client::Plain)]), 1, "nothing was seen of a boot yet");
    assert_eq!(count(vec![spoke(0.0, "a", true), offered(1.0, Client::Plain)]), 2, "its agent runs, and it asks anew");
    assert_eq!(count(vec![offered(0.0, Client::Pxe), offered(1.0, Client::Ipxe)]), 1);
    assert_eq!(count(vec![whole(0.0, "ipxe.efi"), offered(1.0, Client::Pxe)]), 2);
    assert_eq!(count(vec![whole(0.0, "/boot/vmlinuz"), offered(1.0, Client::Ipxe)]), 2);
    assert_eq!(count(vec![whole(0.0, "/images/x"), offered(1.0, Client::Ipxe)]), 1, "an image is no step of a boot");
    assert_eq!(count(vec![on(0.0), Entry::of(Millis(9), None, What::Power { on: false, agent: false })]), 1);
    let inform = packet(0.0, SightingKind::Inform, Client::Plain, Got::Ack, Led::Nothing, "ACK");
    assert_eq!(count(vec![inform.clone(), offered(900.0, Client::Plain)]), 1, "an INFORM says nothing of a system");
    assert!(boots(vec![inform], &[], Millis(1))[0].stages.is_empty());
}

#[test]
fn b12_firmware_speaks_for_five_seconds_after_it_was_told_what_to_load() {
    let stages = |entries: Vec<Entry>| {
        let all = boots(entries, &[], Millis(60_000));
        all[0].stages.iter().map(|span| span.stage).collect::<Vec<_>>()
    };
    let aside = |seconds| packet(seconds, SightingKind::Solicit, Client::Plain, Got::Offer, Led::Nothing, "x");
    let told = offered(1.0, Client::Http);
    assert_eq!(stages(vec![told.clone(), aside(6.0)]), [Stage::Address]);
    assert_eq!(stages(vec![told.clone(), aside(6.5)]), [Stage::Address, Stage::Disk]);
    assert_eq!(
        stages(vec![told, whole(2.0, "/boot/ipxe.efi"), aside(4.0)]),
        [Stage::Address, Stage::Loader, Stage::Disk]
    );
}

#[test]
fn only_the_request_of_a_system_that_has_its_address_is_a_renewal() {
    let one = |kind, client, got| packet(1.0, kind, client, got, Led::Nothing, "x");
    let bind = one(SightingKind::Request, Client::Plain, Got::Ack);
    let others = [
        one(SightingKind::Discover, Client::Plain, Got::Ack),
        one(SightingKind::Request, Client::Pxe, Got::Ack),
        one(SightingKind::Request, Client::Plain, Got::Nak),
    ];
    let mut course = Course::default();
    for other in &others {
        course.take(other);
        assert!(!course.is_renewal(&bind), "{other:?}");
    }
    course.take(&bind);
    course.take(&others[0]);
    assert!(course.is_renewal(&bind) && !others.iter().any(|other| course.is_renewal(other)));
}

#[test]
fn stages_follow_each_other_and_the_disk_is_after_the_networks_last() {
    let spans = |entries: Vec<Entry>| {
        let all = boots(entries, &[], Millis(900_000));
        all[0].stages.iter().map(|span| (span.stage, span.began.0)).collect::<Vec<_>>()
    };
    let sent = |wanted| packet(2.0, SightingKind::Request, Client::Pxe, Got::Ack, disk(wanted), "ACK");
    assert_eq!(spans(vec![sent(false)]), [(Stage::Address, 2_000), (Stage::Disk, 2_000)]);
    let offer = packet(2.0, SightingKind::Discover, Client::Pxe, Got::Offer, disk(false), "OFFER");
    assert_eq!(spans(vec![offer]), [(Stage::Address, 2_000)], "an offer leads nowhere yet");
    assert_eq!(spans(vec![script(3.0, true, false, "")]), [(Stage::Script, 3_000)]);
    let resident = vec![script(3.0, false, true, ""), spoke(9.0, "a", true)];
    assert_eq!(spans(resident), [(Stage::Script, 3_000), (Stage::Disk, 3_000), (Stage::Agent, 9_000)]);
    let kernel = || vec![whole(1.0, "/boot/vmlinuz"), whole(2.0, "/boot/initrd.zst")];
    assert_eq!(spans(kernel()), [(Stage::Kernel, 1_000), (Stage::System, 3_000)]);
    let at_once = [kernel(), vec![log(3.0, 6, "x"), spoke(4.0, "a", false)]].concat();
    assert_eq!(spans(at_once), [(Stage::Kernel, 1_000), (Stage::System, 3_000), (Stage::Agent, 4_000)]);
    let same = [kernel(), vec![spoke(3.0, "a", false)]].concat();
    assert_eq!(spans(same), [(Stage::Kernel, 1_000), (Stage::Agent, 3_000)], "no time for a system was seen");
    let half = vec![whole(1.0, "/boot/vmlinuz"), fetch(2.0, "/boot/initrd.zst", 9, 9, How::Lost)];
    assert_eq!(spans(half), [(Stage::Kernel, 1_000)]);
    let all = boots(loaded(0.0), &[], Millis(900_000));
    assert_eq!(all[0].reached(), Some(Stage::System));
    assert_eq!(Stage::ALL.map(Stage::label).concat(), "poweraddressloaderscriptkernelsystemagentdisk");
    assert_eq!(Stage::Power.to_string(), "power");
}

#[test]
fn what_was_seen_is_kept_with_what_the_machine_got_and_where_it_leads() {
    let dhcp = |kind, choice| Said::Dhcp { kind, address: "10.0.0.9".parse().unwrap(), choice };
    let dhcp6 = |bound, address: Option<&str>, choice| Said::Dhcp6 {
        bound,
        address: address.map(|text| text.parse().unwrap()),
        choice,
        words: "x".into(),
    };
    let tftp = || Choice::Tftp { file: "a.efi".into(), proxy: ProxyStyle::Pxe10 };
    let http = || Choice::Http { url: "http://h/boot/b.efi".into() };
    let to_disk = |why| Choice::Disk { why, script: None };
    let file = |file: &str| Led::Loader { file: file.into() };
    let home = |wanted, brake| Led::Disk { wanted, brake };
    for (said, got, led) in [
        (dhcp(ReplyKind::Offer, tftp()), Got::Offer, file("a.efi")),
        (dhcp(ReplyKind::Ack, http()), Got::Ack, file("b.efi")),
        (dhcp(ReplyKind::Ack, Choice::Script { url: "u".into() }), Got::Ack, Led::Script),
        (dhcp(ReplyKind::Ack, Choice::Nothing), Got::Ack, Led::Nothing),
        (dhcp(ReplyKind::Nak, tftp()), Got::Nak, Led::Nothing),
        (dhcp(ReplyKind::Ack, to_disk(WhyDisk::Asked)), Got::Ack, home(true, false)),
        (dhcp(ReplyKind::Ack, to_disk(WhyDisk::Loop)), Got::Ack, home(false, true)),
        (dhcp(ReplyKind::Ack, to_disk(WhyDisk::Stranger)), Got::Ack, home(false, false)),
        (dhcp6(false, Some("fd00::9"), tftp()), Got::Offer, file("a.efi")),
        (dhcp6(true, Some("fd00::9"), tftp()), Got::Ack, file("a.efi")),
        (dhcp6(true, None, tftp()), Got::Noted, Led::Nothing),
        (Said::Silence(Silence::Bootp), Got::Silence, Led::Nothing),
        (Said::Silence6(v6::Silence::NoNetwork), Got::Silence, Led::Nothing),
        (Said::Dropped("x"), Got::Dropped, Led::Nothing),
        (Said::Noted, Got::Noted, Led::Nothing),
    ] {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let words = said.to_string();
        let seen = Sighting {
            network: Some("rack".into()),
            circuit_id: Some(b"swp7".to_vec()),
            remote_id: Some(vec![0, 1]),
            ..Sighting::of(Millis(5), mac, SightingKind::Request, said)
        };
        let kept = Packet {
            kind: SightingKind::Request,
            client: Client::Plain,
            known_as: None,
            xid: 0,
            network: Some("rack".into()),
            arch: None,
            vendor_class: None,
            giaddr: None,
            circuit_id: Some("swp7".into()),
            remote_id: Some("00:01".into()),
            got,
            led,
            words,
        };
        assert_eq!(Entry::seen(&seen), Entry::of(Millis(5), Some(mac), What::Packet(kept)));
    }
    let said = Said::Script { agent: false, wanted: true, why: "w".into() };
    let seen = Entry::seen(&Sighting::of(Millis(5), Mac([2; 6]), SightingKind::Http, said));
    assert_eq!(seen.what, What::Script { agent: false, wanted: true, why: "w".into() });
}

#[test]
fn an_entry_ends_when_its_transfer_does_and_knows_its_share_and_its_weight() {
    assert_eq!((whole(1.0, "a.efi").end(), on(1.0).end()), (Millis(2_000), Millis(1_000)));
    assert!(log(0.0, 6, "x").is_log() && !on(0.0).is_log());
    let percent = |bytes, size| match fetch(0.0, "x", 0, bytes, How::Lost).what {
        What::Fetch(fetch) => Fetch { size, ..fetch }.percent(),
        _ => None,
    };
    assert_eq!(
        [percent(1, Some(3)), percent(9, Some(3)), percent(1, Some(0)), percent(1, None)],
        [Some(33), Some(100), None, None]
    );
    for (path, file) in [
        ("a.pxe", File::Loader),
        ("a.kkpxe", File::Loader),
        ("a.lkrn", File::Loader),
        ("grub/grub.cfg", File::Script),
        ("images", File::Image),
        ("a/images", File::Other),
    ] {
        assert_eq!(File::of(path), file, "{path}");
    }
}

#[test]
fn sizes_rates_and_times_change_their_unit_where_a_person_would() {
    for (bytes, words) in [
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_990, "1.9 kB"),
        (999_999, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (1_000_000_000, "1.0 GB"),
        (8_500_000_000_000, "8.5 TB"),
    ] {
        assert_eq!(size(bytes), words);
    }
    assert_eq!((rate(3_000, 2_000), rate(5, 0)), ("1.5 kB/s".to_owned(), "5.0 kB/s".to_owned()));
    for (millis, words) in [
        (-1, "0.0 s"),
        (1_590, "1.5 s"),
        (99_999, "99.9 s"),
        (100_000, "1 min 40 s"),
        (5_999_999, "99 min 59 s"),
        (6_000_000, "1 h 40 min"),
        (90_061_000, "25 h 1 min"),
    ] {
        assert_eq!(span(millis), words);
    }
}

#[test]
fn every_entry_is_told_in_its_own_words() {
    let power = |on, agent| Entry::of(Millis(0), None, What::Power { on, agent });
    let known = |circuit: Option<&str>, name: Option<&str>| {
        let mut entry = offered(0.0, Client::Pxe);
        if let What::Packet(packet) = &mut entry.what {
            (packet.giaddr, packet.circuit_id) = (
                circuit.map(|_| "10.0.0.2".parse().unwrap()),
                circuit.filter(|text| !text.is_empty()).map(str::to_owned),
            );
            packet.known_as = name.map(str::to_owned);
        }
        entry
    };
    let agent = |resident, kernel_ms| {
        Entry::of(Millis(0), None, What::Agent(AgentSeen { boot: "a".into(), resident, kernel_ms }))
    };
    let lost = |how, size, repeats| {
        let mut entry = fetch(0.0, "/x", 1_500, 2_000, how);
        if let What::Fetch(fetch) = &mut entry.what {
            (fetch.size, fetch.repeats) = (size, repeats);
        }
        entry
    };
    for (entry, kind, what, words) in [
        (power(true, true), "power", "on, into the boot image", "the BMC was told to switch it on"),
        (power(true, false), "power", "on", "the BMC was told to switch it on"),
        (power(false, true), "power", "off", "the BMC was told to switch it off"),
        (known(None, None), "discover", "firmware, PXE", "OFFER 10.0.0.9; x"),
        (known(Some(""), None), "discover", "firmware, PXE, relay 10.0.0.2", "OFFER 10.0.0.9; x"),
        (known(Some("swp7"), Some("ONIE")), "discover", "ONIE, relay 10.0.0.2 swp7", "OFFER 10.0.0.9; x"),
        (script(0.0, true, false, "x"), "script", "agent", "the script that boots the agent"),
        (script(0.0, false, false, ""), "script", "disk", "the script that boots its disk"),
        (script(0.0, false, false, "why"), "script", "disk", "the script that boots its disk: why"),
        (agent(true, Some(9)), "agent", "resident", "the agent of its own system speaks"),
        (agent(false, Some(4_200)), "agent", "ram", "the agent speaks, 4.2 s after its kernel began"),
        (agent(false, None), "agent", "ram", "the agent speaks"),
        (log(0.0, 0, "x"), "log", "kernel", "EMERGENCY: x"),
        (log(0.0, 3, "x"), "log", "kernel", "error: x"),
        (log(0.0, 5, "x"), "log", "kernel", "x"),
        (Entry::of(Millis(0), None, What::Event { words: "w".into() }), "event", "", "w"),
        (Entry::of(Millis(0), None, What::Unknown), "unknown", "", "written by a later version"),
        (lost(How::Whole, None, 1), "http", "/x", "2.0 kB in 1.5 s, 1.3 kB/s, 1 packets repeated"),
        (lost(How::Probed, None, 0), "http", "/x", "asked only how long it is"),
        (lost(How::NotFound, None, 0), "http", "/x", "THERE IS NO SUCH FILE"),
        (lost(How::Refused(8), None, 0), "http", "/x", "REFUSED with code 8"),
        (lost(How::Untrusted, None, 0), "http", "/x", "IT DOES NOT TRUST OUR CERTIFICATE"),
        (lost(How::NoTls, None, 0), "http", "/x", "NO TLS came of it"),
        (lost(How::GaveUp, Some(4_000), 0), "http", "/x", "CUT OFF at 50 % after 1.5 s: the machine gave up"),
        (
            lost(How::Replaced, None, 0),
            "http",
            "/x",
            "CUT OFF after 2.0 kB after 1.5 s: the machine asked for something else",
        ),
        (lost(How::Lost, None, 0), "http", "/x", "CUT OFF after 2.0 kB after 1.5 s: the machine fell silent"),
        (fetch(0.0, "x", 0, 0, How::NotFound), "tftp", "x", "THERE IS NO SUCH FILE"),
    ] {
        assert_eq!((entry.kind(), entry.asked().as_str(), entry.to_string().as_str()), (kind, what, words));
    }
}

#[test]
fn every_diagnosis_has_its_label_its_weight_and_its_sentence() {
    use Grade::{Going, Well, Wrong};
    let (path, file, why) = (|| "/x".to_owned(), || "a.efi".to_owned(), || "w".to_owned());
    let cut =
        |percent| Diagnosis::CutOff { stage: Stage::Kernel, path: path(), via: Via::Https, percent, bytes: 2_000 };
    let looped = |times, braked| Diagnosis::Loop { times, minutes: 3, stage: Stage::System, braked };
    let all = [
        (Diagnosis::NeverSeen, Wrong, "never asked: nothing was ever heard of it"),
        (Diagnosis::SwitchedOff, Well, "it was switched off by Muster"),
        (
            Diagnosis::NeverAsked { seconds: 100, over: true },
            Wrong,
            "never asked: power was switched on 1 min 40 s ago and nothing was heard",
        ),
        (Diagnosis::NoAnswer { times: 2, why: why() }, Wrong, "asked twice, no offer: w"),
        (Diagnosis::NotTaken { times: 3 }, Wrong, "was offered an address 3 times and did not take it"),
        (Diagnosis::Refused { why: why() }, Wrong, "was refused its address (w) and did not ask anew"),
        (Diagnosis::LoaderNotFetched { file: file() }, Wrong, "has an address and never fetched its loader a.efi"),
        (Diagnosis::NoTls { file: file(), untrusted: false }, Wrong, "came to no TLS for its loader a.efi"),
        (
            Diagnosis::NotGiven { stage: Stage::Loader, path: path(), how: How::NotFound },
            Wrong,
            "the loader's file /x is not there",
        ),
        (cut(None), Wrong, "the kernel was cut off after 2.0 kB: /x by HTTPS"),
        (
            Diagnosis::LoaderSilent { path: path(), seconds: 99 },
            Wrong,
            "fetched its loader /x whole, and the loader has said nothing for 99 s",
        ),
        (Diagnosis::ScriptNotFetched, Wrong, "its loader has an address and never fetched its script"),
        (Diagnosis::ToDisk { wanted: true, why: String::new() }, Well, "was sent to its own disk"),
        (Diagnosis::KernelNotFetched, Wrong, "has its script and never fetched the kernel"),
        (Diagnosis::KernelIncomplete, Wrong, "fetched a part of kernel, initramfs and token, and then no more"),
        (
            Diagnosis::KernelSilent { seconds: 9, said: None },
            Wrong,
            "the kernel started 9 s ago and the agent never spoke",
        ),
        (
            looped(4, false),
            Wrong,
            "boot loop: fetched the loader 4 times within 3 min, ending each time after its kernel had started",
        ),
        (
            Diagnosis::Going { stage: Stage::Script, seconds: 5 },
            Going,
            "it has its script, and its kernel is expected to be fetched (5 s)",
        ),
        (Diagnosis::Fetching { path: path(), percent: None, rate: 9 }, Going, "is fetching /x, 9 B/s"),
        (Diagnosis::SystemRuns, Well, "the system of its own disk runs"),
        (
            Diagnosis::DiskInstead,
            Wrong,
            "was to boot from the network, and the system of its disk started without asking",
        ),
        (Diagnosis::AgentSpoke { resident: true, seconds: None }, Well, "the agent of its own system spoke"),
    ];
    for ((diagnosis, grade, words), label) in all.into_iter().zip(Diagnosis::LABELS) {
        assert_eq!((diagnosis.label(), diagnosis.grade(), diagnosis.to_string().as_str()), (label, grade, words));
        assert_eq!(diagnosis.next_step().is_empty(), grade == Well, "{words}");
    }
    assert_eq!([Well, Going, Wrong].map(Grade::label), ["well", "going", "wrong"]);
    assert_eq!(Diagnosis::ToDisk { wanted: false, why: why() }.grade(), Wrong);
    assert_eq!(cut(Some(7)).to_string(), "the kernel was cut off at 7 %: /x by HTTPS");
    let sent = "sent to its own disk, for it asked for the same stage over three times in five minutes";
    assert_eq!(looped(0, true).to_string(), format!("boot loop: {sent}"));
    let once = "boot loop: fetched the loader once within 3 min, ending each time after its kernel had started";
    assert_eq!(looped(1, true).to_string(), format!("{once}; {sent}"));
}
