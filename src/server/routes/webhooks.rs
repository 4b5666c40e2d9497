//! What do providers post, and what is answered?
//!
//! Promises: nothing of a request is read before its signature fits one that is set up; the answer
//! of success comes when everything in it is durable. A delivery in which something can't be read
//! that may be an opt-out is answered with 503 after the rest is recorded, so that the provider
//! sends it again and somebody sees it fail; what was recorded is recorded once. Leaves to others:
//! what is in a body (`webhooks`), what follows from it (`capture`).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::capture::{Provider, SenderSettings};
use crate::server::body::{Received, Sort, bounded_bytes, json, json_of};
use crate::server::capture::Taken;
use crate::server::connections::Peer;
use crate::server::messages::{Messages, Read, Results};
use crate::server::problem::{Kind, Problem};
use crate::server::senders::Senders;
use crate::server::webhooks::signature::{self, GenericSigned, MetaSigned, TwilioSigned};
use crate::server::webhooks::{Delivery, form, meta, twilio};
use crate::time::Timestamp;

/// Meta's deliveries have up to 3 MB.
const META_BYTES_MAX: usize = 4 << 20;
const TWILIO_BYTES_MAX: usize = 256 << 10;
const GENERIC_BYTES_MAX: usize = 4 << 20;
const CHALLENGE_BYTES_MAX: usize = 128;

/// What was taken of a delivery.
#[derive(Serialize, ToSchema)]
pub(super) struct Delivered {
    /// Messages, buttons, preferences and refusals of a send: all that they ask for is durable.
    taken: usize,
    /// Parts that can't be an opt-out.
    ignored: usize,
}

/// Answers Meta, which asks whether the webhook is meant for it.
#[utoipa::path(
    get, path = "/webhooks/meta", tag = "webhooks", security(("meta-token" = [])),
    params(
        ("hub.mode" = String, Query, description = "subscribe"),
        ("hub.verify_token" = String, Query, description = "The token that a sender is set up with"),
        ("hub.challenge" = String, Query, description = "Letters, digits, _ and -, at most 128")
    ),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "The challenge"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn meta_asks(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
) -> Response {
    let senders = match app.senders() {
        Ok(senders) => senders,
        Err(problem) => return problem.into_response(),
    };
    let query = form::read(uri.query().unwrap_or_default().as_bytes());
    let value = |name| form::value(&query, name).and_then(|it| std::str::from_utf8(it).ok());
    let token = value("hub.verify_token").unwrap_or_default();
    let tokens = settings(&senders).filter_map(|it| match &it.provider {
        Provider::Meta { verify_token, .. } => Some(verify_token.expose()),
        _ => None,
    });
    let fits = |known: &str| !known.is_empty() & signature::is_same(known, token);
    let is_meant = tokens.fold(false, |fit, known| fit | fits(known));
    if !is_meant || value("hub.mode") != Some("subscribe") {
        return app.unsigned(peer, "the verify token is not one that is set up").into_response();
    }
    let challenge = value("hub.challenge").unwrap_or_default();
    let is_sign = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
    if !(1..=CHALLENGE_BYTES_MAX).contains(&challenge.len()) || !challenge.bytes().all(is_sign) {
        let what = "1 to 128 letters, digits, _ and -";
        return Problem::field("hub.challenge", what).into_response();
    }
    let plain = "text/plain; charset=utf-8";
    ([(header::CONTENT_TYPE, plain)], challenge.to_owned()).into_response()
}

/// Takes what the WhatsApp Cloud API delivers. The answer comes when it is durable.
#[utoipa::path(
    post, path = "/webhooks/meta", tag = "webhooks", security(("meta-signature" = [])),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, body = Delivered, description = "All that it asks for is durable"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Something is not recorded: to be sent again"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn meta_delivers(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take_meta(&app, peer, &headers, body).await.unwrap_or_else(Problem::into_response)
}

