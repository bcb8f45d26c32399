//! The log of apps: the last update of each pushed app, and the order of all apps.
//!
//! An update is written once, at the end, whatever else is stored. The log is a series of files; once most of what it
//! holds is out of date, what the oldest file still has of use is written again at the end, and the file is removed. So
//! the disk does work for what changes, and never for all that is there at once.
//!
//! A record replaces every earlier one of the same app. Files are removed oldest first, so that an outdated record can never become the
//! newest.
//!
//! A record that may have been written incompletely replaces nothing. Files with missing parts are read as far as possible; then all that
//! is of use in them is written again, and they are removed.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use super::app_codec::{Record, body, decode, encode, encode_clock, encode_gone, name_in};
use super::directory::Directory;
use super::frames::{self, Contents, FrameLog, Hole, Kind, Piece, Unreadable};
use super::{OpenError, lock};
use crate::model::Timestamp;
use crate::store::persistence::{Age, FamilyKey};
use crate::store::stored_apps::StoredApps;
use crate::store::{App, PutOptions};

const KIND: Kind = Kind(*b"APPS");
const TEMP: &str = "apps.tmp";

/// A file that is longer than this is followed by the next one: small enough to be read at a stroke and soon to be removed,
/// large enough that 4 GiB of text make a few hundred of them.
const SEGMENT_BYTES: u64 = 32 << 20;

/// The log may be twice as long as what is of use in it, and this much longer, before files are cleaned away.
const SLACK: u64 = 64 << 20;

/// Handles of apps taken under the store's lock at a time.
const CHUNK: usize = 256;

/// Sizes, smaller in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    segment: u64,
    slack: u64,
}

impl Sizes {
    pub(super) const USUAL: Self = Self {
        segment: SEGMENT_BYTES,
        slack: SLACK,
    };

    #[cfg(test)]
    pub(super) const fn of(segment: u64, slack: u64) -> Self {
        Self { segment, slack }
    }
}

/// The location of the newest record of an app.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u64,
    bytes: u64,
    /// For an app that is polled: the checksum of its record, which is the same for most of its life.
    bare: Option<u32>,
}

/// The log.
pub(super) struct AppLog {
    directory: Arc<dyn Directory>,
    sizes: Sizes,
    /// The number and length of each complete file, oldest first.
    older: VecDeque<(u64, u64)>,
    /// The number of the file that is written now.
    current: u64,
    log: FrameLog,
    /// By order of first sight.
    places: HashMap<u64, Place, foldhash::fast::RandomState>,
    /// Bytes of records that are the newest of their app.
    live: u64,
    /// Files before this one are about to be removed.
    keeps_from: u64,
    /// Apps with an outdated record. Bounded by the stored apps and those in the log.
    due: BTreeSet<u64>,
    /// Apps with a record that was written but is perhaps not on disk.
    unsynced: BTreeSet<u64>,
    /// Those of them with a record of their removal. Their locations stay until it is on disk.
    gone: BTreeSet<u64>,
    /// A new file has its name, but perhaps not on the disk.
    renamed: bool,
    /// The files up to this one are written again and removed, because something is missing in one of them.
    replace_to: Option<u64>,
    /// The step of a wall clock that was set, in milliseconds, until it is written down.
    clock_step: i64,
}

/// An app, its families that carry a disambiguating label, and its age.
type WrittenApp = (Arc<App>, Vec<FamilyKey>, Age);

/// The subject of records that are about no app: no place can be the last one.
const NO_PLACE: u64 = u64::MAX;

/// The most names logged of apps with damaged records; the rest are counted.
const LOST_SHOWN: usize = 10;

/// The content of a log: the newest record of each app, by order of first sight.
#[derive(Debug, Default)]
struct Newest {
    records: HashMap<u64, (Record, Place)>,
    /// The damaged records: of which file, and which app they are about, as far as that can be read.
    damaged: Vec<(u64, Option<String>)>,
    /// The files of which a part was left out that may never have been complete, and how many bytes.
    torn: Vec<(u64, usize)>,
}

fn name(number: u64) -> String {
    format!("apps-{number:08}.log")
}

fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("apps-")?.strip_suffix(".log")?.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

