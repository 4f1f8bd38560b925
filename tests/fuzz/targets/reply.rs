//! What a daemon answers. What is read is written and read back the same.
#![no_main]

use muster_wire::Reply;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok(reply) = serde_json::from_slice::<Reply>(body) {
        let text = serde_json::to_string(&reply).expect("a reply can be written");
        let again: Reply = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(again, reply);
    }
});
