//! The networks that are served: what a site's configuration says of each, checked as a whole.

use crate::clients::Loaders;
use crate::request::Request;
use crate::v6;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// An IPv4 subnet: 10.0.4.0/22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// None when the prefix is longer than 30 bits (there is no room for a server and a client) or zero.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        if !(1..=30).contains(&prefix) {
            return None;
        }
        let bits = u32::MAX << (32 - u32::from(prefix));
        Some(Self { address: Ipv4Addr::from_bits(address.to_bits() & bits), prefix })
    }

    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(self.prefix)))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask().to_bits() == self.address.to_bits()
    }

    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask().to_bits())
    }

    /// An address a host may have: neither the subnet's own nor its broadcast.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.address && address != self.broadcast()
    }
}

impl std::str::FromStr for Subnet {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)))
            .and_then(|(address, prefix)| Self::new(address, prefix));
        parsed.ok_or_else(|| BadNetwork::Subnet { text: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Addresses to hand out, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

impl Range {
    /// How many addresses it holds.
    pub fn size(self) -> usize {
        let count = self.last.to_bits().saturating_sub(self.first.to_bits());
        usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1)
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }
}

/// What is given on a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dhcp {
    /// Addresses and boot files.
    #[default]
    Full,
    /// Boot files beside another server's addresses (proxyDHCP): no lease of ours is given.
    Proxy,
}

/// One served network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub name: String,
    pub subnet: Subnet,
    /// The interface on it; none when it is reached through relays alone.
    pub interface: Option<String>,
    pub dhcp: Dhcp,
    /// Servers that may answer here beside us: by their address, which is also what option 54 says.
    pub other_servers: BTreeSet<Ipv4Addr>,
    pub ranges: Vec<Range>,
    /// Addresses within the ranges that are kept for reservations.
    pub reserved: BTreeSet<Ipv4Addr>,
    /// Our address for it: option 54, next server, TFTP. Of the subnet, unless only relays reach it.
    pub server: Ipv4Addr,
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub mtu: Option<u16>,
    /// Lease seconds while a boot loader asks (B1.27).
    pub pxe_seconds: u32,
    /// Lease seconds for an operating system.
    pub os_seconds: u32,
    /// No other DHCP server serves this network: wrong claims are refused with a NAK, strangers get an address.
    pub authoritative: bool,
    /// What boots here is ours to discover: strangers get the agent.
    pub dedicated: bool,
    /// For boot ROMs that do not hear a unicast (B1.4).
    pub force_broadcast: bool,
    /// RFC 6842; off for old clients (B1.18).
    pub echo_client_id: bool,
    /// `http://10.0.4.1:8080`, no slash at its end.
    pub boot_http: String,
    /// `https://10.0.4.1:8081`, where UEFI HTTP boot is to fetch its loader under TLS (B3.3).
    pub boot_https: Option<String>,
    pub loaders: Loaders,
    /// None: nothing is said over IPv6 (B4.6).
    pub v6: Option<v6::Served>,
}

impl Network {
    /// A network with the defaults of the field.
    pub fn new(name: &str, subnet: Subnet, server: Ipv4Addr, boot_http: &str) -> Self {
        Self {
            name: name.to_owned(),
            subnet,
            interface: None,
            dhcp: Dhcp::Full,
            other_servers: BTreeSet::new(),
            ranges: Vec::new(),
            reserved: BTreeSet::new(),
            server,
            gateway: None,
            dns: Vec::new(),
            domain: None,
            mtu: None,
            pxe_seconds: 300,
            os_seconds: 3600,
            authoritative: false,
            dedicated: false,
            force_broadcast: false,
            echo_client_id: true,
            boot_http: boot_http.to_owned(),
            boot_https: None,
            loaders: Loaders::default(),
            v6: None,
        }
    }

    /// Beside another DHCP server a stranger is not ours to answer.
    pub fn answers_strangers(&self) -> bool {
        self.dedicated || self.authoritative
    }

    /// An address that is ours to give, if only to the machine it is reserved for.
    pub fn may_lease(&self, address: Ipv4Addr) -> bool {
        (self.reserved.contains(&address) || self.ranges.iter().any(|range| range.contains(address)))
            && self.subnet.is_host(address)
            && address != self.server
            && Some(address) != self.gateway
    }

    pub fn may_hand_out(&self, address: Ipv4Addr) -> bool {
        self.may_lease(address) && !self.reserved.contains(&address)
    }
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress<'a> {
    pub interface: &'a str,
    pub source: SocketAddrV4,
    /// Sent to our own address, not to everybody.
    pub unicast: bool,
    /// 67, or 4011 for the PXE boot server.
    pub port: u16,
}

