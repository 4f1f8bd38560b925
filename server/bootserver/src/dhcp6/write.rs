//! From a DHCPv6 reply to bytes: boot options first, identifiers last, and the relays' envelopes around it all.
//!
//! The order is a rule (B4.2): firmware reads the boot file URL as text that ends with a zero byte, and the URL has none.
//! The next option's code begins with one, so there must be a next option, and a server identifier is always there.

use muster_netboot::v6::{IaReply, Relay, Reply, Status};

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_TA: u16 = 4;
const IA_ADDRESS: u16 = 5;
const RELAY_MESSAGE: u16 = 9;
const STATUS: u16 = 13;
const INTERFACE_ID: u16 = 18;
const SOURCE_PORT: u16 = 135;
const RELAY_REPL: u8 = 13;

/// Encodes a reply and its envelopes. None when it outgrows what an option can hold, which no message that fits in a
/// datagram leads to.
pub fn encode(reply: &Reply) -> Option<Vec<u8>> {
    let [_, xid @ ..] = reply.xid.to_be_bytes();
    let mut out = vec![reply.kind as u8];
    out.extend(xid);
    for (code, value) in &reply.options {
        option(&mut out, *code, value)?;
    }
    for ia in &reply.ias {
        identity_association(&mut out, ia)?;
    }
    if let Some(code) = reply.status {
        status(&mut out, code)?;
    }
    if let Some(id) = &reply.client_id {
        option(&mut out, CLIENT_ID, id)?;
    }
    option(&mut out, SERVER_ID, &reply.server_id)?;
    for relay in reply.relays.iter().rev() {
        out = envelope(relay, &out)?;
    }
    Some(out)
}

/// RFC 8415, section 19.3: the same link, the same peer, the same interface.
fn envelope(relay: &Relay, inside: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![RELAY_REPL, relay.hops];
    out.extend(relay.link.octets());
    out.extend(relay.peer.octets());
    if let Some(id) = &relay.interface_id {
        option(&mut out, INTERFACE_ID, id)?;
    }
    if let Some(port) = relay.source_port {
        option(&mut out, SOURCE_PORT, &port.to_be_bytes())?;
    }
    option(&mut out, RELAY_MESSAGE, inside)?;
    Some(out)
}

