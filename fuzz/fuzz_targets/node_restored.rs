//! libFuzzer drives [`x0x_fuzz::node::node_restored`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::node::node_restored(data));
