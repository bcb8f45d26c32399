//! The places in a body of parts of its text, for faults.

use super::names::{Head, Names, NamesMemory};
use super::{Decoder, MAX_BYTES, Scratch};
use crate::protobuf::error::quoted;
use crate::protobuf::text::slice;
use std::fmt;

/// The place of a part of a text in the body that it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyPlace {
    /// The metric family, from 1.
    family: u32,
    name: String,
    /// The metric of the family, from 1; `None` for its name, help, type or unit.
    metric: Option<u32>,
    /// The byte offset in the body, from 0.
    offset: usize,
}

impl BodyPlace {
    /// The byte offset in the body, from 0.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for BodyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protobuf metric family {} \"{}\", ", self.family, self.name.escape_debug())?;
        if let Some(metric) = self.metric {
            write!(f, "metric {metric}, ")?;
        }
        write!(f, "byte {}", self.offset)
    }
}

/// The places in a valid body of byte offsets of its text. Those of its end have none.
pub(crate) fn places(body: &[u8], offsets: &[u32]) -> Vec<Option<BodyPlace>> {
    let mut wanted: Vec<(u32, usize)> = offsets.iter().copied().zip(0..).collect();
    wanted.sort_unstable_by(|one, other| other.cmp(one));
    let mut places = vec![None; offsets.len()];
    let Ok(names) = Names::of(body, NamesMemory::default()) else {
        return places;
    };
    let mut decoder = Decoder::new(body, &names, MAX_BYTES, Scratch::default());
    decoder.index.give_up();
    decoder.wanted = wanted;
    // All of it was decoded before.
    let _ = decoder.families();
    for (at, place) in decoder.found {
        places[at] = Some(place);
    }
    places
}

impl Decoder<'_> {
    /// Keeps this place for the wanted offsets of the text that was written last.
    pub(super) fn find_places(&mut self, head: &Head, metric: Option<u32>, offset: usize) {
        while let Some((_, number)) = self.wanted.pop_if(|(wanted, _)| (*wanted as usize) < self.out.len()) {
            let place = BodyPlace {
                family: self.family,
                name: quoted(slice(self.body, &head.name)),
                metric,
                offset,
            };
            self.found.push((number, place));
        }
    }
}
