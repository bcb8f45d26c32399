//! Base58 with the alphabet of Bitcoin: the text form of peer ids and of old CIDs.

/// The alphabet, in the order of the values 0 to 57.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Limit of the bytes that are decoded: the algorithm takes quadratic time, and the longest peer id has 42 bytes.
const MAX_BYTES: usize = 64;

/// Encodes bytes. Takes quadratic time, so it is for short ones.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    // Little-endian digits.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 138 / 100 + 1);
    for byte in &bytes[zeros..] {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = low_byte(carry % 58);
            carry /= 58;
        }
        while carry > 0 {
            digits.push(low_byte(carry % 58));
            carry /= 58;
        }
    }
    let ones = std::iter::repeat_n('1', zeros);
    let letters = digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)]));
    ones.chain(letters).collect()
}

/// Decodes text of at most 64 bytes; `None` if it is longer, or has another character.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let ones = text.bytes().take_while(|letter| *letter == b'1').count();
    // Little-endian bytes.
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text.bytes().skip(ones) {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        let mut carry = u32::try_from(value).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = low_byte(carry & 0xff);
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(low_byte(carry & 0xff));
            carry >>= 8;
        }
        if ones + bytes.len() > MAX_BYTES {
            return None;
        }
    }
    bytes.resize(bytes.len() + ones.min(MAX_BYTES + 1), 0);
    bytes.reverse();
    (bytes.len() <= MAX_BYTES).then_some(bytes)
}

/// The lowest byte of a number that has no other.
const fn low_byte(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests;
