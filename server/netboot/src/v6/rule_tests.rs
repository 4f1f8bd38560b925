//! Each rule of the exchange, one that is taken and one that is refused (B4.1, B4.3; RFC 8415).

use super::scene::{Scene, asks, at, duid, mac, network, ours};
use super::*;
use crate::lease::LeaseState;
use crate::{Host, Networks, Outcome};
use muster_names::Millis;

#[test]
fn b4_1_solicit_advertise_request_reply_leads_to_one_lease() {
    let mut scene = Scene::new();
    let advertised = scene.reply(1, &asks(Kind::Solicit, 1, &[]));
    assert_eq!((advertised.kind, advertised.xid), (ReplyKind::Advertise, 0x0102));
    assert_eq!((advertised.client_id, advertised.server_id), (Some(duid(1)), ours()));
    assert_eq!((*advertised.to.ip(), advertised.to.port()), (at("fe80::1234"), 546));
    let ia = advertised.ias.first().unwrap();
    assert_eq!((ia.iaid, ia.addresses[0]), (7, (at("fd00:77::1000"), 3150, 3600)));
    assert!(ia.renew_seconds <= ia.rebind_seconds && ia.rebind_seconds <= ia.addresses[0].1);
    assert!(scene.rows.is_empty(), "an offer is a hint in memory");
    let again = scene.reply(1, &asks(Kind::Solicit, 1, &[])).address();
    assert_eq!(again, advertised.ias[0].addresses.first().map(|given| given.0), "the same on repeat");
    let replied = scene.reply(1, &asks(Kind::Request, 1, &[at("fd00:77::1000")]));
    assert_eq!((replied.kind, replied.address()), (ReplyKind::Reply, Some(at("fd00:77::1000"))));
    let row = scene.rows.first().unwrap();
    assert_eq!((row.mac, row.state, row.until), (mac(1), LeaseState::Bound, Millis(scene.now.0 + 3_600_000)));
}

#[test]
fn b4_1_a_reply_with_an_address_waits_for_the_store_and_a_lost_race_gives_another_address() {
    let mut scene = Scene::new();
    let address = at("fd00:77::1000");
    let Answer::AfterCommit(change, _) = scene.answer(1, &asks(Kind::Request, 1, &[address])) else {
        panic!("a reply before the lease is durable")
    };
    scene.leases.settle(&change, Outcome::Taken, scene.now);
    assert_eq!(scene.reply(1, &asks(Kind::Request, 1, &[address])).address(), Some(at("fd00:77::1001")));
}

#[test]
fn b4_1_what_a_server_must_discard_is_discarded() {
    let mut scene = Scene::new();
    let address = [at("fd00:77::1000")];
    for kind in [Kind::Solicit, Kind::Confirm, Kind::Rebind] {
        let request = Request { server_id: Some(ours()), ..asks(kind, 1, &address) };
        assert_eq!(scene.silence(1, &request), Silence::ServerIdNotExpected(kind));
    }
    for kind in [Kind::Request, Kind::Renew, Kind::Release, Kind::Decline] {
        let request = Request { server_id: None, ..asks(kind, 1, &address) };
        assert_eq!(scene.silence(1, &request), Silence::NoServerId(kind));
    }
    for kind in [Kind::Solicit, Kind::Request, Kind::Confirm, Kind::Renew, Kind::Rebind, Kind::Release, Kind::Decline] {
        let request = Request { client_id: None, ..asks(kind, 1, &address) };
        assert_eq!(scene.silence(1, &request), Silence::NoClientId(kind));
    }
    assert_eq!(scene.silence(1, &asks(Kind::InformationRequest, 1, &[])), Silence::AddressesNotExpected);
    for code in [0, 2, 7, 10, 12, 13, 14, 255] {
        assert_eq!(scene.silence(1, &asks(Kind::from(code), 1, &[])), Silence::UnknownKind(code));
    }
    assert_eq!(scene.leases.remembered(), 0);
}

#[test]
fn b4_1_a_request_to_another_server_withdraws_our_offer_in_silence() {
    let mut scene = Scene::new();
    scene.reply(1, &asks(Kind::Solicit, 1, &[]));
    let request = Request { server_id: Some(vec![0, 4, 9, 9]), ..asks(Kind::Request, 1, &[at("fd00:77::1000")]) };
    assert_eq!(scene.silence(1, &request), Silence::OtherServer);
    let mut all: Vec<_> = (2..6).map(|number| scene.lease(number)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "the withdrawn address is free again");
}

