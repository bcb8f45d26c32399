//! Reads the files of bearer tokens again when they change.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tokens::read_token;
use super::{AccessControl, Tokens};
use crate::http::file_watch::{FileReload, WatchedFiles};
use crate::supervise::secret_file::exposed;
use crate::supervise::{Notes, Service, blocking};

/// The token files of the access settings in force. The token of a file that cannot be used stays as it was.
struct TokenFiles {
    control: Arc<AccessControl>,
    notes: Arc<Notes>,
    /// The files that could not be used when they were read last.
    faulty: HashSet<Arc<Path>>,
}

/// The service that reads the token files of these settings again when they change.
pub async fn token_reload(control: Arc<AccessControl>, notes: Arc<Notes>) -> impl Service {
    let files = TokenFiles {
        control,
        notes,
        faulty: HashSet::new(),
    };
    FileReload::new(files).await
}

impl TokenFiles {
    fn paths(&self) -> BTreeSet<Arc<Path>> {
        self.control.settings().rules.token_files().cloned().collect()
    }

    /// Clears the notes about files that are no longer in use.
    fn forget_others(&mut self, files: &BTreeSet<Arc<Path>>) {
        let notes = &self.notes;
        self.faulty.retain(|file| {
            let is_used = files.contains(file);
            if !is_used {
                notes.clear(&about(file));
            }
            is_used
        });
    }

    /// Reads all files and returns the tokens of those that can be used; reports the others.
    async fn read(&mut self) -> Tokens {
        let (files, rule) = (self.paths(), self.control.settings().secret_rule);
        let read = move || {
            let outcome = |file: Arc<Path>| (read_token(&file, rule), exposed(&file), file);
            files.into_iter().map(outcome).collect::<Vec<_>>()
        };
        let mut tokens = Vec::new();
        for (outcome, exposed, file) in blocking(read).await {
            match outcome {
                Ok(token) => {
                    if self.faulty.remove(&file) {
                        self.notes.clear(&about(&file));
                    }
                    if let Some(warning) = exposed.map(|warning| format!("http.access: {warning}")) {
                        tracing::warn!("{warning}");
                    }
                    tokens.push((file, token));
                }
                Err(why) => {
                    tracing::error!("{} not reloaded, the previous token stays in force: {why}", about(&file));
                    let note = format!("not reloaded, the previous token is in force: {why}");
                    self.notes.set(&about(&file), note);
                    self.faulty.insert(file);
                }
            }
        }
        tokens
    }
}

impl WatchedFiles for TokenFiles {
    fn name(&self) -> &'static str {
        "token files"
    }

    fn files(&mut self) -> Vec<PathBuf> {
        let files = self.paths();
        self.forget_others(&files);
        files.iter().map(|file| file.to_path_buf()).collect()
    }

    async fn reload(&mut self) {
        let tokens = self.read().await;
        let files = tokens.len();
        // Files of new tables are read once more, and those of unchanged content need no line.
        if self.control.replace_tokens(tokens) {
            tracing::info!(files, "token files reloaded");
        }
    }
}

/// The subject of notes about a file.
fn about(file: &Path) -> String {
    format!("token file {} (http.access)", file.display())
}
