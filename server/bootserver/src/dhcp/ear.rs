//! Listens beside the server, for what is not addressed to it: replies of other servers, and who uses which address. It
//! also asks after addresses (B1.21).
//!
//! A thread of its own, so that a storm of ARP delays no answer. It decides nothing about leases: what it hears goes to
//! the answering thread, which owns them; what concerns no lease goes straight to the watch.

use super::counters::Counters;
use super::desk::Clock;
use super::queue::{News, Queue};
use super::{arp, read, sys};
use crate::{Error, Watch};
use arc_swap::ArcSwap;
use muster_names::{Mac, Millis};
use muster_netboot::{Conflict, ConflictKind, Networks, Probe, Repeats, foreign};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// A probe is sent twice and given up a while after.
const PAUSE_MS: i64 = 400;
const TIMES: u8 = 2;
/// The same thing seen again is told so often: a little oftener than addresses in conflict are asked after.
const TELL_MS: i64 = 45_000;
/// Frames taken from one socket before the next is looked at.
const FRAMES: usize = 256;

/// Addresses that the answering thread wants asked after.
#[derive(Default)]
pub struct Wishes(Mutex<Vec<Probe>>);

impl Wishes {
    pub fn add(&self, probes: Vec<Probe>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(probes);
    }

    fn take(&self) -> Vec<Probe> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The two sockets on one interface.
struct Side {
    interface: String,
    index: u32,
    mac: Mac,
    arp: OwnedFd,
    replies: OwnedFd,
}

/// A probe under way.
struct Asked {
    side: usize,
    sent: u8,
    next: Millis,
}

pub struct Ear {
    sides: Vec<Side>,
    networks: Arc<ArcSwap<Networks>>,
    queue: Arc<Queue>,
    wishes: Arc<Wishes>,
    watch: Arc<dyn Watch>,
    counters: Arc<Counters>,
    clock: Clock,
    asked: BTreeMap<Ipv4Addr, Asked>,
    claims: Repeats<(Ipv4Addr, Mac)>,
    servers: Repeats<(ConflictKind, Ipv4Addr)>,
}

/// What the ear shares with the server.
pub struct With {
    pub networks: Arc<ArcSwap<Networks>>,
    pub queue: Arc<Queue>,
    pub wishes: Arc<Wishes>,
    pub watch: Arc<dyn Watch>,
    pub counters: Arc<Counters>,
}

impl Ear {
    pub fn open(interfaces: &[String], with: With) -> Result<Self, Error> {
        let open = |interface: &String| {
            let index = sys::interface_index(interface)?;
            let arp = sys::listen(index, sys::ARP)?;
            let mac = Mac(sys::own_mac(arp.as_fd())?);
            let replies = sys::listen(index, sys::IP)?;
            sys::only_server_replies(replies.as_fd())?;
            Ok(Side { interface: interface.clone(), index, mac, arp, replies })
        };
        let sides = interfaces
            .iter()
            .map(|interface| open(interface).map_err(|source| Error::Listen { interface: interface.clone(), source }));
        let With { networks, queue, wishes, watch, counters } = with;
        Ok(Self {
            sides: sides.collect::<Result<_, _>>()?,
            networks,
            queue,
            wishes,
            watch,
            counters,
            clock: Clock::new(),
            asked: BTreeMap::new(),
            claims: Repeats::new(TELL_MS),
            servers: Repeats::new(TELL_MS),
        })
    }

    /// Runs until cancelled. A socket that fails is counted and tried again: a link that is down comes back.
    pub fn run(mut self, cancel: &CancellationToken) {
        let mut room = vec![0; sys::SIZE];
        while !cancel.is_cancelled() {
            let fds: Vec<BorrowedFd<'_>> =
                self.sides.iter().flat_map(|side| [side.arp.as_fd(), side.replies.as_fd()]).collect();
            let Ok(ready) = sys::wait(&fds, 100) else {
                self.counters.failed("receive");
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            };
            let networks = self.networks.load_full();
            let now = self.clock.now();
            let mut news = Vec::new();
            for (at, ready) in ready.into_iter().enumerate() {
                if ready {
                    self.take(at / 2, at.is_multiple_of(2), &networks, &mut room, now, &mut news);
                }
            }
            self.ask(now);
            self.give_up(now, &mut news);
            if !news.is_empty() {
                self.queue.tell(news);
            }
        }
    }

    fn take(
        &mut self,
        side: usize,
        is_arp: bool,
        networks: &Networks,
        room: &mut [u8],
        now: Millis,
        news: &mut Vec<News>,
    ) {
        for _ in 0..FRAMES {
            let Some(of) = self.sides.get(side) else { return };
            let fd = if is_arp { of.arp.as_fd() } else { of.replies.as_fd() };
            let frame = match sys::receive_frame(fd, room) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => return self.counters.failed("receive"),
            };
            if is_arp {
                if let Some((address, mac)) = arp::claim(frame) {
                    self.claimed(side, networks, address, mac, now, news);
                }
            } else {
                self.replied(side, networks, frame, now);
            }
        }
    }

