//! Kea's configuration (JSON, reservations in it) and the lease file of its memfile backend (a table).

use super::csv::{self, Cell};
use super::json::{self, Node, Value};
use super::text::{self, Spot, lines, shown};
use super::{Entry, FOREVER, Given, Notes};
use muster_names::Millis;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub fn read(bytes: &[u8], now: Millis, notes: &mut Notes) -> Vec<Entry> {
    // A table begins with its header; JSON with a brace, a comment or nothing.
    if bytes.trim_ascii_start().starts_with(b"address,") {
        leases(bytes, now, notes)
    } else {
        reservations(bytes, notes)
    }
}

/// What is known of an object of the configuration: fields that are read, fields that describe it, the rest is told.
const IN_SUBNET: [&[u8]; 4] = [b"id", b"name", b"subnet", b"comment"];

fn reservations(bytes: &[u8], notes: &mut Notes) -> Vec<Entry> {
    let mut entries = Vec::new();
    let root = match json::read(bytes) {
        Ok(root) => root,
        Err((at, why)) => {
            notes.broken(at, format!("{why}; nothing of the file was taken"));
            return entries;
        }
    };
    let Some(config) = root.get(b"Dhcp4") else {
        notes.broken(root.at, "the file has no \"Dhcp4\"; expected the configuration of Kea's DHCPv4 server");
        return entries;
    };
    for (at, key, _) in root.fields().iter().filter(|(_, key, _)| key != b"Dhcp4") {
        notes.skipped(*at, format!("{:?}: it was skipped", shown(key)));
    }
    let mut around = vec![config];
    while let Some(part) = around.pop() {
        for (at, key, node) in part.fields() {
            match key.as_slice() {
                b"reservations" => entries.extend(node.items().iter().filter_map(|one| reservation(one, notes))),
                b"subnet4" | b"shared-networks" => around.extend(node.items()),
                b"hosts-database" | b"hosts-databases" => {
                    let text =
                        format!("{:?}: reservations in a database were not read; export them as a table", shown(key));
                    notes.broken(*at, text);
                }
                key if IN_SUBNET.contains(&key) => {}
                key => notes.skipped(*at, format!("{:?} is no reservation: it was skipped", shown(key))),
            }
        }
    }
    entries
}

fn reservation(one: &Node, notes: &mut Notes) -> Option<Entry> {
    let Value::Object(fields) = &one.value else {
        notes.broken(one.at, "expected a reservation, an object in braces");
        return None;
    };
    let Some(mac) = one.get(b"hw-address") else {
        let by = fields.iter().map(|(_, key, _)| key.as_slice());
        let by = by.into_iter().find(|key| matches!(*key, b"client-id" | b"duid" | b"circuit-id" | b"flex-id"));
        let found = by.map_or_else(|| "none".to_owned(), |key| format!("{:?}", shown(key)));
        let text = format!(
            "a reservation without \"hw-address\" (found {found}); expected one, by which Muster knows machines"
        );
        notes.broken(one.at, text);
        return None;
    };
    let mac = match mac.text().ok_or_else(|| "expected a MAC address in quotes".to_owned()).and_then(text::mac) {
        Ok(found) => found,
        Err(why) => {
            notes.broken(mac.at, why);
            return None;
        }
    };
    let (mut address, mut name) = (None, None);
    for (at, key, node) in fields {
        match (key.as_slice(), node.text()) {
            (b"hw-address", _) => {}
            (b"ip-address", Some(text)) => match text::address(text) {
                Ok(found) => address = Some(found),
                Err(why) => {
                    notes.broken(node.at, why);
                    return None;
                }
            },
            (b"ip-address", None) => {
                notes.broken(node.at, "expected an IPv4 address in quotes");
                return None;
            }
            (b"hostname", Some(text)) => name = text::name(text).map_err(|why| notes.broken(node.at, why)).ok(),
            (b"hostname" | b"comment" | b"user-context", _) => {}
            // Kea writes them empty where nothing is set.
            _ if is_empty(node) => {}
            (key, _) => {
                let text =
                    format!("{:?} of a reservation: what a machine boots and is told is Muster's to say", shown(key));
                notes.skipped(*at, text);
            }
        }
    }
    Some(Entry { at: one.at, mac, address, name, given: Given::Reservation, running: false })
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.is_empty() || text == b"0.0.0.0",
        Value::List(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Plain(word) => word == b"null",
    }
}

