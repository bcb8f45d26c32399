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
mod tests;
