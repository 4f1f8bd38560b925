//! What another DHCP server knows of a site, read from its own files: reservations and leases, as plain values.
//!
//! A site that switches over has these files and nothing else to say which machine has which address. Each reader is
//! total: any bytes give a [`Reading`], and what was not taken stands in its notes with line and column, because an
//! address that is lost without a word is a machine that comes up on another one. What a statement means for the
//! machines is not decided here.
//!
//! Turned down: a grammar library for each format (four heavy ways to say "skip what you do not know"), and running the
//! other server's own tools (they are not there, or not there any more, where an operator wants to look first).

mod csv;
mod dnsmasq;
mod isc;
mod json;
mod kea;
mod rows;
mod text;

pub use rows::{Row, clashes, rows};
pub use text::Spot;

use muster_names::{Mac, Millis};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Whose files they are. Each reader tells configuration from leases by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// A table with a header: `mac`, `address`, `name`, `running`.
    Csv,
    /// `dhcpd.conf` and `dhcpd.leases`: one grammar.
    Isc,
    /// `kea-dhcp4.conf`, or the lease file of its memfile backend.
    Kea,
    /// `dnsmasq.conf`, a hosts file, or `dnsmasq.leases`.
    Dnsmasq,
}

/// What a statement gives a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Kept for it for ever.
    Reservation,
    /// Its until then; [`FOREVER`] for a lease without an end.
    Lease { until: Millis },
}

/// The end of a lease that has none: the year 2100, so that no sum with it runs over.
pub const FOREVER: Millis = Millis(4_102_444_800_000);

/// One machine's address as a file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Spot,
    pub mac: Mac,
    /// None for a machine that is named without an address.
    pub address: Option<Ipv4Addr>,
    /// A host name, checked.
    pub name: Option<String>,
    pub given: Given,
    /// The file says that the machine is in use.
    pub running: bool,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Understood as something that is not imported.
    Skipped,
    /// Something that should be an address of a machine, and could not be read.
    Broken,
}

/// What was not taken. Statements that differ in nothing a person needs are one note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Spot,
    pub weight: Weight,
    pub text: String,
    /// How often, `at` being the first place.
    pub times: usize,
}

/// All that one text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// In the order of the file.
    pub entries: Vec<Entry>,
    /// In the order of their first places.
    pub notes: Vec<Note>,
}

/// Reads one file. `now` tells leases that have ended from those that run.
pub fn read(format: Format, bytes: &[u8], now: Millis) -> Reading {
    let mut notes = Notes::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut entries = match format {
        Format::Csv => csv::read(bytes, &mut notes),
        Format::Isc => isc::read(bytes, now, &mut notes),
        Format::Kea => kea::read(bytes, now, &mut notes),
        Format::Dnsmasq => dnsmasq::read(bytes, now, &mut notes),
    };
    entries.sort_by_key(|entry| entry.at);
    Reading { entries, notes: notes.told() }
}

/// Different notes kept of one file; a hostile one must not fill the memory with complaints.
const MOST_NOTES: usize = 1_000;

#[derive(Default)]
struct Notes {
    /// By weight and text: first place, how often.
    found: BTreeMap<(Weight, String), (Spot, usize)>,
}

impl Notes {
    fn skipped(&mut self, at: Spot, text: impl Into<String>) {
        self.add(Weight::Skipped, at, text.into());
    }

    fn broken(&mut self, at: Spot, text: impl Into<String>) {
        self.add(Weight::Broken, at, text.into());
    }

    fn add(&mut self, weight: Weight, at: Spot, text: String) {
        let key = (weight, text);
        let known = self.found.contains_key(&key);
        let key =
            if known || self.found.len() < MOST_NOTES { key } else { (weight, "and more of the kind".to_owned()) };
        let (first, times) = self.found.entry(key).or_insert((at, 0));
        *first = (*first).min(at);
        *times = times.saturating_add(1);
    }

    fn told(self) -> Vec<Note> {
        let note = |((weight, text), (at, times))| Note { at, weight, text, times };
        let mut notes: Vec<Note> = self.found.into_iter().map(note).collect();
        notes.sort_by_key(|note| note.at);
        notes
    }
}

#[cfg(test)]
mod tests;
