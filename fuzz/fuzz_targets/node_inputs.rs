//! libFuzzer drives [`x0x_fuzz::node::node_inputs`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::node::node_inputs(data));
