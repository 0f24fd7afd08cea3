//! libFuzzer drives [`x0x_fuzz::recording::node_recording`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::recording::node_recording(data));
