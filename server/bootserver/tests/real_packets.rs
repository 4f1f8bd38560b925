//! The DHCP server against a client of the tests' own, on a real wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/wire.rs"]
mod wire;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use wire::*;

#[test]
fn b1_3_and_b1_4_a_machine_boots_through_broadcast_and_through_unicast_to_an_address_it_lacks() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let server = Server::start(&bed, &rows);
    let card = Card::plug(&bed);
    let pxe = |ask: Ask| ask.with(60, b"PXEClient:Arch:00007:UNDI:003016").with(93, &[0, 7]).with(57, &[5, 0xc0]);

    let offer = card.ask(&Ask { flags: 0x8000, ..pxe(Ask::discover(CLIENT, 1)) }).expect("an offer");
    assert_eq!((offer.kind(), offer.to_mac, offer.to), (2, [0xff; 6], (EVERYBODY, 68)));
    assert_eq!(offer.from, (SERVER, 67), "b1_6");
    assert_eq!(offer.option(67).unwrap(), b"ipxe.efi\0");
    let ack = card.ask(&Ask { flags: 0x8000, ..pxe(Ask::select(CLIENT, 1, offer.yiaddr())) }).expect("an ACK");
    assert_eq!((ack.kind(), ack.yiaddr(), ack.to), (5, offer.yiaddr(), (EVERYBODY, 68)));
    assert!(rows.rows.lock().unwrap().contains_key(&Ipv4Addr::from(ack.yiaddr())), "a1_1");

    let ipxe = |ask: Ask| pxe(ask).with(77, b"iPXE").with(175, &[0x13, 1, 1]).with(61, &[&[1], &CLIENT[..]].concat());
    let offer = card.ask(&ipxe(Ask::discover(CLIENT, 2))).expect("an offer");
    assert_eq!(offer.yiaddr(), ack.yiaddr(), "b1_20");
    assert_eq!((offer.to_mac, offer.to, offer.from), (CLIENT, (offer.yiaddr(), 68), (SERVER, 67)));
    let ack = card.ask(&ipxe(Ask::select(CLIENT, 2, offer.yiaddr()))).expect("an ACK");
    assert_eq!((ack.kind(), ack.to_mac), (5, CLIENT));
    assert_eq!(ack.option(67).unwrap(), b"http://10.77.0.1:8080/b/52-54-00-c1-00-01/boot.ipxe\0");

    bed.address(ack.yiaddr());
    let own = (ack.yiaddr(), 68);
    let renewal = Ask { ciaddr: own.0, from: own, to: (SERVER, 67), ..Ask::new(3, CLIENT, 3) };
    let renewed = card.ask(&renewal).expect("a renewal");
    assert_eq!((renewed.kind(), renewed.to), (5, own));
    let boot = Ask { ciaddr: own.0, from: (own.0, 4011), to: (SERVER, 4011), ..pxe(Ask::new(3, CLIENT, 4)) };
    let boot = card.ask(&boot).expect("the boot server's answer");
    assert_eq!((boot.from, boot.to, boot.yiaddr()), ((SERVER, 4011), (own.0, 4011), NOBODY), "b2_8");
    assert_eq!(boot.option(67).unwrap(), b"ipxe.efi\0");

    assert_eq!((server.counters.get("sent", "offer"), server.counters.get("sent", "ack")), (Some(2), Some(4)));
    // What was seen is told after the reply left, so it may come a moment later.
    let told = || server.diary.0.lock().unwrap().iter().map(|it| it.said.to_string()).collect::<Vec<_>>();
    let end = Instant::now() + Duration::from_secs(2);
    while told().len() < 6 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(told().len(), 6, "{:?}", told());
    server.stop();
}

#[test]
fn b1_1_and_b1_17_a_relay_gets_its_option_back_and_malformed_packets_get_nothing() {
    let Some(bed) = Bed::lay() else { return };
    bed.address(RELAY);
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let card = Card::plug(&bed);
    let by_relay =
        |ask: Ask| Ask { giaddr: RELAY, from: (RELAY, 67), to: (SERVER, 67), ..ask }.with(82, b"\x01\x04eth7");
    let offer = card.ask(&by_relay(Ask::discover(CLIENT, 1))).expect("an offer");
    assert_eq!((offer.from, offer.to), ((SERVER, 67), (RELAY, 67)));
    assert_eq!(offer.option(82).unwrap(), b"\x01\x04eth7");
    let ack = card.ask(&by_relay(Ask::select(CLIENT, 1, offer.yiaddr()))).expect("an ACK");
    assert_eq!((ack.kind(), ack.to), (5, (RELAY, 67)));
    let nak = card.ask(&by_relay(Ask::select(OTHER, 2, offer.yiaddr()))).expect("a NAK");
    assert_eq!((nak.kind(), nak.to, nak.dhcp[10]), (6, (RELAY, 67), 0x80));
    assert_eq!(server.diary.0.lock().unwrap()[0].circuit_text().as_deref(), Some("eth7"));

    let mut bad = Ask::discover(OTHER, 3).bytes();
    bad[2] = 200;
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad);
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad[..100]);
    bad[2] = 6;
    bad[236] = 0;
    card.send(OTHER, (NOBODY, 68), (EVERYBODY, 67), &bad);
    assert!(card.reply(3, Duration::from_millis(400)).is_none());
    for label in ["hlen", "short", "no-cookie"] {
        assert_eq!(server.counters.get("dropped", label), Some(1), "{label}");
    }
    server.stop();
}

