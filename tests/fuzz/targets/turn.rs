//! What an agent, or anybody who reaches the agent listener, posts. What is read is written and read back the same.
#![no_main]

use muster_wire::Turn;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok(turn) = serde_json::from_slice::<Turn>(body) {
        let text = serde_json::to_string(&turn).expect("a turn can be written");
        let again: Turn = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(again, turn);
    }
});
