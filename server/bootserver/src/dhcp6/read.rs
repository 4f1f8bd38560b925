//! From bytes to a DHCPv6 request. Lenient option by option, strict about the envelopes.
//!
//! The reader is our own because the codec at hand drops every option after the first malformed one, and follows
//! options inside options as deep as a sender likes (decision record 0014); it is the oracle of the tests instead.

use muster_netboot::v6::{Ia, Kind, Relay, Request};
use std::net::Ipv6Addr;

const RELAY_FORW: u8 = 12;
/// RFC 8415, section 7.6.
const MOST_RELAYS: usize = 8;
/// More needs for an address than any client of ours has.
const MOST_IAS: usize = 8;
const MOST_ADDRESSES: usize = 8;
/// RFC 8415, section 11.1: two bytes of type and at most 128 more.
const LONGEST_DUID: usize = 130;

/// Why a datagram is no DHCPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    #[error("shorter than the header of its message type")]
    Short,
    #[error("more relays than a message may pass")]
    Relays,
    #[error("a relay's envelope without a message in it")]
    Empty,
    #[error("a client or server identifier that is none")]
    Identifier,
}

impl Malformed {
    pub fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Relays => "relays",
            Self::Empty => "empty",
            Self::Identifier => "identifier",
        }
    }
}

/// Reads one datagram. Never panics, whatever the bytes.
pub fn parse(datagram: &[u8]) -> Result<Request, Malformed> {
    let mut relays = Vec::new();
    let mut message = datagram;
    while let [RELAY_FORW, rest @ ..] = message {
        if relays.len() == MOST_RELAYS {
            return Err(Malformed::Relays);
        }
        let (relay, inside) = envelope(rest)?;
        relays.push(relay);
        message = inside.ok_or(Malformed::Empty)?;
    }
    let [kind, a, b, c, options @ ..] = message else { return Err(Malformed::Short) };
    let mut request = Request::of(Kind::from(*kind), u32::from_be_bytes([0, *a, *b, *c]));
    request.relays = relays;
    for (code, value) in Options(options) {
        option(&mut request, code, value)?;
    }
    Ok(request)
}

/// A relay's header and options, and the message it passes on.
fn envelope(rest: &[u8]) -> Result<(Relay, Option<&[u8]>), Malformed> {
    let (hops, rest) = rest.split_first().ok_or(Malformed::Short)?;
    let (link, rest) = rest.split_first_chunk::<16>().ok_or(Malformed::Short)?;
    let (peer, options) = rest.split_first_chunk::<16>().ok_or(Malformed::Short)?;
    let mut relay = Relay { hops: *hops, ..Relay::new(Ipv6Addr::from(*link), Ipv6Addr::from(*peer)) };
    let mut inside = None;
    for (code, value) in Options(options) {
        match code {
            9 => inside = inside.or(Some(value)),
            18 => relay.interface_id = Some(value.to_vec()),
            37 => relay.remote_id = value.get(4..).map(<[u8]>::to_vec),
            79 => {
                relay.link_layer =
                    value.split_first_chunk::<2>().map(|(kind, address)| (u16::from_be_bytes(*kind), address.to_vec()));
            }
            135 => relay.source_port = <[u8; 2]>::try_from(value).ok().map(u16::from_be_bytes),
            _ => {}
        }
    }
    Ok((relay, inside))
}

/// One option of the client's message. Only an identifier that cannot be echoed spoils the whole.
fn option(request: &mut Request, code: u16, value: &[u8]) -> Result<(), Malformed> {
    match code {
        1 | 2 if value.len() < 3 || value.len() > LONGEST_DUID => return Err(Malformed::Identifier),
        1 => request.client_id = Some(value.to_vec()),
        2 => request.server_id = Some(value.to_vec()),
        3 if request.ias.len() < MOST_IAS => request.ias.extend(identity_association(value)),
        // A temporary one has no lifetimes of its own; both begin with the number.
        4 | 25 if request.others.len() < MOST_IAS => {
            let number = value.first_chunk::<4>().map(|number| (code, u32::from_be_bytes(*number)));
            request.others.extend(number);
        }
        6 => request.wanted = shorts(value),
        14 => request.rapid_commit = true,
        15 => request.user_classes = classes(value),
        16 if request.vendor_class.is_none() => {
            request.vendor_class = value.get(4..).and_then(|list| classes(list).into_iter().next());
        }
        61 => request.archs = shorts(value),
        _ => {}
    }
    Ok(())
}

/// IAID, two lifetimes that a server sets by itself, and addresses.
fn identity_association(value: &[u8]) -> Option<Ia> {
    let (iaid, rest) = value.split_first_chunk::<4>()?;
    let options = rest.get(8..)?;
    let address = |(code, value): (u16, &[u8])| {
        let address = value.first_chunk::<16>().filter(|_| code == 5 && value.len() >= 24)?;
        Some(Ipv6Addr::from(*address))
    };
    let addresses = Options(options).filter_map(address).take(MOST_ADDRESSES).collect();
    Some(Ia { iaid: u32::from_be_bytes(*iaid), addresses })
}

