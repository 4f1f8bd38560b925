//! What is called a difference, and what is not.

use super::*;
use crate::network::Range;
use std::net::SocketAddrV4;

const NOW: Millis = Millis(1_000_000);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn networks() -> Networks {
    let mut lan = Network::new("lan", "10.0.0.0/24".parse().unwrap(), at(1), "http://10.0.0.1:8080");
    lan.interface = Some("eth0".into());
    lan.ranges = vec![Range { first: at(50), last: at(60) }];
    lan.gateway = Some(at(254));
    lan.authoritative = true;
    Networks::new(vec![lan]).unwrap()
}

fn ingress() -> Ingress<'static> {
    Ingress { interface: "eth0", source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), unicast: false, port: 67 }
}

fn reserved(_: Mac) -> Host {
    Host { ours: true, reservation: Some(at(11)), ..Host::default() }
}

fn reserved_57(_: Mac) -> Host {
    Host { reservation: Some(at(57)), ..reserved(MAC) }
}

fn stranger(_: Mac) -> Host {
    Host::default()
}

/// A reply as a live server would give it, equal to ours in everything.
fn live(kind: ReplyKind, address: Ipv4Addr) -> Seen {
    let options = [
        (1, vec![255, 255, 255, 0]),
        (3, at(254).octets().to_vec()),
        (51, 3600u32.to_be_bytes().to_vec()),
        (53, vec![kind as u8]),
        (54, at(1).octets().to_vec()),
    ];
    let none = Ipv4Addr::UNSPECIFIED;
    Seen { xid: 0, mac: MAC, kind, yiaddr: address, siaddr: none, file: Vec::new(), options: options.into() }
}

fn ask(shadow: &mut Shadow, kind: Kind, change: impl FnOnce(&mut Request), view: &dyn Fn(Mac) -> Host) {
    let mut request = Request::of(MAC, kind);
    change(&mut request);
    shadow.heard(&networks(), request, ingress(), view, NOW);
}

fn differing(finding: &Finding) -> Vec<(&str, &str, &str)> {
    finding.differences.iter().map(|one| (one.what.as_str(), one.ours.as_str(), one.theirs.as_str())).collect()
}

#[test]
fn two_servers_that_say_the_same_do_not_differ_in_how_they_write_it() {
    let mut shadow = Shadow::default();
    ask(&mut shadow, Kind::Discover, |_| {}, &reserved);
    let mut offer = live(ReplyKind::Offer, at(11));
    offer.options.insert(28, at(255).octets().to_vec());
    offer.options.insert(58, 1800u32.to_be_bytes().to_vec());
    offer.options.insert(61, vec![1, 2]);
    assert_eq!(differing(&shadow.answered(&networks(), &offer, NOW).unwrap()), []);
    // The choice of the live server counts as one of ours.
    let to = |request: &mut Request| (request.server_id, request.requested) = (Some(at(9)), Some(at(11)));
    ask(&mut shadow, Kind::Request, to, &reserved);
    assert_eq!(differing(&shadow.answered(&networks(), &live(ReplyKind::Ack, at(11)), NOW).unwrap()), []);
    assert_eq!((shadow.tally().exchanges, shadow.tally().differing), (2, 0));
}