impl AppLog {
    /// Reads the log, restores the apps into an empty store, and has changes noted from then on.
    ///
    /// `now` is the time of day, from which apps have the ages that they have by then.
    pub(super) fn open(directory: Arc<dyn Directory>, apps: &Mutex<StoredApps>, sizes: Sizes, now: Timestamp) -> Result<Self, OpenError> {
        super::check_leftover(&*directory, TEMP)?;
        let fail = |name: &str, doing| {
            let path = directory.show(name);
            move |why| OpenError::Io { path, doing, why }
        };
        let names = directory.names().map_err(fail("", "list"))?;
        let numbers: Vec<u64> = {
            let numbers: BTreeSet<u64> = names.iter().filter_map(|name| number(name)).collect();
            numbers.into_iter().collect()
        };
        if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            let what = "the file is missing";
            let (path, why) = (directory.show(&name(pair[0] + 1)), Unreadable::Damaged { at: 0, what });
            return Err(OpenError::Unreadable { path, why });
        }
        let (mut newest, mut files) = (Newest::default(), Vec::new());
        for &segment in &numbers {
            files.push((segment, read(&*directory, segment, &mut newest)?));
        }
        // All but the last are followed by another one, and so is the last where nothing can be appended to it.
        let last = files.len().saturating_sub(1);
        let is_followed = |at: usize, contents: &Contents| at < last || !contents.is_resumable();
        let mut incomplete = files.iter().enumerate().rev();
        let incomplete = incomplete.find(|(at, (_, contents))| !contents.is_whole(is_followed(*at, contents)));
        let replace_to = incomplete.map(|(_, (segment, _))| *segment);
        let (log, current, renamed) = match files.last() {
            Some((segment, contents)) if contents.is_resumable() => {
                let log = FrameLog::resume(&*directory, &name(*segment), contents);
                let log = log.map_err(fail(&name(*segment), "write"))?;
                let current = *segment;
                files.pop();
                (log, current, false)
            }
            last => {
                let next = last.map_or(1, |(segment, _)| segment + 1);
                let log = FrameLog::create(&*directory, KIND, TEMP, &name(next), &[]);
                (log.map_err(fail(&name(next), "write"))?, next, true)
            }
        };
        let older = files
            .iter()
            .map(|(segment, contents)| (*segment, (contents.good + contents.torn) as u64));
        let mut this = Self {
            sizes,
            older: older.collect(),
            current,
            log,
            places: HashMap::default(),
            live: 0,
            keeps_from: 0,
            due: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            gone: BTreeSet::new(),
            renamed,
            replace_to,
            clock_step: 0,
            directory,
        };
        let (damaged, torn) = (std::mem::take(&mut newest.damaged), std::mem::take(&mut newest.torn));
        this.fill(newest, apps, now);
        this.report(&damaged, &torn, lock(apps).table.len());
        Ok(this)
    }

    /// Logs what was left out of damaged and torn files.
    fn report(&self, damaged: &[(u64, Option<String>)], torn: &[(u64, usize)], kept: usize) {
        for &(segment, bytes) in torn {
            super::report_torn(&self.directory.show(&name(segment)), bytes, &format!("{kept} apps"));
        }
        let Some(&(segment, _)) = damaged.first() else { return };
        let names: Vec<_> = damaged.iter().filter_map(|(_, name)| name.as_deref()).take(LOST_SHOWN).collect();
        let unnamed = damaged.len() - names.len();
        tracing::error!(
            file = self.directory.show(&name(segment)),
            records = damaged.len(),
            "skipped damaged records, {kept} apps kept; lost: {}",
            match (names.is_empty(), unnamed) {
                (_, 0) => names.join(", "),
                (true, _) => format!("{unnamed} records"),
                (false, _) => format!("{} and {unnamed} more records", names.join(", ")),
            }
        );
    }

    /// Restores the apps into the store. Those that exceed its limits are removed from the log as well.
    fn fill(&mut self, newest: Newest, apps: &Mutex<StoredApps>, now: Timestamp) {
        let parser = {
            let mut apps = lock(apps);
            apps.clock.at(now);
            apps.combiner.parser()
        };
        let mut newest: Vec<_> = newest.records.into_iter().collect();
        newest.sort_unstable_by_key(|(order, _)| *order);
        let mut refused = 0u64;
        for (order, (record, place)) in newest {
            self.places.insert(order, place);
            self.live += place.bytes;
            let taken = match record {
                Record::App(name, position, said) => {
                    let age = said.age.at(now);
                    let options = PutOptions {
                        expire_after: said.expire_after,
                        ..PutOptions::PUSHED
                    };
                    let parsed = parser.parse(said.update(name), options, None);
                    lock(apps).restore(position, parsed, age)
                }
                Record::Place(name, position) => {
                    lock(apps).table.reserve(name, position);
                    Ok(())
                }
                Record::Gone(_) | Record::Clock(_) => Ok(()),
            };
            if taken.is_err() {
                refused += 1;
                self.due.insert(order);
            }
        }
        if refused > 0 {
            tracing::warn!(
                apps = refused,
                "apps dropped at start: they exceed store.max_apps or store.max_memory"
            );
        }
        lock(apps).note_changes();
    }

    /// Writes the apps that have changed since the last time, and puts them on the disk.
    pub(super) fn write_changes(&mut self, apps: &Mutex<StoredApps>) -> io::Result<()> {
        self.due.extend(lock(apps).take_changes());
        self.repair()?;
        self.write_due(apps)?;
        self.clean(apps)?;
        self.log.seal();
        Ok(())
    }

    /// As [`AppLog::write_changes`], for the last time: the seal goes to the disk as well.
    pub(super) fn finish(&mut self, apps: &Mutex<StoredApps>) -> io::Result<()> {
        self.write_changes(apps)?;
        self.log.sync()
    }

    /// Returns true if there is something to write although no app has changed.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty() || self.replace_to.is_some()
    }

    /// Undoes what an earlier failure has left.
    fn repair(&mut self) -> io::Result<()> {
        if self.log.is_broken() {
            self.log.repair()?;
            self.due.append(&mut self.unsynced);
            self.gone.clear();
        }
        if self.renamed {
            self.directory.sync()?;
            self.renamed = false;
        }
        Ok(())
    }

    /// Writes the step of a wall clock that was set, and syncs at once: a step written twice would count twice.
    fn write_clock_step(&mut self) -> io::Result<()> {
        if self.clock_step != 0 {
            self.append(NO_PLACE, &[&encode_clock(self.clock_step)])?;
            self.sync()?;
            self.clock_step = 0;
        }
        Ok(())
    }

    fn write_due(&mut self, apps: &Mutex<StoredApps>) -> io::Result<()> {
        loop {
            let chunk = self.take_due(&mut lock(apps));
            // It concerns all records before it, and none of the chunk, of which the ages were taken at the same moment.
            self.write_clock_step()?;
            if chunk.is_empty() {
                return self.sync();
            }
            for (order, app) in chunk {
                self.write(order, app)?;
                self.due.remove(&order);
            }
        }
    }

    /// The next apps to write, and the step by which the wall clock was set since the last ones.
    fn take_due(&mut self, apps: &mut StoredApps) -> Vec<(u64, Option<WrittenApp>)> {
        self.clock_step = self.clock_step.saturating_add(apps.clock.take_step());
        let orders = self.due.iter().take(CHUNK);
        orders.map(|&order| (order, apps.to_write(order))).collect()
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.log.is_unsynced() {
            self.log.sync()?;
        }
        self.unsynced.clear();
        for order in std::mem::take(&mut self.gone) {
            self.live -= self.places.remove(&order).map_or(0, |place| place.bytes);
        }
        Ok(())
    }

    fn write(&mut self, order: u64, app: Option<WrittenApp>) -> io::Result<()> {
        let old = self.places.get(&order).copied();
        let Some((app, labelled, age)) = app else {
            if old.is_some() {
                self.append(order, &[&encode_gone(order)])?;
                self.gone.insert(order);
            }
            return Ok(());
        };
        self.gone.remove(&order);
        let head = encode(&app, &labelled, age);
        let bare = (!app.expires).then(|| crc32fast::hash(&head));
        let is_unchanged = |old: Place| bare.is_some() && old.bare == bare && old.segment >= self.keeps_from;
        if old.is_some_and(is_unchanged) {
            return Ok(());
        }
        let bytes = self.append(order, &[&head, body(&app)])?;
        let place = Place {
            segment: self.current,
            bytes,
            bare,
        };
        self.live = self.live - old.map_or(0, |old| old.bytes) + bytes;
        self.places.insert(order, place);
        Ok(())
    }

    /// Appends a record, to a new file if the last one is full, and returns the bytes that it takes.
    fn append(&mut self, order: u64, record: &[&[u8]]) -> io::Result<u64> {
        if self.log.len() >= self.sizes.segment {
            self.sync()?;
            // Another file follows, so the end of this one has to be recognizable as such.
            self.log.seal();
            self.sync()?;
            self.begin_next()?;
        }
        let before = self.log.len();
        // After a failure it is unknown which part was written, so the record counts as written from the start.
        self.unsynced.insert(order);
        self.log.append(order, record)?;
        Ok(self.log.len() - before)
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let next = self.current + 1;
        let log = FrameLog::create(&*self.directory, KIND, TEMP, &name(next), &[])?;
        self.older.push_back((self.current, self.log.len()));
        (self.current, self.log, self.renamed) = (next, log, true);
        self.repair()
    }

    /// Removes the oldest files for as long as too much is out of date, once what they have of use is at the end as well.
    fn clean(&mut self, apps: &Mutex<StoredApps>) -> io::Result<()> {
        let too_long = |this: &Self| this.len() > this.live.saturating_mul(2).saturating_add(this.sizes.slack);
        while let Some(&(oldest, _)) = self.older.front()
            && (too_long(self) || self.replace_to.is_some_and(|last| oldest <= last))
        {
            self.keeps_from = oldest + 1;
            let wanted = self.places.iter().filter(|(_, place)| place.segment == oldest);
            self.due.extend(wanted.map(|(order, _)| *order));
            self.write_due(apps)?;
            self.directory.remove(&name(oldest))?;
            self.directory.sync()?;
            self.older.pop_front();
        }
        self.replace_to = None;
        Ok(())
    }

    /// The length of all files.
    pub(super) fn len(&self) -> u64 {
        self.older.iter().map(|(_, len)| len).sum::<u64>() + self.log.len()
    }

    /// The path of the current file, for messages.
    pub(super) fn show(&self) -> String {
        self.directory.show(&name(self.current))
    }
}

