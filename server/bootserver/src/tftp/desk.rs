//! Who is answered: every datagram to the listening port passes here, and most kinds end here in silence.

use super::counters::{Counters, count};
use super::courier::{Courier, Line, Seat, Shared};
use super::{Allow, Config, Source, sys};
use crate::transfers::{Begun, Ended, How, TransferWatch, Via};
use muster_netboot::tftp::{
    self, Again, Door, Fault, Full, Limits, Malformed, Packet, Request, Terms, Transfer, is_sound_source,
};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

pub struct Desk {
    config: Config,
    source: Arc<dyn Source>,
    pub(super) allow: Allow,
    pub(super) watch: Arc<dyn TransferWatch>,
    inside: Mutex<Inside>,
    origin: Instant,
}

#[derive(Default)]
struct Inside {
    door: Door,
    running: BTreeMap<SocketAddr, Running>,
    last_id: u64,
}

struct Running {
    id: u64,
    request: Request,
    shared: Arc<Shared>,
}

/// Where a datagram came in: what answers to it must leave from.
#[derive(Clone)]
pub struct Ingress {
    pub socket: Arc<UdpSocket>,
    pub local: IpAddr,
    pub peer: SocketAddr,
}

impl Desk {
    pub fn new(config: Config, source: Arc<dyn Source>, allow: Allow, watch: Arc<dyn TransferWatch>) -> Desk {
        let inside = Mutex::new(Inside { door: Door::new(config.caps), ..Inside::default() });
        Desk { config, source, allow, watch, inside, origin: Instant::now() }
    }

    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + at)
    }

    pub fn counters(&self) -> &Counters {
        &self.config.counters
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one listening socket for ever.
    pub async fn attend(self: Arc<Self>, socket: Arc<UdpSocket>) -> io::Result<()> {
        let bound = socket.local_addr()?.ip();
        let mut couriers = JoinSet::new();
        let mut buffer = vec![0; 2048];
        loop {
            let got = tokio::select! {
                got = socket.async_io(Interest::READABLE, || sys::receive(socket.as_fd(), &mut buffer)) => got,
                Some(ended) = couriers.join_next() => {
                    ended.map_err(io::Error::other)?;
                    continue;
                }
            };
            let Ok((length, peer, local)) = got else {
                count(&self.counters().socket_failed);
                continue;
            };
            let Some(local) = local.or((!bound.is_unspecified()).then_some(bound)) else {
                count(&self.counters().unsound_source);
                continue;
            };
            let ingress = Ingress { socket: socket.clone(), local, peer };
            if let Some(courier) = self.received(buffer.get(..length).unwrap_or_default(), ingress) {
                couriers.spawn(courier.run());
            }
        }
    }

    fn received(self: &Arc<Self>, bytes: &[u8], ingress: Ingress) -> Option<Courier> {
        let counters = self.counters();
        if !is_sound_source(ingress.peer) {
            count(&counters.unsound_source);
            return None;
        }
        if !(self.allow)(ingress.peer.ip()) {
            count(&counters.not_allowed);
            return None;
        }
        match tftp::parse(bytes) {
            Ok(Packet::Read(request)) => self.asked(request, ingress),
            Ok(Packet::Write) => {
                count(&counters.write_refused);
                self.tell_seldom(Fault::ReadOnly, &ingress);
                None
            }
            Ok(packet) => {
                self.stray(&packet, ingress.peer);
                None
            }
            Err(fault) => {
                count(&counters.malformed);
                // Only a request deserves an answer; anything else could start an exchange of errors.
                if matches!(fault, Malformed::Unterminated | Malformed::TooLong) {
                    self.tell_seldom(Fault::Illegal, &ingress);
                }
                None
            }
        }
    }

    /// On the listening port only a single-port site has business with anything but requests.
    fn stray(&self, packet: &Packet, peer: SocketAddr) {
        let shared = match self.config.single_port {
            true => self.inside().running.get(&peer).map(|running| running.shared.clone()),
            false => None,
        };
        match shared {
            Some(shared) => shared.heard(packet, self.now()),
            None => count(&self.counters().stray),
        }
    }

    fn asked(self: &Arc<Self>, request: Request, ingress: Ingress) -> Option<Courier> {
        count(&self.counters().requests);
        if self.is_same_transfer(&request, ingress.peer) {
            count(&self.counters().same_request);
            return None;
        }
        let name = tftp::normalise(&request.name, self.config.names);
        let printable =
            || request.name.iter().take(200).flat_map(|b| b.escape_ascii()).map(char::from).collect::<String>();
        if !request.octet {
            self.refuse(Fault::OctetOnly, &printable(), &ingress);
            return None;
        }
        let found = name.and_then(|name| self.source.find(&name, ingress.peer).map(|content| (name, content)));
        let Some((name, content)) = found else {
            self.refuse(Fault::NotFound, &printable(), &ingress);
            return None;
        };
        let limits = Limits {
            mtu: sys::path_mtu(ingress.local, ingress.peer),
            ipv6: ingress.peer.is_ipv6(),
            window: self.config.window,
            rollover: self.config.rollover,
        };
        let size = content.len() as u64;
        let terms = match tftp::negotiate(&request.asked, size, limits) {
            Ok(terms) => terms,
            Err(fault) => {
                self.refuse(fault, &name, &ingress);
                return None;
            }
        };
        let line = self.line(&ingress)?;
        let (seat, shared) = self.seat(request, terms, size, ingress.peer)?;
        let gone = Arc::default();
        self.watch.began(&Begun { via: Via::Tftp, peer: ingress.peer, path: &name, size, gone: &gone });
        Some(Courier { desk: self.clone(), seat, shared, line, name, content, ingress, gone })
    }

    /// A request from a port that has a transfer (B5.7). True: nothing new is to start.
    fn is_same_transfer(&self, request: &Request, peer: SocketAddr) -> bool {
        let now = self.now();
        let mut inside = self.inside();
        let Some(running) = inside.running.get(&peer) else { return false };
        let shared = running.shared.clone();
        let again = shared.transfer().asked_again(running.request == *request, now);
        if again == Again::Replaces {
            inside.remove(peer);
            shared.transfer().replace();
        }
        shared.nudge.notify_one();
        again == Again::Same
    }

    fn line(&self, ingress: &Ingress) -> Option<Line> {
        if self.config.single_port {
            return Some(Line::Shared);
        }
        let own = sys::ephemeral(ingress.local).and_then(UdpSocket::from_std);
        if own.is_err() {
            count(&self.counters().socket_failed);
        }
        own.ok().map(Line::Own)
    }

    fn seat(
        self: &Arc<Self>,
        request: Request,
        terms: Terms,
        size: u64,
        peer: SocketAddr,
    ) -> Option<(Seat, Arc<Shared>)> {
        let now = self.now();
        let mut inside = self.inside();
        let mut entered = inside.door.enter(peer.ip());
        if entered == Err(Full::ThisAddress) {
            // A client that never acknowledges the end of a file must not wait for us to give up on it.
            inside.clear_tail(peer.ip());
            entered = inside.door.enter(peer.ip());
        }
        if let Err(full) = entered {
            count(match full {
                Full::ThisAddress => &self.counters().full_address,
                Full::Everybody => &self.counters().full_server,
            });
            return None;
        }
        inside.last_id += 1;
        let id = inside.last_id;
        let shared = Arc::new(Shared::new(Transfer::new(terms, size, now)));
        inside.running.insert(peer, Running { id, request, shared: shared.clone() });
        Some((Seat { desk: self.clone(), peer, id }, shared))
    }

    /// Called once, when a transfer's task ends.
    pub fn vacate(&self, peer: SocketAddr, id: u64) {
        let mut inside = self.inside();
        if inside.running.get(&peer).is_some_and(|running| running.id == id) {
            inside.remove(peer);
        }
    }

    fn refuse(&self, fault: Fault, name: &str, ingress: &Ingress) {
        let (counter, how) = match fault {
            Fault::NotFound => (&self.counters().not_found, How::NotFound),
            other => (&self.counters().refused, How::Refused(other.code())),
        };
        count(counter);
        tracing::debug!(peer = %ingress.peer, name, fault = fault.text(), "tftp request refused");
        self.tell(fault, ingress);
        let none = Duration::ZERO;
        let peer = ingress.peer;
        self.watch.ended(&Ended { via: Via::Tftp, peer, path: name, bytes: 0, took: none, repeats: 0, how });
    }

    fn tell_seldom(&self, fault: Fault, ingress: &Ingress) {
        if self.inside().door.may_tell(ingress.peer.ip(), self.now()) {
            self.tell(fault, ingress);
        }
    }

    /// One ERROR, from the address that was asked.
    fn tell(&self, fault: Fault, ingress: &Ingress) {
        let bytes = tftp::error(fault);
        let sent = match self.config.single_port {
            true => ingress.send(&bytes),
            false => sys::ephemeral(ingress.local).and_then(|s| s.send_to(&bytes, ingress.peer)).map(|_| ()),
        };
        if sent.is_err() {
            count(&self.counters().socket_failed);
        }
    }
}

impl Inside {
    fn remove(&mut self, peer: SocketAddr) {
        if self.running.remove(&peer).is_some() {
            self.door.leave(peer.ip());
        }
    }

    fn clear_tail(&mut self, ip: IpAddr) {
        let done = self.running.iter().find(|(peer, running)| peer.ip() == ip && running.shared.transfer().in_tail());
        if let Some((peer, shared)) = done.map(|(peer, running)| (*peer, running.shared.clone())) {
            self.remove(peer);
            shared.transfer().replace();
            shared.nudge.notify_one();
        }
    }
}

impl Ingress {
    /// Through the listening socket itself, from the address that was asked.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match (self.local, self.peer) {
            (IpAddr::V4(from), SocketAddr::V4(to)) => sys::send_from(self.socket.as_fd(), bytes, from, to),
            _ => self.socket.try_send_to(bytes, self.peer).map(|_| ()),
        }
    }
}
