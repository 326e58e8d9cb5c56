#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ingest::rtmp::fuzz::connection(std::time::Instant::now(), data));
