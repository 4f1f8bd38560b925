//! Probing ahead (B1.21): addresses that nobody ever had are asked after before they are needed, so that an OFFER never
//! waits for a probe; what answers is left alone. An address in conflict is asked after again until nobody answers.
//!
//! All of it is advice. When nothing was probed yet, an address is given unprobed: a rack that powers on must not wait,
//! and the machine's own check (DECLINE) stands behind it.

use super::Leases;
use super::table::{Slot, Table};
use crate::conflict::{Conflict, ConflictKind};
use crate::hold::Hold;
use crate::network::{Dhcp, Network, Networks};
use muster_names::{Mac, Millis};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

/// Addresses probed and in store, of each network.
const STORE: usize = 256;
/// A probe's word holds so long.
const FRESH_MS: i64 = 10 * 60 * 1000;
/// Quarantine of an address that a host without a lease uses.
const OCCUPIED_MS: i64 = 60 * 60 * 1000;
/// Addresses of one network that one host can keep from us: a router that answers for every address (proxy ARP), or
/// somebody who wants the pool to be empty, is believed so far and no further.
const BELIEVED: usize = 8;
/// Of the whole pool, one in so many.
const SHARE: usize = 4;
/// Addresses in conflict are asked after so often, and are free after so many rounds of silence.
const AGAIN_MS: i64 = 60 * 1000;
const ROUNDS: u8 = 3;
const MOST_WATCHED: usize = 1_024;

/// An address to be asked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub interface: String,
    pub address: Ipv4Addr,
}

/// What is known ahead of one network.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    /// Silent when asked, the longest known first.
    pub ready: VecDeque<(Ipv4Addr, Millis)>,
    /// Being asked.
    pub asked: BTreeMap<Ipv4Addr, Millis>,
}

/// An address in conflict.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    network: String,
    kind: ConflictKind,
    /// Who was there.
    by: Option<Mac>,
    next: Millis,
    silent: u8,
}

fn is_probed(network: &Network) -> Option<&str> {
    network.interface.as_deref().filter(|_| network.dhcp == Dhcp::Full)
}

impl Leases {
    /// Addresses to ask after now: some ahead of need, and those in conflict that are due.
    pub fn probes(&mut self, networks: &Networks, most: usize, now: Millis) -> Vec<Probe> {
        let mut out = Vec::new();
        for (address, watched) in &mut self.watched {
            let interface = networks.named(&watched.network).and_then(is_probed);
            if let (Some(interface), true) = (interface, watched.next <= now && out.len() < most) {
                watched.next = Millis(now.0.saturating_add(AGAIN_MS));
                out.push(Probe { interface: interface.to_owned(), address: *address });
            }
        }
        for network in networks.iter() {
            let Some(interface) = is_probed(network) else { continue };
            while out.len() < most {
                let Some(address) = self.table.ahead_of(network, STORE, Millis(now.0.saturating_sub(FRESH_MS)), now)
                else {
                    break;
                };
                out.push(Probe { interface: interface.to_owned(), address });
            }
        }
        out
    }

    /// What came of a probe: who answered, or nobody.
    pub fn probed(
        &mut self,
        networks: &Networks,
        address: Ipv4Addr,
        heard: Option<Mac>,
        now: Millis,
    ) -> Option<Conflict> {
        let network = networks.holding(address).filter(|network| is_probed(network).is_some())?;
        let Some(mac) = heard else {
            self.table.was_silent(network, address, now);
            return self.quiet(address, now);
        };
        self.table.was_answered(network, address);
        let by_holder = self.table.get(address).is_some_and(|slot| slot.mac == mac && slot.hold == Hold::Bound);
        if by_holder {
            // Another host beside it answers too, and is heard as one that claims the address.
            return self.quiet(address, now);
        }
        self.claimed(networks, address, mac, now)
    }

