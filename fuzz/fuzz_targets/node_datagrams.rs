//! libFuzzer drives [`x0x_fuzz::node::node_datagrams`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::node::node_datagrams(data));
