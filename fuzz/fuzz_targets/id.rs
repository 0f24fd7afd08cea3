//! libFuzzer drives [`x0x_fuzz::documents::id`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::documents::id(data));
