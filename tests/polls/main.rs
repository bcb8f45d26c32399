//! Polls against real sockets: targets that answer well, oddly, badly and never.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod answers;
mod hostile;
mod life;
mod programs;
mod rig;
mod target;
mod tls;
