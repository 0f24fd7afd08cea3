//! libFuzzer drives [`x0x_fuzz::wire::frame_reader`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::wire::frame_reader(data));
