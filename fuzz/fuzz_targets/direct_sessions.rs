//! libFuzzer drives [`x0x_fuzz::direct::direct_sessions`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::direct::direct_sessions(data));
