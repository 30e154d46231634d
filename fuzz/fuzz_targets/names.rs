#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| circuit_core::fuzz::names(input));
