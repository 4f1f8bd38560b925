//! The edges of the rules over IPv6: what is another's beside what is one's own, and every word of a reply.

use super::scene::{Scene, asks, at, duid, mac, network, ours};
use super::*;
use crate::lease::LeaseState;
use crate::{Networks, Outcome};

fn elsewhere(kind: Kind, number: u8, address: std::net::Ipv6Addr) -> Request {
    Request { server_id: Some(vec![0, 4, 9, 9]), ..asks(kind, number, &[address]) }
}

#[test]
fn b4_1_the_word_of_the_store_counts_for_the_lease_it_is_of_and_for_no_other() {
    let address = at("fd00:77::1000");
    let confirmed = |scene: &mut Scene| {
        scene.leases.store_is_away(true);
        let answer = scene.answer(1, &asks(Kind::Renew, 1, &[address]));
        scene.leases.store_is_away(false);
        matches!(answer, Answer::Now(reply) if reply.address() == Some(address))
    };
    let mut scene = Scene::new();
    let Answer::AfterCommit(mine, _) = scene.answer(1, &asks(Kind::Request, 1, &[address])) else { panic!("no grant") };
    let foreign = LeaseChange { lease: Lease { mac: mac(2), ..mine.lease.clone() }, ..*mine.clone() };
    let declined = LeaseChange { lease: Lease { state: LeaseState::Declined, ..mine.lease.clone() }, ..*mine.clone() };
    for (change, outcome) in [(&foreign, Outcome::Done), (&foreign, Outcome::Taken), (&declined, Outcome::Done)] {
        scene.leases.settle(change, outcome, scene.now);
        assert!(!confirmed(&mut scene), "{change:?}");
    }
    scene.leases.settle(&mine, Outcome::Done, scene.now);
    assert!(confirmed(&mut scene));
    scene.reply(1, &asks(Kind::Release, 1, &[address]));
    scene.leases.settle(&mine, Outcome::Taken, scene.now);
    assert_eq!(scene.lease(1), address, "it was given back since, and is its own still");
}

#[test]
fn b4_1_an_address_of_another_daemon_is_left_alone_for_ten_minutes_and_an_offer_for_two() {
    let mut one = network();
    one.v6.as_mut().unwrap().range = (at("fd00:77::1000"), at("fd00:77::1000"));
    let mut scene = Scene::of(one);
    let address = at("fd00:77::1000");
    let Answer::AfterCommit(change, _) = scene.answer(1, &asks(Kind::Request, 1, &[address])) else {
        panic!("no grant")
    };
    scene.leases.settle(&change, Outcome::Taken, scene.now);
    let offered = |scene: &mut Scene, number| scene.reply(number, &asks(Kind::Solicit, number, &[])).address();
    scene.now.0 += 599_999;
    assert_eq!(offered(&mut scene, 1), None);
    scene.now.0 += 1;
    assert_eq!(offered(&mut scene, 1), Some(address));
    scene.now.0 += 119_999;
    assert_eq!(offered(&mut scene, 2), None);
    scene.now.0 += 1;
    assert_eq!(offered(&mut scene, 2), Some(address));
}

#[test]
fn b4_1_only_a_request_to_another_server_withdraws_an_offer_and_a_lease_is_never_withdrawn() {
    let mut one = network();
    one.v6.as_mut().unwrap().range = (at("fd00:77::1000"), at("fd00:77::1000"));
    let mut scene = Scene::of(one);
    let address = scene.reply(1, &asks(Kind::Solicit, 1, &[])).address().unwrap();
    let free = |scene: &mut Scene| scene.reply(2, &asks(Kind::Solicit, 2, &[])).address().is_some();
    for kind in [Kind::Renew, Kind::Release, Kind::Decline] {
        assert_eq!(scene.silence(1, &elsewhere(kind, 1, address)), Silence::OtherServer);
        assert!(!free(&mut scene), "{kind}");
    }
    assert_eq!(scene.lease(1), address);
    assert_eq!(scene.silence(1, &elsewhere(Kind::Request, 1, address)), Silence::OtherServer);
    assert!(!free(&mut scene), "it is leased");
    scene.reply(1, &asks(Kind::Release, 1, &[address]));
    assert!(free(&mut scene));
}

