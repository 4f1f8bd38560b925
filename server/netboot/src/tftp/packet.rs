//! The bytes of TFTP, as far as a read-only server needs them. Parsing is total: every input is a packet or a named
//! fault, and nothing is ever read past the datagram's end.

/// RFC 2347 section 2: a request fits in 512 octets.
const REQUEST_MAX: usize = 512;
/// More options than all RFCs name together; the rest is not read.
const OPTIONS_MAX: usize = 16;

/// A datagram from a client, by what a server must do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Read(Request),
    /// Never served; the name does not matter.
    Write,
    /// Only a server sends these; one that arrives is foreign.
    Data,
    Ack(u16),
    OptionAck,
    /// The peer gives up, with its code.
    Error(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name as it came, without its NUL; see [`super::normalise`].
    pub name: Vec<u8>,
    /// `octet`; netascii and mail would change the bytes of a loader and are refused.
    pub octet: bool,
    pub asked: Asked,
}

/// Options the client sent. A value that is no number counts as not asked (RFC 2347: what is not understood is left
/// out of the answer); of an option sent twice the first stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub blksize: Option<u32>,
    pub tsize: Option<u64>,
    pub timeout: Option<u8>,
    pub windowsize: Option<u16>,
}

/// Why a datagram is no packet. The label is the counter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Short,
    Opcode,
    TooLong,
    Unterminated,
}

impl Malformed {
    pub fn label(self) -> &'static str {
        match self {
            Malformed::Short => "short",
            Malformed::Opcode => "opcode",
            Malformed::TooLong => "too_long",
            Malformed::Unterminated => "unterminated",
        }
    }
}

/// What a client is told, in words that never change and never name a path of ours (A2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotFound,
    ReadOnly,
    Illegal,
    UnknownTransfer,
    BlockSize,
    OctetOnly,
}

impl Fault {
    pub fn code(self) -> u16 {
        match self {
            Fault::OctetOnly => 0,
            Fault::NotFound => 1,
            Fault::ReadOnly => 2,
            Fault::Illegal => 4,
            Fault::UnknownTransfer => 5,
            Fault::BlockSize => 8,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Fault::OctetOnly => "Octet mode only",
            Fault::NotFound => "File not found",
            Fault::ReadOnly => "Access violation",
            Fault::Illegal => "Illegal TFTP operation",
            Fault::UnknownTransfer => "Unknown transfer ID",
            Fault::BlockSize => "Block size out of range",
        }
    }
}

/// An ERROR packet.
pub fn error(fault: Fault) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(&[0, 5]);
    out.extend_from_slice(&fault.code().to_be_bytes());
    out.extend_from_slice(fault.text().as_bytes());
    out.push(0);
    out
}

/// Reads one datagram from a client.
///
/// # Errors
/// [`Malformed`] says why the bytes are no packet; only a broken *request* deserves an answer ([`Fault::Illegal`]).
pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
    let (opcode, rest) = split_u16(bytes).ok_or(Malformed::Short)?;
    let number = || split_u16(rest).map(|(n, _)| n).ok_or(Malformed::Short);
    match opcode {
        1 if bytes.len() > REQUEST_MAX => Err(Malformed::TooLong),
        1 => request(rest).map(Packet::Read),
        2 => Ok(Packet::Write),
        3 => number().map(|_| Packet::Data),
        4 => number().map(Packet::Ack),
        5 => number().map(Packet::Error),
        6 => Ok(Packet::OptionAck),
        _ => Err(Malformed::Opcode),
    }
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

fn request(rest: &[u8]) -> Result<Request, Malformed> {
    let (name, rest) = split_nul(rest).ok_or(Malformed::Unterminated)?;
    let (mode, mut rest) = split_nul(rest).ok_or(Malformed::Unterminated)?;
    let mut asked = Asked::default();
    for _ in 0..OPTIONS_MAX {
        // Some ROMs pad the request with zeros: an empty name ends the list.
        let Some((key, after)) = split_nul(rest).filter(|(key, _)| !key.is_empty()) else { break };
        let Some((value, after)) = split_nul(after) else { break };
        asked.take(key, value);
        rest = after;
    }
    Ok(Request { name: name.to_vec(), octet: mode.eq_ignore_ascii_case(b"octet"), asked })
}

fn split_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    let (head, tail) = bytes.split_at_checked(end)?;
    Some((head, tail.get(1..)?))
}

impl Asked {
    pub fn nothing(&self) -> bool {
        *self == Asked::default()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        let Some(number) = decimal(value) else { return };
        match key.to_ascii_lowercase().as_slice() {
            b"blksize" => {
                let _ = self.blksize.get_or_insert(u32::try_from(number).unwrap_or(u32::MAX));
            }
            b"tsize" => {
                let _ = self.tsize.get_or_insert(number);
            }
            // RFC 2349: 1..=255 seconds; anything else is as if not asked.
            b"timeout" => {
                if let Some(seconds) = u8::try_from(number).ok().filter(|s| *s > 0) {
                    let _ = self.timeout.get_or_insert(seconds);
                }
            }
            // RFC 7440: 1..=65535.
            b"windowsize" => {
                if let Some(blocks) = u16::try_from(number).ok().filter(|w| *w > 0) {
                    let _ = self.windowsize.get_or_insert(blocks);
                }
            }
            _ => {}
        }
    }
}

