#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealdex_fuzz_bodies::run("kept", data));
