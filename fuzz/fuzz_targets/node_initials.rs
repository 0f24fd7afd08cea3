//! libFuzzer drives [`x0x_fuzz::node::node_initials`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::node::node_initials(data));
