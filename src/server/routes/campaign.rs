//! How does this campaign treat those who opted out?

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::check::context;
use crate::event::Category;
use crate::policy::{Context, Scope};
use crate::server::body::{from_json, from_path, from_query, json, json_bytes};
use crate::server::guard::Access;
use crate::server::problem::{Kind, Problem};
use crate::server::{Campaign, CampaignError, CampaignMode};
use crate::store::SideError;
use crate::time::Timestamp;

/// Campaigns of one page.
const LIMIT_MAX: usize = 1000;
const LIMIT_USUAL: usize = 100;

/// What a campaign is to be.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// marketing (if not given), utility or authentication.
    category: Option<String>,
    /// Whether whoever opted out is excluded: on (if not given), report (nobody is taken out, it
    /// is told who would be) or off (nobody is asked).
    mode: Option<String>,
    /// The channel over which it goes, such as whatsapp or sms; any if not given.
    channel: Option<String>,
    /// The sender; any if not given.
    sender: Option<String>,
    /// The brand behind the sender; any if not given.
    brand: Option<String>,
}

impl Settings {
    fn campaign(self, changed_by: &str) -> Result<Campaign, Problem> {
        let category = self.category.as_deref().map_or(Ok(Category::Marketing), str::parse);
        let mode = self.mode.as_deref().map_or(Ok(CampaignMode::On), str::parse);
        Ok(Campaign {
            category: category.map_err(|error| Problem::field("category", error.to_string()))?,
            mode: mode.map_err(|error| Problem::field("mode", error.to_string()))?,
            channel: self.channel.unwrap_or_default(),
            sender: self.sender.unwrap_or_default(),
            brand: self.brand.unwrap_or_default(),
            changed_at: Timestamp::now(),
            changed_by: changed_by.to_owned(),
        })
    }
}

/// A campaign.
#[derive(Serialize, ToSchema)]
pub(super) struct CampaignView {
    id: String,
    /// marketing, utility or authentication.
    category: &'static str,
    /// on, report or off.
    mode: &'static str,
    /// Empty for any.
    channel: String,
    sender: String,
    brand: String,
    /// When it was changed last.
    changed_at: String,
    /// By whom.
    changed_by: String,
}

impl CampaignView {
    fn of(id: String, campaign: Campaign) -> CampaignView {
        CampaignView {
            id,
            category: campaign.category.as_str(),
            mode: campaign.mode.as_str(),
            channel: campaign.channel,
            sender: campaign.sender,
            brand: campaign.brand,
            changed_at: campaign.changed_at.to_string(),
            changed_by: campaign.changed_by,
        }
    }
}

/// Which campaigns.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Campaigns of a page, 1 to 1,000; 100 if not given.
    limit: Option<usize>,
    /// Where the page before ended: its `next`.
    cursor: Option<String>,
}

/// A page of campaigns, by id.
#[derive(Serialize, ToSchema)]
pub(super) struct Campaigns {
    items: Vec<CampaignView>,
    /// The cursor of the next page; none when this is the last.
    next: Option<String>,
}

/// The message of a question, as far as it is given there.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct AskedMessage<'a> {
    pub(in crate::server) category: Option<&'a str>,
    pub(in crate::server) channel: Option<&'a str>,
    pub(in crate::server) sender: Option<&'a str>,
    pub(in crate::server) brand: Option<&'a str>,
}

impl AskedMessage<'_> {
    /// The message that is meant: what is not given is as the campaign has it. A campaign of
    /// another channel, sender or brand is refused: its settings are about other people's consent.
    pub(in crate::server) fn context(
        &self,
        campaign: Option<&Campaign>,
    ) -> Result<Context, Problem> {
        let asked = context(self.category, self.channel, self.sender, self.brand)?;
        let Some(campaign) = campaign else { return Ok(asked) };
        let scope = campaign.scope();
        let scope = scope.map_err(|error| Problem::field("campaign", error.to_string()))?;
        let part = |field: &str, asked: &str, has: &str| {
            let what = "the campaign is of another one: ask for that, or leave it out";
            match asked.is_empty() || has.is_empty() || asked == has {
                true => Ok(if asked.is_empty() { has } else { asked }.to_owned()),
                false => Err(Problem::field(field, what)),
            }
        };
        let joined = Scope::new(
            &part("channel", asked.scope.channel(), scope.channel())?,
            &part("sender", asked.scope.sender(), scope.sender())?,
            &part("brand", asked.scope.brand(), scope.brand())?,
        );
        let category = if self.category.is_some() { asked.category } else { campaign.category };
        let scope = joined.map_err(|error| Problem::field("channel", error.to_string()))?;
        Ok(Context { scope, category })
    }
}

