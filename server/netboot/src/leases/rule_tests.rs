//! The lease rules, one by one, as accepted and as refused; names begin with the rule's id.

use super::*;
use crate::{Boot, Destination, FirstFile, Range, Relay, Subnet};
use std::net::SocketAddrV4;

pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);
pub(super) const BROADCAST: Ingress<'static> =
    Ingress { interface: "eth0", source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), unicast: false, port: 67 };

pub(super) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 4, last)
}

pub(super) fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

pub(super) fn network() -> Network {
    let subnet = Subnet::new(ip(0), 24).unwrap();
    let mut network = Network::new("rack", subnet, SERVER, "http://10.0.4.1:8080");
    network.interface = Some("eth0".to_owned());
    network.ranges = vec![Range { first: ip(10), last: ip(13) }];
    network.authoritative = true;
    let files = [(7, "ipxe.efi"), (0, "undionly.kpxe"), (16, "ipxe-http.efi")];
    network.loaders.by_arch = files.map(|(arch, file)| (arch, FirstFile::new(file))).into();
    network
}

/// A server with one network, and a clock that only the test moves.
#[derive(Clone)]
pub(super) struct Bench {
    pub networks: Networks,
    pub leases: Leases,
    pub host: Host,
    pub now: Millis,
}

impl Bench {
    pub fn with(change: impl FnOnce(&mut Network)) -> Self {
        let mut one = network();
        change(&mut one);
        let host = Host { ours: true, boot: Boot::Agent, ..Host::default() };
        Self { networks: Networks::new(vec![one]).unwrap(), leases: Leases::default(), host, now: Millis(1_000_000) }
    }

    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn ask(&mut self, request: &Request) -> Answer {
        self.ask_by(request, BROADCAST)
    }

    pub fn ask_by(&mut self, request: &Request, ingress: Ingress<'_>) -> Answer {
        let host = self.host.clone();
        self.leases.answer(&self.networks, request, ingress, &|_| host.clone(), self.now)
    }

    pub fn later(&mut self, seconds: i64) {
        self.now.0 += seconds * 1000;
    }

    pub fn reply(&mut self, request: &Request) -> Reply {
        match self.ask(request) {
            Answer::Now(reply) => *reply,
            Answer::AfterCommit(change, reply) => {
                self.leases.settle(&change, Outcome::Done, self.now);
                *reply.unwrap()
            }
            Answer::Silent(why) => panic!("silent: {why}"),
        }
    }

    /// The four-way exchange of one machine.
    pub fn lease(&mut self, mac: Mac) -> Ipv4Addr {
        let offer = self.reply(&Request::of(mac, Kind::Discover));
        let ack = self.reply(&selecting(mac, offer.yiaddr));
        assert_eq!((ack.kind, ack.yiaddr), (ReplyKind::Ack, offer.yiaddr));
        ack.yiaddr
    }
}

pub(super) fn selecting(mac: Mac, address: Ipv4Addr) -> Request {
    Request { server_id: Some(SERVER), requested: Some(address), ..Request::of(mac, Kind::Request) }
}

pub(super) fn init_reboot(mac: Mac, address: Ipv4Addr) -> Request {
    Request { requested: Some(address), ..Request::of(mac, Kind::Request) }
}

pub(super) fn renewing(mac: Mac, address: Ipv4Addr) -> Request {
    Request { ciaddr: address, ..Request::of(mac, Kind::Request) }
}

pub(super) fn direct(address: Ipv4Addr) -> Ingress<'static> {
    Ingress { source: SocketAddrV4::new(address, 68), unicast: true, ..BROADCAST }
}

pub(super) fn is_nak(answer: &Answer) -> bool {
    matches!(answer, Answer::Now(reply) if reply.kind == ReplyKind::Nak)
}

#[test]
fn a1_1_the_ack_leaves_only_after_the_commit_and_the_offer_at_once() {
    let mut bench = Bench::new();
    let Answer::Now(offer) = bench.ask(&Request::of(mac(1), Kind::Discover)) else { panic!("no offer") };
    let answer = bench.ask(&selecting(mac(1), offer.yiaddr));
    let Answer::AfterCommit(change, Some(ack)) = answer else { panic!("{answer:?}") };
    assert_eq!((change.lease.address, change.lease.state), (ack.yiaddr, LeaseState::Bound));
    let promised = u32::from_be_bytes(ack.option(51).unwrap().try_into().unwrap());
    assert!(change.lease.until.0 >= bench.now.0 + i64::from(promised) * 1000);
}