/// A lease that never ends, in seconds.
const ENDLESS: &[u8] = b"4294967295";

fn leases(bytes: &[u8], now: Millis, notes: &mut Notes) -> Vec<Entry> {
    // The file is a journal: the last row of an address is the one that counts.
    let mut newest: BTreeMap<Ipv4Addr, Option<Entry>> = BTreeMap::new();
    let mut head: Vec<Vec<u8>> = Vec::new();
    for (number, line) in lines(bytes).filter(|(_, line)| !line.trim_ascii().is_empty()) {
        // Kea writes no quotes; a comma within a cell is &#x2c.
        let cells = csv::cells(number, line, b',').unwrap_or_default();
        if head.is_empty() {
            head = cells.into_iter().map(|cell| cell.bytes).collect();
            let missing =
                [&b"hwaddr"[..], b"expire", b"valid_lifetime"].into_iter().find(|key| !head.iter().any(|it| it == key));
            if let Some(key) = missing {
                notes.broken(Spot { line: number, column: 1 }, format!("the table has no column {:?}", shown(key)));
                return Vec::new();
            }
            continue;
        }
        let at = Spot { line: number, column: 1 };
        let row = Row { cells: &cells, head: &head };
        let address = match text::address(row.get(b"address")) {
            Ok(address) => address,
            Err(why) => {
                notes.broken(at, why);
                continue;
            }
        };
        newest.insert(address, row.lease(at, address, now, notes));
    }
    newest.into_values().flatten().collect()
}

struct Row<'a> {
    cells: &'a [Cell],
    head: &'a [Vec<u8>],
}

impl Row<'_> {
    fn get(&self, column: &[u8]) -> &[u8] {
        let at = self.head.iter().position(|name| name == column);
        at.and_then(|at| self.cells.get(at)).map_or(&[][..], |cell| cell.bytes.as_slice())
    }

    fn lease(&self, at: Spot, address: Ipv4Addr, now: Millis, notes: &mut Notes) -> Option<Entry> {
        match self.get(b"state") {
            b"0" | b"" => {}
            b"1" => {
                let text =
                    format!("{address} is declined, somebody unknown answers on it; look who before you hand it out");
                notes.skipped(at, text);
                return None;
            }
            _ => {
                notes.skipped(at, "a lease that is not assigned");
                return None;
            }
        }
        let lifetime = self.get(b"valid_lifetime");
        if lifetime == b"0" {
            return None;
        }
        let until = match (lifetime, text::epoch(self.get(b"expire"))) {
            (ENDLESS, _) => FOREVER,
            (_, Some(until)) => until,
            (_, None) => {
                notes.broken(at, format!("expire {:?}; expected seconds since 1970", shown(self.get(b"expire"))));
                return None;
            }
        };
        if until <= now {
            notes.skipped(at, "a lease that has ended");
            return None;
        }
        let mac = match self.get(b"hwaddr") {
            b"" => {
                notes.broken(at, format!("the lease of {address} has no \"hwaddr\"; expected a MAC address"));
                return None;
            }
            mac => text::mac(mac).map_err(|why| notes.broken(at, why)).ok()?,
        };
        let name = match self.get(b"hostname") {
            b"" => None,
            name => text::name(name).map_err(|why| notes.skipped(at, why)).ok(),
        };
        Some(Entry { at, mac, address: Some(address), name, given: Given::Lease { until }, running: false })
    }
}
