//! What a BMC, or anybody who plays one, sends over IPMI: datagrams, and the records, inventories, logs and console
//! packets inside them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    muster_bmc::parse(bytes);
});