#[test]
fn each_thing_a_machine_is_told_otherwise_is_named_with_both_values() {
    for (code, value, expected) in [
        (51, Some(600u32.to_be_bytes().to_vec()), ("lease time", "3600 s", "600 s")),
        (3, None, ("router", "10.0.0.254", "absent")),
        (6, Some(vec![10, 0, 0, 9, 10, 0, 0, 8]), ("dns", "absent", "10.0.0.9 10.0.0.8")),
        (54, Some(at(9).octets().to_vec()), ("server", "10.0.0.1", "10.0.0.9")),
        (15, Some(b"a.example".to_vec()), ("domain", "absent", "a.example")),
        (28, Some(at(7).octets().to_vec()), ("broadcast", "10.0.0.255", "10.0.0.7")),
        (58, Some(60u32.to_be_bytes().to_vec()), ("renewal time", "1800 s", "60 s")),
        (26, Some(vec![0x23, 0x28]), ("mtu", "absent", "9000")),
        (252, Some(b"http://w/".to_vec()), ("option 252", "absent", "http://w/")),
    ] {
        let mut shadow = Shadow::default();
        ask(&mut shadow, Kind::Discover, |_| {}, &reserved);
        let mut offer = live(ReplyKind::Offer, at(11));
        match value {
            Some(value) => offer.options.insert(code, value),
            None => offer.options.remove(&code),
        };
        assert_eq!(differing(&shadow.answered(&networks(), &offer, NOW).unwrap()), [expected]);
        assert_eq!(shadow.tally().by_what, BTreeMap::from([(expected.0.to_owned(), 1)]));
    }
}

#[test]
fn another_address_for_a_machine_we_know_is_a_difference_and_of_the_pool_for_one_we_do_not_is_none() {
    for (view, expected, pool) in [(&reserved as &dyn Fn(Mac) -> Host, 1, false), (&stranger, 0, true)] {
        let mut shadow = Shadow::default();
        ask(&mut shadow, Kind::Discover, |_| {}, view);
        let finding = shadow.answered(&networks(), &live(ReplyKind::Offer, at(55)), NOW).unwrap();
        assert_eq!((finding.differences.len(), finding.pool), (expected, pool), "{finding:?}");
    }
    // Outside of our pool it is one, whoever asks.
    let mut shadow = Shadow::default();
    ask(&mut shadow, Kind::Discover, |_| {}, &stranger);
    let finding = shadow.answered(&networks(), &live(ReplyKind::Offer, at(99)), NOW).unwrap();
    assert_eq!(differing(&finding), [("address", "10.0.0.50", "10.0.0.99")]);
}

#[test]
fn what_the_live_server_grants_is_ours_from_then_on() {
    let mut shadow = Shadow::default();
    let wants = |request: &mut Request| request.requested = Some(at(57));
    ask(&mut shadow, Kind::Request, wants, &stranger);
    assert!(shadow.answered(&networks(), &live(ReplyKind::Ack, at(57)), NOW).unwrap().differences.is_empty());
    ask(&mut shadow, Kind::Discover, |_| {}, &stranger);
    let finding = shadow.answered(&networks(), &live(ReplyKind::Offer, at(57)), NOW).unwrap();
    assert_eq!((finding.differences.len(), finding.pool), (0, false), "the same address, by affinity");
}

#[test]
fn what_is_left_of_a_lease_is_no_difference_and_a_shorter_one_is() {
    let mut shadow = Shadow::default();
    let wants = |request: &mut Request| request.requested = Some(at(57));
    for (left, differs) in [(3600u32, false), (2700, false), (2699, true), (3601, true)] {
        ask(&mut shadow, Kind::Request, wants, &reserved_57);
        let mut ack = live(ReplyKind::Ack, at(57));
        ack.options.insert(51, left.to_be_bytes().to_vec());
        let finding = shadow.answered(&networks(), &ack, NOW).unwrap();
        assert_eq!(finding.differences.iter().any(|one| one.what == "lease time"), differs, "{left}: {finding:?}");
    }
}

