//! Who has which IPv6 address: the memory behind the rules. An address has one holder at a time, and a machine one
//! address a network.

use super::lease::Lease;
use super::network::Served;
use crate::hold::Hold;
use crate::lease::LeaseState;
use crate::network::Network;
use muster_names::{Mac, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub network: String,
    pub mac: Mac,
    pub duid: Vec<u8>,
    pub hold: Hold,
    pub until: Millis,
    /// The end of the lease that the store is known to have.
    pub durable_until: Option<Millis>,
    /// Whose needs it was granted for: identifier and IAID. None when that is not known, as after a restart.
    pub needs: Option<Vec<Need>>,
}

/// One need for an address, as its client calls itself and it.
pub(super) type Need = (Vec<u8>, u32);

/// More needs than one machine has; beyond it they are not told apart any longer.
const MOST_NEEDS: usize = 8;

impl Slot {
    fn belongs_to(&self, mac: Mac) -> bool {
        self.mac == mac && matches!(self.hold, Hold::Offered | Hold::Bound | Hold::Free)
    }

    fn is_live(&self, now: Millis) -> bool {
        self.until > now && self.hold != Hold::Free
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    slots: BTreeMap<Ipv6Addr, Slot>,
    by_mac: BTreeMap<(String, Mac), Ipv6Addr>,
    by_duid: BTreeMap<Vec<u8>, Mac>,
    /// By network: ends of holds.
    ends: BTreeMap<String, BTreeSet<(Millis, Ipv6Addr)>>,
    /// By network: the next address of the range that was never used; None when all were.
    cursors: BTreeMap<String, Option<Ipv6Addr>>,
}

impl Table {
    pub fn get(&self, address: Ipv6Addr) -> Option<&Slot> {
        self.slots.get(&address)
    }

    pub fn put(&mut self, address: Ipv6Addr, slot: Slot) {
        self.forget(address);
        if slot.belongs_to(slot.mac) {
            self.by_mac.insert((slot.network.clone(), slot.mac), address);
            if !slot.duid.is_empty() {
                self.by_duid.insert(slot.duid.clone(), slot.mac);
            }
        }
        self.ends.entry(slot.network.clone()).or_default().insert((slot.until, address));
        self.slots.insert(address, slot);
    }

    /// Everything that points at the address.
    fn forget(&mut self, address: Ipv6Addr) {
        let Some(old) = self.slots.remove(&address) else { return };
        if let Some(ends) = self.ends.get_mut(&old.network) {
            ends.remove(&(old.until, address));
        }
        if self.by_duid.get(&old.duid) == Some(&old.mac) {
            self.by_duid.remove(&old.duid);
        }
        let key = (old.network, old.mac);
        if self.by_mac.get(&key) == Some(&address) {
            self.by_mac.remove(&key);
        }
    }

    pub fn update(&mut self, address: Ipv6Addr, change: impl FnOnce(&mut Slot)) {
        if let Some(mut slot) = self.slots.get(&address).cloned() {
            change(&mut slot);
            self.put(address, slot);
        }
    }

    pub fn restore(&mut self, lease: Lease) {
        let (hold, durable_until) = match lease.state {
            LeaseState::Bound => (Hold::Bound, Some(lease.until)),
            LeaseState::Released => (Hold::Free, None),
            LeaseState::Declined => (Hold::Declined, None),
        };
        let Lease { network, address, mac, until, duid, .. } = lease;
        // Of several rows of one machine the one that lasts longest is its address.
        let rival = self.by_mac.get(&(network.clone(), mac)).copied();
        self.put(address, Slot { network, mac, duid, hold, until, durable_until, needs: None });
        if let Some(rival) = rival
            && self.slots.get(&rival).is_some_and(|slot| slot.hold == Hold::Bound && slot.until > until)
        {
            self.update(rival, |_| {});
        }
    }

    pub fn mac_of(&self, duid: &[u8]) -> Option<Mac> {
        self.by_duid.get(duid).copied()
    }

    /// Somebody else, or a quarantine, stands on the address.
    pub fn is_taken(&self, address: Ipv6Addr, mac: Mac, now: Millis) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.is_live(now) && !slot.belongs_to(mac))
    }

    pub fn is_bound(&self, address: Ipv6Addr, mac: Mac, now: Millis) -> bool {
        self.slots.get(&address).is_some_and(|slot| slot.mac == mac && slot.hold == Hold::Bound && slot.until > now)
    }

    /// The needs the address serves, with one more.
    pub fn needs_with(&self, address: Ipv6Addr, mac: Mac, need: Need, now: Millis) -> Option<Vec<Need>> {
        if !self.is_bound(address, mac, now) {
            return Some(vec![need]);
        }
        let mut needs = self.slots.get(&address)?.needs.clone()?;
        needs.retain(|other| *other != need);
        needs.push(need);
        (needs.len() <= MOST_NEEDS).then_some(needs)
    }

    /// The durable end of the machine's lease on the address, while it lasts.
    pub fn durable(&self, address: Ipv6Addr, mac: Mac, now: Millis) -> Option<Millis> {
        let slot = self.slots.get(&address)?;
        slot.durable_until.filter(|until| slot.mac == mac && slot.hold == Hold::Bound && *until > now)
    }

    /// The address the machine has or had in the network.
    pub fn own(&self, mac: Mac, network: &Network, served: &Served) -> Option<Ipv6Addr> {
        let address = *self.by_mac.get(&(network.name.clone(), mac))?;
        served.may_hand_out(address).then_some(address)
    }

    /// An address that nobody holds: first what was never used, then what was free longest.
    pub fn next_free(&mut self, network: &Network, served: &Served, now: Millis) -> Option<Ipv6Addr> {
        let cursor = self.cursors.entry(network.name.clone()).or_insert(Some(served.range.0));
        while let Some(address) = *cursor {
            let next = Ipv6Addr::from_bits(address.to_bits().saturating_add(1));
            *cursor = (address < served.range.1).then_some(next);
            if served.may_hand_out(address) && !self.slots.contains_key(&address) {
                return Some(address);
            }
        }
        let ends = self.ends.get(&network.name)?;
        let ended = ends.iter().take_while(|(until, _)| *until <= now);
        ended.map(|(_, address)| *address).find(|address| served.may_hand_out(*address))
    }

    /// After a change of configuration every range is walked anew.
    pub fn rewind(&mut self) {
        self.cursors.clear();
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }
}
