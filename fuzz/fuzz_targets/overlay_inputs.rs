//! libFuzzer drives [`x0x_fuzz::overlay::overlay_inputs`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::overlay::overlay_inputs(data));
