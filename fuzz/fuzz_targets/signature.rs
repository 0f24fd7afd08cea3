//! libFuzzer drives [`x0x_fuzz::crypto::signature`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::crypto::signature(data));
