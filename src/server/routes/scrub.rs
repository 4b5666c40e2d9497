//! Who of this campaign file may be sent to?
//!
//! The file is the body, of any size; it is scrubbed while it comes. Promises: an answer that ends
//! as HTTP says has all kept rows; a scrub that fails after its answer began breaks the connection
//! off. Leaves to others: the jobs (`server::scrub`).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::campaign::{AskedMessage, campaign_of};
use super::check::region;
use crate::scrub::{Mode, Report};
use crate::server::body::{from_path, from_query, json};
use crate::server::guard::Access;
use crate::server::problem::{Kind, Problem};
use crate::server::scrub::{Job, Outcome, Output, Plan, stream};

/// The header that names the job of an answer.
const JOB: &str = "optout-job";
/// An answer begins with so much, or when the job has ended: until then a failure can be told.
const BEGIN_BYTES: u64 = 256 << 10;

/// How a file is scrubbed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Asked {
    /// The column of the numbers, by name or by index from 1; found out if not given.
    pub(in crate::server) column: Option<String>,
    /// The region of numbers without calling code, such as MX.
    pub(in crate::server) region: Option<String>,
    /// The column that has the region of each number, by name or by index.
    pub(in crate::server) region_column: Option<String>,
    /// The campaign: its category, scope and mode count where none are given here.
    pub(in crate::server) campaign: Option<String>,
    /// marketing (if not given), utility or authentication.
    pub(in crate::server) category: Option<String>,
    /// The channel over which it goes, such as whatsapp or sms.
    pub(in crate::server) channel: Option<String>,
    /// The sender.
    pub(in crate::server) sender: Option<String>,
    /// The brand behind the sender.
    pub(in crate::server) brand: Option<String>,
    /// enforce (if not given), report (every row is written, the report says what enforcing would
    /// have done) or off (nobody is asked).
    pub(in crate::server) mode: Option<String>,
    /// Whether later rows with the same number are taken out.
    pub(in crate::server) dedupe: Option<bool>,
    /// Fails when more rows would be suppressed: a percentage such as 20%, or a count. The answer
    /// begins when all rows are judged.
    pub(in crate::server) max_suppressed: Option<String>,
    /// Whether the job can be rechecked.
    pub(in crate::server) receipt: Option<bool>,
    /// clean (if not given): the kept rows come back as they are found. job: the answer comes when
    /// the file is uploaded, and the rows are fetched later.
    #[serde(rename = "return")]
    pub(in crate::server) returns: Option<String>,
}

impl Asked {
    /// What is asked for, read. `keeps` says whether suppressed and invalid rows are kept too.
    pub(in crate::server) fn plan(&self, app: &App, keeps: bool) -> Result<Plan, Problem> {
        let campaign = campaign_of(app, self.campaign.as_deref())?;
        let asked = AskedMessage {
            category: self.category.as_deref(),
            channel: self.channel.as_deref(),
            sender: self.sender.as_deref(),
            brand: self.brand.as_deref(),
        };
        let mode = match (self.mode.as_deref(), &campaign) {
            (Some("enforce"), _) | (None, None) => Mode::Enforce,
            (Some("report"), _) => Mode::Report,
            (Some("off"), _) => Mode::Off,
            (Some(_), _) => return Err(Problem::field("mode", "use enforce, report or off")),
            (None, Some(campaign)) => campaign.mode.scrub_mode(),
        };
        let (dedupe, receipt) = (self.dedupe.unwrap_or(false), self.receipt.unwrap_or(false));
        if mode == Mode::Off && dedupe {
            let what = "mode off writes every row, dedupe takes rows out: give one of them";
            return Err(Problem::field("dedupe", what));
        }
        if mode == Mode::Off && receipt {
            let what = "mode off asks nobody, so there is nothing for a receipt to tell";
            return Err(Problem::field("receipt", what));
        }
        let max_suppressed = self.max_suppressed.as_deref().map(str::parse).transpose();
        let text = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
        Ok(Plan {
            context: asked.context(campaign.as_ref())?,
            mode,
            campaign: text(&self.campaign),
            column: text(&self.column),
            region: region(self.region.as_deref())?,
            region_column: text(&self.region_column),
            dedupe,
            max_suppressed: max_suppressed
                .map_err(|error| Problem::field("max_suppressed", format!("{error}")))?,
            suppressed: keeps,
            invalid: keeps,
            receipt,
        })
    }
}

