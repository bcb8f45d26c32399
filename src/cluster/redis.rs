//! The engine over Redis and Valkey.
//!
//! An app is a hash with the fields of [`Stored`]; a long record lies in chunks beside it. Each write appends the app's name to a stream,
//! and the id of that entry is the revision. Scripts make a write one step. All keys begin with the prefix and the version of their format.

mod connection;
mod keys;
mod reply;
mod reply_bound;
mod scripts;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd};
use tokio::sync::Mutex;

use super::engine::{
    Beat, BeatReply, Compared, Engine, EngineError, EventPlace, LeaseGrant, Opened, Opening, ReadEvents, Revision, Stored, Watched, Write,
    Written,
};
use super::settings::ClusterSettings;
use crate::model::{AppName, IdempotencyKey, ScraperId, Timestamp};
use crate::store::{OriginId, OwnEvent, UsedIdempotencyKey};
use connection::Connection;
use keys::Keys;
pub(super) use keys::{random_bytes, random_id};

/// Entries of the stream that are kept: a replica that has missed more loads all apps again. Some 10 MB.
const MAX_CHANGES: u64 = 100_000;
/// Changes that are read at once.
const CHANGES_AT_ONCE: u64 = 1_000;
/// The time that a read of changes waits for some.
const WATCH_WAIT: Duration = Duration::from_secs(1);
/// The time in which the engine answers. A slower one cannot take the pushes of a fleet, and a partition is noticed by it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Names that are listed at once, about.
const NAMES_AT_ONCE: u64 = 1_000;
/// The bytes of one chunk of a long record: the engine handles each in about a millisecond, and others wait for it.
const CHUNK_BYTES: usize = 512 << 10;
/// Changes of scrapers that are kept for replicas that are behind; a new connection reads the states themselves. Some megabytes at most, as the
/// usual state has some 50 bytes.
const MAX_MOVES: u64 = 10_000;
/// Entries of each stream that are read at once, and states of scrapers: of the largest ones some 3 MB, less than a reply may
/// have.
const EVENTS_AT_ONCE: usize = 100;
/// The time for which an idempotency key is remembered, as by a proxy alone.
const KEY_TTL: Duration = Duration::from_secs(600);
/// The time after which the engine forgets that an app was removed: a replica that was away for longer brings the app back.
const REMOVAL_TTL: Duration = Duration::from_secs(86_400);
/// The time in which the chunks of a record must be complete, and in which a reader of a record that was replaced must be done.
const CHUNK_TTL: Duration = Duration::from_secs(60);

/// A connection to the engine, and one that waits for changes.
pub(super) struct Redis {
    commands: Connection,
    /// Read by one task at a time: the server answers a waiting connection's commands in order.
    watching: Mutex<Connection>,
    /// The same for events; `None` where replicas do not share any.
    reading: Option<Mutex<Connection>>,
    /// The most events in the engine.
    max_events: usize,
    scripts: scripts::Loaded,
    keys: Keys,
}

impl Redis {
    /// Connects to the server that the settings name, or to the primary that its sentinels name.
    ///
    /// # Errors
    /// When no server answers, when it is no primary, or refuses the user or the password.
    pub(super) async fn connect(settings: &ClusterSettings) -> Result<Self, EngineError> {
        let server = connection::find_primary(settings).await?;
        let commands = connection::open(settings, &server, ANSWER_TIMEOUT).await?;
        let watching = connection::open(settings, &server, WATCH_WAIT + ANSWER_TIMEOUT).await?;
        let reading = match settings.events {
            Some(_) => Some(Mutex::new(connection::open(settings, &server, WATCH_WAIT + ANSWER_TIMEOUT).await?)),
            None => None,
        };
        Ok(Self {
            reading,
            max_events: settings.max_events,
            scripts: scripts::load(&commands).await?,
            commands,
            watching: Mutex::new(watching),
            keys: Keys::new(&settings.prefix),
        })
    }

    /// The address of this end of the connection: where other replicas reach this machine.
    pub(super) fn local_ip(&self) -> IpAddr {
        self.commands.local_ip
    }

