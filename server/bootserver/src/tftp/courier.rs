//! One transfer's task: asks the pure machine what to send, sends it, hands it what arrives, and tells how it ended.

use super::counters::count;
use super::desk::{Desk, Ingress};
use crate::transfers::{Ended, How, Via};
use bytes::Bytes;
use muster_netboot::tftp::{self, Ending, Fault, Packet, Part, Transfer, is_sound_source};
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

    pub fn heard(&self, packet: &Packet, now: Duration) {
        match packet {
            Packet::Ack(number) => self.transfer().heard_ack(*number, now),
            Packet::Error(code) => self.transfer().heard_error(*code),
            Packet::Read(_) | Packet::Write | Packet::Data | Packet::OptionAck => return,
        }
        self.nudge.notify_one();
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
    /// A port of the transfer's own: the usual TFTP.
    Own(UdpSocket),
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
    pub async fn run(self) {
        let began = self.desk.now();
        let ending = self.carry().await;
        self.tell(ending, self.desk.now().saturating_sub(began));
        drop(self.seat);
    }

    async fn carry(&self) -> Ending {
        let mut packet = Vec::new();
        let mut foreign = 0;
        let mut input = [0; 600];
        // Moved only when it would be late: most packets push the wake-up away, and an early one finds nothing to do.
        let mut alarm = pin!(tokio::time::sleep_until(self.desk.instant(self.desk.now())));
        loop {
            // Bound to a name first: the guard must be gone before the packet is sent.
            loop {
                let part = self.shared.transfer().poll(self.desk.now());
                let Some(part) = part else { break };
                self.write(part, &mut packet);
                self.send(&packet).await;
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
                (length, from) = self.receive(&mut input) => {
                    self.arrived(input.get(..length).unwrap_or_default(), from, &mut foreign).await;
                }
                () = self.shared.nudge.notified() => {}
                () = &mut alarm => {
                    self.shared.transfer().tick(self.desk.now());
                }
            }
        }
    }

    fn write(&self, part: Part, packet: &mut Vec<u8>) {
        packet.clear();
        match part {
            Part::Terms => packet.extend_from_slice(&tftp::option_ack(self.shared.transfer().terms())),
            Part::Data { number, from, to } => {
                packet.extend_from_slice(&[0, 3]);
                packet.extend_from_slice(&number.to_be_bytes());
                let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
                packet.extend_from_slice(self.content.get(range).unwrap_or_default());
            }
        }
    }

    /// A packet that cannot be sent is a packet lost on the way; the timer repeats it.
    async fn send(&self, packet: &[u8]) {
        let sent = match &self.line {
            Line::Own(socket) => socket.send_to(packet, self.ingress.peer).await.map(|_| ()),
            Line::Shared => self.ingress.send(packet),
        };
        if sent.is_err() {
            count(&self.desk.counters().socket_failed);
        }
    }

    async fn receive(&self, input: &mut [u8]) -> (usize, SocketAddr) {
        match &self.line {
            Line::Shared => std::future::pending().await,
            Line::Own(socket) => loop {
                match socket.recv_from(input).await {
                    Ok(got) => return got,
                    // An earlier packet's echo (ICMP); what matters shows as silence.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            },
        }
    }

    async fn arrived(&self, bytes: &[u8], from: SocketAddr, foreign: &mut u32) {
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
        if let Line::Own(socket) = &self.line
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
