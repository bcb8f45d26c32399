#![no_main]

use exporter_proxy_fuzz::web_config::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
