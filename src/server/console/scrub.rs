//! Who of a campaign file may be sent to: giving it, watching it, fetching what came of it.
//!
//! Promises: a file is read while it comes and never held; a form without the token of its session
//! is refused before its file is read; a visitor sees the jobs of his key only. Leaves to others:
//! the jobs (`server::scrub`).

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::timeout;

use super::audience::said;
use super::form::{self, Fields, TOKEN};
use super::look::{self, Choice};
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, Failed, html, see};
use crate::scrub::{Mode, Report};
use crate::server::keys::KeyScope;
use crate::server::problem::{Kind, Problem};
use crate::server::routes::scrub::{Asked, output_of};
use crate::server::scrub::{Job, Outcome, Output};

/// Bytes of a field beside the file.
const FIELD_BYTES_MAX: usize = 4096;

struct JobRow {
    id: String,
    created: String,
    state: &'static str,
    rows: String,
}

#[derive(Template)]
#[template(path = "scrub.html")]
struct ScrubPage {
    f: Frame,
    t: &'static Texts,
    error: Option<String>,
    fields: Fields,
    categories: Vec<Choice>,
    modes: Vec<Choice>,
    regions: Vec<Choice>,
    jobs: Vec<JobRow>,
}

/// A count of a report, and its part of the whole.
struct Figure {
    name: &'static str,
    count: String,
    percent: String,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    f: Frame,
    t: &'static Texts,
    id: String,
    state: &'static str,
    is_running: bool,
    bytes: u64,
    bytes_total: Option<u64>,
    rows: String,
    failed: Option<String>,
    /// The rows of the file.
    total: String,
    figures: Vec<Figure>,
    reasons: Vec<(String, String)>,
    mode: &'static str,
    outputs: Vec<(&'static str, &'static str)>,
}

/// The form, and the jobs so far.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.may(KeyScope::Check)?;
    shown(&visit, StatusCode::OK, None, &Fields::default())
}

fn shown(visit: &Visit, status: StatusCode, error: Option<String>, fields: &Fields) -> Answer {
    let (t, access) = (visit.t, visit.known()?);
    let choices = |list: &[(&str, &str)], chosen: &str| {
        list.iter().map(|(value, label)| Choice::of(value, label, chosen)).collect()
    };
    let categories = [
        ("marketing", t.category_marketing),
        ("utility", t.category_utility),
        ("authentication", t.category_authentication),
    ];
    let modes = [("enforce", t.mode_enforce), ("report", t.mode_report), ("off", t.mode_off)];
    let jobs = visit.app.scrubs.list(&access.id);
    let row = |job: &Arc<Job>| JobRow {
        id: job.id.clone(),
        created: visit.moment(job.created_at),
        state: state(&job.outcome(), t),
        rows: visit.language.count(job.progress().rows),
    };
    let page = ScrubPage {
        f: visit.frame(t.scrub, "/console/scrub"),
        t,
        error,
        categories: choices(&categories, fields.get("category")),
        modes: choices(&modes, fields.get("mode")),
        regions: look::regions(t.international, fields.get("region")),
        jobs: jobs.iter().map(row).collect(),
        fields: fields.clone(),
    };
    Ok(html(status, &page))
}

fn state(outcome: &Outcome, t: &Texts) -> &'static str {
    match outcome {
        Outcome::Running => t.job_running,
        Outcome::Done(_) => t.job_done,
        Outcome::Failed(_) => t.job_failed,
    }
}

/// Scrubs a file.
pub(super) async fn begin(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Check)?.clone();
    let limits = &visit.app.limits;
    let mut request = request;
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| Problem::new(Kind::Malformed, "the form can't be read"))?;
    let mut fields = Fields::default();
    loop {
        let next = timeout(limits.body_time, form.next_field()).await;
        let next = next.map_err(|_| Problem::new(Kind::TooSlow, "the form took too long"))?;
        let next = next.map_err(|_| Problem::new(Kind::Malformed, "the form broke off"))?;
        let Some(mut field) = next else { break };
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            let value = text_of(&visit, &mut field).await?;
            fields.push(name, value);
            continue;
        }
        visit.holds_token(fields.get(TOKEN))?;
        if field.file_name().is_none_or(str::is_empty) {
            break;
        }
        let plan = match asked(&fields).plan(&visit.app, true) {
            Ok(plan) => plan,
            Err(problem) if problem.errors().is_empty() => return Err(problem.into()),
            Err(problem) => {
                let error = said(&problem, visit.t);
                return shown(&visit, problem.status(), Some(error), &fields);
            }
        };
        let (job, feed) = visit.app.scrubs.start(&visit.app, &access.id, plan, None)?;
        feed.pump(limits, &mut field).await;
        return Ok(see(&format!("/console/scrub/{}", job.id)));
    }
    visit.holds_token(fields.get(TOKEN))?;
    shown(&visit, StatusCode::UNPROCESSABLE_ENTITY, Some(visit.t.no_file.to_owned()), &fields)
}