async fn take_meta(
    app: &Arc<App>,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let senders = app.senders()?;
    let Some(signed) = MetaSigned::of(headers) else {
        let how = "X-Hub-Signature-256 is given once, as sha256= and 64 hexadecimal digits";
        return Err(app.unsigned(peer, how));
    };
    let received = bounded_bytes(app, headers, body, Sort::Json, META_BYTES_MAX).await?;
    let secret = |it: &SenderSettings| match &it.provider {
        Provider::Meta { app_secret, .. } => Some(app_secret.expose().to_owned()),
        _ => None,
    };
    let known = fitting(&senders, secret, |it| signed.is_by(it.as_bytes(), &received.bytes));
    if known.is_empty() {
        return Err(app.unsigned(peer, "no app secret that is set up made this signature"));
    }
    let now = Timestamp::now();
    let delivery = read_apart(app, received, move |bytes| meta::read(bytes, now)).await?;
    let delivery = delivery.map_err(|refused| match refused {
        meta::Refused::NotJson => Problem::new(Kind::Malformed, "the body is no JSON object"),
        meta::Refused::NotWhatsApp => {
            Problem::field("object", "it is not whatsapp_business_account: nothing else is read")
        }
    })?;
    let vouched = |it: &SenderSettings| secret(it).is_some_and(|it| known.contains(&it));
    let (taken, ignored, _) = app.take_delivery("meta", delivery, vouched).await?;
    Ok(json(&Delivered { taken, ignored }))
}

/// Takes what Twilio posts: a message that came in, or what became of one that went out. The
/// answer comes when it is durable.
#[utoipa::path(
    post, path = "/webhooks/twilio", tag = "webhooks", security(("twilio-signature" = [])),
    request_body(content = Object, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = String, content_type = "text/xml", description = "All that it asks for is durable; with the confirmation that is due, if the caller is to send it"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Something is not recorded: to be sent again"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn twilio_posts(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    take_twilio(&app, peer, &uri, &headers, body).await.unwrap_or_else(Problem::into_response)
}

async fn take_twilio(
    app: &Arc<App>,
    peer: Option<Extension<Peer>>,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let senders = app.senders()?;
    let Some(signed) = TwilioSigned::of(headers) else {
        return Err(app.unsigned(peer, "X-Twilio-Signature is given once, in Base64"));
    };
    let received = bounded_bytes(app, headers, body, Sort::FormOrJson, TWILIO_BYTES_MAX).await?;
    let query = uri.query().unwrap_or_default();
    // Of a form the pairs are signed, of JSON the digest in the address.
    let pairs = match Sort::is_json(headers) {
        false => Some(form::read(&received.bytes)),
        true => None,
    };
    let digest = form::read(query.as_bytes());
    let digest = form::value(&digest, "bodySHA256").map(String::from_utf8_lossy);
    let is_whole =
        pairs.is_some() || digest.is_some_and(|it| signature::is_body_digest(&it, &received.bytes));
    let signer = |it: &SenderSettings| match &it.provider {
        Provider::Twilio { auth_token, url } => Some((auth_token.expose().to_owned(), url.clone())),
        _ => None,
    };
    let known = fitting(&senders, signer, |(token, url)| {
        let url = with_query(url, query);
        signed.is_by(token.as_bytes(), &url, pairs.as_deref().unwrap_or_default())
    });
    if known.is_empty() || !is_whole {
        let what = "no auth token and address that are set up made this signature";
        return Err(app.unsigned(peer, what));
    }
    let pairs = pairs.or_else(|| twilio::pairs_of_json(&received.bytes));
    let pairs = pairs.ok_or_else(|| Problem::new(Kind::Malformed, "the body is no JSON object"))?;
    let delivery = twilio::read(&pairs, Timestamp::now());
    let vouched = |it: &SenderSettings| signer(it).is_some_and(|it| known.contains(&it));
    let (_, _, taken) = app.take_delivery("twilio", delivery, vouched).await?;
    let text = taken.iter().find_map(|it| it.confirmation.as_ref()?.text.as_deref());
    Ok(([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], twilio::answer(text)).into_response())
}

/// The address as Twilio called it: that which is set up, with the query that came. Whoever
/// forges a query signs another address.
fn with_query(url: &str, query: &str) -> String {
    let bare = url.split_once('?').map_or(url, |(bare, _)| bare);
    match query {
        "" => url.to_owned(),
        query => format!("{bare}?{query}"),
    }
}