    /// The id of this run of the server; empty if the server does not say it.
    async fn run(&self) -> String {
        // A user may be refused this command. Then a loss is noticed by what a replica has read before.
        let info = self.commands.ask(cmd("INFO").arg("server")).await;
        let info = info.and_then(reply::text).unwrap_or_default();
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        run.unwrap_or_default().to_owned()
    }

    /// Stores a long record in chunks, and returns their key and number. A short one has none.
    async fn put_chunks(&self, record: &Bytes) -> Result<(String, usize), EngineError> {
        if record.len() <= CHUNK_BYTES {
            return Ok((String::new(), 0));
        }
        let key = self.keys.chunks()?;
        let mut count = 0;
        for chunk in record.chunks(CHUNK_BYTES) {
            self.commands.ask(cmd("RPUSH").arg(&key).arg(chunk)).await?;
            if count == 0 {
                self.commands.ask(cmd("PEXPIRE").arg(&key).arg(millis(CHUNK_TTL))).await?;
            }
            count += 1;
        }
        Ok((key, count))
    }

    async fn get_one(&self, app: AppName) -> Result<Option<Stored>, EngineError> {
        let mut get = cmd("HMGET");
        get.arg(self.keys.app(&app)).arg(&["r", "t", "g", "d", "v", "n", "c"]);
        let fields = reply::array(self.commands.ask(&get).await?)?;
        let [revision, at, age, removed, record, count, chunks] = <[Value; 7]>::try_from(fields).map_err(|_| reply::unexpected("HMGET"))?;
        if matches!(revision, Value::Nil) {
            return Ok(None);
        }
        let revision = reply::revision(revision)?;
        let count = reply::number(count)?;
        let record = match (reply::number(removed)?, count) {
            (1, _) => None,
            (_, 0) => Some(reply::bytes(record)?.into()),
            // A record that was replaced meanwhile: the later one is announced as well.
            _ => match self.get_chunks(&reply::text(chunks)?, count).await? {
                Some(record) => Some(record),
                None => return Ok(None),
            },
        };
        Ok(Some(Stored {
            app,
            revision,
            at: Timestamp::from_millis(reply::number(at)?),
            age: Duration::from_millis(reply::number(age)?.unsigned_abs()),
            record,
        }))
    }

    async fn get_chunks(&self, key: &str, count: i64) -> Result<Option<Bytes>, EngineError> {
        let mut record = Vec::new();
        for chunk in 0..count {
            match self.commands.ask(cmd("LINDEX").arg(key).arg(chunk)).await? {
                Value::Nil => return Ok(None),
                bytes => record.extend(reply::bytes(bytes)?),
            }
        }
        Ok(Some(record.into()))
    }

    /// The last entry of a stream; [`Revision::ZERO`] if there is none.
    async fn last_of(&self, stream: &str) -> Result<Revision, EngineError> {
        let mut last = cmd("XREVRANGE");
        last.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = reply::array(self.commands.ask(&last).await?)?;
        entries
            .into_iter()
            .next()
            .map_or(Ok(Revision::ZERO), |entry| reply::change(entry).map(|(revision, _)| revision))
    }

    async fn read_changes(&self, after: Revision) -> Result<Vec<(AppName, Revision)>, EngineError> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(CHANGES_AT_ONCE).arg("BLOCK").arg(millis(WATCH_WAIT));
        read.arg("STREAMS").arg(&self.keys.changes).arg(after.to_string());
        let reply = self.watching.lock().await.ask(&read).await?;
        reply::changes(reply)
    }
}

impl Engine for Redis {
    async fn put(&self, write: Write) -> Result<Written, EngineError> {
        let (removed, record) = match &write.record {
            Some(record) => (0, record.clone()),
            None => (1, Bytes::new()),
        };
        let (chunks, count) = self.put_chunks(&record).await?;
        let ttl = match write.record {
            Some(_) => write.ttl.map_or(0, millis),
            None => millis(REMOVAL_TTL),
        };
        let mut put = Cmd::new();
        put.arg("EVALSHA").arg(&self.scripts.put).arg(3);
        put.arg(self.keys.app(&write.app)).arg(&self.keys.changes).arg(&self.keys.index);
        put.arg(write.app.as_str()).arg(write.at.as_millis()).arg(millis(write.age));
        put.arg(i32::from(write.delayed)).arg(ttl).arg(removed);
        put.arg(if count > 0 { &[] } else { &record[..] }).arg(count).arg(chunks);
        put.arg(MAX_CHANGES).arg(millis(CHUNK_TTL));
        put.arg(write.replaces.map_or_else(String::new, |revision| revision.to_string()));
        let reply = self.commands.ask(&put).await?;
        match reply {
            Value::Nil => Ok(Written::Superseded),
            revision => Ok(Written::Stored(reply::revision(revision)?)),
        }
    }

