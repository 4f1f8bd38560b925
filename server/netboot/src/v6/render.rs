//! From a decision to a reply: identities, lifetimes, the boot file and the little else that firmware reads.

use super::leases::Ask;
use super::network::server_id;
use super::reply::{IaReply, Reply, ReplyKind, Status};
use super::request::Kind;
use crate::choice::Choice;
use std::net::{Ipv6Addr, SocketAddrV6};

const CLIENT: u16 = 546;
const SERVER: u16 = 547;

const IA_NA: u16 = 3;
const PREFERENCE: u16 = 7;
const RAPID_COMMIT: u16 = 14;
const VENDOR_CLASS: u16 = 16;
const DNS: u16 = 23;
const IA_PD: u16 = 25;
const BOOT_FILE_URL: u16 = 59;

/// The enterprise number of the PXE and UEFI specifications' vendor class (B4.2).
const ENTERPRISE: u32 = 343;

/// What a client is given for its first IA_NA.
#[derive(Clone, Copy)]
pub(super) enum Term {
    /// An address for so many seconds.
    Lease(Ipv6Addr, u32),
    Refused(Status),
}

/// An answer without a word about addresses or boot files.
pub(super) fn blank(ask: &Ask<'_>, kind: ReplyKind, status: Option<Status>) -> Reply {
    Reply {
        kind,
        xid: ask.request.xid,
        relays: ask.request.relays.clone(),
        client_id: ask.request.client_id.clone(),
        server_id: server_id(ask.served.server),
        ias: Vec::new(),
        status,
        options: Vec::new(),
        to: whither(ask),
        choice: Choice::Nothing,
    }
}

/// The addresses of an IA, each taken away: its client must not use them any longer.
pub(super) fn withdrawn(ask: &Ask<'_>) -> Vec<IaReply> {
    let taken = |ia: &super::Ia| IaReply {
        code: IA_NA,
        iaid: ia.iaid,
        renew_seconds: 0,
        rebind_seconds: 0,
        addresses: ia.addresses.iter().map(|address| (*address, 0, 0)).collect(),
        status: None,
    };
    ask.request.ias.iter().map(taken).collect()
}

/// An answer with addresses and all else the client may need.
pub(super) fn reply(ask: &Ask<'_>, kind: ReplyKind, term: Term, choice: Choice) -> Reply {
    let mut reply = blank(ask, kind, None);
    let mut ias = ask.request.ias.iter();
    if let Some(first) = ias.next() {
        reply.ias.push(match term {
            Term::Lease(address, seconds) => leased(first.iaid, address, seconds),
            Term::Refused(status) => IaReply::refused(IA_NA, first.iaid, status),
        });
    }
    // One machine has one address a network; a second IA is told so.
    reply.ias.extend(ias.map(|ia| IaReply::refused(IA_NA, ia.iaid, Status::NoAddrsAvail)));
    reply.ias.extend(ask.request.others.iter().map(|(code, iaid)| {
        let status = if *code == IA_PD { Status::NoPrefixAvail } else { Status::NoAddrsAvail };
        IaReply::refused(*code, *iaid, status)
    }));
    options(ask, &mut reply, &choice);
    reply.choice = choice;
    reply
}

pub(super) fn rapid(reply: &mut Reply) {
    reply.options.insert(0, (RAPID_COMMIT, Vec::new()));
}

fn leased(iaid: u32, address: Ipv6Addr, seconds: u32) -> IaReply {
    let preferred = seconds / 8 * 7;
    IaReply {
        code: IA_NA,
        iaid,
        renew_seconds: seconds / 2,
        rebind_seconds: seconds / 4 * 3,
        addresses: vec![(address, preferred, seconds)],
        status: None,
    }
}

fn options(ask: &Ask<'_>, reply: &mut Reply, choice: &Choice) {
    let (served, add) = (ask.served, &mut reply.options);
    if reply.kind == ReplyKind::Advertise && ask.network.authoritative {
        // Nobody else serves here: without it every client waits a second for a better offer.
        add.push((PREFERENCE, vec![255]));
    }
    let url = match choice {
        Choice::Nothing | Choice::Disk { script: None, .. } => None,
        Choice::Tftp { file, .. } => Some(format!("tftp://[{}]/{file}", served.server)),
        Choice::Http { url } | Choice::Script { url } | Choice::Disk { script: Some(url), .. } => Some(url.clone()),
    };
    if let Some(url) = url {
        add.push((BOOT_FILE_URL, url.into_bytes()));
        if let Choice::Http { .. } = choice {
            add.push((VENDOR_CLASS, class(b"HTTPClient")));
        }
    }
    let asked = |code| ask.request.wanted.is_empty() || ask.request.wanted.contains(&code);
    if !served.dns.is_empty() && asked(DNS) {
        add.push((DNS, served.dns.iter().flat_map(|server| server.octets()).collect()));
    }
}

fn class(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or(0).to_be_bytes();
    [&ENTERPRISE.to_be_bytes()[..], &length, name].concat()
}

/// To the relay it came from, or to the client's port on its own link.
fn whither(ask: &Ask<'_>) -> SocketAddrV6 {
    let port = match ask.request.relays.first() {
        // RFC 8357: a relay that says it has a port of its own is answered there.
        Some(relay) if relay.source_port.is_some() => ask.ingress.source_port,
        Some(_) => SERVER,
        None => CLIENT,
    };
    SocketAddrV6::new(ask.ingress.source, port, 0, 0)
}

/// Which of the two messages that carry an address a question leads to.
pub(super) fn kind_for(kind: Kind) -> ReplyKind {
    if kind == Kind::Solicit { ReplyKind::Advertise } else { ReplyKind::Reply }
}