/// Takes messages that a program of one's own signs, written as for `/v1/messages`. The answer
/// comes when all is durable.
#[utoipa::path(
    post, path = "/webhooks/generic/{sender}", tag = "webhooks", security(("webhook-signature" = [])),
    params(
        ("sender" = String, Path, description = "The sender, by its name or the provider's"),
        ("webhook-id" = String, Header, description = "The id of the delivery"),
        ("webhook-timestamp" = String, Header, description = "Seconds since 1970, at most 5 minutes from now")
    ),
    request_body = Messages,
    responses(
        (status = 200, body = Results, description = "What became of the messages, one by one"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn generic(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    sender: Option<Path<String>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let sender = sender.map(|Path(sender)| sender).unwrap_or_default();
    let taken = take_generic(&app, peer, &sender, &headers, body).await;
    taken.unwrap_or_else(Problem::into_response)
}

async fn take_generic(
    app: &Arc<App>,
    peer: Option<Extension<Peer>>,
    sender: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let senders = app.senders()?;
    let Some(signed) = GenericSigned::of(headers) else {
        let how = "webhook-id, webhook-timestamp and webhook-signature (v1,…) are given once each";
        return Err(app.unsigned(peer, how));
    };
    let received = bounded_bytes(app, headers, body, Sort::Json, GENERIC_BYTES_MAX).await?;
    let secret = |it: &SenderSettings| match &it.provider {
        Provider::Generic { secret } if it.is_meant("", sender) => Some(secret.expose().to_owned()),
        _ => None,
    };
    let known = fitting(&senders, secret, |it| signed.is_by(it, &received.bytes));
    if known.is_empty() {
        return Err(
            app.unsigned(peer, "no secret that is set up for the sender made this signature")
        );
    }
    let now = Timestamp::now();
    if !signed.is_fresh(now) {
        let what = "it was signed more than 5 minutes from now: look at the clocks, and sign again";
        return Err(Problem::new(Kind::Unsigned, what));
    }
    let folding = app.service.view().folding();
    let name = sender.to_owned();
    let read = move |bytes: &[u8]| Read::parse(bytes, folding, now, Some(&name));
    let read = read_apart(app, received, read).await??;
    let read = app.with_campaigns_of(read).await?;
    let vouched = |it: &SenderSettings| secret(it).is_some_and(|it| known.contains(&it));
    let answer = read.take(app, "webhook generic", vouched).await?;
    Ok(json_of(answer))
}

fn settings(senders: &Senders) -> impl Iterator<Item = &SenderSettings> {
    senders.all().iter().map(|it| &it.settings)
}

/// The secrets that made a signature. All are tried, however many fit.
fn fitting<T: PartialEq>(
    senders: &Senders,
    secret: impl Fn(&SenderSettings) -> Option<T>,
    fits: impl Fn(&T) -> bool,
) -> Vec<T> {
    let mut distinct: Vec<T> = Vec::new();
    for secret in settings(senders).filter_map(secret) {
        if !distinct.contains(&secret) {
            distinct.push(secret);
        }
    }
    distinct.retain(|it| fits(it));
    distinct
}

/// Reads a body; a large one where it holds up nobody.
async fn read_apart<T: Send + 'static>(
    app: &App,
    received: Received,
    read: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, Problem> {
    if received.is_small() {
        return Ok(read(&received.bytes));
    }
    app.ask_apart(move || Ok(read(&received.bytes))).await
}

impl App {
    /// What becomes of a request that nobody signed. Only these count, so that others behind the
    /// same address are not locked out.
    fn unsigned(&self, peer: Option<Extension<Peer>>, what: &'static str) -> Problem {
        self.metrics.webhooks.unsigned();
        match self.count_failure(peer.map(|Extension(peer)| peer.0)) {
            Err(problem) => problem,
            Ok(()) => Problem::new(Kind::Unsigned, what),
        }
    }

    /// Records what was delivered: how much was taken and ignored, and what follows.
    async fn take_delivery(
        self: &Arc<App>,
        provider: &'static str,
        mut delivery: Delivery,
        vouched: impl Fn(&SenderSettings) -> bool,
    ) -> Result<(usize, usize, Vec<Taken>), Problem> {
        let incoming = std::mem::take(&mut delivery.incoming);
        let sent = std::mem::take(&mut delivery.sent);
        let incoming = self.with_campaigns(incoming, sent).await;
        let taken = self.take(&format!("webhook {provider}"), incoming, vouched).await?;
        self.metrics.webhooks.delivered(&delivery, taken.len());
        if delivery.unreadable > 0 {
            self.log(format_args!(
                "webhook {provider}: {} parts of a delivery could not be read, {} were taken: \
                 answered with 503",
                delivery.unreadable,
                taken.len()
            ));
            let what = "something in it can't be read and may be an opt-out; what could be read \
                        is recorded";
            return Err(Problem::new(Kind::Unreadable, what).retry_after(60));
        }
        Ok((taken.len(), delivery.ignored, taken))
    }
}
