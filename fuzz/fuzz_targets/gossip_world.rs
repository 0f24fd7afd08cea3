//! libFuzzer drives [`x0x_fuzz::modelled::gossip_world`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::modelled::gossip_world(data));
