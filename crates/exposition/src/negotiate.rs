//! Content negotiation: the format and content encoding of a response, by the request's headers.
//!
//! Formats are chosen by RFC 9110's rules for `Accept`: of the ranges that match a format the most specific one gives its weight, and
//! the format with the highest weight wins. If no format matches, the response is the text format 0.0.4 and not a 406, because scrapers
//! send unusual headers and read text anyway.

use crate::syntax::Syntax;

/// Escaping of names outside the legacy character set (Prometheus's `escaping` parameter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Escaping {
    /// `underscores`: each character outside the legacy character set becomes an underscore.
    Underscores,
    /// `allow-utf-8`: names are unchanged, in quotes.
    AllowUtf8,
}

impl Escaping {
    /// Parses the parameter. `dots`, `values` and unknown schemes get underscores; the response's Content-Type states it.
    fn from_parameter(value: &str) -> Self {
        if value.eq_ignore_ascii_case("allow-utf-8") {
            Self::AllowUtf8
        } else {
            Self::Underscores
        }
    }
}

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// The Prometheus text format 0.0.4, which every scraper reads.
    Text004,
    /// The Prometheus text format 1.0.0, which may hold quoted UTF-8 names.
    Text100(Escaping),
    /// OpenMetrics 1.0.0; the Content-Type names the escaping only if the request named one.
    OpenMetrics100(Option<Escaping>),
    /// OpenMetrics 2.0.0, of which there is a release candidate; the Content-Type names the escaping only if the request named one.
    OpenMetrics200(Option<Escaping>),
    /// Length-delimited protobuf messages; the Content-Type names the escaping only if the request named one.
    Protobuf(Option<Escaping>),
}

impl Format {
    /// The exact `Content-Type` of the response.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::Text100(Escaping::Underscores) => "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
            Self::Text100(Escaping::AllowUtf8) => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::OpenMetrics100(None) => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::OpenMetrics100(Some(Escaping::Underscores)) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Self::OpenMetrics100(Some(Escaping::AllowUtf8)) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Self::OpenMetrics200(None) => "application/openmetrics-text; version=2.0.0; charset=utf-8",
            Self::OpenMetrics200(Some(Escaping::Underscores)) => {
                "application/openmetrics-text; version=2.0.0; charset=utf-8; escaping=underscores"
            }
            Self::OpenMetrics200(Some(Escaping::AllowUtf8)) => {
                "application/openmetrics-text; version=2.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Self::Protobuf(None) => "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            Self::Protobuf(Some(Escaping::Underscores)) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
            }
            Self::Protobuf(Some(Escaping::AllowUtf8)) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8"
            }
        }
    }

    /// The syntax of the format; that of the text format for protobuf and OpenMetrics 2.0, which have the same names.
    #[must_use]
    pub const fn syntax(self) -> Syntax {
        match self {
            Self::Text004 | Self::Text100(_) | Self::OpenMetrics200(_) | Self::Protobuf(_) => Syntax::Text,
            Self::OpenMetrics100(_) => Syntax::OpenMetrics,
        }
    }

    /// The escaping of names outside the legacy character set.
    #[must_use]
    pub const fn escaping(self) -> Escaping {
        match self {
            Self::Text100(escaping)
            | Self::OpenMetrics100(Some(escaping))
            | Self::OpenMetrics200(Some(escaping))
            | Self::Protobuf(Some(escaping)) => escaping,
            Self::Text004 | Self::OpenMetrics100(None) | Self::OpenMetrics200(None) | Self::Protobuf(None) => Escaping::Underscores,
        }
    }
}

/// The parameter `proto` of the protobuf format.
const PROTOBUF_MESSAGE: &str = "io.prometheus.client.MetricFamily";

/// The content encoding of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// Uncompressed.
    Identity,
    /// One gzip member.
    Gzip,
}

/// Chooses the format by the values of all `Accept` headers of a request.
#[must_use]
pub fn format<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> Format {
    let mut offers = Offers::default();
    for value in accept {
        for item in split_outside_quotes(value, b',') {
            offers.consider(item);
        }
    }
    offers.best()
}

