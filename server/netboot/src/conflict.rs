//! Who else speaks for what is ours on a network: another DHCP server, another boot server, a host that uses an address
//! we would lease or have leased, or our own. Nothing is done against them; a person is told, with all that is known.

use crate::network::{Network, Networks};
use crate::request::{Kind, Request};
use muster_names::{Mac, Millis};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConflictKind {
    /// A DHCP server that nobody named answers beside us.
    Server,
    /// A boot server (proxyDHCP) that nobody named answers beside us.
    BootServer,
    /// Another host claims an address of this daemon.
    OwnAddress,
    /// Another host uses an address of our ranges.
    Address,
    /// A machine found another host on the address that is reserved for it.
    Reservation,
}

impl ConflictKind {
    pub const ALL: [Self; 5] = [Self::Server, Self::BootServer, Self::OwnAddress, Self::Address, Self::Reservation];

    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "dhcp-server",
            Self::BootServer => "boot-server",
            Self::OwnAddress => "own-address",
            Self::Address => "address",
            Self::Reservation => "reservation",
        }
    }

    /// Reads [`ConflictKind::word`] back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One conflict as it was seen, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub at: Millis,
    pub kind: ConflictKind,
    pub network: String,
    pub address: Ipv4Addr,
    /// Who is there, where it was seen.
    pub mac: Option<Mac>,
    /// Whose lease or reservation it disturbs.
    pub holder: Option<Mac>,
    /// What showed that it has ended.
    pub over: Option<&'static str>,
}

impl Conflict {
    pub fn new(at: Millis, kind: ConflictKind, network: &str, address: Ipv4Addr) -> Self {
        Self { at, kind, network: network.to_owned(), address, mac: None, holder: None, over: None }
    }
}

/// What a person is told, and what to do.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, address, .. } = self;
        let who = self.mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
        match (self.kind, self.holder) {
            (ConflictKind::Server, _) => write!(
                f,
                "another DHCP server, {address}{who}, answers on network {network}: switch it off, or name it in other-servers"
            ),
            (ConflictKind::BootServer, _) => write!(
                f,
                "another boot server, {address}{who}, answers on network {network}: switch it off, or name it in other-servers"
            ),
            (ConflictKind::OwnAddress, _) => write!(
                f,
                "another host{who} uses this daemon's own address {address} on network {network}: take the address from it"
            ),
            (ConflictKind::Address, Some(holder)) => write!(
                f,
                "another host{who} uses {address} on network {network}, which {holder} was given: take the address from it"
            ),
            (ConflictKind::Address, None) => write!(
                f,
                "a host{who} without a lease uses {address} on network {network}: give it another address, or take this one out of the range"
            ),
            (ConflictKind::Reservation, holder) => write!(
                f,
                "{} found another host{who} on {address} of network {network}, its reserved address: find that host, or change the reservation",
                holder.map_or("a machine".to_owned(), |mac| mac.to_string())
            ),
        }
    }
}

/// What a reply that is not ours, heard on an interface, amounts to. `port` is where it came from.
pub fn foreign(
    networks: &Networks,
    interface: &str,
    reply: &Request,
    (source, mac, port): (Ipv4Addr, Mac, u16),
    at: Millis,
) -> Option<Conflict> {
    let said = matches!(reply.kind, Some(Kind::Offer | Kind::Ack | Kind::Nak));
    if reply.op != 2 || !said {
        return None;
    }
    let network = networks.on(interface)?;
    let server = reply.server_id.filter(|server| !server.is_unspecified()).unwrap_or(source);
    if is_expected(networks, network, server) || networks.iter().any(|ours| ours.server == source) {
        return None;
    }
    let classed = reply
        .vendor_class
        .as_deref()
        .is_some_and(|class| class.starts_with(b"PXEClient") || class.starts_with(b"HTTPClient"));
    let boots = port != 67 || (reply.yiaddr.is_unspecified() && classed);
    let kind = if boots { ConflictKind::BootServer } else { ConflictKind::Server };
    Some(Conflict { mac: mac.is_unicast().then_some(mac), ..Conflict::new(at, kind, &network.name, server) })
}

/// A machine named another server, so one is there, though nobody here heard it.
pub fn taken_elsewhere(networks: &Networks, network: &Network, server: Ipv4Addr, at: Millis) -> Option<Conflict> {
    (!is_expected(networks, network, server)).then(|| Conflict::new(at, ConflictKind::Server, &network.name, server))
}

