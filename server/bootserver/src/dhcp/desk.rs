//! The one thread that answers. It owns the leases, so no answer waits for a lock; it never touches the lease store,
//! so no answer waits for a disk.

use super::counters::Counters;
use super::ear::Wishes;
use super::gate::{Exchange, Gate, Shut};
use super::ports::{BOOT_SERVER, Outgoing, Ports};
use super::queue::{Job, News, Queue};
use super::{read, sys, write};
use crate::{View, Watch};
use arc_swap::ArcSwap;
use muster_names::{Mac, Millis};
use muster_netboot::{
    Answer, Conflict, ConflictKind, Ingress, Kind, LeaseChange, LeaseState, Leases, Networks, Outcome, Repeats, Reply,
    Request, Said, Sighting, SightingKind, Silence, client, client_on, plain_text, taken_elsewhere,
};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Calls to the kernel that fail in a row before the thread gives up.
const PATIENCE: u32 = 100;

/// Wall time that a step of the wall clock does not move: a clock set forward must not end everybody's lease.
pub struct Clock {
    wall: i64,
    start: Instant,
}

impl Clock {
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis());
        Self { wall: i64::try_from(wall).unwrap_or(i64::MAX), start: Instant::now() }
    }

    pub fn now(&self) -> Millis {
        let passed = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        Millis(self.wall.saturating_add(passed))
    }
}

pub struct Desk {
    pub leases: Leases,
    pub gate: Gate,
    pub networks: Arc<ArcSwap<Networks>>,
    pub ports: Arc<Ports>,
    pub queue: Arc<Queue>,
    pub view: Arc<dyn View>,
    pub watch: Arc<dyn Watch>,
    pub counters: Arc<Counters>,
    pub wishes: Arc<Wishes>,
    pub clock: Clock,
    /// Servers that machines named, told a short while ago.
    pub named: Repeats<Ipv4Addr>,
}

/// Addresses are asked after so often, and so many at a time.
const PROBE_MS: i64 = 250;
const PROBES: usize = 64;
/// A server that machines name is told of so often.
const NAMED_MS: i64 = 60_000;

/// A memory for [`Desk::named`].
pub fn named() -> Repeats<Ipv4Addr> {
    Repeats::new(NAMED_MS)
}

/// What one round of packets leads to.
#[derive(Default)]
struct Round {
    replies: Vec<Outgoing>,
    jobs: Vec<Job>,
}

