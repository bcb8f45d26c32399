//! The web configuration file: YAML, certificates, users, headers.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use exporter_proxy::http::read_web_config;

/// The file of this process for inputs; its directory is empty otherwise, so that an input cannot name other files in it.
fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let directory = std::env::temp_dir().join(format!("exporter-proxy-web-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        directory.join("web.yml")
    })
}

/// Checks that a file is taken or refused the same way each time, and that each fault has its place.
pub fn check(input: &[u8]) {
    let read = |text: &[u8]| {
        std::fs::write(file(), text).expect("the file can be written");
        let reading = read_web_config(file());
        assert_eq!(reading.files[0], file());
        reading.outcome
    };
    match read(input) {
        Ok(checked) => {
            let again = read(input).expect("a file is taken each time");
            assert_eq!(again.warnings, checked.warnings);
            assert_eq!(
                (again.config.is_tls(), again.config.has_users()),
                (checked.config.is_tls(), checked.config.has_users())
            );
        }
        Err(faults) => {
            let place = file().display().to_string();
            assert!(!faults.lines().is_empty());
            assert!(faults.lines().iter().all(|line| line.starts_with(&place)), "{faults}");
            assert_eq!(read(input).expect_err("a file is refused each time").lines(), faults.lines());
        }
    }
}
