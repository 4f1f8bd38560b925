//! The edges of the lease rules: the last millisecond that counts and the first that does not, and what is another's
//! beside what is one's own.

use super::rule_tests::{BROADCAST, Bench, SERVER, direct, init_reboot, ip, is_nak, mac, renewing, selecting};
use super::*;
use crate::{Range, Relay};

#[test]
fn b1_16_what_is_remembered_of_naks_is_bounded_by_forgetting_those_of_a_second_ago() {
    let mut bench = Bench::new();
    let wrong = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        selecting(Mac([2, 0, a, b, c, d]), ip(200))
    };
    for number in 0..20_000 {
        assert!(is_nak(&bench.ask(&wrong(number))));
    }
    bench.now.0 += 999;
    assert_eq!(bench.ask(&wrong(1)), Answer::Silent(Silence::NakTooSoon));
    assert!(is_nak(&bench.ask(&wrong(20_000))));
    assert_eq!(bench.leases.naks.len(), 20_001, "none of them may be forgotten yet");
    bench.now.0 += 1;
    assert!(is_nak(&bench.ask(&wrong(20_001))));
    assert_eq!(bench.leases.naks.len(), 2);
    let mut few = Bench::new();
    assert!(is_nak(&few.ask(&wrong(1))));
    few.later(9);
    assert!(is_nak(&few.ask(&wrong(2))));
    assert_eq!(few.leases.naks.len(), 2, "no walk while there is room");
}

#[test]
fn b1_12_a_renewal_is_one_that_the_client_sent_to_us_and_not_its_relay() {
    let relay = |flags| Some(Relay::read(&[1, 1, 7, 10, 1, flags]));
    let request = renewing(mac(1), ip(200));
    let relayed = |relay| Request { giaddr: ip(254), relay, ..request.clone() };
    for (request, unicast, to_us) in [
        (request.clone(), true, true),
        (request.clone(), false, false),
        (relayed(relay(0x80)), false, true),
        (relayed(relay(0)), false, false),
        (relayed(relay(0)), true, true),
        (relayed(None), true, false),
    ] {
        let answer = Bench::new().ask_by(&request, Ingress { unicast, ..BROADCAST });
        assert_eq!(is_nak(&answer), to_us, "{request:?} {answer:?}");
    }
}

#[test]
fn b1_11_beside_another_authority_only_who_is_known_here_is_refused_a_wrong_address() {
    let mut modest = Bench::with(|network| network.authoritative = false);
    let wrong = Ipv4Addr::new(192, 168, 1, 5);
    assert_eq!(modest.ask(&init_reboot(mac(1), wrong)), Answer::Silent(Silence::NotOurLease));
    modest.lease(mac(1));
    assert!(is_nak(&modest.ask(&init_reboot(mac(1), wrong))));
    assert_eq!(modest.ask(&renewing(mac(1), wrong)), Answer::Silent(Silence::NotOurLease), "to everybody");
}

#[test]
fn b1_10_who_goes_to_another_server_takes_nobody_elses_offer_and_no_lease_with_it() {
    let mut bench = Bench::new();
    let offered = bench.reply(&Request::of(mac(2), Kind::Discover)).yiaddr;
    let away = |last, address| Request { server_id: Some(ip(77)), ..selecting(mac(last), address) };
    bench.ask(&away(1, offered));
    assert_eq!(bench.leases.table.get(offered).map(|slot| slot.hold), Some(Hold::Offered), "it is another's");
    let leased = bench.lease(mac(3));
    bench.ask(&away(3, leased));
    assert_eq!(bench.leases.table.get(leased).map(|slot| slot.hold), Some(Hold::Bound));
    bench.ask(&away(2, ip(77)));
    assert_eq!(bench.leases.table.get(offered).map(|slot| slot.hold), Some(Hold::Free));
}

