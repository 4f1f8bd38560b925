//! Ears beside a live DHCP server: what passes an interface on the ports of DHCP, requests and replies, ours to hear and
//! never to answer.
//!
//! That nothing is sent is no promise of the code above: [`seal()`] has the kernel refuse every call that could send or open
//! a socket, for the rest of the process's life. A port of our own (67, or a bound UDP socket) was turned down: it would
//! not hear what is sent to the live server's address, and it could answer.

mod seal;
mod tap;

pub use seal::seal;
pub use tap::{Signals, Tap, wait};

use std::net::{Ipv4Addr, SocketAddrV4};

/// A UDP datagram within an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub payload: &'a [u8],
}

/// Reads an IPv4 packet as it was captured; padding behind it is cut off. Fragments and what is no UDP are none.
pub fn datagram(packet: &[u8]) -> Option<Heard<'_>> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != 17 {
        return None;
    }
    let short = |from: usize| packet.get(from..from + 2)?.first_chunk::<2>().map(|raw| u16::from_be_bytes(*raw));
    let quad = |from: usize| packet.get(from..from + 4)?.first_chunk::<4>().map(|raw| Ipv4Addr::from(*raw));
    // More fragments, or not the first one.
    if short(6)? & 0x3fff != 0 {
        return None;
    }
    let length = usize::from(short(header + 4)?);
    let payload = packet.get(header + 8..header.checked_add(length)?)?;
    Some(Heard {
        source: SocketAddrV4::new(quad(12)?, short(header)?),
        destination: SocketAddrV4::new(quad(16)?, short(header + 2)?),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255];
        let length = u16::try_from(payload.len() + 8).unwrap();
        bytes.extend_from_slice(&[0, 68, 0, 67]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_datagram_is_read_without_the_padding_of_its_frame() {
        let padded = [packet(b"hello"), vec![0; 18]].concat();
        let heard = datagram(&padded).unwrap();
        assert_eq!((heard.payload, heard.source.port(), heard.destination.port()), (&b"hello"[..], 68, 67));
        assert!(heard.destination.ip().is_broadcast());
    }

    #[test]
    fn what_is_no_whole_datagram_is_none() {
        let good = packet(b"hello");
        for (at, byte) in [(0, 0x65), (0, 0x44), (9, 6), (6, 0x20), (7, 1), (25, 200), (25, 3)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(datagram(&bad), None, "{at}: {byte}");
        }
        for length in 0..good.len() {
            assert_eq!(datagram(&good[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = datagram(&bytes);
        }
    }
}
