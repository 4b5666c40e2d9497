//! What follows from replies that a program posts?

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::server::body::{json_bytes, json_of};
use crate::server::guard::Access;
use crate::server::idempotency::{Request, Turn};
use crate::server::messages::{Messages, Read, Results};
use crate::server::problem::Problem;
use crate::time::Timestamp;

/// Takes replies: whoever asks to be left alone is recorded, and the answer says what to confirm.
///
/// The answer comes when all is durable. A confirmation whose delivery is `caller` is to be sent by
/// the caller, at once and once.
#[utoipa::path(
    post, path = "/v1/messages", tag = "record", security(("key" = ["add"])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The same key with the same body is taken once and answered alike")),
    request_body = Messages,
    responses(
        (status = 200, body = Results, description = "What became of the messages, one by one"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn messages(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take(&app, access, &headers, body).await.unwrap_or_else(Problem::into_response)
}

async fn take(
    app: &Arc<App>,
    access: Access,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let received = json_bytes(app, headers, body).await?;
    let request = Request::of(headers, &access.id, "/v1/messages", &received.bytes)?;
    let pending = match request.as_ref().map(|it| app.answered.begin(it)).transpose()? {
        Some(Turn::Known(answer)) => return Ok(json_of(answer)),
        Some(Turn::New(pending)) => Some(pending),
        None => None,
    };
    let folding = app.service.view().folding();
    let now = Timestamp::now();
    let is_small = received.is_small();
    let read = move || Read::parse(&received.bytes, folding, now, None);
    let read = match is_small {
        true => read()?,
        false => app.ask_apart(read).await?,
    };
    let read = app.with_campaigns_of(read).await?;
    let answer = read.take(app, &access.operator, |_| true).await?;
    if let Some(pending) = pending {
        pending.answered(&answer);
    }
    Ok(json_of(answer))
}
