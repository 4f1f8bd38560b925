//! A DHCPv4 reply as plain values, and where it goes.

use crate::choice::Choice;
use crate::network::{Ingress, Network};
use crate::request::Request;
use muster_names::Mac;
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVER_PORT: u16 = 67;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReplyKind {
    Offer = 2,
    Ack = 5,
    Nak = 6,
}

/// Where a reply is sent, always from the port its request came to (B1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the relay that passed the request on.
    Relay(SocketAddrV4),
    /// To the client's own address, port 68.
    Client(Ipv4Addr),
    /// 255.255.255.255:68 on the ingress interface.
    Broadcast,
    /// To an address the client does not have yet: a frame to its MAC.
    Hardware(Ipv4Addr, Mac),
    /// Back to where the request came from (4011, INFORM).
    Source(SocketAddrV4),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub kind: ReplyKind,
    pub htype: u8,
    pub hlen: u8,
    pub xid: u32,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
    pub sname: String,
    pub file: String,
    /// In the order they go out, 53 first; no empty one (B1.23). Option 82 comes after them.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Option 82 verbatim (B1.17).
    pub relay: Option<Vec<u8>>,
    /// The message must not be longer (B1.22).
    pub size_limit: usize,
    pub destination: Destination,
    /// The address of ours it leaves from.
    pub source: Ipv4Addr,
    /// What the machine was told to boot; for the record, not for the wire.
    pub choice: Choice,
}

impl Reply {
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(it, _)| *it == code).map(|(_, value)| value.as_slice())
    }
}

/// B1.1 to B1.4, B1.15, B2.8: the order matters.
pub fn destination(
    kind: ReplyKind,
    request: &Request,
    yiaddr: Ipv4Addr,
    network: Option<&Network>,
    ingress: Ingress<'_>,
) -> Destination {
    if ingress.port != SERVER_PORT {
        return Destination::Source(ingress.source);
    }
    if request.is_relayed() {
        let own_port = request.relay.as_ref().is_some_and(|relay| relay.source_port);
        let port = if own_port { ingress.source.port() } else { SERVER_PORT };
        return Destination::Relay(SocketAddrV4::new(request.giaddr, port));
    }
    if kind == ReplyKind::Nak {
        return Destination::Broadcast;
    }
    if let Some(ciaddr) = request.believed_ciaddr() {
        return Destination::Client(ciaddr);
    }
    if yiaddr.is_unspecified() && kind == ReplyKind::Offer {
        // B2.8: beside another server the machine has no address yet, whatever it calls itself.
        return Destination::Broadcast;
    }
    if yiaddr.is_unspecified() {
        let source = ingress.source;
        return if source.ip().is_unspecified() { Destination::Broadcast } else { Destination::Source(source) };
    }
    let forced = network.is_some_and(|network| network.force_broadcast);
    match request.mac() {
        Some(mac) if !request.wants_broadcast() && !forced && request.htype == 1 => Destination::Hardware(yiaddr, mac),
        _ => Destination::Broadcast,
    }
}
