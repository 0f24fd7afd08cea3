//! libFuzzer drives [`x0x_fuzz::transport::tls_name`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::transport::tls_name(data));
