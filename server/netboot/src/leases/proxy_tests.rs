//! Beside another server: boots are offered, addresses never; and what firmware makes of our offers among others,
//! judged by its own order of preference.

use super::rule_tests::{BROADCAST, Bench, SERVER, ip, mac};
use super::*;
use crate::{Boot, ClientKind, Destination, FirstFile, WhyDisk};
use std::net::SocketAddrV4;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 2);

fn beside() -> Bench {
    Bench::with(|network| {
        network.dhcp = Dhcp::Proxy;
        network.ranges.clear();
        network.authoritative = false;
        network.other_servers.insert(OTHER);
    })
}

fn second_style(arch: u16) -> Bench {
    Bench::with(|network| {
        network.dhcp = Dhcp::Proxy;
        network.ranges.clear();
        network.authoritative = false;
        if let Some(first) = network.loaders.by_arch.get_mut(&arch) {
            first.proxy = ProxyStyle::Binl4011;
        }
    })
}

fn pxe(kind: Kind, arch: u16) -> Request {
    Request {
        vendor_class: Some(format!("PXEClient:Arch:{arch:05}:UNDI:003016").into_bytes()),
        archs: vec![arch],
        uuid: Some(vec![0; 17]),
        ..Request::of(mac(1), kind)
    }
}

fn ipxe(kind: Kind) -> Request {
    Request { user_class: Some(b"iPXE".to_vec()), ipxe: Some(vec![0x13, 1, 1]), ..pxe(kind, 7) }
}

fn http(kind: Kind) -> Request {
    Request { vendor_class: Some(b"HTTPClient:Arch:00016:UNDI:003001".to_vec()), ..pxe(kind, 16) }
}

fn on_4011(address: Ipv4Addr) -> Ingress<'static> {
    Ingress { port: 4011, source: SocketAddrV4::new(address, 4011), unicast: true, ..BROADCAST }
}

/// The other server's plain offer: an address, no class, no file.
fn plain_offer() -> Reply {
    let mut bench = Bench::new();
    bench.host.boot = Boot::Disk;
    let mut offer = bench.reply(&pxe(Kind::Discover, 7));
    offer.options.retain(|(code, _)| *code != 54);
    offer.options.push((54, OTHER.octets().to_vec()));
    offer
}

/// How UEFI firmware sorts one offer (B2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    DhcpPxe10,
    DhcpBinl,
    DhcpOnly { file: bool },
    ProxyPxe10,
    ProxyBinl,
    Dropped,
}

fn sort(offer: &Reply) -> Kept {
    let proxy = offer.yiaddr.is_unspecified();
    let sub_options = |raw: &[u8]| {
        let (mut found, mut rest) = (Vec::new(), raw);
        while let [code, length, tail @ ..] = rest {
            if *code == 255 {
                break;
            }
            found.push(*code);
            rest = tail.get(usize::from(*length)..).unwrap_or_default();
        }
        found
    };
    let vendor = offer.option(43).map(sub_options).unwrap_or_default();
    let file = !offer.file.is_empty() || offer.option(67).is_some();
    match offer.option(60) {
        _ if offer.option(54).is_none() => Kept::Dropped,
        Some(class) if class.starts_with(b"PXEClient") => {
            match (vendor.iter().any(|code| (6..=10).contains(code)), proxy) {
                _ if (1..=5).all(|code| vendor.contains(&code)) => Kept::Dropped,
                (true, false) => Kept::DhcpPxe10,
                (true, true) => Kept::ProxyPxe10,
                (false, false) => Kept::DhcpBinl,
                (false, true) => Kept::ProxyBinl,
            }
        }
        _ if proxy => Kept::Dropped,
        _ => Kept::DhcpOnly { file },
    }
}

/// Which way the firmware boots with these offers in hand (B2.3), best first.
fn way(offers: &[&Reply]) -> &'static str {
    let kept: Vec<Kept> = offers.iter().map(|offer| sort(offer)).collect();
    let address = kept.iter().any(|one| matches!(one, Kept::DhcpOnly { .. }));
    match () {
        () if kept.contains(&Kept::DhcpPxe10) => "the DHCP server's file",
        () if address && kept.contains(&Kept::ProxyPxe10) => "the boot server's file",
        () if kept.contains(&Kept::DhcpBinl) => "the DHCP server's 4011",
        () if address && kept.contains(&Kept::ProxyBinl) => "the boot server's 4011",
        () if kept.contains(&Kept::DhcpOnly { file: true }) => "the DHCP server's plain file",
        () => "nothing",
    }
}