#[test]
fn a1_1_no_ack_leaves_before_the_commit_and_no_kill_gives_one_address_to_two() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &rows);
    let first = card.ask(&Ask::discover(CLIENT, 1)).expect("an offer").yiaddr();
    rows.mood.store(DEAD, SeqCst);
    assert!(card.ask(&Ask::select(CLIENT, 1, first)).is_none(), "not written, so not acknowledged");
    assert!(card.ask(&Ask::discover(OTHER, 2)).is_none(), "a1_3: nothing new while the store is away");
    server.stop();
    assert!(rows.rows.lock().unwrap().is_empty());

    rows.mood.store(MUTE, SeqCst);
    let server = Server::start(&bed, &rows);
    assert!(card.ask(&Ask::select(CLIENT, 3, first)).is_none(), "written, but the server does not know");
    assert_eq!(rows.rows.lock().unwrap().len(), 1);
    server.stop();

    rows.mood.store(SOUND, SeqCst);
    let server = Server::start(&bed, &rows);
    assert_eq!(card.ask(&Ask::select(OTHER, 4, first)).expect("a NAK").kind(), 6);
    let second = card.ask(&Ask::discover(OTHER, 5)).expect("an offer").yiaddr();
    assert_ne!(first, second);
    assert_eq!(card.ask(&Ask::select(CLIENT, 6, first)).expect("an ACK").kind(), 5);
    server.stop();
}

#[test]
fn the_store_comes_back_and_the_waiting_machine_is_served() {
    let Some(bed) = Bed::lay() else { return };
    let rows = Arc::new(Rows::default());
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &rows);
    let address = card.ask(&Ask::discover(CLIENT, 1)).expect("an offer").yiaddr();
    rows.mood.store(DEAD, SeqCst);
    card.send(CLIENT, (NOBODY, 68), (EVERYBODY, 67), &Ask::select(CLIENT, 1, address).bytes());
    std::thread::sleep(Duration::from_millis(300));
    rows.mood.store(SOUND, SeqCst);
    let ack = card.reply(1, Duration::from_millis(1500)).expect("the ACK after the store came back");
    assert_eq!((ack.kind(), ack.yiaddr()), (5, address));
    server.stop();
}

/// An advertisement: hop limit of the packet, flags, lifetime, length.
fn advertisement(raw: &[u8]) -> Option<(u8, u8, Vec<u8>, usize)> {
    let is_one = raw.len() >= 70 && raw[12..14] == [0x86, 0xdd] && raw[20] == 58 && raw[54] == 134;
    is_one.then(|| (raw[21], raw[59], raw[60..62].to_vec(), raw.len()))
}

#[test]
fn an_interface_that_cannot_speak_at_the_start_advertises_as_soon_as_it_can() {
    let Some(bed) = Bed::lay() else { return };
    let card = Card::plug(&bed);
    let inside = |words: &str| run(&format!("ip netns exec {} {words}", bed.server));
    // Once without a link-local address, once without a socket: below 1280 bytes there is no IPv6 on a link.
    for (off, on) in [
        ("sysctl -qw net.ipv6.conf.boot0.disable_ipv6=1", "sysctl -qw net.ipv6.conf.boot0.disable_ipv6=0"),
        ("ip link set boot0 mtu 1000", "ip link set boot0 mtu 1500"),
    ] {
        inside(off);
        let server = Server::start(&bed, &Arc::new(Rows::default()));
        assert_eq!(card.listen(Duration::from_secs(1), advertisement), None, "{off}");
        inside(on);
        assert!(card.listen(Duration::from_secs(20), advertisement).is_some(), "{on}");
        server.stop();
    }
}

#[test]
fn a_router_solicitation_is_answered_at_once_with_lifetime_zero() {
    let Some(bed) = Bed::lay() else { return };
    let card = Card::plug(&bed);
    let server = Server::start(&bed, &Arc::new(Rows::default()));
    let said = card.listen(Duration::from_secs(6), advertisement).expect("an advertisement by itself");
    assert_eq!(said, (255, 0, vec![0, 0], 70), "hop limit 255, no flags, no lifetime, no prefix");
    let solicit = inside(&bed.client, || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, Some(socket2::Protocol::ICMPV6)).unwrap();
        socket.set_multicast_hops_v6(255).unwrap();
        // SAFETY: a NUL-terminated name that lives through the call.
        let index = unsafe { libc::if_nametoindex(c"nic0".as_ptr()) };
        let routers = std::net::SocketAddrV6::new("ff02::2".parse().unwrap(), 0, 0, index);
        // The card's own address is not usable while the kernel looks for a double of it.
        let end = Instant::now() + Duration::from_secs(5);
        while socket.send_to(&[133, 0, 0, 0, 0, 0, 0, 0], &routers.into()).is_err() {
            assert!(Instant::now() < end, "no solicitation left");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    solicit.join().unwrap();
    assert!(card.listen(Duration::from_millis(800), advertisement).is_some());
    server.stop();
}