#[test]
fn a1_1_an_address_that_another_server_leased_first_is_not_tried_again() {
    let mut bench = Bench::new();
    let Answer::AfterCommit(change, _) = bench.ask(&selecting(mac(1), ip(10))) else { panic!("no grant") };
    bench.leases.settle(&change, Outcome::Taken, bench.now);
    assert_ne!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, ip(10));
    assert!(is_nak(&bench.ask(&selecting(mac(1), ip(10)))));
}

#[test]
fn a1_2_a_repeated_discover_gets_the_same_offer_and_others_get_other_addresses() {
    let mut bench = Bench::new();
    let first = bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr;
    let other = bench.reply(&Request::of(mac(2), Kind::Discover)).yiaddr;
    bench.later(100);
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, first);
    assert_ne!(first, other);
}

#[test]
fn a1_2_an_offer_not_taken_in_two_minutes_is_free_again() {
    let mut bench = Bench::new();
    for last in 1..=4 {
        bench.reply(&Request::of(mac(last), Kind::Discover));
    }
    assert_eq!(bench.ask(&Request::of(mac(9), Kind::Discover)), Answer::Silent(Silence::PoolExhausted));
    bench.later(121);
    assert_eq!(bench.reply(&Request::of(mac(9), Kind::Discover)).kind, ReplyKind::Offer);
}

#[test]
fn a1_3_without_the_store_known_leases_get_their_remaining_time_and_nobody_else_anything() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    bench.later(1000);
    bench.leases.store_is_away(true);
    let answer = bench.ask_by(&renewing(mac(1), address), direct(address));
    let Answer::Now(ack) = answer else { panic!("{answer:?}") };
    assert_eq!(ack.option(51), Some(&2600u32.to_be_bytes()[..]));
    assert_eq!(bench.ask(&Request::of(mac(2), Kind::Discover)), Answer::Silent(Silence::StoreAway));
    assert_eq!(bench.ask(&selecting(mac(2), ip(12))), Answer::Silent(Silence::StoreAway));
    bench.leases.store_is_away(false);
    assert_eq!(bench.reply(&Request::of(mac(2), Kind::Discover)).kind, ReplyKind::Offer);
}

#[test]
fn b1_1_a_relay_gets_the_reply_on_its_server_port_or_on_its_own() {
    let mut bench = Bench::new();
    let relayed =
        |raw: &[u8]| Request { giaddr: ip(254), relay: Some(Relay::read(raw)), ..Request::of(mac(1), Kind::Discover) };
    let ingress = Ingress { source: SocketAddrV4::new(ip(254), 5000), ..BROADCAST };
    for (raw, port) in [(&[1, 1, 7][..], 67), (&[1, 1, 7, 19, 2, 0, 0][..], 5000)] {
        let Answer::Now(offer) = bench.ask_by(&relayed(raw), ingress) else { panic!("no offer") };
        assert_eq!(offer.destination, Destination::Relay(SocketAddrV4::new(ip(254), port)));
        assert_eq!(offer.relay.as_deref(), Some(raw), "b1_17: echoed verbatim");
    }
    let nak = Request {
        server_id: Some(SERVER),
        requested: Some(Ipv4Addr::new(9, 9, 9, 9)),
        kind: Some(Kind::Request),
        ..relayed(&[])
    };
    let Answer::Now(nak) = bench.ask_by(&nak, ingress) else { panic!("no NAK") };
    assert_eq!((nak.kind, nak.flags & 0x8000), (ReplyKind::Nak, 0x8000));
}

