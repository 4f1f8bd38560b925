//! Who has which address: the memory behind the rules, with no rule in it but one: an address has one holder at a time.
//!
//! A free address is found without a walk, so that a full pool costs no more than an empty one: a cursor passes over
//! what was never used, and a queue by end of lease gives back what was.

use super::ahead::Ahead;
use crate::hold::Hold;
use crate::lease::{Lease, LeaseState};
use crate::network::{Network, Range};
use muster_names::{Mac, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub network: String,
    pub mac: Mac,
    pub hold: Hold,
    pub until: Millis,
    /// The end of the lease that the store is known to have.
    pub durable_until: Option<Millis>,
    /// The message size the client gave in its DISCOVER.
    pub size_limit: Option<usize>,
    pub relay: Option<Vec<u8>>,
}

impl Slot {
    /// A live hold of anybody.
    fn is_live(&self, now: Millis) -> bool {
        self.until > now && self.hold != Hold::Free
    }

    /// Its machine may have it, live or by affinity.
    fn belongs_to(&self, mac: Mac) -> bool {
        self.mac == mac && matches!(self.hold, Hold::Offered | Hold::Bound | Hold::Free | Hold::Occupied)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) slots: BTreeMap<Ipv4Addr, Slot>,
    pub(super) by_mac: BTreeMap<Mac, BTreeSet<Ipv4Addr>>,
    /// By network: ends of holds.
    ends: BTreeMap<String, BTreeSet<(Millis, Ipv4Addr)>>,
    /// By network: the ranges not walked yet.
    cursors: BTreeMap<String, Vec<Range>>,
    /// By network: what was asked after ahead of need.
    pub(super) ahead: BTreeMap<String, Ahead>,
    /// By network: addresses that hosts without a lease use.
    pub(super) occupied: BTreeMap<String, usize>,
}

impl Table {
    pub fn get(&self, address: Ipv4Addr) -> Option<&Slot> {
        self.slots.get(&address)
    }

    pub fn put(&mut self, address: Ipv4Addr, slot: Slot) {
        if slot.hold == Hold::Occupied {
            *self.occupied.entry(slot.network.clone()).or_default() += 1;
        }
        let old = self.slots.get(&address);
        if let Some(old) = old.filter(|old| old.hold == Hold::Occupied)
            && let Some(count) = self.occupied.get_mut(&old.network)
        {
            *count = count.saturating_sub(1);
        }
        let old = old.map(|old| (old.mac, old.until, old.network == slot.network));
        let same_holder = old.is_some_and(|(mac, ..)| mac == slot.mac);
        let same_end = old.is_some_and(|(_, until, network)| network && until == slot.until);
        if !same_holder {
            self.forget_holder(address);
            self.by_mac.entry(slot.mac).or_default().insert(address);
        }
        if !same_end {
            self.forget_end(address);
        }
        match self.ends.get_mut(&slot.network) {
            Some(ends) => ends.insert((slot.until, address)),
            None => self.ends.entry(slot.network.clone()).or_default().insert((slot.until, address)),
        };
        self.slots.insert(address, slot);
    }

