//! What is recorded when a program posts opt-outs or resubscribes?
//!
//! Promises: an answer of 200 names what is durable; an item that can't be recorded says why and
//! stops no other; the clock and the name of whoever records are the server's. A resubscribe needs
//! a reason, and a key that may lift what a person said himself needs to say that it does.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::event::{Action, Details, Source, Tier};
use crate::number::{BusinessId, NumberReader, Region};
use crate::policy;
use crate::server::body::{AtMost, from_json, is_object, json_bytes, json_of};
use crate::server::guard::Access;
use crate::server::idempotency::{Request, Turn};
use crate::server::keys::KeyScope;
use crate::server::problem::{FieldError, Kind, Problem};
use crate::server::service::Urgency;
use crate::store::{NewEvent, Outcome, TEXT_BYTES_MAX};
use crate::time::{Timestamp, Zone};

/// Items of one request.
const ITEMS_MAX: usize = 10_000;
/// A person can't have acted later than this after now: clocks differ, but not by more. A
/// resubscribe of next year would void every opt-out until then.
const AHEAD_MILLIS: i64 = 5 * 60 * 1000;

/// Defines an item, with the fields that all kinds have and its own.
macro_rules! item {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            /// The number in any spelling, or a business-scoped id.
            #[schema(example = "+52 55 1234 5678")]
            number: String,
            /// The region of a number without calling code, such as MX. Without it, digits are
            /// international.
            region: Option<String>,
            /// When the person acted: RFC 3339, or a date in UTC. Now if not given.
            #[schema(example = "2026-03-01T09:30:00Z")]
            occurred_at: Option<String>,
            /// api (if not given), keyword, button, preference, import, registry, agent, carrier.
            #[schema(schema_with = super::words::maybe_source)]
            source: Option<String>,
            /// The channel on which it was said, such as whatsapp or sms; all if not given.
            channel: Option<String>,
            /// The sender to whom it was said; all if not given.
            sender: Option<String>,
            /// The brand behind the sender; all if not given.
            brand: Option<String>,
            /// marketing or all. If not given marketing, but all for the words STOPALL and STOP ALL.
            #[schema(schema_with = super::words::maybe_tier)]
            tier: Option<String>,
            /// The word that the person used.
            word: Option<String>,
            /// The campaign that caused it.
            campaign: Option<String>,
            /// The message template that caused it.
            template: Option<String>,
            /// The provider's id of the message: the same id twice is one event.
            message_id: Option<String>,
            /// Free text.
            note: Option<String>,
            $($(#[$fmeta])* $field: $type,)*
        }

        impl $name {
            fn common(&mut self) -> Common {
                Common {
                    number: std::mem::take(&mut self.number),
                    region: self.region.take(),
                    occurred_at: self.occurred_at.take(),
                    source: self.source.take(),
                    tier: self.tier.take(),
                    texts: [
                        ("channel", self.channel.take()),
                        ("sender", self.sender.take()),
                        ("brand", self.brand.take()),
                        ("word", self.word.take()),
                        ("campaign", self.campaign.take()),
                        ("template", self.template.take()),
                        ("message_id", self.message_id.take()),
                        ("note", self.note.take()),
                    ],
                }
            }
        }
    };
}

item! {
    /// An opt-out to be recorded.
    OptOut {}
}

item! {
    /// A resubscribe to be recorded.
    Resubscribe {
        /// Why the person is to get messages again.
        #[schema(example = "START by WhatsApp")]
        reason: String,
        /// Whether an operator's resubscribe is meant to lift also what the person said himself.
        /// Needs a key with the scope admin.
        #[serde(rename = "override")]
        overrides: Option<bool>,
    }
}

/// Up to 10,000 items.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de>"))]
struct Items<T> {
    items: AtMost<T, ITEMS_MAX>,
}

/// One item, or up to 10,000 of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand, with better refusals")]
pub(super) enum OptOuts {
    /// One.
    One(Box<OptOut>),
    /// Several.
    Many {
        /// Up to 10,000.
        #[schema(min_items = 1, max_items = 10_000)]
        items: Vec<OptOut>,
    },
}

/// One item, or up to 10,000 of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand, with better refusals")]
pub(super) enum Resubscribes {
    /// One.
    One(Box<Resubscribe>),
    /// Several.
    Many {
        /// Up to 10,000.
        #[schema(min_items = 1, max_items = 10_000)]
        items: Vec<Resubscribe>,
    },
}

/// What became of the items.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Recorded {
    /// One for each event, in the order of the items: an item whose text holds two numbers has
    /// two.
    items: Vec<ItemResult>,
    /// Events that are durable now.
    recorded: usize,
    /// Items that were refused.
    refused: usize,
    /// Items that can't be recorded as they are.
    invalid: usize,
}

