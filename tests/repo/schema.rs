//! The stored output of the Cap'n Proto compiler is the one that the schemas in the tree compile to.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::process::Command;

/// The schemas, and what `build.rs` generated from their stored compiler requests.
const GENERATED: [(&str, &str); 2] = [
    (
        "inbound_metrics",
        include_str!(concat!(env!("OUT_DIR"), "/inbound_metrics_capnp.rs")),
    ),
    ("link", include_str!(concat!(env!("OUT_DIR"), "/link_capnp.rs"))),
];

/// Compiles a schema anew, as `scripts/generate/schema` does; nothing where there is no compiler.
fn compile(schema: &str) -> Option<Vec<u8>> {
    match Command::new("capnp")
        .args(["compile", "--src-prefix=schema", "-o-", schema])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
    {
        Ok(output) => {
            assert!(output.status.success(), "capnp: {}", String::from_utf8_lossy(&output.stderr));
            Some(output.stdout)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => panic!("capnp: {e}"),
    }
}

/// The generated code without the line that names the version of the compiler.
fn without_version(code: &str) -> Vec<&str> {
    code.lines().filter(|line| !line.starts_with("// capnp binary version")).collect()
}

/// Code is compared, not requests: other versions of the compiler write the same request in other bytes.
#[test]
fn the_stored_requests_are_what_the_schemas_compile_to() {
    for (name, generated) in GENERATED {
        let Some(request) = compile(&format!("schema/{name}.capnp")) else {
            assert!(
                env::var_os("CI").is_none(),
                "CI has no `capnp` tool, so nothing proves the stored schemas fresh"
            );
            // Not `println`, which a test that passes keeps to itself.
            writeln!(io::stderr(), "skipped: there is no `capnp` tool on this machine").expect("stderr takes a line");
            return;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut generator = capnpc::codegen::CodeGenerationCommand::new();
        generator
            .output_directory(folder.path())
            .default_parent_module(vec!["wire".into(), "schema".into()]);
        generator.run(&request[..]).expect("the request is good");
        let fresh = fs::read_to_string(folder.path().join(format!("{name}_capnp.rs"))).expect("it was generated");
        assert_eq!(
            without_version(&fresh),
            without_version(generated),
            "{name}: run scripts/generate/schema"
        );
    }
}
