//! A DHCPv4 request as plain values: everything the rules look at, nothing decided yet.

use muster_names::Mac;
use std::net::Ipv4Addr;

/// Option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
    /// A type we do not speak (lease query, force renew ...).
    Other(u8),
}

impl From<u8> for Kind {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            other => Self::Other(other),
        }
    }
}

/// Option 82 as a relay wrote it, and what we read in it (RFC 3046, 3527, 5010, 5107, 8357).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// Echoed verbatim (B1.17).
    pub raw: Vec<u8>,
    pub circuit_id: Option<Vec<u8>>,
    pub remote_id: Option<Vec<u8>>,
    pub subscriber_id: Option<Vec<u8>>,
    pub link_selection: Option<Ipv4Addr>,
    /// Sub-option 10, bit 0x80: the client's packet was a unicast.
    pub was_unicast: bool,
    pub server_override: Option<Ipv4Addr>,
    /// Sub-option 19: the relay listens on another port, which its datagram came from.
    pub source_port: bool,
}

impl Relay {
    /// Reads the sub-options one by one; a broken one ends the walk, what was read before it counts.
    pub fn read(raw: &[u8]) -> Self {
        let mut relay = Self { raw: raw.to_vec(), ..Self::default() };
        let mut rest = raw;
        while let [code, length, tail @ ..] = rest {
            let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else { break };
            rest = next;
            match code {
                1 => relay.circuit_id = Some(value.to_vec()),
                2 => relay.remote_id = Some(value.to_vec()),
                5 => relay.link_selection = address(value),
                6 => relay.subscriber_id = Some(value.to_vec()),
                10 => relay.was_unicast = value.first().is_some_and(|flags| flags & 0x80 != 0),
                11 => relay.server_override = address(value),
                19 => relay.source_port = true,
                _ => {}
            }
        }
        relay
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

/// One request. Absent options are None or empty; a malformed one counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub op: u8,
    pub htype: u8,
    pub hlen: u8,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
    /// 53; None is BOOTP.
    pub kind: Option<Kind>,
    /// 12
    pub hostname: Option<Vec<u8>>,
    /// 43 raw
    pub vendor_options: Option<Vec<u8>>,
    /// 50
    pub requested: Option<Ipv4Addr>,
    /// 54
    pub server_id: Option<Ipv4Addr>,
    /// 55
    pub wanted: Vec<u8>,
    /// 57
    pub max_size: Option<u16>,
    /// 60
    pub vendor_class: Option<Vec<u8>>,
    /// 61 raw
    pub client_id: Option<Vec<u8>>,
    /// 77 raw
    pub user_class: Option<Vec<u8>>,
    /// 82
    pub relay: Option<Relay>,
    /// 93, the whole list
    pub archs: Vec<u16>,
    /// 97 raw
    pub uuid: Option<Vec<u8>>,
    /// 118
    pub subnet_selection: Option<Ipv4Addr>,
    /// 175 raw: only iPXE sends it
    pub ipxe: Option<Vec<u8>>,
}

impl Request {
    /// An empty request of one machine; the codec and tests fill it.
    pub fn of(mac: Mac, kind: Kind) -> Self {
        let mut chaddr = [0; 16];
        for (to, from) in chaddr.iter_mut().zip(mac.0) {
            *to = from;
        }
        Self { kind: Some(kind), chaddr, ..Self::blank() }
    }

    /// A BOOTREQUEST from Ethernet that says nothing.
    pub fn blank() -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self {
            op: 1,
            htype: 1,
            hlen: 6,
            hops: 0,
            xid: 0,
            secs: 0,
            flags: 0,
            ciaddr: none,
            yiaddr: none,
            siaddr: none,
            giaddr: none,
            chaddr: [0; 16],
            kind: None,
            hostname: None,
            vendor_options: None,
            requested: None,
            server_id: None,
            wanted: Vec::new(),
            max_size: None,
            vendor_class: None,
            client_id: None,
            user_class: None,
            relay: None,
            archs: Vec::new(),
            uuid: None,
            subnet_selection: None,
            ipxe: None,
        }
    }

    /// The machine's identity on the wire (B1.20): its hardware address, never the client id.
    pub fn mac(&self) -> Option<Mac> {
        let [a, b, c, d, e, f, ..] = self.chaddr;
        let mac = Mac([a, b, c, d, e, f]);
        (self.hlen == 6 && mac.is_unicast()).then_some(mac)
    }

    pub fn wants_broadcast(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }

    /// B1.8: some clients set ciaddr when they should not; it counts in neither a DISCOVER nor beside option 50.
    pub fn believed_ciaddr(&self) -> Option<Ipv4Addr> {
        let believed = self.kind != Some(Kind::Discover) && self.requested.is_none() && !self.ciaddr.is_unspecified();
        believed.then_some(self.ciaddr)
    }

    /// B1.26: RFC 3004 says a list with lengths, iPXE and others send the bare word.
    pub fn has_user_class(&self, word: &[u8]) -> bool {
        let Some(raw) = self.user_class.as_deref() else { return false };
        if raw == word {
            return true;
        }
        let mut rest = raw;
        while let [length, tail @ ..] = rest {
            let Some((item, next)) = tail.split_at_checked(usize::from(*length)) else { return false };
            if item == word {
                return true;
            }
            rest = next;
        }
        false
    }