/// A scrub, how far it is, and what came of it.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct JobView {
    id: String,
    /// running, done or failed.
    state: &'static str,
    /// The campaign whose settings were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    /// When it was begun.
    created_at: String,
    /// Bytes of the file that are done.
    bytes: u64,
    /// Bytes of the file, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_total: Option<u64>,
    /// Rows that are done.
    rows: u64,
    /// The outputs that can be fetched when it is done.
    outputs: Vec<&'static str>,
    /// What the scrub did, by the names of `optout scrub --report`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    report: Option<Report>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl JobView {
    pub(in crate::server) fn of(job: &Job) -> JobView {
        let outcome = job.outcome();
        let progress = job.progress();
        let outputs = Output::ALL.into_iter().filter(|&it| job.output(it).is_some());
        let mut view = JobView {
            id: job.id.clone(),
            state: "running",
            campaign: job.plan.campaign.clone(),
            created_at: job.created_at.to_string(),
            bytes: progress.bytes,
            bytes_total: job.bytes_total,
            rows: progress.rows,
            outputs: outputs.map(Output::as_str).collect(),
            report: None,
            problem: None,
        };
        match outcome {
            Outcome::Running => {}
            Outcome::Done(done) => {
                view.state = "done";
                view.outputs.push("report");
                view.outputs.extend(done.receipt.as_ref().map(|_| "receipt"));
                view.report = Some(done.report.clone());
            }
            Outcome::Failed(problem) => {
                view.state = "failed";
                view.problem = Some(problem);
            }
        }
        view
    }
}

/// The jobs of a key.
#[derive(Serialize, ToSchema)]
pub(super) struct Jobs {
    /// Newest first.
    items: Vec<JobView>,
}

/// Scrubs an uploaded campaign file: the body, whatever its type.
#[utoipa::path(
    post, path = "/v1/scrub", tag = "scrub", security(("key" = ["check"])),
    params(Asked),
    request_body(content = String, content_type = "application/octet-stream", description = "The file: CSV or another text with delimiters, in UTF-8, UTF-16 or Latin-1"),
    responses(
        (status = 200, body = String, content_type = "application/octet-stream", description = "The kept rows, byte for byte. An answer that is cut short has failed", headers(("optout-job" = String, description = "The job, which has the report"))),
        (status = 202, body = JobView, description = "The job, for return=job; the file is uploaded", headers(("location" = String, description = "Where the job is"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: do not send")
    )
)]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    begun(&app, &access, &uri, &headers, body).await.unwrap_or_else(Problem::into_response)
}

async fn begun(
    app: &Arc<App>,
    access: &Access,
    uri: &Uri,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    let asked: Asked = from_query(uri)?;
    let is_streamed = match asked.returns.as_deref().unwrap_or("clean") {
        "clean" => true,
        "job" => false,
        _ => return Err(Problem::field("return", "use clean or job")),
    };
    is_plain(headers)?;
    let plan = asked.plan(app, !is_streamed)?;
    let waits = plan.max_suppressed.is_some();
    let (job, feed) = app.scrubs.start(app, &access.id, plan, body.size_hint().exact())?;
    let of = app.clone();
    let uploading = tokio::spawn(async move { feed.pump(&of.limits, &mut body).await });
    if !is_streamed {
        let _ = uploading.await;
        return Ok(accepted(&job));
    }
    let has_begun = |job: &Job| {
        !waits && job.output(Output::Clean).is_some_and(|rows| rows.len() >= BEGIN_BYTES)
    };
    match job.wait(has_begun).await {
        Outcome::Failed(problem) => Err(problem),
        _ => fetched(job, Output::Clean, true),
    }
}

