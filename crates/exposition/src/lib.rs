//! The Prometheus text format and OpenMetrics: parse, check, merge, render and negotiate expositions.
//!
//! - **Parse**: [`Exposition::parse`] reads a page once and never fails. It keeps the page and a small index of offsets into it; lines that
//!   cannot be used are left out and listed as [`Fault`]s with their positions.
//! - **Decode**: [`protobuf::decode`] turns a protobuf body into such a page, and into records of what a page cannot carry: native
//!   histograms. [`Exposition::with_records`] joins both, and a protobuf response has them as they came.
//! - **Check**: [`check()`] reports all that Prometheus, promtool or strict OpenMetrics parsers refuse or warn about.
//! - **Merge**: [`catalog`] keeps the pages of many applications and merges their families: one header a family, a disambiguating label
//!   for equal series, contradictions resolved and reported. After an update only what changed is rendered again.
//! - **Render**: a [`catalog::Plan`] renders the text format 0.0.4, 1.0.0, OpenMetrics 1.0.0 or protobuf from pages of either syntax.
//! - **Translate**: [`openmetrics2::parse`] reads OpenMetrics 2.0, with composite values, and an [`openmetrics2::Writer`] makes it from a protobuf
//!   response, piece by piece.
//! - **Negotiate**: [`negotiate`] chooses the format by a request's `Accept` headers, and the encoding by `Accept-Encoding`.
//! - **Compress**: [`gzip`] joins parts that were compressed separately into one gzip member, so that parts that stay are compressed once.
//!
//! The crate is pure: no I/O, no clock, no async runtime.
//!
//! # Pages and their faults
//!
//! ```
//! use exporter_proxy_exposition::{Exposition, MetricType, Syntax};
//!
//! let page = "# TYPE jobs_total counter\njobs_total{queue=\"mail\"} 3\njobs_total{queue=} 1\nup 1\n";
//! let parsed = Exposition::parse(page.into(), Syntax::Text);
//!
//! assert_eq!(parsed.series(), 2);
//! let fault = parsed.faults().first().expect("the third line");
//! assert_eq!((fault.line, fault.column), (3, 18));
//!
//! let jobs = &parsed.families()[0];
//! assert_eq!((parsed.text(jobs.name), jobs.kind), (&b"jobs_total"[..], MetricType::Counter));
//! let sample = parsed.samples(jobs).next().expect("the second line");
//! assert_eq!(sample.value, b"3");
//! assert_eq!(sample.labels.clone().next().expect("one label").value, b"mail");
//! ```
//!
//! # Checking what an application pushes
//!
//! ```
//! use exporter_proxy_exposition::check;
//!
//! let checked = check(b"# TYPE temperature gauge\ntemperature{room=\"1\"} warm\n", None);
//! assert_eq!((checked.errors, checked.warnings), (1, 0));
//! for problem in &checked.problems {
//!     println!("page.txt:{problem}");
//! }
//! ```
//!
//! # Several applications in one response
//!
//! ```
//! use std::sync::Arc;
//!
//! use exporter_proxy_exposition::catalog::{Catalog, Rules, Selection, Update};
//! use exporter_proxy_exposition::gzip::{self, Compressor};
//! use exporter_proxy_exposition::negotiate::{self, ContentEncoding};
//! use exporter_proxy_exposition::{AppName, Exposition, Syntax};
//!
//! let mut catalog = Catalog::new(Rules::default());
//! for (name, page) in [("shop", "# TYPE up gauge\nup 1\n"), ("mail", "# TYPE up gauge\nup 1\nqueue 7\n")] {
//!     let page = Arc::new(Exposition::parse(page.into(), Syntax::Text));
//!     let update = Update::new(catalog.rules(), &AppName::new(name)?, &Arc::default(), page);
//!     let outcome = catalog.update(update);
//!     assert!(outcome.conflicts.is_empty());
//! }
//!
//! // As a request asks for it. The segments are kept for the next response; the tail holds the end mark of OpenMetrics.
//! let format = negotiate::format([&b"application/openmetrics-text;version=1.0.0,text/plain;q=0.5"[..]]);
//! let response = catalog.plan(format.into(), Selection::Everything).render();
//! let chunks: Vec<_> = response.chunks().iter().cloned().chain(response.tail(None)).collect();
//! let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.text().concat()).collect();
//! assert_eq!(
//!     String::from_utf8_lossy(&text),
//!     "# TYPE queue unknown\nqueue 7\n# TYPE up gauge\nup{app=\"shop\"} 1\nup{app=\"mail\"} 1\n# EOF\n"
//! );
//!
//! // Each chunk is compressed once, and joined into the responses that contain it.
//! assert_eq!(negotiate::content_encoding([&b"gzip"[..]]), ContentEncoding::Gzip);
//! let mut compressor = Compressor::new();
//! chunks.iter().for_each(|chunk| chunk.compress_once(&mut compressor));
//! let pieces: Vec<_> = chunks.iter().flat_map(|chunk| chunk.pieces()).collect();
//! let body: Vec<u8> = gzip::join(&pieces).iter().flat_map(|row| row.concat()).collect();
//! assert_eq!(body[..2], [0x1F, 0x8B]);
//! # Ok::<(), exporter_proxy_exposition::AppNameError>(())
//! ```

