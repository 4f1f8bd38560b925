//! What was seen of a machine on the boot path: first-sight events, its place, and the answer to "why did this MAC
//! get no answer" are made of these.

use crate::choice::{Choice, Client};
use crate::reply::ReplyKind;
use crate::silence::Silence;
use crate::v6;
use muster_names::{Mac, Millis};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SightingKind {
    Discover,
    /// How a client begins over IPv6.
    Solicit,
    Request,
    Decline,
    Release,
    Inform,
    /// A boot server request on port 4011.
    BootServer,
    /// Anything on port 547; the answer says which message it was.
    Tftp,
    Http,
    Other,
}

impl SightingKind {
    /// The first message of who has no address yet.
    pub fn begins(self) -> bool {
        matches!(self, Self::Discover | Self::Solicit)
    }

    pub fn wants_address(self) -> bool {
        self.begins() || self == Self::Request
    }
}

/// What the machine was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Silence(Silence),
    /// Dropped before the rules: over the machine's rate, too old, a repeat.
    Dropped(&'static str),
    Dhcp {
        kind: ReplyKind,
        address: Ipv4Addr,
        choice: Choice,
    },
    /// Over IPv6, in words. `bound`: the address may be used from now on; without an address it was given none.
    Dhcp6 {
        bound: bool,
        address: Option<Ipv6Addr>,
        choice: Choice,
        words: String,
    },
    /// No answer over IPv6.
    Silence6(v6::Silence),
    /// A boot script. `wanted`: the disk is what its state wants.
    Script {
        agent: bool,
        wanted: bool,
        why: String,
    },
    /// Noted, and by the protocol not answered (release, decline).
    Noted,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(why) => write!(f, "no answer: {why}"),
            Self::Dropped(why) => write!(f, "dropped: {why}"),
            Self::Dhcp { kind: ReplyKind::Nak, .. } => f.write_str("NAK: the address it asked for is not its own"),
            Self::Dhcp { kind, address, choice } if address.is_unspecified() => {
                let kind = if *kind == ReplyKind::Offer { "OFFER" } else { "ACK" };
                write!(f, "{kind} without a lease; {choice}")
            }
            Self::Dhcp { kind: ReplyKind::Offer, address, choice } => write!(f, "OFFER {address}; {choice}"),
            Self::Dhcp { kind: ReplyKind::Ack, address, choice } => write!(f, "ACK {address}; {choice}"),
            Self::Dhcp6 { words, .. } => f.write_str(words),
            Self::Silence6(why) => write!(f, "no answer: {why}"),
            Self::Script { agent: true, .. } => f.write_str("the agent script"),
            Self::Script { why, .. } if why.is_empty() => f.write_str("the disk script"),
            Self::Script { why, .. } => write!(f, "the disk script: {why}"),
            Self::Noted => f.write_str("noted"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub at: Millis,
    pub mac: Mac,
    pub network: Option<String>,
    pub client: Client,
    pub xid: u32,
    pub kind: SightingKind,
    pub arch: Option<u16>,
    pub vendor_class: Option<String>,
    /// The kind of client that data knows it by.
    pub known_as: Option<String>,
    pub giaddr: Option<Ipv4Addr>,
    /// Option 82 as bytes; [`plain_text`] shows them.
    pub circuit_id: Option<Vec<u8>>,
    pub remote_id: Option<Vec<u8>>,
    pub said: Said,
}

impl Sighting {
    /// A sighting that knows nothing but the machine.
    pub fn of(at: Millis, mac: Mac, kind: SightingKind, said: Said) -> Self {
        Self {
            at,
            mac,
            network: None,
            client: Client::Plain,
            xid: 0,
            kind,
            arch: None,
            vendor_class: None,
            known_as: None,
            giaddr: None,
            circuit_id: None,
            remote_id: None,
            said,
        }
    }

    pub fn circuit_text(&self) -> Option<String> {
        self.circuit_id.as_deref().map(plain_text)
    }

    pub fn remote_text(&self) -> Option<String> {
        self.remote_id.as_deref().map(plain_text)
    }
}

/// Bytes from the wire for a person: printable ASCII as it is, anything else as hex pairs.
pub fn plain_text(bytes: &[u8]) -> String {
    let trimmed = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if !trimmed.is_empty() && trimmed.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return trimmed.iter().map(|byte| char::from(*byte)).collect();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ProxyStyle;

    #[test]
    fn bytes_of_the_wire_are_shown_as_text_or_as_hex_and_never_raw() {
        assert_eq!(plain_text(b"Ethernet1/7"), "Ethernet1/7");
        assert_eq!(plain_text(b"eth0\0"), "eth0");
        assert_eq!(plain_text(&[0, 4, 0x1b]), "00:04:1b");
        assert_eq!(plain_text(&[]), "");
    }

    #[test]
    fn every_answer_is_a_sentence() {
        let silence = Said::Silence(Silence::PoolExhausted).to_string();
        assert_eq!(silence, "no answer: no address is free in the network's ranges; widen them");
        let address = Ipv4Addr::new(10, 0, 4, 10);
        let choice = Choice::Tftp { file: "ipxe.efi".to_owned(), proxy: ProxyStyle::Pxe10 };
        let offer = Said::Dhcp { kind: ReplyKind::Offer, address, choice };
        assert_eq!(offer.to_string(), "OFFER 10.0.4.10; boot ipxe.efi by TFTP");
    }

    #[test]
    fn what_was_answered_is_told_in_words_with_and_without_an_address() {
        let choice = || Choice::Script { url: "http://a/b".to_owned() };
        let dhcp = |kind, last| Said::Dhcp { kind, address: Ipv4Addr::new(0, 0, 0, last), choice: choice() };
        let script = |agent, why: &str| Said::Script { agent, wanted: true, why: why.to_owned() };
        let words = "REPLY".to_owned();
        for (said, expected) in [
            (dhcp(ReplyKind::Offer, 0), "OFFER without a lease; boot http://a/b"),
            (dhcp(ReplyKind::Ack, 0), "ACK without a lease; boot http://a/b"),
            (dhcp(ReplyKind::Offer, 1), "OFFER 0.0.0.1; boot http://a/b"),
            (dhcp(ReplyKind::Ack, 1), "ACK 0.0.0.1; boot http://a/b"),
            (dhcp(ReplyKind::Nak, 0), "NAK: the address it asked for is not its own"),
            (Said::Dropped("too old"), "dropped: too old"),
            (Said::Dhcp6 { bound: true, address: None, choice: choice(), words }, "REPLY"),
            (Said::Silence6(v6::Silence::NothingToConfirm), "no answer: CONFIRM without an address"),
            (script(true, "x"), "the agent script"),
            (script(false, ""), "the disk script"),
            (script(false, "as it should"), "the disk script: as it should"),
            (Said::Noted, "noted"),
        ] {
            assert_eq!(said.to_string(), expected);
        }
    }

    #[test]
    fn what_a_relay_says_of_a_port_is_told_as_text() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let mut sighting = Sighting::of(Millis(1), mac, SightingKind::Discover, Said::Noted);
        assert_eq!((sighting.circuit_text(), sighting.remote_text()), (None, None));
        (sighting.circuit_id, sighting.remote_id) = (Some(b" ~".to_vec()), Some(b"\x7f".to_vec()));
        assert_eq!((sighting.circuit_text().as_deref(), sighting.remote_text().as_deref()), (Some(" ~"), Some("7f")));
        assert_eq!((plain_text(b"\0"), plain_text(b"a\x1f")), ("00".to_owned(), "61:1f".to_owned()));
    }

    #[test]
    fn who_has_no_address_yet_begins_and_wants_one() {
        use SightingKind::{BootServer, Discover, Inform, Request, Solicit};
        for (kind, begins, wants) in [
            (Discover, true, true),
            (Solicit, true, true),
            (Request, false, true),
            (Inform, false, false),
            (BootServer, false, false),
        ] {
            assert_eq!((kind.begins(), kind.wants_address()), (begins, wants), "{kind:?}");
        }
    }
}
