//! From bytes to a request. Lenient option by option, strict about the frame.
//!
//! The reader is our own because the codecs at hand drop every option after the first malformed one, keep one
//! architecture of a list and stop the process at a hardware address that is too long (decision record 0003); one of
//! them is the oracle of the tests instead.

use muster_netboot::{Kind, Relay, Request};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const HEADER: usize = 236;

/// Why a datagram is no DHCP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    #[error("shorter than a DHCP header and its cookie")]
    Short,
    #[error("the magic cookie is not there")]
    Cookie,
    #[error("a hardware address longer than its field")]
    HardwareAddress,
}

impl Malformed {
    pub fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Cookie => "no-cookie",
            Self::HardwareAddress => "hlen",
        }
    }
}

/// Reads one datagram. Never panics, whatever the bytes.
pub fn parse(datagram: &[u8]) -> Result<Request, Malformed> {
    let (header, options) = datagram.split_at_checked(HEADER).ok_or(Malformed::Short)?;
    let options = match options.split_at_checked(COOKIE.len()) {
        Some((cookie, options)) if cookie == COOKIE => options,
        Some(_) => return Err(Malformed::Cookie),
        None => return Err(Malformed::Short),
    };
    let mut from = Cursor(header);
    let [op, htype, hlen, hops] = from.take();
    if hlen > 16 {
        return Err(Malformed::HardwareAddress);
    }
    let xid = u32::from_be_bytes(from.take());
    let secs = u16::from_be_bytes(from.take());
    let flags = u16::from_be_bytes(from.take());
    let [ciaddr, yiaddr, siaddr, giaddr] = [(); 4].map(|()| Ipv4Addr::from(from.take::<4>()));
    let chaddr: [u8; 16] = from.take();
    let sname: [u8; 64] = from.take();
    let file: [u8; 128] = from.take();
    let mut found = gather(options, &file, &sname);
    let mut bytes = |code: u8| found.remove(&code).filter(|value| !value.is_empty());
    Ok(Request {
        op,
        htype,
        hlen,
        hops,
        xid,
        secs,
        flags,
        ciaddr,
        yiaddr,
        siaddr,
        giaddr,
        chaddr,
        kind: bytes(53).and_then(|value| value.first().copied()).map(Kind::from),
        hostname: bytes(12),
        vendor_options: bytes(43),
        requested: bytes(50).and_then(address),
        server_id: bytes(54).and_then(address),
        wanted: bytes(55).unwrap_or_default(),
        max_size: bytes(57).and_then(|value| leading(&value)).map(u16::from_be_bytes),
        vendor_class: bytes(60),
        client_id: bytes(61),
        user_class: bytes(77),
        relay: bytes(82).map(|value| Relay::read(&value)),
        archs: bytes(93).map(|value| shorts(&value)).unwrap_or_default(),
        uuid: bytes(97),
        subnet_selection: bytes(118).and_then(address),
        ipxe: found.remove(&175),
    })
}

/// Takes arrays off the front of a slice whose length was checked; what is missing reads as zero.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.0 = rest;
                *chunk
            }
            None => [0; N],
        }
    }
}

/// All options, the pieces of one code joined (RFC 3396) in the order options, file, sname (option 52).
fn gather(options: &[u8], file: &[u8], sname: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    walk(options, &mut found);
    let overload = found.get(&52).and_then(|value: &Vec<u8>| value.first().copied()).unwrap_or(0);
    if overload & 1 != 0 {
        walk(file, &mut found);
    }
    if overload & 2 != 0 {
        walk(sname, &mut found);
    }
    found
}

/// One field of options. An option that runs over the end ends the walk; all before it counts.
fn walk(field: &[u8], found: &mut BTreeMap<u8, Vec<u8>>) {
    let mut rest = field;
    loop {
        match rest {
            [] | [255, ..] | [_] => return,
            [0, tail @ ..] => rest = tail,
            [code, length, tail @ ..] => {
                let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else { return };
                found.entry(*code).or_default().extend_from_slice(value);
                rest = next;
            }
        }
    }
}

/// A fixed-size option; repeats were joined, so the first of them counts.
fn leading<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.len().is_multiple_of(N).then(|| value.first_chunk::<N>().copied()).flatten()
}

fn address(value: Vec<u8>) -> Option<Ipv4Addr> {
    leading(&value).map(Ipv4Addr::from)
}

/// Option 93: a list (B2.15); an odd byte at its end is dropped.
fn shorts(value: &[u8]) -> Vec<u16> {
    let (pairs, _) = value.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}
