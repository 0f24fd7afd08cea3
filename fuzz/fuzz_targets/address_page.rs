//! libFuzzer drives [`x0x_fuzz::link::address_page`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::link::address_page(data));