fn is_expected(networks: &Networks, network: &Network, server: Ipv4Addr) -> bool {
    network.other_servers.contains(&server) || networks.iter().any(|ours| ours.server == server)
}

/// What was told a short while ago is not told again. Bounded: what finds no room is told.
#[derive(Clone, Debug)]
pub struct Repeats<K> {
    pause: i64,
    told: BTreeMap<K, Millis>,
    pruned: Millis,
}

/// Keys remembered at most.
const REMEMBERED: usize = 8_192;

impl<K: Ord> Repeats<K> {
    /// `pause` in milliseconds.
    pub fn new(pause: i64) -> Self {
        Self { pause, told: BTreeMap::new(), pruned: Millis(i64::MIN) }
    }

    /// True when it has not been told within the pause; then it counts as told.
    pub fn is_news(&mut self, key: K, now: Millis) -> bool {
        let recent = |at: &Millis| now.0.saturating_sub(at.0) < self.pause;
        if self.told.get(&key).is_some_and(recent) {
            return false;
        }
        // Under a flood the walk over all of them is made once a pause at most.
        if self.told.len() >= REMEMBERED && now.0.saturating_sub(self.pruned.0) >= self.pause {
            self.pruned = now;
            self.told.retain(|_, at| recent(at));
        }
        if self.told.len() < REMEMBERED {
            self.told.insert(key, now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);
    const EXPECTED: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 2);
    const STRANGE: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 66);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x66]);

    fn networks() -> Networks {
        let mut network = Network::new("rack", "10.0.4.0/24".parse().unwrap(), OURS, "http://10.0.4.1:8080");
        network.interface = Some("eth0".to_owned());
        network.other_servers.insert(EXPECTED);
        Networks::new(vec![network]).unwrap()
    }

    fn reply(kind: Kind, yiaddr: Ipv4Addr, class: Option<&[u8]>) -> Request {
        Request {
            op: 2,
            kind: Some(kind),
            yiaddr,
            vendor_class: class.map(<[u8]>::to_vec),
            server_id: Some(STRANGE),
            ..Request::blank()
        }
    }

    fn heard(reply: &Request, source: Ipv4Addr, port: u16) -> Option<(ConflictKind, Ipv4Addr, Option<Mac>)> {
        let found = foreign(&networks(), "eth0", reply, (source, MAC, port), Millis(1))?;
        Some((found.kind, found.address, found.mac))
    }

    #[test]
    fn a4_a_foreign_offer_ack_or_nak_is_a_server_and_one_without_an_address_a_boot_server() {
        let none = Ipv4Addr::UNSPECIFIED;
        let server = Some((ConflictKind::Server, STRANGE, Some(MAC)));
        let boots = Some((ConflictKind::BootServer, STRANGE, Some(MAC)));
        for kind in [Kind::Offer, Kind::Ack, Kind::Nak] {
            assert_eq!(heard(&reply(kind, Ipv4Addr::new(10, 0, 4, 9), None), STRANGE, 67), server);
        }
        assert_eq!(heard(&reply(Kind::Ack, none, None), STRANGE, 67), server, "an answer to an INFORM");
        assert_eq!(heard(&reply(Kind::Offer, none, Some(b"PXEClient")), STRANGE, 67), boots);
        assert_eq!(heard(&reply(Kind::Ack, none, None), STRANGE, 4011), boots);
    }

    #[test]
    fn a4_our_own_and_expected_servers_and_requests_are_no_conflict() {
        let offer = reply(Kind::Offer, STRANGE, None);
        let by = |server| Request { server_id: Some(server), ..offer.clone() };
        assert_eq!(heard(&by(OURS), OURS, 67), None);
        assert_eq!(heard(&by(EXPECTED), EXPECTED, 67), None);
        assert_eq!(heard(&Request { op: 1, ..offer.clone() }, STRANGE, 67), None);
        assert_eq!(heard(&Request { kind: Some(Kind::Discover), ..offer.clone() }, STRANGE, 67), None);
        assert_eq!(foreign(&networks(), "eth9", &offer, (STRANGE, MAC, 67), Millis(1)), None);
        let unnamed = Request { server_id: None, ..offer };
        assert_eq!(heard(&unnamed, STRANGE, 67), Some((ConflictKind::Server, STRANGE, Some(MAC))));
    }

    #[test]
    fn a4_a_server_that_a_machine_names_is_one_that_nobody_heard() {
        let networks = networks();
        let network = networks.named("rack").unwrap();
        let found = taken_elsewhere(&networks, network, STRANGE, Millis(1)).unwrap();
        assert_eq!((found.kind, found.mac), (ConflictKind::Server, None));
        assert_eq!(taken_elsewhere(&networks, network, EXPECTED, Millis(1)), None);
    }

    #[test]
    fn every_conflict_is_a_sentence_with_a_next_step_and_a_word_that_reads_back() {
        for kind in ConflictKind::ALL {
            assert_eq!(ConflictKind::from_word(kind.word()), Some(kind));
            let mut conflict = Conflict { mac: Some(MAC), ..Conflict::new(Millis(1), kind, "rack", STRANGE) };
            for holder in [None, Some(Mac([2, 0, 0, 0, 0, 1]))] {
                conflict.holder = holder;
                let said = conflict.to_string();
                assert!(said.contains("10.0.4.66") && said.contains("rack") && said.contains(": "), "{said}");
            }
        }
    }

    #[test]
    fn what_was_told_is_not_told_again_within_its_pause_and_memory_is_bounded() {
        let mut repeats = Repeats::new(1000);
        assert!(repeats.is_news(1, Millis(0)) && !repeats.is_news(1, Millis(999)) && repeats.is_news(2, Millis(999)));
        assert!(repeats.is_news(1, Millis(1000)));
        for key in 0..20_000 {
            assert!(repeats.is_news(key + 10, Millis(2000)));
        }
        assert_eq!(repeats.told.len(), REMEMBERED);
        assert!(repeats.is_news(7, Millis(9000)) && !repeats.is_news(7, Millis(9001)), "the flood is forgotten");
    }

    #[test]
    fn a4_what_stands_in_a_foreign_reply_says_who_sent_it_and_what_it_is() {
        let (none, given) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 0, 4, 9));
        let server = Some((ConflictKind::Server, STRANGE, Some(MAC)));
        let boots = Some((ConflictKind::BootServer, STRANGE, Some(MAC)));
        assert_eq!(heard(&reply(Kind::Offer, given, Some(b"PXEClient")), STRANGE, 67), server, "it gives an address");
        assert_eq!(heard(&reply(Kind::Offer, none, Some(b"HTTPClient:x")), STRANGE, 67), boots);
        assert_eq!(heard(&reply(Kind::Offer, none, Some(b"MSFT")), STRANGE, 67), server);
        let unsaid = Request { server_id: Some(none), ..reply(Kind::Offer, given, None) };
        assert_eq!(heard(&unsaid, STRANGE, 67), server, "by where it came from");
        assert_eq!(heard(&reply(Kind::Offer, given, None), OURS, 67), None, "our own, whoever it names");
        assert_eq!(heard(&Request { server_id: Some(EXPECTED), ..unsaid.clone() }, STRANGE, 67), None);
        let group = foreign(&networks(), "eth0", &unsaid, (STRANGE, Mac([1; 6]), 67), Millis(1)).unwrap();
        assert_eq!((group.mac, group.at, group.network.as_str()), (None, Millis(1), "rack"));
    }

    #[test]
    fn a_flooded_memory_is_walked_once_a_pause_at_most() {
        let mut repeats = Repeats::new(1000);
        for key in 0..8_192 {
            assert!(repeats.is_news(key, Millis(0)));
        }
        let after = |pruned, now| {
            let mut repeats = Repeats { pruned: Millis(pruned), ..repeats.clone() };
            assert!(repeats.is_news(9_000, Millis(now)));
            repeats.told.len()
        };
        assert_eq!([after(0, 999), after(1, 1000), after(0, 1000)], [8_192, 8_192, 1]);
        assert_eq!(Repeats::<u8>::new(1).pruned, Millis(i64::MIN));
        let mut few = Repeats { pruned: Millis(0), ..Repeats::new(1000) };
        assert!(few.is_news(1, Millis(0)) && few.is_news(2, Millis(5000)));
        assert_eq!((few.told.len(), few.pruned), (2, Millis(0)), "no walk while there is room");
    }
}
