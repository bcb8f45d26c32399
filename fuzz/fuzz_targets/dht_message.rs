#![no_main]

use exporter_proxy_fuzz::dht_message::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
