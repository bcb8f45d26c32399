//! Applications as people see them: a drawn table, JSON, and the facts of one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::exposition::Fault;
use crate::model::{Clock, Timestamp};
use crate::store::{App, Moment, Status, View};

/// A point in time for people: UTC with milliseconds.
pub(super) fn clock_time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.as_millis())
        .map_or_else(|| "?".into(), |time| time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string())
}

/// A point in time for machines: RFC 3339.
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    Some(DateTime::<Utc>::from_timestamp_millis(at.as_millis())?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// The present, for the state of applications: the time of day, which is only shown, the moment, and the limit on ages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Present {
    pub(super) time: Timestamp,
    moment: Moment,
    expire_after: Option<Duration>,
}

impl Present {
    pub(super) fn of(view: &View, clock: Clock) -> Self {
        let time = clock();
        Self {
            time,
            moment: view.moment(time),
            expire_after: view.expire_after(),
        }
    }

    pub(super) fn status(&self, app: &App) -> Status {
        app.status(self.moment, self.expire_after)
    }
}

/// The applications sorted by name.
pub(super) fn sorted(mut apps: Vec<Arc<App>>) -> Vec<Arc<App>> {
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    apps
}

/// The table of applications in a frame of two rows, the time above it; below the frame the notes.
pub(super) fn draw(apps: &[Arc<App>], present: Present, notes: &[String]) -> String {
    let mut rows = Builder::default();
    rows.push_record(["App Name", "Last Update Time (UTC)", "Source", "Series", "Bytes", "Status"]);
    for app in apps {
        let updated = app.updated.map_or_else(|| "never".into(), clock_time);
        let status = present.status(app).to_string();
        rows.push_record([
            app.name.to_string(),
            updated,
            app.origin.source.to_string(),
            series(app),
            app.text.body().len().to_string(),
            status,
        ]);
    }
    let mut frame = Builder::default();
    frame.push_record([format!("Current time: {}", clock_time(present.time))]);
    frame.push_record([rows.build().with(Style::ascii()).to_string()]);
    let mut drawn = frame.build().with(Style::ascii()).to_string();
    drawn.push('\n');
    for note in notes {
        let _ = writeln!(drawn, "note: {note}");
    }
    drawn
}

/// The applications as JSON: `{"time":..., "apps":[...], "notes":[...]}`.
pub(super) fn list(apps: &[Arc<App>], present: Present, notes: &[String]) -> Value {
    let apps: Vec<Value> = apps.iter().map(|app| facts(app, present)).collect();
    json!({ "time": rfc3339(present.time), "apps": apps, "notes": notes })
}

/// The number of series; a dash where texts are not read.
pub(super) fn series(app: &App) -> String {
    app.series().map_or_else(|| "-".to_owned(), |series| series.to_string())
}

/// One application as JSON. `status` is a word for machines (`ok`, `stale`, `fault`) and `detail` a text for people.
pub(super) fn facts(app: &App, present: Present) -> Value {
    let status = present.status(app);
    let word = match status {
        Status::Ok => "ok",
        Status::Stale(_) => "stale",
        Status::Fault(_) => "fault",
    };
    json!({
        "name": app.name.as_str(),
        "source": &*app.origin.source,
        "format": app.origin.format.as_str(),
        "first_seen": rfc3339(app.first_seen),
        "last_update": app.updated.and_then(rfc3339),
        "families": app.text.exposition().map(|text| text.families().len()),
        "series": app.series(),
        "bytes": app.text.body().len(),
        "status": word,
        "detail": status.to_string(),
    })
}

/// As [`facts`], with all that is wrong with the application's text and between it and others.
pub(super) fn all_facts(app: &App, present: Present) -> Value {
    let mut value = facts(app, present);
    value["invalid_lines"] = app.invalid_lines().into();
    value["duplicate_series"] = app.duplicates.into();
    let faults = app.text.exposition().map(|text| text.faults().iter());
    let fault = |fault: &Fault| json!({ "line": fault.line, "column": fault.column, "reason": fault.reason });
    value["faults"] = faults.into_iter().flatten().map(fault).collect();
    value["clashes"] = app.clashes.iter().map(ToString::to_string).collect();
    value
}

