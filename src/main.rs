//! The `exporter-proxy` program.

fn main() {}
