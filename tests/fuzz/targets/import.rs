//! The files of another DHCP server: whatever they hold, each reader comes to an end with places that are in the file.
#![no_main]

use muster_names::Millis;
use muster_netboot::import::{Format, clashes, read, rows};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else { return };
    // A seed begins with a letter of its format, so that a corpus is readable.
    let format = match first {
        b'c' => Format::Csv,
        b'i' => Format::Isc,
        b'k' => Format::Kea,
        _ => Format::Dnsmasq,
    };
    let reading = read(format, text, Millis(1_795_723_200_000));
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    let places = reading.entries.iter().map(|entry| entry.at).chain(reading.notes.iter().map(|note| note.at));
    for place in places {
        assert!((1..=lines).contains(&place.line), "{place} of {lines} lines");
    }
    let rows = rows([("f", &reading.entries[..])]);
    assert!(clashes(&rows).keys().all(|at| *at < rows.len()));
});