#[test]
fn b4_1_rapid_commit_is_off_unless_the_network_says_so() {
    let solicit = Request { rapid_commit: true, ..asks(Kind::Solicit, 1, &[]) };
    let mut scene = Scene::new();
    let slow = scene.reply(1, &solicit);
    assert_eq!((slow.kind, slow.option(14), scene.rows.len()), (ReplyKind::Advertise, None, 0));
    let mut network = network();
    network.v6.as_mut().unwrap().rapid_commit = true;
    let mut scene = Scene::of(network);
    let fast = scene.reply(1, &solicit);
    assert_eq!((fast.kind, fast.option(14), scene.rows.len()), (ReplyKind::Reply, Some(&[][..]), 1));
    assert_eq!(scene.reply(2, &asks(Kind::Solicit, 2, &[])).kind, ReplyKind::Advertise, "only who asks for it");
}

#[test]
fn b4_1_renew_and_rebind_extend_a_lease_that_is_its_own() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    for kind in [Kind::Renew, Kind::Rebind] {
        scene.now.0 += 1_800_000;
        assert_eq!(scene.reply(1, &asks(kind, 1, &[address])).address(), Some(address));
        assert_eq!(scene.rows[0].until, Millis(scene.now.0 + 3_600_000), "{kind}");
    }
}

#[test]
fn b4_1_renew_of_what_is_not_its_own_is_told_so_and_rebind_is_taken_away() {
    let mut scene = Scene::new();
    let theirs = scene.lease(1);
    let renewed = scene.reply(2, &asks(Kind::Renew, 2, &[theirs]));
    assert_eq!((renewed.address(), renewed.ias[0].status), (None, Some(Status::NoBinding)));
    let rebound = scene.reply(2, &asks(Kind::Rebind, 2, &[theirs]));
    assert_eq!(rebound.ias[0].addresses, [(theirs, 0, 0)]);
    let elsewhere = scene.reply(2, &asks(Kind::Rebind, 2, &[at("fd00:99::5")]));
    assert_eq!(elsewhere.ias[0].addresses, [(at("fd00:99::5"), 0, 0)]);
    let mut shared = network();
    shared.authoritative = false;
    scene.networks = Networks::new(vec![shared]).unwrap();
    assert_eq!(scene.silence(2, &asks(Kind::Rebind, 2, &[theirs])), Silence::NotOurLease, "another server may know");
}

#[test]
fn b4_1_a_forgotten_lease_is_given_again_if_nobody_else_has_the_address() {
    let mut scene = Scene::new();
    let address = at("fd00:77::1002");
    assert_eq!(scene.reply(1, &asks(Kind::Rebind, 1, &[address])).address(), Some(address));
    assert_eq!(scene.reply(1, &asks(Kind::Renew, 1, &[at("fd00:77::1003")])).ias[0].status, Some(Status::NoBinding));
}

#[test]
fn b4_1_confirm_asks_whether_the_address_is_of_this_link_and_nothing_else() {
    let mut scene = Scene::new();
    let confirmed = scene.reply(1, &asks(Kind::Confirm, 1, &[at("fd00:77::4711")]));
    assert_eq!((confirmed.status, confirmed.ias.len()), (Some(Status::Success), 0));
    let elsewhere = scene.reply(1, &asks(Kind::Confirm, 1, &[at("fd00:77::4711"), at("fd00:99::5")]));
    assert_eq!(elsewhere.status, Some(Status::NotOnLink));
    assert_eq!(scene.silence(1, &asks(Kind::Confirm, 1, &[])), Silence::NothingToConfirm);
}

#[test]
fn b4_1_a_released_address_is_free_and_its_machine_still_gets_it_first() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    let released = scene.reply(1, &asks(Kind::Release, 1, &[address]));
    assert_eq!((released.status, scene.rows[0].state), (Some(Status::Success), LeaseState::Released));
    assert_eq!(scene.lease(1), address);
    let foreign = scene.reply(2, &asks(Kind::Release, 2, &[address]));
    assert_eq!(foreign.ias[0].status, Some(Status::NoBinding));
    assert_eq!(scene.rows[0].state, LeaseState::Bound, "nobody else gives it back");
}