/// Digits only: no sign, no blanks, at most what u64 holds.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Request {
        match parse(bytes) {
            Ok(Packet::Read(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn b5_1_options_are_read_in_any_order_and_case_and_unknown_ones_are_skipped() {
        let request = read(b"\0\x01a.efi\0OCTET\0WindowSize\x004\0nonsense\x007\0BLKSIZE\x001468\0tsize\x000\0");
        assert!(request.octet);
        assert_eq!(request.asked, Asked { blksize: Some(1468), tsize: Some(0), timeout: None, windowsize: Some(4) });
    }

    #[test]
    fn b5_1_a_request_without_options_asks_for_nothing() {
        assert!(read(b"\0\x01a\0octet\0").asked.nothing());
        assert!(read(b"\0\x01a\0octet\0\0\0\0\0\0").asked.nothing(), "zero padding is no option");
    }

    #[test]
    fn a2_5_oddities_of_numbers_and_endings_are_as_if_not_asked() {
        for value in ["-1", "+8", " 8", "8 ", "0x10", "", "99999999999999999999999"] {
            let bytes = [b"\0\x01a\0octet\0blksize\0".as_slice(), value.as_bytes(), b"\0"].concat();
            assert!(read(&bytes).asked.nothing(), "{value:?}");
        }
        assert!(read(b"\0\x01a\0octet\0timeout\x000\0windowsize\x000\0").asked.nothing());
        assert!(read(b"\0\x01a\0octet\0timeout\x00256\0windowsize\x0065536\0").asked.nothing());
        assert!(read(b"\0\x01a\0octet\0blksize\x00512").asked.nothing(), "a value without its NUL");
        assert_eq!(read(b"\0\x01a\0octet\0blksize\x00512\0blksize\x008\0").asked.blksize, Some(512));
    }

    #[test]
    fn a2_5_broken_requests_are_named_not_guessed() {
        assert_eq!(parse(b""), Err(Malformed::Short));
        assert_eq!(parse(b"\0"), Err(Malformed::Short));
        assert_eq!(parse(b"\0\x01"), Err(Malformed::Unterminated));
        assert_eq!(parse(b"\0\x01name"), Err(Malformed::Unterminated));
        assert_eq!(parse(b"\0\x01name\0octet"), Err(Malformed::Unterminated));
        assert_eq!(parse(b"\0\x04\0"), Err(Malformed::Short));
        assert_eq!(parse(b"\0\x09xx"), Err(Malformed::Opcode));
        let long = [b"\0\x01".as_slice(), &[b'a'; 600], b"\0octet\0"].concat();
        assert_eq!(parse(&long), Err(Malformed::TooLong));
    }

    #[test]
    fn a2_4_error_packets_hold_their_constant_text_and_nothing_more() {
        assert_eq!(error(Fault::NotFound), b"\0\x05\0\x01File not found\0");
        assert_eq!(error(Fault::ReadOnly), b"\0\x05\0\x02Access violation\0");
    }

    #[test]
    fn b5_1_the_least_and_the_most_that_an_option_may_ask_for_is_taken() {
        for (timeout, windowsize) in [(1, 1), (255, 65_535)] {
            let text = format!("\0\x01a\0octet\0timeout\0{timeout}\0windowsize\0{windowsize}\0tsize\05\0");
            let asked = Asked { blksize: None, tsize: Some(5), timeout: Some(timeout), windowsize: Some(windowsize) };
            assert_eq!(read(text.as_bytes()).asked, asked);
        }
        assert!(!read(b"\0\x01a\0netascii\0").octet);
    }

    #[test]
    fn a2_5_every_opcode_is_known_by_its_number_and_a_request_has_512_bytes_at_most() {
        for (bytes, expected) in [
            (&b"\0\x02x\0octet\0"[..], Ok(Packet::Write)),
            (b"\0\x03\0\x01data", Ok(Packet::Data)),
            (b"\0\x03\0", Err(Malformed::Short)),
            (b"\0\x04\x01\x02", Ok(Packet::Ack(0x102))),
            (b"\0\x05\0\x08x\0", Ok(Packet::Error(8))),
            (b"\0\x05", Err(Malformed::Short)),
            (b"\0\x06", Ok(Packet::OptionAck)),
            (b"\0\0", Err(Malformed::Opcode)),
            (b"\x01\x01a\0octet\0", Err(Malformed::Opcode)),
        ] {
            assert_eq!(parse(bytes), expected, "{bytes:?}");
        }
        let long = |length: usize| [b"\0\x01".as_slice(), &vec![b'a'; length - 9], b"\0octet\0"].concat();
        assert_eq!((long(512).len(), read(&long(512)).name.len()), (512, 503));
        assert_eq!(parse(&long(513)), Err(Malformed::TooLong));
        let labels =
            [Malformed::Short, Malformed::Opcode, Malformed::TooLong, Malformed::Unterminated].map(Malformed::label);
        assert_eq!(labels, ["short", "opcode", "too_long", "unterminated"]);
        let faults = [Fault::OctetOnly, Fault::Illegal, Fault::UnknownTransfer, Fault::BlockSize].map(error);
        let texts: [&[u8]; 4] = [
            b"\0\x05\0\0Octet mode only\0",
            b"\0\x05\0\x04Illegal TFTP operation\0",
            b"\0\x05\0\x05Unknown transfer ID\0",
            b"\0\x05\0\x08Block size out of range\0",
        ];
        assert_eq!(faults, texts.map(<[u8]>::to_vec));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_request_panics(tail in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>(), Just(b'8')], 0..100)) {
            let _ = parse(&[b"\0\x01".as_slice(), &tail].concat());
            let _ = parse(&[b"\0\x01a\0octet\0blksize\0".as_slice(), &tail].concat());
        }
    }
}
