#![no_main]

use exporter_proxy_fuzz::store_log::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
