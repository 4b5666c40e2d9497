//! Does the server live, is it ready, how does it fare, and what can it do?

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, Document};
use crate::server::body::{json, json_of};
use crate::server::problem::{Kind, Problem};

/// The server lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the server lives. Needs no key.
#[utoipa::path(
    get, path = "/healthz", tag = "service",
    responses((status = 200, body = Alive, description = "It lives"))
)]
pub(super) async fn healthz() -> Response {
    json(&Alive { status: "ok" })
}

/// Whether events can be recorded and questions answered. Needs no key.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, body = Alive, description = "It is ready"),
        (status = 503, body = Problem, description = "It is not", content_type = "application/problem+json")
    )
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Response {
    if !app.service.writes() {
        let what = "nothing is recorded any more: start the server again";
        return Problem::new(Kind::StoreUnavailable, what).into_response();
    }
    if app.service.view().len().is_err() {
        return Problem::new(Kind::StoreUnavailable, "the store can't be read").into_response();
    }
    json(&Alive { status: "ready" })
}

/// The server's figures, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "service", security(("key" = ["admin"])),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "The figures"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (captured, confirmed) = (&app.captured, &app.deliverer.counts);
    let text = app.metrics.text(&app.service, app.open.count(), captured, confirmed);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", security(("key" = [])),
    responses(
        (status = 200, body = Object, description = "The description, OpenAPI 3.1"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn openapi(Extension(document): Extension<Document>) -> Response {
    json_of(document.0.to_string())
}
