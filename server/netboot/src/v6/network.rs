//! What a network is over IPv6, beside what it is over IPv4.

use crate::network::{BadNetwork, Network, Networks, bases};
use std::fmt;
use std::net::Ipv6Addr;

/// A range holds no more than this: what was ever leased is remembered, and no invented machines shall fill the memory.
pub const MOST_ADDRESSES: u128 = 1 << 17;

/// An IPv6 prefix: fd00:77::/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix {
    /// None for what cannot be a link's: shorter than 8 bits, or with room for fewer than sixteen hosts.
    pub fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        if !(8..=124).contains(&length) || address.is_multicast() {
            return None;
        }
        let mask = u128::MAX << (128 - u32::from(length));
        Some(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask), length })
    }

    pub fn address(self) -> Ipv6Addr {
        self.address
    }

    pub fn length(self) -> u8 {
        self.length
    }

    pub fn contains(self, address: Ipv6Addr) -> bool {
        Self::new(address, self.length).is_some_and(|other| other.address == self.address)
    }

    /// An address a host may have: not the one that every router of the link answers to.
    pub fn is_host(self, address: Ipv6Addr) -> bool {
        self.contains(address) && address != self.address
    }
}

impl std::str::FromStr for Prefix {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let parsed = text
            .split_once('/')
            .and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)))
            .and_then(|(address, length)| Self::new(address, length));
        parsed.ok_or_else(|| BadNetwork::Prefix { text: text.chars().take(60).collect() })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The IPv6 side of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub prefix: Prefix,
    /// First and last address to hand out.
    pub range: (Ipv6Addr, Ipv6Addr),
    /// Our own address: TFTP and boot HTTP.
    pub server: Ipv6Addr,
    /// `http://[fd00:77::1]:8080`, no slash at its end.
    pub boot_http: String,
    /// The same under TLS, as [`Network::boot_https`].
    pub boot_https: Option<String>,
    pub dns: Vec<Ipv6Addr>,
    /// Two messages instead of four (B4.1): off unless no other server is there to commit as well.
    pub rapid_commit: bool,
}

impl Served {
    pub fn may_hand_out(&self, address: Ipv6Addr) -> bool {
        (self.range.0..=self.range.1).contains(&address) && self.prefix.is_host(address) && address != self.server
    }

    /// What is wrong with it by itself.
    pub(crate) fn check(&self, network: &Network, slips: &mut Vec<BadNetwork>) {
        let name = || network.name.clone();
        let (first, last) = self.range;
        if first > last || !self.prefix.contains(first) || !self.prefix.contains(last) {
            slips.push(BadNetwork::Range6 { network: name(), first, last });
        } else if last.to_bits() - first.to_bits() >= MOST_ADDRESSES {
            slips.push(BadNetwork::Wide { network: name(), first, last });
        }
        if network.interface.is_some() && !self.prefix.is_host(self.server) {
            slips.push(BadNetwork::Server6 { network: name(), server: self.server });
        }
        bases(network, [Some(&self.boot_http), self.boot_https.as_ref()], slips);
    }
}

impl Networks {
    /// The network whose link holds the address.
    pub fn holding_v6(&self, address: Ipv6Addr) -> Option<(&Network, &Served)> {
        self.with_v6().find(|(_, served)| served.prefix.contains(address))
    }

    pub fn with_v6(&self) -> impl Iterator<Item = (&Network, &Served)> {
        self.iter().filter_map(|network| Some((network, network.v6.as_ref()?)))
    }
}