impl Desk {
    /// Runs until told to stop, or until the sockets fail for good.
    pub fn run(mut self) -> io::Result<()> {
        let mut room = vec![0; sys::BATCH * sys::SIZE];
        let mut current = self.networks.load_full();
        let ports = self.ports.clone();
        let queue = self.queue.clone();
        let mut fds: Vec<_> = ports.all.iter().map(super::ports::Port::fd).collect();
        fds.push(queue.bell());
        let mut failures = 0;
        let mut probed = Millis(i64::MIN);
        loop {
            let ready = sys::wait(&fds, 1000)?;
            if self.hear(&current) {
                return Ok(());
            }
            let latest = self.networks.load_full();
            if !Arc::ptr_eq(&latest, &current) {
                current = latest;
                self.leases.networks_changed();
            }
            let now = self.clock.now();
            if now.0.saturating_sub(probed.0) >= PROBE_MS {
                probed = now;
                self.wishes.add(self.leases.probes(&current, PROBES, now));
            }
            let mut round = Round::default();
            for (at, (port, ready)) in ports.all.iter().zip(&ready).enumerate() {
                if !ready {
                    continue;
                }
                let took = sys::receive(port.fd(), &mut room, |bytes, origin| {
                    let ingress = Ingress {
                        interface: &port.interface,
                        source: origin.source,
                        unicast: is_own(&current, origin),
                        port: port.number,
                    };
                    if origin.truncated {
                        self.counters.received("truncated");
                    } else {
                        self.packet(&current, bytes, ingress, at, &mut round);
                    }
                });
                match took {
                    Ok(_) => failures = 0,
                    Err(error) => {
                        // A link that went down says so once on its socket; only what stays broken ends the thread.
                        self.counters.failed("receive");
                        failures += 1;
                        if failures > PATIENCE {
                            return Err(error);
                        }
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                }
            }
            self.ports.send(round.replies, &self.counters);
            for job in self.queue.push(round.jobs) {
                self.counters.dropped("queue-full");
                self.gate.settled(&job.exchange);
                let said = Said::Dropped("more leases wait for the store than it can write in time");
                self.watch.saw(Sighting { said, ..job.sighting });
            }
        }
    }

    /// True when the thread shall end.
    fn hear(&mut self, networks: &Networks) -> bool {
        let now = self.clock.now();
        for news in self.queue.hear() {
            match news {
                News::Settled(exchange, change, outcome) => {
                    self.gate.settled(&exchange);
                    self.leases.settle(&change, outcome, now);
                    let lease = &change.lease;
                    if (outcome, lease.state) == (Outcome::Done, LeaseState::Bound) {
                        let over = self.leases.leased(lease.address, lease.mac, now);
                        self.met(over);
                    }
                }
                News::Probed(address, heard) => {
                    let met = self.leases.probed(networks, address, heard, now);
                    self.met(met);
                }
                News::Claimed(address, mac) => {
                    let met = self.leases.claimed(networks, address, mac, now);
                    self.met(met);
                }
                News::GivenUp(exchange) => self.gate.settled(&exchange),
                News::StoreAway(away) => self.leases.store_is_away(away),
                News::Stop => return true,
            }
        }
        false
    }

    fn met(&self, conflict: Option<Conflict>) {
        if let Some(conflict) = conflict {
            if conflict.over.is_none() {
                self.counters.conflict(conflict.kind);
            }
            self.watch.met(conflict);
        }
    }

    /// B1.13: somebody else was found on an address. On a reserved one a person has to help, for its machine gets no
    /// other.
    fn declined(&self, change: &LeaseChange, now: Millis) {
        let lease = &change.lease;
        let reserved = self.view.host(lease.mac).reservation == Some(lease.address);
        let kind = if reserved { ConflictKind::Reservation } else { ConflictKind::Address };
        let conflict = Conflict::new(now, kind, &lease.network, lease.address);
        self.met(Some(Conflict { holder: Some(lease.mac), ..conflict }));
    }

    fn packet(&mut self, networks: &Networks, bytes: &[u8], ingress: Ingress<'_>, port: usize, round: &mut Round) {
        let now = self.clock.now();
        let request = match read::parse(bytes) {
            Ok(request) => request,
            Err(malformed) => return self.counters.dropped(malformed.label()),
        };
        let kind = kind_of(&request, ingress);
        self.counters.received(label(kind));
        if request.hops > 0 && !request.is_relayed() {
            self.counters.received("hops-without-relay");
        }
        let Some(mac) = request.mac() else {
            return self.counters.silent(Silence::NoHardwareAddress);
        };
        let mut sighting = sighting(networks, &request, ingress, mac, kind, now);
        let exchange = Exchange { mac, xid: request.xid, kind: exchange_kind(&request, ingress) };
        if let Err(shut) = self.gate.pass(&request, exchange, now) {
            self.counters.dropped(shut.label());
            if shut != Shut::Repeat {
                sighting.said = Said::Dropped(shut.words());
                self.watch.saw(sighting);
            }
            return;
        }
        let view = &self.view;
        match self.leases.answer(networks, &request, ingress, &|mac| view.host(mac), now) {
            Answer::Silent(why) => {
                self.counters.silent(why);
                if let (Silence::OtherServer(server), Some(network)) = (why, networks.of(&request, ingress))
                    && let Some(conflict) = taken_elsewhere(networks, network, server, now)
                    && self.named.is_news(server, now)
                {
                    self.met(Some(conflict));
                }
                sighting.said = Said::Silence(why);
                self.watch.saw(sighting);
            }
            Answer::Now(reply) => {
                sighting.said = said(&reply);
                round.replies.push(outgoing(&reply, port));
                self.watch.saw(sighting);
            }
            Answer::AfterCommit(change, reply) => {
                self.gate.in_flight(exchange, now);
                if change.lease.state == LeaseState::Declined {
                    self.declined(&change, now);
                }
                sighting.said = reply.as_ref().map_or(Said::Noted, |reply| said(reply));
                let reply = reply.map(|reply| outgoing(&reply, port));
                round.jobs.push(Job { at: Instant::now(), exchange, change: *change, reply, sighting });
            }
        }
    }
}

/// Sent to one of us alone, not to everybody on the network.
fn is_own(networks: &Networks, origin: sys::Origin) -> bool {
    let to = origin.destination;
    !to.is_broadcast() && !to.is_multicast() && networks.iter().all(|network| network.subnet.broadcast() != to)
}

fn outgoing(reply: &Reply, port: usize) -> Outgoing {
    Outgoing {
        port,
        bytes: write::encode(reply),
        kind: reply.kind,
        destination: reply.destination,
        source: reply.source,
    }
}

fn said(reply: &Reply) -> Said {
    Said::Dhcp { kind: reply.kind, address: reply.yiaddr, choice: reply.choice.clone() }
}

fn sighting(
    networks: &Networks,
    request: &Request,
    ingress: Ingress<'_>,
    mac: Mac,
    kind: SightingKind,
    at: Millis,
) -> Sighting {
    let network = networks.of(request, ingress);
    Sighting {
        from: network.map_or_else(|| client(request), |network| client_on(request, network)),
        xid: request.xid,
        client: network.and_then(|network| network.loaders.kind_of(request)).map(|kind| kind.name.clone()),
        network: network.map(|network| network.name.clone()),
        arch: request.archs.first().copied(),
        vendor_class: request.vendor_class.as_deref().map(plain_text),
        giaddr: request.is_relayed().then_some(request.giaddr),
        circuit_id: request.relay.as_ref().and_then(|relay| relay.circuit_id.clone()),
        remote_id: request.relay.as_ref().and_then(|relay| relay.remote_id.clone()),
        ..Sighting::of(at, mac, kind, Said::Noted)
    }
}

fn kind_of(request: &Request, ingress: Ingress<'_>) -> SightingKind {
    match request.kind {
        _ if ingress.port == BOOT_SERVER => SightingKind::BootServer,
        Some(Kind::Discover) => SightingKind::Discover,
        Some(Kind::Request) => SightingKind::Request,
        Some(Kind::Decline) => SightingKind::Decline,
        Some(Kind::Release) => SightingKind::Release,
        Some(Kind::Inform) => SightingKind::Inform,
        _ => SightingKind::Other,
    }
}

fn label(kind: SightingKind) -> &'static str {
    match kind {
        SightingKind::Discover => "discover",
        SightingKind::Request => "request",
        SightingKind::Decline => "decline",
        SightingKind::Release => "release",
        SightingKind::Inform => "inform",
        SightingKind::BootServer => "boot-server",
        _ => "other",
    }
}

/// 67 and 4011 are two conversations, even when a client keeps its transaction id.
fn exchange_kind(request: &Request, ingress: Ingress<'_>) -> u8 {
    let kind = match request.kind {
        Some(Kind::Discover) => 1,
        Some(Kind::Request) => 3,
        Some(Kind::Decline) => 4,
        Some(Kind::Release) => 7,
        Some(Kind::Inform) => 8,
        _ => 0,
    };
    if ingress.port == BOOT_SERVER { kind | 0x80 } else { kind }
}
