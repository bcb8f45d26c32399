//! The `exporter-proxy` program.

fn main() -> std::process::ExitCode {
    exporter_proxy::cli::main()
}
