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
        let known = |slot: &Slot| (slot.mac, slot.until, slot.hold);
        let before = known(slot);
        change(slot);
        if known(slot) == before {
            return;
        }
        // The indices still know it as it was.
        let changed = slot.clone();
        (slot.mac, slot.until, slot.hold) = before;
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

#[cfg(test)]
mod tests {
    use super::super::rule_tests::{ip, mac, network};
    use super::*;
    use proptest::prelude::*;

    const HOLDS: [Hold; 6] = [Hold::Offered, Hold::Bound, Hold::Free, Hold::Declined, Hold::Foreign, Hold::Occupied];

    fn slot(last: u8, hold: Hold, until: i64) -> Slot {
        let network = "rack".to_owned();
        let (until, durable_until) = (Millis(until), Some(Millis(until)));
        Slot { network, mac: mac(last), hold, until, durable_until, size_limit: None, relay: None }
    }

    fn table(slots: impl IntoIterator<Item = (u8, Slot)>) -> Table {
        let mut table = Table::default();
        slots.into_iter().for_each(|(last, slot)| table.put(ip(last), slot));
        table
    }

    #[test]
    fn a_hold_lasts_until_the_millisecond_before_its_end_and_means_what_it_is_called() {
        for hold in HOLDS {
            let table = table([(10, slot(1, hold, 100))]);
            let (mine, bound) = (!matches!(hold, Hold::Declined | Hold::Foreign), hold == Hold::Bound);
            for (now, live) in [(99, true), (100, false)] {
                let at = Millis(now);
                assert_eq!(table.is_taken(ip(10), mac(2), at), live && hold != Hold::Free, "{hold:?} {now}");
                assert_eq!(table.is_taken(ip(10), mac(1), at), live && !mine, "{hold:?} {now}");
                assert_eq!(table.is_declined(ip(10), at), live && hold == Hold::Declined, "{hold:?} {now}");
                let durable = (live && bound).then_some(Millis(100));
                assert_eq!((table.durable(ip(10), mac(1), at), table.durable(ip(10), mac(2), at)), (durable, None));
                assert_eq!((table.live("rack", at), table.live("other", at)), (usize::from(live), 0));
            }
            assert_eq!((table.is_own(ip(10), mac(1)), table.is_own(ip(10), mac(2))), (mine, false), "{hold:?}");
            let until = [mac(1), mac(2)].map(|mac| table.bound_until(ip(10), mac));
            assert_eq!(until, [if bound { Millis(100) } else { Millis(i64::MIN) }, Millis(i64::MIN)], "{hold:?}");
        }
    }

    #[test]
    fn of_several_addresses_of_a_machine_the_leased_one_is_its_own_then_a_live_one_then_any() {
        let (network, now) = (network(), Millis(100));
        let own = |slots: &[(u8, Slot)]| table(slots.to_vec()).own(mac(1), &network, now);
        let elsewhere = |hold| Slot { network: "other".to_owned(), ..slot(1, hold, 200) };
        let all = [
            (10, slot(1, Hold::Declined, 200)),
            (11, slot(1, Hold::Bound, 100)),
            (12, slot(1, Hold::Offered, 101)),
            (13, slot(1, Hold::Bound, 101)),
        ];
        assert_eq!(own(&all), Some(ip(13)));
        assert_eq!(own(&all[..3]), Some(ip(12)));
        assert_eq!(own(&all[..2]), Some(ip(11)));
        assert_eq!(own(&all[..1]), None);
        assert_eq!(
            own(&[(10, slot(2, Hold::Bound, 101)), (11, elsewhere(Hold::Bound)), (99, slot(1, Hold::Bound, 101))]),
            None
        );
        for (slots, off) in [
            (vec![(11, slot(1, Hold::Bound, 101))], true),
            (vec![(10, slot(1, Hold::Bound, 101))], false),
            (vec![(11, slot(1, Hold::Bound, 100))], false),
            (vec![(11, slot(1, Hold::Offered, 101))], false),
            (vec![(11, slot(2, Hold::Bound, 101))], false),
            (vec![(11, elsewhere(Hold::Bound))], false),
            (vec![(99, slot(1, Hold::Bound, 101))], false),
        ] {
            assert_eq!(table(slots.clone()).is_bound_off(ip(10), mac(1), &network, now), off, "{slots:?}");
        }
    }

    #[test]
    fn what_was_never_used_is_found_once_and_then_what_was_free_longest() {
        let network = network();
        let mut table = table([
            (11, slot(1, Hold::Bound, 102)),
            (12, slot(2, Hold::Bound, 100)),
            (13, slot(3, Hold::Free, 101)),
            (99, slot(4, Hold::Free, 50)),
        ]);
        let mut next = |now| table.next_free(&network, Millis(now));
        assert_eq!([next(99), next(99), next(100)], [Some(ip(10)), None, Some(ip(12))]);
        assert_eq!([next(102), next(102), next(102)], [Some(ip(13)), Some(ip(11)), None]);
    }

    proptest! {
        #[test]
        fn the_indices_say_what_the_slots_say_whatever_was_done(
            steps in proptest::collection::vec((0u8..3, 10u8..13, 1u8..3, 0usize..6, 0i64..3, any::<bool>()), 1..40),
        ) {
            let mut table = Table::default();
            for (what, last, holder, hold, until, here) in steps {
                let network = if here { "rack" } else { "other" }.to_owned();
                let new = Slot { network, ..slot(holder, HOLDS[hold], until) };
                match what {
                    0 => table.put(ip(last), new),
                    1 => table.update(ip(last), |slot| (slot.mac, slot.hold, slot.until) = (new.mac, new.hold, new.until)),
                    _ => table.rewind(),
                }
            }
            let (mut by_mac, mut ends, mut occupied) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            for (address, slot) in &table.slots {
                by_mac.entry(slot.mac).or_insert_with(BTreeSet::new).insert(*address);
                ends.entry(slot.network.clone()).or_insert_with(BTreeSet::new).insert((slot.until, *address));
                if slot.hold == Hold::Occupied {
                    *occupied.entry(slot.network.clone()).or_insert(0usize) += 1;
                }
            }
            table.ends.retain(|_, ends| !ends.is_empty());
            table.occupied.retain(|_, count| *count > 0);
            prop_assert_eq!(&table.by_mac, &by_mac);
            prop_assert_eq!(&table.ends, &ends);
            prop_assert_eq!(&table.occupied, &occupied);
        }
    }
}
