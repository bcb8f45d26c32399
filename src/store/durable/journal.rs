//! The events' log file: accepted events, what scrapers have got, keys.
//!
//! An event is on disk before it is acknowledged, and before any scraper gets it. Acked deliveries are written at once and are on disk with
//! the next event, or within a second: a crash of the program loses none of them, a loss of power those of the last second, and then their
//! events are delivered again rather than not at all.
//!
//! An event that cannot be written is not accepted. The file is cut back to what is known to be on the disk, everything about
//! scrapers is written again, also which of them are gone, and the next attempt finds the file as if the failed one had never been made.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex};

use super::directory::Directory;
use super::entry_codec::{decode, encode};
use super::frames::{self, Contents, FrameLog, Kind, Unreadable};
use super::{OpenError, lock};
use crate::model::Timestamp;
use crate::store::events::{Accepted, Admission, EventOptions, Events, JournalEntry, Submission};

const NAME: &str = "events.log";
const TEMP: &str = "events.tmp";
const KIND: Kind = Kind(*b"EVNT");

/// The size of a payload of a rewritten file from which on the next one begins: many entries per frame, and no large buffer.
const FRAME_TARGET: usize = 256 << 10;

/// The file is rewritten when it is twice as long as it was after the last rewriting, and this much longer: rewriting a few
/// entries for each few that are added would be all that the disk does.
pub(super) const REWRITE_SLACK: u64 = 4 << 20;

/// A disk that takes this many bytes takes events again. The largest event has an eighth of it.
const PROBE_BYTES: usize = 64 << 10;

/// The reason for not accepting a submission that could have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAccepted {
    /// The idempotency key was used for another event.
    KeyReused,
    /// It would push out an event of a client that has posted fewer.
    Crowded,
}

/// The log file, and what the state needs of it.
pub(super) struct Journal {
    directory: Arc<dyn Directory>,
    log: FrameLog,
    slack: u64,
    rewrite_at: u64,
    /// A rewritten file has taken the name, but perhaps not on the disk.
    renamed: bool,
}

impl Journal {
    /// Reads the file and restores the state from it; creates it if there is none.
    pub(super) fn open(
        directory: Arc<dyn Directory>,
        options: EventOptions,
        now: Timestamp,
        slack: u64,
    ) -> Result<(Self, Mutex<Events>), OpenError> {
        super::check_leftover(&*directory, TEMP)?;
        let name = directory.show(NAME);
        let fail = |doing| {
            let path = name.clone();
            move |why| OpenError::Io { path, doing, why }
        };
        let mut events = Events::restoring(options, now);
        let mut old = None;
        if let Some(bytes) = directory.read(NAME).map_err(fail("read"))? {
            let unreadable = |why| OpenError::Unreadable { path: name.clone(), why };
            let contents = frames::read(&bytes, KIND).and_then(Contents::without_holes).map_err(unreadable)?;
            replay(&mut events, &bytes, &contents).map_err(unreadable)?;
            if contents.torn > 0 {
                super::report_torn(&name, contents.torn, &format!("{} events", events.kept()));
            }
            old = Some(contents).filter(Contents::is_resumable);
        }
        // A new file, or one of an earlier version written in the form of this one.
        let (log, renamed) = match old {
            None => {
                let log = FrameLog::create(&*directory, KIND, TEMP, NAME, &payloads(&events.entries()));
                (log.map_err(fail("write"))?, true)
            }
            Some(contents) => (FrameLog::resume(&*directory, NAME, &contents).map_err(fail("write"))?, false),
        };
        events.restored();
        let rewrite_at = log.len().saturating_mul(2).saturating_add(slack);
        let mut journal = Self {
            directory,
            log,
            slack,
            rewrite_at,
            renamed,
        };
        journal.sync_name().map_err(fail("write"))?;
        Ok((journal, Mutex::new(events)))
    }

    /// Writes submissions to disk and then accepts them, together with changes of scrapers. All or nothing: after an error none of the
    /// submissions was accepted.
    pub(super) fn commit(&mut self, state: &Mutex<Events>, submissions: &[Submission]) -> io::Result<Vec<Result<Accepted, NotAccepted>>> {
        self.repair(state)?;
        let (changes, admissions) = {
            let mut events = lock(state);
            (events.take_changes(), events.admit(submissions))
        };
        let is_synced = match self.write(&changes, submissions, &admissions) {
            Ok(is_synced) => is_synced,
            Err(error) => {
                self.repeat_changes(state);
                return Err(error);
            }
        };
        let mut events = lock(state);
        if is_synced {
            events.changes_synced();
        }
        let mut accept = |(admission, submission): (Admission, &Submission)| match admission {
            Admission::New { record, oldest } => {
                let id = record.id;
                events.accept(record, oldest, submission.key.clone(), submission.owner.clone(), submission.source);
                Ok(events.accepted(id, false))
            }
            Admission::Repeat(id) => Ok(events.accepted(id, true)),
            Admission::Conflict => Err(NotAccepted::KeyReused),
            Admission::Crowded => Err(NotAccepted::Crowded),
        };
        Ok(admissions.into_iter().zip(submissions).map(&mut accept).collect())
    }

