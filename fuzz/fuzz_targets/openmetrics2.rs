#![no_main]

use exporter_proxy_fuzz::openmetrics2::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
