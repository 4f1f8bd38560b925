//! Option 82 as any relay, or anybody who plays one, writes it. The bytes go back as they came.
#![no_main]

libfuzzer_sys::fuzz_target!(|option: &[u8]| {
    assert_eq!(muster_netboot::Relay::read(option).raw, option);
});