#[test]
fn silence_of_one_of_the_two_is_a_difference_after_a_while_and_of_both_is_none() {
    let mut shadow = Shadow::default();
    ask(&mut shadow, Kind::Discover, |_| {}, &reserved);
    assert!(shadow.overdue(Millis(NOW.0 + PATIENCE_MS - 1)).is_empty());
    let late = shadow.overdue(Millis(NOW.0 + PATIENCE_MS));
    assert_eq!(differing(&late[0]), [("silence", "OFFER 10.0.0.11", "no answer")]);
    // A wrong claim of a machine we know is refused by us, and granted by them.
    let wrong = |request: &mut Request| request.requested = Some(at(12));
    ask(&mut shadow, Kind::Request, wrong, &reserved);
    let finding = shadow.answered(&networks(), &live(ReplyKind::Ack, at(12)), NOW).unwrap();
    assert_eq!(differing(&finding), [("answer", "NAK", "ACK 10.0.0.12")]);
    // An address is asked for that is nobody's: both may stay silent.
    let none = |request: &mut Request| request.requested = None;
    ask(&mut shadow, Kind::Request, none, &reserved);
    let late = shadow.overdue(Millis(NOW.0 + PATIENCE_MS));
    assert_eq!((late.len(), late[0].differences.len()), (1, 0));
    ask(&mut shadow, Kind::Request, none, &reserved);
    let finding = shadow.answered(&networks(), &live(ReplyKind::Ack, at(11)), NOW).unwrap();
    assert_eq!(finding.differences[0].what, "silence");
    assert!(finding.differences[0].ours.starts_with("no answer: "));
}

#[test]
fn a_boot_file_matters_to_who_boots_and_to_nobody_else() {
    let told = |seen: &mut Seen| {
        seen.file = b"pxelinux.0".to_vec();
        seen.siaddr = at(9);
    };
    for (archs, expected) in
        [(vec![], vec![]), (vec![0], vec![("boot file", "none", "pxelinux.0"), ("next server", "0.0.0.0", "10.0.0.9")])]
    {
        let mut shadow = Shadow::default();
        ask(&mut shadow, Kind::Discover, |request| request.archs = archs, &reserved);
        let mut offer = live(ReplyKind::Offer, at(11));
        told(&mut offer);
        let finding = shadow.answered(&networks(), &offer, NOW).unwrap();
        assert_eq!(differing(&finding), expected);
    }
}

#[test]
fn replies_nobody_asked_for_and_floods_are_counted_and_take_bounded_memory() {
    let mut shadow = Shadow::default();
    assert_eq!(shadow.answered(&networks(), &live(ReplyKind::Offer, at(11)), NOW), None);
    assert_eq!(shadow.tally().unasked, 1);
    for xid in 0..=u32::try_from(MOST_OPEN).unwrap() {
        ask(&mut shadow, Kind::Discover, |request| request.xid = xid, &reserved);
    }
    assert_eq!((shadow.open.len(), shadow.tally().lost), (MOST_OPEN, 1));
    // RELEASE waits for nobody.
    ask(&mut shadow, Kind::Release, |request| request.xid = 1, &reserved);
    assert_eq!(shadow.open.len(), MOST_OPEN);
}

#[test]
fn only_an_ack_with_a_time_on_a_network_of_ours_teaches_a_lease() {
    let other = Mac([2, 0, 0, 0, 0, 2]);
    let seen = |kind, address| Seen { mac: other, ..live(kind, address) };
    let mut timeless = seen(ReplyKind::Ack, at(57));
    timeless.options.remove(&51);
    for (reply, learned) in [
        (seen(ReplyKind::Ack, at(57)), true),
        (seen(ReplyKind::Offer, at(57)), false),
        (seen(ReplyKind::Nak, at(57)), false),
        (timeless, false),
        (seen(ReplyKind::Ack, Ipv4Addr::new(10, 9, 9, 9)), false),
    ] {
        let mut shadow = Shadow::default();
        assert_eq!(shadow.answered(&networks(), &reply, NOW), None);
        assert_eq!(shadow.leases.knows(other), learned, "{reply:?}");
    }
}

