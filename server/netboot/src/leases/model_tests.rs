//! Random lives of a few machines, with lost answers, late commits, another server's leases and kills in between: at
//! no moment do two machines hold one address.

use super::rule_tests::{Bench, ip, mac, selecting};
use super::*;
use crate::{Boot, Destination};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Discover {
        who: u8,
        wish: Option<u8>,
    },
    Select {
        who: u8,
        pxe: bool,
    },
    Reboot {
        who: u8,
        address: u8,
    },
    Renew {
        who: u8,
        direct: bool,
    },
    Release {
        who: u8,
    },
    Decline {
        who: u8,
    },
    /// The store writes the oldest changes waiting; the ACKs leave.
    Commit {
        count: usize,
    },
    /// It writes them, but nobody learns of it: they are sent again.
    CommitUnheard {
        count: usize,
    },
    /// Another server of ours leases an address by itself.
    Foreign {
        address: u8,
    },
    /// Everything in memory is gone.
    Kill,
    Away {
        away: bool,
    },
    Pass {
        seconds: i64,
    },
    /// Some addresses are asked after, and one of all is answered, by a machine or by nobody.
    Probe {
        address: u8,
        by: Option<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 1u8..7;
    let address = 9u8..15;
    prop_oneof![
        4 => (who.clone(), proptest::option::of(address.clone())).prop_map(|(who, wish)| Step::Discover { who, wish }),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, pxe)| Step::Select { who, pxe }),
        2 => (who.clone(), address.clone()).prop_map(|(who, address)| Step::Reboot { who, address }),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, direct)| Step::Renew { who, direct }),
        1 => who.clone().prop_map(|who| Step::Release { who }),
        2 => (address.clone(), proptest::option::of(who.clone())).prop_map(|(address, by)| Step::Probe { address, by }),
        1 => who.prop_map(|who| Step::Decline { who }),
        6 => (1usize..4).prop_map(|count| Step::Commit { count }),
        1 => (1usize..4).prop_map(|count| Step::CommitUnheard { count }),
        1 => address.prop_map(|address| Step::Foreign { address }),
        1 => Just(Step::Kill),
        1 => any::<bool>().prop_map(|away| Step::Away { away }),
        3 => (1i64..700).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// The world around the rules: the store's rows, what waits for it, and what each machine believes.
struct World {
    bench: Bench,
    rows: BTreeMap<Ipv4Addr, Lease>,
    waiting: Vec<(LeaseChange, Option<Box<Reply>>)>,
    offers: BTreeMap<Mac, Ipv4Addr>,
    /// By machine: its address and the end of its lease, as the ACK said.
    held: BTreeMap<Mac, (Ipv4Addr, Millis)>,
    /// The store writes whatever it is told, so that the rules in memory stand alone.
    credulous: bool,
}

const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 99]);

impl World {
    fn new(credulous: bool) -> Self {
        let bench = Bench::with(|network| network.os_seconds = 600);
        let (rows, waiting, offers, held) = Default::default();
        Self { bench, rows, waiting, offers, held, credulous }
    }

    fn take(&mut self, request: &Request, direct: bool) {
        let source = std::net::SocketAddrV4::new(request.ciaddr, 68);
        let ingress = Ingress { interface: "eth0", source, unicast: direct, port: 67 };
        match self.bench.ask_by(request, ingress) {
            Answer::Silent(_) => {}
            Answer::Now(reply) => self.arrive(&reply, self.bench.now),
            Answer::AfterCommit(change, reply) => self.waiting.push((*change, reply)),
        }
    }

    /// A client counts its lease from the moment it asked (RFC 2131, section 4.4.1).
    fn arrive(&mut self, reply: &Reply, asked: Millis) {
        let [a, b, c, d, e, f, ..] = reply.chaddr;
        let mac = Mac([a, b, c, d, e, f]);
        match reply.kind {
            ReplyKind::Offer => {
                self.offers.insert(mac, reply.yiaddr);
            }
            ReplyKind::Nak => {
                self.held.remove(&mac);
            }
            ReplyKind::Ack => {
                let seconds = u32::from_be_bytes(reply.option(51).unwrap().try_into().unwrap());
                let until = Millis(asked.0 + i64::from(seconds) * 1000);
                self.held.insert(mac, (reply.yiaddr, until));
            }
        }
    }

