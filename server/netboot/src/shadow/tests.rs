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
