//! libFuzzer drives [`x0x_fuzz::link::path_probe`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::link::path_probe(data));