#[test]
fn b1_2_a_renewal_is_answered_to_ciaddr_and_a_nak_always_to_everybody() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    let Answer::AfterCommit(_, Some(ack)) = bench.ask_by(&renewing(mac(1), address), direct(address)) else {
        panic!("no ACK")
    };
    assert_eq!((ack.destination, ack.ciaddr), (Destination::Client(address), address));
    let Answer::Now(nak) = bench.ask_by(&renewing(mac(2), address), direct(address)) else { panic!("no NAK") };
    assert_eq!((nak.kind, nak.destination), (ReplyKind::Nak, Destination::Broadcast));
    assert_eq!((nak.ciaddr, nak.yiaddr), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
}

#[test]
fn b1_3_the_broadcast_flag_is_honoured_and_b1_4_its_absence_means_a_frame_to_the_machine() {
    let mut bench = Bench::new();
    let loud = Request { flags: 0x8000, ..Request::of(mac(1), Kind::Discover) };
    assert_eq!(bench.reply(&loud).destination, Destination::Broadcast);
    let quiet = bench.reply(&Request::of(mac(1), Kind::Discover));
    assert_eq!(quiet.destination, Destination::Hardware(quiet.yiaddr, mac(1)));
    let mut forced = Bench::with(|network| network.force_broadcast = true);
    assert_eq!(forced.reply(&Request::of(mac(1), Kind::Discover)).destination, Destination::Broadcast);
}

#[test]
fn b1_4_what_is_no_ethernet_card_is_not_sent_a_frame() {
    let request = Request { htype: 32, ..Request::of(mac(1), Kind::Discover) };
    assert_eq!(Bench::new().reply(&request).destination, Destination::Broadcast);
}

#[test]
fn b1_8_ciaddr_in_a_discover_is_ignored() {
    let mut bench = Bench::new();
    let offer = bench.reply(&Request { ciaddr: Ipv4Addr::new(9, 9, 9, 9), ..Request::of(mac(1), Kind::Discover) });
    assert_eq!(offer.destination, Destination::Hardware(offer.yiaddr, mac(1)));
    assert_eq!(offer.ciaddr, Ipv4Addr::UNSPECIFIED);
}

#[test]
fn b1_9_an_offer_says_server_lease_mask_router_and_names() {
    let mut bench = Bench::with(|network| {
        network.gateway = Some(ip(254));
        network.dns = vec![ip(2), ip(3)];
    });
    let offer = bench.reply(&Request::of(mac(1), Kind::Discover));
    let codes: Vec<u8> = offer.options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 51, 1, 3, 6, 58, 59]);
    assert_eq!(offer.option(54), Some(&SERVER.octets()[..]));
    assert_eq!(offer.option(6), Some(&[10, 0, 4, 2, 10, 0, 4, 3][..]));
}

#[test]
fn b1_9_each_discover_of_one_machine_is_offered_the_same_address_and_nobody_elses_is() {
    let mut bench = Bench::new();
    let first = bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr;
    for xid in 1..=4 {
        bench.later(32);
        assert_eq!(bench.reply(&Request { xid, ..Request::of(mac(1), Kind::Discover) }).yiaddr, first);
        assert_ne!(bench.reply(&Request { xid, ..Request::of(mac(2), Kind::Discover) }).yiaddr, first);
    }
}

#[test]
fn b1_10_who_takes_another_servers_offer_is_let_go_without_a_word() {
    let mut bench = Bench::new();
    let offered = bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr;
    let elsewhere = Request { server_id: Some(ip(77)), ..selecting(mac(1), ip(99)) };
    assert_eq!(bench.ask(&elsewhere), Answer::Silent(Silence::OtherServer(ip(77))));
    for last in 2..=4 {
        bench.lease(mac(last));
    }
    assert_eq!(bench.reply(&Request::of(mac(5), Kind::Discover)).yiaddr, offered);
}

#[test]
fn b1_10_an_offer_that_is_no_longer_good_is_refused() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    assert!(is_nak(&bench.ask(&selecting(mac(2), address))));
    assert!(is_nak(&bench.ask(&selecting(mac(3), ip(200)))), "outside of the ranges");
}

#[test]
fn b1_11_a_rebooted_machine_keeps_its_address_and_one_from_elsewhere_is_refused() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    assert_eq!(bench.reply(&init_reboot(mac(1), address)).kind, ReplyKind::Ack);
    assert!(is_nak(&bench.ask(&init_reboot(mac(1), Ipv4Addr::new(192, 168, 1, 5)))));
}