#[test]
fn b1_9_an_address_that_is_asked_for_is_offered_if_it_is_free_and_of_our_ranges() {
    let mut bench = Bench::new();
    let wish = |last, address| Request { requested: Some(address), ..Request::of(mac(last), Kind::Discover) };
    assert_eq!(bench.reply(&wish(1, ip(12))).yiaddr, ip(12));
    assert_eq!(bench.reply(&wish(2, ip(12))).yiaddr, ip(10), "it is another's");
    assert_eq!(bench.reply(&wish(3, ip(200))).yiaddr, ip(11), "it is not of our ranges");
}

#[test]
fn b1_9_a_lease_is_told_with_its_half_and_seven_eighths_and_a_discover_does_not_cut_it() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    let hold = |bench: &mut Bench| {
        let offer = bench.reply(&Request::of(mac(1), Kind::Discover));
        assert_eq!(offer.yiaddr, address);
        let seconds = [51, 58, 59].map(|code| offer.option(code).map(<[u8]>::to_vec));
        assert_eq!(seconds, [3600u32, 1800, 3150].map(|seconds| Some(seconds.to_be_bytes().to_vec())));
        bench.leases.table.get(address).map(|slot| (slot.hold, slot.until.0 - bench.now.0))
    };
    bench.now.0 += 3_599_999;
    assert_eq!(hold(&mut bench), Some((Hold::Bound, 1)));
    bench.now.0 += 1;
    assert_eq!(hold(&mut bench), Some((Hold::Offered, 120_000)));
}

#[test]
fn a_reservation_binds_where_it_can_be_an_address_of_the_network_and_not_ours() {
    for (reservation, leased) in [
        (ip(100), ip(100)),
        (SERVER, ip(10)),
        (ip(0), ip(10)),
        (ip(255), ip(10)),
        (Ipv4Addr::new(10, 0, 5, 100), ip(10)),
    ] {
        let mut bench = Bench::new();
        bench.host.reservation = Some(reservation);
        assert_eq!(bench.lease(mac(1)), leased, "{reservation}");
    }
    let mut bench = Bench::new();
    bench.host.reservation = Some(ip(10));
    assert_eq!(bench.lease(mac(1)), ip(10));
    assert_eq!(bench.ask(&Request::of(mac(2), Kind::Discover)), Answer::Silent(Silence::ReservationTaken(ip(10))));
}

#[test]
fn a1_1_the_word_of_the_store_counts_for_the_lease_it_is_of_and_for_no_other() {
    let mut bench = Bench::new();
    let Answer::AfterCommit(mine, _) = bench.ask(&selecting(mac(1), ip(10))) else { panic!("no grant") };
    let slot = |bench: &Bench| bench.leases.table.get(ip(10)).map(|slot| (slot.mac, slot.hold, slot.durable_until));
    let foreign = LeaseChange { lease: Lease { mac: mac(2), ..mine.lease.clone() }, ..*mine.clone() };
    for outcome in [Outcome::Done, Outcome::Taken] {
        bench.leases.settle(&foreign, outcome, bench.now);
        assert_eq!(slot(&bench), Some((mac(1), Hold::Bound, None)));
    }
    let declined = LeaseChange { lease: Lease { state: LeaseState::Declined, ..mine.lease.clone() }, ..*mine.clone() };
    bench.leases.settle(&declined, Outcome::Done, bench.now);
    assert_eq!(slot(&bench), Some((mac(1), Hold::Bound, None)), "only a grant is durable");
    bench.leases.settle(&mine, Outcome::Done, bench.now);
    assert_eq!(slot(&bench), Some((mac(1), Hold::Bound, Some(mine.lease.until))));
    bench.ask(&Request { ciaddr: ip(10), ..Request::of(mac(1), Kind::Release) });
    bench.leases.settle(&mine, Outcome::Taken, bench.now);
    assert_eq!(slot(&bench), Some((mac(1), Hold::Free, None)), "it was given back since");
    for kind in [Kind::Release, Kind::Decline] {
        let again = Request { ciaddr: ip(10), requested: Some(ip(10)), ..Request::of(mac(1), kind) };
        assert_eq!(bench.ask(&again), Answer::Silent(Silence::NotTheHolder));
    }
}

