//! Which messages were sent for a campaign?
//!
//! A program that sends says so here, so that an opt-out names the campaign that it answers. Leaves
//! to others how it is remembered (`sent`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::capture::Incoming;
use crate::server::body::{AtMost, from_json, json, json_bytes};
use crate::server::messages::Read;
use crate::server::problem::{FieldError, Kind, Problem};
use crate::server::sent::is_campaign;
use crate::time::Timestamp;

/// Messages of one request.
const IDS_MAX: usize = 10_000;
const ID_BYTES_MAX: usize = 1024;

/// Messages that were sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SentMessages {
    /// The provider's ids of the messages.
    #[schema(value_type = Vec<String>, max_items = 10_000, example = json!(["wamid.HBgNNTI1"]))]
    ids: AtMost<String, IDS_MAX>,
}

/// What is remembered.
#[derive(Serialize, ToSchema)]
pub(super) struct Remembered {
    /// How many messages lead to the campaign now.
    remembered: usize,
}

/// Remembers for 30 days which messages belong to a campaign, so that who opts out in answer to
/// one opts out because of it.
#[utoipa::path(
    post, path = "/v1/campaigns/{id}/messages", tag = "record", security(("key" = ["add"])),
    params(("id" = String, Path, description = "The campaign: at most 256 bytes, no control characters")),
    request_body = SentMessages,
    responses(
        (status = 200, body = Remembered, description = "They are remembered"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn sent_messages(
    State(app): State<Arc<App>>,
    campaign: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    remember(&app, campaign, &headers, body).await.unwrap_or_else(Problem::into_response)
}

async fn remember(
    app: &Arc<App>,
    campaign: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let campaign = campaign.map(|Path(campaign)| campaign).ok().filter(|it| is_campaign(it));
    let what = "it has 1 to 256 bytes of UTF-8 and no control characters";
    let campaign = campaign.ok_or_else(|| Problem::field("id", what))?;
    let received = json_bytes(app, headers, body).await?;
    let inner = app.clone();
    let remembered = app.ask_apart(move || {
        let ids = from_json::<SentMessages>(&received.bytes)?.ids.0;
        let is_id = |id: &String| (1..=ID_BYTES_MAX).contains(&id.len());
        let wrong = ids.iter().enumerate().filter(|(_, id)| !is_id(id)).take(100);
        let errors: Vec<FieldError> = wrong
            .map(|(at, _)| {
                let detail = format!("it has 1 to {ID_BYTES_MAX} bytes");
                FieldError { field: format!("ids[{at}]"), detail }
            })
            .collect();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let sent = ids.iter().map(|id| (id.as_str(), campaign.as_str()));
        inner.sent.learn(sent, Timestamp::now()).map_err(|error| {
            inner.log(format_args!("sent: {error}"));
            Problem::new(Kind::StoreUnavailable, "it is not remembered: send it again")
        })?;
        Ok(Remembered { remembered: ids.len() })
    });
    Ok(json(&remembered.await?))
}

impl App {
    /// Learns what receipts say, and puts to each reply the campaign of the message that it
    /// answers. What fails here is logged: a campaign is missing then, never an opt-out.
    pub(super) async fn with_campaigns(
        self: &Arc<App>,
        mut incoming: Vec<Incoming>,
        sent: Vec<(String, String)>,
    ) -> Vec<Incoming> {
        let asks = |it: &Incoming| it.campaign.is_none() && it.answers.is_some();
        if sent.is_empty() && !incoming.iter().any(asks) {
            return incoming;
        }
        let kept = incoming.clone();
        let app = self.clone();
        let resolved = self.ask_apart(move || {
            let now = Timestamp::now();
            let told = sent.iter().map(|(id, campaign)| (id.as_str(), campaign.as_str()));
            if let Err(error) = app.sent.learn(told, now) {
                app.log(format_args!("sent: {error}"));
            }
            for it in incoming.iter_mut().filter(|it| asks(it)) {
                app.resolve(it, now);
            }
            Ok(incoming)
        });
        resolved.await.unwrap_or(kept)
    }

    fn resolve(&self, incoming: &mut Incoming, now: Timestamp) {
        let Some(answered) = &incoming.answers else { return };
        match self.sent.campaign(answered, now) {
            Ok(found) => incoming.campaign = found.map(|name| name.to_string()),
            Err(error) => self.log(format_args!("sent: {error}")),
        }
    }

    /// As [`App::with_campaigns`], for messages of a program's.
    pub(super) async fn with_campaigns_of(
        self: &Arc<App>,
        mut read: Read,
    ) -> Result<Read, Problem> {
        let mut asks = false;
        read.each(|it| asks |= it.campaign.is_none() && it.answers.is_some());
        if !asks {
            return Ok(read);
        }
        let app = self.clone();
        let resolved = self.ask_apart(move || {
            let now = Timestamp::now();
            read.each(|it| {
                if it.campaign.is_none() {
                    app.resolve(it, now);
                }
            });
            Ok(read)
        });
        resolved.await
    }
}
