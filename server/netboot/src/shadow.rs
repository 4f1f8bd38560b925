//! A shadow of a live server: each request is answered by our rules as well, in memory alone, and laid beside what the
//! live server said.
//!
//! Two things are pretended, so that the comparison is of rules and not of circumstances: a choice of the live server
//! counts as a choice of ours, and what it grants we take for granted from then on. One thing is not called a difference:
//! which free address of the pool a machine gets that neither server knows.

use crate::host::Host;
use crate::lease::{Lease, LeaseState, Outcome};
use crate::leases::{Answer, Leases};
use crate::network::{Ingress, Network, Networks};
use crate::reply::{Reply, ReplyKind};
use crate::request::{Kind, Request};
use crate::sighting::plain_text;
use crate::silence::Silence;
use muster_names::{Mac, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// A live server may look for an address by ping before it offers it, which takes it a second or two.
const PATIENCE_MS: i64 = 4_000;
/// Exchanges that are open at once; a flood is counted, not kept.
const MOST_OPEN: usize = 10_000;

/// A reply that was seen on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub xid: u32,
    pub mac: Mac,
    pub kind: ReplyKind,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    /// The header's boot file, without its NULs.
    pub file: Vec<u8>,
    /// Every option; pieces of one code joined.
    pub options: BTreeMap<u8, Vec<u8>>,
}

/// Where the two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `address`, `lease time`, `option 42`: of a short list, for counting.
    pub what: String,
    pub ours: String,
    pub theirs: String,
}

/// One exchange, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub mac: Mac,
    /// `discover`, `request`, `inform`
    pub asked: &'static str,
    pub network: Option<String>,
    /// The address the live server told, where it told one.
    pub theirs: Option<Ipv4Addr>,
    pub differences: Vec<Difference>,
    /// Both gave a free address of the pool, and not the same one.
    pub pool: bool,
}

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub exchanges: usize,
    pub differing: usize,
    /// Of those without a difference: another free address of the pool.
    pub pool: usize,
    pub by_what: BTreeMap<String, usize>,
    /// Machines with a difference, up to [`MOST_OPEN`].
    pub machines: BTreeSet<Mac>,
    /// Requests that a flood pushed out, and replies whose request was not seen.
    pub lost: usize,
    pub unasked: usize,
}

enum Ours {
    Reply(Box<Reply>),
    Silent(Silence),
}

struct Open {
    at: Millis,
    request: Request,
    network: Option<String>,
    ours: Ours,
    /// We know of no reservation and no lease of this machine.
    unknown: bool,
}

/// The rules beside a live server, and the exchanges that wait for its reply.
#[derive(Default)]
pub struct Shadow {
    leases: Leases,
    open: BTreeMap<(Mac, u32, &'static str), Open>,
    tally: Tally,
}

/// What a request is called; none for what gets no reply by the standard.
fn asked(kind: Option<Kind>) -> Option<&'static str> {
    match kind {
        Some(Kind::Discover) => Some("discover"),
        Some(Kind::Request) => Some("request"),
        Some(Kind::Inform) => Some("inform"),
        _ => None,
    }
}

