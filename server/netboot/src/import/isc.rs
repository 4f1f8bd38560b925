//! `dhcpd.conf` and `dhcpd.leases`: one grammar of statements, `NAME words;` and `NAME words { ... }`.
//!
//! Hosts stand anywhere, in groups, subnets and pools, and in the lease file as well, where the server writes what was
//! made while it ran; there a later lease of an address is the one that counts, and `deleted` takes a host back.

use super::text::{self, Spot, shown};
use super::{Entry, FOREVER, Given, Notes};
use muster_names::{Mac, Millis};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Blocks within blocks; real files have a handful.
const DEEPEST: usize = 64;

enum Token {
    Word(Vec<u8>),
    Open,
    Close,
    Semicolon,
    Comma,
}

/// Splits bytes into tokens with their places. A string is a word without its quotes.
struct Tokens<'a> {
    rest: &'a [u8],
    at: Spot,
}

impl Tokens<'_> {
    fn skip(&mut self, count: usize) {
        let (gone, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.at = self.at.past(gone);
        self.rest = rest;
    }

    /// `Err` is the place of a string that does not end.
    fn next(&mut self) -> Option<Result<(Spot, Token), Spot>> {
        loop {
            let first = *self.rest.first()?;
            match first {
                b'#' => self.skip(self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len())),
                byte if byte.is_ascii_whitespace() => self.skip(1),
                _ => break,
            }
        }
        let at = self.at;
        let token = match *self.rest.first()? {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b';' => Token::Semicolon,
            b',' => Token::Comma,
            b'"' => {
                self.skip(1);
                return Some(self.string().map(|word| (at, Token::Word(word))).ok_or(at));
            }
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b"{};,\"#".contains(byte);
                let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                let word = self.rest.get(..length).unwrap_or_default().to_vec();
                self.skip(length);
                return Some(Ok((at, Token::Word(word))));
            }
        };
        self.skip(1);
        Some(Ok((at, token)))
    }

    /// The rest of a string, its end taken; None when it has none, and the file is over.
    fn string(&mut self) -> Option<Vec<u8>> {
        let mut word = Vec::new();
        loop {
            match self.rest {
                [b'"', ..] => {
                    self.skip(1);
                    return Some(word);
                }
                [b'\\', byte, ..] => {
                    word.push(*byte);
                    self.skip(2);
                }
                [byte, ..] => {
                    word.push(*byte);
                    self.skip(1);
                }
                [] => return None,
            }
        }
    }
}

/// A statement up to its `;` or `{`: words with their places; a comma ends nothing.
type Words = Vec<(Spot, Vec<u8>)>;

/// What the braces belong to.
enum Block {
    Host(Host),
    Lease(Lease),
    /// Groups and the like: what is in them counts.
    Around,
    /// Conditions, classes, keys: told once, and nothing in them counts.
    Skipped,
}

#[derive(Default)]
struct Host {
    at: Spot,
    label: Vec<u8>,
    mac: Option<Mac>,
    addresses: Vec<Ipv4Addr>,
    name: Option<String>,
    deleted: bool,
    /// Something in it was told as broken already.
    broken: bool,
    client_id: bool,
}

struct Lease {
    at: Spot,
    address: Result<Ipv4Addr, String>,
    mac: Option<Mac>,
    name: Option<String>,
    until: Option<Millis>,
    state: Option<Vec<u8>>,
    broken: bool,
}

struct Reader<'n> {
    notes: &'n mut Notes,
    now: Millis,
    blocks: Vec<(Spot, Block)>,
    /// By the label of its block, so that a later `deleted` finds it.
    hosts: BTreeMap<Vec<u8>, Vec<Entry>>,
    /// The newest word on each address.
    leases: BTreeMap<Ipv4Addr, Option<Entry>>,
}

pub fn read(bytes: &[u8], now: Millis, notes: &mut Notes) -> Vec<Entry> {
    let mut reader = Reader { notes, now, blocks: Vec::new(), hosts: BTreeMap::new(), leases: BTreeMap::new() };
    let mut tokens = Tokens { rest: bytes, at: Spot::START };
    let mut words: Words = Vec::new();
    // Blocks below the deepest: counted, not kept.
    let mut below = 0usize;
    while let Some(token) = tokens.next() {
        let (at, token) = match token {
            Ok(token) => token,
            Err(at) => {
                reader.notes.broken(at, "the string does not end; expected a closing \"; nothing behind it was read");
                break;
            }
        };
        match token {
            Token::Close if below > 0 => below -= 1,
            Token::Open if below > 0 || reader.blocks.len() >= DEEPEST => {
                if below == 0 {
                    reader
                        .notes
                        .broken(at, format!("more than {DEEPEST} blocks within each other; nothing in it was read"));
                }
                below += 1;
                words.clear();
            }
            _ if below > 0 => {}
            Token::Word(word) => words.push((at, word)),
            Token::Comma => {}
            Token::Semicolon => reader.statement(&std::mem::take(&mut words)),
            Token::Open => reader.open(at, std::mem::take(&mut words)),
            Token::Close => {
                reader.unfinished(&std::mem::take(&mut words), "a `;` before the `}`");
                reader.close(at);
            }
        }
    }
    reader.unfinished(&words, "a `;` before the end of the file");
    while let Some((at, _)) = reader.blocks.pop() {
        reader.notes.broken(at, "the block does not end; expected a `}`; what it says was not taken");
    }
    reader.hosts.into_values().flatten().chain(reader.leases.into_values().flatten()).collect()
}