#[test]
fn b1_11_an_unknown_machine_is_refused_only_where_we_are_the_authority() {
    let foreign = init_reboot(mac(1), ip(200));
    assert!(is_nak(&Bench::new().ask(&foreign)));
    let mut modest = Bench::with(|network| network.authoritative = false);
    assert_eq!(modest.ask(&foreign), Answer::Silent(Silence::NotOurLease));
}

#[test]
fn after_a_restart_a_forgotten_lease_is_granted_if_its_address_is_free() {
    let mut bench = Bench::new();
    assert_eq!(bench.reply(&init_reboot(mac(1), ip(12))).yiaddr, ip(12));
    assert!(is_nak(&bench.ask(&init_reboot(mac(2), ip(12)))));
}

#[test]
fn b1_12_an_unknown_renewal_is_refused_when_it_was_sent_to_us_and_ignored_when_to_everybody() {
    let mut bench = Bench::new();
    let request = renewing(mac(1), ip(200));
    assert!(is_nak(&bench.ask_by(&request, direct(ip(200)))));
    assert_eq!(bench.ask(&renewing(mac(2), ip(201))), Answer::Silent(Silence::NotOurLease));
}

#[test]
fn b1_13_a_declined_address_rests_for_an_hour_and_no_reply_is_sent() {
    let mut bench = Bench::with(|network| network.ranges = vec![Range { first: ip(10), last: ip(10) }]);
    let address = bench.lease(mac(1));
    let decline = Request { requested: Some(address), ..Request::of(mac(1), Kind::Decline) };
    assert_eq!(
        bench.ask(&Request { requested: Some(address), ..Request::of(mac(2), Kind::Decline) }),
        Answer::Silent(Silence::NotTheHolder)
    );
    let Answer::AfterCommit(change, None) = bench.ask(&decline) else { panic!("not noted") };
    assert_eq!(change.lease.state, LeaseState::Declined);
    bench.later(3599);
    assert_eq!(bench.ask(&Request::of(mac(1), Kind::Discover)), Answer::Silent(Silence::PoolExhausted));
    bench.later(2);
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, address);
}

#[test]
fn b1_13_a_reserved_machine_that_declines_is_told_of_in_words() {
    let mut bench = Bench::new();
    bench.host.reservation = Some(ip(100));
    let address = bench.lease(mac(1));
    assert_eq!(address, ip(100));
    bench.ask(&Request { requested: Some(address), ..Request::of(mac(1), Kind::Decline) });
    let answer = bench.ask(&Request::of(mac(1), Kind::Discover));
    assert_eq!(answer, Answer::Silent(Silence::ReservationDeclined(ip(100))));
}

#[test]
fn b1_14_a_released_address_is_free_but_comes_back_to_its_machine_first() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    let release = Request { ciaddr: address, ..Request::of(mac(1), Kind::Release) };
    assert_eq!(
        bench.ask(&Request { ciaddr: address, ..Request::of(mac(2), Kind::Release) }),
        Answer::Silent(Silence::NotTheHolder)
    );
    assert!(
        matches!(bench.ask(&release), Answer::AfterCommit(change, None) if change.lease.state == LeaseState::Released)
    );
    assert_ne!(bench.reply(&Request::of(mac(2), Kind::Discover)).yiaddr, address);
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).yiaddr, address);
}

#[test]
fn b1_15_an_inform_gets_options_and_no_lease() {
    let mut bench = Bench::new();
    let inform = Request { ciaddr: ip(50), ..Request::of(mac(1), Kind::Inform) };
    let ack = bench.reply(&inform);
    assert_eq!(
        (ack.kind, ack.yiaddr, ack.destination),
        (ReplyKind::Ack, Ipv4Addr::UNSPECIFIED, Destination::Client(ip(50)))
    );
    assert!([51, 58, 59].iter().all(|code| ack.option(*code).is_none()));
    let relayed = Request { giaddr: ip(254), ciaddr: Ipv4Addr::UNSPECIFIED, ..inform };
    let ack = bench.reply(&relayed);
    assert_eq!((ack.destination, ack.flags), (Destination::Relay(SocketAddrV4::new(ip(254), 67)), 0x8000));
    let bare = Ingress { source: SocketAddrV4::new(ip(50), 68), ..BROADCAST };
    let Answer::Now(ack) = bench.ask_by(&Request::of(mac(1), Kind::Inform), bare) else { panic!("no ACK") };
    assert_eq!(ack.destination, Destination::Source(SocketAddrV4::new(ip(50), 68)));
}

