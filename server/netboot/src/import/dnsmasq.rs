//! `dhcp-host` lines, hosts files and the lease file: a line each, told apart by how they begin.

use super::text::{self, Spot, lines, shown};
use super::{Entry, FOREVER, Given, Notes};
use muster_names::Millis;

pub fn read(bytes: &[u8], now: Millis, notes: &mut Notes) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut version6 = false;
    for (number, line) in lines(bytes) {
        let line = bare(line);
        let at = Spot { line: number, column: 1 };
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => {}
            [b"duid", ..] => version6 = true,
            _ if version6 => notes.skipped(at, "a lease of DHCPv6"),
            [expiry, mac, address, name, _] if expiry.iter().all(u8::is_ascii_digit) => {
                entries.extend(lease(at, expiry, mac, address, name, now, notes));
            }
            _ => match line.iter().position(|byte| *byte == b'=') {
                Some(equals) if line.get(..equals).is_some_and(|key| !key.contains(&b',') && !key.contains(&b':')) => {
                    let (key, value) = line.split_at_checked(equals).unwrap_or((line, &[]));
                    let value = value.get(1..).unwrap_or_default();
                    option(at.past(line.get(..=equals).unwrap_or(line)), at, key, value, &mut entries, notes);
                }
                _ if line.iter().any(|byte| matches!(byte, b',' | b':')) => host(at, line, &mut entries, notes),
                _ => {
                    notes.skipped(
                        at,
                        format!("`{}` is no reservation and no lease: it was skipped", shown(line.trim_ascii())),
                    );
                }
            },
        }
    }
    entries
}

/// Without a comment: a `#` at the beginning or after a space begins one.
fn bare(line: &[u8]) -> &[u8] {
    let mut before = b' ';
    for (at, byte) in line.iter().enumerate() {
        if *byte == b'#' && before.is_ascii_whitespace() {
            return line.get(..at).unwrap_or(line);
        }
        before = *byte;
    }
    line
}

fn option(value_at: Spot, at: Spot, key: &[u8], value: &[u8], entries: &mut Vec<Entry>, notes: &mut Notes) {
    match key.trim_ascii() {
        b"dhcp-host" | b"--dhcp-host" => host(value_at, value, entries, notes),
        b"conf-file" | b"conf-dir" | b"dhcp-hostsfile" | b"dhcp-hostsdir" => {
            let text = format!("`{}={}`: it was not read; name that file as well", shown(key), shown(value));
            notes.broken(at, text);
        }
        key => notes.skipped(at, format!("`{}` is no reservation and no lease: it was skipped", shown(key))),
    }
}

fn lease(
    at: Spot,
    expiry: &[u8],
    mac: &[u8],
    address: &[u8],
    name: &[u8],
    now: Millis,
    notes: &mut Notes,
) -> Option<Entry> {
    let mac_at = at.past(expiry).after(b' ');
    // 06-... is a token ring, and the like.
    let (mac, address) = match (text::mac(mac), text::address(address)) {
        (Ok(mac), Ok(address)) => (mac, address),
        (Err(why), _) | (_, Err(why)) => {
            notes.broken(mac_at, why);
            return None;
        }
    };
    let until = match expiry {
        b"0" => FOREVER,
        expiry => match text::epoch(expiry) {
            Some(until) => until,
            None => {
                notes.broken(at, format!("{:?} is no end of a lease; expected seconds since 1970", shown(expiry)));
                return None;
            }
        },
    };
    if until <= now {
        notes.skipped(at, "a lease that has ended");
        return None;
    }
    let name = match name {
        b"*" => None,
        name => text::name(name).map_err(|why| notes.skipped(at, why)).ok(),
    };
    Some(Entry { at, mac, address: Some(address), name, given: Given::Lease { until }, running: false })
}

/// The parts of a host between commas, in any order: MACs, one address, a name, a lease time, tags.
fn host(at: Spot, value: &[u8], entries: &mut Vec<Entry>, notes: &mut Notes) {
    let (mut macs, mut address, mut name, mut sound) = (Vec::new(), None, None, true);
    let mut spot = at;
    for part in value.split(|byte| *byte == b',') {
        let here = spot;
        spot = spot.past(part).after(b',');
        let part = part.trim_ascii();
        if part.is_empty() || part.starts_with(b"set:") || part.starts_with(b"tag:") || part.starts_with(b"net:") {
            continue;
        }
        if part.starts_with(b"id:") {
            notes.skipped(here, "a client id: Muster knows a machine by its MAC address");
        } else if part == b"ignore" {
            notes.skipped(here, "`ignore` of a host: no entry was made of it");
            return;
        } else if part.starts_with(b"[") {
            notes.skipped(here, "an address of DHCPv6");
        } else if part.iter().filter(|byte| **byte == b':').count() >= 5 {
            match text::mac(part) {
                Ok(mac) => macs.push((here, mac)),
                Err(why) => {
                    sound = false;
                    notes.broken(here, why);
                }
            }
        } else if let Ok(found) = text::address(part) {
            address = Some(found);
        } else if is_time(part) {
            notes.skipped(here, "a lease time of a host: lease times are those of Muster's networks");
        } else {
            match text::name(part) {
                Ok(found) if part.iter().any(u8::is_ascii_alphabetic) => name = Some(found),
                _ => {
                    sound = false;
                    notes.broken(
                        here,
                        format!("{:?}: expected a MAC, an address, a host name or a lease time", shown(part)),
                    );
                }
            }
        }
    }
    if macs.is_empty() && sound {
        let text = format!("`{}`: expected a MAC address, by which Muster knows machines", shown(value.trim_ascii()));
        notes.broken(at, text);
    }
    if sound {
        let entry =
            |(at, mac)| Entry { at, mac, address, name: name.clone(), given: Given::Reservation, running: false };
        entries.extend(macs.into_iter().map(entry));
    }
}

/// `3600`, `45m`, `12h`, `7d`, `2w`, `infinite`.
fn is_time(part: &[u8]) -> bool {
    let digits = match part {
        b"infinite" => return true,
        [digits @ .., b's' | b'm' | b'h' | b'd' | b'w'] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
