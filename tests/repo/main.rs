//! Checks of the repository itself: imports, conventions, documentation, generated files and stored corpora.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod corpus;
mod docs;
mod layers;
mod schema;
