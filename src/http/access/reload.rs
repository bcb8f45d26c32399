//! Follows the files of bearer tokens.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::AccessControl;
use super::tokens::read_token;
use crate::http::file_watch::{FileWatch, LOOK};
use crate::supervise::{Notes, Service, blocking};

/// The service that reads token files again when they change. The token of a file that cannot be used stays as it was.
pub struct TokenReload {
    control: Arc<AccessControl>,
    notes: Arc<Notes>,
    watch: FileWatch,
    /// The files that could not be used when they were read last.
    faulty: HashSet<Arc<Path>>,
}

impl TokenReload {
    /// Follows the token files of these settings.
    pub async fn new(control: Arc<AccessControl>, notes: Arc<Notes>) -> Self {
        let watch = FileWatch::new(paths(&files(&control))).await;
        Self {
            control,
            notes,
            watch,
            faulty: HashSet::new(),
        }
    }

    async fn check(&mut self) {
        let files = files(&self.control);
        self.watch.set_files(paths(&files)).await;
        self.forget_others(&files);
        if !self.watch.has_changed().await {
            return;
        }
        let read = move || files.into_iter().map(|file| (read_token(&file), file)).collect::<Vec<_>>();
        let mut tokens = Vec::new();
        for (outcome, file) in blocking(read).await {
            match outcome {
                Ok(token) => {
                    if self.faulty.remove(&file) {
                        self.notes.clear(&about(&file));
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
        tracing::info!(files = tokens.len(), "token files reloaded");
        self.control.replace_tokens(tokens);
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
}

fn files(control: &AccessControl) -> BTreeSet<Arc<Path>> {
    control.settings().rules.token_files().cloned().collect()
}

fn paths(files: &BTreeSet<Arc<Path>>) -> Vec<PathBuf> {
    files.iter().map(|file| file.to_path_buf()).collect()
}

/// The subject of notes about a file.
fn about(file: &Path) -> String {
    format!("token file {} (http.access)", file.display())
}

impl Service for TokenReload {
    fn name(&self) -> &str {
        "token files"
    }

    fn run(mut self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(LOOK) => {}
                }
                self.check().await;
            }
        })
    }
}
