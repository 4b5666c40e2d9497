//! How does one person stand, and what happened?

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::check::{context, judge, region};
use super::event::EventView;
use crate::number::{Address, BusinessId, NumberReader, SubscriberKey};
use crate::query::{Stale, explain};
use crate::server::body::{from_query, json};
use crate::server::problem::{Kind, Problem};
use crate::store::{Moment, Reader};
use crate::time::{Timestamp, Zone};

/// When, and for which message.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// As the store knew it at this moment: RFC 3339, or a date in UTC. Now if not given.
    at: Option<String>,
    /// The region of a number without calling code, such as MX.
    region: Option<String>,
    /// marketing (if not given), utility or authentication.
    #[param(schema_with = super::words::category)]
    category: Option<String>,
    /// The channel of the message.
    channel: Option<String>,
    /// Its sender.
    sender: Option<String>,
    /// The brand behind the sender.
    brand: Option<String>,
}

/// How a person stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Standing {
    /// The number as it was read, or the id.
    #[schema(example = "+525512345678")]
    number: String,
    /// The moment that was asked for.
    at: Option<String>,
    /// The newest event that was known.
    sequence: u64,
    /// Whether he is opted out of anything.
    opted_out: bool,
    /// Whether he gets the message: allowed, exempt or suppressed.
    #[schema(schema_with = super::words::decision)]
    verdict: &'static str,
    /// The rule that decided.
    rule: Option<String>,
    /// Since when.
    since: Option<String>,
    /// The outside lists that he is on.
    layers: Vec<String>,
    /// All that happened, oldest first.
    events: Vec<EventView>,
}

/// How one person stands, now or at an earlier moment, and all events behind it.
#[utoipa::path(
    get, path = "/v1/numbers/{number}", tag = "ask", security(("key" = ["check"])),
    params(("number" = String, Path, description = "The number in any spelling, or a business-scoped id"), Asked),
    responses(
        (status = 200, body = Standing, description = "How he stands; also when no event is about him"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn number(
    State(app): State<Arc<App>>,
    number: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let Ok(Path(number)) = number else {
        return Problem::new(Kind::Malformed, "the path is not text").into_response();
    };
    let asked: Asked = match from_query(&uri) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let standing = app.ask(move |app, reader| standing(app, reader, &number, &asked)).await;
    standing.map_or_else(Problem::into_response, |standing| json(&standing))
}

fn standing(app: &App, now: &Reader, number: &str, asked: &Asked) -> Result<Standing, Problem> {
    let at = asked.at.as_deref().map(|text| Timestamp::parse(text, &Zone::UTC)).transpose();
    let at = at.map_err(|error| Problem::field("at", error.to_string()))?;
    let message = context(
        asked.category.as_deref(),
        asked.channel.as_deref(),
        asked.sender.as_deref(),
        asked.brand.as_deref(),
    )?;
    let numbers = NumberReader::new(region(asked.region.as_deref())?, now.folding());
    let failed = |error| app.unanswered(&error);
    let past = at.map(|at| now.at(Moment::Received(at))).transpose().map_err(failed)?;
    let reader = past.as_ref().unwrap_or(now);
    let (address, key) = whom(reader, number.as_bytes(), &numbers, app)?;
    let judge = judge(app, reader, message, Stale::Accept)?;
    let explained = explain(&judge, key).map_err(failed)?;
    Ok(Standing {
        number: address.to_string(),
        at: at.map(|at| at.to_string()),
        sequence: reader.sequence(),
        opted_out: !explained.claims.is_empty(),
        verdict: explained.ruling.decision.as_str(),
        since: explained.since_event().map(|event| event.occurred_at.to_string()),
        rule: Some(explained.rule).filter(|rule| !rule.is_empty()),
        layers: explained.layers,
        events: explained.events.into_iter().map(EventView::from).collect(),
    })
}

/// Whom the question is about. An id that no event is about has the key of nobody.
pub(in crate::server) fn whom(
    reader: &Reader,
    number: &[u8],
    numbers: &NumberReader,
    app: &App,
) -> Result<(Address, SubscriberKey), Problem> {
    if let Some(id) = BusinessId::parse(number) {
        let key = reader.key_of_id(id.as_str()).map_err(|error| app.unanswered(&error))?;
        return Ok((id.into(), key.unwrap_or(SubscriberKey::of_id(0))));
    }
    let read = numbers.subscriber(number);
    let (number, key) = read.map_err(|reason| Problem::field("number", reason.sentence()))?;
    Ok((number.into(), key))
}
