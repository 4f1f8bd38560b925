//! What each kind of boot client is told, in the options it needs to believe it.

use super::rule_tests::{BROADCAST, Bench, SERVER, mac, selecting};
use super::*;
use crate::{Boot, Destination, WhyDisk};
use std::net::SocketAddrV4;

fn pxe(kind: Kind, arch: u16) -> Request {
    Request {
        vendor_class: Some(format!("PXEClient:Arch:{arch:05}:UNDI:003016").into_bytes()),
        archs: vec![arch],
        uuid: Some(vec![0; 17]),
        flags: 0x8000,
        ..Request::of(mac(1), kind)
    }
}

fn ipxe(kind: Kind) -> Request {
    Request { user_class: Some(b"iPXE".to_vec()), ipxe: Some(vec![0x13, 1, 1]), ..pxe(kind, 7) }
}

#[test]
fn b2_4_firmware_is_told_to_boot_this_packets_file() {
    let offer = Bench::new().reply(&pxe(Kind::Discover, 7));
    assert_eq!(offer.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(43), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.option(97), Some(&[0; 17][..]), "b2_1: echoed unchanged");
    assert_eq!(offer.option(13), None, "b2_7");
}

#[test]
fn b2_6_the_boot_file_and_server_stand_in_header_and_options_alike() {
    let offer = Bench::new().reply(&pxe(Kind::Discover, 0));
    assert_eq!((offer.file.as_str(), offer.option(67)), ("undionly.kpxe", Some(&b"undionly.kpxe\0"[..])));
    assert_eq!((offer.siaddr, offer.sname.as_str()), (SERVER, "10.0.4.1"));
    assert_eq!((offer.option(66), offer.option(54)), (Some(&b"10.0.4.1\0"[..]), Some(&SERVER.octets()[..])));
}

#[test]
fn b1_24_the_boot_file_is_the_last_option() {
    for request in [pxe(Kind::Discover, 7), ipxe(Kind::Discover)] {
        let offer = Bench::new().reply(&request);
        assert_eq!(offer.options.last().map(|(code, _)| *code), Some(67));
        assert_eq!(offer.options.first().map(|(code, _)| *code), Some(53));
    }
}

#[test]
fn b2_6_a_name_too_long_for_the_header_stands_in_option_67_alone() {
    let long = "x".repeat(128);
    let offer = Bench::with(|network| {
        network.loaders.by_arch.insert(7, crate::FirstFile::new(&long));
    })
    .reply(&pxe(Kind::Discover, 7));
    assert_eq!(offer.file, "");
    assert_eq!(offer.option(67).map(<[u8]>::len), Some(129));
}

#[test]
fn b2_12_ipxe_gets_the_script_and_b2_13_need_not_wait_for_a_proxy() {
    let offer = Bench::new().reply(&ipxe(Kind::Discover));
    assert_eq!(offer.file, "http://10.0.4.1:8080/b/52-54-00-00-00-01/boot.ipxe");
    assert_eq!(offer.option(175), Some(&[0xb0, 1, 1][..]));
    assert_eq!((offer.option(60), offer.option(43)), (None, None));
}

#[test]
fn b2_12_ipxe_without_http_gets_our_loader_first() {
    let bare = Request { ipxe: Some(vec![0x10, 1, 1]), ..ipxe(Kind::Discover) };
    assert_eq!(Bench::new().reply(&bare).file, "ipxe.efi");
}

#[test]
fn b3_1_http_firmware_gets_its_class_and_an_address_with_an_ip_literal() {
    let request =
        Request { vendor_class: Some(b"HTTPClient:Arch:00016:UNDI:003001".to_vec()), ..pxe(Kind::Discover, 16) };
    let offer = Bench::new().reply(&request);
    assert_eq!(offer.option(60), Some(&b"HTTPClient"[..]));
    assert_eq!(offer.option(67), Some(&b"http://10.0.4.1:8080/boot/ipxe-http.efi\0"[..]));
    assert_eq!(offer.option(43), None);
}

#[test]
fn b3_3_where_a_network_says_so_http_firmware_alone_is_sent_to_tls() {
    let mut bench = Bench::with(|network| network.boot_https = Some("https://10.0.4.1:8081".to_owned()));
    let firmware =
        Request { vendor_class: Some(b"HTTPClient:Arch:00016:UNDI:003001".to_vec()), ..pxe(Kind::Discover, 16) };
    assert_eq!(bench.reply(&firmware).option(67), Some(&b"https://10.0.4.1:8081/boot/ipxe-http.efi\0"[..]));
    assert_eq!(bench.reply(&pxe(Kind::Discover, 7)).file, "ipxe.efi");
    assert_eq!(bench.reply(&ipxe(Kind::Discover)).file, "http://10.0.4.1:8080/b/52-54-00-00-00-01/boot.ipxe");
}

