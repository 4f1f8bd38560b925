//! The bytes of RMCP, RMCP+ and IPMI messages (IPMI 2.0 specification, sections 13.1 to 13.28): pure, and total on
//! whatever a network delivers.
//!
//! Nothing here trusts a length field. Pad lengths of the session trailer are not looked at either: some BMCs count
//! them wrongly, and the check code stands at the end in any case.

use super::crypto::Keys;

/// RMCP version 6, no acknowledgement, class IPMI.
const RMCP: [u8; 4] = [0x06, 0x00, 0xff, 0x07];
const AUTH_NONE: u8 = 0x00;
const AUTH_RMCP_PLUS: u8 = 0x06;
const BMC: u8 = 0x20;
const US: u8 = 0x81;

pub const IPMI: u8 = 0x00;
pub const SOL: u8 = 0x01;
pub const OPEN_SESSION: u8 = 0x10;
pub const OPENED: u8 = 0x11;
pub const RAKP_1: u8 = 0x12;
pub const RAKP_2: u8 = 0x13;
pub const RAKP_3: u8 = 0x14;
pub const RAKP_4: u8 = 0x15;

/// A datagram, taken apart as far as that goes without a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// IPMI 1.5 framing without a session: only the capability question uses it.
    Bare {
        message: &'a [u8],
    },
    Plus(Plus<'a>),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Plus<'a> {
    pub kind: u8,
    pub encrypted: bool,
    pub authenticated: bool,
    pub session: u32,
    pub sequence: u32,
    pub payload: &'a [u8],
    /// From the authentication type to the datagram's end.
    signed: &'a [u8],
}

/// Takes a datagram apart; `None` is not IPMI over LAN.
pub fn parse(datagram: &[u8]) -> Option<Packet<'_>> {
    let session = datagram.strip_prefix(&RMCP)?;
    match *session.first()? {
        AUTH_NONE => {
            let length = usize::from(*session.get(9)?);
            Some(Packet::Bare { message: session.get(10..10 + length)? })
        }
        AUTH_RMCP_PLUS => {
            let kind = *session.get(1)?;
            let length = usize::from(u16::from_le_bytes(array(session, 10)?));
            Some(Packet::Plus(Plus {
                kind: kind & 0x3f,
                encrypted: kind & 0x80 != 0,
                authenticated: kind & 0x40 != 0,
                session: u32::from_le_bytes(array(session, 2)?),
                sequence: u32::from_le_bytes(array(session, 6)?),
                payload: session.get(12..12 + length)?,
                signed: session,
            }))
        }
        _ => None,
    }
}

impl Plus<'_> {
    /// Checks the code, then decrypts: never the other way round. `None` for whatever is not from our peer.
    pub fn open(&self, keys: &Keys) -> Option<Vec<u8>> {
        if !self.authenticated || !self.encrypted {
            return None;
        }
        let end = self.signed.len().checked_sub(keys.code_length())?;
        let (covered, code) = self.signed.split_at_checked(end)?;
        // The payload and the two bytes after it have to lie within what the code covers.
        if covered.len() < 12 + self.payload.len() + 2 || !keys.verify(covered, code) {
            return None;
        }
        keys.decrypt(self.payload)
    }

    /// The console's session id this packet is for: in the header once a session stands, in the payload before.
    pub fn addressee(&self) -> Option<u32> {
        match self.kind {
            OPENED | RAKP_2 | RAKP_4 => array(self.payload, 4).map(u32::from_le_bytes),
            _ => Some(self.session),
        }
    }
}

/// An IPMI reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the reply: one more than the request's.
    pub net_fn: u8,
    pub sequence: u8,
    pub command: u8,
    pub completion: u8,
    pub data: Vec<u8>,
}

impl Reply {
    /// The checksums are not looked at: inside a session the check code is worth more, and some boards get them wrong.
    pub fn read(message: &[u8]) -> Option<Self> {
        let [_, net_fn, _, _, sequence, command, completion, data @ .., _] = message else { return None };
        Some(Self {
            net_fn: net_fn >> 2,
            sequence: sequence >> 2,
            command: *command,
            completion: *completion,
            data: data.to_vec(),
        })
    }
}

