//! Why a DHCPv6 message got no answer. Each reason is a sentence for a person and a label for a counter.

use super::request::Kind;
use std::fmt;
use std::net::Ipv6Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Silence {
    UnknownKind(u8),
    NoClientId(Kind),
    NoServerId(Kind),
    ServerIdNotExpected(Kind),
    OtherServer,
    AddressesNotExpected,
    SentToOneServer(Kind),
    ForeignSource(Ipv6Addr),
    NoHardwareAddress,
    NoNetwork,
    UnknownRelay(Ipv6Addr),
    Stranger,
    StoreAway,
    NothingToConfirm,
    NotOurLease,
}

impl Silence {
    pub const LABELS: [&str; 15] = [
        "unknown-kind",
        "no-client-id",
        "no-server-id",
        "server-id-not-expected",
        "other-server",
        "addresses-not-expected",
        "sent-to-one-server",
        "foreign-source",
        "no-hardware-address",
        "no-network",
        "unknown-relay",
        "stranger",
        "store-away",
        "nothing-to-confirm",
        "not-our-lease",
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownKind(_) => "unknown-kind",
            Self::NoClientId(_) => "no-client-id",
            Self::NoServerId(_) => "no-server-id",
            Self::ServerIdNotExpected(_) => "server-id-not-expected",
            Self::OtherServer => "other-server",
            Self::AddressesNotExpected => "addresses-not-expected",
            Self::SentToOneServer(_) => "sent-to-one-server",
            Self::ForeignSource(_) => "foreign-source",
            Self::NoHardwareAddress => "no-hardware-address",
            Self::NoNetwork => "no-network",
            Self::UnknownRelay(_) => "unknown-relay",
            Self::Stranger => "stranger",
            Self::StoreAway => "store-away",
            Self::NothingToConfirm => "nothing-to-confirm",
            Self::NotOurLease => "not-our-lease",
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(code) => write!(f, "message type {code} is none that a client sends"),
            Self::NoClientId(kind) => write!(f, "{kind} without a client identifier; the standard discards it"),
            Self::NoServerId(kind) => write!(f, "{kind} without a server identifier; the standard discards it"),
            Self::ServerIdNotExpected(kind) => {
                write!(f, "{kind} with a server identifier, which is for all servers; the standard discards it")
            }
            Self::OtherServer => f.write_str("it is for another DHCPv6 server; look for a second one on this network"),
            Self::AddressesNotExpected => {
                f.write_str("INFORMATION-REQUEST that asks for addresses; the standard discards it")
            }
            Self::SentToOneServer(kind) => write!(f, "{kind} sent to one server alone; the standard discards it"),
            Self::ForeignSource(source) => {
                write!(f, "it came from {source}, which is no address of this link; only relays ask from elsewhere")
            }
            Self::NoHardwareAddress => f.write_str(
                "no hardware address is known of it; let the relay add option 79 (client link-layer address)",
            ),
            Self::NoNetwork => f.write_str(
                "the interface belongs to no network with IPv6; set `ipv6` in its [[network]] to serve it",
            ),
            Self::UnknownRelay(link) => {
                write!(f, "the relay's link address {link} is of no network with IPv6; add one that holds it")
            }
            Self::Stranger => f.write_str(
                "the machine is not ours and the network is neither dedicated nor authoritative; adopt it or declare it",
            ),
            Self::StoreAway => f.write_str("the lease store is away: only known leases are confirmed"),
            Self::NothingToConfirm => f.write_str("CONFIRM without an address"),
            Self::NotOurLease => f.write_str("the lease is not ours, and another server may know it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_silence_over_ipv6_has_a_label_of_its_own_and_a_sentence() {
        let link = Ipv6Addr::LOCALHOST;
        let kind = Kind::Solicit;
        let all = [
            Silence::UnknownKind(7),
            Silence::NoClientId(kind),
            Silence::NoServerId(kind),
            Silence::ServerIdNotExpected(kind),
            Silence::OtherServer,
            Silence::AddressesNotExpected,
            Silence::SentToOneServer(kind),
            Silence::ForeignSource(link),
            Silence::NoHardwareAddress,
            Silence::NoNetwork,
            Silence::UnknownRelay(link),
            Silence::Stranger,
            Silence::StoreAway,
            Silence::NothingToConfirm,
            Silence::NotOurLease,
        ];
        assert_eq!(all.map(Silence::label), Silence::LABELS);
        assert!(all.iter().all(|why| why.to_string().len() > 15));
    }
}