#[test]
fn b2_8_the_offer_beside_another_server_has_no_address_and_all_that_firmware_looks_for() {
    let mut bench = beside();
    let Answer::Now(offer) = bench.ask(&pxe(Kind::Discover, 7)) else { panic!("no offer") };
    assert_eq!(
        (offer.kind, offer.yiaddr, offer.destination),
        (ReplyKind::Offer, Ipv4Addr::UNSPECIFIED, Destination::Broadcast)
    );
    assert_eq!(offer.flags & 0x8000, 0x8000);
    assert_eq!((offer.option(60), offer.option(54)), (Some(&b"PXEClient"[..]), Some(&SERVER.octets()[..])));
    assert_eq!(offer.option(43), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.option(97), Some(&[0; 17][..]));
    assert_eq!((offer.siaddr, offer.file.as_str(), offer.sname.as_str()), (SERVER, "ipxe.efi", "10.0.4.1"));
    for lease in [51, 58, 59, 1, 3, 6] {
        assert_eq!(offer.option(lease), None, "{lease} belongs to the server that gives the address");
    }
}

#[test]
fn b2_8_no_message_on_a_network_of_another_server_leads_to_a_lease() {
    let mut bench = beside();
    let address = Some(ip(10));
    for kind in [Kind::Request, Kind::Release, Kind::Decline, Kind::Inform] {
        for (requested, ciaddr) in [(address, Ipv4Addr::UNSPECIFIED), (None, ip(10))] {
            let request = Request { requested, ciaddr, ..pxe(kind, 7) };
            assert_eq!(bench.ask(&request), Answer::Silent(Silence::AddressesElsewhere), "{kind:?}");
        }
    }
    let taken = Request { requested: address, server_id: Some(OTHER), ..pxe(Kind::Request, 7) };
    assert_eq!(bench.ask(&taken), Answer::Silent(Silence::OtherServer(OTHER)));
    let system = Request::of(mac(1), Kind::Discover);
    assert_eq!(bench.ask(&system), Answer::Silent(Silence::AddressesElsewhere));
    assert_eq!(bench.leases.held("rack", bench.now), 0);
}

#[test]
fn b2_8_a_stranger_beside_another_server_hears_nothing_unless_all_is_ours_to_discover() {
    let mut bench = beside();
    bench.host = Host { boot: Boot::Agent, ..Host::default() };
    for request in [pxe(Kind::Discover, 7), ipxe(Kind::Discover), http(Kind::Discover)] {
        assert_eq!(bench.ask(&request), Answer::Silent(Silence::Stranger));
    }
    assert_eq!(bench.ask_by(&pxe(Kind::Request, 7), on_4011(ip(9))), Answer::Silent(Silence::Stranger));
    let mut dedicated = Bench::with(|network| {
        network.dhcp = Dhcp::Proxy;
        network.ranges.clear();
        (network.authoritative, network.dedicated) = (false, true);
    });
    dedicated.host = Host::default();
    assert_eq!(dedicated.reply(&pxe(Kind::Discover, 7)).file, "ipxe.efi");
}

#[test]
fn b6_4_beside_another_server_a_machine_that_is_to_boot_its_disk_is_left_alone() {
    let mut bench = beside();
    bench.host.boot = Boot::Disk;
    assert_eq!(bench.ask(&pxe(Kind::Discover, 7)), Answer::Silent(Silence::OwnDisk(WhyDisk::Asked)));
    assert_eq!(bench.ask(&http(Kind::Discover)), Answer::Silent(Silence::OwnDisk(WhyDisk::Asked)));
    let script = bench.reply(&ipxe(Kind::Discover));
    assert!(script.file.ends_with("/disk.ipxe"), "iPXE would wait for a file that never comes: {}", script.file);
}

