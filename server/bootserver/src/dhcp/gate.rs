//! What never reaches the rules: a machine over its rate, a relay over its rate, a retransmit of what is being
//! answered this moment (A1.6). Pure, so that a burst can be played in a test.

use muster_names::{Mac, Millis};
use muster_netboot::Request;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

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
    left: HashMap<K, (i64, Millis)>,
    pruned: Millis,
}

/// Under a flood the walk over all senders is made this often at most.
const PRUNE_MS: i64 = 1000;

impl<K: Eq + Hash + Copy> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, left: HashMap::new(), pruned: Millis(i64::MIN) }
    }

    /// None when there is no room to remember one more sender.
    fn take(&mut self, key: K, now: Millis) -> Option<bool> {
        let Rate { per_second, burst, remembered } = self.rate;
        let full = burst * 1000;
        let refill = |(tokens, at): (i64, Millis)| {
            let passed = now.0.saturating_sub(at.0).max(0);
            tokens.saturating_add(passed.saturating_mul(per_second)).min(full)
        };
        if self.left.len() >= remembered && !self.left.contains_key(&key) {
            if now.0.saturating_sub(self.pruned.0) >= PRUNE_MS {
                self.pruned = now;
                self.left.retain(|_, bucket| refill(*bucket) < full);
            }
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
    relays: Buckets<IpAddr>,
    /// When it came in, and whether its commit is under way.
    recent: HashMap<Exchange, (Millis, bool)>,
    pruned: Millis,
}

impl Default for Gate {
    fn default() -> Self {
        let (machines, relays) = (Buckets::new(MACHINE), Buckets::new(RELAY));
        Self { machines, relays, recent: HashMap::new(), pruned: Millis(0) }
    }
}

impl Gate {
    /// May the request pass to the rules?
    pub fn pass(&mut self, request: &Request, exchange: Exchange, now: Millis) -> Result<(), Shut> {
        self.admit(request.is_relayed().then_some(IpAddr::V4(request.giaddr)), exchange, now)
    }

    /// The same for a message of either protocol, and the relay that passed it on.
    pub fn admit(&mut self, relay: Option<IpAddr>, exchange: Exchange, now: Millis) -> Result<(), Shut> {
        if now.0.saturating_sub(self.pruned.0) >= 1000 {
            self.pruned = now;
            self.recent.retain(|_, (at, in_flight)| now.0.saturating_sub(at.0) < lifetime(*in_flight));
        }
        if self.recent.get(&exchange).is_some_and(|(at, in_flight)| now.0.saturating_sub(at.0) < lifetime(*in_flight)) {
            return Err(Shut::Repeat);
        }
        if let Some(relay) = relay {
            match self.relays.take(relay, now) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use muster_netboot::Kind;
    use std::net::Ipv4Addr;

    fn exchange(mac: Mac, xid: u32) -> Exchange {
        Exchange { mac, xid, kind: 1 }
    }

    fn numbered(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a1_6_a_copy_is_dropped_and_a_client_that_waited_is_not() {
        let mut gate = Gate::default();
        let mac = numbered(1);
        let request = Request::of(mac, Kind::Discover);
        let mut pass = |now| gate.pass(&request, exchange(mac, 7), Millis(now));
        assert_eq!([pass(10_000), pass(10_100), pass(11_000)], [Ok(()), Err(Shut::Repeat), Ok(())]);
    }

    #[test]
    fn a1_6_while_its_commit_is_under_way_a_retransmit_waits() {
        let mut gate = Gate::default();
        let mac = numbered(1);
        let request = Request::of(mac, Kind::Request);
        assert_eq!(gate.pass(&request, exchange(mac, 7), Millis(0)), Ok(()));
        gate.in_flight(exchange(mac, 7), Millis(0));
        assert_eq!(gate.pass(&request, exchange(mac, 7), Millis(1500)), Err(Shut::Repeat));
        gate.settled(&exchange(mac, 7));
        assert_eq!(gate.pass(&request, exchange(mac, 7), Millis(1600)), Ok(()));
    }

    #[test]
    fn a1_6_a_machine_has_ten_at_once_and_five_a_second() {
        let mut gate = Gate::default();
        let mac = numbered(1);
        let request = Request::of(mac, Kind::Discover);
        let mut passed = |from: u32, now: i64| {
            (from..from + 50).filter(|xid| gate.pass(&request, exchange(mac, *xid), Millis(now)).is_ok()).count()
        };
        assert_eq!((passed(0, 1000), passed(100, 2000), passed(200, 2100)), (10, 5, 0));
    }

    #[test]
    fn a1_6_a_relay_is_bounded_but_not_by_one_machines_measure() {
        let mut gate = Gate::default();
        let relay = Ipv4Addr::new(10, 0, 0, 1);
        let passed = (0..20_000u32)
            .filter(|number| {
                let request = Request { giaddr: relay, ..Request::of(numbered(*number), Kind::Discover) };
                gate.pass(&request, exchange(numbered(*number), 1), Millis(1000)).is_ok()
            })
            .count();
        assert_eq!(passed, 10_000);
    }

    #[test]
    fn a1_6_a_flood_of_invented_machines_takes_no_more_memory_than_set() {
        let mut gate = Gate::default();
        let mut shut = 0;
        for number in 0..120_000u32 {
            let request = Request::of(numbered(number), Kind::Discover);
            shut += u32::from(gate.pass(&request, exchange(numbered(number), 1), Millis(1000)) == Err(Shut::Flood));
        }
        assert_eq!((shut, gate.machines.left.len()), (20_000, 100_000));
        let request = Request::of(numbered(200_000), Kind::Discover);
        assert_eq!(gate.pass(&request, exchange(numbered(200_000), 1), Millis(2000)), Ok(()), "the flood is forgotten");
    }
}
