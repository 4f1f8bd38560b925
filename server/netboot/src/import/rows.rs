//! From the entries of several files to one list of rows, and what contradicts itself in it before anything else is
//! asked.

use super::{Entry, Given};
use muster_names::{Mac, Millis};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// One MAC and what it shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it was read: `dhcpd.conf:12`.
    pub source: String,
    pub mac: Mac,
    pub address: Option<Ipv4Addr>,
    pub name: Option<String>,
    /// The address is kept for it for ever.
    pub reserved: bool,
    /// It has a lease on the address that ends then.
    pub until: Option<Millis>,
    /// A machine is made of it where none is known.
    pub machine: bool,
    /// It runs: it is taken over as it is.
    pub running: bool,
}

/// The rows of all files, in their order. A reservation and a lease of one MAC on one address are one row, and what two
/// files say alike is said once.
pub fn rows<'a>(files: impl IntoIterator<Item = (&'a str, &'a [Entry])>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut known: BTreeMap<(Mac, Option<Ipv4Addr>), usize> = BTreeMap::new();
    for (file, entries) in files {
        for entry in entries {
            let key = (entry.mac, entry.address);
            let at = *known.entry(key).or_insert_with(|| {
                rows.push(Row {
                    source: format!("{file}:{}", entry.at.line),
                    mac: entry.mac,
                    address: entry.address,
                    name: None,
                    reserved: false,
                    until: None,
                    machine: false,
                    running: false,
                });
                rows.len() - 1
            });
            if let Some(row) = rows.get_mut(at) {
                add(row, entry);
            }
        }
    }
    rows
}

fn add(row: &mut Row, entry: &Entry) {
    row.running |= entry.running;
    match entry.given {
        Given::Reservation => {
            // A person wrote this name; a lease's is what the machine calls itself.
            if entry.name.is_some() && !row.machine {
                row.name.clone_from(&entry.name);
            }
            row.machine = true;
            row.reserved |= entry.address.is_some();
        }
        Given::Lease { until } => row.until = row.until.max(Some(until)),
    }
    if row.name.is_none() {
        row.name.clone_from(&entry.name);
    }
}

/// What contradicts itself, by index: one address of two MACs, one MAC with two reservations, one name of two machines.
pub fn clashes(rows: &[Row]) -> BTreeMap<usize, String> {
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    let mut tell = |pairs: Vec<(usize, usize)>, why: &dyn Fn(&Row, &Row) -> String| {
        for (one, other) in pairs {
            for (at, beside) in [(one, other), (other, one)] {
                if let (Some(row), Some(beside)) = (rows.get(at), rows.get(beside)) {
                    found.entry(at).or_insert_with(|| why(row, beside));
                }
            }
        }
    };
    let macs = doubles(rows, |row| row.reserved.then_some(row.mac), |_, _| true);
    tell(macs, &|row, other| {
        let address = other.address.map(|address| address.to_string()).unwrap_or_default();
        format!("{} is reserved {address} as well ({}); a MAC has one reservation", row.mac, other.source)
    });
    let addresses = doubles(rows, |row| row.address, |one, other| one.mac != other.mac);
    tell(addresses, &|row, other| {
        let address = row.address.map(|address| address.to_string()).unwrap_or_default();
        format!("{address} is told of {} as well ({})", other.mac, other.source)
    });
    let named = |row: &Row| row.name.clone().filter(|_| row.machine);
    let names = doubles(rows, named, |one, other| one.mac != other.mac);
    tell(names, &|row, other| {
        let name = row.name.clone().unwrap_or_default();
        format!("{name} is the name of {} as well ({}); one machine has one name", other.mac, other.source)
    });
    found
}

/// Rows that share a key, each paired with the first one of it that is not like it.
fn doubles<K: Ord>(
    rows: &[Row],
    key: impl Fn(&Row) -> Option<K>,
    differ: impl Fn(&Row, &Row) -> bool,
) -> Vec<(usize, usize)> {
    let mut first: BTreeMap<K, usize> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(key) = key(row) else { continue };
        let before = *first.entry(key).or_insert(at);
        if before != at && rows.get(before).is_some_and(|other| differ(other, row)) {
            pairs.push((before, at));
        }
    }
    pairs
}
