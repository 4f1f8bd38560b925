//! From a reply to bytes: message type first, boot file last before the relay's option, END, padded to 300 bytes.

use muster_netboot::Reply;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// BOOTP's smallest message; boot ROMs drop shorter ones (A3).
const SMALLEST: usize = 300;
const SNAME: usize = 64;
const FILE: usize = 128;
/// Never left out for want of room: type, server, lease, mask, boot class and control, boot file.
const NEEDED: [u8; 8] = [53, 54, 51, 1, 60, 43, 175, 67];

/// Encodes a reply within its size limit. Options that do not fit are left out, the needed ones last.
pub fn encode(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&[2, reply.htype, reply.hlen, 0]);
    out.extend_from_slice(&reply.xid.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&reply.flags.to_be_bytes());
    for address in [reply.ciaddr, reply.yiaddr, reply.siaddr, reply.giaddr] {
        out.extend_from_slice(&address.octets());
    }
    out.extend_from_slice(&reply.chaddr);
    text_field(&mut out, &reply.sname, SNAME);
    text_field(&mut out, &reply.file, FILE);
    out.extend_from_slice(&COOKIE);

    let relay = reply.relay.as_deref().filter(|raw| !raw.is_empty());
    let tail = 1 + relay.map_or(0, |raw| cost(raw.len()));
    let mut room = reply.size_limit.saturating_sub(out.len() + tail);
    let needed: usize =
        reply.options.iter().filter(|(code, _)| NEEDED.contains(code)).map(|(_, v)| cost(v.len())).sum();
    room = room.saturating_sub(needed);
    for (code, value) in &reply.options {
        if value.is_empty() {
            continue;
        }
        if !NEEDED.contains(code) {
            let cost = cost(value.len());
            if cost > room {
                continue;
            }
            room -= cost;
        }
        option(&mut out, *code, value);
    }
    if let Some(raw) = relay {
        option(&mut out, 82, raw);
    }
    out.push(255);
    out.resize(out.len().max(SMALLEST), 0);
    out
}

/// The text and at least one NUL; what does not fit is left out whole, for half a name is another name.
fn text_field(out: &mut Vec<u8>, text: &str, size: usize) {
    let text = if text.len() < size { text.as_bytes() } else { &[] };
    let end = out.len() + size;
    out.extend_from_slice(text);
    out.resize(end, 0);
}

/// Bytes on the wire, split into pieces of 255 (RFC 3396).
fn cost(length: usize) -> usize {
    length + 2 * length.div_ceil(255)
}

fn option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    for piece in value.chunks(255) {
        out.push(code);
        out.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::{Decodable, Decoder, v4};
    use muster_netboot::{Choice, Destination, ReplyKind};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn reply(options: Vec<(u8, Vec<u8>)>, relay: Option<Vec<u8>>) -> Reply {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        Reply {
            kind: ReplyKind::Offer,
            htype: 1,
            hlen: 6,
            xid: 0x0102_0304,
            flags: 0x8000,
            ciaddr: none,
            yiaddr: Ipv4Addr::new(10, 0, 4, 10),
            siaddr: Ipv4Addr::new(10, 0, 4, 1),
            giaddr: none,
            chaddr,
            sname: "10.0.4.1".to_owned(),
            file: "ipxe.efi".to_owned(),
            options,
            relay,
            size_limit: 548,
            destination: Destination::Broadcast,
            source: Ipv4Addr::new(10, 0, 4, 1),
            choice: Choice::Nothing,
        }
    }

    #[test]
    fn a3_a_reply_is_padded_to_300_bytes_and_ended() {
        let bytes = encode(&reply(vec![(53, vec![2])], None));
        assert_eq!((bytes.len(), bytes[0], bytes[3]), (300, 2, 0));
        assert_eq!(bytes[236..244], [99, 130, 83, 99, 53, 1, 2, 255]);
        assert_eq!(&bytes[108..117], b"ipxe.efi\0");
        assert_eq!(&bytes[44..53], b"10.0.4.1\0");
    }

    #[test]
    fn b1_17_option_82_is_the_last_and_b1_24_the_boot_file_before_it() {
        let options = vec![(53, vec![2]), (54, vec![10, 0, 4, 1]), (67, b"x\0".to_vec())];
        let bytes = encode(&reply(options, Some(vec![1, 1, 9])));
        assert_eq!(
            bytes[240..],
            [&[53, 1, 2, 54, 4, 10, 0, 4, 1, 67, 2, b'x', 0, 82, 3, 1, 1, 9, 255][..], &[0; 41]].concat()
        );
    }

    #[test]
    fn b1_19_a_long_option_is_split() {
        let mut long = reply(vec![(53, vec![2]), (17, vec![7; 260])], None);
        long.size_limit = 1444;
        let bytes = encode(&long);
        assert_eq!((bytes[243], bytes[244], bytes[500], bytes[501]), (17, 255, 17, 5));
    }

    #[test]
    fn b1_23_an_empty_option_is_never_sent() {
        let bytes = encode(&reply(vec![(53, vec![2]), (12, Vec::new())], Some(Vec::new())));
        assert_eq!(bytes[240..244], [53, 1, 2, 255]);
    }

    #[test]
    fn b1_22_what_does_not_fit_is_left_out_and_the_boot_file_stays() {
        let options = vec![(53, vec![2]), (15, vec![b'd'; 200]), (12, vec![b'h'; 200]), (67, vec![b'f'; 100])];
        let bytes = encode(&reply(options, Some(vec![1; 40])));
        let read = super::super::parse(&bytes).unwrap();
        assert!(bytes.len() <= 548);
        assert_eq!(read.relay.map(|relay| relay.raw.len()), Some(40));
        let message = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert!(message.opts().get(v4::OptionCode::BootfileName).is_some());
        assert!(message.opts().get(v4::OptionCode::DomainName).is_none());
    }

    #[test]
    fn b2_6_a_name_that_does_not_fit_its_field_is_left_out_whole() {
        let mut long = reply(vec![(53, vec![2])], None);
        (long.sname, long.file) = ("s".repeat(64), "f".repeat(127));
        let bytes = encode(&long);
        assert_eq!(bytes[44..108], [0; 64]);
        assert_eq!((bytes[234], bytes[235]), (b'f', 0));
    }

    proptest! {
        #[test]
        fn another_codec_reads_what_we_write(codes in proptest::collection::btree_map(128u8..150, proptest::collection::vec(any::<u8>(), 1..40), 0..12), limit in 300usize..1500) {
            let mut one = reply([(53, vec![5]), (54, vec![10, 0, 4, 1])].into_iter().chain(codes.clone()).collect(), None);
            one.size_limit = limit;
            let bytes = encode(&one);
            prop_assert!(bytes.len() <= limit.max(300));
            let message = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
            prop_assert_eq!(message.opts().msg_type(), Some(v4::MessageType::Ack));
            prop_assert_eq!((message.xid(), message.yiaddr()), (one.xid, one.yiaddr));
            let total: usize = codes.values().map(|value| value.len() + 2).sum();
            if total + 240 + 10 < limit {
                prop_assert_eq!(message.opts().iter().count(), codes.len() + 2);
            }
        }

        #[test]
        fn no_reply_outgrows_its_limit_for_want_of_care(relay in proptest::collection::vec(any::<u8>(), 0..200), name in "[a-z]{1,90}") {
            let bytes = encode(&reply(vec![(53, vec![2]), (12, name.clone().into_bytes()), (15, name.into_bytes())], Some(relay)));
            prop_assert!(bytes.len() <= 548);
        }
    }
}