#[test]
fn b2_9_in_the_second_style_the_offer_names_the_server_and_the_file_comes_on_4011() {
    let mut bench = second_style(7);
    let offer = bench.reply(&pxe(Kind::Discover, 7));
    assert_eq!((offer.siaddr, offer.file.as_str(), offer.sname.as_str()), (SERVER, "", ""));
    assert!([43, 66, 67].iter().all(|code| offer.option(*code).is_none()));
    assert_eq!(sort(&offer), Kept::ProxyBinl);
    let request = Request { ciaddr: ip(99), ..pxe(Kind::Request, 7) };
    let Answer::Now(ack) = bench.ask_by(&request, on_4011(ip(99))) else { panic!("no ACK") };
    assert_eq!((ack.kind, ack.file.as_str(), ack.siaddr), (ReplyKind::Ack, "ipxe.efi", SERVER));
    assert_eq!(ack.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(ack.destination, Destination::Source(SocketAddrV4::new(ip(99), 4011)));
    assert_eq!(bench.reply(&pxe(Kind::Discover, 0)).file, "undionly.kpxe", "the style is the loader's own");
}

#[test]
fn b2_2_firmware_sorts_our_offers_as_meant() {
    assert_eq!(sort(&Bench::new().reply(&pxe(Kind::Discover, 7))), Kept::DhcpPxe10);
    assert_eq!(sort(&beside().reply(&pxe(Kind::Discover, 7))), Kept::ProxyPxe10);
    assert_eq!(sort(&plain_offer()), Kept::DhcpOnly { file: false });
    let mut unnamed = beside().reply(&pxe(Kind::Discover, 7));
    unnamed.options.retain(|(code, _)| *code != 54);
    assert_eq!(sort(&unnamed), Kept::Dropped, "b1_9: without option 54 an offer is none");
}

#[test]
fn b2_3_our_full_offer_goes_before_a_foreign_proxys_and_our_proxys_before_a_plain_file() {
    let request = pxe(Kind::Discover, 7);
    let (full, proxy) = (Bench::new().reply(&request), beside().reply(&request));
    let binl = second_style(7).reply(&request);
    let mut with_file = plain_offer();
    with_file.file = "something-else".to_owned();
    assert_eq!(way(&[&proxy, &full]), "the DHCP server's file");
    assert_eq!(way(&[&plain_offer(), &proxy]), "the boot server's file");
    assert_eq!(way(&[&with_file, &proxy]), "the boot server's file");
    assert_eq!(way(&[&plain_offer(), &binl]), "the boot server's 4011");
    assert_eq!(way(&[&proxy]), "nothing", "without an address there is no boot");
    assert_eq!(way(&[&plain_offer()]), "nothing");
}

#[test]
fn b2_12_ipxe_knows_our_script_by_the_class_and_b3_2_http_firmware_by_its_own() {
    let script = beside().reply(&ipxe(Kind::Discover));
    assert_eq!(script.file, "http://10.0.4.1:8080/b/52-54-00-00-00-01/boot.ipxe");
    assert_eq!((script.option(60), script.yiaddr), (Some(&b"PXEClient"[..]), Ipv4Addr::UNSPECIFIED));
    assert_eq!(script.option(175), None, "it has to wait for us: the address comes from elsewhere");
    let http = beside().reply(&http(Kind::Discover));
    assert_eq!(http.option(60), Some(&b"HTTPClient"[..]));
    assert_eq!(http.option(67), Some(&b"http://10.0.4.1:8080/boot/ipxe-http.efi\0"[..]));
    assert_eq!((http.option(43), http.yiaddr), (None, Ipv4Addr::UNSPECIFIED));
}

#[test]
fn b2_10_a_boot_item_asked_for_on_67_gets_its_file_and_no_lease() {
    let item = Request { ciaddr: ip(10), vendor_options: Some(vec![71, 4, 0, 1, 0, 0, 255]), ..pxe(Kind::Request, 7) };
    for mut bench in [Bench::new(), beside()] {
        let Answer::Now(ack) = bench.ask(&item) else { panic!("no ACK") };
        assert_eq!((ack.kind, ack.file.as_str(), ack.option(51)), (ReplyKind::Ack, "ipxe.efi", None));
        assert_eq!(ack.option(43), Some(&[6, 1, 8, 71, 4, 0, 1, 0, 0, 255][..]));
    }
    let broken = Request { vendor_options: Some(vec![71, 9, 0, 1]), ..item };
    assert!(matches!(Bench::new().ask(&broken), Answer::AfterCommit(..)), "a broken item is a renewal as any other");
}

#[test]
fn b2_12_a_boot_loop_beside_another_server_ends_too() {
    for mut bench in [beside(), second_style(7)] {
        let mut boot = |xid: u32| {
            let Answer::Now(offer) = bench.ask(&Request { xid, ..pxe(Kind::Discover, 7) }) else { return false };
            assert!(offer.choice.boots());
            let request = Request { xid: xid + 100, ciaddr: ip(9), ..pxe(Kind::Request, 7) };
            if offer.option(67).is_none() {
                bench.ask_by(&request, on_4011(ip(9)));
            }
            true
        };
        assert_eq!([1, 2, 3, 4].map(&mut boot), [true, true, true, false]);
    }
}

#[test]
fn b2_14_what_a_kind_of_client_wants_to_see_goes_into_option_43() {
    let menu = [9, 5, 0, 0, 2, b'P', b'i'];
    let board = || ClientKind {
        ouis: vec![[0x52, 0x54, 0]],
        archs: vec![0],
        file: Some(FirstFile::new("bootcode.bin")),
        vendor_options: menu.to_vec(),
        ..ClientKind::default()
    };
    let mut bench = Bench::with(|network| network.loaders.kinds.push(board()));
    let offer = bench.reply(&pxe(Kind::Discover, 0));
    assert_eq!(offer.file, "bootcode.bin");
    assert_eq!(offer.option(43), Some(&[&[6, 1, 8][..], &menu, &[255]].concat()[..]), "b2_11: ended by 255");
    assert_eq!(bench.reply(&pxe(Kind::Discover, 7)).file, "ipxe.efi");
}

#[test]
fn b10_a_loader_that_calls_itself_neither_boots_as_data_says() {
    let kind = |file: Option<FirstFile>| ClientKind {
        class: Some("U-Boot".to_owned()),
        file,
        lease_seconds: Some(120),
        ..ClientKind::default()
    };
    let request = Request { vendor_class: Some(b"U-Boot.armv8".to_vec()), archs: vec![22], ..pxe(Kind::Discover, 22) };
    let mut bench = Bench::with(|network| network.loaders.kinds.push(kind(Some(FirstFile::new("arm.efi")))));
    let offer = bench.reply(&request);
    assert_eq!((offer.file.as_str(), offer.siaddr), ("arm.efi", SERVER));
    assert_eq!((offer.option(60), offer.option(51)), (None, Some(&120u32.to_be_bytes()[..])));
    let mut known = Bench::with(|network| network.loaders.kinds.push(kind(None)));
    let offer = known.reply(&request);
    assert_eq!((offer.file.as_str(), &offer.choice), ("", &Choice::Nothing));
    assert_eq!(offer.option(51), Some(&120u32.to_be_bytes()[..]), "b1_27: the kind's own time");
}

#[test]
fn b10_http_clients_get_their_class_exactly_and_b3_8_no_reply_is_longer_than_they_take() {
    let grub =
        Request { vendor_class: Some(b"HTTPClient".to_vec()), max_size: Some(65_280), ..pxe(Kind::Discover, 16) };
    let offer = Bench::new().reply(&grub);
    assert_eq!(offer.option(60), Some(&b"HTTPClient"[..]));
    assert!(offer.size_limit + 28 <= 1472, "{}", offer.size_limit);
}

#[test]
fn b2_5_no_list_of_boot_servers_goes_out_and_b2_7_no_file_size() {
    let requests = [pxe(Kind::Discover, 0), pxe(Kind::Discover, 7), http(Kind::Discover), ipxe(Kind::Discover)];
    for (mut bench, request) in
        [Bench::new(), beside()].into_iter().flat_map(|b| requests.iter().map(move |r| (b.clone(), r)))
    {
        let offer = bench.reply(request);
        assert_eq!((offer.siaddr, offer.option(13)), (SERVER, None));
        assert!(offer.option(43).is_none_or(|raw| raw == [6, 1, 8, 255]), "{:?}", offer.option(43));
    }
}