/// The campaign that a question names. One that nobody has set is refused: it is not known what
/// it would exclude.
pub(in crate::server) fn campaign_of(
    app: &App,
    id: Option<&str>,
) -> Result<Option<Campaign>, Problem> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let found = app.campaigns.get(id).map_err(|error| failed(app, &error))?;
    let unknown = "no campaign has this id: set it with PUT /v1/campaigns/{id}";
    found.map(Some).ok_or_else(|| Problem::field("campaign", unknown))
}

fn failed(app: &App, error: &CampaignError) -> Problem {
    match error {
        CampaignError::List(SideError::Busy { .. }) => {
            Problem::new(Kind::Overloaded, "the campaigns are being changed: send it again")
        }
        CampaignError::List(error) => {
            app.log(format_args!("campaigns: {error}"));
            let what = "the campaigns can't be read now: do not send meanwhile";
            Problem::new(Kind::StoreUnavailable, what)
        }
        CampaignError::Id => Problem::field("id", error.to_string()),
        CampaignError::Text => Problem::field("sender", error.to_string()),
        CampaignError::Channel(error) => Problem::field("channel", error.to_string()),
        error => Problem::field("campaign", error.to_string()),
    }
}

/// The campaigns that are set, page by page.
#[utoipa::path(
    get, path = "/v1/campaigns", tag = "campaigns", security(("key" = ["check"])),
    params(Listed),
    responses(
        (status = 200, body = Campaigns, description = "A page"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn list(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let page = from_query(&uri)
        .map(|listed: Listed| async move { app.ask(move |app, _| page(app, &listed)).await });
    match page {
        Ok(page) => page.await.map_or_else(Problem::into_response, |page| json(&page)),
        Err(problem) => problem.into_response(),
    }
}

fn page(app: &App, listed: &Listed) -> Result<Campaigns, Problem> {
    let limit = listed.limit.unwrap_or(LIMIT_USUAL);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::field("limit", format!("use 1 to {LIMIT_MAX}")));
    }
    let after = listed.cursor.as_deref().unwrap_or_default();
    let mut found = app.campaigns.after(after, limit + 1).map_err(|error| failed(app, &error))?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().filter(|_| !is_last).map(|(id, _)| id.clone());
    let items = found.into_iter().map(|(id, campaign)| CampaignView::of(id, campaign)).collect();
    Ok(Campaigns { items, next })
}

/// How a campaign is set.
#[utoipa::path(
    get, path = "/v1/campaigns/{id}", tag = "campaigns", security(("key" = ["check"])),
    params(("id" = String, Path, description = "The campaign")),
    responses(
        (status = 200, body = CampaignView, description = "The campaign"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let id = match from_path(id) {
        Ok(id) => id,
        Err(problem) => return problem.into_response(),
    };
    let found = app.ask(move |app, _| {
        let found = app.campaigns.get(&id).map_err(|error| failed(app, &error))?;
        found.map(|it| CampaignView::of(id, it)).ok_or_else(unknown)
    });
    found.await.map_or_else(Problem::into_response, |view| json(&view))
}

fn unknown() -> Problem {
    Problem::new(Kind::NotFound, "no campaign has this id")
}

/// Sets a campaign, new or not. What is not given is as for a new one.
#[utoipa::path(
    put, path = "/v1/campaigns/{id}", tag = "campaigns", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The campaign: 1 to 200 characters")),
    request_body = Settings,
    responses(
        (status = 200, body = CampaignView, description = "It is changed"),
        (status = 201, body = CampaignView, description = "It is new"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: it is as before")
    )
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let set = async {
        let id = from_path(id)?;
        let received = json_bytes(&app, &headers, body).await?;
        let campaign = from_json::<Settings>(&received.bytes)?.campaign(&access.operator)?;
        let (of, shown) = (app.clone(), CampaignView::of(id.clone(), campaign.clone()));
        let set = move || of.campaign_file.set(&id, campaign).map_err(|error| failed(&of, &error));
        Ok::<_, Problem>((app.ask_apart(set).await?, shown))
    };
    match set.await {
        Ok((is_new, shown)) => {
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            (status, json(&shown)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Removes a campaign: whoever names it from now on is refused.
#[utoipa::path(
    delete, path = "/v1/campaigns/{id}", tag = "campaigns", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The campaign")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let removed = async {
        let (id, of) = (from_path(id)?, app.clone());
        let remove = move || of.campaign_file.remove(&id).map_err(|error| failed(&of, &error));
        app.ask_apart(remove).await?.then_some(()).ok_or_else(unknown)
    };
    match removed.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    }
}