    /// A host was heard using an address, asked or by itself.
    pub fn claimed(&mut self, networks: &Networks, address: Ipv4Addr, mac: Mac, now: Millis) -> Option<Conflict> {
        let network = networks.holding(address).filter(|network| is_probed(network).is_some())?;
        if !mac.is_unicast() || !network.may_lease(address) {
            return None;
        }
        let conflict =
            |kind, holder| Conflict { mac: Some(mac), holder, ..Conflict::new(now, kind, &network.name, address) };
        let (kind, holder) = match self.table.get(address) {
            Some(slot) if slot.mac == mac => match slot.hold {
                Hold::Occupied => (ConflictKind::Address, None),
                _ => return None,
            },
            Some(slot) if slot.hold == Hold::Bound && slot.until > now => (ConflictKind::Address, Some(slot.mac)),
            Some(slot) if slot.hold == Hold::Declined && slot.until > now => {
                let kind = self.watched.get(&address).map_or(ConflictKind::Address, |watched| watched.kind);
                (kind, Some(slot.mac))
            }
            // An offer is open, another daemon has it, or it was given back: too little is known to say more.
            Some(slot) if slot.until > now && slot.hold != Hold::Occupied => return None,
            _ => (ConflictKind::Address, None),
        };
        if holder.is_none() {
            // What is reserved may be used without a lease by the machine it is for.
            if !network.may_hand_out(address) || !self.table.may_occupy(network, mac, BELIEVED, SHARE, now) {
                return None;
            }
            let until = Millis(now.0.saturating_add(OCCUPIED_MS));
            let slot = Slot {
                network: network.name.clone(),
                mac,
                hold: Hold::Occupied,
                until,
                durable_until: None,
                size_limit: None,
                relay: None,
            };
            self.table.put(address, slot);
        }
        self.watch(&network.name, address, (kind, Some(mac)), now);
        Some(conflict(kind, holder))
    }

    /// Asks after an address until it is silent.
    pub(super) fn watch(
        &mut self,
        network: &str,
        address: Ipv4Addr,
        (kind, by): (ConflictKind, Option<Mac>),
        now: Millis,
    ) {
        if let Some(watched) = self.watched.get_mut(&address) {
            watched.silent = 0;
            watched.by = by.or(watched.by);
        } else if self.watched.len() < MOST_WATCHED {
            let next = Millis(now.0.saturating_add(AGAIN_MS));
            self.watched.insert(address, Watched { network: network.to_owned(), kind, by, next, silent: 0 });
        }
    }

    /// Nobody answered at an address in conflict. After some rounds that is the proof of its end.
    fn quiet(&mut self, address: Ipv4Addr, now: Millis) -> Option<Conflict> {
        let watched = self.watched.get_mut(&address)?;
        watched.silent = watched.silent.saturating_add(1);
        if watched.silent < ROUNDS {
            return None;
        }
        let Watched { network, kind, .. } = self.watched.remove(&address)?;
        if self.table.get(address).is_some_and(|slot| slot.hold == Hold::Occupied) {
            self.table.update(address, |slot| {
                slot.hold = Hold::Free;
                slot.until = now;
            });
        }
        let over = Some("nobody answers at the address any more");
        Some(Conflict { over, ..Conflict::new(now, kind, &network, address) })
    }

    /// An address was leased: to the very host that used it, or to a machine that looked and found nobody there any more.
    /// Both end the conflict.
    pub fn leased(&mut self, address: Ipv4Addr, mac: Mac, now: Millis) -> Option<Conflict> {
        let watched = self.watched.get(&address)?;
        // A lease that its holder renews proves nothing of the other host.
        if watched.by.is_some_and(|by| by != mac) {
            return None;
        }
        let Watched { network, kind, .. } = self.watched.remove(&address)?;
        let over = Some("the machine holds the address by a lease now");
        Some(Conflict { over, ..Conflict::new(now, kind, &network, address) })
    }
}

impl Table {
    /// One more address to be probed, if the store is not full: the oldest word is renewed, then what was never used.
    fn ahead_of(&mut self, network: &Network, store: usize, stale: Millis, now: Millis) -> Option<Ipv4Addr> {
        let ahead = self.ahead.entry(network.name.clone()).or_default();
        let old = ahead.ready.front().filter(|(_, at)| *at <= stale).map(|(address, _)| *address);
        if let Some(address) = old {
            ahead.ready.pop_front();
            ahead.asked.insert(address, now);
            return Some(address);
        }
        if ahead.ready.len().saturating_add(ahead.asked.len()) >= store {
            return None;
        }
        let address = self.next_unused(network)?;
        self.ahead.entry(network.name.clone()).or_default().asked.insert(address, now);
        Some(address)
    }

