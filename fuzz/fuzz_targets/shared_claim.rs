#![no_main]

use exporter_proxy_fuzz::shared_claim::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
