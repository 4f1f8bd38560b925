//! From bytes to a request. Lenient option by option, strict about the frame.
//!
//! The reader is our own because the codecs at hand drop every option after the first malformed one, keep one
//! architecture of a list and stop the process at a hardware address that is too long (decision record 0003); one of
//! them is the oracle of the tests instead.

use muster_netboot::shadow::Seen;
use muster_netboot::{Kind, Relay, ReplyKind, Request};
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
    let mut bytes = |code: u8| found.take(code).filter(|value| !value.is_empty());
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
        ipxe: found.take(175),
    })
}

/// Reads a reply of another server. `Ok(None)` is a message that is none.
pub fn parse_reply(datagram: &[u8]) -> Result<Option<Seen>, Malformed> {
    let request = parse(datagram)?;
    let (Some(mac), 2) = (request.mac(), request.op) else { return Ok(None) };
    let kind = match request.kind {
        Some(Kind::Offer) => ReplyKind::Offer,
        Some(Kind::Ack) => ReplyKind::Ack,
        Some(Kind::Nak) => ReplyKind::Nak,
        _ => return Ok(None),
    };
    let (header, options) = datagram.split_at_checked(HEADER + COOKIE.len()).ok_or(Malformed::Short)?;
    let field = |from: usize, length: usize| header.get(from..from + length).unwrap_or_default();
    let (sname, file) = (field(44, 64), field(108, 128));
    let options = gather(options, file, sname).all();
    // An overloaded field is options, not a name.
    let overloaded = options.get(&52).and_then(|value| value.first()).is_some_and(|which| which & 1 != 0);
    let name = file.split(|byte| *byte == 0).next().unwrap_or_default();
    let file = if overloaded { Vec::new() } else { name.to_vec() };
    let (xid, yiaddr, siaddr) = (request.xid, request.yiaddr, request.siaddr);
    Ok(Some(Seen { xid, mac, kind, yiaddr, siaddr, file, options }))
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

/// Options by code. Read once a packet, so without a tree: a table of 256 places, and the values in order.
struct Found {
    /// Counted from 1; a code takes one place at most, so that 255 suffice.
    places: [u8; 256],
    values: Vec<Vec<u8>>,
}

impl Found {
    fn place(&self, code: u8) -> Option<usize> {
        self.places.get(usize::from(code)).and_then(|place| usize::from(*place).checked_sub(1))
    }

    /// Adds a piece to a code's value.
    fn add(&mut self, code: u8, piece: &[u8]) {
        if let Some(value) = self.place(code).and_then(|at| self.values.get_mut(at)) {
            return value.extend_from_slice(piece);
        }
        self.values.push(piece.to_vec());
        if let (Some(place), Ok(count)) = (self.places.get_mut(usize::from(code)), u8::try_from(self.values.len())) {
            *place = count;
        }
    }

    /// Every option, for whoever compares whole packets.
    fn all(mut self) -> BTreeMap<u8, Vec<u8>> {
        (0..=u8::MAX).filter_map(|code| Some((code, self.take(code)?))).collect()
    }

    fn take(&mut self, code: u8) -> Option<Vec<u8>> {
        let at = self.place(code)?;
        self.values.get_mut(at).map(std::mem::take)
    }
}

/// All options, the pieces of one code joined (RFC 3396) in the order options, file, sname (option 52).
fn gather(options: &[u8], file: &[u8], sname: &[u8]) -> Found {
    let mut found = Found { places: [0; 256], values: Vec::with_capacity(16) };
    walk(options, &mut found);
    let overload = found.place(52).and_then(|at| found.values.get(at)?.first().copied()).unwrap_or(0);
    if overload & 1 != 0 {
        walk(file, &mut found);
    }
    if overload & 2 != 0 {
        walk(sname, &mut found);
    }
    found
}

/// One field of options. An option that runs over the end ends the walk; all before it counts.
fn walk(field: &[u8], found: &mut Found) {
    let mut rest = field;
    loop {
        match rest {
            [] | [255, ..] | [_] => return,
            [0, tail @ ..] => rest = tail,
            [code, length, tail @ ..] => {
                let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else { return };
                found.add(*code, value);
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

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v4::{self, Architecture, DhcpOption, MessageType, OptionCode, UnknownOption};
    use dhcproto::{Encodable, Encoder};
    use muster_names::Mac;
    use proptest::prelude::*;

    /// A header and the cookie, before any option.
    fn bare() -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        (bytes[0], bytes[1], bytes[2]) = (1, 1, 6);
        bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 1]);
        bytes.extend_from_slice(&COOKIE);
        bytes
    }

    fn with(options: &[u8]) -> Request {
        parse(&[bare(), options.to_vec()].concat()).unwrap()
    }

    #[test]
    fn a3_a_hardware_address_longer_than_its_field_is_refused() {
        let mut bytes = bare();
        for (hlen, read) in [(16, true), (17, false), (200, false), (255, false)] {
            bytes[2] = hlen;
            assert_eq!(parse(&bytes).is_ok(), read, "{hlen}");
        }
    }

    #[test]
    fn a3_a_wrong_cookie_and_a_short_packet_are_refused() {
        let mut bytes = bare();
        assert_eq!(parse(&bytes[..HEADER + 3]), Err(Malformed::Short));
        assert_eq!(parse(&[]), Err(Malformed::Short));
        assert_eq!(parse(&bytes).map(|request| request.kind), Ok(None), "no options: BOOTP");
        bytes[HEADER] = 0;
        assert_eq!(parse(&bytes), Err(Malformed::Cookie));
    }

    #[test]
    fn a3_a_malformed_option_hides_none_that_come_after_it() {
        for broken in
            [&[93, 1, 7][..], &[50, 3, 1, 2, 3], &[51, 0], &[57, 1, 9], &[12, 2, 0xff, 0xfe], &[94, 1, 1], &[81, 1, 0]]
        {
            let request = with(&[&[53, 1, 1], broken, &[60, 9], b"PXEClient", &[255]].concat());
            assert_eq!(request.vendor_class.as_deref(), Some(&b"PXEClient"[..]), "{broken:?}");
            assert_eq!((request.requested, request.max_size), (None, None));
        }
    }

    #[test]
    fn a3_a_truncated_last_option_leaves_the_others() {
        let request = with(&[53, 1, 1, 60, 200, b'P']);
        assert_eq!((request.kind, request.vendor_class), (Some(Kind::Discover), None));
        assert_eq!(with(&[53, 1, 3, 60]).kind, Some(Kind::Request));
    }

    #[test]
    fn b2_15_the_whole_list_of_architectures_is_read() {
        assert_eq!(with(&[93, 4, 0, 7, 0, 16, 255]).archs, [7, 16]);
        assert_eq!(with(&[93, 3, 0, 7, 9, 255]).archs, [7]);
    }

    #[test]
    fn b1_19_pieces_of_one_option_are_joined_wherever_they_stand() {
        let request = with(&[60, 3, b'P', b'X', b'E', 53, 1, 1, 60, 6, b'C', b'l', b'i', b'e', b'n', b't', 255]);
        assert_eq!(request.vendor_class.as_deref(), Some(&b"PXEClient"[..]));
    }

    #[test]
    fn b1_19_overloaded_fields_are_read_after_the_options_file_first() {
        let mut bytes = [bare(), vec![52, 1, 3, 60, 1, b'a', 255]].concat();
        bytes[108..112].copy_from_slice(&[60, 1, b'b', 255]);
        bytes[44..48].copy_from_slice(&[60, 1, b'c', 255]);
        assert_eq!(parse(&bytes).unwrap().vendor_class.as_deref(), Some(&b"abc"[..]));
        bytes[242] = 2;
        assert_eq!(parse(&bytes).unwrap().vendor_class.as_deref(), Some(&b"ac"[..]));
    }

    #[test]
    fn b1_19_without_overload_the_fields_of_the_header_are_no_options() {
        for overload in [&[][..], &[52, 1, 0], &[52, 1, 4], &[52, 0]] {
            let mut bytes = [&bare()[..], overload, &[53, 1, 1, 255]].concat();
            bytes[108..112].copy_from_slice(&[60, 1, b'b', 255]);
            bytes[44..48].copy_from_slice(&[60, 1, b'c', 255]);
            let request = parse(&bytes).unwrap();
            assert_eq!((request.kind, request.vendor_class), (Some(Kind::Discover), None), "{overload:?}");
        }
    }

    #[test]
    fn a_repeated_fixed_option_counts_once_and_padding_is_skipped() {
        let request = with(&[0, 0, 53, 1, 1, 53, 1, 1, 50, 4, 10, 0, 0, 9, 50, 4, 10, 0, 0, 8, 255, 60, 1, b'x']);
        assert_eq!((request.kind, request.requested), (Some(Kind::Discover), Some(Ipv4Addr::new(10, 0, 0, 9))));
        assert_eq!(request.vendor_class, None, "nothing counts after the end");
    }

    #[test]
    fn b2_12_an_empty_option_175_still_means_ipxe() {
        assert_eq!(with(&[175, 0, 255]).ipxe, Some(Vec::new()));
        assert_eq!(with(&[53, 1, 1, 255]).ipxe, None);
    }

    #[test]
    fn a_servers_reply_is_read_with_all_its_options_and_a_request_is_none() {
        let mut bytes = [bare(), vec![53, 1, 5, 51, 4, 0, 0, 14, 16, 42, 4, 10, 0, 0, 9, 255]].concat();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&[10, 0, 0, 5]);
        bytes[108..112].copy_from_slice(b"boot");
        let seen = parse_reply(&bytes).unwrap().unwrap();
        assert_eq!(
            (seen.kind, seen.yiaddr, seen.file.as_slice()),
            (ReplyKind::Ack, Ipv4Addr::new(10, 0, 0, 5), &b"boot"[..])
        );
        assert_eq!(seen.options.keys().copied().collect::<Vec<_>>(), [42, 51, 53]);
        bytes[0] = 1;
        assert_eq!(parse_reply(&bytes), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = parse(&bytes);
            let _ = parse_reply(&bytes);
            let _ = parse_reply(&[bare(), bytes.clone()].concat());
            let _ = parse(&[bare(), bytes].concat());
        }

        /// Two readings of one standard: what the other codec writes well-formed, ours reads the same.
        #[test]
        fn our_reader_agrees_with_another_codec(
            xid: u32, secs: u16, flags: u16, mac: [u8; 6], ciaddr: u32, giaddr: u32, requested: u32, server: u32,
            class in proptest::collection::vec(1u8..127, 1..300), uuid in proptest::collection::vec(any::<u8>(), 1..20),
            arch: u16, size: u16, wanted in proptest::collection::vec(1u8..255, 1..20), id in proptest::collection::vec(any::<u8>(), 2..30),
        ) {
            let mut message = v4::Message::new_with_id(xid, ciaddr.into(), Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, giaddr.into(), &mac);
            message.set_secs(secs).set_flags(v4::Flags::new(flags));
            let options = message.opts_mut();
            options.insert(DhcpOption::MessageType(MessageType::Request));
            options.insert(DhcpOption::RequestedIpAddress(requested.into()));
            options.insert(DhcpOption::ServerIdentifier(server.into()));
            options.insert(DhcpOption::ClassIdentifier(class.clone()));
            options.insert(DhcpOption::ClientIdentifier(id.clone()));
            options.insert(DhcpOption::ClientMachineIdentifier(uuid.clone()));
            options.insert(DhcpOption::ClientSystemArchitecture(Architecture::from(arch)));
            options.insert(DhcpOption::MaxMessageSize(size));
            options.insert(DhcpOption::ParameterRequestList(wanted.iter().map(|code| OptionCode::from(*code)).collect()));
            options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(175), vec![1, 2, 3])));
            let mut bytes = Vec::new();
            message.encode(&mut Encoder::new(&mut bytes)).unwrap();
            let request = parse(&bytes).unwrap();
            prop_assert_eq!((request.xid, request.secs, request.flags), (xid, secs, flags));
            prop_assert_eq!(&request.chaddr[..6], &mac[..]);
            prop_assert_eq!((request.ciaddr, request.giaddr), (Ipv4Addr::from(ciaddr), Ipv4Addr::from(giaddr)));
            prop_assert_eq!(request.kind, Some(Kind::Request));
            prop_assert_eq!((request.requested, request.server_id), (Some(requested.into()), Some(server.into())));
            prop_assert_eq!(request.vendor_class, Some(class));
            prop_assert_eq!(request.client_id, Some(id));
            prop_assert_eq!(request.uuid, Some(uuid));
            prop_assert_eq!((request.archs, request.max_size), (vec![arch], Some(size)));
            prop_assert_eq!(request.wanted, wanted);
            prop_assert_eq!(request.ipxe, Some(vec![1, 2, 3]));
        }
    }

    #[test]
    fn a_machine_is_read_from_its_header() {
        assert_eq!(with(&[53, 1, 1, 255]).mac(), Some(Mac([0x52, 0x54, 0, 0, 0, 1])));
    }
}
