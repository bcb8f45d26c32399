#![no_main]

use exporter_proxy_fuzz::forwarded_for::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