#[test]
fn a_difference_beside_another_free_address_counts_as_one_and_not_for_the_pool() {
    let short = |seconds: u32| {
        let mut offer = live(ReplyKind::Offer, at(55));
        offer.options.insert(51, seconds.to_be_bytes().to_vec());
        offer
    };
    let mut shadow = Shadow::default();
    for (seconds, differences, pool) in [(3600, 0, 1), (3000, 1, 1), (3600, 0, 2)] {
        let mut fresh = Shadow { tally: shadow.tally.clone(), ..Shadow::default() };
        ask(&mut fresh, Kind::Discover, |_| {}, &stranger);
        let finding = fresh.answered(&networks(), &short(seconds), NOW).unwrap();
        assert_eq!((finding.differences.len(), finding.pool), (differences, true), "{finding:?}");
        assert_eq!(
            (finding.asked, finding.network.as_deref(), finding.theirs),
            ("discover", Some("lan"), Some(at(55)))
        );
        shadow.tally = fresh.tally;
        assert_eq!(shadow.tally().pool, pool);
    }
    let expected = Tally {
        exchanges: 3,
        differing: 1,
        pool: 2,
        by_what: BTreeMap::from([("lease time".to_owned(), 1)]),
        machines: BTreeSet::from([MAC]),
        lost: 0,
        unasked: 0,
    };
    assert_eq!(shadow.tally(), &expected);
    // What is left of a known machine's lease hides no other difference.
    let wants = |request: &mut Request| request.requested = Some(at(57));
    ask(&mut shadow, Kind::Request, wants, &reserved_57);
    let mut ack = live(ReplyKind::Ack, at(57));
    ack.options.insert(51, 3000u32.to_be_bytes().to_vec());
    ack.options.insert(15, b"x".to_vec());
    assert_eq!(differing(&shadow.answered(&networks(), &ack, NOW).unwrap()), [("domain", "absent", "x")]);
}

#[test]
fn an_inform_is_answered_by_an_ack_and_a_nak_says_no_more_than_who_says_it() {
    let mut shadow = Shadow::default();
    ask(&mut shadow, Kind::Inform, |request| request.ciaddr = at(11), &reserved);
    let mut told = live(ReplyKind::Ack, Ipv4Addr::UNSPECIFIED);
    told.options.remove(&51);
    let finding = shadow.answered(&networks(), &told, NOW).unwrap();
    assert_eq!((finding.asked, finding.theirs, differing(&finding)), ("inform", None, vec![]));
    for (server, expected) in [(at(1), vec![]), (at(9), vec![("server", "10.0.0.1", "10.0.0.9")])] {
        let mut shadow = Shadow::default();
        ask(&mut shadow, Kind::Request, |request| request.requested = Some(at(12)), &reserved);
        let mut nak = live(ReplyKind::Nak, Ipv4Addr::UNSPECIFIED);
        nak.options.insert(54, server.octets().to_vec());
        assert_eq!(differing(&shadow.answered(&networks(), &nak, NOW).unwrap()), expected);
    }
}

#[test]
fn renewal_and_rebinding_may_differ_by_seven_seconds_and_are_not_compared_for_another_lease() {
    for (code, seconds, expected) in [
        (58, 1807u32, vec![]),
        (58, 1793, vec![]),
        (58, 1808, vec![("renewal time", "1800 s", "1808 s")]),
        (59, 3157, vec![]),
        (59, 3158, vec![("rebinding time", "3150 s", "3158 s")]),
    ] {
        let mut shadow = Shadow::default();
        ask(&mut shadow, Kind::Discover, |_| {}, &reserved);
        let mut offer = live(ReplyKind::Offer, at(11));
        offer.options.insert(code, seconds.to_be_bytes().to_vec());
        assert_eq!(differing(&shadow.answered(&networks(), &offer, NOW).unwrap()), expected);
    }
    let mut shadow = Shadow::default();
    ask(&mut shadow, Kind::Discover, |_| {}, &reserved);
    let mut offer = live(ReplyKind::Offer, at(11));
    offer.options.extend([(51, 600u32.to_be_bytes().to_vec()), (58, 60u32.to_be_bytes().to_vec())]);
    let finding = shadow.answered(&networks(), &offer, NOW).unwrap();
    assert_eq!(differing(&finding), [("lease time", "3600 s", "600 s")]);
}

