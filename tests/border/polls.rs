//! Polls against real sockets: targets that answer well, oddly, badly and never.

mod answers;
mod events;
mod hostile;
mod life;
mod programs;
mod rig;
mod target;
mod tls;