#[test]
fn b6_4_a_machine_that_is_to_boot_its_disk_gets_an_address_and_no_boot_file() {
    let mut bench = Bench::new();
    bench.host.boot = Boot::Disk;
    let offer = bench.reply(&pxe(Kind::Discover, 7));
    assert_eq!((offer.file.as_str(), offer.siaddr), ("", Ipv4Addr::UNSPECIFIED));
    assert!([60, 43, 66, 67].iter().all(|code| offer.option(*code).is_none()));
    assert_eq!(bench.reply(&ipxe(Kind::Discover)).file, "http://10.0.4.1:8080/b/52-54-00-00-00-01/disk.ipxe");
}

#[test]
fn a_stranger_boots_the_agent_only_where_everything_is_ours_to_discover() {
    let mut bench = Bench::new();
    bench.host = Host { boot: Boot::Agent, ..Host::default() };
    let offer = bench.reply(&pxe(Kind::Discover, 7));
    assert_eq!(offer.choice, Choice::Disk { why: WhyDisk::Stranger, script: None });
    let mut dedicated = Bench::with(|network| network.dedicated = true);
    dedicated.host = Host::default();
    assert_eq!(dedicated.reply(&pxe(Kind::Discover, 7)).file, "ipxe.efi");
}

#[test]
fn b2_12_the_fourth_boot_of_one_stage_in_five_minutes_goes_to_the_disk() {
    let mut bench = Bench::new();
    let boot = |bench: &mut Bench, xid: u32| {
        let address = bench.reply(&Request { xid, ..pxe(Kind::Discover, 7) }).yiaddr;
        let request = Request { xid, ..pxe(Kind::Request, 7) };
        let request = Request { requested: Some(address), server_id: Some(SERVER), ..request };
        bench.reply(&request);
        bench.reply(&request).choice
    };
    for xid in 1..=3 {
        assert!(boot(&mut bench, xid).boots(), "retransmits count once");
        bench.later(20);
    }
    assert_eq!(boot(&mut bench, 4), Choice::Disk { why: WhyDisk::Loop, script: None });
    assert!(bench.reply(&ipxe(Kind::Discover)).choice.boots(), "another stage is counted for itself");
    bench.later(300);
    assert!(boot(&mut bench, 5).boots());
}

#[test]
fn b2_12_a_boot_that_was_ordered_anew_begins_a_new_count() {
    let mut bench = Bench::new();
    let boot = |bench: &mut Bench, xid: u32| {
        let address = bench.reply(&Request { xid, ..pxe(Kind::Discover, 7) }).yiaddr;
        let request = Request { xid, requested: Some(address), server_id: Some(SERVER), ..pxe(Kind::Request, 7) };
        bench.reply(&request).choice.boots()
    };
    for order in 1..=5 {
        bench.host.order = Some(muster_names::Epoch(order));
        assert!(boot(&mut bench, u32::try_from(order).unwrap()), "the boot of order {order} is no loop");
    }
    for xid in 6..=7 {
        assert!(boot(&mut bench, xid), "two more of the same order");
    }
    assert!(!boot(&mut bench, 8), "a loop within one order is one");
}

#[test]
fn b1_27_a_boot_stage_gets_a_short_lease_which_never_cuts_a_longer_one() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    let end = bench.now.0 + 3_600_000;
    let request = Request { requested: Some(address), server_id: Some(SERVER), ..pxe(Kind::Request, 7) };
    let Answer::AfterCommit(change, Some(ack)) = bench.ask(&request) else { panic!("no ACK") };
    assert_eq!(ack.option(51), Some(&300u32.to_be_bytes()[..]));
    assert_eq!(change.lease.until, Millis(end));
}

#[test]
fn b2_8_the_boot_server_answers_the_source_with_the_file_and_without_a_lease() {
    let mut bench = Bench::new();
    let ip = Ipv4Addr::new(10, 0, 4, 10);
    let ingress = Ingress { port: 4011, source: SocketAddrV4::new(ip, 4011), unicast: true, ..BROADCAST };
    let request = Request { ciaddr: ip, vendor_options: Some(vec![71, 4, 0, 1, 0, 0, 255]), ..pxe(Kind::Request, 7) };
    let Answer::Now(ack) = bench.ask_by(&request, ingress) else { panic!("no ACK") };
    assert_eq!((ack.kind, ack.destination), (ReplyKind::Ack, Destination::Source(SocketAddrV4::new(ip, 4011))));
    assert_eq!((ack.yiaddr, ack.ciaddr, ack.option(51)), (Ipv4Addr::UNSPECIFIED, ip, None));
    assert_eq!((ack.file.as_str(), ack.siaddr), ("ipxe.efi", SERVER));
    assert_eq!(ack.option(43), Some(&[6, 1, 8, 71, 4, 0, 1, 0, 0, 255][..]), "b2_10: the item is echoed");
    bench.host.boot = Boot::Disk;
    assert_eq!(bench.ask_by(&request, ingress), Answer::Silent(Silence::OwnDisk(WhyDisk::Asked)));
    assert_eq!(bench.ask_by(&selecting(mac(1), ip), ingress), Answer::Silent(Silence::NothingToBoot));
}

