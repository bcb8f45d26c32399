//! z-base-32, the text form of public keys: <https://philzimmermann.com/docs/human-oriented-base-32-encoding.txt>.

/// The alphabet, in the order of the values 0 to 31.
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Number of characters for 32 bytes: 256 bits, five to a character, the last four bits of the last one zero.
pub const KEY_CHARS: usize = 52;

/// Encodes 32 bytes as 52 characters.
#[must_use]
pub fn encode(bytes: &[u8; 32]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    (0..KEY_CHARS)
        .map(|char| {
            let value = (0..5).fold(0, |value, at| value << 1 | usize::from(bit(char * 5 + at)));
            char::from(ALPHABET[value])
        })
        .collect()
}

/// Decodes 52 characters, in either case; `None` if they are not a valid encoding.
#[must_use]
pub fn decode(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != KEY_CHARS {
        return None;
    }
    let mut bytes = [0; 32];
    for (char, letter) in text.iter().enumerate() {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_lowercase())?;
        for at in 0..5 {
            let set = value & (0x10 >> at) != 0;
            let position = char * 5 + at;
            match bytes.get_mut(position / 8) {
                Some(byte) if set => *byte |= 0x80 >> (position % 8),
                Some(_) => {}
                // The padding of the last character; anything but zero would be a second encoding of the same key.
                None if set => return None,
                None => {}
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_spellings() {
        assert_eq!(encode(&[0; 32]), "y".repeat(52));
        let mut bytes = [0; 32];
        // The published examples: f0bfc7 is 6n9hq, d47a04 is 4t7ye.
        bytes[..3].copy_from_slice(&[0xf0, 0xbf, 0xc7]);
        assert!(encode(&bytes).starts_with("6n9h"));
        bytes[..3].copy_from_slice(&[0xd4, 0x7a, 0x04]);
        assert!(encode(&bytes).starts_with("4t7y"));
        assert_eq!(encode(&[255; 32]), format!("{}o", "9".repeat(51)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            &"y".repeat(51),
            &"y".repeat(53),
            &"l".repeat(52),
            &"9".repeat(52),
            &"ä".repeat(26),
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: [u8; 32]) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
            prop_assert_eq!(decode(&encode(&bytes).to_uppercase()), Some(bytes));
        }

        #[test]
        fn no_text_panics_and_no_key_has_two_spellings(text in "[a-z0-9]{52}|\\PC*") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