fn first(words: &Words) -> &[u8] {
    words.first().map_or(&[][..], |(_, word)| word)
}

fn nth(words: &Words, at: usize) -> &[u8] {
    words.get(at).map_or(&[][..], |(_, word)| word)
}

/// `option routers`, `default-lease-time`: what a note calls a statement.
fn called(words: &Words) -> String {
    match first(words) {
        b"option" => format!("option {}", shown(nth(words, 1))),
        word => shown(word),
    }
}

impl Reader<'_> {
    fn open(&mut self, brace: Spot, words: Words) {
        let at = words.first().map_or(brace, |(at, _)| *at);
        let skipping = matches!(self.blocks.last(), Some((_, Block::Skipped)));
        let block = match (first(&words), self.blocks.last()) {
            _ if skipping => Block::Skipped,
            (b"host", None | Some((_, Block::Around))) => {
                Block::Host(Host { at, label: nth(&words, 1).to_vec(), ..Host::default() })
            }
            (b"lease", None | Some((_, Block::Around))) => Block::Lease(Lease {
                at,
                address: text::address(nth(&words, 1)),
                mac: None,
                name: None,
                until: None,
                state: None,
                broken: false,
            }),
            (b"group" | b"subnet" | b"shared-network" | b"pool", None | Some((_, Block::Around))) => {
                if first(&words) == b"subnet" {
                    self.notes
                        .skipped(at, "`subnet`: networks are those of Muster's configuration; its hosts were read");
                }
                Block::Around
            }
            (b"on", Some((_, Block::Lease(_)))) => Block::Skipped,
            _ => {
                let text = format!("`{} {{...}}` is no reservation and no lease: it was skipped whole", called(&words));
                self.notes.skipped(at, text);
                Block::Skipped
            }
        };
        self.blocks.push((at, block));
    }

    fn close(&mut self, brace: Spot) {
        match self.blocks.pop() {
            Some((_, Block::Host(host))) => self.host(host),
            Some((_, Block::Lease(lease))) => self.lease(lease),
            Some(_) => {}
            None => self.notes.broken(brace, "a `}` that closes nothing; expected a statement"),
        }
    }

    fn unfinished(&mut self, words: &Words, expected: &str) {
        if let Some((at, word)) = words.first() {
            self.notes.broken(*at, format!("`{}` does not end; expected {expected}", shown(word)));
        }
    }

    fn statement(&mut self, words: &Words) {
        let Some((at, _)) = words.first() else { return };
        let notes = &mut *self.notes;
        match self.blocks.last_mut() {
            Some((_, Block::Skipped)) => {}
            Some((_, Block::Host(host))) => in_host(host, words, *at, notes),
            Some((_, Block::Lease(lease))) => in_lease(lease, words, *at, notes),
            None | Some((_, Block::Around)) => match first(words) {
                b"include" => notes.broken(
                    *at,
                    format!("include {:?}: it was not read; name that file as well", shown(nth(words, 1))),
                ),
                _ => notes.skipped(*at, format!("`{}` is no reservation and no lease: it was skipped", called(words))),
            },
        }
    }

    fn host(&mut self, host: Host) {
        if host.deleted {
            self.hosts.remove(&host.label);
            return;
        }
        let Some(mac) = host.mac else {
            if !host.broken {
                let why =
                    if host.client_id { "it is known by a client id alone" } else { "it has no `hardware ethernet`" };
                let text = format!(
                    "host {}: {why}; expected a MAC address, by which Muster knows machines",
                    shown(&host.label)
                );
                self.notes.broken(host.at, text);
            }
            return;
        };
        if host.broken {
            return;
        }
        if let [_, _, ..] = host.addresses.as_slice() {
            let text = format!(
                "host {}: {} addresses; a machine has one, so the first was taken",
                shown(&host.label),
                host.addresses.len()
            );
            self.notes.broken(host.at, text);
        }
        let name = host.name.or_else(|| text::name(&host.label).ok());
        let address = host.addresses.first().copied();
        let entry = Entry { at: host.at, mac, address, name, given: Given::Reservation, running: false };
        self.hosts.entry(host.label).or_default().push(entry);
    }

    fn lease(&mut self, lease: Lease) {
        let address = match lease.address {
            Ok(address) => address,
            Err(why) => return self.notes.broken(lease.at, why),
        };
        // Whatever this block says, an earlier one of the address is history.
        let newest = self.leases.entry(address).or_default();
        *newest = None;
        if lease.broken {
            return;
        }
        match lease.state.as_deref() {
            Some(b"active") | None => {}
            Some(b"abandoned") => {
                let text = format!(
                    "lease {address}: abandoned, somebody unknown answers on it; look who before you hand it out"
                );
                return self.notes.skipped(lease.at, text);
            }
            Some(_) => return self.notes.skipped(lease.at, "a lease that is not active"),
        }
        let Some(mac) = lease.mac else {
            let text = format!("lease {address}: it has no `hardware ethernet`; expected a MAC address");
            return self.notes.broken(lease.at, text);
        };
        let Some(until) = lease.until else {
            return self.notes.broken(lease.at, format!("lease {address}: it has no `ends`; expected when it ends"));
        };
        if until <= self.now {
            return self.notes.skipped(lease.at, "a lease that has ended");
        }
        let given = Given::Lease { until };
        *newest = Some(Entry { at: lease.at, mac, address: Some(address), name: lease.name, given, running: false });
    }
}

