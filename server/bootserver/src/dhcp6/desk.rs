//! Where messages are answered and leases written. One task owns the leases: while one batch is being synced it goes on
//! answering and gathers the next.

use super::ports::{Heard, Outgoing, Port};
use super::{read, write};
use crate::dhcp::{Clock, Counters, Exchange, Gate, Shut};
use crate::{Commit6, CommitError, View, Watch};
use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use muster_names::Mac;
use muster_netboot::v6::{Answer, Ingress, Kind, LeaseChange, Leases, Reply, ReplyKind, Request};
use muster_netboot::{LeaseState, Networks, Outcome, Said, Sighting, SightingKind, client, client_on, plain_text};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Changes in one commit.
const BATCH: usize = 512;
/// More waiting changes than this, and the oldest goes: its client asks again anyway.
const LONGEST: usize = 4096;
/// An answer older than this is of no use to the one who asked.
const STALE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A change to be made durable, and what follows from it.
pub struct Job {
    at: Instant,
    exchange: Exchange,
    change: LeaseChange,
    reply: Outgoing,
    sighting: Sighting,
}

impl Job {
    /// A grant nobody waits for any more. A release or decline never ages: it must not be lost.
    fn is_stale(&self) -> bool {
        self.change.lease.state == LeaseState::Bound && self.at.elapsed() > STALE
    }
}

type Written = Result<Vec<Outcome>, CommitError>;

/// A batch on its way to the store.
struct Writing {
    jobs: Vec<Job>,
    pause: Duration,
    done: BoxFuture<'static, Written>,
}

pub struct Desk {
    pub leases: Leases,
    pub gate: Gate,
    pub networks: Arc<ArcSwap<Networks>>,
    pub current: Arc<Networks>,
    pub ports: Vec<Arc<Port>>,
    pub view: Arc<dyn View>,
    pub commit: Arc<dyn Commit6>,
    pub watch: Arc<dyn Watch>,
    pub counters: Arc<Counters>,
    pub clock: Clock,
    pub waiting: VecDeque<Job>,
    pub store: Store,
}

/// What the store is doing just now.
#[derive(Default)]
pub struct Store {
    writing: Option<Writing>,
    away: bool,
}

impl Desk {
    /// Waits until the store has answered; for ever when nothing is being written.
    pub async fn written(store: &mut Store) -> Written {
        match &mut store.writing {
            Some(writing) => (&mut writing.done).await,
            None => std::future::pending().await,
        }
    }

    /// A commit under way is finished, for the store may be doing it already.
    pub async fn close(mut self) {
        if self.store.writing.is_some() {
            let written = Self::written(&mut self.store).await;
            if written.is_ok() {
                self.settle(written);
            }
        }
    }

    pub fn packet(&mut self, heard: Heard) {
        let latest = self.networks.load_full();
        if !Arc::ptr_eq(&latest, &self.current) {
            self.current = latest;
            self.leases.networks_changed();
        }
        if heard.truncated {
            return self.counters.add("received", "truncated", 1);
        }
        let request = match read::parse(&heard.bytes) {
            Ok(request) => request,
            Err(malformed) => return self.counters.add("dropped", malformed.label(), 1),
        };
        self.counters.add("received", request.kind.label(), 1);
        self.message(&request, &heard);
        self.begin();
    }

    fn message(&mut self, request: &Request, heard: &Heard) {
        let now = self.clock.now();
        let Some(port) = self.ports.get(heard.port).cloned() else { return };
        let ingress = Ingress {
            interface: &port.interface,
            source: *heard.source.ip(),
            source_port: heard.source.port(),
            unicast: heard.unicast,
            heard: heard.mac,
        };
        let Some(mac) = self.leases.identify(request, ingress) else {
            return self.counters.add("silent", muster_netboot::v6::Silence::NoHardwareAddress.label(), 1);
        };
        let relay = request.is_relayed().then_some(IpAddr::V6(ingress.source));
        let exchange = Exchange { mac, xid: request.xid, kind: code(request.kind) };
        let mut sighting = sighting(&self.current, request, ingress, mac, now);
        if let Err(shut) = self.gate.admit(relay, exchange, now) {
            self.counters.add("dropped", shut.label(), 1);
            if shut != Shut::Repeat {
                sighting.said = Said::Dropped(shut.words());
                self.watch.saw(sighting);
            }
            return;
        }
        let view = self.view.clone();
        let networks = self.current.clone();
        match self.leases.answer(&networks, request, ingress, &|mac| view.host(mac), now) {
            Answer::Silent(why) => {
                self.counters.add("silent", why.label(), 1);
                sighting.said = Said::Silence6(why);
                self.watch.saw(sighting);
            }
            Answer::Now(reply) => {
                sighting.said = said(request.kind, &reply);
                self.send(outgoing(&reply, heard.port));
                self.watch.saw(sighting);
            }
            Answer::AfterCommit(change, reply) => {
                sighting.said = said(request.kind, &reply);
                let Some(reply) = outgoing(&reply, heard.port) else { return };
                self.gate.in_flight(exchange, now);
                self.waiting.push_back(Job { at: Instant::now(), exchange, change: *change, reply, sighting });
                if self.waiting.len() > LONGEST
                    && let Some(oldest) = self.waiting.pop_front()
                {
                    self.give_up(oldest, "queue-full", "more leases wait for the store than it can write in time");
                }
            }
        }
    }

    fn send(&self, reply: Option<Outgoing>) {
        let Some(reply) = reply else { return };
        let Some(port) = self.ports.get(reply.port) else { return };
        let label = if reply.kind == ReplyKind::Advertise { "advertise" } else { "reply" };
        self.counters.add("sent", label, 1);
        if let Err(error) = port.send(&reply) {
            self.counters.add("failed", "send", 1);
            tracing::warn!(interface = port.interface, to = %reply.to, %error, "a DHCPv6 reply was refused by the kernel");
        }
    }

