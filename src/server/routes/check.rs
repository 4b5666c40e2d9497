//! May these recipients be messaged?

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::App;
use super::campaign::{AskedMessage, campaign_of};
use crate::event::Category;
use crate::number::{Address, Region};
use crate::policy::{Context, Scope};
use crate::query::{Checker, Judge, JudgeError, Stale, Verdict};
use crate::server::CampaignMode;
use crate::server::body::{AtMost, Text, from_json, json_bytes, json_of};
use crate::server::problem::{Kind, Problem};
use crate::store::Reader;
use crate::time::Timestamp;

/// Recipients of one request.
const RECIPIENTS_MAX: usize = 100_000;

/// Recipients, and the message that is to be sent to them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question<'a> {
    /// Numbers in any spelling, or business-scoped ids.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>, max_items = 100_000, example = json!(["+525512345678"]))]
    recipients: AtMost<Text<'a>, RECIPIENTS_MAX>,
    /// The region of numbers without calling code, such as MX.
    region: Option<String>,
    /// marketing (if not given), utility or authentication.
    #[schema(schema_with = super::words::maybe_category)]
    category: Option<String>,
    /// The channel over which it goes, such as whatsapp or sms.
    channel: Option<String>,
    /// The sender.
    sender: Option<String>,
    /// The brand behind the sender.
    brand: Option<String>,
    /// The campaign of which it is: its category and scope count where none are given here, and
    /// its mode.
    campaign: Option<String>,
}

/// The verdicts, in the order of the recipients.
#[derive(Serialize, ToSchema)]
pub(super) struct Verdicts {
    /// The newest event that was known.
    sequence: u64,
    /// How many may be messaged.
    allowed: usize,
    /// The campaign that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    /// The mode of the campaign: on, report (the verdicts say what on would do), or off (nobody
    /// was asked, every recipient with a number is allowed).
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    verdicts: Vec<VerdictView>,
}

/// May this recipient be messaged? Only `allowed` and `exempt` may.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictView {
    /// allowed, exempt, suppressed, invalid or unknown.
    #[schema(schema_with = super::words::verdict)]
    verdict: &'static str,
    /// The number as it was read, or the id.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schema(value_type = Option<String>)]
    number: Option<Address>,
    /// When the opt-out began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::words::source)]
    source: Option<&'static str>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Why the recipient is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

fn shown<S: Serializer>(address: &Option<Address>, out: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => out.collect_str(address),
        None => out.serialize_none(),
    }
}

impl From<Verdict> for VerdictView {
    fn from(verdict: Verdict) -> VerdictView {
        let word = verdict.as_str();
        let mut view = VerdictView {
            verdict: word,
            number: None,
            since: None,
            source: None,
            rule: None,
            reason: None,
        };
        match verdict {
            Verdict::Allowed(address) => view.number = Some(address),
            Verdict::Exempt { address, rule } => {
                (view.number, view.rule) = (Some(address), Some(rule));
            }
            Verdict::Suppressed { address, since, source, rule } => {
                (view.number, view.rule) = (Some(address), Some(rule));
                (view.since, view.source) = (Some(since), Some(source.as_str()));
            }
            Verdict::Invalid(reason) => view.reason = Some(reason.as_str()),
            Verdict::Unknown(_) => {}
        }
        view
    }
}

/// Says of up to 100,000 recipients who may be messaged.
#[utoipa::path(
    post, path = "/v1/check", tag = "ask", security(("key" = ["check"])),
    request_body = Question<'_>,
    responses(
        (status = 200, body = Verdicts, description = "A verdict for each recipient"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: do not send")
    )
)]
pub(super) async fn check(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let received = match json_bytes(&app, &headers, body).await {
        Ok(received) => received,
        Err(problem) => return problem.into_response(),
    };
    let answer = app.ask(move |app, reader| verdicts(app, reader, &received.bytes)).await;
    answer.map_or_else(Problem::into_response, json_of)
}

fn verdicts(app: &App, reader: &Reader, bytes: &Bytes) -> Result<Bytes, Problem> {
    let question: Question<'_> = from_json(bytes)?;
    let region = region(question.region.as_deref())?;
    let campaign = campaign_of(app, question.campaign.as_deref())?;
    let mode = campaign.as_ref().map(|campaign| campaign.mode);
    let is_off = mode == Some(CampaignMode::Off);
    let asked = AskedMessage {
        category: question.category.as_deref(),
        channel: question.channel.as_deref(),
        sender: question.sender.as_deref(),
        brand: question.brand.as_deref(),
    };
    let stale = if is_off { Stale::Accept } else { Stale::Refuse };
    let judge = judge(app, reader, asked.context(campaign.as_ref())?, stale)?;
    let checker = Checker::new(judge, region);
    let verdicts = checker.verdicts(&question.recipients.0);
    let mut verdicts = verdicts.map_err(|error| app.unanswered(&error))?;
    if is_off {
        verdicts.iter_mut().for_each(not_asked);
    }
    let allowed = verdicts.iter().filter(|verdict| verdict.is_allowed()).count();
    let verdicts = verdicts.into_iter().map(VerdictView::from).collect();
    let answer = Verdicts {
        sequence: reader.sequence(),
        allowed,
        campaign: question.campaign,
        mode: mode.map(CampaignMode::as_str),
        verdicts,
    };
    let written = serde_json::to_vec(&answer).map(Bytes::from);
    written.map_err(|_| Problem::new(Kind::Internal, "the answer could not be written"))
}

/// The campaign has said that nobody is to be asked.
fn not_asked(verdict: &mut Verdict) {
    if let Verdict::Suppressed { address, .. } | Verdict::Exempt { address, .. } = verdict {
        *verdict = Verdict::Allowed(address.clone());
    }
}

/// A region by its name; none if not given.
pub(in crate::server) fn region(text: Option<&str>) -> Result<Option<Region>, Problem> {
    let text = text.filter(|text| !text.is_empty());
    let region = text.map(Region::parse).transpose();
    region.map_err(|error| Problem::field("region", error.to_string()))
}

/// The message that is meant.
pub(in crate::server) fn context(
    category: Option<&str>,
    channel: Option<&str>,
    sender: Option<&str>,
    brand: Option<&str>,
) -> Result<Context, Problem> {
    let category = category.map_or(Ok(Category::Marketing), str::parse);
    let category = category.map_err(|error| Problem::field("category", error.to_string()))?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let scope = Scope::new(&text(channel), &text(sender), &text(brand));
    let scope = scope.map_err(|error| Problem::field("channel", error.to_string()))?;
    Ok(Context { scope, category })
}

/// Rules on a message by the server's policy.
pub(in crate::server) fn judge<'a>(
    app: &App,
    reader: &'a Reader,
    context: Context,
    stale: Stale,
) -> Result<Judge<'a>, Problem> {
    let judge = Judge::new(reader, app.policy.clone(), context, Timestamp::now(), stale);
    judge.map_err(|error| match error {
        JudgeError::Stale { .. } => Problem::new(Kind::Stale, error.to_string()),
        JudgeError::Store(error) => app.unanswered(&error),
    })
}
