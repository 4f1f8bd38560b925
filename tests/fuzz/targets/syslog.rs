//! One datagram to port 514: whatever it holds, what is kept is one bounded line that no terminal obeys.
#![no_main]

use muster_netboot::syslog::parse;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    if let Ok(line) = parse(datagram) {
        assert!(line.severity <= 7 && !line.text.is_empty() && line.text.len() <= 1_100 && line.program.len() <= 64);
        assert!(!line.text.chars().chain(line.program.chars()).any(char::is_control), "{line:?}");
    }
});
