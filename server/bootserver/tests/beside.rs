//! Beside others, on a real wire: another server's addresses, other servers heard, other hosts on our addresses; and what
//! hostile senders may try.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/wire.rs"]
mod wire;

use muster_names::Mac;
use muster_netboot::{ConflictKind, Dhcp};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use wire::*;

const THERE: [u8; 4] = [10, 77, 0, 66];
const STRANGE: [u8; 6] = [0x52, 0x54, 0, 0xc1, 0, 0x66];

fn pxe(ask: Ask) -> Ask {
    ask.with(60, b"PXEClient:Arch:00007:UNDI:003016").with(93, &[0, 7]).with(97, &[0; 17])
}

/// A reply of another server, in bytes.
fn reply(kind: u8, yiaddr: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bytes = Ask::new(kind, CLIENT, 9).with(54, &THERE).bytes();
    bytes.pop();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&yiaddr);
    [&bytes[..], options, &[255]].concat()
}

/// A host says by ARP that it has an address.
fn announcement(mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let head = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac, &address, &[0xff; 6], &address].concat();
    [head, vec![0; 18]].concat()
}

#[test]
fn b2_8_beside_another_server_firmware_is_offered_its_file_on_67_and_given_it_on_4011() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start_with(&bed, &rows, |network| {
        network.dhcp = Dhcp::Proxy;
        network.authoritative = false;
        network.ranges.clear();
    });
    let card = Card::plug(&bed);
    let offer = card.ask(&pxe(Ask::discover(CLIENT, 1))).expect("an offer");
    assert_eq!((offer.kind(), offer.yiaddr(), offer.from, offer.to), (2, NOBODY, (SERVER, 67), (EVERYBODY, 68)));
    assert_eq!((offer.option(60).unwrap(), offer.option(43).unwrap()), (b"PXEClient".to_vec(), vec![6, 1, 8, 255]));
    assert_eq!((offer.option(67).unwrap(), offer.option(51)), (b"ipxe.efi\0".to_vec(), None));
    assert!(offer.dhcp.len() >= 300, "a3: {}", offer.dhcp.len());

    bed.address([10, 77, 0, 99]);
    let own = ([10, 77, 0, 99], 4011);
    let boot = Ask { ciaddr: own.0, from: own, to: (SERVER, 4011), ..pxe(Ask::new(3, CLIENT, 2)) };
    let ack = card.ask(&boot).expect("the boot server's answer");
    assert_eq!((ack.kind(), ack.from, ack.to), (5, (SERVER, 4011), own));
    assert_eq!(ack.option(67).unwrap(), b"ipxe.efi\0");

    assert!(card.ask(&Ask::discover(OTHER, 3)).is_none(), "a system gets its address elsewhere");
    assert!(card.ask(&pxe(Ask::select(CLIENT, 4, [10, 77, 0, 99]))).is_none());
    assert!(rows.rows.lock().unwrap().is_empty());
    server.stop();
}

#[test]
fn b1_21_an_address_that_answers_arp_is_told_with_its_mac_and_never_offered() {
    let Some(bed) = Bed::lay() else { return };
    bed.address([10, 77, 0, 10]);
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let card = Card::plug(&bed);
    let conflict = server.conflict(ConflictKind::Address);
    assert_eq!((conflict.address, conflict.network.as_str()), (Ipv4Addr::new(10, 77, 0, 10), "bed"));
    let mac = conflict.mac.expect("who answered");
    assert!(mac.is_unicast() && mac != Mac(CLIENT));
    server.counted("probe", "silent", 10);
    for (xid, last) in (1..=10u8).enumerate() {
        let mac = [0x52, 0x54, 0, 0xc2, 0, last];
        let offer = card.ask(&Ask::discover(mac, u32::try_from(xid).unwrap() + 1)).expect("an offer");
        assert_ne!(offer.yiaddr(), [10, 77, 0, 10]);
    }
    assert!(card.ask(&Ask::discover(CLIENT, 50)).is_none(), "the eleventh address is somebody else's");
    let found = card.ask(&Ask::discover(mac.0, 51)).expect("an offer for the host that has it");
    assert_eq!(found.yiaddr(), [10, 77, 0, 10]);
    server.stop();
}

