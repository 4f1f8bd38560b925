//! The tables that firmware leaves in memory, both files in one input: the first 32 bytes are the entry point.
//!
//! Taken in as files, like the DHCP reader: the agent's crate would bring TLS.
#![no_main]

#[path = "../../../agent/src/bytes.rs"]
#[allow(dead_code)]
mod bytes;
#[path = "../../../agent/src/inventory/smbios.rs"]
#[allow(dead_code)]
mod smbios;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (entry, table) = input.split_at(input.len().min(32));
    let _ = smbios::read(entry, table);
});