/// A field beside the file.
async fn text_of(
    visit: &Visit,
    field: &mut axum::extract::multipart::Field<'_>,
) -> Result<String, Failed> {
    let mut bytes = Vec::new();
    loop {
        let next = timeout(visit.app.limits.body_time, field.chunk()).await;
        let next = next.map_err(|_| Problem::new(Kind::TooSlow, "the form took too long"))?;
        let next = next.map_err(|_| Problem::new(Kind::Malformed, "the form broke off"))?;
        let Some(chunk) = next else { break };
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FIELD_BYTES_MAX {
            let what = format!("a field may have {FIELD_BYTES_MAX} bytes");
            return Err(Problem::new(Kind::TooLarge, what).into());
        }
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| Problem::new(Kind::Malformed, "a field is not text").into())
}

fn asked(fields: &Fields) -> Asked {
    let given = |name: &str| Some(fields.get(name).to_owned()).filter(|it| !it.is_empty());
    Asked {
        column: given("column"),
        region: given("region"),
        region_column: None,
        campaign: given("campaign"),
        category: given("category"),
        channel: given("channel"),
        sender: given("sender"),
        brand: None,
        mode: given("mode"),
        dedupe: Some(fields.get("dedupe") == "on"),
        max_suppressed: given("max_suppressed"),
        receipt: None,
        returns: None,
    }
}

/// A job: how far it is, what came of it.
pub(super) async fn job(visit: Visit, path: Result<Path<String>, PathRejection>) -> Answer {
    visit.may(KeyScope::Check)?;
    let job = find(&visit, path.map(|Path(id)| id).ok())?;
    let (t, language, progress) = (visit.t, visit.language, job.progress());
    let outcome = job.outcome();
    let mut page = JobPage {
        f: visit.frame(t.scrub, "/console/scrub"),
        t,
        id: job.id.clone(),
        state: state(&outcome, t),
        is_running: matches!(outcome, Outcome::Running),
        bytes: progress.bytes,
        bytes_total: job.bytes_total,
        rows: language.count(progress.rows),
        failed: None,
        total: String::new(),
        figures: vec![],
        reasons: vec![],
        mode: match job.plan.mode {
            Mode::Enforce => t.mode_enforce,
            Mode::Report => t.mode_report,
            Mode::Off => t.mode_off,
        },
        outputs: vec![],
    };
    match outcome {
        Outcome::Running => {}
        Outcome::Failed(problem) => page.failed = Some(said(&problem, t)),
        Outcome::Done(done) => {
            report(&mut page, &done.report, &visit);
            let names = [
                (Output::Clean, t.output_clean),
                (Output::Suppressed, t.output_suppressed),
                (Output::Invalid, t.output_invalid),
            ];
            let there = names.into_iter().filter(|(output, _)| job.output(*output).is_some());
            page.outputs.extend(there.map(|(output, name)| (output.as_str(), name)));
            page.outputs.push(("report", t.output_report));
        }
    }
    Ok(html(StatusCode::OK, &page))
}

fn report(page: &mut JobPage, report: &Report, visit: &Visit) {
    let (t, language) = (visit.t, visit.language);
    let figure = |name, count| Figure {
        name,
        count: language.count(count),
        percent: language.percent(count, report.rows),
    };
    page.total = language.count(report.rows);
    page.figures = vec![
        figure(t.kept, report.kept),
        figure(t.suppressed, report.suppressed),
        figure(t.invalid, report.invalid),
        figure(t.duplicates, report.duplicates),
    ];
    let reasons = report.invalid_reasons.iter().filter(|(_, count)| **count > 0);
    page.reasons = reasons.map(|(name, count)| (name.clone(), language.count(*count))).collect();
}

/// What came of a job.
pub(super) async fn output(
    visit: Visit,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let access = visit.may(KeyScope::Check)?;
    let (id, name) = path.map(|Path(path)| path).map_err(|_| unknown())?;
    let job = visit.app.scrubs.find(&access.id, &id)?;
    let mut response: Response = output_of(job, &name)?;
    if name == "report" {
        let header = axum::http::HeaderValue::from_static("attachment; filename=\"report.json\"");
        response.headers_mut().insert(axum::http::header::CONTENT_DISPOSITION, header);
    }
    Ok(response)
}

/// Ends a job and lets go what it kept.
pub(super) async fn remove(
    visit: Visit,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let access = visit.may(KeyScope::Check)?.clone();
    form::posted(&visit, request).await?;
    let id = path.map(|Path(id)| id).map_err(|_| unknown())?;
    visit.app.scrubs.remove(&access.id, &id)?;
    Ok(see("/console/scrub"))
}

fn find(visit: &Visit, id: Option<String>) -> Result<Arc<Job>, Failed> {
    let id = id.ok_or_else(unknown)?;
    Ok(visit.app.scrubs.find(&visit.known()?.id, &id)?)
}

fn unknown() -> Failed {
    Problem::new(Kind::NotFound, "no job has this id").into()
}
