#![no_main]

use exporter_proxy_fuzz::monitoring_stream::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
