//! The log files of a store: with the input as the file, and with the input as the content of intact frames.

use exporter_proxy::store::inspect_log;

/// The random number at the start of each frame of the generated files.
const SALT: u64 = 0x5eed_5eed_5eed_5eed;

/// Separator of payloads in the input.
const CUT: &[u8] = b"----";

/// Checks that reading any file succeeds or fails without a panic.
pub fn check(input: &[u8]) {
    let _ = inspect_log(input);
    for kind in [*b"EVNT", *b"APPS"] {
        for version in [1, 2] {
            let _ = inspect_log(&file(kind, version, input));
        }
    }
}

/// A file of a version with intact frames.
fn file(kind: [u8; 4], version: u32, input: &[u8]) -> Vec<u8> {
    let mut file = b"EXPPROXY".to_vec();
    file.extend(kind);
    file.extend(version.to_le_bytes());
    file.extend(SALT.to_le_bytes());
    file.extend(crc32fast::hash(&file).to_le_bytes());
    let mut rest = input;
    while !rest.is_empty() {
        let cut = rest.windows(CUT.len()).position(|window| window == CUT);
        let (payload, after) = cut.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + CUT.len()..]));
        let durable = (file.len() as u64).to_le_bytes();
        let start = file.len();
        file.extend(SALT.to_le_bytes());
        file.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        if version == 1 {
            file.extend(crc32fast::hash(&[&durable, payload].concat()).to_le_bytes());
            file.extend(durable);
        } else {
            file.extend(0u64.to_le_bytes());
            file.extend(durable);
            file.extend(crc32fast::hash(payload).to_le_bytes());
            file.extend(crc32fast::hash(&file[start..]).to_le_bytes());
        }
        file.extend(payload);
        rest = after;
    }
    file
}
