#![no_main]

use exporter_proxy_fuzz::shared_event::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