fn identity_association(out: &mut Vec<u8>, ia: &IaReply) -> Option<()> {
    let mut value = ia.iaid.to_be_bytes().to_vec();
    if ia.code != IA_TA {
        value.extend(ia.renew_seconds.to_be_bytes());
        value.extend(ia.rebind_seconds.to_be_bytes());
    }
    for (address, preferred, valid) in &ia.addresses {
        let told = [&address.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat();
        option(&mut value, IA_ADDRESS, &told)?;
    }
    if let Some(code) = ia.status {
        status(&mut value, code)?;
    }
    option(out, ia.code, &value)
}

fn status(out: &mut Vec<u8>, code: Status) -> Option<()> {
    let value = [&(code as u16).to_be_bytes()[..], code.words().as_bytes()].concat();
    option(out, STATUS, &value)
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len()).ok()?;
    out.extend(code.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v6::{self, DhcpOption, MessageType, OptionCode, RelayMessage};
    use dhcproto::{Decodable, Decoder};
    use muster_netboot::Choice;
    use muster_netboot::v6::ReplyKind;
    use proptest::prelude::*;
    use std::net::{Ipv6Addr, SocketAddrV6};

    fn reply() -> Reply {
        Reply {
            kind: ReplyKind::Advertise,
            xid: 0x01_0203,
            relays: Vec::new(),
            client_id: Some(vec![0, 4, 7]),
            server_id: vec![0, 4, 9],
            ias: Vec::new(),
            status: None,
            options: vec![(59, b"http://[fd00::1]/x".to_vec())],
            to: SocketAddrV6::new(Ipv6Addr::LOCALHOST, 546, 0, 0),
            choice: Choice::Nothing,
        }
    }

    #[test]
    fn b4_2_the_boot_file_url_has_no_nul_and_a_zero_byte_follows_it() {
        for client_id in [None, Some(vec![0, 4, 7])] {
            let bytes = encode(&Reply { client_id, ..reply() }).unwrap();
            let url = b"http://[fd00::1]/x";
            let at = bytes.windows(url.len()).position(|window| window == url).unwrap();
            assert_eq!((bytes[..4].to_vec(), bytes[at - 4..at].to_vec()), (vec![2, 1, 2, 3], vec![0, 59, 0, 18]));
            assert_eq!(bytes[at + url.len()], 0);
        }
    }

    #[test]
    fn b4_1_envelopes_are_put_on_from_the_inside_out() {
        let link = "fd00:77::1".parse().unwrap();
        let mut near = Relay::new(link, "fe80::1".parse().unwrap());
        near.interface_id = Some(b"swp7".to_vec());
        let far = Relay { hops: 1, source_port: Some(7), ..Relay::new(link, link) };
        let bytes = encode(&Reply { relays: vec![far, near], ..reply() }).unwrap();
        let outer = RelayMessage::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((outer.msg_type(), outer.hop_count(), outer.peer_addr()), (MessageType::RelayRepl, 1, link));
        let Some(DhcpOption::RelayMsg(inner)) = outer.opts().get(OptionCode::RelayMsg) else { panic!("no message") };
        assert_eq!(inner.opts().get(OptionCode::InterfaceId), Some(&DhcpOption::InterfaceId(b"swp7".to_vec())));
        // This codec reads every message as if it were a relay's, so the innermost is looked for in the bytes.
        assert!(bytes.windows(4).any(|window| window == [2, 1, 2, 3]));
    }

    #[test]
    fn b4_1_what_no_option_can_hold_is_not_sent() {
        assert_eq!(encode(&Reply { options: vec![(59, vec![b'x'; 65_536])], ..reply() }), None);
    }

    proptest! {
        #[test]
        fn another_codec_reads_the_v6_we_write(
            xid in 0u32..1 << 24, iaid: u32, address: [u8; 16], valid: u32, preferred: u32, refused: bool, temporary: bool,
            id in proptest::collection::vec(any::<u8>(), 3..100), dns in proptest::collection::vec(any::<[u8; 16]>(), 1..4),
        ) {
            let status = refused.then_some(Status::NoAddrsAvail);
            let code = if temporary { 4 } else { 3 };
            let ia = IaReply { code, iaid, renew_seconds: 5, rebind_seconds: 6, addresses: vec![(address.into(), preferred, valid)], status };
            let one = Reply { xid, ias: vec![ia], options: vec![(23, dns.concat())], client_id: Some(id.clone()), status, ..reply() };
            let bytes = encode(&one).unwrap();
            let message = v6::Message::decode(&mut Decoder::new(&bytes)).unwrap();
            prop_assert_eq!((message.msg_type(), message.xid_num()), (MessageType::Advertise, xid));
            let options = message.opts();
            prop_assert_eq!(options.get(OptionCode::ClientId), Some(&DhcpOption::ClientId(id)));
            prop_assert_eq!(options.get(OptionCode::ServerId), Some(&DhcpOption::ServerId(vec![0, 4, 9])));
            prop_assert_eq!(options.get(OptionCode::DomainNameServers), Some(&DhcpOption::DomainNameServers(dns.iter().map(|a| (*a).into()).collect())));
            prop_assert_eq!(options.iter().count(), 4 + usize::from(refused));
            let (id, inner) = match (options.get(OptionCode::IANA), options.get(OptionCode::IATA)) {
                (Some(DhcpOption::IANA(ia)), None) if !temporary => (ia.id, &ia.opts),
                (None, Some(DhcpOption::IATA(ia))) if temporary => (ia.id, &ia.opts),
                other => panic!("{other:?}"),
            };
            let Some(DhcpOption::IAAddr(given)) = inner.get(OptionCode::IAAddr) else { panic!("no address") };
            prop_assert_eq!((id, given.addr, given.preferred_life, given.valid_life), (iaid, Ipv6Addr::from(address), preferred, valid));
            prop_assert_eq!(inner.get(OptionCode::StatusCode).is_some(), refused);
        }
    }
}