#[test]
fn b4_1_a_wish_is_granted_where_it_is_free_and_ours_to_give() {
    let mut scene = Scene::new();
    let wish =
        |scene: &mut Scene, number, text| scene.reply(number, &asks(Kind::Solicit, number, &[at(text)])).address();
    assert_eq!(wish(&mut scene, 1, "fd00:77::1002"), Some(at("fd00:77::1002")));
    assert_eq!(wish(&mut scene, 2, "fd00:77::1002"), Some(at("fd00:77::1000")), "it is another's");
    assert_eq!(wish(&mut scene, 3, "fd00:77::4711"), Some(at("fd00:77::1001")), "it is not of the range");
    assert_eq!(wish(&mut scene, 4, "fd00:77::1"), Some(at("fd00:77::1003")));
    let mut scene = Scene::new();
    scene.lease(1);
    for (kind, text) in [(Kind::Rebind, "fd00:77::1000"), (Kind::Rebind, "fd00:77::4711")] {
        assert_eq!(scene.reply(2, &asks(kind, 2, &[at(text)])).address(), None, "{text}");
    }
    let both = [at("fd00:77::1000"), at("fd00:77::1001")];
    assert_eq!(scene.reply(2, &asks(Kind::Rebind, 2, &both)).address(), Some(both[1]));
}

#[test]
fn b4_1_an_offer_and_what_one_of_two_needs_declines_are_given_up_at_once() {
    let mut scene = Scene::new();
    let offered = scene.reply(1, &asks(Kind::Solicit, 1, &[])).address().unwrap();
    assert_eq!(scene.reply(2, &asks(Kind::Release, 2, &[offered])).ias[0].status, Some(Status::NoBinding));
    assert_eq!(scene.reply(1, &asks(Kind::Release, 1, &[offered])).status, Some(Status::Success));
    assert_eq!(scene.rows[0].state, LeaseState::Released);
    assert_eq!(scene.reply(1, &asks(Kind::Decline, 1, &[offered])).ias[0].status, Some(Status::NoBinding));
    let address = scene.lease(1);
    let mut other = asks(Kind::Request, 1, &[address]);
    other.ias[0].iaid = 8;
    scene.reply(1, &other);
    assert_eq!(scene.reply(1, &asks(Kind::Decline, 1, &[address])).status, Some(Status::Success));
    assert_eq!(scene.rows[0].state, LeaseState::Declined, "somebody else is on it, whoever needs it");
}

#[test]
fn b4_1_without_the_store_nothing_is_committed_at_once_and_the_last_second_to_nobody() {
    let mut rapid = network();
    rapid.v6.as_mut().unwrap().rapid_commit = true;
    let mut scene = Scene::of(rapid);
    let address = scene.lease(1);
    scene.leases.store_is_away(true);
    let solicit = Request { rapid_commit: true, ..asks(Kind::Solicit, 1, &[]) };
    assert_eq!(scene.reply(1, &solicit).kind, ReplyKind::Advertise);
    scene.now.0 += 3_599_000;
    let seconds = |reply: Reply| reply.ias[0].addresses[0].2;
    assert_eq!(seconds(scene.reply(1, &asks(Kind::Renew, 1, &[address]))), 1);
    scene.now.0 += 1;
    assert_eq!(scene.silence(1, &asks(Kind::Renew, 1, &[address])), Silence::StoreAway);
    assert_eq!(scene.silence(2, &asks(Kind::Request, 2, &[])), Silence::StoreAway);
}

#[test]
fn b4_1_a_boot_stage_gets_a_short_lease_which_never_cuts_a_longer_one() {
    let mut scene = Scene::new();
    let address = scene.lease(1);
    let end = scene.rows[0].until;
    let firmware =
        Request { vendor_class: Some(b"PXEClient".to_vec()), archs: vec![7], ..asks(Kind::Renew, 1, &[address]) };
    let reply = scene.reply(1, &firmware);
    let ia = IaReply {
        code: 3,
        iaid: 7,
        renew_seconds: 150,
        rebind_seconds: 225,
        addresses: vec![(address, 259, 300)],
        status: None,
    };
    assert_eq!((reply.ias, scene.rows[0].until), (vec![ia], end));
}

