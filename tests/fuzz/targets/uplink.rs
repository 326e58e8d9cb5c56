#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sfu::core::fuzz::uplink(std::time::Instant::now(), data));
