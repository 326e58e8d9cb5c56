#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sfu::core::fuzz::dtls_guard(std::time::Instant::now(), data));