/// Items with two bytes of length. One that runs over the end ends the list; those before it count.
fn classes(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    let mut rest = value;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let Some((item, next)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        items.push(item.to_vec());
        rest = next;
    }
    items
}

/// An odd byte at the end is dropped.
fn shorts(value: &[u8]) -> Vec<u16> {
    let (pairs, _) = value.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

/// Options one after the other. One that runs over the end ends the walk; all before it counts.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = self.0.split_first_chunk::<4>()?;
        let [code_high, code_low, length_high, length_low] = *header;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let (value, next) = rest.split_at_checked(length)?;
        self.0 = next;
        Some((u16::from_be_bytes([code_high, code_low]), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v6::{self, DhcpOption, IAAddr, IANA, MessageType, OptionCode, RelayMessage, UnknownOption};
    use dhcproto::{Decodable, Decoder, Encodable, Encoder};
    use proptest::prelude::*;

    fn option(code: u16, value: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    fn solicit(options: &[Vec<u8>]) -> Vec<u8> {
        [&[1, 0, 1, 2][..], &options.concat()].concat()
    }

    fn relayed(inside: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
        [&[12, 3][..], &[0xfd; 16], &[0xfe; 16], &option(9, inside), &more.concat()].concat()
    }

    #[test]
    fn b4_1_a_message_in_envelopes_is_read_from_the_outside_in() {
        let inner =
            relayed(&solicit(&[option(1, &[0, 4, 9])]), &[option(18, b"swp7"), option(79, &[0, 1, 2, 0, 0, 0, 0, 5])]);
        let outer = relayed(&inner, &[option(37, &[0, 0, 0, 9, b'r']), option(135, &[0, 0])]);
        let request = parse(&outer).unwrap();
        assert_eq!((request.kind, request.xid, request.client_id), (Kind::Solicit, 0x0102, Some(vec![0, 4, 9])));
        let [far, near] = &request.relays[..] else { panic!("two relays") };
        assert_eq!((far.hops, far.source_port, far.remote_id.as_deref()), (3, Some(0), Some(&b"r"[..])));
        assert_eq!(
            (near.interface_id.as_deref(), near.link_layer.clone()),
            (Some(&b"swp7"[..]), Some((1, vec![2, 0, 0, 0, 0, 5])))
        );
        assert_eq!(near.link, Ipv6Addr::from([0xfd; 16]));
    }

    #[test]
    fn b4_1_more_envelopes_than_a_message_may_pass_are_refused() {
        let wrapped = |times: usize| (0..times).fold(solicit(&[]), |message, _| relayed(&message, &[]));
        assert_eq!(parse(&wrapped(8)).unwrap().relays.len(), 8);
        assert_eq!(parse(&wrapped(9)), Err(Malformed::Relays));
        assert_eq!(parse(&wrapped(1)[..34]), Err(Malformed::Empty));
        assert_eq!(parse(&relayed(&[], &[])), Err(Malformed::Short));
        assert_eq!(parse(&wrapped(1)[..20]), Err(Malformed::Short));
    }

    #[test]
    fn b4_1_a_message_shorter_than_its_header_is_refused() {
        for short in [&[][..], &[1], &[1, 0, 0], &[12]] {
            assert_eq!(parse(short), Err(Malformed::Short), "{short:?}");
        }
        assert_eq!(parse(&[1, 0, 0, 7]).map(|request| request.xid), Ok(7));
    }

    #[test]
    fn b4_3_an_identifier_that_cannot_be_echoed_spoils_the_message() {
        for wrong in [vec![], vec![0, 1], vec![0; 131]] {
            assert_eq!(parse(&solicit(&[option(1, &wrong)])), Err(Malformed::Identifier));
            assert_eq!(parse(&solicit(&[option(2, &wrong)])), Err(Malformed::Identifier));
        }
        assert!(parse(&solicit(&[option(1, &[0; 130])])).is_ok());
    }

    #[test]
    fn b4_1_a_malformed_option_hides_none_that_come_after_it() {
        let class = option(16, b"\0\0\x01\x57\0\x0aHTTPClient");
        for broken in [
            option(3, &[0; 11]),
            option(5, &[1]),
            option(6, &[0]),
            option(7, &[1, 2]),
            option(8, &[1]),
            option(13, &[0]),
            option(14, &[9, 9]),
            option(16, &[0, 0]),
            option(17, &[1]),
            option(61, &[0]),
        ] {
            let request = parse(&solicit(&[broken.clone(), class.clone()])).unwrap();
            assert_eq!(request.vendor_class.as_deref(), Some(&b"HTTPClient"[..]), "{broken:?}");
        }
    }

    #[test]
    fn b4_1_an_option_that_runs_over_the_end_leaves_those_before_it() {
        let request = parse(&[solicit(&[option(1, &[0, 4, 9])]), vec![0, 16, 0, 200, 1]].concat()).unwrap();
        assert_eq!((request.client_id, request.vendor_class), (Some(vec![0, 4, 9]), None));
    }

    #[test]
    fn b4_2_firmwares_classes_architectures_and_needs_are_read() {
        let address = [&[0xfd; 16][..], &[0; 8]].concat();
        let short = [&[0xfd; 16][..], &[0; 7]].concat();
        let ia = [&[0, 0, 0, 7][..], &[0; 8], &option(5, &short), &option(13, &[0, 0]), &option(5, &address)].concat();
        let request = parse(&solicit(&[
            option(3, &ia),
            option(4, &[0, 0, 0, 1]),
            option(25, &[0, 0, 0, 2, 9]),
            option(15, b"\0\x04iPXE\0\x09short"),
            option(61, &[0, 16, 0, 7]),
            option(6, &[0, 59, 0, 23]),
        ]))
        .unwrap();
        assert_eq!(request.ias, [Ia { iaid: 7, addresses: vec![Ipv6Addr::from([0xfd; 16])] }]);
        assert_eq!((request.others, request.archs, request.wanted), (vec![(4, 1), (25, 2)], vec![16, 7], vec![59, 23]));
        assert_eq!(request.user_classes, [b"iPXE".to_vec()]);
    }

    #[test]
    fn b4_1_needs_without_number_are_bounded() {
        let ia = [&[0; 12][..], &vec![option(5, &[0xfd; 24]); 50].concat()].concat();
        let request = parse(&solicit(&vec![option(3, &ia); 20])).unwrap();
        assert_eq!((request.ias.len(), request.ias[0].addresses.len()), (8, 8));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
            let _ = parse(&relayed(&[&[1, 0, 0, 1][..], &bytes].concat(), &[]));
        }

        /// Two readings of one standard: what the other codec writes well-formed, ours reads the same.
        #[test]
        fn our_reader_of_v6_agrees_with_another_codec(
            xid in 0u32..1 << 24, client in proptest::collection::vec(any::<u8>(), 3..60), server in proptest::collection::vec(any::<u8>(), 3..60),
            ias in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<[u8; 16]>(), 0..4)), 0..4),
            class in proptest::collection::vec(any::<u8>(), 1..60), archs in proptest::collection::vec(any::<u16>(), 1..5),
            wanted in proptest::collection::vec(any::<u16>(), 1..9), rapid: bool, link: [u8; 16], peer: [u8; 16], relays in 0usize..4,
            interface in proptest::collection::vec(any::<u8>(), 1..20),
        ) {
            let mut message = v6::Message::new_with_id(MessageType::Request, [0; 3]);
            message.set_xid_num(xid);
            let options = message.opts_mut();
            options.insert(DhcpOption::ClientId(client.clone()));
            options.insert(DhcpOption::ServerId(server.clone()));
            // It writes a vendor class with the number of its items for their length.
            let item = [&[0, 0, 1, 0x57][..], &u16::try_from(class.len()).unwrap().to_be_bytes(), &class].concat();
            options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(16), item)));
            options.insert(DhcpOption::ORO(v6::ORO { opts: wanted.iter().map(|code| OptionCode::from(*code)).collect() }));
            options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(61), archs.iter().flat_map(|arch| arch.to_be_bytes()).collect())));
            if rapid {
                options.insert(DhcpOption::RapidCommit);
            }
            for (id, addresses) in &ias {
                let opts = addresses.iter().map(|addr| DhcpOption::IAAddr(IAAddr {
                    addr: Ipv6Addr::from(*addr), preferred_life: 1, valid_life: 2, opts: v6::DhcpOptions::new(),
                }));
                options.insert(DhcpOption::IANA(IANA { id: *id, t1: 0, t2: 0, opts: opts.collect() }));
            }
            let mut bytes = Vec::new();
            message.encode(&mut Encoder::new(&mut bytes)).unwrap();
            for _ in 0..relays {
                let envelope = [&[12u8, 0][..], &link, &peer, &option(18, &interface), &option(9, &bytes)].concat();
                // The other codec takes the envelope for what it is.
                let other = RelayMessage::decode(&mut Decoder::new(&envelope)).unwrap();
                prop_assert_eq!((other.link_addr(), other.peer_addr()), (Ipv6Addr::from(link), Ipv6Addr::from(peer)));
                bytes = envelope;
            }
            let request = parse(&bytes).unwrap();
            prop_assert_eq!((request.kind, request.xid), (Kind::Request, xid));
            prop_assert_eq!((request.client_id, request.server_id), (Some(client), Some(server)));
            prop_assert_eq!((request.vendor_class, request.archs, request.wanted), (Some(class), archs, wanted));
            prop_assert_eq!((request.rapid_commit, request.relays.len()), (rapid, relays));
            prop_assert!(request.relays.iter().all(|relay| relay.interface_id.as_deref() == Some(&interface[..])));
            let mut read: Vec<_> = request.ias.iter().map(|ia| (ia.iaid, ia.addresses.iter().map(|a| a.octets()).collect::<Vec<_>>())).collect();
            let mut sent = ias;
            read.sort();
            sent.sort();
            prop_assert_eq!(read, sent);
        }
    }
}
