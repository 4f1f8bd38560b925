//! What never reaches the rules: a machine over its rate, a relay over its rate, a retransmit of what is being
//! answered this moment (A1.6). Pure, so that a burst can be played in a test.

use muster_names::{Mac, Millis};
use muster_netboot::Request;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::Ipv4Addr;

/// One exchange: retransmits of it are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exchange {
    pub mac: Mac,
    pub xid: u32,
    pub kind: u8,
}

/// Why the gate is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    Repeat,
    MachineRate,
    RelayRate,
    /// More senders than are remembered.
    Flood,
}

impl Shut {
    pub fn label(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::MachineRate => "machine-rate",
            Self::RelayRate => "relay-rate",
            Self::Flood => "flood",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Repeat => "the same message is being answered",
            Self::MachineRate => "the machine sends more than five messages a second",
            Self::RelayRate => "its relay passes on more than five thousand messages a second",
            Self::Flood => "more machines ask at once than are kept track of",
        }
    }
}

/// Milli-tokens, so that slow rates need no fractions.
#[derive(Clone, Copy)]
struct Rate {
    per_second: i64,
    burst: i64,
    remembered: usize,
}

const MACHINE: Rate = Rate { per_second: 5, burst: 10, remembered: 100_000 };
const RELAY: Rate = Rate { per_second: 5_000, burst: 10_000, remembered: 4_096 };
/// A retransmit this soon after its first is a copy by the network, not a client that waited.
const REPEAT_MS: i64 = 200;
const IN_FLIGHT_MS: i64 = 4_000;

struct Buckets<K> {
    rate: Rate,
    left: BTreeMap<K, (i64, Millis)>,
}

impl<K: Ord + Copy> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, left: BTreeMap::new() }
    }

    /// None when there is no room to remember one more sender.
    fn take(&mut self, key: K, now: Millis) -> Option<bool> {
        let Rate { per_second, burst, remembered } = self.rate;
        let full = burst * 1000;
        let refill = |(tokens, at): (i64, Millis)| {
            let passed = now.0.saturating_sub(at.0).max(0);
            tokens.saturating_add(passed.saturating_mul(per_second)).min(full)
        };
        if !self.left.contains_key(&key) && self.left.len() >= remembered {
            self.left.retain(|_, bucket| refill(*bucket) < full);
            if self.left.len() >= remembered {
                return None;
            }
        }
        let bucket = self.left.entry(key).or_insert((full, now));
        let tokens = refill(*bucket);
        let allowed = tokens >= 1000;
        *bucket = (if allowed { tokens - 1000 } else { tokens }, now);
        Some(allowed)
    }
}

pub struct Gate {
    machines: Buckets<Mac>,
    relays: Buckets<Ipv4Addr>,
    /// When it came in, and whether its commit is under way.
    recent: BTreeMap<Exchange, (Millis, bool)>,
    pruned: Millis,
}

impl Default for Gate {
    fn default() -> Self {
        let (machines, relays) = (Buckets::new(MACHINE), Buckets::new(RELAY));
        Self { machines, relays, recent: BTreeMap::new(), pruned: Millis(0) }
    }
}

impl Gate {
    /// May the request pass to the rules?
    pub fn pass(&mut self, request: &Request, exchange: Exchange, now: Millis) -> Result<(), Shut> {
        if now.0.saturating_sub(self.pruned.0) >= 1000 {
            self.pruned = now;
            self.recent.retain(|_, (at, in_flight)| now.0.saturating_sub(at.0) < lifetime(*in_flight));
        }
        if self.recent.get(&exchange).is_some_and(|(at, in_flight)| now.0.saturating_sub(at.0) < lifetime(*in_flight)) {
            return Err(Shut::Repeat);
        }
        if request.is_relayed() {
            match self.relays.take(request.giaddr, now) {
                Some(true) => {}
                Some(false) => return Err(Shut::RelayRate),
                None => return Err(Shut::Flood),
            }
        }
        match self.machines.take(exchange.mac, now) {
            Some(true) => {}
            Some(false) => return Err(Shut::MachineRate),
            None => return Err(Shut::Flood),
        }
        self.recent.insert(exchange, (now, false));
        Ok(())
    }

    /// Its commit is under way: retransmits wait for the answer to the first.
    pub fn in_flight(&mut self, exchange: Exchange, now: Millis) {
        self.recent.insert(exchange, (now, true));
    }

    /// Answered, or given up: a retransmit is a new question.
    pub fn settled(&mut self, exchange: &Exchange) {
        self.recent.remove(exchange);
    }
}

fn lifetime(in_flight: bool) -> i64 {
    if in_flight { IN_FLIGHT_MS } else { REPEAT_MS }
}