/// Chooses the content encoding by the values of all `Accept-Encoding` headers of a request.
#[must_use]
pub fn content_encoding<'a>(accept_encoding: impl IntoIterator<Item = &'a [u8]>) -> ContentEncoding {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in accept_encoding.into_iter().flat_map(|value| split_outside_quotes(value, b',')) {
        let mut fields = split_outside_quotes(item, b';');
        let name = fields.next().unwrap_or_default().trim_ascii();
        let weight = weight_of(fields);
        match name {
            n if n.eq_ignore_ascii_case(b"gzip") || n.eq_ignore_ascii_case(b"x-gzip") => gzip = Some(weight),
            n if n.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
            b"*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    // An identity that is not listed is acceptable, but a client that lists only gzip prefers gzip.
    if gzip > 0 && gzip >= identity.unwrap_or(0) {
        ContentEncoding::Gzip
    } else {
        ContentEncoding::Identity
    }
}

/// A weight in thousandths, and the specificity of the range that it came from.
type Claim = Option<(Specificity, u16)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    AnySubtype,
    MediaType,
    Version,
}

/// The weights that a request gives to the supported formats.
#[derive(Default)]
struct Offers {
    text_004: Claim,
    text_100: Claim,
    text_escaping: Option<Escaping>,
    openmetrics: Claim,
    openmetrics_escaping: Option<Escaping>,
    openmetrics_2: Claim,
    openmetrics_2_escaping: Option<Escaping>,
    protobuf: Claim,
    protobuf_escaping: Option<Escaping>,
}

impl Offers {
    fn consider(&mut self, item: &[u8]) {
        let mut fields = split_outside_quotes(item, b';');
        let media = fields.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let weight = weight_of(fields.clone());
        let version = parameter(fields.clone(), "version");
        let is_delimited = || {
            let is = |name, value: &str| parameter(fields.clone(), name).is_some_and(|given| given.eq_ignore_ascii_case(value));
            is("proto", PROTOBUF_MESSAGE) && is("encoding", "delimited")
        };
        let escaping = parameter(fields.clone(), "escaping").map(|value| Escaping::from_parameter(&value));
        match (&*media, version.as_deref()) {
            (b"*/*", _) => claim(&mut self.text_004, Specificity::Anything, weight),
            (b"text/*", _) => claim(&mut self.text_004, Specificity::AnySubtype, weight),
            (b"text/plain", None) => claim(&mut self.text_004, Specificity::MediaType, weight),
            (b"text/plain", Some("0.0.4")) => claim(&mut self.text_004, Specificity::Version, weight),
            (b"text/plain", Some("1.0.0")) => {
                claim(&mut self.text_100, Specificity::Version, weight);
                self.text_escaping = self.text_escaping.max(escaping);
            }
            // 0.0.1 is not supported: its parsers treat exemplars as errors, and their clients accept text as well.
            (b"application/openmetrics-text", None | Some("1.0.0")) => {
                let specificity = if version.is_some() {
                    Specificity::Version
                } else {
                    Specificity::MediaType
                };
                claim(&mut self.openmetrics, specificity, weight);
                self.openmetrics_escaping = self.openmetrics_escaping.max(escaping);
            }
            // Only if this very version is asked for: to a request for any version the format is 1.0.0.
            (b"application/openmetrics-text", Some("2.0.0")) => {
                claim(&mut self.openmetrics_2, Specificity::Version, weight);
                self.openmetrics_2_escaping = self.openmetrics_2_escaping.max(escaping);
            }
            // Only with both parameters: there are other messages and encodings.
            (b"application/vnd.google.protobuf", _) if is_delimited() => {
                claim(&mut self.protobuf, Specificity::Version, weight);
                self.protobuf_escaping = self.protobuf_escaping.max(escaping);
            }
            _ => {}
        }
    }

    /// The format with the highest weight; among equals the most specific, then the richest.
    fn best(&self) -> Format {
        // Prometheus 3 names the escaping with its text formats only, and reads UTF-8 names in all.
        let protobuf_escaping = self.protobuf_escaping.or(self.openmetrics_escaping).or(self.text_escaping);
        let offers = [
            (self.text_004, Format::Text004),
            (self.text_100, Format::Text100(self.text_escaping.unwrap_or(Escaping::Underscores))),
            (self.openmetrics, Format::OpenMetrics100(self.openmetrics_escaping)),
            (self.openmetrics_2, Format::OpenMetrics200(self.openmetrics_2_escaping)),
            (self.protobuf, Format::Protobuf(protobuf_escaping)),
        ];
        let acceptable = offers
            .into_iter()
            .filter_map(|(claim, format)| claim.map(|(named, weight)| (weight, named, format)));
        acceptable
            .filter(|(weight, ..)| *weight > 0)
            .max_by_key(|(weight, named, _)| (*weight, *named))
            .map_or(Format::Text004, |(.., f)| f)
    }
}

/// Keeps the most specific claim, and of equally specific ones the one with the higher weight.
fn claim(to: &mut Claim, specificity: Specificity, weight: u16) {
    *to = (*to).max(Some((specificity, weight)));
}

/// The `q` parameter in thousandths; 1000 if it is missing or malformed.
fn weight_of<'a>(fields: impl Iterator<Item = &'a [u8]>) -> u16 {
    const FULL: u16 = 1000;
    let Some(text) = parameter(fields, "q") else { return FULL };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return FULL;
    }
    match whole {
        "" if fraction.is_empty() => FULL,
        "0" | "" => format!("{fraction:0<3}").parse().unwrap_or(FULL),
        _ => FULL,
    }
}

/// The value of the parameter `name` (its case does not matter), without quotes.
fn parameter<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<String> {
    for field in fields {
        let Some(equals) = memchr::memchr(b'=', field) else { continue };
        if field[..equals].trim_ascii().eq_ignore_ascii_case(name.as_bytes()) {
            let value = field[equals + 1..].trim_ascii();
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    None
}

/// Splits a header value at a separator where it does not stand inside a quoted string.
fn split_outside_quotes(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> + Clone {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&b| {
        let splits = b == separator && !quoted;
        quoted ^= b == b'"' && !escaped;
        escaped = quoted && b == b'\\' && !escaped;
        splits
    })
}

#[cfg(test)]
mod tests;
