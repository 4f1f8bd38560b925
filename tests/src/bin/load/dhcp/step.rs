//! One stretch of load: begin exchanges, by the clock or by a window, and see what becomes of each within a second.
//!
//! A message is never repeated: what a server loses shows as loss, not as time. Times count from the moment an exchange
//! was due, so that a generator that falls behind makes figures worse, never better.

use super::RESERVED;
use super::message::{self, Answer, Ask, Clients};
use super::pool::{Faults, Pool};
use crate::sys;
use anyhow::{Context, Result};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// More than a second's exchanges at any rate that one thread can drive.
const FLIGHTS: u32 = 1 << 18;
/// An answer after this is none, as perfdhcp has it.
const PATIENCE: u64 = 1_000_000_000;
/// Exchanges begun together at most, and how long the generator rests when nothing is due.
const BURST: u64 = 128;
const REST: Duration = Duration::from_micros(200);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    Offered,
    Done,
}

#[derive(Clone, Copy)]
struct Flight {
    due: u64,
    machine: u32,
    offered: Ipv4Addr,
    stage: Stage,
}

#[derive(Default)]
struct Lost {
    no_offer: u64,
    no_ack: u64,
}

impl Lost {
    fn count(&mut self, stage: Stage) {
        match stage {
            Stage::Asked => self.no_offer += 1,
            Stage::Offered => self.no_ack += 1,
            Stage::Done => {}
        }
    }
}

pub struct Load {
    socket: UdpSocket,
    server: SocketAddrV4,
    clients: Clients,
    pid: Option<String>,
    room: sys::Room,
    pool: Pool,
    /// By transaction id.
    flights: Vec<Flight>,
    next: u32,
    out: Vec<sys::Datagram>,
    start: Instant,
}

/// How exchanges are begun.
#[derive(Clone, Copy)]
enum Pace {
    /// So many a second, whatever the server does.
    Rate(f64),
    /// So many at a time.
    Window(u64),
}

/// What became of one stretch.
#[derive(Clone, Default)]
pub struct Outcome {
    pub asked_rate: f64,
    pub rate: f64,
    pub begun: u64,
    pub done: u64,
    pub no_offer: u64,
    pub no_ack: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// CPU milliseconds of the server and of this generator for each exchange.
    pub server_ms: Option<f64>,
    pub own_ms: Option<f64>,
    pub faults: Faults,
}

impl Outcome {
    /// Lost, per cent.
    pub fn drops(&self) -> f64 {
        if self.begun == 0 { 100.0 } else { (self.begun - self.done) as f64 * 100.0 / self.begun as f64 }
    }

    /// Under one per cent lost, and the generator itself kept its pace.
    pub fn holds(&self) -> bool {
        self.drops() < 1.0 && self.rate >= 0.97 * self.asked_rate
    }

    pub fn json(&self) -> serde_json::Value {
        let Faults { wrong, offered_twice, given_twice, changed, refused } = self.faults;
        json!({
            "asked": self.asked_rate.round(), "rate": self.rate.round(), "begun": self.begun, "done": self.done,
            "no_offer": self.no_offer, "no_ack": self.no_ack, "drops": self.drops(), "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "server_ms": self.server_ms, "own_ms": self.own_ms, "wrong": wrong, "offered_twice": offered_twice,
            "given_twice": given_twice, "changed": changed, "refused": refused,
        })
    }
}