    /// The store's rule, read from the documentation of [`LeaseChange`].
    fn write(&mut self, change: &LeaseChange) -> Outcome {
        match self.rows.get(&change.lease.address) {
            Some(row) if !self.credulous && !change.may_replace(row) => Outcome::Taken,
            _ => {
                self.rows.insert(change.lease.address, change.lease.clone());
                Outcome::Done
            }
        }
    }

    fn commit(&mut self, count: usize, heard: bool) {
        let count = count.min(self.waiting.len());
        let batch: Vec<_> = if heard { self.waiting.drain(..count).collect() } else { self.waiting[..count].to_vec() };
        for (change, reply) in batch {
            let outcome = self.write(&change);
            if !heard {
                continue;
            }
            self.bench.leases.settle(&change, outcome, self.bench.now);
            let fresh = self.bench.now.0 - change.at.0 <= 2000;
            if let (Outcome::Done, Some(reply), true) = (outcome, reply, fresh) {
                self.arrive(&reply, change.at);
            }
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Discover { who, wish } => {
                self.held.remove(&mac(who));
                self.take(&Request { requested: wish.map(ip), ..Request::of(mac(who), Kind::Discover) }, false);
            }
            Step::Select { who, pxe } => {
                if let Some(address) = self.offers.get(&mac(who)).copied() {
                    self.held.remove(&mac(who));
                    let vendor_class = pxe.then(|| b"PXEClient".to_vec());
                    self.take(&Request { vendor_class, ..selecting(mac(who), address) }, false);
                }
            }
            Step::Reboot { who, address } => {
                self.held.remove(&mac(who));
                self.take(&Request { requested: Some(ip(address)), ..Request::of(mac(who), Kind::Request) }, false);
            }
            Step::Renew { who, direct } => {
                if let Some((address, until)) = self.held.get(&mac(who)).copied()
                    && until > self.bench.now
                {
                    self.take(&Request { ciaddr: address, ..Request::of(mac(who), Kind::Request) }, direct);
                }
            }
            Step::Release { who } => {
                if let Some((address, _)) = self.held.remove(&mac(who)) {
                    self.waiting.retain(|(change, reply)| reply.is_none() || change.lease.mac != mac(who));
                    self.take(&Request { ciaddr: address, ..Request::of(mac(who), Kind::Release) }, true);
                }
            }
            Step::Decline { who } => {
                if let Some((address, _)) = self.held.remove(&mac(who)) {
                    self.waiting.retain(|(change, reply)| reply.is_none() || change.lease.mac != mac(who));
                    self.take(&Request { requested: Some(address), ..Request::of(mac(who), Kind::Decline) }, false);
                }
            }
            Step::Commit { count } => self.commit(count, true),
            Step::CommitUnheard { count } => self.commit(count, false),
            Step::Foreign { .. } if self.credulous => {}
            Step::Foreign { address } => {
                let lease = Lease {
                    network: "rack".to_owned(),
                    address: ip(address),
                    mac: STRANGER,
                    state: LeaseState::Bound,
                    until: Millis(self.bench.now.0 + 300_000),
                    relay: None,
                };
                let change = LeaseChange { at: self.bench.now, lease };
                if self.write(&change) == Outcome::Done {
                    self.held.insert(STRANGER, (ip(address), change.lease.until));
                }
            }
            Step::Kill => {
                self.waiting.clear();
                self.bench.leases = Leases::restore(self.rows.values().cloned());
            }
            Step::Away { away } => self.bench.leases.store_is_away(away),
            Step::Pass { seconds } => self.bench.later(seconds),
            Step::Probe { address, by } => {
                let Bench { networks, leases, now, .. } = &mut self.bench;
                leases.probes(networks, 3, *now);
                leases.probed(networks, ip(address), by.map(mac), *now);
            }
        }
    }

