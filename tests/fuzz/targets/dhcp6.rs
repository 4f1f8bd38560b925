//! One datagram to port 547: whatever it holds, it is read or named malformed, judged, and answered in bytes.
//!
//! Reader and writer are taken in as files, as in `dhcp`; the rules come with their crate.
#![no_main]

use muster_names::{Mac, Millis};
use muster_netboot::v6::{Answer, Ingress, Leases, Served};
use muster_netboot::{Boot, FirstFile, Host, Network, Networks};
use std::sync::LazyLock;

#[path = "../../../server/bootserver/src/dhcp6/read.rs"]
#[allow(dead_code)]
mod read;
#[path = "../../../server/bootserver/src/dhcp6/write.rs"]
#[allow(dead_code)]
mod write;

static NETWORKS: LazyLock<Networks> = LazyLock::new(|| {
    let subnet = "10.77.0.0/24".parse().expect("a subnet");
    let mut network = Network::new("rack", subnet, [10, 77, 0, 1].into(), "http://10.77.0.1:8080");
    network.interface = Some("eth0".to_owned());
    network.authoritative = true;
    network.loaders.by_arch.extend([7, 16].map(|arch| (arch, FirstFile::new("ipxe.efi"))));
    let at = |text: &str| text.parse().expect("an address");
    network.v6 = Some(Served {
        prefix: "fd00:77::/64".parse().expect("a prefix"),
        range: (at("fd00:77::1000"), at("fd00:77::10ff")),
        server: at("fd00:77::1"),
        boot_http: "http://[fd00:77::1]:8080".to_owned(),
        boot_https: None,
        dns: vec![at("fd00:77::53")],
        rapid_commit: true,
    });
    Networks::new(vec![network]).expect("a network")
});

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    let request = match read::parse(datagram) {
        Ok(request) => request,
        Err(malformed) => return assert!(!malformed.label().is_empty()),
    };
    let mut leases = Leases::default();
    let host = Host { ours: true, boot: Boot::Agent, ..Host::default() };
    for unicast in [false, true] {
        let source = "fe80::5054:ff:fe77:101".parse().expect("an address");
        let ingress =
            Ingress { interface: "eth0", source, source_port: 546, unicast, heard: Some(Mac([2, 0, 0, 0, 0, 1])) };
        match leases.answer(&NETWORKS, &request, ingress, &|_| host.clone(), Millis(1)) {
            Answer::Silent(why) => assert!(!why.to_string().is_empty()),
            Answer::Now(reply) | Answer::AfterCommit(_, reply) => {
                let bytes = write::encode(&reply).expect("what was read from one datagram is answered in one");
                // No answer is a lever: what comes back is the question, the boot file and little more.
                assert!(bytes.len() < datagram.len() + 1200, "{} to {}", bytes.len(), datagram.len());
                assert_eq!(reply.to.ip(), &source);
            }
        }
    }
    assert!(leases.remembered() <= 1);
});