impl Load {
    pub fn new(server: SocketAddrV4, clients: Clients, pid: Option<String>) -> Result<Self> {
        let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, super::SERVER_PORT);
        let socket = sys::socket(at).with_context(|| format!("cannot be a relay on {at}"))?;
        let none = Flight { due: 0, machine: 0, offered: Ipv4Addr::UNSPECIFIED, stage: Stage::Done };
        Ok(Self {
            socket,
            server,
            clients,
            pid,
            room: sys::Room::new(),
            pool: Pool::new(clients),
            flights: vec![none; FLIGHTS as usize],
            next: 0,
            out: Vec::new(),
            start: Instant::now(),
        })
    }

    pub fn open(&mut self, rate: f64, seconds: f64) -> Result<Outcome> {
        self.go(Pace::Rate(rate), seconds)
    }

    pub fn closed(&mut self, window: u64, seconds: f64) -> Result<Outcome> {
        self.go(Pace::Window(window), seconds)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn cpu(&self) -> (Option<Duration>, Option<Duration>) {
        (self.pid.as_deref().and_then(sys::cpu), sys::cpu("self"))
    }

    fn go(&mut self, pace: Pace, seconds: f64) -> Result<Outcome> {
        self.pool.faults = Faults::default();
        let (first, began, before) = (self.next, self.now(), self.cpu());
        let length = (seconds * 1e9) as u64;
        let (mut times, mut lost, mut oldest) = (Vec::new(), Lost::default(), first);
        loop {
            let now = self.now();
            let passed = now - began;
            while oldest != self.next && now.saturating_sub(self.flight(oldest).due) > PATIENCE {
                lost.count(self.flight(oldest).stage);
                oldest += 1;
            }
            let begun = u64::from(self.next - first);
            let open = begun - times.len() as u64 - lost.no_offer - lost.no_ack;
            if passed >= length && open == 0 {
                break;
            }
            let more = if passed < length { room(pace, passed, begun, open) } else { 0 };
            for number in begun..begun + more {
                let due = match pace {
                    Pace::Rate(rate) => began + (number as f64 * 1e9 / rate) as u64,
                    Pace::Window(_) => now,
                };
                self.begin(due);
            }
            sys::send(&self.socket, &self.out)?;
            self.out.clear();
            if !self.hear(first, &mut times)? && more == 0 {
                sys::wait(std::iter::once(&self.socket), REST);
            }
        }
        let mut outcome = self.outcome(times, seconds, before);
        outcome.asked_rate = if let Pace::Rate(rate) = pace { rate } else { 0.0 };
        outcome.begun = u64::from(self.next - first);
        (outcome.no_offer, outcome.no_ack) = (lost.no_offer, lost.no_ack);
        Ok(outcome)
    }

    fn flight(&self, xid: u32) -> Flight {
        let none = Flight { due: 0, machine: 0, offered: Ipv4Addr::UNSPECIFIED, stage: Stage::Done };
        self.flights.get((xid % FLIGHTS) as usize).copied().unwrap_or(none)
    }

    fn begin(&mut self, due: u64) {
        let xid = self.next;
        self.next += 1;
        let machine = match self.clients {
            Clients::New => xid,
            Clients::Reserved => xid % RESERVED,
        };
        if let Some(flight) = self.flights.get_mut((xid % FLIGHTS) as usize) {
            *flight = Flight { due, machine, offered: Ipv4Addr::UNSPECIFIED, stage: Stage::Asked };
        }
        let mac = self.clients.mac(machine);
        self.out.push(Ask { xid, mac, offer: None }.datagram(self.server));
    }

    /// Takes what has arrived; false when that was nothing.
    fn hear(&mut self, first: u32, times: &mut Vec<u32>) -> Result<bool> {
        let now = self.now();
        let Self { socket, room, pool, flights, out, clients, server, next, .. } = self;
        let got = sys::receive(socket, room, |bytes, _| {
            let Some(answer) = Answer::read(bytes) else { return };
            // A straggler of the stretch before counts nowhere.
            if answer.xid < first || answer.xid >= *next {
                return;
            }
            let Some(flight) = flights.get_mut((answer.xid % FLIGHTS) as usize) else { return };
            let mac = clients.mac(flight.machine);
            if answer.mac != mac || now.saturating_sub(flight.due) > PATIENCE {
                return;
            }
            match (answer.kind, flight.stage) {
                (message::OFFER, Stage::Asked) => {
                    pool.offered(flight.machine, answer.address);
                    (flight.stage, flight.offered) = (Stage::Offered, answer.address);
                    let offer = Some((answer.address, answer.server));
                    out.push(Ask { xid: answer.xid, mac, offer }.datagram(*server));
                }
                (message::ACK, Stage::Offered) => {
                    pool.given(flight.machine, flight.offered, answer.address);
                    flight.stage = Stage::Done;
                    times.push(u32::try_from(now.saturating_sub(flight.due) / 1000).unwrap_or(u32::MAX));
                }
                (message::NAK, _) => pool.faults.refused += 1,
                _ => {}
            }
        })?;
        Ok(got > 0)
    }

    fn outcome(&self, mut times: Vec<u32>, seconds: f64, before: (Option<Duration>, Option<Duration>)) -> Outcome {
        times.sort_unstable();
        let part = |share: f64| {
            let at = ((times.len() as f64 - 1.0).max(0.0) * share) as usize;
            times.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
        };
        let done = times.len() as u64;
        let after = self.cpu();
        let each = |before: Option<Duration>, after: Option<Duration>| {
            (done > 0).then_some(after?.saturating_sub(before?).as_secs_f64() * 1000.0 / done as f64)
        };
        Outcome {
            rate: done as f64 / seconds,
            done,
            p50_ms: part(0.5),
            p99_ms: part(0.99),
            server_ms: each(before.0, after.0),
            own_ms: each(before.1, after.1),
            faults: self.pool.faults,
            ..Outcome::default()
        }
    }
}

/// How many exchanges may begin now.
fn room(pace: Pace, passed: u64, begun: u64, open: u64) -> u64 {
    match pace {
        Pace::Rate(rate) => ((passed as f64 / 1e9 * rate) as u64 + 1).saturating_sub(begun).min(BURST),
        Pace::Window(window) => window.saturating_sub(open).min(BURST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_begin_by_the_clock_and_catch_up_in_bursts() {
        let second = 1_000_000_000;
        assert_eq!(room(Pace::Rate(1000.0), 0, 0, 0), 1);
        assert_eq!(room(Pace::Rate(1000.0), second / 10, 101, 0), 0);
        assert_eq!(room(Pace::Rate(1000.0), second, 0, 0), BURST);
    }

    #[test]
    fn a_window_is_filled_and_not_more() {
        assert_eq!((room(Pace::Window(8), 0, 100, 5), room(Pace::Window(8), 0, 100, 9)), (3, 0));
    }

    #[test]
    fn one_lost_in_a_hundred_is_too_many() {
        let outcome = |done| Outcome { begun: 1000, done, rate: 990.0, asked_rate: 1000.0, ..Outcome::default() };
        assert!(!outcome(990).holds());
        assert!(outcome(991).holds());
        let slow = Outcome { rate: 900.0, ..outcome(1000) };
        assert!(!slow.holds(), "a generator that fell behind has shown nothing");
    }
}
