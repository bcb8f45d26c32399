//! Generates the Rust side of the schemas in `schema/` from the stored output of the Cap'n Proto compiler
//! (`schema/*.request`, made by `scripts/generate/schema`), so that no `capnp` tool is needed to build. Finds the commit of a release.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// The stored compiler requests.
const REQUESTS: [&str; 2] = ["schema/inbound_metrics.request", "schema/link.request"];

/// The variable with the commit and its date, for builds outside of the repository.
const REVISION: &str = "EXPORTER_PROXY_REVISION";

/// The commit and its date. Builds without optimization do not ask for it, because all of the crate would be built again after each commit.
fn revision() -> Option<String> {
    let given = std::env::var(REVISION).ok().filter(|revision| !revision.is_empty());
    let is_release = std::env::var("OPT_LEVEL").is_ok_and(|level| level != "0");
    given.or_else(|| if is_release { commit() } else { None })
}

fn commit() -> Option<String> {
    // A copy inside of another repository has not its commits.
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("--no-optional-locks").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let log = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if std::path::Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["show", "--no-patch", "--abbrev=12", "--format=%h %cs", "HEAD"])
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={REVISION}");
    let (version, revision) = (env!("CARGO_PKG_VERSION"), revision());
    let (revision, long_version) = match revision {
        Some(revision) => (revision.clone(), format!("{version} ({revision})")),
        None => ("unknown".to_owned(), version.to_owned()),
    };
    println!("cargo:rustc-env={REVISION}={revision}");
    println!("cargo:rustc-env=EXPORTER_PROXY_LONG_VERSION={long_version}");
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
