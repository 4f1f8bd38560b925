//! The head of a request to boot HTTP: a path that is read never climbs, a range that is granted lies within the body.
//!
//! Taken in as a file, like the DHCP reader.
#![no_main]

#[path = "../../../server/bootserver/src/http/head.rs"]
#[allow(dead_code, rustdoc::broken_intra_doc_links)]
mod head;

use head::{Parsed, parse_head};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(Parsed::Whole { head, length }) = parse_head(bytes) {
        assert!(length <= bytes.len());
        if let Some((start, end)) = head.range.and_then(|range| range.settle(1000)) {
            assert!(start < end && end <= 1000);
        }
        assert!(head.path.starts_with('/') && !head.path.split('/').any(|step| step == ".."), "{}", head.path);
    }
});