#[test]
fn a4_other_servers_and_a_double_of_our_own_address_are_heard_with_their_macs() {
    let Some(bed) = Bed::lay() else { return };
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let card = Card::plug(&bed);
    for _ in 0..3 {
        card.send(STRANGE, (THERE, 67), (EVERYBODY, 68), &reply(2, [10, 77, 0, 200], &[]));
        card.send(STRANGE, (THERE, 67), (EVERYBODY, 68), &reply(2, NOBODY, b"\x3c\x09PXEClient"));
        card.put(&announcement(STRANGE, SERVER));
    }
    for kind in [ConflictKind::Server, ConflictKind::BootServer] {
        let met = server.conflict(kind);
        assert_eq!((met.address, met.mac), (Ipv4Addr::from(THERE), Some(Mac(STRANGE))));
        server.counted("conflict", kind.word(), 3);
    }
    let own = server.conflict(ConflictKind::OwnAddress);
    assert_eq!((own.address, own.mac), (Ipv4Addr::from(SERVER), Some(Mac(STRANGE))));
    let told = server.diary.1.lock().unwrap().len();
    assert_eq!(told, 3, "each once a minute: {:?}", server.diary.1.lock().unwrap());
    assert!(card.ask(&Ask::select(CLIENT, 5, [10, 77, 0, 12])).is_some());
    let elsewhere = Ask::new(3, OTHER, 6).with(50, &[10, 77, 0, 14]).with(54, &[10, 77, 0, 67]);
    assert!(card.ask(&elsewhere).is_none());
    server.counted("conflict", "dhcp-server", 4);
    server.stop();
}

#[test]
fn b1_13_a_host_on_a_leased_address_is_told_and_so_is_a_decline() {
    let Some(bed) = Bed::lay() else { return };
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let card = Card::plug(&bed);
    let address = card.ask(&Ask::discover(CLIENT, 1)).expect("an offer").yiaddr();
    assert_eq!(card.ask(&Ask::select(CLIENT, 1, address)).expect("an ACK").kind(), 5);
    server.counted("committed", "changes", 1);
    card.put(&announcement(CLIENT, address));
    card.put(&announcement(STRANGE, address));
    let met = server.conflict(ConflictKind::Address);
    assert_eq!((met.mac, met.holder), (Some(Mac(STRANGE)), Some(Mac(CLIENT))));
    let decline = Ask::new(4, CLIENT, 3).with(50, &address).with(54, &SERVER);
    card.send(CLIENT, (NOBODY, 68), (EVERYBODY, 67), &decline.bytes());
    server.counted("conflict", "address", 2);
    assert_ne!(card.ask(&Ask::discover(CLIENT, 4)).expect("another offer").yiaddr(), address);
    server.stop();
}

/// Options that break the readers of the field: each hides none that come after it, and ends nobody.
const BROKEN: [&[u8]; 14] = [
    &[93, 1, 7],
    &[93, 0],
    &[94, 1, 1],
    &[81, 1, 0],
    &[50, 3, 1, 2, 3],
    &[51, 0],
    &[57, 1, 1],
    &[57, 2, 0, 0],
    &[12, 2, 0xff, 0xfe],
    &[97, 3, 0, 0, 0],
    &[77, 2, 200, 1],
    &[43, 2, 6, 9],
    &[175, 3, 19, 200, 1],
    &[118, 1, 1],
];

/// Option 82 as no relay should write it.
const RELAYS: [&[u8]; 7] =
    [&[], &[1], &[1, 255, 7], &[5, 3, 1, 2, 3], &[11, 0], &[19, 9, 1, 2, 3], &[0, 0, 0, 255, 255, 255]];

