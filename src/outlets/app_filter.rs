//! The selection and the order of the apps in a listing.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer};

use super::table::Present;
use crate::store::{App, Status};

/// The state of an app in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Something is wrong with it.
    Fault,
    /// No update has arrived for long.
    Stale,
    /// No problem.
    Ok,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Fault, Self::Stale, Self::Ok];

    pub(super) const fn of(status: &Status) -> Self {
        match status {
            Status::Ok | Status::Noted(_) => Self::Ok,
            Status::Stale(..) => Self::Stale,
            Status::Fault(_) => Self::Fault,
        }
    }

    /// The word, for machines and as a class of style.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Stale => "stale",
            Self::Ok => "ok",
        }
    }
}

/// The order of a listing. Equal ones are in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// Faults first, then stale ones.
    State,
    Name,
    /// The oldest update first.
    Age,
    /// The most series first.
    Series,
    /// The longest text first.
    Bytes,
    Source,
}

impl Order {
    pub(super) const ALL: [(Self, &'static str); 6] = [
        (Self::State, "state"),
        (Self::Name, "name"),
        (Self::Age, "age"),
        (Self::Series, "series"),
        (Self::Bytes, "bytes"),
        (Self::Source, "source"),
    ];
}

/// The query of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct AppFilter {
    /// Only apps with this in their name, source or state, in upper or lower case.
    pub(super) q: Option<String>,
    /// Only apps in this state.
    #[serde(default, deserialize_with = "none_if_empty")]
    pub(super) state: Option<State>,
    /// The order.
    #[serde(default, deserialize_with = "none_if_empty")]
    pub(super) sort: Option<Order>,
}

/// Reads a parameter that a form sends without a value where nothing was chosen.
pub(super) fn none_if_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    match String::deserialize(from)? {
        text if text.is_empty() => Ok(None),
        text => T::deserialize(text.into_deserializer()).map(Some),
    }
}

/// An app and its state.
pub(super) type Listed = (Arc<App>, Status);

impl AppFilter {
    /// Returns true if it names all apps in the order of the listing.
    pub(super) fn is_empty(&self) -> bool {
        self.q.as_ref().is_none_or(String::is_empty) && self.state.is_none() && self.sort.is_none()
    }

    /// The apps that it names, in this order unless it names another one.
    pub(super) fn narrow(&self, mut listed: Vec<Listed>, order: Order) -> Vec<Listed> {
        let wanted = self.q.as_deref().unwrap_or_default().to_lowercase();
        let contains = |text: &str| text.to_lowercase().contains(&wanted);
        listed.retain(|(app, status)| {
            self.state.is_none_or(|state| state == State::of(status))
                && (wanted.is_empty() || contains(app.name.as_str()) || contains(&app.origin.source) || contains(&status.to_string()))
        });
        listed.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        match self.sort.unwrap_or(order) {
            Order::Name => {}
            Order::State => listed.sort_by_key(|(_, status)| State::of(status)),
            Order::Age => listed.sort_by_key(|(app, _)| app.refreshed),
            Order::Series => listed.sort_by_key(|(app, _)| Reverse(app.series())),
            Order::Bytes => listed.sort_by_key(|(app, _)| Reverse(app.text.body().len())),
            Order::Source => listed.sort_by(|(a, _), (b, _)| a.origin.source.cmp(&b.origin.source)),
        }
        listed
    }
}

/// Apps with their states.
pub(super) fn with_states(apps: Vec<Arc<App>>, present: Present) -> Vec<Listed> {
    let state = |app: Arc<App>| {
        let status = present.status(&app);
        (app, status)
    };
    apps.into_iter().map(state).collect()
}

/// The apps of a listing in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AppCounts {
    pub(super) ok: usize,
    pub(super) stale: usize,
    pub(super) fault: usize,
    /// Series of all of them; `None` where texts are not read.
    pub(super) series: Option<u64>,
    pub(super) bytes: u64,
}

impl AppCounts {
    pub(super) fn of<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> Self {
        let mut counts = Self {
            series: Some(0),
            ..Self::default()
        };
        for (app, status) in listed {
            match State::of(status) {
                State::Ok => counts.ok += 1,
                State::Stale => counts.stale += 1,
                State::Fault => counts.fault += 1,
            }
            counts.bytes += app.text.body().len() as u64;
            counts.series = counts.series.zip(app.series()).map(|(sum, series)| sum + series);
        }
        counts
    }

    pub(super) const fn apps(&self) -> usize {
        self.ok + self.stale + self.fault
    }
}

#[cfg(test)]
mod tests;