/// Forms and compressed bodies would be taken for rows.
fn is_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(header::CONTENT_TYPE).trim_start().to_ascii_lowercase().starts_with("multipart/") {
        let how = "send the file itself as the body, not a form (curl --data-binary @FILE)";
        return Err(Problem::new(Kind::NotPlain, how));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let how = "send the file as it is, without Content-Encoding";
        return Err(Problem::new(Kind::NotPlain, how));
    }
    Ok(())
}

fn accepted(job: &Job) -> Response {
    let mut response = json(&JobView::of(job));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/scrub/{}", job.id)) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The rows of an output as a download; with `once`, they are let go afterwards.
pub(in crate::server) fn fetched(
    job: Arc<Job>,
    output: Output,
    once: bool,
) -> Result<Response, Problem> {
    let is_done = matches!(job.outcome(), Outcome::Done(_));
    let length = job.output(output).filter(|_| is_done).map(|rows| rows.len());
    let id = job.id.clone();
    let body = stream(job, output, once).ok_or_else(no_output)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.csv\"", output.as_str())),
    ];
    let mut response = (headers, body).into_response();
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(JOB, id);
    }
    Ok(response)
}

fn no_output() -> Problem {
    Problem::new(Kind::NotFound, "the job keeps no such output: see its outputs")
}

/// The jobs that this key made and that are still there.
#[utoipa::path(
    get, path = "/v1/scrub", tag = "scrub", security(("key" = ["check"])),
    responses(
        (status = 200, body = Jobs, description = "The jobs"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
) -> Response {
    let jobs = app.scrubs.list(&access.id);
    json(&Jobs { items: jobs.iter().map(|job| JobView::of(job)).collect() })
}

/// A job: how far it is, what came of it.
#[utoipa::path(
    get, path = "/v1/scrub/{id}", tag = "scrub", security(("key" = ["check"])),
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, body = JobView, description = "The job"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal; 404 also for the jobs of other keys")
    )
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let job = from_path(id).and_then(|id| app.scrubs.find(&access.id, &id));
    job.map_or_else(Problem::into_response, |job| json(&JobView::of(&job)))
}

/// Ends a job and lets go what it kept.
#[utoipa::path(
    delete, path = "/v1/scrub/{id}", tag = "scrub", security(("key" = ["check"])),
    params(("id" = String, Path, description = "The job")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal; 404 also for the jobs of other keys")
    )
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let removed = from_path(id).and_then(|id| app.scrubs.remove(&access.id, &id));
    removed.map_or_else(Problem::into_response, |()| StatusCode::NO_CONTENT.into_response())
}

/// What came of a job: the clean, suppressed or invalid rows, the report, or the two files of a
/// receipt.
#[utoipa::path(
    get, path = "/v1/scrub/{id}/{output}", tag = "scrub", security(("key" = ["check"])),
    params(
        ("id" = String, Path, description = "The job"),
        ("output" = String, Path, description = "clean, suppressed, invalid, report, receipt or rows")
    ),
    responses(
        (status = 200, content((String = "application/octet-stream"), (Object = "application/json")), description = "The output; a download that is cut short has failed"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The job has not ended"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal; 404 also for the jobs of other keys")
    )
)]
pub(super) async fn output(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let found =
        from_path(path).and_then(|(id, name)| output_of(app.scrubs.find(&access.id, &id)?, &name));
    found.unwrap_or_else(Problem::into_response)
}

pub(in crate::server) fn output_of(job: Arc<Job>, name: &str) -> Result<Response, Problem> {
    let done = match job.outcome() {
        Outcome::Done(done) => done,
        Outcome::Failed(problem) => return Err(problem),
        Outcome::Running => {
            let what = "the list is being scrubbed: ask again later";
            return Err(Problem::new(Kind::NotFinished, what));
        }
    };
    if let Some(output) = Output::ALL.into_iter().find(|output| output.as_str() == name) {
        return fetched(job, output, false);
    }
    match (name, &done.receipt) {
        ("report", _) => Ok(json(&done.report)),
        ("receipt", Some(receipt)) => {
            // A line behind it seals it: it is no JSON as a whole.
            let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
            Ok((kind, receipt.to_text()).into_response())
        }
        _ => Err(no_output()),
    }
}