fn in_host(host: &mut Host, words: &Words, at: Spot, notes: &mut Notes) {
    match (first(words), nth(words, 1)) {
        (b"hardware", b"ethernet") => match text::mac(nth(words, 2)) {
            Ok(mac) => host.mac = Some(mac),
            Err(why) => {
                host.broken = true;
                notes.broken(words.get(2).map_or(at, |(at, _)| *at), why);
            }
        },
        (b"hardware", kind) => {
            host.broken = true;
            notes.broken(at, format!("hardware {:?}; expected `hardware ethernet`", shown(kind)));
        }
        (b"fixed-address", _) => {
            for (at, word) in words.iter().skip(1) {
                match text::address(word) {
                    Ok(address) => host.addresses.push(address),
                    Err(why) => {
                        host.broken = true;
                        notes.broken(*at, format!("{why}; a name cannot be looked up here"));
                    }
                }
            }
        }
        (b"option", b"host-name") | (b"ddns-hostname", _) => {
            let (at, word) = words.last().map_or((at, &[][..]), |(at, word)| (*at, word.as_slice()));
            match text::name(word) {
                Ok(name) => host.name = Some(name),
                Err(why) => notes.broken(at, why),
            }
        }
        (b"deleted", _) => host.deleted = true,
        (b"dynamic", _) => {}
        (b"uid" | b"host-identifier", _) | (b"option", b"dhcp-client-identifier") => {
            host.client_id = true;
            notes.skipped(at, "a client id: Muster knows a machine by its MAC address");
        }
        _ => notes
            .skipped(at, format!("`{}` of a host: what a machine boots and is told is Muster's to say", called(words))),
    }
}

fn in_lease(lease: &mut Lease, words: &Words, at: Spot, notes: &mut Notes) {
    let mut broken = |at: Spot, why: String| {
        lease.broken = true;
        notes.broken(at, why);
    };
    match (first(words), nth(words, 1)) {
        (b"hardware", b"ethernet") => match text::mac(nth(words, 2)) {
            Ok(mac) => lease.mac = Some(mac),
            Err(why) => broken(words.get(2).map_or(at, |(at, _)| *at), why),
        },
        (b"ends", b"never") => lease.until = Some(FOREVER),
        (b"ends", b"epoch") => match text::epoch(nth(words, 2)) {
            Some(until) => lease.until = Some(until),
            None => broken(at, format!("ends epoch {:?}; expected seconds since 1970", shown(nth(words, 2)))),
        },
        (b"ends", _) => match text::date(nth(words, 2), nth(words, 3)) {
            Some(until) => lease.until = Some(until),
            None => {
                let found = [nth(words, 1), nth(words, 2), nth(words, 3)].map(shown).join(" ");
                broken(at, format!("ends {found:?}; expected `never` or a time like 4 2026/11/26 20:00:00"));
            }
        },
        (b"binding", b"state") => lease.state = Some(nth(words, 2).to_vec()),
        (b"abandoned", _) => lease.state = Some(b"abandoned".to_vec()),
        (b"client-hostname", word) => match text::name(word) {
            Ok(name) => lease.name = Some(name),
            Err(why) => notes.skipped(at, why),
        },
        (
            b"starts"
            | b"tstp"
            | b"tsfp"
            | b"atsfp"
            | b"cltt"
            | b"next"
            | b"rewind"
            | b"uid"
            | b"set"
            | b"option"
            | b"vendor-class-identifier"
            | b"ddns-fwd-name"
            | b"ddns-txt"
            | b"ddns-rev-name"
            | b"bootp"
            | b"reserved",
            _,
        ) => {}
        _ => notes.skipped(at, format!("`{}` of a lease: it was skipped", called(words))),
    }
}
