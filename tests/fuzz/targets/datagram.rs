#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sfu::core::fuzz::datagram(std::time::Instant::now(), data));
