//! Responses to scrapes and their delivery outcomes, at both ends.

mod collection_error;
mod receipt;
mod stream;
mod tracker;
mod turns;

pub use receipt::DeliveryReceipt;

pub(crate) use collection_error::error_text;
pub(super) use collection_error::{CollectionError, failure_text};
pub(super) use receipt::{PendingReceipts, ScrapeIds, UnreportedDeliveries};
pub(super) use stream::{LinkStream, ServedStream};
pub(super) use tracker::{DELIVERED, DeliveryTracker, SCRAPE, StreamDelivery};
pub(super) use turns::LinkTurns;