/// A set of networks that do not contradict each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    list: Vec<Network>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    Subnet { text: String },
    Overlap { one: String, other: String },
    SameName { name: String },
    SameInterface { interface: String },
    Server { network: String, server: Ipv4Addr },
    Range { network: String, first: Ipv4Addr, last: Ipv4Addr },
    LeaseTime { network: String },
    Proxy { network: String, found: &'static str },
    Base { network: String, base: String },
    Prefix { text: String },
    Server6 { network: String, server: Ipv6Addr },
    Range6 { network: String, first: Ipv6Addr, last: Ipv6Addr },
    Wide { network: String, first: Ipv6Addr, last: Ipv6Addr },
}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subnet { text } => write!(f, "{text:?} is not a subnet; write it like 10.0.4.0/22"),
            Self::Overlap { one, other } => write!(f, "networks {one} and {other} share addresses"),
            Self::SameName { name } => write!(f, "two networks are called {name}"),
            Self::SameInterface { interface } => write!(f, "two networks claim interface {interface}"),
            Self::Server { network, server } => {
                write!(f, "network {network}: the server's address {server} is not of its subnet")
            }
            Self::Range { network, first, last } => {
                write!(f, "network {network}: range {first} to {last} is not a rising range of its subnet")
            }
            Self::Proxy { network, found } => {
                write!(
                    f,
                    "network {network}: another server gives its addresses (dhcp.mode = \"proxy\"), so it has no {found}"
                )
            }
            Self::LeaseTime { network } => write!(f, "network {network}: a lease lasts at least 60 seconds"),
            Self::Base { network, base } => write!(
                f,
                "network {network}: boot HTTP base {base:?} is not of the form http://ADDRESS:PORT or https://ADDRESS:PORT without a slash at its end"
            ),
            Self::Prefix { text } => write!(f, "{text:?} is not a prefix of IPv6; write it like fd00:77::/64"),
            Self::Server6 { network, server } => {
                write!(f, "network {network}: the server's address {server} is not of its prefix")
            }
            Self::Range6 { network, first, last } => {
                write!(f, "network {network}: range {first} to {last} is not a rising range of its prefix")
            }
            Self::Wide { network, first, last } => write!(
                f,
                "network {network}: range {first} to {last} holds more than {} addresses; narrow it",
                v6::MOST_ADDRESSES
            ),
        }
    }
}

impl std::error::Error for BadNetwork {}