#[test]
fn a1_1_an_address_of_another_daemon_is_left_alone_for_ten_minutes() {
    let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(10) }]);
    let Answer::AfterCommit(change, _) = bench.ask(&selecting(mac(1), ip(10))) else { panic!("no grant") };
    bench.leases.settle(&change, Outcome::Taken, bench.now);
    bench.now.0 += 599_999;
    assert_eq!(bench.ask(&Request::of(mac(1), Kind::Discover)), Answer::Silent(Silence::PoolExhausted));
    bench.now.0 += 1;
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, ip(10));
    bench.now.0 += 119_999;
    assert_eq!(bench.ask(&Request::of(mac(2), Kind::Discover)), Answer::Silent(Silence::PoolExhausted), "an offer");
    bench.now.0 += 1;
    assert_eq!(bench.reply(&Request::of(mac(2), Kind::Discover)).yiaddr, ip(10));
}

#[test]
fn what_is_learned_of_a_lease_does_not_cut_a_longer_one_of_the_same_machine() {
    let until = 5_000_000;
    let lease = |last, state, until| Lease {
        network: "rack".to_owned(),
        address: ip(10),
        mac: mac(last),
        state,
        until: Millis(until),
        relay: None,
    };
    for (learned, holder, hold, end) in [
        (lease(1, LeaseState::Bound, until - 1), 1, Hold::Bound, until),
        (lease(1, LeaseState::Bound, until + 1), 1, Hold::Bound, until + 1),
        (lease(2, LeaseState::Bound, until - 1), 2, Hold::Bound, until - 1),
        (lease(1, LeaseState::Released, until - 1), 1, Hold::Free, until - 1),
        (lease(1, LeaseState::Declined, until - 1), 1, Hold::Declined, until - 1),
    ] {
        let mut leases = Leases::restore([lease(1, LeaseState::Bound, until)]);
        leases.learn(learned.clone());
        let found = leases.table.get(ip(10)).map(|slot| (slot.mac, slot.hold, slot.until));
        assert_eq!(found, Some((mac(holder), hold, Millis(end))), "{learned:?}");
        assert_eq!((leases.held("rack", Millis(1)), leases.knows(mac(holder)), leases.knows(mac(9))), (1, true, false));
    }
}

#[test]
fn what_one_machine_told_of_its_place_and_size_is_not_the_next_ones() {
    let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(10) }]);
    let place = Some(Relay::read(&[1, 1, 7]));
    let wide = Request { max_size: Some(1472), relay: place, giaddr: ip(254), ..Request::of(mac(1), Kind::Discover) };
    bench.reply(&wide);
    assert_eq!(bench.reply(&selecting(mac(1), ip(10))).size_limit, 1444);
    bench.later(3600);
    let Answer::AfterCommit(change, Some(ack)) = bench.ask(&selecting(mac(2), ip(10))) else { panic!("no ACK") };
    assert_eq!((change.lease.relay, ack.size_limit), (None, 548));
}

#[test]
fn a1_3_without_the_store_the_last_second_of_a_lease_is_confirmed_to_nobody() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    bench.leases.store_is_away(true);
    bench.now.0 += 3_599_000;
    let Answer::Now(ack) = bench.ask_by(&renewing(mac(1), address), direct(address)) else { panic!("no ACK") };
    assert_eq!(ack.option(51), Some(&1u32.to_be_bytes()[..]));
    bench.now.0 += 1;
    let answer = bench.ask_by(&renewing(mac(1), address), direct(address));
    assert_eq!(answer, Answer::Silent(Silence::StoreAway));
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, address);
    bench.now.0 += 999;
    assert_eq!(bench.ask(&Request::of(mac(1), Kind::Discover)), Answer::Silent(Silence::StoreAway));
}