#[test]
fn b4_1_a_declined_address_is_given_to_nobody_for_an_hour() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    assert_eq!(scene.reply(1, &asks(Kind::Decline, 1, &[address])).status, Some(Status::Success));
    assert_eq!(scene.rows[0].state, LeaseState::Declined);
    scene.restart();
    let others: Vec<_> = (1..4).map(|number| scene.lease(number)).collect();
    assert!(!others.contains(&address), "{others:?}");
    let none = scene.reply(5, &asks(Kind::Solicit, 5, &[]));
    assert_eq!((none.kind, none.ias[0].status), (ReplyKind::Advertise, Some(Status::NoAddrsAvail)));
    scene.now.0 += 61 * 60 * 1000;
    assert!(scene.reply(5, &asks(Kind::Solicit, 5, &[])).address().is_some());
    assert_eq!(scene.reply(6, &asks(Kind::Decline, 6, &[address])).ias[0].status, Some(Status::NoBinding));
}

#[test]
fn b4_1_a_request_for_another_link_is_told_so() {
    let mut scene = Scene::new();
    let refused = scene.reply(1, &asks(Kind::Request, 1, &[at("fd00:99::5")]));
    assert_eq!((refused.address(), refused.ias[0].status), (None, Some(Status::NotOnLink)));
    assert!(scene.rows.is_empty());
}

#[test]
fn b4_1_information_is_given_without_an_address_and_without_a_client_identifier() {
    let mut scene = Scene::new();
    let asked = Request { wanted: vec![23], ..Request::of(Kind::InformationRequest, 9) };
    let told = scene.reply(1, &asked);
    assert_eq!((told.kind, told.ias.len(), told.client_id.clone()), (ReplyKind::Reply, 0, None));
    assert_eq!(told.option(23), Some(&at("fd00:77::53").octets()[..]));
    let unasked = Request { wanted: vec![24], ..asked.clone() };
    assert_eq!(scene.reply(1, &unasked).option(23), None);
    let elsewhere = Request { server_id: Some(vec![0, 4, 1]), ..asked };
    assert_eq!(scene.silence(1, &elsewhere), Silence::OtherServer);
}

#[test]
fn b4_1_what_was_sent_to_one_server_alone_is_sent_back_to_all_or_discarded() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    let direct = Ingress { unicast: true, ..Scene::ingress(1) };
    for kind in [Kind::Request, Kind::Renew, Kind::Release, Kind::Decline] {
        let Answer::Now(reply) = scene.answer_at(direct, &asks(kind, 1, &[address])) else { panic!("{kind}") };
        assert_eq!((reply.status, reply.ias.len()), (Some(Status::UseMulticast), 0));
    }
    for kind in [Kind::Solicit, Kind::Confirm, Kind::Rebind] {
        let answer = scene.answer_at(direct, &asks(kind, 1, &[address]));
        assert_eq!(answer, Answer::Silent(Silence::SentToOneServer(kind)));
    }
}

#[test]
fn b4_1_a_relays_envelopes_come_back_and_the_nearest_link_address_names_the_network() {
    let mut scene = Scene::new();
    let mut inner = Relay::new(at("fd00:77::ff"), at("fe80::5054:ff:fe77:105"));
    inner.interface_id = Some(b"swp7".to_vec());
    let mut outer = Relay::new(at("fd00:99::1"), at("fd00:77::ff"));
    outer.hops = 1;
    let request = Request { relays: vec![outer, inner], ..asks(Kind::Solicit, 5, &[]) };
    let far = Ingress { source: at("fd00:99::1"), source_port: 33_000, unicast: true, ..Scene::ingress(9) };
    let Answer::Now(reply) = scene.answer_at(far, &request) else { panic!("no answer") };
    assert_eq!((reply.relays.clone(), reply.address()), (request.relays.clone(), Some(at("fd00:77::1000"))));
    assert_eq!((*reply.to.ip(), reply.to.port()), (at("fd00:99::1"), 547));
    let mut ported = request.clone();
    ported.relays[0].source_port = Some(0);
    let Answer::Now(reply) = scene.answer_at(far, &ported) else { panic!("no answer") };
    assert_eq!(reply.to.port(), 33_000, "RFC 8357");
    let mut unknown = request.clone();
    unknown.relays[1].link = at("fd00:98::1");
    assert_eq!(scene.answer_at(far, &unknown), Answer::Silent(Silence::UnknownRelay(at("fd00:98::1"))));
}