    async fn watch(&self, after: Revision) -> Result<Watched, EngineError> {
        let changes = self.read_changes(after).await?;
        // Fewer changes than asked for are all that came since. Otherwise some may have been trimmed before they were read.
        let may_lack = changes.len() as u64 >= CHANGES_AT_ONCE && after != Revision::ZERO;
        if may_lack && !self.has(after).await? {
            return Ok(Watched::Lost);
        }
        Ok(Watched::Changes(changes))
    }

    async fn last(&self) -> Result<Revision, EngineError> {
        self.last_of(&self.keys.changes).await
    }

    async fn has(&self, revision: Revision) -> Result<bool, EngineError> {
        let mut range = cmd("XRANGE");
        range.arg(&self.keys.changes).arg(revision.to_string()).arg(revision.to_string());
        Ok(!reply::array(self.commands.ask(&range).await?)?.is_empty())
    }

    async fn list(&self, cursor: u64) -> Result<(u64, Vec<AppName>), EngineError> {
        let mut scan = cmd("ZSCAN");
        scan.arg(&self.keys.index).arg(cursor).arg("COUNT").arg(NAMES_AT_ONCE);
        reply::scanned(self.commands.ask(&scan).await?)
    }

    async fn get(&self, apps: Vec<AppName>) -> Result<Vec<Stored>, EngineError> {
        let found = try_join_all(apps.into_iter().map(|app| self.get_one(app))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn open_events(&self, opening: Opening) -> Result<Opened, EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.open_events).arg(5);
        call.arg(&self.keys.event_epoch)
            .arg(&self.keys.hold)
            .arg(&self.keys.events)
            .arg(&self.keys.moves)
            .arg(&self.keys.event_run);
        let known = &opening.known;
        call.arg(&opening.candidate).arg(&known.epoch);
        call.arg(known.event.to_string())
            .arg(known.scraper.to_string())
            .arg(millis(opening.hold))
            .arg(self.run().await);
        let reply = reply::array(self.commands.ask(&call).await?)?;
        let [epoch, scraper, lost] = <[Value; 3]>::try_from(reply).map_err(|_| reply::unexpected("a script"))?;
        Ok(Opened {
            epoch: reply::text(epoch)?,
            scraper: reply::revision(scraper)?,
            lost: reply::number(lost)? == 1,
        })
    }