#[test]
fn a3_every_malformed_packet_is_counted_or_answered_and_ends_nobody() {
    let Some(bed) = Bed::lay() else { return };
    bed.address(RELAY);
    let server = Server::start_with(&bed, &Arc::new(Rows::default()), |network| {
        network.ranges[0].last = Ipv4Addr::new(10, 77, 0, 99);
    });
    let card = Card::plug(&bed);
    for (xid, broken) in (1..).zip(BROKEN) {
        // A machine each: one alone is held to five messages a second.
        let mut ask = Ask::discover([0x52, 0x54, 0, 0xc3, 0, u8::try_from(xid).unwrap()], xid);
        ask.options.extend(broken);
        let offer = card.ask(&ask.with(60, b"PXEClient").with(93, &[0, 7])).unwrap_or_else(|| panic!("{broken:?}"));
        assert_eq!(offer.kind(), 2, "{broken:?}");
    }
    for (xid, relay) in (100..).zip(RELAYS) {
        let ask = Ask { giaddr: RELAY, from: (RELAY, 67), to: (SERVER, 67), ..Ask::discover(CLIENT, xid) };
        let mut mac = CLIENT;
        mac[5] = u8::try_from(xid).unwrap();
        let offer = card.ask(&Ask { mac, ..ask }.with(82, relay)).unwrap_or_else(|| panic!("{relay:?}"));
        let echoed = (!relay.is_empty()).then(|| relay.to_vec());
        assert_eq!((offer.option(82), offer.to), (echoed, (RELAY, 67)), "{relay:?}");
    }
    let sound = Ask::discover(OTHER, 200).bytes();
    let with = |at: usize, value: u8| {
        let mut bytes = sound.clone();
        bytes[at] = value;
        bytes
    };
    let rejected: [(&str, &str, Vec<u8>); 8] = [
        ("dropped", "hlen", with(2, 200)),
        ("dropped", "hlen", with(2, 17)),
        ("dropped", "short", sound[..239].to_vec()),
        ("dropped", "no-cookie", with(236, 0)),
        ("silent", "no-hardware-address", with(2, 0)),
        ("silent", "no-hardware-address", with(28, 1)),
        ("silent", "not-a-request", with(0, 2)),
        ("silent", "bootp", sound[..240].to_vec()),
    ];
    for (family, label, bytes) in &rejected {
        let before = server.counters.get(family, label).unwrap();
        card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), bytes);
        server.counted(family, label, before + 1);
    }
    card.send(
        OTHER,
        (NOBODY, 68),
        (EVERYBODY, 67),
        &Ask { options: vec![53, 1, 1, 0], ..Ask::discover(OTHER, 201) }.bytes(),
    );
    let hops = Ask::discover(OTHER, 202);
    let mut bytes = hops.bytes();
    bytes[3] = 3;
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bytes);
    assert!(card.reply(202, Duration::from_millis(1500)).is_some(), "b1_7: hops without a relay are taken");
    assert_eq!(server.counters.get("received", "hops-without-relay"), Some(1));
    server.stop();
}

#[test]
fn b1_29_rapid_commit_is_not_taken_up() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::plug(&bed);
    let offer = card.ask(&Ask::discover(CLIENT, 1).with(80, &[])).expect("an offer");
    assert_eq!((offer.kind(), offer.option(80)), (2, None));
    assert!(rows.rows.lock().unwrap().is_empty(), "nothing is leased before a server was chosen");
    server.stop();
}

#[test]
fn a1_6_twenty_thousand_discovers_at_once_are_each_counted_and_a_machine_is_served_after_them() {
    let Some(bed) = Bed::lay() else { return };
    let server = Server::start_with(&bed, &Arc::new(Rows::default()), |network| {
        network.ranges[0].last = Ipv4Addr::new(10, 77, 0, 250);
    });
    let card = Card::plug(&bed);
    for number in 0..20_000u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let ask = Ask::discover([0x52, 0x54, 1, 0xc1, high, low], number + 1000);
        card.send(ask.mac, ask.from, ask.to, &ask.bytes());
    }
    let total = |families: &[&str]| -> u64 {
        server.counters.iter().filter(|(family, ..)| families.contains(family)).map(|(.., count)| count).sum()
    };
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = server.counters.get("received", "discover").unwrap();
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    let answered = total(&["sent", "silent", "dropped"]);
    assert_eq!(before, answered, "each packet that arrived is answered or counted with its reason");
    assert!(server.counters.get("silent", "pool-exhausted").unwrap() > 0);
    assert_eq!(server.counters.get("failed", "receive"), Some(0));
    // What was offered fills the card's queue, which then loses an answer: it asks again, as every client does.
    let answer = (1..=5).find_map(|xid| card.ask(&Ask::select(CLIENT, xid, [10, 77, 0, 66])));
    assert_eq!(answer.expect("an answer").kind(), 6, "offered to another");
    server.stop();
}