/// What became of one item.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct ItemResult {
    /// Its place in the request, from 0.
    index: usize,
    /// The number as it was read, or the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// The position of its event in the journal; of a repetition that of the first. When it was
    /// refused, that of the opt-out that stands against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// added, already, resubscribed, not-listed, refused or invalid.
    #[schema(schema_with = super::words::outcome)]
    outcome: &'static str,
    /// Whether the person is opted out of anything now.
    #[serde(skip_serializing_if = "Option::is_none")]
    opted_out: Option<bool>,
    /// Why it is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Records opt-outs. The answer comes when they are durable.
#[utoipa::path(
    post, path = "/v1/optouts", tag = "record", security(("key" = ["add"])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The same key with the same body is recorded once and answered alike")),
    request_body = OptOuts,
    responses(
        (status = 200, body = Recorded, description = "What is recorded and durable, item by item"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn opt_out(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let read = |bytes: &[u8], _: &Access| {
        let items = one_or_many::<OptOut>(bytes)?;
        Ok(items.into_iter().map(|mut item| Wanted { common: item.common(), lift: None }).collect())
    };
    let what = ("/v1/optouts", Action::OptOut, Urgency::OptOut);
    record(&app, access, &headers, body, what, read).await.unwrap_or_else(Problem::into_response)
}

/// Records that people came back. The answer comes when it is durable.
///
/// What a person said himself is lifted only by the person's word (source keyword, button,
/// preference or api), or by an operator who says that he overrides it.
#[utoipa::path(
    post, path = "/v1/resubscribes", tag = "record", security(("key" = ["resubscribe"])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The same key with the same body is recorded once and answered alike")),
    request_body = Resubscribes,
    responses(
        (status = 200, body = Recorded, description = "What is recorded and durable, item by item"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: nothing is acknowledged")
    )
)]
pub(super) async fn resubscribe(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let read = |bytes: &[u8], access: &Access| {
        let items = one_or_many::<Resubscribe>(bytes)?;
        if items.iter().any(|item| item.overrides == Some(true)) && !access.opens(KeyScope::Admin) {
            let what = "an override needs a key with the scope \"admin\"";
            return Err(Problem::new(Kind::Forbidden, what));
        }
        let wanted = |mut item: Resubscribe| {
            let overrides = item.overrides.unwrap_or(false);
            let lift = Some((std::mem::take(&mut item.reason), overrides));
            Wanted { common: item.common(), lift }
        };
        Ok(items.into_iter().map(wanted).collect())
    };
    let what = ("/v1/resubscribes", Action::Resubscribe, Urgency::Other);
    record(&app, access, &headers, body, what, read).await.unwrap_or_else(Problem::into_response)
}

/// The items of a body: one, or a list of them.
fn one_or_many<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Problem> {
    is_object(bytes)?;
    match serde_json::from_slice::<T>(bytes) {
        Ok(one) => Ok(vec![one]),
        Err(error) if error.to_string().starts_with("unknown field `items`") => {
            Ok(from_json::<Items<T>>(bytes)?.items.0)
        }
        Err(_) => from_json::<T>(bytes).map(|one| vec![one]),
    }
}

/// What all kinds of items have.
struct Common {
    number: String,
    region: Option<String>,
    occurred_at: Option<String>,
    source: Option<String>,
    tier: Option<String>,
    texts: [(&'static str, Option<String>); 8],
}

/// An item; of a resubscribe the reason, and whether it overrides.
struct Wanted {
    common: Common,
    lift: Option<(String, bool)>,
}

/// The events of one item, and what of it can't be recorded.
#[derive(Default)]
struct Read {
    events: Vec<NewEvent>,
    errors: Vec<FieldError>,
}

async fn record(
    app: &Arc<App>,
    access: Access,
    headers: &HeaderMap,
    body: Body,
    (route, action, urgency): (&'static str, Action, Urgency),
    items: fn(&[u8], &Access) -> Result<Vec<Wanted>, Problem>,
) -> Result<Response, Problem> {
    let received = json_bytes(app, headers, body).await?;
    let request = Request::of(headers, &access.id, route, &received.bytes)?;
    let pending = match request.as_ref().map(|it| app.answered.begin(it)).transpose()? {
        Some(Turn::Known(answer)) => return Ok(json_of(answer)),
        Some(Turn::New(pending)) => Some(pending),
        None => None,
    };
    let now = Timestamp::now();
    let reading = Reading { action, operator: access.operator.clone(), request, now };
    let is_small = received.is_small();
    let folding = app.service.view().folding();
    let read = move || {
        let items = items(&received.bytes, &access)?;
        let numbers = |region| NumberReader::new(region, folding);
        let read = |(index, item)| reading.read(index, item, &numbers);
        Ok(items.into_iter().enumerate().map(read).collect::<Vec<Read>>())
    };
    let read = match is_small {
        true => read()?,
        false => app.ask_apart(read).await?,
    };
    let answer = commit(app, read, urgency).await?;
    if let Some(pending) = pending {
        pending.answered(&answer);
    }
    Ok(json_of(answer))
}

/// Records what could be read, and writes the answer.
async fn commit(app: &App, read: Vec<Read>, urgency: Urgency) -> Result<Bytes, Problem> {
    let answer = recorded(app, read, urgency).await?;
    let written = serde_json::to_vec(&answer).map(Bytes::from);
    written.map_err(|_| Problem::new(Kind::Internal, "it is recorded; the answer failed"))
}

/// Records what could be read.
async fn recorded(app: &App, read: Vec<Read>, urgency: Urgency) -> Result<Recorded, Problem> {
    let mut answer = Recorded::default();
    let mut events = Vec::new();
    for (index, item) in read.into_iter().enumerate() {
        for event in item.events {
            let number = Some(event.address.to_string());
            answer.items.push(ItemResult { index, number, ..ItemResult::default() });
            events.push(event);
        }
        if !item.errors.is_empty() {
            answer.invalid += 1;
            let (outcome, errors) = ("invalid", item.errors);
            answer.items.push(ItemResult { index, outcome, errors, ..ItemResult::default() });
        }
    }
    if events.is_empty() {
        return Err(all_invalid(answer));
    }
    let receipts = app.service.record(events, urgency).await;
    let receipts = receipts.map_err(|error| app.unrecorded(error))?;
    let recorded = answer.items.iter_mut().filter(|it| it.outcome != "invalid");
    for (item, receipt) in recorded.zip(receipts) {
        item.sequence = Some(receipt.sequence);
        item.outcome = receipt.outcome.as_str();
        item.opted_out = Some(receipt.opted_out);
        match receipt.outcome {
            Outcome::Refused => answer.refused += 1,
            _ => answer.recorded += 1,
        }
    }
    Ok(answer)
}

/// What a person records by hand.
#[derive(Default)]
pub(in crate::server) struct ByHand {
    pub(in crate::server) number: String,
    pub(in crate::server) region: String,
    pub(in crate::server) channel: String,
    pub(in crate::server) sender: String,
    pub(in crate::server) campaign: String,
    pub(in crate::server) tier: String,
    pub(in crate::server) note: String,
    /// The same id twice is one event.
    pub(in crate::server) message_id: String,
    /// Of a resubscribe the reason, and whether it overrides.
    pub(in crate::server) lift: Option<(String, bool)>,
}

/// Records what a person entered: the positions of the events, each with what became of it.
pub(in crate::server) async fn by_hand(
    app: &App,
    operator: String,
    entry: ByHand,
) -> Result<Vec<(u64, &'static str)>, Problem> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let (action, urgency) = match entry.lift {
        None => (Action::OptOut, Urgency::OptOut),
        Some(_) => (Action::Resubscribe, Urgency::Other),
    };
    let common = Common {
        number: entry.number,
        region: given(entry.region),
        occurred_at: None,
        source: Some(Source::Agent.as_str().to_owned()),
        tier: given(entry.tier),
        texts: [
            ("channel", given(entry.channel)),
            ("sender", given(entry.sender)),
            ("brand", None),
            ("word", None),
            ("campaign", given(entry.campaign)),
            ("template", None),
            ("message_id", given(entry.message_id)),
            ("note", given(entry.note)),
        ],
    };
    let reading = Reading { action, operator, request: None, now: Timestamp::now() };
    let folding = app.service.view().folding();
    let numbers = |region| NumberReader::new(region, folding);
    let read = reading.read(0, Wanted { common, lift: entry.lift }, &numbers);
    if let Some(error) = read.errors.first() {
        return Err(Problem::field(error.field.clone(), error.detail.clone()));
    }
    let recorded = recorded(app, vec![read], urgency).await?;
    let items = recorded.items.into_iter();
    Ok(items.filter_map(|item| Some((item.sequence?, item.outcome))).collect())
}

fn all_invalid(answer: Recorded) -> Problem {
    const ERRORS_MAX: usize = 100;
    if answer.items.is_empty() {
        return Problem::field("items", "there is nothing to be recorded");
    }
    let is_one = answer.items.len() == 1;
    let named = |(index, error): (usize, FieldError)| match is_one {
        true => error,
        false => FieldError { field: format!("items[{index}].{}", error.field), ..error },
    };
    let errors = answer
        .items
        .into_iter()
        .flat_map(|item| item.errors.into_iter().map(move |error| (item.index, error)));
    Problem::invalid(errors.take(ERRORS_MAX).map(named).collect())
}

/// What is known of all items.
struct Reading {
    action: Action,
    operator: String,
    request: Option<Request>,
    now: Timestamp,
}

impl Reading {
    fn read(
        &self,
        index: usize,
        wanted: Wanted,
        numbers: &dyn Fn(Option<Region>) -> NumberReader,
    ) -> Read {
        let Wanted { common, lift } = wanted;
        let mut errors = Vec::new();
        let mut wrong = |field: &str, detail: String| {
            errors.push(FieldError { field: field.to_owned(), detail });
        };
        let source = parsed(&common.source, "source", Source::Api, &mut wrong);
        let mut details = Details::new(self.action, source);
        let region = common.region.as_deref().filter(|it| !it.is_empty()).and_then(|text| {
            let region = Region::parse(text);
            region.map_err(|error| wrong("region", error.to_string())).ok()
        });
        let occurred_at = self.occurred_at(common.occurred_at.as_deref(), &mut wrong);
        for (field, text) in common.texts {
            let text = text.unwrap_or_default();
            if text.len() >= TEXT_BYTES_MAX || text.contains('\0') {
                wrong(field, format!("it must be below {TEXT_BYTES_MAX} bytes and without NUL"));
                continue;
            }
            *text_of(&mut details, field) = text;
        }
        if let Err(error) = policy::Scope::new(&details.channel, &details.sender, &details.brand) {
            wrong("channel", error.to_string());
        }
        let tier = match self.action {
            Action::OptOut => Tier::of_word(&details.word),
            _ => Tier::Marketing,
        };
        details.tier = parsed(&common.tier, "tier", tier, &mut wrong);
        if let Some((reason, overrides)) = lift {
            details.overrides = overrides;
            details.note = joined(&reason, &details.note);
            if reason.trim().is_empty() || details.note.len() >= TEXT_BYTES_MAX {
                wrong("reason", "say why, in less than 4096 bytes".to_owned());
            }
            if reason.contains('\0') {
                wrong("reason", "it must be without NUL".to_owned());
            }
        }
        details.operator.clone_from(&self.operator);
        if let Some(request) = self.request.as_ref().filter(|_| details.message_id.is_empty()) {
            details.message_id = request.message_id(index);
        }
        if !errors.is_empty() {
            return Read { events: Vec::new(), errors };
        }
        events(&common.number, &numbers(region), &details, occurred_at)
    }

    fn occurred_at(&self, text: Option<&str>, wrong: &mut impl FnMut(&str, String)) -> Timestamp {
        let Some(text) = text else { return self.now };
        match Timestamp::parse(text, &Zone::UTC) {
            Ok(at) if at.as_millis() <= self.now.as_millis() + AHEAD_MILLIS => return at,
            Ok(_) => wrong("occurred_at", "it lies in the future".to_owned()),
            Err(_) => wrong("occurred_at", "write 2026-03-01T09:30:00Z or a date".to_owned()),
        }
        self.now
    }
}

fn joined(reason: &str, note: &str) -> String {
    if note.is_empty() { reason.to_owned() } else { format!("{reason}; {note}") }
}

/// A word of a closed list.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &Option<String>,
    field: &str,
    default: T,
    wrong: &mut impl FnMut(&str, String),
) -> T {
    let Some(text) = text else { return default };
    text.parse().unwrap_or_else(|error: T::Err| {
        wrong(field, error.to_string());
        default
    })
}

fn text_of<'a>(details: &'a mut Details, field: &str) -> &'a mut String {
    match field {
        "channel" => &mut details.channel,
        "sender" => &mut details.sender,
        "brand" => &mut details.brand,
        "word" => &mut details.word,
        "campaign" => &mut details.campaign,
        "template" => &mut details.template,
        "message_id" => &mut details.message_id,
        _ => &mut details.note,
    }
}

/// The events of a number: whatever can be read counts, so that two numbers in a text are two
/// events, and one that can't be read does not stop the other.
fn events(number: &str, numbers: &NumberReader, details: &Details, occurred_at: Timestamp) -> Read {
    const RAW_CHARS_MAX: usize = 250;
    let raw: String = number.chars().filter(|&it| it != '\0').take(RAW_CHARS_MAX).collect();
    let event = |address| NewEvent {
        address,
        linked: None,
        raw: raw.clone(),
        occurred_at,
        details: details.clone(),
    };
    let mut read = Read::default();
    if let Some(id) = BusinessId::parse(number.as_bytes()) {
        read.events.push(event(id.into()));
        return read;
    }
    for reading in numbers.read_all(number.as_bytes()) {
        match reading.number {
            Some(number) => read.events.push(event(number.into())),
            None => {
                let reason = reading.status.reason();
                let detail = reason.map_or("it can't be read", |reason| reason.sentence());
                let field = "number".to_owned();
                read.errors.push(FieldError { field, detail: detail.to_owned() });
            }
        }
    }
    read
}
