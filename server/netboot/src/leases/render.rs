//! Builds the reply once the decision is made: which options, in which order, and why each firmware needs them so.

use super::Ask;
use crate::choice::{Choice, Client, client, client_on};
use crate::clients::ProxyStyle;
use crate::network::Dhcp;
use crate::reply::{Destination, Reply, ReplyKind, destination};
use crate::request::Kind;
use std::net::Ipv4Addr;

/// PXE discovery control, bit 3: no menu, no broadcast discovery, boot the file of this packet (B2.4b). A sub-option of
/// option 43, which ends with 255 (B2.11).
const BOOT_THIS_PACKET: [u8; 3] = [6, 1, 8];
const END: u8 = 255;
/// Option 175 sub-option 176: iPXE need not wait for proxy offers (B2.13).
const NO_PROXY: [u8; 3] = [0xb0, 1, 1];
/// A longer name does not fit the header's field with its NUL (B2.6).
const FILE_FIELD: usize = 127;

/// What the lease part of a reply says.
#[derive(Clone, Copy)]
pub(super) enum Term {
    /// An address for so many seconds.
    Lease(Ipv4Addr, u32),
    /// Options alone (INFORM, the boot server).
    OptionsOnly,
}

pub(super) fn reply(ask: &Ask<'_>, kind: ReplyKind, term: Term, choice: Choice, size_limit: usize) -> Reply {
    let yiaddr = match term {
        Term::Lease(address, _) => address,
        Term::OptionsOnly => Ipv4Addr::UNSPECIFIED,
    };
    let mut reply = blank(ask, kind, yiaddr);
    reply.size_limit = size_limit;
    let network = ask.network;
    let add = &mut reply.options;
    if let Term::Lease(_, seconds) = term {
        add.push((51, seconds.to_be_bytes().to_vec()));
    }
    add.push((1, network.subnet.mask().octets().to_vec()));
    if let Some(gateway) = network.gateway {
        add.push((3, gateway.octets().to_vec()));
    }
    if !network.dns.is_empty() {
        add.push((6, network.dns.iter().flat_map(|server| server.octets()).collect()));
    }
    if let Term::Lease(_, seconds) = term {
        add.push((58, (seconds / 2).to_be_bytes().to_vec()));
        add.push((59, (seconds / 8 * 7).to_be_bytes().to_vec()));
    }
    if let Some(name) = &ask.host.hostname {
        let mut name = name.clone().into_bytes();
        // B1.25: who ends its own name with a NUL needs ours to end so.
        if ask.request.hostname.as_ref().is_some_and(|sent| sent.last() == Some(&0)) {
            name.push(0);
        }
        add.push((12, name));
    }
    if let Some(domain) = &network.domain {
        add.push((15, domain.clone().into_bytes()));
    }
    if let Some(mtu) = network.mtu {
        add.push((26, mtu.to_be_bytes().to_vec()));
    }
    echo_client_id(ask, &mut reply);
    boot(ask, &mut reply, &choice);
    reply.options.retain(|(_, value)| !value.is_empty());
    reply.choice = choice;
    reply
}

pub(super) fn nak(ask: &Ask<'_>) -> Reply {
    let mut reply = blank(ask, ReplyKind::Nak, Ipv4Addr::UNSPECIFIED);
    reply.ciaddr = Ipv4Addr::UNSPECIFIED;
    if ask.request.is_relayed() {
        // B1.1: the relay must broadcast it, for the client has no address.
        reply.flags |= 0x8000;
    }
    echo_client_id(ask, &mut reply);
    reply
}

fn blank(ask: &Ask<'_>, kind: ReplyKind, yiaddr: Ipv4Addr) -> Reply {
    let request = ask.request;
    let keeps_ciaddr = matches!(request.kind, Some(Kind::Request | Kind::Inform)) && request.requested.is_none();
    let mut flags = request.flags;
    if request.kind == Some(Kind::Inform) && request.is_relayed() {
        flags |= 0x8000;
    }
    Reply {
        kind,
        htype: request.htype,
        hlen: request.hlen,
        xid: request.xid,
        flags,
        ciaddr: if keeps_ciaddr { request.ciaddr } else { Ipv4Addr::UNSPECIFIED },
        yiaddr,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: request.giaddr,
        chaddr: request.chaddr,
        sname: String::new(),
        file: String::new(),
        options: vec![(53, vec![kind as u8]), (54, ask.server_id().octets().to_vec())],
        relay: request.relay.as_ref().filter(|_| request.is_relayed()).map(|relay| relay.raw.clone()),
        size_limit: request.size_limit(),
        destination: whither(ask, kind, yiaddr),
        source: ask.network.server,
        choice: Choice::Nothing,
    }
}

