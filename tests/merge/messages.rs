//! Protobuf bodies as Prometheus reads them, once more and slowly, with nothing of the code that wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use exporter_proxy::exposition::Exposition;
use exporter_proxy::exposition::catalog::render_single;

use crate::expected::Seen;
use crate::mixes::Dice;
use crate::{PROTOBUF, body_of};

/// A field: its number and its value.
type Field<'a> = (u64, Content<'a>);

#[derive(Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for at in 0.. {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            break;
        }
    }
    number
}

pub(crate) fn delimited<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(varint(bytes)).expect("a length");
    let (inside, rest) = bytes.split_at(length);
    *bytes = rest;
    inside
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let content = match tag & 7 {
            0 => Content::Number(varint(&mut bytes)),
            1 => {
                let (double, rest) = bytes.split_at(8);
                bytes = rest;
                Content::Double(f64::from_le_bytes(double.try_into().expect("eight bytes")))
            }
            2 => Content::Bytes(delimited(&mut bytes)),
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, content));
    }
    found
}

fn all<'a>(of: &[Field<'a>], number: u64) -> Vec<&'a [u8]> {
    let inside = |(field, content): &Field<'a>| match content {
        Content::Bytes(bytes) if *field == number => Some(*bytes),
        _ => None,
    };
    of.iter().filter_map(inside).collect()
}

fn double(of: &[Field<'_>], number: u64) -> f64 {
    let value = |(field, content): &Field<'_>| match content {
        Content::Double(double) if *field == number => Some(*double),
        _ => None,
    };
    of.iter().find_map(value).unwrap_or(0.0)
}

fn number(of: &[Field<'_>], number: u64) -> Option<u64> {
    let value = |(field, content): &Field<'_>| match content {
        Content::Number(value) if *field == number => Some(*value),
        _ => None,
    };
    of.iter().find_map(value)
}

/// Text as the parser of expositions has it.
fn escaped(text: &[u8]) -> String {
    let text = std::str::from_utf8(text).expect("UTF-8");
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number in one spelling.
pub(crate) fn spelt(value: f64) -> String {
    format!("{value}")
}

/// A message, as far as it is compared.
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) samples: Vec<Seen>,
}

/// All messages of a body.
pub(crate) fn messages(mut body: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let family = fields(delimited(&mut body));
        let name = escaped(all(&family, 1)[0]);
        let kind = number(&family, 3).expect("each message states its type");
        let mut samples = Vec::new();
        for metric in all(&family, 4) {
            read(&name, kind, &fields(metric), &mut samples);
        }
        assert!(!samples.is_empty(), "no message is empty");
        found.push(Message { name, kind, samples });
    }
    found
}

