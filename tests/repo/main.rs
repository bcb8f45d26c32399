//! Checks of the repository itself: imports, names and places of files, vocabulary, documentation, generated files, stored corpora.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod conventions;
mod corpus;
mod dependencies;
mod docs;
mod layers;
mod schema;
mod security;
mod source;
mod vocabulary;
