//! The targets file: what Prometheus reads by `file_sd_configs`, and what the bridge itself reads at its next start.
//!
//! Its format is that of the hyperdht-prometheus-bridge program: JSON with one space of indentation, one group with the label
//! `job="aliases"`, and a target `ALIAS:KEY:HOSTNAME:SERVICE` for each alias, the key in z-base-32.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::aliases::{Entry, Now, Over};
use crate::peer::Alias;

/// Another user's Prometheus reads the file.
const MODE: u32 = 0o644;

/// The largest file that is read: as many aliases as there may be, each as long as it may be, stay below it.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// What stands for an empty hostname or service: patterns that take the target apart expect something between the colons.
const NOTHING: &str = "-";

#[derive(Serialize, Deserialize)]
struct Group {
    #[serde(default)]
    labels: Labels,
    targets: Vec<String>,
}

#[derive(Serialize, Deserialize, Default)]
struct Labels {
    #[serde(default)]
    job: String,
}

/// The file's text.
pub(super) fn render<'e>(entries: impl Iterator<Item = &'e Entry>) -> String {
    let group = Group {
        labels: Labels { job: "aliases".to_owned() },
        targets: entries.map(target).collect(),
    };
    let mut text = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, style);
    // Strings are always JSON, and a vector takes all that is written.
    let _ = [group].serialize(&mut writer);
    String::from_utf8(text).unwrap_or_default()
}

fn target(entry: &Entry) -> String {
    let part = |text: &str| {
        let text = text.replace(':', "-");
        if text.is_empty() { NOTHING.to_owned() } else { text }
    };
    format!("{}:{}:{}:{}", entry.alias, entry.key, part(&entry.hostname), part(&entry.service))
}

/// Reads the file's text: the entries, all registered `now`, and what is wrong with the targets that are none.
///
/// # Errors
///
/// Where it is no such file at all.
pub(super) fn parse(text: &str, now: Now) -> Result<(Vec<Entry>, Vec<String>), serde_json::Error> {
    let groups: Vec<Group> = serde_json::from_str(text)?;
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for target in groups.into_iter().flat_map(|group| group.targets) {
        match read(&target, now) {
            Ok(entry) => entries.push(entry),
            Err(why) => faults.push(format!("{target:?}: {why}")),
        }
    }
    Ok((entries, faults))
}

/// Takes a target apart from the right: what stands left of the key is the alias, whatever it holds.
fn read(target: &str, now: Now) -> Result<Entry, String> {
    let mut parts = target.rsplitn(4, ':');
    let (service, hostname, key, alias) = (parts.next(), parts.next(), parts.next(), parts.next());
    let (Some(service), Some(hostname), Some(key), Some(alias)) = (service, hostname, key, alias) else {
        return Err("it is no ALIAS:KEY:HOSTNAME:SERVICE".to_owned());
    };
    Ok(Entry {
        alias: Alias::new(alias).map_err(|e| e.to_string())?,
        key: key.parse().map_err(|e| format!("the key: {e}"))?,
        hostname: hostname.to_owned(),
        service: service.to_owned(),
        over: Over::Unknown,
        renewed: now,
    })
}

/// Reads the file; `None` where there is none.
///
/// # Errors
///
/// Where it is there and cannot be read.
pub(super) fn load(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
        Ok(file) if file.len() > MAX_FILE_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => fs::read_to_string(path).map(Some),
    }
}

/// Writes the file so that a reader sees the old or the new text and never a part: into a temporary file, then renamed. Where the file
/// itself is a mount that cannot be renamed onto it is written in place; then the answer is `true`.
///
/// # Errors
///
/// Where it cannot be written.
pub(super) fn store(path: &Path, text: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let beside = temporary(path);
    write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_or_else(
        |error| {
            // Nothing is lost where it is not there.
            let _ = fs::remove_file(&beside);
            if !path.exists() {
                return Err(error);
            }
            // A file mounted into a container cannot be replaced, and perhaps its folder cannot be written.
            in_place(path, text).map(|()| true)
        },
        |()| Ok(false),
    )
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)?;
    // The mode above is less the process's umask.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::Timestamp;
    use crate::peer::PublicKey;
    use proptest::prelude::*;
    use tokio::time::Instant;

    fn now() -> Now {
        Now {
            time: Timestamp::from_millis(5),
            instant: Instant::now(),
        }
    }

    fn entry(alias: &str, hostname: &str, service: &str) -> Entry {
        Entry {
            alias: Alias::new(alias).unwrap(),
            key: PublicKey::new([0; 32]),
            hostname: hostname.into(),
            service: service.into(),
            over: Over::Quic,
            renewed: now(),
        }
    }

    #[test]
    fn the_format_is_the_originals() {
        let text = render([entry("a", "h:1", "s"), entry("b", "", "")].iter());
        let key = "y".repeat(52);
        assert_eq!(
            text,
            format!(
                "[\n {{\n  \"labels\": {{\n   \"job\": \"aliases\"\n  }},\n  \"targets\": [\n   \"a:{key}:h-1:s\",\n   \"b:{key}:-:-\"\n  ]\n }}\n]"
            )
        );
        assert!(render(std::iter::empty()).contains("\"targets\": []"));
    }

    #[test]
    fn bad_targets_are_told_and_harm_no_other() {
        let key = "y".repeat(52);
        let text = format!(
            "[{{\"labels\":{{\"job\":\"aliases\"}},\"targets\":[\"a:b:{key}:h:s\",\"c:{key}:h:s\",\"d:x:h:s\",\"e\"]}},{{\"targets\":[\":{key}:h:s\"]}}]"
        );
        let (entries, faults) = parse(&text, now()).unwrap();
        assert_eq!(entries.iter().map(|e| e.alias.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].contains("must not hold ':'"), "{faults:?}");
        assert!(parse("{", now()).is_err());
    }

    #[test]
    fn the_file_is_replaced_whole_and_readable_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prometheus/targets.json");
        assert_eq!(load(&path).unwrap(), None);
        assert!(!store(&path, "one").unwrap());
        let before = File::open(&path).unwrap();
        assert!(!store(&path, "two").unwrap());
        assert_eq!(load(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(
            io::read_to_string(before).unwrap(),
            "one",
            "whoever has it open reads on in the old one"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn where_nothing_can_be_put_beside_it_the_file_is_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("targets.json");
        fs::write(&path, "old").unwrap();
        // A folder where the temporary file would be stands for a mount: writing there fails.
        fs::create_dir(temporary(&path)).unwrap();
        assert!(store(&path, "new").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(store(&folder.path().join("targets.json.new/x.json/y.json"), "z").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(alias in "[a-zA-Z0-9 ._-]{1,20}[a-z]", hostname in "\\PC{0,20}", service in "\\PC{0,20}", key: [u8; 32]) {
            let mut written = entry(&alias, &hostname, &service);
            written.key = PublicKey::new(key);
            let text = render([written.clone()].iter());
            let (entries, faults) = parse(&text, written.renewed).unwrap();
            prop_assert!(faults.is_empty());
            prop_assert_eq!(render(entries.iter()), text);
            prop_assert_eq!((&entries[0].alias, entries[0].key), (&written.alias, written.key));
        }

        #[test]
        fn no_text_panics(text in "\\PC*", target in "\\PC{0,80}|[a-z:]{50,80}") {
            let _ = parse(&text, now());
            let _ = read(&target, now());
        }
    }
}
