//! libFuzzer drives [`x0x_fuzz::peer::peer_streams`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::peer::peer_streams(data));