impl Shadow {
    pub fn new(leases: impl IntoIterator<Item = Lease>) -> Self {
        Self { leases: Leases::restore(leases), ..Self::default() }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A request on the wire: our rules answer it, and the answer waits for theirs.
    pub fn heard(
        &mut self,
        networks: &Networks,
        request: Request,
        ingress: Ingress<'_>,
        view: &dyn Fn(Mac) -> Host,
        now: Millis,
    ) {
        let Some(mac) = request.mac() else { return };
        let network = networks.of(&request, ingress);
        let mut asks = request.clone();
        if let (Some(network), Some(_)) = (network, request.server_id) {
            asks.server_id = Some(network.server);
        }
        let unknown = view(mac).reservation.is_none() && !self.leases.knows(mac);
        let ours = match self.leases.answer(networks, &asks, ingress, view, now) {
            Answer::Silent(why) => Ours::Silent(why),
            Answer::Now(reply) => Ours::Reply(reply),
            Answer::AfterCommit(change, reply) => {
                self.leases.settle(&change, Outcome::Done, now);
                // RELEASE and DECLINE: neither server says anything.
                let Some(reply) = reply else { return };
                Ours::Reply(reply)
            }
        };
        let Some(word) = asked(request.kind) else { return };
        if self.open.len() >= MOST_OPEN {
            self.tally.lost += 1;
            return;
        }
        let network = network.map(|network| network.name.clone());
        // A retransmission asks the same again; the newest answer of ours counts.
        self.open.insert((mac, request.xid, word), Open { at: now, request, network, ours, unknown });
    }

    /// A reply of the live server.
    pub fn answered(&mut self, networks: &Networks, seen: &Seen, now: Millis) -> Option<Finding> {
        let words: &[&'static str] = if seen.kind == ReplyKind::Offer { &["discover"] } else { &["request", "inform"] };
        let found = words.iter().find_map(|word| {
            let open = self.open.remove(&(seen.mac, seen.xid, *word))?;
            Some((*word, open))
        });
        if seen.kind == ReplyKind::Ack
            && let (Some(network), Some(seconds)) = (networks.holding(seen.yiaddr), seconds(seen, 51))
        {
            let until = Millis(now.0.saturating_add(i64::from(seconds).saturating_mul(1000)));
            let (network, address, mac) = (network.name.clone(), seen.yiaddr, seen.mac);
            self.leases.learn(Lease { network, address, mac, state: LeaseState::Bound, until, relay: None });
        }
        let Some((word, open)) = found else {
            self.tally.unasked += 1;
            return None;
        };
        let network = open.network.as_deref().and_then(|name| networks.named(name));
        let (mut differences, mut pool) = (Vec::new(), false);
        match &open.ours {
            Ours::Silent(why) => differences.push(difference("silence", format!("no answer: {why}"), said(seen))),
            Ours::Reply(ours) => compare(&open.request, network, ours, seen, &mut differences),
        }
        if let (false, Ours::Reply(ours)) = (open.unknown, &open.ours)
            && is_rest_of(ours, seen)
        {
            differences.retain(|one| one.what != "lease time");
        }
        if let (true, Some(network), Ours::Reply(ours)) = (open.unknown, network, &open.ours) {
            let free = network.may_hand_out(ours.yiaddr) && network.may_hand_out(seen.yiaddr);
            let before = differences.len();
            differences.retain(|one| !(free && one.what == "address"));
            pool = differences.len() != before;
        }
        let theirs = (!seen.yiaddr.is_unspecified()).then_some(seen.yiaddr);
        Some(self.judged(Finding { mac: seen.mac, asked: word, network: open.network, theirs, differences, pool }))
    }

    /// Exchanges the live server did not answer.
    pub fn overdue(&mut self, now: Millis) -> Vec<Finding> {
        let late = |open: &Open| now.0.saturating_sub(open.at.0) >= PATIENCE_MS;
        let keys: Vec<_> = self.open.iter().filter(|(_, open)| late(open)).map(|(key, _)| *key).collect();
        let mut found = Vec::new();
        for key in keys {
            let Some(open) = self.open.remove(&key) else { continue };
            let differences = match &open.ours {
                Ours::Silent(_) => Vec::new(),
                Ours::Reply(ours) => vec![difference("silence", spoken(ours), "no answer".to_owned())],
            };
            let (mac, _, asked) = key;
            found.push(self.judged(Finding {
                mac,
                asked,
                network: open.network,
                theirs: None,
                differences,
                pool: false,
            }));
        }
        found
    }

    fn judged(&mut self, finding: Finding) -> Finding {
        self.tally.exchanges += 1;
        self.tally.pool += usize::from(finding.pool && finding.differences.is_empty());
        if !finding.differences.is_empty() {
            self.tally.differing += 1;
            if self.tally.machines.len() < MOST_OPEN {
                self.tally.machines.insert(finding.mac);
            }
        }
        for one in &finding.differences {
            *self.tally.by_what.entry(one.what.clone()).or_default() += 1;
        }
        finding
    }
}

fn difference(what: &str, ours: String, theirs: String) -> Difference {
    Difference { what: what.to_owned(), ours, theirs }
}

fn word(kind: ReplyKind) -> &'static str {
    match kind {
        ReplyKind::Offer => "OFFER",
        ReplyKind::Ack => "ACK",
        ReplyKind::Nak => "NAK",
    }
}

fn said(seen: &Seen) -> String {
    if seen.yiaddr.is_unspecified() {
        word(seen.kind).to_owned()
    } else {
        format!("{} {}", word(seen.kind), seen.yiaddr)
    }
}

fn spoken(ours: &Reply) -> String {
    if ours.yiaddr.is_unspecified() {
        word(ours.kind).to_owned()
    } else {
        format!("{} {}", word(ours.kind), ours.yiaddr)
    }
}

fn seconds(seen: &Seen, code: u8) -> Option<u32> {
    let raw = seen.options.get(&code)?;
    <[u8; 4]>::try_from(raw.as_slice()).ok().map(u32::from_be_bytes)
}

/// Who asks early may be told what is left of its lease: servers spare themselves the write while a quarter of it or less
/// has passed.
fn is_rest_of(ours: &Reply, seen: &Seen) -> bool {
    let whole = ours.option(51).and_then(|raw| <[u8; 4]>::try_from(raw).ok()).map(u32::from_be_bytes);
    whole.zip(seconds(seen, 51)).is_some_and(|(whole, rest)| rest <= whole && rest >= whole - whole / 4)
}

/// Options with a name of their own; the others are told by their number.
const NAMED: [(u8, &str); 9] = [
    (1, "mask"),
    (3, "router"),
    (6, "dns"),
    (12, "host name"),
    (15, "domain"),
    (26, "mtu"),
    (42, "ntp"),
    (51, "lease time"),
    (54, "server"),
];

/// No part of what a machine is told: the message's kind, echoes, sizes, and what is compared by its meaning.
const ASIDE: [u8; 10] = [28, 52, 53, 57, 58, 59, 61, 66, 67, 82];

fn compare(request: &Request, network: Option<&Network>, ours: &Reply, seen: &Seen, found: &mut Vec<Difference>) {
    if ours.kind != seen.kind {
        found.push(difference("answer", spoken(ours), said(seen)));
        return;
    }
    if ours.yiaddr != seen.yiaddr {
        found.push(difference("address", ours.yiaddr.to_string(), seen.yiaddr.to_string()));
    }
    let nak = ours.kind == ReplyKind::Nak;
    let mut codes: BTreeSet<u8> = ours.options.iter().map(|(code, _)| *code).collect();
    codes.extend(seen.options.keys());
    for code in codes.into_iter().filter(|code| !ASIDE.contains(code) && (!nak || *code == 54)) {
        let (mine, other) = (ours.option(code), seen.options.get(&code).map(Vec::as_slice));
        if mine.map(without_end) != other.map(without_end) {
            let name = NAMED.iter().find(|(it, _)| *it == code).map(|(_, name)| (*name).to_owned());
            let shown = |value: Option<&[u8]>| value.map_or_else(|| "absent".to_owned(), |value| shown(code, value));
            found.push(difference(&name.unwrap_or_else(|| format!("option {code}")), shown(mine), shown(other)));
        }
    }
    if nak {
        return;
    }
    times(ours, seen, found);
    broadcast(network, seen, found);
    boot(request, ours, seen, found);
}

/// Texts may end with a NUL or not.
fn without_end(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).filter(|text| !text.is_empty() && text.iter().all(u8::is_ascii_graphic)).unwrap_or(value)
}