#[test]
fn b4_1_what_a_server_must_discard_is_discarded_for_each_reason_alone() {
    let mut scene = Scene::new();
    let information = Request::of(Kind::InformationRequest, 1);
    let others = Request { others: vec![(25, 1)], ..information.clone() };
    assert_eq!(scene.silence(1, &others), Silence::AddressesNotExpected);
    let mine = Request { server_id: Some(ours()), ..information };
    assert_eq!(scene.reply(1, &mine).kind, ReplyKind::Reply, "sent to us by name");
    // A relay may send to us alone what a client may not.
    let relay = Relay::new(at("fd00:77::ff"), at("fe80::5054:ff:fe77:101"));
    let solicit = Request { relays: vec![relay], ..asks(Kind::Solicit, 1, &[]) };
    let direct = Ingress { unicast: true, source: at("2001:db8::1"), ..Scene::ingress(9) };
    assert!(matches!(scene.answer_at(direct, &solicit), Answer::Now(_)));
    // A stranger on a link of which we are the authority is answered, and whoever is ours on any.
    scene.host = crate::Host::default();
    assert!(scene.reply(2, &asks(Kind::Solicit, 2, &[])).address().is_some());
    let mut silent = network();
    (silent.name, silent.interface, silent.v6) = ("other".to_owned(), Some("eth1".to_owned()), None);
    silent.subnet = "10.78.0.0/24".parse().unwrap();
    silent.server = "10.78.0.1".parse().unwrap();
    scene.networks = Networks::new(vec![silent, network()]).unwrap();
    let on = |interface| Ingress { interface, ..Scene::ingress(3) };
    assert_eq!(scene.answer_at(on("eth1"), &asks(Kind::Solicit, 3, &[])), Answer::Silent(Silence::NoNetwork));
    assert!(matches!(scene.answer_at(on("eth0"), &asks(Kind::Solicit, 3, &[])), Answer::Now(_)));
}

#[test]
fn b4_2_name_servers_are_told_to_who_asks_for_them_or_for_nothing_in_particular() {
    let mut scene = Scene::new();
    let dns = |scene: &mut Scene, wanted| {
        scene.reply(1, &Request { wanted, ..asks(Kind::Solicit, 1, &[]) }).option(23).is_some()
    };
    assert_eq!([dns(&mut scene, vec![]), dns(&mut scene, vec![23]), dns(&mut scene, vec![59])], [true, true, false]);
    let mut mute = network();
    mute.v6.as_mut().unwrap().dns.clear();
    assert!(!dns(&mut Scene::of(mute), vec![]), "an empty list is not told");
}

#[test]
fn b4_2_what_is_asked_over_ipv6_is_put_in_the_words_of_ipv4() {
    let request = Request {
        user_classes: vec![b"other".to_vec(), b"iPXE".to_vec()],
        vendor_class: Some(b"PXEClient".to_vec()),
        archs: vec![7, 16],
        ..asks(Kind::Solicit, 1, &[])
    };
    let plain = crate::Request {
        xid: 0x0102,
        vendor_class: request.vendor_class.clone(),
        user_class: Some(b"iPXE".to_vec()),
        archs: vec![7, 16],
        ..crate::Request::of(mac(1), crate::Kind::Request)
    };
    assert_eq!(request.as_asked_over_v4(mac(1)), plain);
    let other = Request { user_classes: vec![b"a".to_vec(), b"b".to_vec()], ..request };
    assert_eq!(other.as_asked_over_v4(mac(1)).user_class, Some(b"a".to_vec()));
}

#[test]
fn every_message_and_status_of_ipv6_has_its_number_and_its_words() {
    let kinds = [
        (1, "solicit", "SOLICIT"),
        (3, "request", "REQUEST"),
        (4, "confirm", "CONFIRM"),
        (5, "renew", "RENEW"),
        (6, "rebind", "REBIND"),
        (8, "release", "RELEASE"),
        (9, "decline", "DECLINE"),
        (11, "information-request", "INFORMATION-REQUEST"),
        (12, "other", "message type 12"),
    ];
    for (code, label, words) in kinds {
        assert_eq!((Kind::from(code).label(), Kind::from(code).to_string().as_str()), (label, words));
    }
    let mut scene = Scene::new();
    let mut reply = scene.reply(1, &asks(Kind::Solicit, 1, &[]));
    let said = |reply: &mut Reply, valid, status| {
        reply.ias[0].addresses[0].2 = valid;
        reply.status = status;
        reply.to_string()
    };
    assert_eq!(said(&mut reply, 1, None), "ADVERTISE fd00:77::1000; not a boot client");
    assert_eq!(said(&mut reply, 0, None), "ADVERTISE without an address; not a boot client", "it was taken away");
    for (status, words) in [
        (Status::Success, "done"),
        (Status::NoAddrsAvail, "no address is free for it"),
        (Status::NoBinding, "no such lease"),
        (Status::NotOnLink, "the address is not of this link"),
        (Status::UseMulticast, "ask all servers, not this one"),
        (Status::NoPrefixAvail, "no prefixes are given here"),
    ] {
        assert_eq!(said(&mut reply, 0, Some(status)), format!("ADVERTISE: {words}"));
    }
    assert_eq!(duid(1).len(), 10);
}