/// The samples that Prometheus makes of a metric, and its creation time as OpenMetrics has it.
fn read(name: &str, kind: u64, metric: &[Field<'_>], samples: &mut Vec<Seen>) {
    let (mut labels, mut names) = (BTreeMap::new(), BTreeSet::new());
    for label in all(metric, 1) {
        let label = fields(label);
        let (name_of, value) = (escaped(all(&label, 1)[0]), escaped(all(&label, 2)[0]));
        assert!(names.insert(name_of.clone()), "a label twice in {name}");
        // An empty one is no label for Prometheus.
        if !value.is_empty() {
            labels.insert(name_of, value);
        }
    }
    let time = number(metric, 6).map(u64::cast_signed);
    let mut push = |suffix: &str, bound: Option<(&str, f64)>, value: f64| {
        let mut labels = labels.clone();
        if let Some((bound, value)) = bound {
            assert!(labels.insert(bound.to_owned(), spelt(value)).is_none(), "{bound} twice in {name}");
        }
        samples.push((format!("{name}{suffix}"), labels, spelt(value), time));
    };
    let inside = |field: u64| fields(all(metric, field).first().expect("the field of its type"));
    let created = match kind {
        0 => {
            let counter = inside(3);
            push("", None, double(&counter, 1));
            all(&counter, 3).first().copied()
        }
        1 => {
            push("", None, double(&inside(2), 1));
            None
        }
        2 => {
            let summary = inside(4);
            for quantile in all(&summary, 3).into_iter().map(fields) {
                push("", Some(("quantile", double(&quantile, 1))), double(&quantile, 2));
            }
            push("_count", None, number(&summary, 1).unwrap_or(0) as f64);
            push("_sum", None, double(&summary, 2));
            all(&summary, 4).first().copied()
        }
        3 => {
            push("", None, double(&inside(5), 1));
            None
        }
        4 => {
            let histogram = inside(7);
            let count = |of: &[Field<'_>], whole, float| match double(of, float) {
                float if float > 0.0 => float,
                _ => number(of, whole).unwrap_or(0) as f64,
            };
            let total = count(&histogram, 1, 4);
            let mut has_last = false;
            for bucket in all(&histogram, 3).into_iter().map(fields) {
                has_last |= double(&bucket, 2) == f64::INFINITY;
                push("_bucket", Some(("le", double(&bucket, 2))), count(&bucket, 1, 4));
            }
            if !has_last {
                push("_bucket", Some(("le", f64::INFINITY)), total);
            }
            push("_count", None, total);
            push("_sum", None, double(&histogram, 2));
            all(&histogram, 15).first().copied()
        }
        other => panic!("type {other} from texts"),
    };
    if let Some(created) = created.map(fields) {
        let seconds = number(&created, 1).unwrap_or(0).cast_signed() as f64;
        let nanos = number(&created, 2).unwrap_or(0) as f64;
        let base = name.strip_suffix("_total").filter(|_| kind == 0).unwrap_or(name);
        samples.push((format!("{base}_created"), labels, spelt(seconds + nanos / 1e9), time));
    }
}

/// A text as protobuf, most of its histograms with native buckets beside the classic ones: all observations in the zero bucket. `None` for one that gives a
/// name several types: these are compared elsewhere.
pub(crate) fn with_natives(text: &Exposition, dice: &mut Dice) -> Option<Vec<u8>> {
    let body = body_of(&render_single(&Arc::new(text.clone()), PROTOBUF));
    let mut names = BTreeSet::new();
    if !messages(&body).into_iter().all(|message| names.insert(message.name)) {
        return None;
    }
    let (mut rest, mut out) = (&body[..], Vec::new());
    while !rest.is_empty() {
        let mut add = |histogram: &[u8]| {
            if dice.chance(70) { zero_bucket(histogram) } else { Vec::new() }
        };
        let family = appended(delimited(&mut rest), &[4, 7], &mut add);
        put_varint(family.len() as u64, &mut out);
        out.extend(family);
    }
    Some(out)
}

/// The fields of a native histogram with the count of a classic one.
fn zero_bucket(histogram: &[u8]) -> Vec<u8> {
    let fields = fields(histogram);
    // The schema 3, and the threshold.
    let mut out = vec![5 << 3, 6, 6 << 3 | 1];
    out.extend(1e-9_f64.to_le_bytes());
    match double(&fields, 4) {
        float if float > 0.0 => {
            out.push(8 << 3 | 1);
            out.extend(float.to_le_bytes());
        }
        _ => {
            out.push(7 << 3);
            put_varint(number(&fields, 1).unwrap_or(0), &mut out);
        }
    }
    out
}

/// A message with bytes added to each of the messages at a path of fields.
fn appended(mut message: &[u8], path: &[u64], add: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    while !message.is_empty() {
        let before = message;
        let tag = varint(&mut message);
        match tag & 7 {
            0 => {
                varint(&mut message);
            }
            1 => message = &message[8..],
            _ => {
                let inside = delimited(&mut message);
                if tag >> 3 == path[0] {
                    let inside = match &path[1..] {
                        [] => [inside, &add(inside)[..]].concat(),
                        rest => appended(inside, rest, add),
                    };
                    put_varint(tag, &mut out);
                    put_varint(inside.len() as u64, &mut out);
                    out.extend(inside);
                    continue;
                }
            }
        }
        out.extend_from_slice(&before[..before.len() - message.len()]);
    }
    out
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}
