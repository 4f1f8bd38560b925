//! Why a request got no answer. Each reason is a sentence for a person and a label for a counter.

use crate::choice::WhyDisk;
use std::fmt;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Silence {
    NotARequest,
    NoHardwareAddress,
    Bootp,
    UnknownKind(u8),
    NoNetwork,
    UnknownRelay(Ipv4Addr),
    Stranger,
    OtherServer(Ipv4Addr),
    PoolExhausted,
    ReservationTaken(Ipv4Addr),
    ReservationDeclined(Ipv4Addr),
    StoreAway,
    NotOurLease,
    NotTheHolder,
    NakTooSoon,
    NothingToBoot,
    NoAddressAsked,
    /// Another server's network: only boots are ours to answer.
    AddressesElsewhere,
    /// Beside another server a machine that boots its disk hears nothing of us.
    OwnDisk(WhyDisk),
}

impl Silence {
    pub const LABELS: [&str; 19] = [
        "not-a-request",
        "no-hardware-address",
        "bootp",
        "unknown-kind",
        "no-network",
        "unknown-relay",
        "stranger",
        "other-server",
        "pool-exhausted",
        "reservation-taken",
        "reservation-declined",
        "store-away",
        "not-our-lease",
        "not-the-holder",
        "nak-too-soon",
        "nothing-to-boot",
        "no-address-asked",
        "addresses-elsewhere",
        "own-disk",
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::NotARequest => "not-a-request",
            Self::NoHardwareAddress => "no-hardware-address",
            Self::Bootp => "bootp",
            Self::UnknownKind(_) => "unknown-kind",
            Self::NoNetwork => "no-network",
            Self::UnknownRelay(_) => "unknown-relay",
            Self::Stranger => "stranger",
            Self::OtherServer(_) => "other-server",
            Self::PoolExhausted => "pool-exhausted",
            Self::ReservationTaken(_) => "reservation-taken",
            Self::ReservationDeclined(_) => "reservation-declined",
            Self::StoreAway => "store-away",
            Self::NotOurLease => "not-our-lease",
            Self::NotTheHolder => "not-the-holder",
            Self::NakTooSoon => "nak-too-soon",
            Self::NothingToBoot => "nothing-to-boot",
            Self::NoAddressAsked => "no-address-asked",
            Self::AddressesElsewhere => "addresses-elsewhere",
            Self::OwnDisk(_) => "own-disk",
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARequest => f.write_str("the packet is a reply, or a message that servers send"),
            Self::NoHardwareAddress => f.write_str("the packet carries no six-byte unicast hardware address"),
            Self::Bootp => f.write_str("the packet is plain BOOTP (no option 53), which is not served"),
            Self::UnknownKind(kind) => write!(f, "DHCP message type {kind} is not served"),
            Self::NoNetwork => f.write_str("no configured network is on the interface the packet came in"),
            Self::UnknownRelay(relay) => {
                write!(f, "the relay speaks for {relay}, which is in no configured network; add the network")
            }
            Self::Stranger => f.write_str(
                "the machine is not marked as ours, and this network is neither dedicated nor authoritative; adopt the machine, or mark the network",
            ),
            Self::OtherServer(server) => write!(f, "the machine took the offer of another DHCP server, {server}"),
            Self::PoolExhausted => f.write_str("no address is free in the network's ranges; widen them"),
            Self::ReservationTaken(address) => {
                write!(f, "its reserved address {address} is leased to another machine until that lease ends")
            }
            Self::ReservationDeclined(address) => {
                write!(f, "its reserved address {address} was declined: another host uses it; find that host")
            }
            Self::StoreAway => f.write_str("the lease store does not answer; nothing new is leased until it does"),
            Self::NotOurLease => {
                f.write_str("the address is not one of ours to confirm, and this network is not authoritative")
            }
            Self::NotTheHolder => f.write_str("the address it gives back or declines is not leased to it"),
            Self::NakTooSoon => f.write_str("it was refused less than a second ago"),
            Self::NothingToBoot => f.write_str("it asked the boot server for a file, and there is none for it"),
            Self::NoAddressAsked => f.write_str("the message names no address"),
            Self::AddressesElsewhere => f.write_str(
                "another server gives the addresses of this network (dhcp.mode = \"proxy\"); here only boots are answered",
            ),
            Self::OwnDisk(why) => write!(f, "it is to {why}"),
        }
    }
}
