//! The families of a response: the messages of each, in the order in which their first ones come.
//!
//! Protobuf may have several messages of one name, if apps contradict each other about its type. Here a family has one type, so these go out
//! untyped, a family for each sample name, as they do in OpenMetrics 1.0.

use std::collections::HashMap;
use std::ops::Range;

use super::message::FamilyMessage;
use crate::family::{MetricType, Suffix};
use crate::protobuf::MessageType;

/// The most bytes of the messages of a classic gauge histogram that came as text. They are read and written at once, on a thread that serves
/// others; a longer one goes out as gauges, as in the other formats.
pub(super) const MAX_GATHERED: u64 = 256 << 10;

/// The most rounds of taking names apart: by the names of its samples a family may contradict another one, which is taken apart as well, as with `a`,
/// `a_count` and `a_count_count`. Families that were not made for it have no third round.
const MAX_ROUNDS: usize = 8;

/// The families of a response.
#[derive(Debug)]
pub(super) struct Plan {
    /// The parts of each, in their order.
    pub(super) parts: Vec<FamilyPart>,
    /// The parts of each family.
    pub(super) families: Vec<Range<usize>>,
}

/// Samples of a family that come from one message.
#[derive(Debug, Clone)]
pub(super) struct FamilyPart {
    /// The name of the family.
    pub(super) name: Box<[u8]>,
    /// The number of the message.
    pub(super) message: usize,
    pub(super) contents: Contents,
}

/// The samples of a message that a part has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// All of it, with this type.
    Typed(MetricType),
    /// Samples with this suffix, untyped.
    Untyped(Suffix),
    /// A classic gauge histogram with messages of gauges for buckets, counts and sums: the numbers of the latter two.
    Gathered { counts: Option<usize>, sums: Option<usize> },
}

impl Plan {
    pub(super) fn new(messages: &[FamilyMessage]) -> Self {
        let mut parts = gathered(messages);
        let mut inside: Vec<usize> = parts.iter().flat_map(FamilyPart::messages).collect();
        inside.sort_unstable();
        let others = (0..).zip(messages).filter(|(number, _)| inside.binary_search(number).is_err());
        parts.extend(others.map(|(number, message)| FamilyPart {
            name: message.name.clone(),
            message: number,
            contents: Contents::Typed(message.stated()),
        }));
        for round in 0.. {
            parts.sort_by(|one, other| (&one.name, one.message).cmp(&(&other.name, other.message)));
            let mut contradicting: Vec<usize> = parts
                .chunk_by(|one, other| one.name == other.name)
                .filter(|family| is_contradiction(family))
                .flatten()
                .filter(|part| matches!(part.contents, Contents::Typed(_)))
                .map(|part| part.message)
                .collect();
            if contradicting.is_empty() {
                break;
            }
            contradicting.sort_unstable();
            let is_typed = |part: &FamilyPart| matches!(part.contents, Contents::Typed(_));
            parts.retain(|part| !is_typed(part) || contradicting.binary_search(&part.message).is_err());
            // Families that still contradict each other are left out: they would cost the scraper all of its scrape.
            if round < MAX_ROUNDS {
                parts.extend(contradicting.into_iter().flat_map(|number| sample_names(number, &messages[number])));
            }
        }
        let mut families = Vec::new();
        let mut start = 0;
        for family in parts.chunk_by(|one, other| one.name == other.name) {
            families.push(start..start + family.len());
            start += family.len();
        }
        families.sort_by_key(|family| parts[family.start].message);
        parts.shrink_to_fit();
        families.shrink_to_fit();
        Self { parts, families }
    }
}

impl FamilyPart {
    /// The numbers of its messages.
    fn messages(&self) -> impl Iterator<Item = usize> + use<> {
        let more = match self.contents {
            Contents::Gathered { counts, sums } => [counts, sums],
            Contents::Typed(_) | Contents::Untyped(_) => [None, None],
        };
        std::iter::once(self.message).chain(more.into_iter().flatten())
    }
}

/// The classic gauge histograms of OpenMetrics text, which messages show as gauges.
fn gathered(messages: &[FamilyMessage]) -> Vec<FamilyPart> {
    let is_gathered = |message: &FamilyMessage| message.kind == MessageType::Gauge && message.family == MetricType::GaugeHistogram;
    if !messages.iter().any(is_gathered) {
        return Vec::new();
    }
    let mut numbers: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (number, message) in messages.iter().enumerate() {
        numbers.entry(&*message.name).or_default().push(number);
    }
    let find = |base: &[u8], suffix: Suffix| numbers.get(&*[base, suffix.as_str().as_bytes()].concat()).map(Vec::as_slice);
    let mut parts = Vec::new();
    for (number, message) in messages.iter().enumerate().filter(|(_, message)| is_gathered(message)) {
        let Some(base) = message.name.strip_suffix(b"_bucket") else {
            continue;
        };
        let of = |suffix| find(base, suffix).unwrap_or_default();
        let all = [of(Suffix::Bucket), of(Suffix::GCount), of(Suffix::GSum)];
        let bytes: u64 = all
            .iter()
            .flat_map(|numbers| numbers.iter())
            .map(|number| messages[*number].fields.len)
            .sum();
        if let [[_], [] | [_], [] | [_]] = all
            && bytes <= MAX_GATHERED
        {
            parts.push(FamilyPart {
                name: base.into(),
                message: number,
                contents: Contents::Gathered {
                    counts: of(Suffix::GCount).first().copied(),
                    sums: of(Suffix::GSum).first().copied(),
                },
            });
        }
    }
    parts
}

/// True if parts of one name cannot be one family.
fn is_contradiction(family: &[FamilyPart]) -> bool {
    family.windows(2).any(|pair| match (pair[0].contents, pair[1].contents) {
        (Contents::Typed(one), Contents::Typed(other)) => one != other,
        (Contents::Untyped(_), Contents::Untyped(_)) => false,
        _ => true,
    })
}

/// The samples of a message as an untyped family for each of their names.
fn sample_names(number: usize, message: &FamilyMessage) -> impl Iterator<Item = FamilyPart> {
    use Suffix::{Bare, Bucket, Count, Created, GCount, GSum, Sum};
    let suffixes: &[Suffix] = match message.kind {
        MessageType::Counter => &[Bare, Created],
        MessageType::Gauge | MessageType::Untyped => &[Bare],
        MessageType::Summary => &[Bare, Count, Sum, Created],
        MessageType::Histogram => &[Bucket, Count, Sum, Created],
        MessageType::GaugeHistogram => &[Bucket, GCount, GSum],
    };
    suffixes.iter().map(move |&suffix| {
        let base = match (suffix, message.kind) {
            (Created, MessageType::Counter) => message.name.strip_suffix(b"_total").unwrap_or(&message.name),
            _ => &message.name,
        };
        FamilyPart {
            name: [base, suffix.as_str().as_bytes()].concat().into(),
            message: number,
            contents: Contents::Untyped(suffix),
        }
    })
}