#[test]
fn b1_16_naks_come_at_most_once_a_second() {
    let mut bench = Bench::new();
    let wrong = selecting(mac(1), ip(200));
    assert!(is_nak(&bench.ask(&wrong)));
    assert_eq!(bench.ask(&wrong), Answer::Silent(Silence::NakTooSoon));
    assert!(is_nak(&bench.ask(&selecting(mac(2), ip(200)))), "another machine's NAK is its own");
    bench.later(1);
    assert!(is_nak(&bench.ask(&wrong)));
}

#[test]
fn b1_17_option_82_is_echoed_only_to_relays_and_kept_with_the_lease() {
    let mut bench = Bench::new();
    let raw = [1, 4, b'e', b't', b'h', b'7'];
    let discover = Request { relay: Some(Relay::read(&raw)), giaddr: ip(254), ..Request::of(mac(1), Kind::Discover) };
    let offer = bench.reply(&discover);
    let request = Request { relay: discover.relay.clone(), giaddr: ip(254), ..selecting(mac(1), offer.yiaddr) };
    assert_eq!(bench.reply(&request).relay.as_deref(), Some(&raw[..]));
    let Answer::AfterCommit(change, Some(ack)) = bench.ask_by(&renewing(mac(1), offer.yiaddr), direct(offer.yiaddr))
    else {
        panic!("no ACK")
    };
    assert_eq!((ack.relay, change.lease.relay.as_deref()), (None, Some(&raw[..])));
    let unrelayed = Request { giaddr: Ipv4Addr::UNSPECIFIED, ..discover };
    assert_eq!(bench.reply(&unrelayed).relay, None);
}

#[test]
fn b1_17_a_relay_may_name_the_link_and_stand_in_for_the_server() {
    let mut bench = Bench::new();
    let relay = Relay::read(&[5, 4, 10, 0, 4, 0, 11, 4, 172, 16, 0, 9]);
    let discover =
        Request { relay: Some(relay), giaddr: Ipv4Addr::new(172, 16, 0, 1), ..Request::of(mac(1), Kind::Discover) };
    let offer = bench.reply(&discover);
    assert!(network().subnet.contains(offer.yiaddr));
    assert_eq!(offer.option(54), Some(&[172, 16, 0, 9][..]));
    let taken = Request {
        server_id: Some(Ipv4Addr::new(172, 16, 0, 9)),
        requested: Some(offer.yiaddr),
        kind: Some(Kind::Request),
        ..discover.clone()
    };
    assert_eq!(bench.reply(&taken).kind, ReplyKind::Ack);
    let unknown = Request { relay: None, ..discover };
    assert_eq!(bench.ask(&unknown), Answer::Silent(Silence::UnknownRelay(Ipv4Addr::new(172, 16, 0, 1))));
}

#[test]
fn b1_18_the_client_id_is_echoed_unless_the_network_says_no() {
    let request = Request { client_id: Some(vec![1, 2, 3]), ..Request::of(mac(1), Kind::Discover) };
    assert_eq!(Bench::new().reply(&request).option(61), Some(&[1, 2, 3][..]));
    assert_eq!(Bench::with(|network| network.echo_client_id = false).reply(&request).option(61), None);
    for (id, echoed) in [(vec![1, 2], Some(&[1, 2][..])), (Vec::new(), None)] {
        let wrong = Request { client_id: Some(id), ..selecting(mac(1), ip(200)) };
        let Answer::Now(nak) = Bench::new().ask(&wrong) else { panic!("no NAK") };
        assert_eq!((nak.kind, nak.option(61)), (ReplyKind::Nak, echoed));
    }
}

#[test]
fn b1_20_one_machine_has_one_address_whatever_client_ids_it_sends() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    for id in [vec![1, 2, 3], vec![255, 0, 0, 0, 1]] {
        let again = Request { client_id: Some(id), ..Request::of(mac(1), Kind::Discover) };
        assert_eq!(bench.reply(&again).yiaddr, address);
    }
}