    fn was_silent(&mut self, network: &Network, address: Ipv4Addr, now: Millis) {
        if let Some(ahead) = self.ahead.get_mut(&network.name)
            && ahead.asked.remove(&address).is_some()
        {
            ahead.ready.push_back((address, now));
        }
    }

    fn was_answered(&mut self, network: &Network, address: Ipv4Addr) {
        if let Some(ahead) = self.ahead.get_mut(&network.name) {
            ahead.asked.remove(&address);
            ahead.ready.retain(|(ready, _)| *ready != address);
        }
    }

    /// A never used address that was silent when it was asked after; failing that, one that is still being asked.
    pub(super) fn next_probed(&mut self, network: &Network, still_asked: bool) -> Option<Ipv4Addr> {
        let ahead = self.ahead.get_mut(&network.name)?;
        loop {
            let address = if still_asked {
                ahead.asked.pop_first().map(|(address, _)| address)?
            } else {
                ahead.ready.pop_front().map(|(address, _)| address)?
            };
            if network.may_hand_out(address) && !self.slots.contains_key(&address) {
                return Some(address);
            }
        }
    }

    /// May this host keep one more address of the network from us?
    fn may_occupy(&self, network: &Network, mac: Mac, believed: usize, share: usize, now: Millis) -> bool {
        let occupied = |address: &&Ipv4Addr| {
            self.slots
                .get(address)
                .is_some_and(|slot| slot.hold == Hold::Occupied && slot.until > now && slot.network == network.name)
        };
        let by_it = self.by_mac.get(&mac).into_iter().flatten().filter(occupied).count();
        let pool: usize = network.ranges.iter().map(|range| range.size()).sum();
        let all = self.occupied.get(&network.name).copied().unwrap_or(0);
        by_it < believed && all < (pool / share).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule_tests::{Bench, ip, mac, network, selecting};
    use super::*;
    use crate::{Answer, Kind, Outcome, Range, Request};

    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

    impl Bench {
        fn probes(&mut self, most: usize) -> Vec<Ipv4Addr> {
            self.leases.probes(&self.networks, most, self.now).into_iter().map(|probe| probe.address).collect()
        }

        fn probed(&mut self, address: Ipv4Addr, heard: Option<Mac>) -> Option<Conflict> {
            self.leases.probed(&self.networks, address, heard, self.now)
        }

        fn offer(&mut self, last: u8) -> Ipv4Addr {
            self.reply(&Request::of(mac(last), Kind::Discover)).yiaddr
        }
    }

    #[test]
    fn b1_21_an_address_that_answers_is_never_offered_and_told_with_who_answered() {
        let mut bench = Bench::new();
        assert_eq!(bench.probes(9), [ip(10), ip(11), ip(12), ip(13)]);
        let conflict = bench.probed(ip(10), Some(OTHER)).unwrap();
        assert_eq!((conflict.kind, conflict.address, conflict.mac), (ConflictKind::Address, ip(10), Some(OTHER)));
        for last in 11..=13 {
            assert_eq!(bench.probed(ip(last), None), None);
        }
        let offered: Vec<Ipv4Addr> = (1..=3).map(|last| bench.offer(last)).collect();
        assert_eq!(offered, [ip(11), ip(12), ip(13)]);
        assert!(matches!(bench.ask(&Request::of(mac(4), Kind::Discover)), Answer::Silent(_)));
    }

    #[test]
    fn b1_21_no_offer_waits_for_a_probe_and_what_was_silent_goes_first() {
        let mut bench = Bench::new();
        assert_eq!(bench.offer(1), ip(10), "nothing was asked yet");
        assert_eq!(bench.probes(2), [ip(11), ip(12)]);
        assert_eq!(bench.probed(ip(12), None), None);
        let offered: Vec<Ipv4Addr> = (2..=4).map(|last| bench.offer(last)).collect();
        assert_eq!(offered, [ip(12), ip(13), ip(11)], "silent, not asked, being asked");
    }

    #[test]
    fn b1_21_a_machine_with_a_lease_is_not_asked_after_and_may_answer() {
        let mut bench = Bench::new();
        let address = bench.lease(mac(1));
        assert!(!bench.probes(9).contains(&address));
        assert_eq!(bench.leases.claimed(&bench.networks, address, mac(1), bench.now), None);
        assert_eq!(bench.lease(mac(1)), address);
    }

    #[test]
    fn b1_21_a_network_that_only_relays_reach_and_one_of_another_server_are_not_probed() {
        assert_eq!(Bench::with(|network| network.interface = None).probes(9), Vec::<Ipv4Addr>::new());
        let beside = |network: &mut Network| {
            network.dhcp = Dhcp::Proxy;
            network.ranges.clear();
            network.authoritative = false;
        };
        let mut bench = Bench::with(beside);
        assert_eq!(bench.probes(9), Vec::<Ipv4Addr>::new());
        assert_eq!(bench.leases.claimed(&bench.networks, ip(10), OTHER, bench.now), None);
    }

    #[test]
    fn a_host_on_a_leased_address_is_told_with_the_holder_and_the_lease_stays() {
        let mut bench = Bench::new();
        let address = bench.lease(mac(1));
        let conflict = bench.leases.claimed(&bench.networks, address, OTHER, bench.now).unwrap();
        assert_eq!((conflict.mac, conflict.holder), (Some(OTHER), Some(mac(1))));
        assert_eq!(bench.lease(mac(1)), address);
        assert_eq!(bench.leases.leased(address, mac(1), bench.now), None, "a renewal is no proof");
        bench.later(61);
        assert!(bench.probes(1).contains(&address), "it is asked after until nobody answers but its holder");
        let alone =
            |bench: &mut Bench| bench.probed(address, Some(mac(1))).and_then(|conflict| conflict.over).is_some();
        assert_eq!([alone(&mut bench), alone(&mut bench)], [false, false]);
        assert!(
            bench.leases.claimed(&bench.networks, address, OTHER, bench.now).is_some(),
            "the other one still answers"
        );
        let rounds = [alone(&mut bench), alone(&mut bench), alone(&mut bench)];
        assert_eq!(rounds, [false, false, true]);
    }

    #[test]
    fn after_three_rounds_of_silence_an_address_is_free_again_and_the_conflict_over() {
        let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(17) }]);
        bench.probes(9);
        bench.probed(ip(10), Some(OTHER)).unwrap();
        for round in 1..=3 {
            bench.later(61);
            assert!(bench.probes(1).contains(&ip(10)), "round {round}");
            let over = bench.probed(ip(10), None).and_then(|conflict| conflict.over);
            assert_eq!(over.is_some(), round == 3, "round {round}");
        }
        assert!((1..=8).map(|last| bench.offer(last)).any(|address| address == ip(10)));
    }

    #[test]
    fn the_host_that_was_found_may_have_the_address_it_uses() {
        let mut bench = Bench::new();
        bench.probes(9);
        bench.probed(ip(12), Some(mac(7))).unwrap();
        assert_eq!(bench.lease(mac(7)), ip(12));
        assert!(bench.leases.leased(ip(12), mac(7), bench.now).is_some_and(|conflict| conflict.over.is_some()));
    }

    #[test]
    fn a_declined_reservation_is_over_when_its_machine_has_it_again() {
        let mut bench = Bench::new();
        bench.host.reservation = Some(ip(100));
        assert_eq!(bench.lease(mac(1)), ip(100));
        bench.ask(&Request { requested: Some(ip(100)), ..Request::of(mac(1), Kind::Decline) });
        bench.later(3601);
        bench.probes(9);
        assert_eq!(bench.lease(mac(1)), ip(100));
        let over = bench.leases.leased(ip(100), mac(1), bench.now).unwrap();
        assert_eq!(over.kind, ConflictKind::Reservation);
        assert!(over.over.is_some());
    }

    #[test]
    fn a_host_that_answers_for_every_address_does_not_empty_the_pool() {
        let wide = |network: &mut Network| network.ranges = vec![Range { first: ip(10), last: ip(109) }];
        let mut bench = Bench::with(wide);
        let asked = bench.probes(200);
        let told = asked
            .iter()
            .filter(|address| bench.leases.probed(&bench.networks, **address, Some(OTHER), bench.now).is_some())
            .count();
        assert_eq!((asked.len(), told), (100, 8), "a router that answers for all is believed eight times");
        let mut bench = Bench::with(wide);
        let many = bench.probes(200);
        let told = many.iter().enumerate().filter(|(n, address)| {
            let each = Mac([2, 9, 0, 0, 0, u8::try_from(*n).unwrap()]);
            bench.leases.probed(&bench.networks, **address, Some(each), bench.now).is_some()
        });
        assert_eq!(told.count(), 25, "and many hosts together keep a quarter at most");
    }

    #[test]
    fn probes_are_bounded_fresh_and_begin_anew_with_new_ranges() {
        let mut bench = Bench::with(|network| {
            network.subnet = "10.0.4.0/22".parse().unwrap();
            network.ranges = vec![Range { first: ip(10), last: Ipv4Addr::new(10, 0, 6, 250) }];
        });
        let first = bench.probes(10_000);
        assert_eq!(first.len(), STORE);
        first.iter().for_each(|address| assert_eq!(bench.probed(*address, None), None));
        assert_eq!(bench.probes(10), Vec::<Ipv4Addr>::new());
        bench.later(601);
        assert_eq!(
            bench.probes(3),
            first.iter().copied().take(3).collect::<Vec<_>>(),
            "an old word is asked for again"
        );
        let mut other = network();
        other.ranges = vec![Range { first: ip(40), last: ip(41) }];
        bench.networks = Networks::new(vec![other]).unwrap();
        bench.leases.networks_changed();
        assert_eq!(bench.probes(10), [ip(40), ip(41)]);
        let answer = bench.ask(&selecting(mac(1), ip(40)));
        let Answer::AfterCommit(change, _) = answer else { panic!("{answer:?}") };
        bench.leases.settle(&change, Outcome::Done, bench.now);
        assert_eq!(bench.probed(ip(40), Some(mac(1))), None, "it answers because it is its own");
    }

    #[test]
    fn b1_21_what_a_claim_amounts_to_is_told_by_how_the_address_is_held_and_whether_it_still_is() {
        use Hold::{Bound, Declined, Foreign, Free, Occupied, Offered};
        let held = |hold, left: i64| {
            let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(17) }]);
            let slot = Slot {
                network: "rack".to_owned(),
                mac: mac(1),
                hold,
                until: Millis(bench.now.0 + left),
                durable_until: None,
                size_limit: None,
                relay: None,
            };
            bench.leases.table.put(ip(11), slot);
            bench
        };
        for (hold, left, told, stays) in [
            (Bound, 1, Some(Some(mac(1))), true),
            (Declined, 1, Some(Some(mac(1))), true),
            (Offered, 1, None, true),
            (Foreign, 1, None, true),
            (Free, 1, None, true),
            (Occupied, 1, Some(None), false),
            (Bound, 0, Some(None), false),
            (Declined, 0, Some(None), false),
            (Offered, 0, Some(None), false),
            (Foreign, 0, Some(None), false),
            (Free, 0, Some(None), false),
            (Occupied, 0, Some(None), false),
        ] {
            let mut bench = held(hold, left);
            let conflict = bench.leases.claimed(&bench.networks, ip(11), OTHER, bench.now);
            let expected = told.map(|holder| Conflict {
                mac: Some(OTHER),
                holder,
                ..Conflict::new(bench.now, ConflictKind::Address, "rack", ip(11))
            });
            assert_eq!(conflict, expected, "{hold:?} {left}");
            let found = bench.leases.table.get(ip(11)).map(|slot| (slot.mac, slot.hold, slot.until.0 - bench.now.0));
            let after = if stays { (mac(1), hold, left) } else { (OTHER, Occupied, 3_600_000) };
            assert_eq!(found, Some(after), "{hold:?} {left}");
            assert_eq!(bench.leases.watched.contains_key(&ip(11)), conflict.is_some());
            let mut bench = held(hold, left);
            let itself = bench.leases.claimed(&bench.networks, ip(11), mac(1), bench.now);
            assert_eq!(itself.is_some(), hold == Occupied, "{hold:?} {left}");
        }
        let mut bench = Bench::with(|network| {
            network.reserved.insert(ip(12));
        });
        for (address, mac) in [(ip(11), Mac([1; 6])), (ip(200), OTHER), (ip(12), OTHER)] {
            assert_eq!(bench.leases.claimed(&bench.networks, address, mac, bench.now), None, "{address}");
        }
    }

    #[test]
    fn a_declined_address_is_watched_under_its_kind_and_rests_for_its_hour_though_nobody_answers() {
        for (reservation, kind) in [(None, ConflictKind::Address), (Some(ip(10)), ConflictKind::Reservation)] {
            let mut bench = Bench::new();
            bench.host.reservation = reservation;
            let address = bench.lease(mac(1));
            bench.ask(&Request { requested: Some(address), ..Request::of(mac(1), Kind::Decline) });
            let claimed = bench.leases.claimed(&bench.networks, address, OTHER, bench.now).unwrap();
            assert_eq!((claimed.kind, claimed.holder), (kind, Some(mac(1))));
            for _ in 0..4 {
                assert_eq!(bench.probed(address, Some(mac(1))), None, "it is no proof that its machine answers");
            }
            let rounds = [(); 3].map(|()| bench.probed(address, None).map(|over| (over.kind, over.over)));
            assert_eq!(rounds, [None, None, Some((kind, Some("nobody answers at the address any more")))]);
            assert_eq!(bench.leases.table.get(address).map(|slot| slot.hold), Some(Hold::Declined));
        }
    }

    #[test]
    fn an_address_in_conflict_is_asked_after_each_minute_and_a_probes_word_holds_for_ten() {
        let mut bench = Bench::new();
        assert_eq!(bench.probes(9).len(), 4);
        bench.probed(ip(10), Some(OTHER)).unwrap();
        (11..=13).for_each(|last| assert_eq!(bench.probed(ip(last), None), None));
        bench.now.0 += 59_999;
        assert_eq!(bench.probes(9), Vec::<Ipv4Addr>::new());
        bench.now.0 += 1;
        assert_eq!((bench.probes(0), bench.probes(9), bench.probes(9)), (vec![], vec![ip(10)], vec![]));
        bench.now.0 = 1_599_999;
        assert_eq!(bench.probes(9), [ip(10)]);
        bench.now.0 += 1;
        assert_eq!(bench.probes(2), [ip(11), ip(12)]);
        assert_eq!(bench.probed(ip(12), Some(OTHER)), None, "it keeps a quarter of the pool already");
        let offered = [bench.offer(1), bench.offer(2)];
        assert_eq!(offered, [ip(13), ip(11)], "known to be silent, being asked; not the one that answered");
    }

    #[test]
    fn what_was_silent_and_is_leased_since_is_not_offered_and_what_is_watched_is_bounded() {
        let mut bench = Bench::new();
        assert_eq!(bench.probes(2), [ip(10), ip(11)]);
        assert_eq!([bench.probed(ip(10), None), bench.probed(ip(13), None)], [None, None]);
        bench.reply(&selecting(mac(1), ip(10)));
        assert_eq!([bench.offer(2), bench.offer(3), bench.offer(4)], [ip(12), ip(13), ip(11)]);
        let address = |number: u16| Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number));
        (0..1_025)
            .for_each(|number| bench.leases.watch("rack", address(number), (ConflictKind::Address, None), bench.now));
        assert_eq!(bench.leases.watched.len(), 1_024);
    }

    #[test]
    fn only_what_a_host_keeps_from_this_network_now_counts_against_it() {
        let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(49) }]);
        let network = bench.networks.named("rack").unwrap().clone();
        let slot = |network: &str, hold, until| Slot {
            network: network.to_owned(),
            mac: OTHER,
            hold,
            until: Millis(until),
            durable_until: None,
            size_limit: None,
            relay: None,
        };
        let may = |bench: &Bench, believed| bench.leases.table.may_occupy(&network, OTHER, believed, 4, Millis(100));
        for (last, one) in [
            (10, slot("rack", Hold::Bound, 101)),
            (11, slot("rack", Hold::Occupied, 100)),
            (12, slot("other", Hold::Occupied, 101)),
        ] {
            bench.leases.table.put(ip(last), one);
            assert!(may(&bench, 1), "{last}");
        }
        bench.leases.table.put(ip(13), slot("rack", Hold::Occupied, 101));
        assert!(!may(&bench, 1) && may(&bench, 2));
        (14..22).for_each(|last| {
            bench.leases.table.put(ip(last), Slot { mac: mac(last), ..slot("rack", Hold::Occupied, 101) })
        });
        assert!(!may(&bench, 2), "a quarter of the pool is kept by all together");
        bench.leases.table.put(ip(14), slot("rack", Hold::Free, 101));
        assert!(may(&bench, 2));
        let mut small = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(10) }]);
        assert!(small.leases.claimed(&small.networks, ip(10), OTHER, small.now).is_some(), "at least one is believed");
    }
}