    fn double(&self) -> Option<(Ipv4Addr, Vec<Mac>)> {
        let mut holders: BTreeMap<Ipv4Addr, Vec<Mac>> = BTreeMap::new();
        for (mac, (address, until)) in &self.held {
            if *until > self.bench.now {
                holders.entry(*address).or_default().push(*mac);
            }
        }
        holders.into_iter().find(|(_, machines)| machines.len() > 1)
    }

    /// Whatever a machine believes is in the store as well.
    fn unwritten(&self) -> Option<Mac> {
        let believed = |(mac, (address, until)): (&Mac, &(Ipv4Addr, Millis))| {
            let kept = self.rows.get(address).is_some_and(|row| row.mac == *mac && row.until >= *until);
            (*until > self.bench.now && !kept).then_some(*mac)
        };
        self.held.iter().find_map(believed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_ever_at_two_machines_and_none_is_held_unwritten(
        steps in proptest::collection::vec(step(), 1..120), credulous: bool,
    ) {
        let mut world = World::new(credulous);
        for step in steps {
            let played = format!("{step:?}");
            world.play(step);
            prop_assert_eq!(world.double(), None, "after {}", played);
            prop_assert_eq!(world.unwritten(), None, "after {}", played);
        }
    }

    #[test]
    fn no_request_panics_and_every_reply_has_a_way(
        codes in proptest::collection::vec(any::<u8>(), 12),
        addresses in proptest::collection::vec(any::<u32>(), 8),
        raw in proptest::collection::vec(any::<u8>(), 0..40),
        ours: bool, direct: bool, port in prop_oneof![Just(67u16), Just(4011u16)],
    ) {
        let mut bench = Bench::new();
        bench.host = Host { ours, boot: if direct { Boot::Disk } else { Boot::Agent }, reservation: Some(Ipv4Addr::from_bits(addresses[0])), hostname: Some(String::new()), order: None };
        let pick = |at: usize| (codes[at] & 1 == 1).then(|| if codes[at] & 2 == 2 { ip(codes[at]) } else { Ipv4Addr::from_bits(addresses[at]) });
        let request = Request {
            op: 1, htype: codes[7] & 3, flags: u16::from(codes[8]) << 8,
            ciaddr: pick(1).unwrap_or(Ipv4Addr::UNSPECIFIED),
            giaddr: pick(2).unwrap_or(Ipv4Addr::UNSPECIFIED),
            requested: pick(3), server_id: pick(4), subnet_selection: pick(5),
            vendor_class: (codes[6] & 1 == 1).then(|| b"PXEClient".to_vec()),
            user_class: (codes[6] & 2 == 2).then(|| raw.clone()),
            ipxe: (codes[6] & 4 == 4).then(|| raw.clone()),
            vendor_options: Some(raw.clone()),
            relay: (codes[9] & 1 == 1).then(|| crate::Relay::read(&raw)),
            archs: vec![u16::from(codes[10] & 31)],
            ..Request::of(mac(codes[11] & 7), Kind::from(codes[0] % 10))
        };
        let ingress = Ingress { interface: "eth0", source: std::net::SocketAddrV4::new(ip(9), 68), unicast: direct, port };
        for _ in 0..2 {
            if let Answer::Now(reply) | Answer::AfterCommit(_, Some(reply)) = bench.ask_by(&request, ingress) {
                prop_assert!(reply.options.iter().all(|(_, value)| !value.is_empty()), "b1_23");
                prop_assert_eq!(reply.options.first().map(|(code, _)| *code), Some(53));
                let relayed = request.is_relayed() && port == 67;
                let to_relay = matches!(reply.destination, Destination::Relay(_));
                prop_assert!(relayed || !to_relay);
                prop_assert!(to_relay || !relayed || request.kind == Some(Kind::Inform), "b1_1");
            }
        }
    }
}
