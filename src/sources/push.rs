//! Pushing and forgetting over HTTP: `PUT` and `POST /apps/NAME/metrics`, `DELETE /apps/NAME`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::routing::{delete, put};
use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};

use crate::http::{Access, Body, BodyLimit, Connection, read_body, reply};
use crate::model::{AppName, Clock, Format, Origin, Syntax, Update};
use crate::store::{Inlet, Refused};
use crate::telemetry::{Counter, Rejection, Telemetry};

/// The source of what is pushed over HTTP, as `/apps` and the `source` label name it.
const SOURCE: &str = "http";

/// What pushing needs.
#[derive(Debug)]
pub struct Pushing {
    inlet: Inlet,
    telemetry: Arc<Telemetry>,
    accepted: Arc<Counter>,
    origin: Origin,
    clock: Clock,
    access: Access,
    max_bytes: u64,
}