#[test]
fn b4_1_a_relay_that_names_no_link_is_believed_on_our_own_link_alone() {
    let mut scene = Scene::new();
    let relay = Relay { link_layer: Some((1, mac(5).0.to_vec())), ..Relay::new(at("::"), at("fe80::9")) };
    let request = Request { relays: vec![relay], ..asks(Kind::Solicit, 5, &[]) };
    let Answer::Now(reply) = scene.answer(9, &request) else { panic!("no answer") };
    assert_eq!((reply.address(), reply.to.port()), (Some(at("fd00:77::1000")), 547));
    let far = Ingress { source: at("fd00:99::1"), ..Scene::ingress(9) };
    assert_eq!(scene.answer_at(far, &request), Answer::Silent(Silence::UnknownRelay(at("::"))));
}

#[test]
fn b4_1_a_client_that_writes_a_foreign_source_is_not_answered_there() {
    let mut scene = Scene::new();
    let solicit = asks(Kind::Solicit, 1, &[]);
    for source in ["2001:db8::666", "fd00:77::1", "fd00:77::"] {
        let ingress = Ingress { source: at(source), ..Scene::ingress(1) };
        assert_eq!(scene.answer_at(ingress, &solicit), Answer::Silent(Silence::ForeignSource(at(source))));
    }
    let ingress = Ingress { source: at("fd00:77::4711"), ..Scene::ingress(1) };
    assert!(matches!(scene.answer_at(ingress, &solicit), Answer::Now(_)));
    let ingress = Ingress { interface: "eth9", ..Scene::ingress(1) };
    assert_eq!(scene.answer_at(ingress, &solicit), Answer::Silent(Silence::NoNetwork));
}

#[test]
fn b4_1_a_second_need_temporary_addresses_and_prefixes_are_refused_one_by_one() {
    let mut scene = Scene::new();
    let mut request = asks(Kind::Solicit, 1, &[]);
    request.ias.push(Ia { iaid: 8, addresses: vec![at("fd00:77::1003")] });
    request.others = vec![(4, 1), (25, 2)];
    let reply = scene.reply(1, &request);
    assert_eq!(reply.ias[0].addresses[0].0, at("fd00:77::1003"), "it said which one it wishes");
    let refused: Vec<_> = reply.ias[1..].iter().map(|ia| (ia.code, ia.iaid, ia.status.unwrap())).collect();
    assert_eq!(refused, [(3, 8, Status::NoAddrsAvail), (4, 1, Status::NoAddrsAvail), (25, 2, Status::NoPrefixAvail)]);
}

#[test]
fn b4_3_one_machine_has_one_address_whatever_duids_and_needs_its_stages_send() {
    let mut scene = Scene::new();
    let firmware = Request { client_id: Some([&[0, 4][..], &[7; 16]].concat()), ..asks(Kind::Solicit, 1, &[]) };
    let first = scene.reply(1, &firmware).address();
    let taken = Request { server_id: Some(ours()), kind: Kind::Request, ..firmware };
    assert_eq!(scene.reply(1, &taken).address(), first);
    let loader = scene.lease(1);
    let mut system = asks(Kind::Solicit, 1, &[]);
    (system.client_id, system.ias[0].iaid) = (Some(vec![0, 2, 0, 0, 0xab, 0x11, 1, 2, 3]), 99);
    assert_eq!((Some(loader), scene.reply(1, &system).address()), (first, first));
    assert_eq!(scene.rows.len(), 1);
    assert_ne!(Some(scene.lease(2)), first);
}

