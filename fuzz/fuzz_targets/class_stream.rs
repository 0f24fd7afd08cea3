//! libFuzzer drives [`x0x_fuzz::link::class_stream`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::link::class_stream(data));