impl Networks {
    pub fn new(list: Vec<Network>) -> Result<Self, Vec<BadNetwork>> {
        let mut slips = Vec::new();
        for (at, network) in list.iter().enumerate() {
            check(network, &mut slips);
            for other in list.iter().take(at) {
                compare(network, other, &mut slips);
            }
        }
        if slips.is_empty() { Ok(Self { list }) } else { Err(slips) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.list.iter()
    }

    /// The same networks with these addresses kept back, beside those that were kept before.
    pub fn with_reserved(&self, reserved: &BTreeSet<Ipv4Addr>) -> Self {
        let mut list = self.list.clone();
        for network in &mut list {
            network.reserved.extend(reserved.iter().filter(|address| network.subnet.contains(**address)));
        }
        Self { list }
    }

    pub fn named(&self, name: &str) -> Option<&Network> {
        self.list.iter().find(|network| network.name == name)
    }

    pub fn holding(&self, address: Ipv4Addr) -> Option<&Network> {
        self.list.iter().find(|network| network.subnet.contains(address))
    }

    /// The network a request belongs to, in the order of B1.17: link selection, subnet selection, giaddr, ciaddr,
    /// interface. A stated one that we do not serve ends the search: guessing would lease from a wrong subnet.
    pub fn of(&self, request: &Request, ingress: Ingress<'_>) -> Option<&Network> {
        let relay = request.relay.as_ref();
        let stated = relay
            .and_then(|relay| relay.link_selection)
            .or(request.subnet_selection)
            .or((!request.giaddr.is_unspecified()).then_some(request.giaddr));
        if let Some(stated) = stated {
            return self.holding(stated);
        }
        let ciaddr = request.believed_ciaddr();
        ciaddr.and_then(|address| self.holding(address)).or_else(|| self.on(ingress.interface))
    }

    pub fn on(&self, interface: &str) -> Option<&Network> {
        self.list.iter().find(|network| network.interface.as_deref() == Some(interface))
    }
}

fn check(network: &Network, slips: &mut Vec<BadNetwork>) {
    let name = || network.name.clone();
    if network.interface.is_some() && !network.subnet.is_host(network.server) {
        slips.push(BadNetwork::Server { network: name(), server: network.server });
    }
    for &Range { first, last } in &network.ranges {
        if first > last || !network.subnet.contains(first) || !network.subnet.contains(last) {
            slips.push(BadNetwork::Range { network: name(), first, last });
        }
    }
    let beside = network.dhcp == Dhcp::Proxy;
    for (given, found) in [(!network.ranges.is_empty(), "range of ours"), (network.authoritative, "authority of ours")]
    {
        if beside && given {
            slips.push(BadNetwork::Proxy { network: name(), found });
        }
    }
    if network.pxe_seconds < 60 || network.os_seconds < 60 {
        slips.push(BadNetwork::LeaseTime { network: name() });
    }
    bases(network, [Some(&network.boot_http), network.boot_https.as_ref()], slips);
    if let Some(served) = &network.v6 {
        served.check(network, slips);
    }
}

/// What files are fetched from has to be an address without a path.
pub(crate) fn bases(network: &Network, bases: [Option<&String>; 2], slips: &mut Vec<BadNetwork>) {
    let unsound = |base: &&String| crate::script::Link::new(base).is_err() || base.ends_with('/');
    for base in bases.into_iter().flatten().filter(unsound) {
        slips.push(BadNetwork::Base { network: network.name.clone(), base: base.clone() });
    }
}

fn compare(one: &Network, other: &Network, slips: &mut Vec<BadNetwork>) {
    if one.name == other.name {
        slips.push(BadNetwork::SameName { name: one.name.clone() });
    }
    let over_v6 = one.v6.as_ref().zip(other.v6.as_ref()).is_some_and(|(one, other)| {
        one.prefix.contains(other.prefix.address()) || other.prefix.contains(one.prefix.address())
    });
    if over_v6 || one.subnet.contains(other.subnet.address) || other.subnet.contains(one.subnet.address) {
        slips.push(BadNetwork::Overlap { one: other.name.clone(), other: one.name.clone() });
    }
    if let (Some(interface), true) = (&one.interface, one.interface == other.interface) {
        slips.push(BadNetwork::SameInterface { interface: interface.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Kind, Relay};
    use muster_names::Mac;

    fn network(name: &str, third: u8) -> Network {
        let subnet = format!("10.0.{third}.0/24").parse().unwrap();
        let mut network = Network::new(name, subnet, Ipv4Addr::new(10, 0, third, 1), "http://10.0.4.1:8080");
        network.interface = Some(format!("eth{third}"));
        network
    }

    #[test]
    fn b1_17_the_subnet_is_chosen_by_link_selection_then_118_then_giaddr_then_ciaddr_then_interface() {
        let names = ["a", "b", "c", "d", "e"];
        let list = names.iter().zip(0..).map(|(name, third)| network(name, third)).collect();
        let networks = Networks::new(list).unwrap();
        let at = |third: u8| Ipv4Addr::new(10, 0, third, 9);
        let ingress = Ingress { interface: "eth4", source: SocketAddrV4::new(at(4), 68), unicast: true, port: 67 };
        let relay = Relay { link_selection: Some(at(0)), ..Relay::default() };
        let mut request = Request::of(Mac([2, 0, 0, 0, 0, 1]), Kind::Request);
        (request.relay, request.subnet_selection) = (Some(relay), Some(at(1)));
        (request.giaddr, request.ciaddr) = (at(2), at(3));
        let found = |request: &Request| networks.of(request, ingress).map(|network| network.name.clone());
        assert_eq!(found(&request).as_deref(), Some("a"));
        request.relay = None;
        assert_eq!(found(&request).as_deref(), Some("b"));
        request.subnet_selection = None;
        assert_eq!(found(&request).as_deref(), Some("c"));
        request.giaddr = Ipv4Addr::UNSPECIFIED;
        assert_eq!(found(&request).as_deref(), Some("d"));
        request.ciaddr = Ipv4Addr::UNSPECIFIED;
        assert_eq!(found(&request).as_deref(), Some("e"));
        request.giaddr = Ipv4Addr::new(172, 16, 0, 1);
        assert_eq!(found(&request), None, "a relay we do not serve is not guessed at");
    }

    #[test]
    fn networks_that_contradict_each_other_are_refused_with_every_reason() {
        let mut wrong = network("a", 1);
        wrong.server = Ipv4Addr::new(10, 0, 9, 1);
        wrong.ranges = vec![Range { first: Ipv4Addr::new(10, 0, 1, 9), last: Ipv4Addr::new(10, 0, 1, 3) }];
        wrong.os_seconds = 5;
        wrong.boot_http = "http://x/".to_owned();
        let slips = Networks::new(vec![network("a", 1), wrong]).unwrap_err();
        assert_eq!(slips.len(), 7, "{slips:?}");
        assert!(slips.iter().all(|slip| slip.to_string().len() > 20));
    }

    #[test]
    fn beside_another_server_there_is_no_range_and_no_authority() {
        let mut beside = network("a", 1);
        beside.dhcp = Dhcp::Proxy;
        assert!(Networks::new(vec![beside.clone()]).is_ok());
        beside.ranges = vec![Range { first: Ipv4Addr::new(10, 0, 1, 3), last: Ipv4Addr::new(10, 0, 1, 9) }];
        beside.authoritative = true;
        let slips = Networks::new(vec![beside]).unwrap_err();
        assert_eq!(slips.len(), 2);
        assert!(slips.iter().all(|slip| slip.to_string().contains("dhcp.mode = \"proxy\"")), "{slips:?}");
    }

    #[test]
    fn a_network_that_only_relays_reach_may_have_its_server_elsewhere() {
        let mut far = network("far", 7);
        (far.interface, far.server) = (None, Ipv4Addr::new(10, 0, 4, 1));
        assert!(Networks::new(vec![far]).is_ok());
    }

    #[test]
    fn a_subnet_reads_back_as_written_and_leaves_room_for_two() {
        assert_eq!("10.0.5.9/22".parse::<Subnet>().unwrap().to_string(), "10.0.4.0/22");
        for wrong in ["10.0.0.0", "10.0.0.0/31", "10.0.0.0/0", "10.0.0/24", "x/24", "10.0.0.0/24/1"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
        let subnet: Subnet = "10.0.4.0/22".parse().unwrap();
        assert!(!subnet.is_host(Ipv4Addr::new(10, 0, 4, 0)) && !subnet.is_host(Ipv4Addr::new(10, 0, 7, 255)));
        assert!(subnet.is_host(Ipv4Addr::new(10, 0, 5, 0)));
    }

    #[test]
    fn what_is_kept_for_somebody_is_not_handed_out_and_other_networks_are_as_they_were() {
        let mut list = vec![network("a", 1), network("b", 2)];
        for (third, network) in (1..).zip(&mut list) {
            network.ranges =
                vec![Range { first: Ipv4Addr::new(10, 0, third, 10), last: Ipv4Addr::new(10, 0, third, 20) }];
        }
        let kept = Ipv4Addr::new(10, 0, 1, 15);
        let before = Networks::new(list).unwrap();
        let after = before.with_reserved(&BTreeSet::from([kept]));
        assert!(before.named("a").unwrap().may_hand_out(kept) && !after.named("a").unwrap().may_hand_out(kept));
        assert_eq!(before.named("b"), after.named("b"));
    }

    #[test]
    fn our_own_and_the_gateways_address_are_never_handed_out() {
        let mut network = network("a", 1);
        network.ranges = vec![Range { first: Ipv4Addr::new(10, 0, 1, 0), last: Ipv4Addr::new(10, 0, 1, 255) }];
        network.gateway = Some(Ipv4Addr::new(10, 0, 1, 254));
        for last in [0, 1, 254, 255] {
            assert!(!network.may_hand_out(Ipv4Addr::new(10, 0, 1, last)), "{last}");
        }
        assert!(network.may_hand_out(Ipv4Addr::new(10, 0, 1, 2)));
    }

    #[test]
    fn what_is_sound_to_the_last_address_and_second_is_accepted_and_one_step_further_refused() {
        let at = |last| Ipv4Addr::new(10, 0, 1, last);
        let slips = |change: &dyn Fn(&mut Network)| {
            let mut one = network("a", 1);
            change(&mut one);
            Networks::new(vec![one]).err().unwrap_or_default()
        };
        assert_eq!(slips(&|one| (one.pxe_seconds, one.os_seconds) = (60, 60)), []);
        let short = [BadNetwork::LeaseTime { network: "a".to_owned() }];
        assert_eq!(slips(&|one| one.pxe_seconds = 59), short);
        assert_eq!(slips(&|one| one.os_seconds = 59), short);
        let range = |first, last| slips(&|one| one.ranges = vec![Range { first, last }]);
        assert_eq!((range(at(9), at(9)), range(at(0), at(255))), (vec![], vec![]));
        for (first, last) in [(at(9), at(8)), (Ipv4Addr::new(10, 0, 0, 9), at(9)), (at(9), Ipv4Addr::new(10, 0, 2, 0))]
        {
            assert_eq!(range(first, last), [BadNetwork::Range { network: "a".to_owned(), first, last }]);
        }
        let server = |server| slips(&|one| one.server = server);
        assert_eq!((server(at(254)), server(at(255)).len(), server(at(0)).len()), (vec![], 1, 1));
        let base = |text: &str| slips(&|one| one.boot_https = Some(text.to_owned())).len();
        assert_eq!([base("https://a:1"), base("https://a:1/"), base("a:1"), base("https:///")], [0, 1, 1, 1]);
        assert_eq!(slips(&|one| one.boot_http = "x".to_owned()).len(), 1);
    }

    #[test]
    fn two_networks_share_neither_name_nor_interface_nor_addresses_in_either_order() {
        let slips = |change: &dyn Fn(&mut Network)| {
            let mut other = network("b", 2);
            change(&mut other);
            let pair = [network("a", 1), other];
            let told = pair.clone().into_iter().rev().collect();
            [Networks::new(pair.to_vec()), Networks::new(told)].map(|result| result.err().unwrap_or_default())
        };
        let overlap =
            |one: &str, other: &str| vec![BadNetwork::Overlap { one: one.to_owned(), other: other.to_owned() }];
        assert_eq!(slips(&|_| {}), [vec![], vec![]]);
        let wide = slips(&|other| other.subnet = "10.0.0.0/16".parse().unwrap());
        assert_eq!(wide, [overlap("a", "b"), overlap("b", "a")]);
        let interface = slips(&|other| other.interface = Some("eth1".to_owned()));
        assert_eq!(interface, [vec![BadNetwork::SameInterface { interface: "eth1".to_owned() }], interface[0].clone()]);
        let name = slips(&|other| other.name = "a".to_owned());
        assert_eq!(name[0], [BadNetwork::SameName { name: "a".to_owned() }]);
        let mut far = [network("a", 1), network("b", 2)];
        far.iter_mut().for_each(|network| network.interface = None);
        assert!(Networks::new(far.to_vec()).is_ok(), "two that only relays reach share no interface");
    }

    #[test]
    fn a_subnets_ends_are_reckoned_from_its_prefix() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        for (text, mask, broadcast) in [
            ("128.0.0.0/1", [128, 0, 0, 0], [255, 255, 255, 255]),
            ("10.0.4.0/22", [255, 255, 252, 0], [10, 0, 7, 255]),
            ("10.0.4.8/30", [255, 255, 255, 252], [10, 0, 4, 11]),
        ] {
            let subnet = subnet(text);
            assert_eq!((subnet.mask(), subnet.broadcast()), (Ipv4Addr::from(mask), Ipv4Addr::from(broadcast)));
        }
        let small = subnet("10.0.4.8/30");
        let hosts: Vec<u8> = (0..=255).filter(|last| small.is_host(Ipv4Addr::new(10, 0, 4, *last))).collect();
        let inside: Vec<u8> = (0..=255).filter(|last| small.contains(Ipv4Addr::new(10, 0, 4, *last))).collect();
        assert_eq!((hosts, inside), (vec![9, 10], vec![8, 9, 10, 11]));
        let range = Range { first: Ipv4Addr::new(10, 0, 4, 9), last: Ipv4Addr::new(10, 0, 4, 11) };
        let inside: Vec<u8> = (0..=255).filter(|last| range.contains(Ipv4Addr::new(10, 0, 4, *last))).collect();
        assert_eq!((range.size(), inside), (3, vec![9, 10, 11]));
    }

    #[test]
    fn strangers_are_answered_where_all_is_ours_or_nobody_else_answers_and_reservations_are_of_their_own_network() {
        let with =
            |dedicated, authoritative| Network { dedicated, authoritative, ..network("a", 1) }.answers_strangers();
        assert_eq!([with(false, false), with(true, false), with(false, true)], [false, true, true]);
        let kept = BTreeSet::from([Ipv4Addr::new(10, 0, 1, 99), Ipv4Addr::new(10, 0, 2, 99)]);
        let networks = Networks::new(vec![network("a", 1)]).unwrap().with_reserved(&kept);
        let one = networks.named("a").unwrap();
        assert_eq!(one.reserved, BTreeSet::from([Ipv4Addr::new(10, 0, 1, 99)]));
        let kept = Ipv4Addr::new(10, 0, 1, 99);
        assert!(one.may_lease(kept) && !one.may_hand_out(kept), "outside of the ranges, and leased all the same");
        assert!(!one.may_lease(Ipv4Addr::new(10, 0, 1, 98)));
    }
}
