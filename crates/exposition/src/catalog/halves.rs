//! A number of eight bytes that is aligned to four.

/// A `u64` in two halves: beside ids of four bytes it takes eight bytes and not twelve, and every series and every contribution of every
/// shared family has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Halves([u32; 2]);

impl Halves {
    pub(super) const ZERO: Self = Self([0; 2]);
}

impl From<u64> for Halves {
    fn from(number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
        Self([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
    }
}

impl From<Halves> for u64 {
    fn from(Halves([low, high]): Halves) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
        Self::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}
