//! Generates the Rust side of `schema/inbound_metrics.capnp` from the stored output of the Cap'n Proto compiler
//! (`schema/inbound_metrics.request`, made by `scripts/schema`), so that no `capnp` tool is needed to build.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

/// The stored compiler request.
const REQUEST: &str = "schema/inbound_metrics.request";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={REQUEST}");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    let request = File::open(REQUEST).map_err(|e| format!("{REQUEST}: {e}"))?;
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(out)
        .default_parent_module(vec!["wire".into(), "schema".into()])
        .run(request)?;
    Ok(())
}