#[test]
fn b4_3_what_one_need_gives_back_while_another_still_uses_it_is_not_free() {
    let mut scene = Scene::new();
    let need = |kind, iaid, addresses: &[_]| {
        let mut request = asks(kind, 1, addresses);
        request.ias[0].iaid = iaid;
        request
    };
    let address = scene.reply(1, &need(Kind::Request, 7, &[])).address().unwrap();
    assert_eq!(scene.reply(1, &need(Kind::Request, 8, &[])).address(), Some(address));
    for iaid in [8, 8, 9] {
        assert_eq!(scene.reply(1, &need(Kind::Release, iaid, &[address])).status, Some(Status::Success));
        assert_eq!(scene.rows[0].state, LeaseState::Bound, "the other one still loads");
    }
    assert_eq!(scene.reply(1, &need(Kind::Release, 7, &[address])).status, Some(Status::Success));
    assert_eq!(scene.rows[0].state, LeaseState::Released);
    scene.reply(1, &need(Kind::Request, 7, &[]));
    scene.restart();
    scene.reply(1, &need(Kind::Release, 7, &[address]));
    assert_eq!(scene.rows[0].state, LeaseState::Bound, "after a restart nobody knows who else has it");
    scene.now.0 += 3_600_001;
    scene.reply(1, &need(Kind::Request, 7, &[]));
    scene.reply(1, &need(Kind::Release, 7, &[address]));
    assert_eq!(scene.rows[0].state, LeaseState::Released, "a lease that ended is nobody's any more");
}

#[test]
fn b4_3_who_cannot_be_told_apart_gets_no_address() {
    let mut scene = Scene::new();
    let uuid = Some([&[0, 4][..], &[7; 16]].concat());
    let relayed = |kind, addresses: &[_]| Request {
        client_id: uuid.clone(),
        relays: vec![Relay::new(at("fd00:77::ff"), at("fe80::9"))],
        ..asks(kind, 1, addresses)
    };
    assert_eq!(scene.silence(9, &relayed(Kind::Solicit, &[])), Silence::NoHardwareAddress);
    // Heard once beside its hardware address, it is known by its UUID alone, also after a restart.
    let direct = Request { relays: Vec::new(), ..relayed(Kind::Request, &[at("fd00:77::1000")]) };
    assert!(scene.reply(1, &direct).address().is_some());
    scene.restart();
    assert_eq!(scene.reply(9, &relayed(Kind::Solicit, &[])).address(), Some(at("fd00:77::1000")));
}

#[test]
fn a_stranger_beside_another_server_is_not_ours_to_answer() {
    let mut shared = network();
    shared.authoritative = false;
    let mut scene = Scene::of(shared);
    scene.host = Host::default();
    assert_eq!(scene.silence(1, &asks(Kind::Solicit, 1, &[])), Silence::Stranger);
    scene.host.ours = true;
    assert!(scene.reply(1, &asks(Kind::Solicit, 1, &[])).address().is_some());
}

#[test]
fn while_the_store_is_away_known_leases_are_confirmed_for_their_remaining_time_and_nothing_is_allocated() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    scene.leases.store_is_away(true);
    scene.now.0 += 3_000_000;
    let renewed = scene.reply(1, &asks(Kind::Renew, 1, &[address]));
    assert_eq!(renewed.ias[0].addresses[0].2, 600, "no longer than the store knows");
    assert_eq!(scene.silence(2, &asks(Kind::Solicit, 2, &[])), Silence::StoreAway);
    assert_eq!(scene.silence(2, &asks(Kind::Rebind, 2, &[at("fd00:77::1002")])), Silence::StoreAway);
    scene.leases.store_is_away(false);
    assert!(scene.reply(2, &asks(Kind::Solicit, 2, &[])).address().is_some());
}

#[test]
fn invented_machines_take_no_more_memory_than_the_range_has_addresses() {
    let mut scene = Scene::new();
    for number in 0..200 {
        scene.answer(number, &asks(Kind::Solicit, number, &[]));
    }
    assert_eq!(scene.leases.remembered(), 4);
    scene.now.0 += 121_000;
    assert!(scene.reply(250, &asks(Kind::Solicit, 250, &[])).address().is_some(), "offers are forgotten");
}

#[test]
fn b4_5_a_machine_whose_first_messages_are_lost_is_offered_the_same_address_each_time_it_asks() {
    let mut scene = Scene::new();
    let mut offered = Vec::new();
    for (xid, seconds) in [(1, 0), (1, 1), (1, 3), (2, 7), (3, 15)] {
        scene.now = Millis(scene::START.0 + seconds * 1000);
        offered.push(scene.reply(1, &Request { xid, ..asks(Kind::Solicit, 1, &[]) }).address());
    }
    offered.dedup();
    assert_eq!(offered.len(), 1);
    let wishes = scene.reply(1, &asks(Kind::Solicit, 1, &[at("fd00:77::1003")]));
    assert_eq!(wishes.address(), offered[0], "a wish does not take a second one");
}
