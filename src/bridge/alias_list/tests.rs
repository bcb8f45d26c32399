#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tabled::builder::Builder;
use tabled::settings::Style;
use tokio::time::Instant;

use super::*;
use crate::bridge::alias_table::AliasEntry;
use crate::peer::{Alias, PublicKey};

/// An alias that is not connected.
pub(in crate::bridge) fn listed(alias: &str, hostname: &str) -> AliasListing {
    AliasListing {
        entry: AliasEntry {
            alias: Alias::new(alias).unwrap(),
            key: PublicKey::new([0; 32]),
            hostname: hostname.into(),
            service: "s".into(),
            transport: Transport::Quic,
            link: None,
            renewed: Instant::now(),
        },
        registered: Timestamp::default(),
        expires: Timestamp::default(),
        link: None,
        apps: Default::default(),
        bridge: None,
    }
}

/// A text in pieces of at least this many bytes.
pub(in crate::bridge) fn written(mut writer: impl PieceWriter, bytes: usize) -> String {
    let mut whole = Vec::new();
    loop {
        let mut piece = Vec::new();
        let has_more = writer.write(&mut piece, bytes);
        whole.extend_from_slice(&piece);
        if !has_more {
            return String::from_utf8(whole).unwrap();
        }
    }
}

fn list(aliases: usize) -> Vec<AliasListing> {
    let hosts = ["host", "a wide host: \u{1F600}", "\u{202e}reversed", ""];
    let alias = |number: usize| listed(&format!("alias {number}"), hosts[number % hosts.len()]);
    (0..aliases).map(alias).collect()
}

#[test]
fn the_pieces_of_a_list_are_what_a_tree_gives() {
    for aliases in [0, 1, 9] {
        let tree = Value::Array(list(aliases).iter().map(facts).collect()).to_string();
        let expected = format!("{}\n", printable_json(&tree));
        for bytes in [1, 200, usize::MAX] {
            assert_eq!(
                written(AliasJsonWriter::new(list(aliases)), bytes),
                expected,
                "{aliases} in pieces of {bytes}"
            );
        }
    }
}

#[test]
fn the_table_is_what_the_library_draws() {
    for (aliases, notes) in [(0, ""), (9, ""), (9, "note: \u{1b}a\n"), (1, "note: a")] {
        let mut rows = Builder::default();
        rows.push_record(COLUMNS);
        list(aliases).iter().for_each(|listed| rows.push_record(columns(listed)));
        let end = if notes.is_empty() || notes.ends_with('\n') { "" } else { "\n" };
        let expected = format!("{}\n{}{end}", rows.build().with(Style::ascii()), printable(notes));
        for bytes in [1, 200, usize::MAX] {
            let table = AliasTableWriter::new(list(aliases), notes.to_owned());
            assert_eq!(written(table, bytes), expected, "{aliases} in pieces of {bytes}");
        }
    }
}

#[test]
fn a_cell_has_one_line() {
    let table = written(
        AliasTableWriter::new(vec![listed("a", "one\ntwo\tthree")], String::new()),
        usize::MAX,
    );
    assert!(table.contains("| one two three |"), "{table}");
}