/// Reads one file into what is known so far.
fn read(directory: &dyn Directory, segment: u64, newest: &mut Newest) -> Result<Contents, OpenError> {
    let path = directory.show(&name(segment));
    let bytes = match directory.read(&name(segment)) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(why) => {
            return Err(OpenError::Io { path, doing: "read", why });
        }
    };
    take(&bytes, segment, newest).map_err(|why| OpenError::Unreadable { path, why })
}

/// Takes the content of a file into what is known so far.
fn take(bytes: &[u8], segment: u64, newest: &mut Newest) -> Result<Contents, Unreadable> {
    let contents = frames::read(bytes, KIND)?;
    let mut torn = contents.torn;
    for piece in &contents.pieces {
        match piece {
            Piece::Payload(payload) if payload.is_empty() => {}
            Piece::Payload(payload) => {
                let at = payload.start as u64;
                let what = "a record that makes no sense";
                let record = decode(&bytes[payload.clone()]).ok_or(Unreadable::Damaged { at, what })?;
                newest.take(record, &bytes[payload.clone()], segment);
            }
            Piece::Hole(hole) if hole.vouched => newest.damage(hole, bytes, segment),
            Piece::Hole(hole) => torn += hole.range.len(),
        }
    }
    if torn > 0 {
        newest.torn.push((segment, torn));
    }
    Ok(contents)
}

