//! A DHCPv6 reply as plain values, and where it goes.

use super::request::Relay;
use crate::choice::Choice;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV6};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplyKind {
    Advertise = 2,
    Reply = 7,
}

/// RFC 8415, section 21.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    Success = 0,
    NoAddrsAvail = 2,
    NoBinding = 3,
    NotOnLink = 4,
    UseMulticast = 5,
    NoPrefixAvail = 6,
}

impl Status {
    /// For whoever reads a capture or a client's log.
    pub fn words(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::NoAddrsAvail => "no address is free for it",
            Self::NoBinding => "no such lease",
            Self::NotOnLink => "the address is not of this link",
            Self::UseMulticast => "ask all servers, not this one",
            Self::NoPrefixAvail => "no prefixes are given here",
        }
    }
}

/// The answer to one IA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IaReply {
    /// 3, 4 or 25.
    pub code: u16,
    pub iaid: u32,
    pub renew_seconds: u32,
    pub rebind_seconds: u32,
    /// Address, preferred and valid seconds; zero takes it away.
    pub addresses: Vec<(Ipv6Addr, u32, u32)>,
    pub status: Option<Status>,
}

impl IaReply {
    pub fn refused(code: u16, iaid: u32, status: Status) -> Self {
        let addresses = Vec::new();
        Self { code, iaid, renew_seconds: 0, rebind_seconds: 0, addresses, status: Some(status) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub kind: ReplyKind,
    pub xid: u32,
    /// The envelopes to put around it, outermost first.
    pub relays: Vec<Relay>,
    pub client_id: Option<Vec<u8>>,
    pub server_id: Vec<u8>,
    pub ias: Vec<IaReply>,
    pub status: Option<Status>,
    /// In the order they go out, before everything else: firmware reads a boot file URL up to a zero byte that is not its
    /// own (B4.2), and what follows here always begins with one.
    pub options: Vec<(u16, Vec<u8>)>,
    pub to: SocketAddrV6,
    /// What the machine was told to boot; for the record, not for the wire.
    pub choice: Choice,
}

impl Reply {
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|(it, _)| *it == code).map(|(_, value)| value.as_slice())
    }

    /// The address it gives, if it gives one.
    pub fn address(&self) -> Option<Ipv6Addr> {
        let given = |(address, _, valid): &(Ipv6Addr, u32, u32)| (*valid > 0).then_some(*address);
        self.ias.iter().flat_map(|ia| &ia.addresses).find_map(given)
    }
}

/// What it says, for a person.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.kind == ReplyKind::Advertise { "ADVERTISE" } else { "REPLY" })?;
        if let Some(address) = self.address() {
            return write!(f, " {address}; {}", self.choice);
        }
        let refused = self.status.or(self.ias.iter().find_map(|ia| ia.status));
        match refused {
            Some(status) => write!(f, ": {}", status.words()),
            None => write!(f, " without an address; {}", self.choice),
        }
    }
}
