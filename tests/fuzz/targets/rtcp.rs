#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sfu::core::fuzz::rtcp(std::time::Instant::now(), data));