    /// Begins the next batch, if none is being written: in order, no address twice, nothing that nobody waits for.
    fn begin(&mut self) {
        if self.store.writing.is_some() {
            return;
        }
        let mut jobs = Vec::new();
        let mut keys = BTreeSet::new();
        while jobs.len() < BATCH {
            let Some(next) = self.waiting.front() else { break };
            if !next.is_stale() && !keys.insert((next.change.lease.network.clone(), next.change.lease.address)) {
                break;
            }
            let Some(job) = self.waiting.pop_front() else { break };
            if job.is_stale() {
                self.give_up(job, "too-old", "it waited over two seconds for the lease store");
            } else {
                jobs.push(job);
            }
        }
        if !jobs.is_empty() {
            self.write(jobs, Duration::ZERO);
        }
    }

    fn write(&mut self, jobs: Vec<Job>, pause: Duration) {
        let (commit, batch) = (self.commit.clone(), jobs.iter().map(|job| job.change.clone()).collect());
        let done = Box::pin(async move {
            tokio::time::sleep(pause).await;
            commit.commit6(batch).await
        });
        self.store.writing = Some(Writing { jobs, pause, done });
    }

    /// The store has answered. After an error nobody knows what was written: the same batch is sent again.
    pub fn settle(&mut self, written: Written) {
        let Some(Writing { jobs, pause, .. }) = self.store.writing.take() else { return };
        match written {
            Ok(outcomes) if outcomes.len() == jobs.len() => {
                if std::mem::take(&mut self.store.away) {
                    tracing::info!("the lease store is back");
                    self.leases.store_is_away(false);
                }
                self.counters.add("committed", "batches", 1);
                self.counters.add("committed", "changes", u64::try_from(jobs.len()).unwrap_or(u64::MAX));
                jobs.into_iter().zip(outcomes).for_each(|(job, outcome)| self.finish(job, outcome));
                self.begin();
            }
            other => {
                self.counters.add("failed", "commit", 1);
                let cause = other.err();
                tracing::warn!(?cause, "IPv6 leases were not written; no new ones until they are");
                self.store.away = true;
                self.leases.store_is_away(true);
                let pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.write(jobs, pause);
            }
        }
    }

    fn finish(&mut self, job: Job, outcome: Outcome) {
        let stale = job.is_stale();
        let Job { exchange, change, reply, mut sighting, .. } = job;
        self.gate.settled(&exchange);
        self.leases.settle(&change, outcome, self.clock.now());
        match outcome {
            Outcome::Taken => {
                self.counters.add("failed", "address-taken", 1);
                sighting.said = Said::Dropped("another server of ours leased the address to another machine first");
            }
            Outcome::Done if stale => {
                self.counters.add("dropped", "too-old", 1);
                sighting.said = Said::Dropped("the lease was written too late for an answer");
            }
            Outcome::Done => self.send(Some(reply)),
        }
        self.watch.saw(sighting);
    }

    fn give_up(&mut self, job: Job, label: &'static str, words: &'static str) {
        self.counters.add("dropped", label, 1);
        self.gate.settled(&job.exchange);
        self.watch.saw(Sighting { said: Said::Dropped(words), ..job.sighting });
    }
}

fn outgoing(reply: &Reply, port: usize) -> Option<Outgoing> {
    Some(Outgoing { port, bytes: write::encode(reply)?, kind: reply.kind, to: reply.to })
}

fn said(kind: Kind, reply: &Reply) -> Said {
    Said::Dhcp6 {
        bound: reply.kind == ReplyKind::Reply,
        address: reply.address(),
        choice: reply.choice.clone(),
        words: format!("{kind}: {reply}"),
    }
}

fn asked(kind: Kind) -> SightingKind {
    match kind {
        Kind::Solicit => SightingKind::Solicit,
        Kind::Request | Kind::Confirm | Kind::Renew | Kind::Rebind => SightingKind::Request,
        Kind::Release => SightingKind::Release,
        Kind::Decline => SightingKind::Decline,
        Kind::InformationRequest => SightingKind::Inform,
        Kind::Other(_) => SightingKind::Other,
    }
}

/// Retransmits are told apart from the next message of an exchange.
fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Solicit => 1,
        Kind::Request => 3,
        Kind::Confirm => 4,
        Kind::Renew => 5,
        Kind::Rebind => 6,
        Kind::Release => 8,
        Kind::Decline => 9,
        Kind::InformationRequest => 11,
        Kind::Other(code) => code,
    }
}

fn sighting(
    networks: &Networks,
    request: &Request,
    ingress: Ingress<'_>,
    mac: Mac,
    at: muster_names::Millis,
) -> Sighting {
    let network = match request.link() {
        Some(link) => networks.holding_v6(link).map(|(network, _)| network),
        None => networks.on(ingress.interface),
    };
    let nearest = request.relays.last();
    let plain = request.as_asked_over_v4(mac);
    let known_as = network.and_then(|network| network.loaders.kind_of(&plain)).map(|kind| kind.name.clone());
    Sighting {
        client: network.map_or_else(|| client(&plain), |network| client_on(&plain, network)),
        known_as,
        xid: request.xid,
        network: network.map(|network| network.name.clone()),
        arch: request.archs.first().copied(),
        vendor_class: request.vendor_class.as_deref().map(plain_text),
        circuit_id: nearest.and_then(|relay| relay.interface_id.clone()),
        remote_id: nearest.and_then(|relay| relay.remote_id.clone()),
        ..Sighting::of(at, mac, asked(request.kind), Said::Noted)
    }
}