#[test]
fn b2_10_only_firmware_that_names_a_boot_item_and_no_address_asks_for_its_file_on_port_67() {
    let relay = || Some(crate::Relay::read(&[11, 4, 172, 16, 0, 9]));
    let item = Some(vec![0, 6, 1, 8, 71, 4, 0, 1, 0, 0, 255]);
    let asks = Request { vendor_options: item, ciaddr: Ipv4Addr::new(10, 0, 4, 10), ..pxe(Kind::Request, 7) };
    let by = |server| Request { server_id: Some(server), ..asks.clone() };
    let other = Ipv4Addr::new(172, 16, 0, 9);
    for (request, for_a_file) in [
        (asks.clone(), true),
        (by(SERVER), true),
        (by(other), false),
        (Request { relay: relay(), ..by(other) }, true),
        (Request { relay: relay(), ..by(SERVER) }, true),
        (Request { kind: Some(Kind::Discover), ..asks.clone() }, false),
        (Request { requested: Some(asks.ciaddr), ..asks.clone() }, false),
        (Request { vendor_class: None, ..asks.clone() }, false),
        (Request { vendor_options: None, ..asks.clone() }, false),
        (Request { vendor_options: Some(vec![71, 3, 0, 1, 0]), ..asks.clone() }, false),
        (Request { vendor_options: Some(vec![71, 5, 0, 1, 0, 0]), ..asks.clone() }, false),
        (Request { vendor_options: Some(vec![255, 71, 4, 0, 1, 0, 0]), ..asks.clone() }, false),
    ] {
        let answer = Bench::new().ask(&request);
        let file = matches!(&answer, Answer::Now(reply) if reply.kind == ReplyKind::Ack && reply.option(51).is_none());
        assert_eq!(file, for_a_file, "{request:?} {answer:?}");
    }
}

#[test]
fn b1_23_no_option_goes_out_empty_and_a_name_that_just_fits_stands_in_the_header_too() {
    let longest = "x".repeat(127);
    let network = |network: &mut Network| {
        network.loaders.by_arch.insert(7, crate::FirstFile::new(&longest));
    };
    let full = |change: &dyn Fn(&mut Network)| {
        Bench::with(|one| {
            network(one);
            change(one);
        })
    };
    let empty = |kind| Request { uuid: Some(Vec::new()), ..pxe(kind, 7) };
    let Answer::Now(offer) = full(&|_| {}).ask(&empty(Kind::Discover)) else { panic!("no offer") };
    let port = Ingress { port: 4011, ..BROADCAST };
    let Answer::Now(ack) = full(&|_| {}).ask_by(&empty(Kind::Request), port) else { panic!("no ACK") };
    let beside = |network: &mut Network| {
        network.dhcp = Dhcp::Proxy;
        network.ranges.clear();
        network.authoritative = false;
    };
    let Answer::Now(proxy) = full(&beside).ask(&empty(Kind::Discover)) else { panic!("no offer") };
    for reply in [offer, ack, proxy] {
        assert_eq!((reply.file.as_str(), reply.option(97), reply.option(53).is_some()), (longest.as_str(), None, true));
    }
}

#[test]
fn b1_22_a_reply_is_bounded_by_the_discover_and_never_by_the_requests_word() {
    let mut bench = Bench::new();
    let offer = bench.reply(&Request { max_size: Some(1472), ..pxe(Kind::Discover, 7) });
    assert_eq!(offer.size_limit, 1444);
    let request = Request { max_size: Some(65280), ..selecting(mac(1), offer.yiaddr) };
    assert_eq!(bench.reply(&request).size_limit, 1444);
    assert_eq!(Bench::new().reply(&pxe(Kind::Discover, 7)).size_limit, 548);
    let tiny = Request { max_size: Some(1), ..pxe(Kind::Discover, 7) };
    assert_eq!(Bench::new().reply(&tiny).size_limit, 548);
}