/// An IPMI request with its two checksums. The network function stands above the two bits of the LUN.
pub fn request(net_fn_lun: u8, command: u8, sequence: u8, data: &[u8]) -> Vec<u8> {
    let mut message = vec![BMC, net_fn_lun];
    message.push(checksum(&message));
    let body = [&[US, sequence << 2, command], data].concat();
    message.extend(&body);
    message.push(checksum(&body));
    message
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

/// A message outside of any session, in IPMI 1.5 framing.
pub fn bare(message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    [&RMCP[..], &[AUTH_NONE, 0, 0, 0, 0, 0, 0, 0, 0, length], message].concat()
}

/// A payload of the key exchange: neither encrypted nor signed.
pub fn open_payload(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&RMCP[..], &[AUTH_RMCP_PLUS, kind, 0, 0, 0, 0, 0, 0, 0, 0], &length, payload].concat()
}

/// A payload of this kind inside a session (its id and the packet's number in it): encrypted, padded to four bytes,
/// signed. `iv` must never have been used before.
pub fn sealed(keys: &Keys, (session, sequence): (u32, u32), iv: [u8; 16], kind: u8, message: &[u8]) -> Vec<u8> {
    let payload = keys.encrypt(iv, message);
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes();
    let mut signed = vec![AUTH_RMCP_PLUS, kind | 0xc0];
    signed.extend(session.to_le_bytes());
    signed.extend(sequence.to_le_bytes());
    signed.extend(length);
    signed.extend(payload);
    let pad = (4 - (signed.len() + 2) % 4) % 4;
    signed.extend(std::iter::repeat_n(0xff, pad));
    signed.extend([u8::try_from(pad).unwrap_or(0), 0x07]);
    let code = keys.sign(&signed);
    [&RMCP[..], &signed, &code].concat()
}

/// `N` bytes from `at`.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::crypto::Suite;
    use super::*;
    use proptest::prelude::*;

    fn keys(suite: Suite) -> Keys {
        Keys::derive(suite, b"secret", &[1; 16], &[2; 16], 0x14, b"admin")
    }

    #[test]
    fn the_capability_question_has_the_bytes_that_the_specification_prints() {
        let packet = bare(&request(0x06 << 2, 0x38, 0, &[0x8e, 0x04]));
        let expected = "0600ff07 00 00000000 00000000 09 2018c8 81 00 38 8e04 b5".replace(' ', "");
        assert_eq!(packet.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        for suite in [Suite::Seventeen, Suite::Three] {
            let keys = keys(suite);
            let message = request(0x00, 0x01, 5, &[]);
            let packet = sealed(&keys, (7, 9), [3; 16], IPMI, &message);
            let Some(Packet::Plus(plus)) = parse(&packet) else { panic!("not parsed") };
            assert_eq!((plus.session, plus.sequence, plus.kind), (7, 9, IPMI));
            assert_eq!(plus.open(&keys), Some(message));
            for at in 4..packet.len() {
                let mut bent = packet.clone();
                bent[at] ^= 0x01;
                let opened = match parse(&bent) {
                    Some(Packet::Plus(plus)) => plus.open(&keys),
                    _ => None,
                };
                assert_eq!(opened, None, "byte {at} bent, and it opened");
            }
        }
    }

    #[test]
    fn a_reply_without_its_fixed_part_is_none() {
        assert_eq!(Reply::read(&[0x81, 0x1c, 0x63, 0x20, 0x00, 0x01, 0x00]), None);
        let reply = Reply::read(&[0x81, 0x04, 0x7b, 0x20, 0x14, 0x01, 0x00, 0x01, 0x00, 0xca]).unwrap();
        assert_eq!((reply.net_fn, reply.sequence, reply.command, reply.completion), (1, 5, 1, 0));
        assert_eq!(reply.data, [1, 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), session: bool) {
            let bytes = if session { [&RMCP[..], &[AUTH_RMCP_PLUS, 0xc0], &bytes].concat() } else { bytes };
            if let Some(Packet::Plus(plus)) = parse(&bytes) {
                prop_assert_eq!(plus.open(&keys(Suite::Seventeen)), None);
                let _ = plus.addressee();
            }
            let _ = Reply::read(&bytes);
        }
    }
}
