//! The text formats: parsing, families, merging, rendering, negotiation. Pure: no sockets, no clock, no lock.
//!
//! [`Exposition::parse`] reads an application's text once and never fails: it keeps one copy of the text and a small index of byte
//! offsets into it. Unusable lines are left out of the index and listed as [`Fault`]s.

mod app_name;
pub mod body;
pub mod catalog;
mod check;
pub mod escape;
mod family;
mod fault;
pub mod gzip;
mod hash;
mod index;
mod memory;
pub mod negotiate;
mod parse;
pub mod raw;
mod reason;
pub mod render;
mod sample;
mod span;
mod syntax;
mod timestamps;

use std::sync::Arc;

pub use app_name::{AppName, AppNameError, MAX_APP_NAME_BYTES};
pub use check::{Checked, MAX_PROBLEMS_KEPT, Problem, check, detect};
pub use family::{Family, FamilyFlags, MetricType, Suffix};
pub use fault::{Fault, Faults, MAX_FAULTS_KEPT};
pub use hash::{label_hash, name_hash};
pub use index::{Exposition, Runs};
pub use memory::MemoryMeter;
pub use reason::Severity;
pub use sample::{Exemplar, Label, Labels, MAX_EXEMPLAR_CHARS, Sample, Samples};
pub use span::Span;
pub use syntax::Syntax;

/// A label name and its value from the configuration, unescaped.
pub type LabelPair = (Arc<str>, Arc<str>);
