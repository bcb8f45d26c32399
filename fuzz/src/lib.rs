//! Checks for any input, one module per target. The fuzzers run them on generated inputs, `tests/repo/corpus.rs` on the committed corpora.
//! A new target needs a module here, a line in [`TARGETS`], a binary in `fuzz_targets/` and a directory in `corpus/`.

pub mod accept;
pub mod authorization;
pub mod bitswap;
pub mod capnp_stream;
pub mod dht_message;
pub mod event_form;
pub mod exposition;
mod feeding;
pub mod foreign;
pub mod forwarded_for;
pub mod hyperdht_alias;
pub mod hyperdht_frames;
pub mod hyperdht_metrics;
pub mod json_stream;
pub mod kubo;
pub mod link;
pub mod monitoring_stream;
pub mod openmetrics2;
pub mod protobuf;
pub mod pushgateway;
pub mod replicated_app;
pub mod response_head;
pub mod shared_claim;
pub mod shared_event;
pub mod store_log;
pub mod targets_file;
pub mod udx;
pub mod udx_stream;
pub mod update;
pub mod web_config;

/// A check, which panics if it fails.
pub type Check = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Check)] = &[
    ("accept", accept::check),
    ("authorization", authorization::check),
    ("bitswap", bitswap::check),
    ("capnp_stream", capnp_stream::check),
    ("dht_message", dht_message::check),
    ("event_form", event_form::check),
    ("exposition", exposition::check),
    ("foreign", foreign::check),
    ("forwarded_for", forwarded_for::check),
    ("hyperdht_alias", hyperdht_alias::check),
    ("hyperdht_frames", hyperdht_frames::check),
    ("hyperdht_metrics", hyperdht_metrics::check),
    ("json_stream", json_stream::check),
    ("kubo", kubo::check),
    ("link", link::check),
    ("monitoring_stream", monitoring_stream::check),
    ("openmetrics2", openmetrics2::check),
    ("protobuf", protobuf::check),
    ("pushgateway", pushgateway::check),
    ("replicated_app", replicated_app::check),
    ("response_head", response_head::check),
    ("shared_claim", shared_claim::check),
    ("shared_event", shared_event::check),
    ("store_log", store_log::check),
    ("targets_file", targets_file::check),
    ("udx", udx::check),
    ("udx_stream", udx_stream::check),
    ("update", update::check),
    ("web_config", web_config::check),
];
