//! Bytes to messages and back, one protocol a file. Pure: no sockets, no time, no origin.

pub mod event_form;
