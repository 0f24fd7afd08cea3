//! libFuzzer drives [`x0x_fuzz::link::close_code`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::link::close_code(data));