#[test]
fn an_options_value_is_shown_by_what_it_means_and_a_text_may_end_with_a_nul() {
    for (code, value, expected) in [
        (3, &[10, 0, 0, 1, 10, 0, 0, 2][..], "10.0.0.1 10.0.0.2"),
        (3, &[10, 0, 0, 1, 5], "0a:00:00:01:05"),
        (51, &[0, 0, 14, 16], "3600 s"),
        (58, &[0, 0, 14, 16, 1], "00:00:0e:10:01"),
        (59, &[0, 0, 0, 1, 0, 0, 0, 2], "00:00:00:01:00:00:00:02"),
        (26, &[5, 220], "1500"),
        (26, &[5, 220, 0], "05:dc:00"),
        (15, b"a.example", "a.example"),
    ] {
        assert_eq!(shown(code, value), expected);
    }
    for (value, expected) in
        [(&b"a\0"[..], &b"a"[..]), (b"a", b"a"), (b"\0", b"\0"), (b"a b\0", b"a b\0"), (&[5, 0], &[5, 0])]
    {
        assert_eq!(without_end(value), expected);
    }
}

#[test]
fn header_and_option_are_one_place_for_the_boot_file_and_its_server_counts_with_it() {
    let firmware = Request { archs: vec![0], ..Request::of(MAC, Kind::Discover) };
    let classed = |class: &[u8]| Request { vendor_class: Some(class.to_vec()), ..Request::of(MAC, Kind::Discover) };
    let mut leases = Leases::default();
    let answer = leases.answer(&networks(), &Request::of(MAC, Kind::Discover), ingress(), &reserved, NOW);
    let Answer::Now(plain) = answer else { panic!("no offer") };
    // Header and option 67 of ours, of theirs, and whether their server is ours.
    let told = |request: &Request, ours: [&str; 2], theirs: [&str; 2], same: bool| {
        let mut reply = (*plain).clone();
        reply.file = ours[0].to_owned();
        reply.options.push((67, ours[1].as_bytes().to_vec()));
        let mut seen = live(ReplyKind::Offer, at(11));
        (seen.file, seen.siaddr) = (theirs[0].as_bytes().to_vec(), if same { reply.siaddr } else { at(9) });
        seen.options.insert(67, theirs[1].as_bytes().to_vec());
        let mut found = Vec::new();
        boot(request, &reply, &seen, &mut found);
        found.into_iter().map(|one| format!("{}: {} {}", one.what, one.ours, one.theirs)).collect::<Vec<_>>()
    };
    let none: [String; 0] = [];
    assert_eq!(told(&firmware, ["a", "a\0"], ["a", ""], true), none);
    assert_eq!(told(&firmware, ["x", "a\0"], ["", "a\0junk"], true), none);
    assert_eq!(told(&firmware, ["a", "\0"], ["a\0", "\0"], true), none);
    assert_eq!(told(&firmware, ["", ""], ["", ""], false), none);
    assert_eq!(told(&firmware, ["a", ""], ["", ""], false), ["boot file: a none", "next server: 0.0.0.0 10.0.0.9"]);
    assert_eq!(told(&firmware, ["", ""], ["b", ""], true), ["boot file: none b"]);
    assert_eq!(told(&firmware, ["a", ""], ["a", ""], false), ["next server: 0.0.0.0 10.0.0.9"]);
    assert_eq!(told(&classed(b"PXEClient:x"), ["a", ""], ["b", ""], true), ["boot file: a b"]);
    assert_eq!(told(&classed(b"MSFT 5.0"), ["a", ""], ["b", ""], true), none);
}

#[test]
fn ten_thousand_machines_with_a_difference_are_named_and_all_are_counted() {
    let mut shadow = Shadow::default();
    for number in 0..10_001u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let differences = vec![difference("mtu", String::new(), String::new())];
        let mac = Mac([2, 0, a, b, c, d]);
        shadow.judged(Finding { mac, asked: "discover", network: None, theirs: None, differences, pool: true });
    }
    let tally = shadow.tally();
    assert_eq!((tally.exchanges, tally.differing, tally.machines.len(), tally.pool), (10_001, 10_001, 10_000, 0));
    assert_eq!(tally.by_what, BTreeMap::from([("mtu".to_owned(), 10_001)]));
}
