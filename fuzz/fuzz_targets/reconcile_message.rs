//! libFuzzer drives [`x0x_fuzz::reconcile::reconcile_message`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| x0x_fuzz::reconcile::reconcile_message(data));
