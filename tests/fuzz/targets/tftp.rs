//! One datagram to port 69, and the same bytes as a file's name: no name that is taken climbs.
#![no_main]

use muster_netboot::tftp::{Names, Packet, normalise, parse};

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    if let Ok(Packet::Read(request)) = parse(datagram) {
        let _ = format!("{request:?}");
    }
    if let Some(key) = normalise(datagram, Names::default()) {
        assert!(!key.split('/').any(|step| step == ".."), "{key}");
    }
});