    /// B1.22 and B12: the bytes the client's DHCP message may have. A REQUEST's word is not believed above what edk2
    /// really takes.
    pub fn size_limit(&self) -> usize {
        const HEADERS: u16 = 28;
        usize::from(self.max_size.unwrap_or(576).clamp(576, 1472).saturating_sub(HEADERS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_26_a_user_class_is_read_in_both_forms() {
        let with = |raw: &[u8]| Request { user_class: Some(raw.to_vec()), ..Request::blank() };
        for raw in [&b"iPXE"[..], b"\x04iPXE", b"\x03foo\x04iPXE"] {
            assert!(with(raw).has_user_class(b"iPXE"), "{raw:?}");
        }
        for raw in [&b""[..], b"iPX", b"\x04iPX", b"\xffiPXE", b"\x03foo", b"\x00"] {
            assert!(!with(raw).has_user_class(b"iPXE"), "{raw:?}");
        }
        assert!(!Request::blank().has_user_class(b"iPXE"));
    }

    #[test]
    fn b1_17_a_broken_sub_option_ends_the_walk_and_what_was_before_it_counts() {
        let relay = Relay::read(&[1, 2, 7, 8, 2, 3, 1, 2, 3, 10, 1, 0x80, 6, 200, 1]);
        assert_eq!(relay.circuit_id.as_deref(), Some(&[7, 8][..]));
        assert_eq!(relay.remote_id.as_deref(), Some(&[1, 2, 3][..]));
        assert!(relay.was_unicast);
        assert_eq!(relay.subscriber_id, None);
        assert_eq!(Relay::read(&[5, 3, 1, 2, 3]).link_selection, None);
    }

    #[test]
    fn b1_8_ciaddr_counts_only_where_the_standard_lets_it() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let there = Ipv4Addr::new(10, 0, 0, 5);
        let with = |kind, requested| Request { ciaddr: there, requested, ..Request::of(mac, kind) };
        assert_eq!(with(Kind::Request, None).believed_ciaddr(), Some(there));
        assert_eq!(with(Kind::Request, Some(there)).believed_ciaddr(), None);
        assert_eq!(with(Kind::Discover, None).believed_ciaddr(), None);
    }

    #[test]
    fn b1_20_only_a_six_byte_unicast_address_is_a_machine() {
        let of = |mac, hlen| Request { hlen, ..Request::of(mac, Kind::Discover) }.mac();
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        assert_eq!(of(mac, 6), Some(mac));
        assert_eq!(of(mac, 0), None);
        assert_eq!(of(mac, 16), None);
        assert_eq!(of(Mac([1, 0, 0, 0, 0, 1]), 6), None);
        assert_eq!(of(Mac([0; 6]), 6), None);
    }

    #[test]
    fn every_message_type_is_read_and_what_we_do_not_speak_keeps_its_number() {
        use Kind::{Ack, Decline, Discover, Inform, Nak, Offer, Other, Release, Request};
        let all = [Other(0), Discover, Offer, Request, Decline, Ack, Nak, Release, Inform, Other(9)];
        assert_eq!((0..10).map(Kind::from).collect::<Vec<_>>(), all);
    }

    #[test]
    fn b1_17_every_sub_option_of_a_relay_is_read_and_a_strange_one_passed_over() {
        let raw = [
            &[1, 1, 7, 2, 2, 8, 9, 151, 1, 1, 5, 4, 10, 0, 4, 0][..],
            &[6, 1, 5, 10, 1, 0x7f, 11, 4, 172, 16, 0, 9, 19, 0],
        ];
        let read = Relay {
            raw: raw.concat(),
            circuit_id: Some(vec![7]),
            remote_id: Some(vec![8, 9]),
            subscriber_id: Some(vec![5]),
            link_selection: Some(Ipv4Addr::new(10, 0, 4, 0)),
            was_unicast: false,
            server_override: Some(Ipv4Addr::new(172, 16, 0, 9)),
            source_port: true,
        };
        assert_eq!(Relay::read(&raw.concat()), read);
        assert!(Relay::read(&[10, 1, 0x81]).was_unicast && !Relay::read(&[10, 0]).was_unicast);
        assert_eq!(Relay::read(&[]), Relay::default());
    }

    #[test]
    fn b1_3_one_flag_asks_for_a_broadcast_and_b1_22_a_message_has_between_548_and_1444_bytes() {
        let flagged = |flags| Request { flags, ..Request::blank() }.wants_broadcast();
        assert!(flagged(0x8000) && flagged(0xffff) && !flagged(0x7fff) && !flagged(0));
        let limits = [None, Some(575), Some(577), Some(1472), Some(1473)];
        let limits = limits.map(|max_size| Request { max_size, ..Request::blank() }.size_limit());
        assert_eq!(limits, [548, 548, 549, 1444, 1444]);
        assert_eq!(Request::of(Mac([2, 0, 0, 0, 0, 1]), Kind::Request).believed_ciaddr(), None);
    }
}
