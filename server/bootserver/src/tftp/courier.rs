//! One transfer's task: asks the pure machine what to send, sends it, hands it what arrives, and tells how it ended.

use super::burst::Burst;
use super::counters::count;
use super::desk::{Desk, Ingress};
use super::sys;
use crate::transfers::{Ended, How, Via};
use bytes::Bytes;
use muster_netboot::tftp::{self, Ending, Fault, Packet, Transfer, is_sound_source};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// Errors told to foreign ports in one transfer (B5.8), so that a flood is not answered with a flood.
const FOREIGN_MAX: u32 = 3;

/// What the desk and the courier both touch.
pub struct Shared {
    transfer: Mutex<Transfer>,
    pub nudge: Notify,
}

impl Shared {
    pub fn new(transfer: Transfer) -> Shared {
        Shared { transfer: Mutex::new(transfer), nudge: Notify::new() }
    }

    /// Never held over an await.
    pub fn transfer(&self) -> MutexGuard<'_, Transfer> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever is not the courier itself nudges it afterwards.
    pub fn heard(&self, packet: &Packet, now: Duration) {
        match packet {
            Packet::Ack(number) => self.transfer().heard_ack(*number, now),
            Packet::Error(code) => self.transfer().heard_error(*code),
            Packet::Read(_) | Packet::Write | Packet::Data | Packet::OptionAck => {}
        }
    }
}

/// A place at the door, given back when dropped.
pub struct Seat {
    pub desk: Arc<Desk>,
    pub peer: SocketAddr,
    pub id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.vacate(self.peer, self.id);
    }
}

/// What the packets travel over.
pub enum Line {
    /// A port of the transfer's own: the usual TFTP. Not yet of any runtime: it becomes one of the thread's that runs the
    /// transfer.
    Own(std::net::UdpSocket),
    /// The listening port; the desk hands over what arrives.
    Shared,
}

pub struct Courier {
    pub desk: Arc<Desk>,
    pub seat: Seat,
    pub shared: Arc<Shared>,
    pub line: Line,
    pub name: String,
    pub content: Bytes,
    pub ingress: Ingress,
    /// Bytes acknowledged, for whoever watches.
    pub gone: Arc<AtomicU64>,
}

impl Courier {
    pub async fn run(mut self) {
        let began = self.desk.now();
        let ending = match std::mem::replace(&mut self.line, Line::Shared) {
            Line::Shared => self.carry(None).await,
            Line::Own(socket) => match UdpSocket::from_std(socket) {
                Ok(socket) => self.carry(Some(&socket)).await,
                Err(_) => {
                    count(&self.desk.counters().socket_failed);
                    Ending::Lost
                }
            },
        };
        self.tell(ending, self.desk.now().saturating_sub(began));
        drop(self.seat);
    }

    /// `own` is the transfer's socket, unless it goes over the listening one.
    async fn carry(&self, own: Option<&UdpSocket>) -> Ending {
        let mut burst = self.burst(own);
        let mut foreign = 0;
        let mut input = [0; 600];
        // Moved only when it would be late: most packets push the wake-up away, and an early one finds nothing to do.
        let mut alarm = pin!(tokio::time::sleep_until(self.desk.instant(self.desk.now())));
        loop {
            loop {
                burst.fill(&mut self.shared.transfer(), &self.content, self.desk.now());
                if burst.is_empty() {
                    break;
                }
                self.send(own, &mut burst).await;
            }
            let (ended, wake) = {
                let transfer = self.shared.transfer();
                self.gone.store(transfer.bytes_acked(), Ordering::Relaxed);
                (transfer.ended(), transfer.wake())
            };
            if let Some(ending) = ended {
                return ending;
            }
            let wake = self.desk.instant(wake);
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                (length, from) = receive(own, &mut input) => {
                    self.arrived(own, input.get(..length).unwrap_or_default(), from, &mut foreign).await;
                }
                () = self.shared.nudge.notified() => {}
                () = &mut alarm => {
                    self.shared.transfer().tick(self.desk.now());
                }
            }
        }
    }

    /// Several packets at once where a window has several and the kernel can cut them apart.
    fn burst(&self, own: Option<&UdpSocket>) -> Burst {
        let (window, block) = {
            let transfer = self.shared.transfer();
            (transfer.terms().window, transfer.terms().block)
        };
        Burst::new(window > 1 && own.is_some_and(|socket| sys::cut_into(socket, block + 4).is_ok()))
    }

    /// A packet that cannot be sent is a packet lost on the way; the timer repeats it.
    async fn send(&self, own: Option<&UdpSocket>, burst: &mut Burst) {
        if let Some(socket) = own
            && burst.packets().len() > 1
        {
            if socket.send_to(burst.whole(), self.ingress.peer).await.is_ok() {
                return;
            }
            // Not over this way, or no longer: its MTU is below what it was.
            let _ = sys::cut_into(socket, 0);
            burst.one_by_one();
        }
        for packet in burst.packets() {
            let sent = match own {
                Some(socket) => socket.send_to(packet, self.ingress.peer).await.map(|_| ()),
                None => self.ingress.send(packet),
            };
            if sent.is_err() {
                count(&self.desk.counters().socket_failed);
            }
        }
    }

    async fn arrived(&self, own: Option<&UdpSocket>, bytes: &[u8], from: SocketAddr, foreign: &mut u32) {
        let Ok(packet) = tftp::parse(bytes) else {
            count(&self.desk.counters().malformed);
            return;
        };
        if from == self.ingress.peer {
            self.shared.heard(&packet, self.desk.now());
            return;
        }
        count(&self.desk.counters().wrong_port);
        let answerable = matches!(packet, Packet::Ack(_) | Packet::Data) && is_sound_source(from);
        if let Some(socket) = own
            && answerable
            && *foreign < FOREIGN_MAX
            && (self.desk.allow)(from.ip())
        {
            *foreign += 1;
            let _ = socket.send_to(&tftp::error(Fault::UnknownTransfer), from).await;
        }
    }

    fn tell(&self, ending: Ending, took: Duration) {
        let (bytes, repeats) = {
            let transfer = self.shared.transfer();
            (transfer.bytes_acked(), transfer.repeats())
        };
        let counters = self.desk.counters();
        let (counter, how) = match ending {
            Ending::Finished { confirmed: true } => (&counters.finished, How::Whole),
            Ending::Finished { confirmed: false } => (&counters.unconfirmed, How::Unconfirmed),
            Ending::Probed => (&counters.probed, How::Probed),
            Ending::GaveUp(code) => (&counters.gave_up, How::GaveUp(code)),
            Ending::Unproved => (&counters.unproved, How::Unproved),
            Ending::Lost => (&counters.lost, How::Lost),
            Ending::Replaced => (&counters.replaced, How::Replaced),
        };
        count(counter);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.repeats.fetch_add(repeats, Ordering::Relaxed);
        let (peer, path) = (self.ingress.peer, self.name.as_str());
        self.desk.watch.ended(&Ended { via: Via::Tftp, peer, path, bytes, took, repeats, how });
    }
}

/// The next datagram; never, where the desk hands over what arrives.
async fn receive(own: Option<&UdpSocket>, input: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = own else { return std::future::pending().await };
    loop {
        match socket.recv_from(input).await {
            Ok(got) => return got,
            // An earlier packet's echo (ICMP); what matters shows as silence.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
