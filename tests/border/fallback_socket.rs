//! The Unix socket of a user who may not write to `/var/run`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, chown, geteuid};
use tempfile::TempDir;

use crate::process::{Process, program};

/// The user of the tests: the one who runs them, or `nobody`, because root may write anywhere.
fn user() -> u32 {
    match geteuid().is_root() {
        true => 65_534,
        false => geteuid().as_raw(),
    }
}

/// The program with a directory for temporary files, without a runtime directory.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("TMPDIR", directory);
    if geteuid().is_root() {
        command.uid(user());
    }
    command
}

/// A directory for temporary files with a configuration in it, and the directory in which the socket is made.
fn directory() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.toml");
    let text = "exporter.scrape_expose_endpoint = \"127.0.0.1:0\"\nreceiver.receiver_tcp_socket = \"127.0.0.1:0\"\n";
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
    if geteuid().is_root() {
        chown(directory.path(), Some(Uid::from_raw(user())), None).unwrap();
    }
    let private = directory.path().join(format!("exporter-proxy-{}", user()));
    (directory, config, private)
}

fn start(directory: &Path, config: &Path) -> Process {
    Process::spawn(&mut command(directory, &["run", "--config", config.to_str().unwrap()]))
}

#[test]
fn the_socket_goes_into_a_directory_of_its_own_and_send_finds_it() {
    let (directory, config, private) = directory();
    let mut process = start(directory.path(), &config);
    let socket = private.join("exporter-proxy-receiver.sock");
    process.line(&format!(
        "listening on {} instead, which only this user can reach",
        socket.display()
    ));
    process.line("serving http://");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o7777, 0o700);
    let metrics = directory.path().join("metrics");
    fs::write(&metrics, "m 1\n").unwrap();
    fs::set_permissions(&metrics, Permissions::from_mode(0o644)).unwrap();
    let sent = command(directory.path(), &["send", "a", metrics.to_str().unwrap(), "--to", "unix:"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    process.stop();
    // A directory that is there already is used again, and without a proxy the command says where it looked.
    let sent = command(directory.path(), &["send", "a", metrics.to_str().unwrap(), "--to", "unix:"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(sent.stderr).unwrap();
    assert!(!sent.status.success() && text.contains(socket.to_str().unwrap()), "{text}");
    let mut process = start(directory.path(), &config);
    process.line("which only this user can reach");
    process.line("serving http://");
    process.stop();
}

#[test]
fn without_such_a_directory_there_is_no_socket_and_a_warning() {
    let (directory, config, private) = directory();
    let elsewhere = tempfile::tempdir().unwrap();
    for (what, why) in [("symbolic link", "is no directory"), ("open directory", "expected 0700")] {
        match what {
            "symbolic link" => symlink(elsewhere.path(), &private).unwrap(),
            _ => {
                fs::remove_file(&private).unwrap();
                fs::create_dir(&private).unwrap();
                if geteuid().is_root() {
                    chown(&private, Some(Uid::from_raw(user())), None).unwrap();
                }
                fs::set_permissions(&private, Permissions::from_mode(0o777)).unwrap();
            }
        }
        let mut process = start(directory.path(), &config);
        let warning = process.line("no Unix socket, because");
        assert!(warning.contains(why), "{what}: {warning}");
        process.line("serving http://");
        let log = process.stop();
        assert!(!log.contains("receiving on unix:"), "{log}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn a_socket_of_another_user_is_not_taken_for_one_in_use() {
    let (directory, config, _private) = directory();
    let path = directory.path().join("others.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let output = command(directory.path(), &["run", "--config", config.to_str().unwrap()])
        .env("EXPORTER_PROXY__RECEIVER__RECEIVER_UNIX_SOCKET", &path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("the socket there is of another user"),
        "{text}"
    );
    assert!(path.exists());
}