fn shown(code: u8, value: &[u8]) -> String {
    let (quads, rest) = value.as_chunks::<4>();
    match code {
        1 | 3 | 6 | 28 | 42 | 54 if rest.is_empty() => {
            quads.iter().map(|quad| Ipv4Addr::from(*quad).to_string()).collect::<Vec<_>>().join(" ")
        }
        51 | 58 | 59 => match quads {
            [quad] if rest.is_empty() => format!("{} s", u32::from_be_bytes(*quad)),
            _ => plain_text(value),
        },
        26 => <[u8; 2]>::try_from(value).map_or_else(|_| plain_text(value), |raw| u16::from_be_bytes(raw).to_string()),
        _ => plain_text(value),
    }
}

/// T1 and T2, which a client sets to a half and seven eighths where it is not told.
fn times(ours: &Reply, seen: &Seen, found: &mut Vec<Difference>) {
    let mine = |code: u8| ours.option(code).and_then(|raw| <[u8; 4]>::try_from(raw).ok()).map(u32::from_be_bytes);
    let (Some(my_lease), Some(lease)) = (mine(51), seconds(seen, 51)) else { return };
    if my_lease != lease {
        return;
    }
    for (code, name, usual) in [(58, "renewal time", lease / 2), (59, "rebinding time", lease / 8 * 7)] {
        let (one, other) = (mine(code).unwrap_or(usual), seconds(seen, code).unwrap_or(usual));
        // Who rounds seven eighths otherwise means the same.
        if one.abs_diff(other) > 7 {
            found.push(difference(name, format!("{one} s"), format!("{other} s")));
        }
    }
}

/// A client that is not told its broadcast address reckons it from the mask.
fn broadcast(network: Option<&Network>, seen: &Seen, found: &mut Vec<Difference>) {
    let (Some(network), Some(told)) = (network, seen.options.get(&28)) else { return };
    let usual = network.subnet.broadcast();
    if told.as_slice() != usual.octets() {
        found.push(difference("broadcast", usual.to_string(), shown(28, told)));
    }
}

/// What a boot client fetches, and from where; header and option say the same thing in two places.
fn boot(request: &Request, ours: &Reply, seen: &Seen, found: &mut Vec<Difference>) {
    let trimmed =
        |value: &[u8]| String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let mine = ours.option(67).map(trimmed).filter(|file| !file.is_empty()).unwrap_or_else(|| ours.file.clone());
    let option = seen.options.get(&67).map(|value| trimmed(value)).filter(|file| !file.is_empty());
    let other = option.unwrap_or_else(|| trimmed(&seen.file));
    let fetches = !request.archs.is_empty()
        || request.vendor_class.as_deref().is_some_and(|class| class.starts_with(b"PXEClient"));
    // An operating system reads neither, whatever a server tells everybody.
    if !fetches {
        return;
    }
    let told = |file: &str| if file.is_empty() { "none".to_owned() } else { plain_text(file.as_bytes()) };
    if mine != other {
        found.push(difference("boot file", told(&mine), told(&other)));
    }
    if !(mine.is_empty() && other.is_empty()) && ours.siaddr != seen.siaddr {
        found.push(difference("next server", ours.siaddr.to_string(), seen.siaddr.to_string()));
    }
}

#[cfg(test)]
mod tests;
