//! libFuzzer drives [`x0x_fuzz::documents::binding`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::documents::binding(data));