/// Every kind of firmware and loader, with what may stand beside its boot file in a reply.
fn everybody() -> Vec<Request> {
    let http = |arch: u16| Request {
        vendor_class: Some(format!("HTTPClient:Arch:{arch:05}").into_bytes()),
        ..pxe(Kind::Discover, arch)
    };
    let bare = Request { ipxe: Some(vec![0x10, 1, 1]), ..ipxe(Kind::Discover) };
    let plain = Request::of(mac(1), Kind::Discover);
    let mut all = vec![ipxe(Kind::Discover), bare, plain];
    all.extend((0..=41).flat_map(|arch| [pxe(Kind::Discover, arch), http(arch)]));
    let full = |request: &Request| Request {
        client_id: Some(vec![1, 2, 3]),
        vendor_options: Some(vec![71, 4, 0, 1, 0, 0, 255]),
        relay: Some(crate::Relay::read(&[1, 1, 7])),
        ..request.clone()
    };
    all.iter().flat_map(|request| [request.clone(), full(request)]).collect()
}

fn chatty() -> Bench {
    let mut bench = Bench::with(|network| {
        network.dns = vec![SERVER];
        network.domain = Some("rack.example".to_owned());
        network.mtu = Some(9000);
    });
    bench.host.hostname = Some("node1".to_owned());
    bench
}

#[test]
fn b1_24_no_boot_file_goes_out_unended_or_with_an_option_behind_it() {
    let mut booted = 0;
    for request in everybody() {
        let offer = chatty().reply(&request);
        let Some(file) = offer.option(67) else { continue };
        booted += 1;
        assert_eq!(offer.options.last().map(|(code, _)| *code), Some(67), "{request:?}");
        assert_eq!(file.iter().position(|byte| *byte == 0), Some(file.len() - 1), "{request:?}");
    }
    assert!(booted >= 10, "{booted}");
}

#[test]
fn b2_4_the_pxe_class_never_goes_out_without_the_word_to_boot_this_packets_file() {
    let mut classed = 0;
    for request in everybody() {
        let offer = chatty().reply(&request);
        let pxe = offer.option(60) == Some(b"PXEClient");
        assert_eq!(pxe, offer.option(43).is_some_and(|raw| raw.starts_with(&[6, 1, 8])), "{request:?}");
        assert!(!pxe || offer.option(67).is_some(), "firmware would ask on 4011: {request:?}");
        classed += usize::from(pxe);
    }
    assert!(classed >= 4, "{classed}");
}

#[test]
fn b2_1_firmware_without_option_97_is_served_and_gets_none_back() {
    let offer = Bench::new().reply(&Request { uuid: None, ..pxe(Kind::Discover, 7) });
    assert_eq!((offer.file.as_str(), offer.option(97)), ("ipxe.efi", None));
}

#[test]
fn b2_1_nothing_but_a_discover_and_a_request_is_answered_with_a_boot() {
    let inform = Request { ciaddr: Ipv4Addr::new(10, 0, 4, 50), ..pxe(Kind::Inform, 7) };
    let ack = Bench::new().reply(&inform);
    assert_eq!((ack.kind, ack.file.as_str(), ack.siaddr), (ReplyKind::Ack, "", Ipv4Addr::UNSPECIFIED));
    assert!([60, 43, 66, 67, 97].iter().all(|code| ack.option(*code).is_none()));
}

#[test]
fn b2_15_an_architecture_that_nobody_serves_boots_its_disk_and_is_told_why() {
    for arch in [1, 41, 42, 0xffff] {
        let offer = Bench::new().reply(&pxe(Kind::Discover, arch));
        assert_eq!(offer.choice, Choice::Disk { why: WhyDisk::NoLoader, script: None }, "{arch}");
        assert_eq!((offer.file.as_str(), offer.option(67)), ("", None));
    }
}

#[test]
fn b2_16_a_pxe_client_is_given_no_url_whatever_its_architecture_says() {
    let offer = Bench::new().reply(&pxe(Kind::Discover, 16));
    assert_eq!((offer.file.as_str(), offer.option(60)), ("ipxe-http.efi", Some(&b"PXEClient"[..])));
}

#[test]
fn b3_1_http_firmware_without_a_url_is_not_given_its_class_either() {
    let http = |arch| Request { vendor_class: Some(b"HTTPClient".to_vec()), ..pxe(Kind::Discover, arch) };
    let mut disk = Bench::new();
    disk.host.boot = Boot::Disk;
    for offer in [Bench::new().reply(&http(99)), disk.reply(&http(16))] {
        assert!([60, 67].iter().all(|code| offer.option(*code).is_none()), "{:?}", offer.choice);
    }
}