// Modules may import those that their last column names, all of which stand above them.
//
// | module | purpose | may import |
// | --- | --- | --- |
// | `app_name` | names of applications, labels from their configuration | none |
// | `escape` | names outside the legacy character set | none |
// | `go_float` | floats as Go writes them | none |
// | `hash` | hashes of names, labels and series | none |
// | `memory` | counter of held bytes | none |
// | `span` | ranges of a text | none |
// | `syntax` | the two syntaxes | none |
// | `family` | families, types, suffixes, flags | `span`, `syntax` |
// | `negotiate` | format and encoding by a request's headers | `syntax` |
// | `timestamps` | the units of timestamps | `syntax` |
// | `reason` | reasons of faults, and their texts | `family`, `span` |
// | `byte_scan` | scanning of bytes, word by word | `reason` |
// | `gzip` | joined gzip members | `memory` |
// | `sample` | sample lines and their parts | `byte_scan`, `family`, `hash`, `span`, `syntax`, `timestamps` |
// | `identity` | identity of samples within a family | `escape`, `family`, `hash`, `sample` |
// | `parse` | the parser | `byte_scan`, `escape`, `family`, `hash`, `reason`, `sample`, `span`, `syntax`, `timestamps` |
// | `protobuf` | the protobuf format to text, index and records | `byte_scan`, `escape`, `family`, `hash`, `sample`, `span`, `syntax` |
// | `check` | all problems of a text | `family`, `parse`, `reason`, `syntax` |
// | `fault` | faults of a text | `parse`, `protobuf`, `reason`, `syntax` |
// | `index` | a parsed text | `family`, `fault`, `identity`, `memory`, `parse`, `protobuf`, `sample`, `span`, `syntax`, `timestamps` |
// | `openmetrics2` | OpenMetrics 2.0, out and in | `escape`, `family`, `fault`, `hash`, `index`, `parse`, `protobuf`, `sample`, `syntax`, `timestamps` |
// | `render` | families to text and messages | `escape`, `family`, `gzip`, `hash`, `identity`, `index`, `memory`, `negotiate`, `parse`, `protobuf`, `sample`, `syntax`, `timestamps` |
// | `catalog` | the families of all applications, merged | all above |
// | `group` | texts with the labels of a group | all above |

mod app_name;
mod byte_scan;
pub mod catalog;
mod check;
mod escape;
mod family;
mod fault;
mod go_float;
pub mod group;
pub mod gzip;
mod hash;
mod identity;
mod index;
mod memory;
pub mod negotiate;
pub mod openmetrics2;
mod parse;
pub mod protobuf;
mod reason;
pub mod render;
mod sample;
mod span;
mod syntax;
mod timestamps;

pub use app_name::{AppName, AppNameError, LabelPair, MAX_APP_NAME_BYTES};
pub use check::{Checked, MAX_PROBLEMS_KEPT, Problem, check, detect};
pub use family::{Family, FamilyFlags, MetricType, Suffix};
pub use fault::{Fault, Faults, MAX_FAULTS_KEPT};
pub use go_float::go_float;
pub use index::{EarlyTimes, Exposition};
pub use memory::MemoryMeter;
pub use reason::Severity;
pub use sample::{Exemplar, Label, Labels, MAX_EXEMPLAR_CHARS, Runs, Sample, SamplePosition, Samples};
pub use span::Span;
pub use syntax::Syntax;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