fn whither(ask: &Ask<'_>, kind: ReplyKind, yiaddr: Ipv4Addr) -> Destination {
    // B1.15: the answer to an INFORM goes to the client itself even when a relay passed the question on.
    if ask.request.kind == Some(Kind::Inform) && !ask.request.ciaddr.is_unspecified() && ask.ingress.port == 67 {
        return Destination::Client(ask.request.ciaddr);
    }
    destination(kind, ask.request, yiaddr, Some(ask.network), ask.ingress)
}

fn echo_client_id(ask: &Ask<'_>, reply: &mut Reply) {
    if let (Some(id), true) = (&ask.request.client_id, ask.network.echo_client_id)
        && !id.is_empty()
    {
        reply.options.push((61, id.clone()));
    }
}

/// The boot file goes into the header and option 67, identical (B2.6); 67 is NUL-terminated and the last before 82
/// (B1.24); no option 13 (B2.7) and no boot server list (B2.5).
fn boot(ask: &Ask<'_>, reply: &mut Reply, choice: &Choice) {
    let server = ask.network.server;
    let is_ipxe = matches!(client(ask.request), Client::Ipxe | Client::BareIpxe);
    let beside = ask.network.dhcp == Dhcp::Proxy;
    let name = match choice {
        Choice::Nothing | Choice::Disk { script: None, .. } => return,
        Choice::Tftp { file, .. } => {
            reply.sname = server.to_string();
            reply.options.push((66, terminated(&server.to_string())));
            file
        }
        Choice::Http { url } | Choice::Script { url } | Choice::Disk { script: Some(url), .. } => url,
    };
    class(ask, reply, choice);
    if let Some(uuid) = &ask.request.uuid {
        reply.options.push((97, uuid.clone()));
    }
    if is_ipxe && !beside {
        reply.options.push((175, NO_PROXY.to_vec()));
    }
    reply.options.push((67, terminated(name)));
    reply.siaddr = server;
    if name.len() <= FILE_FIELD {
        reply.file.clone_from(name);
    }
}

/// Options 60 and 43: firmware boots only from a reply of its own class. iPXE needs neither where we give the address;
/// beside another server it knows a boot server's reply by the class alone.
fn class(ask: &Ask<'_>, reply: &mut Reply, choice: &Choice) {
    let beside = ask.network.dhcp == Dhcp::Proxy || ask.ingress.port != 67;
    let class: &[u8] = match (client_on(ask.request, ask.network), choice) {
        (_, Choice::Http { .. }) => b"HTTPClient",
        (Client::Pxe, _) => b"PXEClient",
        (Client::Ipxe | Client::BareIpxe | Client::Other, _) if beside => b"PXEClient",
        _ => return,
    };
    reply.options.push((60, class.to_vec()));
    if class == b"PXEClient" {
        let kind = ask.network.loaders.kind_of(ask.request);
        let more = kind.map(|kind| kind.vendor_options.as_slice()).unwrap_or_default();
        let item = ask.request.vendor_options.as_deref().and_then(boot_item);
        let item = item.map(|item| [&[71, 4][..], &item].concat()).unwrap_or_default();
        reply.options.push((43, [&BOOT_THIS_PACKET[..], more, &item, &[END]].concat()));
    }
}

fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The boot server's answer on 4011 (B2.8): no lease in it, the boot item echoed (B2.10).
pub(super) fn boot_server(ask: &Ask<'_>, choice: Choice) -> Reply {
    let mut reply = blank(ask, ReplyKind::Ack, Ipv4Addr::UNSPECIFIED);
    reply.ciaddr = ask.request.ciaddr;
    boot(ask, &mut reply, &choice);
    reply.options.retain(|(_, value)| !value.is_empty());
    reply.choice = choice;
    reply
}

/// The offer beside another server's (B2.8): no address in it. In the second style firmware gets the server's name
/// alone and asks on 4011 for the file (B2.9).
pub(super) fn proxy_offer(ask: &Ask<'_>, choice: Choice) -> Reply {
    let mut reply = blank(ask, ReplyKind::Offer, Ipv4Addr::UNSPECIFIED);
    reply.flags |= 0x8000;
    boot(ask, &mut reply, &choice);
    if matches!(choice, Choice::Tftp { proxy: ProxyStyle::Binl4011, .. }) {
        reply.options.retain(|(code, _)| ![43, 66, 67].contains(code));
        (reply.sname, reply.file) = (String::new(), String::new());
    }
    reply.options.retain(|(_, value)| !value.is_empty());
    reply.choice = choice;
    reply
}

/// Sub-option 71 of option 43: type and layer.
pub(super) fn boot_item(raw: &[u8]) -> Option<[u8; 4]> {
    let mut rest = raw;
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [255, ..] | [] | [_] => return None,
            [code, length, tail @ ..] => {
                let (value, next) = tail.split_at_checked(usize::from(*length))?;
                if *code == 71 {
                    return value.try_into().ok();
                }
                rest = next;
            }
        }
    }
}
