//! libFuzzer drives [`x0x_fuzz::gossip::gossip_frame`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::gossip::gossip_frame(data));