#[test]
fn b1_25_a_host_name_ends_as_the_client_ends_its_own() {
    let mut bench = Bench::new();
    bench.host.hostname = Some("node1".to_owned());
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).option(12), Some(&b"node1"[..]));
    let odd = Request { hostname: Some(b"x\0".to_vec()), ..Request::of(mac(1), Kind::Discover) };
    assert_eq!(bench.reply(&odd).option(12), Some(&b"node1\0"[..]));
}

#[test]
fn one_machine_cannot_take_the_pool_by_asking_for_one_address_after_the_other() {
    let mut bench = Bench::new();
    let address = bench.lease(mac(1));
    for last in (10..=13).filter(|last| ip(*last) != address) {
        bench.later(2);
        assert!(is_nak(&bench.ask(&init_reboot(mac(1), ip(last)))));
    }
}

#[test]
fn a_reservation_wins_over_an_old_lease_and_is_nobody_elses() {
    let mut bench = Bench::with(|network| {
        network.reserved.insert(ip(11));
    });
    let old = bench.lease(mac(1));
    bench.host.reservation = Some(ip(11));
    assert!(is_nak(&bench.ask_by(&renewing(mac(1), old), direct(old))));
    assert_eq!(bench.lease(mac(1)), ip(11));
    bench.host.reservation = None;
    for last in 2..=3 {
        assert_ne!(bench.lease(mac(last)), ip(11));
    }
}

#[test]
fn beside_another_server_a_stranger_gets_no_answer() {
    let mut bench = Bench::with(|network| network.authoritative = false);
    bench.host = Host::default();
    assert_eq!(bench.ask(&Request::of(mac(1), Kind::Discover)), Answer::Silent(Silence::Stranger));
    bench.host.ours = true;
    assert_eq!(bench.reply(&Request::of(mac(1), Kind::Discover)).kind, ReplyKind::Offer);
}

#[test]
fn what_is_no_request_of_a_machine_is_silent_with_its_reason() {
    let mut bench = Bench::new();
    let blank = Request::of(mac(1), Kind::Discover);
    let cases = [
        (Request { op: 2, ..blank.clone() }, Silence::NotARequest),
        (Request { kind: None, ..blank.clone() }, Silence::Bootp),
        (Request { kind: Some(Kind::Offer), ..blank.clone() }, Silence::NotARequest),
        (Request { kind: Some(Kind::Ack), hlen: 0, ..blank.clone() }, Silence::NotARequest),
        (Request { op: 2, kind: None, ..blank.clone() }, Silence::NotARequest),
        (Request { kind: Some(Kind::Other(13)), ..blank.clone() }, Silence::UnknownKind(13)),
        (Request { hlen: 0, ..blank.clone() }, Silence::NoHardwareAddress),
        (Request::of(Mac([0xff; 6]), Kind::Discover), Silence::NoHardwareAddress),
        (Request::of(mac(1), Kind::Request), Silence::NoAddressAsked),
    ];
    for (request, why) in cases {
        assert_eq!(bench.ask(&request), Answer::Silent(why));
        assert!(Silence::LABELS.contains(&why.label()) && why.to_string().len() > 20);
    }
    let elsewhere = Ingress { interface: "eth9", ..BROADCAST };
    assert_eq!(bench.ask_by(&blank, elsewhere), Answer::Silent(Silence::NoNetwork));
}

#[test]
fn after_a_change_of_ranges_new_addresses_are_found_and_old_ones_left() {
    let mut bench = Bench::new();
    for last in 1..=4 {
        bench.lease(mac(last));
    }
    let mut wider = network();
    wider.ranges = vec![Range { first: ip(20), last: ip(20) }];
    bench.networks = Networks::new(vec![wider]).unwrap();
    bench.leases.networks_changed();
    assert_eq!(bench.reply(&Request::of(mac(9), Kind::Discover)).yiaddr, ip(20));
    assert_eq!(bench.ask(&Request::of(mac(8), Kind::Discover)), Answer::Silent(Silence::PoolExhausted));
}
