//! Generates the Rust side of the schemas in `schema/` from the stored output of the Cap'n Proto compiler
//! (`schema/*.request`, made by `scripts/generate/schema`), so that no `capnp` tool is needed to build.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

/// The stored compiler requests.
const REQUESTS: [&str; 2] = ["schema/inbound_metrics.request", "schema/link.request"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    for stored in REQUESTS {
        println!("cargo:rerun-if-changed={stored}");
        let request = File::open(stored).map_err(|e| format!("{stored}: {e}"))?;
        capnpc::codegen::CodeGenerationCommand::new()
            .output_directory(out.clone())
            .default_parent_module(vec!["wire".into(), "schema".into()])
            .run(request)?;
    }
    Ok(())
}