/// How we call ourselves (RFC 8415, section 11.5): a UUID of the kind that is anybody's own making, made of our address,
/// so that it is the same after a restart without being kept anywhere.
pub fn server_id(server: Ipv6Addr) -> Vec<u8> {
    let mut id = vec![0, 4];
    id.extend(server.octets().into_iter().enumerate().map(|(at, octet)| match at {
        6 => 0x80 | octet & 0x0f,
        8 => 0x80 | octet & 0x3f,
        _ => octet,
    }));
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v6::scene;

    #[test]
    fn a_prefix_reads_back_as_written_and_is_some_links() {
        assert_eq!("fd00:77::9/64".parse::<Prefix>().unwrap().to_string(), "fd00:77::/64");
        for wrong in ["fd00:77::", "fd00::/0", "fd00::/125", "ff02::/64", "10.0.0.0/24", "fd00::/x", "fd00::/64/1"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        let prefix: Prefix = "fd00:77::/64".parse().unwrap();
        assert!(!prefix.is_host("fd00:77::".parse().unwrap()) && !prefix.contains("fd00:78::1".parse().unwrap()));
    }

    #[test]
    fn networks_whose_ipv6_contradicts_itself_or_another_are_refused_with_every_reason() {
        let refused = |change: fn(&mut Served)| {
            let mut network = scene::network();
            change(network.v6.as_mut().unwrap());
            let slips = Networks::new(vec![network]).unwrap_err();
            assert_eq!(slips.len(), 1, "{slips:?}");
            slips[0].to_string()
        };
        assert!(refused(|v6| v6.range.0 = "fd00:99::1".parse().unwrap()).contains("rising range"));
        assert!(refused(|v6| v6.range = (v6.range.1, v6.range.0)).contains("rising range"));
        assert!(refused(|v6| v6.range.1 = "fd00:77::ffff:0".parse().unwrap()).contains("131072"));
        assert!(refused(|v6| v6.server = "fd00:99::1".parse().unwrap()).contains("is not of its prefix"));
        assert!(refused(|v6| v6.boot_http.push('/')).contains("boot HTTP base"));
        let mut other = scene::network();
        (other.name, other.interface) = ("other".to_owned(), None);
        other.subnet = "10.9.0.0/24".parse().unwrap();
        let slips = Networks::new(vec![scene::network(), other]).unwrap_err();
        assert!(slips.iter().any(|slip| matches!(slip, BadNetwork::Overlap { .. })), "{slips:?}");
    }

    #[test]
    fn we_call_ourselves_the_same_after_a_restart_and_another_daemon_calls_itself_otherwise() {
        let id = |text: &str| server_id(text.parse().unwrap());
        assert_eq!(id("fd00:77::1"), [0, 4, 0xfd, 0, 0, 0x77, 0, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_ne!(id("fd00:77::1"), id("fd00:77::2"));
    }

    #[test]
    fn a_prefix_has_between_eight_and_a_hundred_and_twenty_four_bits_and_all_of_them_count() {
        let new = |length| {
            Prefix::new("fdff:ffff::ffff".parse().unwrap(), length).map(|prefix| (prefix.address(), prefix.length()))
        };
        assert_eq!((new(7), new(125)), (None, None));
        assert_eq!(new(8), Some(("fd00::".parse().unwrap(), 8)));
        assert_eq!(new(124), Some(("fdff:ffff::fff0".parse().unwrap(), 124)));
        let small: Prefix = "fd00::10/124".parse().unwrap();
        let hosts = (0..64u16).filter(|last| small.is_host(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, *last)));
        assert_eq!(hosts.collect::<Vec<_>>(), (0x11..=0x1f).collect::<Vec<_>>());
        let long = format!("{}/64", "f".repeat(99));
        assert_eq!(long.parse::<Prefix>(), Err(BadNetwork::Prefix { text: "f".repeat(60) }));
    }

    #[test]
    fn an_ipv6_range_is_of_one_address_up_to_131072_and_our_own_is_none_of_them() {
        let slips = |change: &dyn Fn(&mut Network)| {
            let mut network = scene::network();
            change(&mut network);
            Networks::new(vec![network]).err().unwrap_or_default()
        };
        let at = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let range = |first, last| slips(&|network| network.v6.as_mut().unwrap().range = (at(first), at(last)));
        assert_eq!(range("fd00:77::5", "fd00:77::5"), []);
        assert_eq!(range("fd00:77::1:0", "fd00:77::2:ffff"), []);
        let (first, last) = (at("fd00:77::1:0"), at("fd00:77::3:0"));
        assert_eq!(
            range("fd00:77::1:0", "fd00:77::3:0"),
            [BadNetwork::Wide { network: "rack".to_owned(), first, last }]
        );
        for (first, last) in [("fd00:77::6", "fd00:77::5"), ("fd00:76::5", "fd00:77::5"), ("fd00:77::5", "fd00:78::5")]
        {
            let slip = BadNetwork::Range6 { network: "rack".to_owned(), first: at(first), last: at(last) };
            assert_eq!(range(first, last), [slip]);
        }
        let server = |address: &str| slips(&|network| network.v6.as_mut().unwrap().server = at(address)).len();
        assert_eq!([server("fd00:77::2"), server("fd00:77::"), server("fd00:78::2")], [0, 1, 1]);
        let far = slips(&|network| {
            network.interface = None;
            network.v6.as_mut().unwrap().server = at("fd00:99::1");
        });
        assert_eq!(far, [], "only relays reach it");
        let mut served = scene::network().v6.unwrap();
        (served.range, served.server) = ((at("fd00:77::"), at("fd00:77::2")), at("fd00:77::1"));
        let given = ["fd00:76::ffff", "fd00:77::", "fd00:77::1", "fd00:77::2", "fd00:77::3"]
            .map(|text| served.may_hand_out(at(text)));
        assert_eq!(given, [false, false, false, true, false]);
    }

    #[test]
    fn two_networks_overlap_where_either_prefix_holds_the_other() {
        let mut other = scene::network();
        (other.name, other.interface, other.subnet) = ("other".to_owned(), None, "10.9.0.0/24".parse().unwrap());
        let with = |prefix: &str| {
            let mut other = other.clone();
            let served = other.v6.as_mut().unwrap();
            (served.prefix, served.range) = (prefix.parse().unwrap(), served.range);
            let overlaps = |list| matches!(Networks::new(list), Err(slips) if slips.iter().any(|slip| matches!(slip, BadNetwork::Overlap { .. })));
            [overlaps(vec![scene::network(), other.clone()]), overlaps(vec![other, scene::network()])]
        };
        assert_eq!(
            (with("fd00::/16"), with("fd00:77:0:0:1::/80"), with("fd00:99::/64")),
            ([true; 2], [true; 2], [false; 2])
        );
        let networks = Networks::new(vec![scene::network()]).unwrap();
        let named = |text: &str| networks.holding_v6(text.parse().unwrap()).map(|(network, _)| network.name.as_str());
        assert_eq!((named("fd00:77::ffff"), named("fd00:78::1")), (Some("rack"), None));
        let id = server_id("1:2:3:ff7f:ff7f:6:7:8".parse().unwrap());
        assert_eq!(id, [0, 4, 0, 1, 0, 2, 0, 3, 0x8f, 0x7f, 0xbf, 0x7f, 0, 6, 0, 7, 0, 8]);
    }
}
