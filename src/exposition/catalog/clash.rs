//! Where applications contradict each other.

use std::fmt;

use crate::exposition::Kind;
use crate::model::{AppName, Syntax};

/// A family of one application that does not go out as it came, because of another application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// The family goes out under the type of whoever has had it longest.
    Overruled {
        /// The family's name in the text format.
        family: String,
        /// The type that this application gives it.
        kind: Kind,
        /// The type that it has.
        stands: Kind,
        /// The application whose type it is.
        by: AppName,
    },
    /// The family is left out: its samples do not fit under the type of whoever has had it longest.
    LeftOut {
        /// The family's name in the text format.
        family: String,
        /// The type that this application gives it.
        kind: Kind,
        /// The type that it has.
        stands: Kind,
        /// The application whose type it is.
        by: AppName,
    },
    /// The family is left out: some of its sample names belong to another family.
    Covered {
        /// The family's name in the text format.
        family: String,
        /// The other family.
        other: String,
        /// The application that has had the other family longest.
        by: AppName,
    },
    /// The family is left out: another family of the same application has its name, once names are escaped or suffixes count.
    SameName {
        /// The family's name in the text format.
        family: String,
    },
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |kind: &Kind| kind.word(Syntax::Text).unwrap_or("gauge");
        match self {
            Self::Overruled { family, kind, stands, by } => {
                write!(
                    f,
                    "family {family} goes out as {}, which it is in app {by:?}, and not as {}",
                    word(stands),
                    word(kind)
                )
            }
            Self::LeftOut { family, kind, stands, by } => {
                write!(
                    f,
                    "family {family} is left out: it is a {} in app {by:?} and a {} here",
                    word(stands),
                    word(kind)
                )
            }
            Self::Covered { family, other, by } => {
                write!(
                    f,
                    "family {family} is left out: its sample names belong to family {other} of app {by:?}"
                )
            }
            Self::SameName { family } => write!(f, "family {family} is left out: another family of this app has its name"),
        }
    }
}