    fn forget_holder(&mut self, address: Ipv4Addr) {
        let Some(old) = self.slots.get(&address) else { return };
        if let Some(addresses) = self.by_mac.get_mut(&old.mac) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_mac.remove(&old.mac);
            }
        }
    }

    fn forget_end(&mut self, address: Ipv4Addr) {
        let Some(old) = self.slots.get(&address) else { return };
        if let Some(ends) = self.ends.get_mut(&old.network) {
            ends.remove(&(old.until, address));
        }
    }

    /// Changes a slot in place, unless what the indices know of it becomes another.
    pub fn update(&mut self, address: Ipv4Addr, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(&address) else { return };
        let known = |slot: &Slot| (slot.mac, slot.until, slot.hold == Hold::Occupied);
        let (before, hold) = (known(slot), slot.hold);
        change(slot);
        if known(slot) == before {
            return;
        }
        // The indices still know it as it was.
        let changed = slot.clone();
        (slot.mac, slot.until, slot.hold) = (before.0, before.1, hold);
        self.put(address, changed);
    }

    pub fn restore(&mut self, lease: Lease) {
        let (hold, durable_until) = match lease.state {
            LeaseState::Bound => (Hold::Bound, Some(lease.until)),
            LeaseState::Released => (Hold::Free, None),
            LeaseState::Declined => (Hold::Declined, None),
        };
        let slot = Slot {
            network: lease.network,
            mac: lease.mac,
            hold,
            until: lease.until,
            durable_until,
            size_limit: None,
            relay: lease.relay,
        };
        self.put(lease.address, slot);
    }

    pub fn knows(&self, mac: Mac) -> bool {
        self.by_mac.contains_key(&mac)
    }

    /// Somebody else, or a quarantine, stands on the address.
    pub fn is_taken(&self, address: Ipv4Addr, mac: Mac, now: Millis) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.is_live(now) && !slot.belongs_to(mac))
    }

    pub fn is_declined(&self, address: Ipv4Addr, now: Millis) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.hold == Hold::Declined && slot.until > now)
    }

    pub fn is_own(&self, address: Ipv4Addr, mac: Mac) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.belongs_to(mac))
    }

    /// The durable end of the machine's lease on the address, while it lasts.
    pub fn durable(&self, address: Ipv4Addr, mac: Mac, now: Millis) -> Option<Millis> {
        let slot = self.slots.get(&address)?;
        slot.durable_until.filter(|until| slot.mac == mac && slot.hold == Hold::Bound && *until > now)
    }

    /// The end of the machine's lease on the address, durable or not.
    pub fn bound_until(&self, address: Ipv4Addr, mac: Mac) -> Millis {
        let slot = self.slots.get(&address).filter(|slot| slot.mac == mac && slot.hold == Hold::Bound);
        slot.map_or(Millis(i64::MIN), |slot| slot.until)
    }

    /// The address the machine has or had in the network: a live one before one that ended.
    pub fn own(&self, mac: Mac, network: &Network, now: Millis) -> Option<Ipv4Addr> {
        let addresses = self.by_mac.get(&mac)?;
        let own = |address: &&Ipv4Addr| {
            self.slots.get(address).is_some_and(|slot| slot.belongs_to(mac) && slot.network == network.name)
        };
        let live = |address: &&Ipv4Addr| self.slots.get(address).is_some_and(|slot| slot.is_live(now));
        let bound = |address: &&Ipv4Addr| self.bound_elsewhere(**address, now);
        let mut candidates = addresses.iter().filter(own).filter(|address| network.may_hand_out(**address));
        let all: Vec<&Ipv4Addr> = candidates.by_ref().collect();
        let best = all.iter().copied().find(|a| bound(a)).or_else(|| all.iter().copied().find(|a| live(a)));
        best.or(all.first().copied()).copied()
    }

    fn bound_elsewhere(&self, address: Ipv4Addr, now: Millis) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.hold == Hold::Bound && slot.is_live(now))
    }

    /// Has the machine a live lease in the network on an address other than this?
    pub fn is_bound_off(&self, address: Ipv4Addr, mac: Mac, network: &Network, now: Millis) -> bool {
        let addresses = self.by_mac.get(&mac);
        addresses.into_iter().flatten().any(|other| {
            *other != address
                && network.may_hand_out(*other)
                && self
                    .slots
                    .get(other)
                    .is_some_and(|slot| slot.network == network.name && slot.hold == Hold::Bound && slot.is_live(now))
        })
    }

    /// An address that nobody holds: first what was never used, of that what was silent when probed; then what was free
    /// longest.
    pub fn next_free(&mut self, network: &Network, now: Millis) -> Option<Ipv4Addr> {
        if let Some(address) = self.next_probed(network, false) {
            return Some(address);
        }
        if let Some(address) = self.next_unused(network).or_else(|| self.next_probed(network, true)) {
            return Some(address);
        }
        let ends = self.ends.get_mut(&network.name)?;
        while let Some(&(until, address)) = ends.first() {
            if until > now {
                return None;
            }
            ends.pop_first();
            if network.may_hand_out(address) {
                return Some(address);
            }
        }
        None
    }

    /// The next address that nobody ever had; it is not told twice.
    pub(super) fn next_unused(&mut self, network: &Network) -> Option<Ipv4Addr> {
        if !self.cursors.contains_key(&network.name) {
            let mut ranges = network.ranges.clone();
            ranges.reverse();
            self.cursors.insert(network.name.clone(), ranges);
        }
        let cursor = self.cursors.get_mut(&network.name)?;
        while let Some(range) = cursor.last_mut() {
            let address = range.first;
            if address >= range.last {
                cursor.pop();
            } else {
                range.first = Ipv4Addr::from_bits(address.to_bits().saturating_add(1));
            }
            if network.may_hand_out(address) && !self.slots.contains_key(&address) {
                return Some(address);
            }
        }
        None
    }

    /// After a change of configuration every range is walked anew.
    pub fn rewind(&mut self) {
        self.cursors.clear();
        self.ahead.clear();
        self.ends.clear();
        for (address, slot) in &self.slots {
            self.ends.entry(slot.network.clone()).or_default().insert((slot.until, *address));
        }
    }

    /// Holds that live now, by network.
    pub fn live(&self, network: &str, now: Millis) -> usize {
        self.ends.get(network).map_or(0, |ends| {
            let after = (Millis(now.0.saturating_add(1)), Ipv4Addr::UNSPECIFIED);
            ends.range(after..).count()
        })
    }
}
