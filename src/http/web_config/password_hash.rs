//! bcrypt hashes of passwords.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use bcrypt::HashParts;

/// The shortest hash that Go's bcrypt takes.
const MIN_LENGTH: usize = 59;

/// Above this cost a check takes more than a second of CPU time.
const HIGH_COST: u32 = 14;

/// A bcrypt hash. Prints as `MASKED`.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::http) struct PasswordHash {
    text: Arc<str>,
    cost: u32,
}

impl PasswordHash {
    /// Accepts the hashes that Go's bcrypt accepts.
    ///
    /// # Errors
    ///
    /// The reason, without the text.
    pub(in crate::http) fn new(text: &str) -> Result<Self, String> {
        let hint = "make one with: htpasswd -nBC 10 USER";
        let bytes = text.as_bytes();
        if bytes.len() < MIN_LENGTH {
            return Err(format!("the value is too short for a bcrypt hash; {hint}"));
        }
        if bytes[0] != b'$' || bytes[1] > b'2' {
            return Err(format!(
                "the value is not a bcrypt hash, which begins with $2y$, $2b$ or $2a$; {hint}"
            ));
        }
        let at = if bytes[2] == b'$' { 3 } else { 4 };
        let cost = bytes
            .get(at..at + 2)
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        match cost {
            Some(cost @ 4..=31) => Ok(Self { text: text.into(), cost }),
            Some(cost) => Err(format!("the bcrypt cost is {cost}; it must be 4 to 31")),
            None => Err(format!("the bcrypt cost is not a number; {hint}")),
        }
    }

    /// The drawback of a hash that is accepted.
    pub(super) fn warning(&self) -> Option<String> {
        if !self.is_usable() {
            return Some("no password matches this hash: it is not a whole bcrypt hash".to_owned());
        }
        let cost = self.cost;
        (cost > HIGH_COST).then(|| format!("a check at cost {cost} takes more than a second of CPU time; 10 is usual"))
    }

    /// Returns true if some password can match.
    pub(in crate::http) fn is_usable(&self) -> bool {
        HashParts::from_str(&self.text).is_ok()
    }

    /// Returns true if the password matches. Takes as long as the cost says.
    pub(in crate::http) fn matches(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }

    pub(in crate::http) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MASKED")
    }
}