    fn claimed(
        &mut self,
        side: usize,
        networks: &Networks,
        address: Ipv4Addr,
        mac: Mac,
        now: Millis,
        news: &mut Vec<News>,
    ) {
        let Some(side) = self.sides.get(side) else { return };
        if self.sides.iter().any(|own| own.mac == mac) {
            return;
        }
        let Some(network) = networks.on(&side.interface) else { return };
        if networks.iter().any(|ours| ours.server == address) {
            if self.claims.is_news((address, mac), now) {
                let kind = ConflictKind::OwnAddress;
                self.counters.conflict(kind);
                self.watch.met(Conflict { mac: Some(mac), ..Conflict::new(now, kind, &network.name, address) });
            }
            return;
        }
        if self.asked.remove(&address).is_some() {
            self.counters.probe("answered");
            news.push(News::Probed(address, Some(mac)));
        } else if network.may_lease(address) && self.claims.is_news((address, mac), now) {
            news.push(News::Claimed(address, mac));
        }
    }

    fn replied(&mut self, side: usize, networks: &Networks, frame: &[u8], now: Millis) {
        let Some(side) = self.sides.get(side) else { return };
        let Some((from, payload)) = datagram(frame) else { return };
        let Ok(reply) = read::parse(payload) else { return };
        let Some(conflict) = foreign(networks, &side.interface, &reply, from, now) else { return };
        self.counters.conflict(conflict.kind);
        if self.servers.is_news((conflict.kind, conflict.address), now) {
            self.watch.met(conflict);
        }
    }

    /// Sends the probes that are due.
    fn ask(&mut self, now: Millis) {
        for Probe { interface, address } in self.wishes.take() {
            if let Some(side) = self.sides.iter().position(|side| side.interface == interface) {
                self.counters.probe("asked");
                self.asked.insert(address, Asked { side, sent: 0, next: now });
            }
        }
        for (address, asked) in &mut self.asked {
            if asked.next > now || asked.sent >= TIMES {
                continue;
            }
            asked.sent += 1;
            asked.next = Millis(now.0.saturating_add(PAUSE_MS));
            if let Some(side) = self.sides.get(asked.side) {
                let frame = arp::probe(side.mac, *address);
                if sys::send_whole(side.arp.as_fd(), side.index, &frame).is_err() {
                    self.counters.failed("send");
                }
            }
        }
    }

    fn give_up(&mut self, now: Millis, news: &mut Vec<News>) {
        let silent: Vec<Ipv4Addr> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.sent >= TIMES && asked.next <= now)
            .map(|(address, _)| *address)
            .collect();
        for address in silent {
            self.asked.remove(&address);
            self.counters.probe("silent");
            news.push(News::Probed(address, None));
        }
    }
}

/// Address, MAC and port.
type Sender = (Ipv4Addr, Mac, u16);

/// Who sent this frame's UDP datagram, and what is in it.
fn datagram(frame: &[u8]) -> Option<(Sender, &[u8])> {
    let (ethernet, packet) = frame.split_at_checked(14)?;
    let mac = Mac(*ethernet.get(6..)?.first_chunk::<6>()?);
    let header = usize::from(packet.first()? & 0x0f).checked_mul(4).filter(|length| *length >= 20)?;
    let (ip, udp) = packet.split_at_checked(header)?;
    let source = Ipv4Addr::from(*ip.get(12..)?.first_chunk::<4>()?);
    let is_udp = ip.first()? >> 4 == 4 && ip.get(9) == Some(&17);
    let (ports, payload) = udp.split_at_checked(8)?;
    let [high, low, .., length_high, length_low, _, _] = ports else { return None };
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low])).checked_sub(8)?;
    is_udp.then_some(((source, mac, u16::from_be_bytes([*high, *low])), payload.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;
    use proptest::prelude::*;

    const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 4, 66), 67);
    const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 4, 9), 68);

    fn framed(payload: &[u8]) -> Vec<u8> {
        let ethernet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 0x66], &[8, 0]].concat();
        [ethernet, frame::packet(SERVER, CLIENT, payload).unwrap()].concat()
    }

    #[test]
    fn a_frame_tells_who_sent_what() {
        let bytes = framed(b"hello");
        let (from, payload) = datagram(&bytes).unwrap();
        assert_eq!((from, payload), ((SERVER.0, Mac([2, 0, 0, 0, 0, 0x66]), 67), &b"hello"[..]));
        let padded = [bytes.clone(), vec![0; 20]].concat();
        assert_eq!(datagram(&padded).map(|(_, payload)| payload.len()), Some(5), "what Ethernet padded is cut off");
        assert_eq!(datagram(&bytes[..46]), None);
        for (at, wrong) in [(14, 0x65), (14, 0x41), (23, 6), (38, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = wrong;
            assert_eq!(datagram(&bytes), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = datagram(&bytes);
            let _ = datagram(&[&framed(&[])[..34], &bytes[..]].concat());
        }
    }
}