impl Newest {
    fn take(&mut self, record: Record, payload: &[u8], segment: u64) {
        let (order, bare) = match &record {
            Record::Gone(order) => {
                self.records.remove(order);
                return;
            }
            Record::Clock(millis) => {
                for (record, _) in self.records.values_mut() {
                    if let Record::App(_, _, said) = record {
                        said.age.shift(*millis);
                    }
                }
                return;
            }
            Record::App(_, position, _) => (position.order, None),
            Record::Place(_, position) => (position.order, Some(crc32fast::hash(payload))),
        };
        let bytes = frames::framed(payload.len());
        self.records.insert(order, (record, Place { segment, bytes, bare }));
    }

    /// A record was damaged after it had been written: what came before it is out of date.
    fn damage(&mut self, hole: &Hole, bytes: &[u8], segment: u64) {
        let name = hole.broken.as_ref().and_then(|(payload, order)| {
            let earlier = self.records.remove(order);
            match earlier {
                Some((Record::App(name, ..) | Record::Place(name, _), _)) => Some(name),
                _ => name_in(&bytes[payload.clone()]),
            }
        });
        self.damaged.push((segment, name.map(|name| name.to_string())));
    }
}

/// Reads a file of this kind.
pub(super) fn inspect(bytes: &[u8]) -> Result<(), Unreadable> {
    take(bytes, 1, &mut Newest::default()).map(drop)
}
