//! A DHCPv6 request as plain values: the relays around it and the message inside, nothing decided yet.

use muster_names::Mac;
use std::fmt;
use std::net::Ipv6Addr;

/// The message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Solicit,
    Request,
    Confirm,
    Renew,
    Rebind,
    Release,
    Decline,
    InformationRequest,
    /// What only servers and relays send, or nobody: lease queries, reconfigure, a relay's message inside none.
    Other(u8),
}

impl From<u8> for Kind {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Solicit,
            3 => Self::Request,
            4 => Self::Confirm,
            5 => Self::Renew,
            6 => Self::Rebind,
            8 => Self::Release,
            9 => Self::Decline,
            11 => Self::InformationRequest,
            other => Self::Other(other),
        }
    }
}

impl Kind {
    /// For counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Solicit => "solicit",
            Self::Request => "request",
            Self::Confirm => "confirm",
            Self::Renew => "renew",
            Self::Rebind => "rebind",
            Self::Release => "release",
            Self::Decline => "decline",
            Self::InformationRequest => "information-request",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(code) => write!(f, "message type {code}"),
            known => f.write_str(&known.label().to_uppercase()),
        }
    }
}

/// One relay's envelope (RFC 8415, section 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub hops: u8,
    /// An address of the link the client is on; unspecified when the relay only passes frames on (RFC 6221).
    pub link: Ipv6Addr,
    /// Whom the relay heard: the client, or the relay before it.
    pub peer: Ipv6Addr,
    /// 18: echoed, for the relay finds its way back by it.
    pub interface_id: Option<Vec<u8>>,
    /// 37, without its enterprise number.
    pub remote_id: Option<Vec<u8>>,
    /// 79: hardware type and the client's own link-layer address (RFC 6939).
    pub link_layer: Option<(u16, Vec<u8>)>,
    /// 135: it listens on the port it sent from (RFC 8357).
    pub source_port: Option<u16>,
}

impl Relay {
    pub fn new(link: Ipv6Addr, peer: Ipv6Addr) -> Self {
        Self { hops: 0, link, peer, interface_id: None, remote_id: None, link_layer: None, source_port: None }
    }
}

/// An IA_NA: what the client calls one of its needs for an address, and the addresses it has or wishes for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ia {
    pub iaid: u32,
    pub addresses: Vec<Ipv6Addr>,
}

/// One request. Absent options are None or empty; a malformed one counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: Kind,
    /// 24 bits.
    pub xid: u32,
    /// Outermost first.
    pub relays: Vec<Relay>,
    /// 1
    pub client_id: Option<Vec<u8>>,
    /// 2
    pub server_id: Option<Vec<u8>>,
    /// 3
    pub ias: Vec<Ia>,
    /// 4 and 25, temporary addresses and prefixes: option code and IAID. We have none to give, and say so.
    pub others: Vec<(u16, u32)>,
    /// 6
    pub wanted: Vec<u16>,
    /// 14
    pub rapid_commit: bool,
    /// 15
    pub user_classes: Vec<Vec<u8>>,
    /// 16: the first class in it, without the enterprise number
    pub vendor_class: Option<Vec<u8>>,
    /// 61, the whole list
    pub archs: Vec<u16>,
}

impl Request {
    /// A message that says nothing; the codec and tests fill it.
    pub fn of(kind: Kind, xid: u32) -> Self {
        Self {
            kind,
            xid,
            relays: Vec::new(),
            client_id: None,
            server_id: None,
            ias: Vec::new(),
            others: Vec::new(),
            wanted: Vec::new(),
            rapid_commit: false,
            user_classes: Vec::new(),
            vendor_class: None,
            archs: Vec::new(),
        }
    }

    pub fn is_relayed(&self) -> bool {
        !self.relays.is_empty()
    }

    /// The link the client is on, as the relay nearest to it says that says anything (RFC 8415, section 13.1).
    pub fn link(&self) -> Option<Ipv6Addr> {
        self.relays.iter().rev().map(|relay| relay.link).find(|link| !link.is_unspecified())
    }

    /// The same question as IPv4 firmware would put it, so that one set of rules decides what boots.
    pub fn as_asked_over_v4(&self, mac: Mac) -> crate::Request {
        let user_class = self.user_classes.iter().find(|class| class.as_slice() == b"iPXE");
        crate::Request {
            xid: self.xid,
            vendor_class: self.vendor_class.clone(),
            user_class: user_class.or(self.user_classes.first()).cloned(),
            archs: self.archs.clone(),
            ..crate::Request::of(mac, crate::Kind::Request)
        }
    }
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress<'a> {
    pub interface: &'a str,
    pub source: Ipv6Addr,
    pub source_port: u16,
    /// Sent to our own address, not to all servers.
    pub unicast: bool,
    /// The hardware address on the frame.
    pub heard: Option<Mac>,
}
