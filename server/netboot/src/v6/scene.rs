//! What the tests of the rules stand on: one network, machines that ask as firmware, loaders and systems do.

use super::*;
use crate::{Boot, FirstFile, Host, Network, Networks, Outcome};
use muster_names::{Mac, Millis};
use std::net::Ipv6Addr;

pub const START: Millis = Millis(1_000_000);

pub fn at(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn mac(number: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0x77, 1, number])
}

pub fn duid(number: u8) -> Vec<u8> {
    [&[0, 3, 0, 1][..], &mac(number).0].concat()
}

pub fn network() -> Network {
    let mut network =
        Network::new("rack", "10.77.0.0/24".parse().unwrap(), "10.77.0.1".parse().unwrap(), "http://10.77.0.1:8080");
    network.interface = Some("eth0".to_owned());
    network.authoritative = true;
    network.loaders.by_arch.extend([7, 16].map(|arch| (arch, FirstFile::new("ipxe.efi"))));
    network.v6 = Some(Served {
        prefix: "fd00:77::/64".parse().unwrap(),
        range: (at("fd00:77::1000"), at("fd00:77::1003")),
        server: at("fd00:77::1"),
        boot_http: "http://[fd00:77::1]:8080".to_owned(),
        boot_https: None,
        dns: vec![at("fd00:77::53")],
        rapid_commit: false,
    });
    network
}

pub fn ours() -> Vec<u8> {
    server_id(at("fd00:77::1"))
}

pub struct Scene {
    pub leases: Leases,
    pub networks: Networks,
    pub host: Host,
    pub now: Millis,
    /// What the store has.
    pub rows: Vec<Lease>,
}

impl Scene {
    pub fn new() -> Self {
        Self::of(network())
    }

    pub fn of(network: Network) -> Self {
        let host = Host { ours: true, boot: Boot::Agent, ..Host::default() };
        let networks = Networks::new(vec![network]).unwrap();
        Self { leases: Leases::default(), networks, host, now: START, rows: Vec::new() }
    }

    pub fn ingress(number: u8) -> Ingress<'static> {
        Ingress {
            interface: "eth0",
            source: at("fe80::1234"),
            source_port: 546,
            unicast: false,
            heard: Some(mac(number)),
        }
    }

    pub fn answer(&mut self, number: u8, request: &Request) -> Answer {
        self.answer_at(Self::ingress(number), request)
    }

    pub fn answer_at(&mut self, ingress: Ingress<'_>, request: &Request) -> Answer {
        let host = self.host.clone();
        self.leases.answer(&self.networks, request, ingress, &|_| host.clone(), self.now)
    }

    /// The reply, its change written.
    pub fn reply(&mut self, number: u8, request: &Request) -> Reply {
        match self.answer(number, request) {
            Answer::Silent(why) => panic!("silent: {why}"),
            Answer::Now(reply) => *reply,
            Answer::AfterCommit(change, reply) => {
                self.rows.retain(|row| row.address != change.lease.address);
                self.rows.push(change.lease.clone());
                self.leases.settle(&change, Outcome::Done, self.now);
                *reply
            }
        }
    }

    pub fn silence(&mut self, number: u8, request: &Request) -> Silence {
        match self.answer(number, request) {
            Answer::Silent(why) => why,
            other => panic!("answered: {other:?}"),
        }
    }

    /// From SOLICIT to the address.
    pub fn lease(&mut self, number: u8) -> Ipv6Addr {
        let offered = self.reply(number, &asks(Kind::Solicit, number, &[])).address().unwrap();
        self.reply(number, &asks(Kind::Request, number, &[offered])).address().unwrap()
    }

    pub fn restart(&mut self) {
        self.leases = Leases::restore(self.rows.clone());
    }
}

/// A message with one IA as a client of ours sends it.
pub fn asks(kind: Kind, number: u8, addresses: &[Ipv6Addr]) -> Request {
    let told = matches!(kind, Kind::Request | Kind::Renew | Kind::Release | Kind::Decline);
    Request {
        client_id: Some(duid(number)),
        server_id: told.then(ours),
        ias: vec![Ia { iaid: 7, addresses: addresses.to_vec() }],
        ..Request::of(kind, 0x00_0102)
    }
}
