//! What a machine is told to boot over IPv6 (B4.2, B4.6): the choices of IPv4 in the words of RFC 5970.

use super::scene::{Scene, asks, at, mac, network};
use super::*;
use crate::choice::{Choice, WhyDisk};
use crate::{Boot, Host, Networks};

fn firmware(class: &str, arch: u16) -> Request {
    Request { vendor_class: Some(class.as_bytes().to_vec()), archs: vec![arch], ..asks(Kind::Solicit, 1, &[]) }
}

fn ipxe() -> Request {
    Request { user_classes: vec![b"iPXE".to_vec()], ..asks(Kind::Solicit, 1, &[]) }
}

#[test]
fn b4_2_uefi_http_boot_gets_a_url_without_nul_and_the_class_it_looks_for() {
    let reply = Scene::new().reply(1, &firmware("HTTPClient:Arch:00016:UNDI:003001", 16));
    assert_eq!(reply.option(59), Some(&b"http://[fd00:77::1]:8080/boot/ipxe.efi"[..]));
    assert_eq!(reply.option(16), Some(&b"\0\0\x01\x57\0\x0aHTTPClient"[..]));
    assert_eq!(reply.address(), Some(at("fd00:77::1000")));
}

#[test]
fn b3_3_where_a_network_says_so_http_firmware_is_sent_to_tls_over_ipv6_too() {
    let mut network = crate::v6::scene::network();
    network.v6.as_mut().unwrap().boot_https = Some("https://[fd00:77::1]:8081".to_owned());
    let reply = Scene::of(network).reply(1, &firmware("HTTPClient:Arch:00016:UNDI:003001", 16));
    assert_eq!(reply.option(59), Some(&b"https://[fd00:77::1]:8081/boot/ipxe.efi"[..]));
}

#[test]
fn b4_2_pxe_firmware_gets_a_tftp_url_and_no_class_which_would_send_it_to_a_boot_server() {
    let reply = Scene::new().reply(1, &firmware("PXEClient:Arch:00007:UNDI:003001", 7));
    assert_eq!(reply.option(59), Some(&b"tftp://[fd00:77::1]/ipxe.efi"[..]));
    assert_eq!(reply.option(16), None);
}

#[test]
fn b4_2_ipxe_gets_its_script_though_it_does_not_ask_for_one() {
    let request = Request { wanted: vec![23, 24], ..ipxe() };
    let reply = Scene::new().reply(1, &request);
    let url = format!("http://[fd00:77::1]:8080/b/{}/boot.ipxe", mac(1).dashed());
    assert_eq!(reply.option(59), Some(url.as_bytes()));
    let information = Request { kind: Kind::InformationRequest, ias: Vec::new(), ..request };
    assert_eq!(Scene::new().reply(1, &information).option(59), Some(url.as_bytes()));
}

#[test]
fn b4_2_a_system_gets_no_boot_file_and_the_long_lease() {
    let mut scene = Scene::new();
    let system = scene.reply(1, &asks(Kind::Solicit, 1, &[]));
    assert_eq!((system.option(59), system.ias[0].addresses[0].2), (None, 3600));
    let booting = scene.reply(1, &firmware("PXEClient", 7));
    assert_eq!(booting.ias[0].addresses[0].2, 300);
}

#[test]
fn b4_2_a_machine_that_is_not_due_boots_its_own_disk() {
    let mut scene = Scene::new();
    scene.host.boot = Boot::Disk;
    for request in [firmware("PXEClient", 7), firmware("HTTPClient", 16)] {
        let reply = scene.reply(1, &request);
        assert_eq!(reply.choice, Choice::Disk { why: WhyDisk::Asked, script: None });
        assert_eq!((reply.option(59), reply.option(16)), (None, None));
    }
    assert!(scene.reply(1, &ipxe()).option(59).unwrap().ends_with(b"/disk.ipxe"));
    scene.host = Host::default();
    assert_eq!(scene.reply(1, &firmware("PXEClient", 7)).choice, Choice::Disk { why: WhyDisk::Stranger, script: None });
    scene.host = Host { ours: true, boot: Boot::Agent, ..Host::default() };
    let unknown = scene.reply(1, &firmware("PXEClient", 41)).choice;
    assert_eq!(unknown, Choice::Disk { why: WhyDisk::NoLoader, script: None });
}

#[test]
fn b4_2_a_machine_that_boots_the_same_stage_again_and_again_over_ipv6_is_sent_to_its_disk() {
    let mut scene = Scene::new();
    let mut boot = |xid| {
        let request = Request { xid, kind: Kind::Request, server_id: Some(scene::ours()), ..firmware("PXEClient", 7) };
        scene.reply(1, &request).choice
    };
    assert!((1..4).all(|xid| boot(xid).boots()));
    assert_eq!(boot(4), Choice::Disk { why: WhyDisk::Loop, script: None });
}

#[test]
fn b4_2_only_who_is_alone_on_a_network_says_that_no_better_offer_will_come() {
    let mut scene = Scene::new();
    assert_eq!(scene.reply(1, &asks(Kind::Solicit, 1, &[])).option(7), Some(&[255][..]));
    assert_eq!(scene.reply(1, &asks(Kind::Request, 1, &[])).option(7), None, "a preference is an ADVERTISE's");
    let mut shared = network();
    shared.authoritative = false;
    assert_eq!(Scene::of(shared).reply(1, &asks(Kind::Solicit, 1, &[])).option(7), None);
}

#[test]
fn b4_6_a_network_that_does_not_say_so_speaks_no_ipv6() {
    let mut silent = network();
    silent.v6 = None;
    let mut scene = Scene::new();
    scene.networks = Networks::new(vec![silent]).unwrap();
    assert_eq!(scene.silence(1, &firmware("HTTPClient", 16)), Silence::NoNetwork);
    let new = crate::Network::new("a", "10.0.0.0/24".parse().unwrap(), "10.0.0.1".parse().unwrap(), "http://10.0.0.1");
    assert_eq!(new.v6, None);
}

#[test]
fn every_reply_over_ipv6_is_a_sentence() {
    let mut scene = Scene::new();
    let said = scene.reply(1, &firmware("PXEClient", 7)).to_string();
    assert_eq!(said, "ADVERTISE fd00:77::1000; boot ipxe.efi by TFTP");
    let refused = scene.reply(1, &asks(Kind::Request, 1, &[at("fd00:99::5")])).to_string();
    assert_eq!(refused, "REPLY: the address is not of this link");
    let information = Request::of(Kind::InformationRequest, 1);
    assert_eq!(scene.reply(1, &information).to_string(), "REPLY without an address; not a boot client");
}
