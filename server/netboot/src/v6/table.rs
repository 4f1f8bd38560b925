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

#[cfg(test)]
mod tests {
    use super::super::scene::{at, duid, mac, network};
    use super::*;

    fn slot(number: u8, hold: Hold, until: i64) -> Slot {
        let (until, durable_until) = (Millis(until), Some(Millis(until)));
        Slot {
            network: "rack".to_owned(),
            mac: mac(number),
            duid: duid(number),
            hold,
            until,
            durable_until,
            needs: None,
        }
    }

    fn table(slots: impl IntoIterator<Item = (u16, Slot)>) -> Table {
        let mut table = Table::default();
        slots.into_iter().for_each(|(last, slot)| table.put(address(last), slot));
        table
    }

    /// The range is 0x1000 to 0x1003.
    fn address(last: u16) -> Ipv6Addr {
        Ipv6Addr::from_bits(at("fd00:77::1000").to_bits() + u128::from(last))
    }

    #[test]
    fn a_hold_lasts_until_the_millisecond_before_its_end_and_means_what_it_is_called() {
        for hold in [Hold::Offered, Hold::Bound, Hold::Free, Hold::Declined, Hold::Foreign] {
            let table = table([(0, slot(1, hold, 100))]);
            let (mine, bound) = (!matches!(hold, Hold::Declined | Hold::Foreign), hold == Hold::Bound);
            for (now, live) in [(99, true), (100, false)] {
                let now = Millis(now);
                assert_eq!(table.is_taken(address(0), mac(2), now), live && hold != Hold::Free, "{hold:?} {now:?}");
                assert_eq!(table.is_taken(address(0), mac(1), now), live && !mine, "{hold:?} {now:?}");
                let is_bound = [1, 2].map(|number| table.is_bound(address(0), mac(number), now));
                assert_eq!(is_bound, [live && bound, false], "{hold:?} {now:?}");
                let durable = [1, 2].map(|number| table.durable(address(0), mac(number), now));
                assert_eq!(durable, [(live && bound).then_some(Millis(100)), None], "{hold:?} {now:?}");
            }
            let (network, known) = (network(), mine.then_some(mac(1)));
            let served = network.v6.as_ref().unwrap();
            assert_eq!(table.own(mac(1), &network, served), mine.then_some(address(0)), "{hold:?}");
            assert_eq!((table.mac_of(&duid(1)), table.mac_of(&duid(2)), table.len()), (known, None, 1), "{hold:?}");
        }
    }

    #[test]
    fn what_points_at_an_address_goes_with_it_and_nothing_else_does() {
        let network = network();
        let served = network.v6.as_ref().unwrap();
        let mut table = table([(0, slot(1, Hold::Bound, 100)), (1, slot(2, Hold::Bound, 100))]);
        table.put(address(0), slot(3, Hold::Bound, 100));
        let own = |table: &Table| [1, 2, 3].map(|number| table.own(mac(number), &network, served));
        assert_eq!(own(&table), [None, Some(address(1)), Some(address(0))]);
        assert_eq!([1, 2, 3].map(|number| table.mac_of(&duid(number))), [None, Some(mac(2)), Some(mac(3))]);
        // Its newer address and whoever else calls himself so now are left alone.
        table.put(address(2), slot(3, Hold::Bound, 100));
        table.put(address(3), Slot { mac: mac(4), ..slot(2, Hold::Bound, 100) });
        table.put(address(0), slot(5, Hold::Bound, 100));
        table.put(address(1), slot(6, Hold::Bound, 100));
        assert_eq!(own(&table), [None, None, Some(address(2))]);
        assert_eq!(table.mac_of(&duid(2)), Some(mac(4)));
        table.put(address(0), Slot { duid: Vec::new(), ..slot(7, Hold::Bound, 100) });
        assert_eq!(table.mac_of(&[]), None, "who says nothing is not known by it");
        assert_eq!(table.ends.get("rack").map(BTreeSet::len), Some(4));
    }

    #[test]
    fn of_several_rows_of_one_machine_the_longest_lease_is_its_address() {
        let network = network();
        let served = network.v6.as_ref().unwrap();
        let row = |last, state, until| Lease {
            network: "rack".to_owned(),
            address: address(last),
            mac: mac(1),
            state,
            until: Millis(until),
            duid: duid(1),
        };
        for (first, second, own) in [
            (row(0, LeaseState::Bound, 101), row(1, LeaseState::Bound, 100), 0),
            (row(0, LeaseState::Bound, 100), row(1, LeaseState::Bound, 100), 1),
            (row(0, LeaseState::Bound, 100), row(1, LeaseState::Bound, 101), 1),
            (row(0, LeaseState::Released, 101), row(1, LeaseState::Bound, 100), 1),
            (row(0, LeaseState::Bound, 101), row(1, LeaseState::Released, 100), 0),
        ] {
            let mut table = Table::default();
            table.restore(first);
            table.restore(second.clone());
            assert_eq!(table.own(mac(1), &network, served), Some(address(own)), "{second:?}");
        }
    }

    #[test]
    fn an_address_serves_eight_needs_and_beyond_them_nobody_knows_whose() {
        let need = |iaid| (duid(1), iaid);
        let of = |count: u32| Slot { needs: Some((0..count).map(need).collect()), ..slot(1, Hold::Bound, 100) };
        let with = |slot: Slot, number, iaid, now| {
            table([(0, slot)]).needs_with(address(0), mac(number), need(iaid), Millis(now))
        };
        assert_eq!(with(of(2), 1, 9, 99), Some(vec![need(0), need(1), need(9)]));
        assert_eq!(with(of(2), 1, 0, 99), Some(vec![need(1), need(0)]), "known already");
        assert_eq!(with(of(7), 1, 9, 99).map(|needs| needs.len()), Some(8));
        assert_eq!(with(of(8), 1, 9, 99), None);
        assert_eq!(with(slot(1, Hold::Bound, 100), 1, 9, 99), None, "not known after a restart");
        assert_eq!((with(of(2), 1, 9, 100), with(of(2), 2, 9, 99)), (Some(vec![need(9)]), Some(vec![need(9)])));
    }

    #[test]
    fn what_was_never_used_is_found_once_and_then_what_was_free_longest() {
        let network = network();
        let served = network.v6.as_ref().unwrap();
        let mut table =
            table([(1, slot(1, Hold::Bound, 102)), (2, slot(2, Hold::Bound, 100)), (99, slot(3, Hold::Free, 50))]);
        let mut next = |now| table.next_free(&network, served, Millis(now));
        assert_eq!([next(1), next(1), next(1)], [Some(address(0)), Some(address(3)), None]);
        assert_eq!([next(99), next(100), next(102)], [None, Some(address(2)), Some(address(2))]);
        table.rewind();
        assert_eq!(table.next_free(&network, served, Millis(1)), Some(address(0)));
    }
}