    /// Writes entries. Returns true if all that was written so far is on the disk.
    fn write(&mut self, changes: &[JournalEntry], submissions: &[Submission], admissions: &[Admission]) -> io::Result<bool> {
        let mut payload = Vec::new();
        changes.iter().for_each(|entry| encode(&mut payload, entry));
        let mut any = false;
        for (admission, submission) in admissions.iter().zip(submissions) {
            if let Admission::New { record, .. } = admission {
                any = true;
                let (record, key) = (Arc::clone(record), submission.key.clone());
                let entry = match submission.source {
                    None => JournalEntry::Event { record, key },
                    Some(source) => JournalEntry::Shared { record, key, source },
                };
                encode(&mut payload, &entry);
            }
        }
        if payload.is_empty() {
            return Ok(false);
        }
        self.log.append(0, &[&payload])?;
        if any {
            self.log.sync()?;
        }
        Ok(any)
    }

    /// Has the state of all scrapers written with the next entries, because what was written about them since the last sync is lost.
    fn repeat_changes(&mut self, state: &Mutex<Events>) {
        if lock(state).repeat_all_changes() {
            self.rewrite_at = 0;
        }
    }

    /// Undoes what an earlier failure has left, so that the next write is a plain one.
    fn repair(&mut self, state: &Mutex<Events>) -> io::Result<()> {
        if self.log.is_broken() {
            // What is cut off may hold words on scrapers that were thought written.
            self.repeat_changes(state);
            self.log.repair()?;
        }
        self.sync_name()
    }

    fn sync_name(&mut self) -> io::Result<()> {
        if self.renamed {
            self.directory.sync()?;
            self.renamed = false;
        }
        Ok(())
    }

    fn sync(&mut self, state: &Mutex<Events>) -> io::Result<()> {
        self.log.sync()?;
        lock(state).changes_synced();
        Ok(())
    }

    /// Returns true if all that was written survives a loss of power and has a seal.
    pub(super) fn is_synced_and_sealed(&self) -> bool {
        !self.log.is_unsynced() && self.log.is_sealed()
    }

    /// Makes what was written survive a loss of power, and seals it. Returns whether there was anything to sync.
    pub(super) fn sync_and_seal(&mut self, state: &Mutex<Events>) -> io::Result<bool> {
        self.repair(state)?;
        let unsynced = self.log.is_unsynced();
        if unsynced {
            self.sync(state)?;
        }
        self.log.seal();
        Ok(unsynced)
    }

    /// As [`Journal::sync_and_seal`], for the last time: the seal goes to the disk as well.
    pub(super) fn finish(&mut self, state: &Mutex<Events>) -> io::Result<()> {
        self.sync_and_seal(state)?;
        self.log.sync()
    }

    /// Finds out whether the disk takes events again.
    pub(super) fn probe(&mut self, state: &Mutex<Events>) -> io::Result<()> {
        self.repair(state)?;
        self.commit(state, &[])?;
        self.sync(state)?;
        self.log.probe(PROBE_BYTES)
    }

    /// Rewrites the file if it has grown enough. After an error the old one goes on growing, up to the next attempt.
    pub(super) fn rewrite_if_large(&mut self, state: &Mutex<Events>) -> io::Result<()> {
        if self.log.len() < self.rewrite_at {
            return Ok(());
        }
        self.rewrite_at = self.log.len().saturating_add(self.slack);
        let entries = {
            let mut events = lock(state);
            // They are part of what is written now.
            drop(events.take_changes());
            events.entries()
        };
        match FrameLog::create(&*self.directory, KIND, TEMP, NAME, &payloads(&entries)) {
            Ok(log) => {
                self.rewrite_at = log.len().saturating_mul(2).saturating_add(self.slack);
                (self.log, self.renamed) = (log, true);
                lock(state).changes_synced();
                self.sync_name()
            }
            Err(error) => {
                self.repeat_changes(state);
                Err(error)
            }
        }
    }

    /// The path of the file, for messages.
    pub(super) fn show(&self) -> String {
        self.directory.show(NAME)
    }
}

fn payloads(entries: &[JournalEntry]) -> Vec<Vec<u8>> {
    let mut payloads = vec![Vec::new()];
    for entry in entries {
        if payloads.last().is_some_and(|payload| payload.len() >= FRAME_TARGET) {
            payloads.push(Vec::new());
        }
        if let Some(payload) = payloads.last_mut() {
            encode(payload, entry);
        }
    }
    payloads
}

/// Applies the entries of a file.
fn replay(events: &mut Events, bytes: &[u8], contents: &Contents) -> Result<(), Unreadable> {
    for payload in contents.payloads() {
        let damaged = |what| Unreadable::Damaged {
            at: payload.start as u64,
            what,
        };
        let entries = decode(&bytes[payload.clone()]).ok_or(damaged("a record that makes no sense"))?;
        for entry in entries {
            events.apply(entry).map_err(damaged)?;
        }
    }
    Ok(())
}

/// Reads a file of this kind and restores the state from it.
pub(super) fn inspect(bytes: &[u8]) -> Result<(), Unreadable> {
    let contents = frames::read(bytes, KIND)?.without_holes()?;
    let mut events = Events::restoring(EventOptions::default(), Timestamp::default());
    replay(&mut events, bytes, &contents)?;
    events.restored();
    Ok(())
}
