//! libFuzzer drives [`x0x_fuzz::wire::varint`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::wire::varint(data));
