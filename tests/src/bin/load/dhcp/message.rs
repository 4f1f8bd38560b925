//! The bytes, written from RFC 2131 and the PXE specification alone: what a UEFI boot ROM sends through a relay.

use super::{FIRST_FREE, FIRST_RELAY, FIRST_RESERVED, RELAYS, SERVER_PORT};
use crate::sys::{DATAGRAM, Datagram};
use std::net::{Ipv4Addr, SocketAddrV4};

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;
pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Each exchange is a machine that was never seen before.
    New,
    /// Ten thousand machines with reservations, one after the other.
    Reserved,
}

impl Clients {
    /// New machines' addresses are scattered over all vendors, as an index meets them in the field.
    pub fn mac(self, number: u32) -> [u8; 6] {
        match self {
            Self::New => {
                let [.., a, b, c, d, e] = u64::from(number).wrapping_mul(0x9e_3779_b97f).to_be_bytes();
                [0x02, a, b, c, d, e]
            }
            Self::Reserved => {
                let [a, b, c, d] = number.to_be_bytes();
                [0x06, 0x52, a, b, c, d]
            }
        }
    }

    pub fn reserved(self, number: u32) -> Option<Ipv4Addr> {
        (self == Self::Reserved).then(|| Ipv4Addr::from_bits(FIRST_RESERVED.to_bits() + number))
    }
}

/// What an exchange asks, and what a REQUEST takes from its OFFER.
pub struct Ask {
    pub xid: u32,
    pub mac: [u8; 6],
    /// Address and server, in a REQUEST.
    pub offer: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl Ask {
    pub fn datagram(&self, server: SocketAddrV4) -> Datagram {
        let mut bytes = [0; DATAGRAM];
        let mut to = Pen(&mut bytes, 0);
        let relay = Ipv4Addr::from_bits(FIRST_RELAY.to_bits() + self.xid % RELAYS);
        to.write(&[1, 1, 6, 1]);
        to.write(&self.xid.to_be_bytes());
        // Seconds, flags, and the four addresses with the relay's as the last.
        to.write(&[0; 16]);
        to.write(&relay.octets());
        to.write(&self.mac);
        to.write(&[0; 10 + 64 + 128]);
        to.write(&COOKIE);
        to.write(&[53, 1, if self.offer.is_some() { REQUEST } else { DISCOVER }]);
        if let Some((address, server)) = self.offer {
            to.write(&[50, 4]);
            to.write(&address.octets());
            to.write(&[54, 4]);
            to.write(&server.octets());
        }
        to.write(&[57, 2, 5, 192, 55, 6, 1, 3, 6, 66, 67, 43, 60, 32]);
        to.write(b"PXEClient:Arch:00007:UNDI:003016");
        to.write(&[93, 2, 0, 7, 255]);
        Datagram { bytes, to: server }
    }
}

struct Pen<'a>(&'a mut [u8], usize);

impl Pen<'_> {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(room) = self.0.get_mut(self.1..self.1 + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.1 += bytes.len();
    }
}

/// What counts of a server's message.
pub struct Answer {
    pub kind: u8,
    pub xid: u32,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub server: Ipv4Addr,
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&2) || bytes.get(OPTIONS - 4..OPTIONS) != Some(&COOKIE) {
            return None;
        }
        let (mut kind, mut server) = (None, None);
        let mut rest = bytes.get(OPTIONS..)?;
        while kind.is_none() || server.is_none() {
            match rest {
                [0, tail @ ..] => rest = tail,
                [255, ..] | [] | [_] => break,
                [code, length, tail @ ..] => {
                    let (value, next) = tail.split_at_checked(usize::from(*length))?;
                    match code {
                        53 => kind = value.first().copied(),
                        54 => server = four(value, 0),
                        _ => {}
                    }
                    rest = next;
                }
            }
        }
        Some(Self {
            kind: kind?,
            xid: four(bytes, 4)?,
            mac: bytes.get(28..)?.first_chunk().copied()?,
            address: Ipv4Addr::from_bits(four(bytes, 16)?),
            server: Ipv4Addr::from_bits(server?),
        })
    }
}

/// The trivial responder's answer: the message turned round. It relies on the layout of [`Ask::datagram`].
pub fn answer(bytes: &[u8], server: Ipv4Addr) -> Option<Datagram> {
    let request: &[u8; DATAGRAM] = bytes.first_chunk()?;
    let xid = four(request, 4)?;
    let relay = SocketAddrV4::new(Ipv4Addr::from_bits(four(request, 24)?), SERVER_PORT);
    let kind = match request.get(OPTIONS..OPTIONS + 3)? {
        [53, 1, DISCOVER] => OFFER,
        [53, 1, REQUEST] => ACK,
        _ => return None,
    };
    let mut bytes = *request;
    let mut to = Pen(&mut bytes, 0);
    to.write(&[2]);
    to = Pen(&mut bytes, 16);
    to.write(&(FIRST_FREE.to_bits() + (xid & 0x003f_ffff)).to_be_bytes());
    to = Pen(&mut bytes, OPTIONS);
    to.write(&[53, 1, kind, 54, 4]);
    to.write(&server.octets());
    to.write(&[255]);
    Some(Datagram { bytes, to: relay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_responder_answers_reads_as_an_answer_to_what_was_asked() {
        let server = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 67);
        for (offer, kind) in [(None, OFFER), (Some((FIRST_FREE, *server.ip())), ACK)] {
            let ask = Ask { xid: 77, mac: Clients::New.mac(77), offer };
            let sent = ask.datagram(server);
            let answer = answer(&sent.bytes, *server.ip()).unwrap();
            assert_eq!(answer.to, SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 14), 67));
            let read = Answer::read(&answer.bytes).unwrap();
            assert_eq!((read.kind, read.xid, read.mac, read.server), (kind, 77, ask.mac, *server.ip()));
        }
    }

    #[test]
    fn what_is_asked_fits_and_ends_with_its_end() {
        let offer = Some((FIRST_FREE, Ipv4Addr::new(10, 0, 0, 1)));
        let sent = Ask { xid: 1, mac: [2; 6], offer }.datagram(SocketAddrV4::new(FIRST_FREE, 67));
        assert_eq!(sent.bytes.iter().rev().find(|byte| **byte != 0), Some(&255));
    }

    #[test]
    fn a_million_new_machines_have_a_million_addresses() {
        let macs: std::collections::HashSet<[u8; 6]> = (0..1_000_000).map(|number| Clients::New.mac(number)).collect();
        assert_eq!(macs.len(), 1_000_000);
    }

    #[test]
    fn garbage_is_no_answer() {
        assert!(Answer::read(&[]).is_none());
        assert!(Answer::read(&[2; 240]).is_none());
        let sent = Ask { xid: 1, mac: [2; 6], offer: None }.datagram(SocketAddrV4::new(FIRST_FREE, 67));
        assert!(Answer::read(&sent.bytes).is_none(), "a request is no answer");
    }
}