    async fn claim(&self, used: &[UsedIdempotencyKey]) -> Result<(), EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.claim).arg(0);
        call.arg(self.keys.idempotency()).arg(millis(KEY_TTL));
        for UsedIdempotencyKey { key, origin, number } in used {
            call.arg(key.as_str()).arg(format!("{origin}:{number}"));
        }
        self.commands.ask(&call).await.map(drop)
    }

    async fn append(&self, origin: OriginId, after: u64, events: Vec<OwnEvent>) -> Result<u64, EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.append).arg(3);
        call.arg(&self.keys.events).arg(&self.keys.event_tails).arg(&self.keys.hold);
        call.arg(origin.to_string())
            .arg(after)
            .arg(self.max_events)
            .arg(self.keys.idempotency())
            .arg(millis(KEY_TTL));
        for event in events {
            call.arg(event.number).arg(event.key.as_ref().map_or("", IdempotencyKey::as_str));
            call.arg(event.bytes.as_deref().unwrap_or_default()).arg(i32::from(event.confirmed));
        }
        reply::number_of(self.commands.ask(&call).await?)
    }

    async fn tail(&self, origin: OriginId) -> Result<u64, EngineError> {
        match self
            .commands
            .ask(cmd("HGET").arg(&self.keys.event_tails).arg(origin.to_string()))
            .await?
        {
            Value::Nil => Ok(0),
            number => reply::number_of(number),
        }
    }

    async fn read(&self, after: &EventPlace) -> Result<ReadEvents, EngineError> {
        let Some(reading) = &self.reading else {
            return Err(EngineError("events are not shared".to_owned()));
        };
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(EVENTS_AT_ONCE).arg("BLOCK").arg(millis(WATCH_WAIT));
        read.arg("STREAMS").arg(&self.keys.events).arg(&self.keys.moves);
        read.arg(after.event.to_string()).arg(after.scraper.to_string());
        let reply = reading.lock().await.ask(&read).await?;
        reply::events(reply, &self.keys)
    }

    async fn last_event(&self) -> Result<Revision, EngineError> {
        self.last_of(&self.keys.events).await
    }

    async fn scrapers(&self) -> Result<Vec<(ScraperId, u64, Bytes)>, EngineError> {
        let versions = reply::scrapers(self.commands.ask(cmd("HGETALL").arg(&self.keys.scraper_versions)).await?)?;
        let mut scrapers = Vec::new();
        for part in versions.chunks(EVENTS_AT_ONCE) {
            let mut get = cmd("HMGET");
            get.arg(&self.keys.scrapers);
            for (scraper, _) in part {
                get.arg(scraper.as_str());
            }
            // A state that was written meanwhile has a later version, which is found when it is written.
            let states = reply::array(self.commands.ask(&get).await?)?;
            for ((scraper, version), state) in part.iter().zip(states) {
                if !matches!(state, Value::Nil) {
                    scrapers.push((scraper.clone(), *version, reply::bytes(state)?.into()));
                }
            }
        }
        Ok(scrapers)
    }

    async fn compare_and_set(
        &self,
        scraper: &ScraperId,
        expected: u64,
        state: Option<Bytes>,
        release: Option<&str>,
    ) -> Result<Compared, EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.compare_and_set).arg(5);
        call.arg(&self.keys.scrapers).arg(&self.keys.scraper_versions).arg(&self.keys.moves);
        call.arg(self.keys.scraper_lease(scraper)).arg(&self.keys.last_version);
        call.arg(scraper.as_str()).arg(expected).arg(state.as_deref().unwrap_or_default());
        call.arg(release.unwrap_or_default()).arg(MAX_MOVES);
        match reply::state(self.commands.ask(&call).await?)? {
            (1, version, _) => Ok(Compared::Set(version)),
            (_, version, state) => Ok(Compared::Differs(version, state)),
        }
    }

    async fn lease(
        &self,
        epoch: &str,
        scraper: &ScraperId,
        token: &str,
        ttl: Duration,
        renews: bool,
    ) -> Result<Option<LeaseGrant>, EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.lease).arg(5);
        call.arg(self.keys.scraper_lease(scraper)).arg(&self.keys.hold);
        call.arg(&self.keys.scrapers)
            .arg(&self.keys.scraper_versions)
            .arg(&self.keys.event_epoch);
        call.arg(token)
            .arg(millis(ttl))
            .arg(scraper.as_str())
            .arg(i32::from(renews))
            .arg(epoch);
        match reply::state(self.commands.ask(&call).await?)? {
            (0, ..) => Ok(None),
            (1, version, state) => Ok(Some(LeaseGrant { version, state })),
            _ => Err(EngineError(
                "the engine has lost its events; this replica writes what it has".to_owned(),
            )),
        }
    }

    async fn beat(&self, beat: Beat) -> Result<BeatReply, EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.beat).arg(4);
        call.arg(&self.keys.members)
            .arg(&self.keys.about)
            .arg(&self.keys.lease)
            .arg(&self.keys.epoch);
        call.arg(&beat.id).arg(&beat.about).arg(millis(beat.ttl)).arg(&beat.epoch);
        reply::beat(self.commands.ask(&call).await?)
    }

    async fn leave(&self, id: &str) -> Result<(), EngineError> {
        let mut call = Cmd::new();
        call.arg("EVALSHA").arg(&self.scripts.leave).arg(3);
        call.arg(&self.keys.members).arg(&self.keys.about).arg(&self.keys.lease).arg(id);
        self.commands.ask(&call).await.map(drop)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