/// One application as lines for people.
pub(super) fn describe(app: &App, present: Present) -> String {
    let updated = app.updated.map_or_else(|| "never".into(), clock_time);
    let families = app
        .text
        .exposition()
        .map_or_else(|| "-".to_owned(), |text| text.families().len().to_string());
    let mut lines = format!(
        "App Name:     {}\nSource:       {}\nFormat:       {}\nFirst seen:   {}\nLast update:  {updated}\nFamilies:     {families}\n\
         Series:       {}\nBytes:        {}\nStatus:       {}\n",
        app.name,
        app.origin.source,
        app.origin.format.as_str(),
        clock_time(app.first_seen),
        series(app),
        app.text.body().len(),
        present.status(app),
    );
    let faults = app.text.exposition().map(|text| text.faults().iter());
    for fault in faults.into_iter().flatten() {
        let _ = writeln!(lines, "Invalid line: {fault}");
    }
    for clash in app.clashes.iter() {
        let _ = writeln!(lines, "Clash:        {clash}");
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::exposition::Exposition;
    use crate::model::{AppName, Format, Origin, Syntax};
    use crate::store::{Limits, Mode, Text};

    fn app(name: &str, updated: Option<i64>) -> Arc<App> {
        Arc::new(App {
            name: AppName::new(name).unwrap(),
            order: 0,
            changed: 0,
            origin: Origin {
                source: "127.0.0.1:6554".into(),
                format: Format::Json,
            },
            text: Text::Read(Arc::new(Exposition::parse("a 1\nb\n".into(), Syntax::Text))),
            labels: [].into(),
            clashes: [].into(),
            duplicates: 0,
            outdated: false,
            first_seen: Timestamp::from_millis(0),
            updated: updated.map(Timestamp::from_millis),
            refreshed: Moment::default(),
            fault: None,
            withdrawn: false,
            expires: true,
        })
    }

    fn present(time: i64, moment: Moment) -> Present {
        let (time, expire_after) = (Timestamp::from_millis(time), None);
        Present {
            time,
            moment,
            expire_after,
        }
    }

    #[test]
    fn the_table_stands_in_a_frame_with_the_time_above() {
        let drawn = draw(
            &[app("foo", Some(1_653_263_467_406)), app("bar", None)],
            present(1_653_263_512_939, Moment::default()),
            &["bridge b: not reached".to_owned()],
        );
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[1].starts_with("| Current time: 2022-05-22 23:51:52.939 UTC "), "{drawn}");
        assert!(lines[4].starts_with("| | App Name | Last Update Time (UTC)"), "{drawn}");
        assert!(
            lines[6].contains("| foo      | 2022-05-22 23:51:07.406 UTC | 127.0.0.1:6554 | 1      | 6     | 1 invalid line, first 2:"),
            "{drawn}"
        );
        assert_eq!((lines.len(), lines[11]), (12, "note: bridge b: not reached"), "{drawn}");
        assert!(lines[..11].iter().all(|line| line.len() == lines[0].len()));
    }

    #[test]
    fn json_carries_the_same_facts() {
        let (_, view) = crate::store::open(Limits::default(), Mode::Raw);
        let six_minutes = view.moment(Timestamp::from_millis(400_000));
        let value = list(&[app("foo", Some(1_000))], present(400_000, six_minutes), &["n".to_owned()]);
        assert_eq!(value["notes"], json!(["n"]));
        assert_eq!(value["apps"][0]["status"], "stale");
        assert_eq!(value["apps"][0]["detail"], "stale 6m");
        assert_eq!((&value["apps"][0]["series"], &value["apps"][0]["families"]), (&json!(1), &json!(1)));
        assert_eq!(value["apps"][0]["last_update"], "1970-01-01T00:00:01.000Z");
    }
}
