#![no_main]

use exporter_proxy_fuzz::targets_file::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
