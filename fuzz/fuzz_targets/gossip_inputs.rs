//! libFuzzer drives [`x0x_fuzz::subscriber::gossip_inputs`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::subscriber::gossip_inputs(data));
