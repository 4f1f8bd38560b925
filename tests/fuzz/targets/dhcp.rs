//! One datagram to port 67: whatever it holds, it is read or named malformed.
//!
//! The reader is taken in as a file rather than as its crate: it stands on netboot's plain values alone, and the crate
//! would bring runtime, sockets and HTTP into a build that has to be quick.
#![no_main]

#[path = "../../../server/bootserver/src/dhcp/read.rs"]
#[allow(dead_code)]
mod read;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    match read::parse(datagram) {
        // What was read can be said in a log line, and what was not has its reason.
        Ok(request) => drop(format!("{request:?}")),
        Err(malformed) => assert!(!malformed.label().is_empty()),
    }
    let _ = read::parse_reply(datagram);
});
