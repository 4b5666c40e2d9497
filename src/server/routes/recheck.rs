//! Who of a scrubbed list stands differently since?
//!
//! Asked right before the list is handed on: with a job that keeps a receipt, or with the files of
//! a scrub that was run elsewhere. Promises: the rows are given when all are known; a receipt of
//! another store, rule or message is refused. Leaves to others: how rows are found
//! (`query::recheck`).

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::check::judge;
use crate::query::{self, RecheckRefused, Stale, context_of};
use crate::scrub::{Receipt, RecheckError, RecheckReport, ScrubError, Sink, Source};
use crate::server::body::{from_query, json};
use crate::server::guard::Access;
use crate::server::problem::{Kind, Problem};
use crate::server::scrub::{Broken, Chunks, Outcome, Output, Pace, Spool, stream_of, unwritten};

/// Bytes of a receipt.
const RECEIPT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a file that are written at once.
const GATHERED_BYTES: usize = 1 << 20;

/// What is rechecked, and what is told.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The job, scrubbed with receipt=true; without it the body has the files.
    job: Option<String>,
    /// rows (if not given): the rows that stand differently, in the form of the list. report: how
    /// many they are.
    #[serde(rename = "return")]
    returns: Option<String>,
}

/// The files of a scrub that was run elsewhere.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is read by hand")]
pub(super) struct Files {
    /// The receipt, as `optout scrub --receipt` wrote it.
    receipt: String,
    /// Its index, `FILE.rows`.
    #[schema(format = Binary)]
    rows: String,
    /// The list that was scrubbed, or what was kept of it.
    #[schema(format = Binary)]
    file: String,
}

/// How many stand differently.
#[derive(Serialize, ToSchema)]
pub(super) struct Rechecked {
    /// Rows of the list that was scrubbed.
    rows: u64,
    /// file (input or kept), changed (subscribers), looked_at (rows), suppressed and released
    /// (rows that stand differently).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    report: RecheckReport,
    /// The newest event that the scrub knew.
    from_sequence: u64,
    /// The newest event that is known now.
    to_sequence: u64,
    /// When the list was scrubbed.
    scrubbed_at: String,
}

/// Gives the rows of a scrubbed list that must not be sent to any more, or may be only now.
#[utoipa::path(
    post, path = "/v1/recheck", tag = "scrub", security(("key" = ["check"])),
    params(Asked),
    request_body(content = inline(Files), content_type = "multipart/form-data", description = "Without a job: the parts receipt, rows and file"),
    responses(
        (status = 200, content((String = "application/octet-stream"), (Rechecked = "application/json")), description = "The rows with the column optout_change, or for return=report how many they are",
            headers(("optout-suppressed" = u64, description = "Rows that must not be sent to any more"), ("optout-released" = u64, description = "Rows that may be sent to now"), ("optout-sequence" = u64, description = "The newest event that is known"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal: do not send")
    )
)]
pub(super) async fn recheck(
    State(app): State<Arc<App>>,
    Extension(access): Extension<Access>,
    request: Request,
) -> Response {
    rechecked(&app, &access, request).await.unwrap_or_else(Problem::into_response)
}

/// What is needed to recheck a list.
struct Kept {
    receipt: Receipt,
    rows: Arc<Spool>,
    list: Arc<Spool>,
}

async fn rechecked(app: &Arc<App>, access: &Access, request: Request) -> Result<Response, Problem> {
    let asked: Asked = from_query(request.uri())?;
    let wants_rows = match asked.returns.as_deref().unwrap_or("rows") {
        "rows" => true,
        "report" => false,
        _ => return Err(Problem::field("return", "use rows or report")),
    };
    let place = app.scrubs.place()?;
    let kept = match asked.job.as_deref() {
        Some(job) => of_job(app, access, job)?,
        None => of_body(app, request).await?,
    };
    let of = app.clone();
    let work = move || {
        let done = run(&of, &kept);
        drop(place);
        done
    };
    let (report, out) = app.ask_apart(work).await?;
    if !wants_rows {
        return Ok(json(&report));
    }
    let counts = [
        ("optout-suppressed", report.report.suppressed),
        ("optout-released", report.report.released),
        ("optout-sequence", report.to_sequence),
        ("content-length", out.len()),
    ];
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"changed.csv\""),
    ];
    let mut response = (headers, stream_of(out)).into_response();
    for (name, count) in counts {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    Ok(response)
}

/// The files of a job.
fn of_job(app: &App, access: &Access, id: &str) -> Result<Kept, Problem> {
    let job = app.scrubs.find(&access.id, id)?;
    let done = match job.outcome() {
        Outcome::Done(done) => done,
        Outcome::Failed(problem) => return Err(problem),
        Outcome::Running => {
            let what = "the list is being scrubbed: ask again later";
            return Err(Problem::new(Kind::NotFinished, what));
        }
    };
    match (&done.receipt, job.output(Output::Rows), job.output(Output::Clean)) {
        (Some(receipt), Some(rows), Some(list)) => {
            Ok(Kept { receipt: receipt.clone(), rows, list })
        }
        _ => Err(Problem::field("job", "it has no receipt: scrub the list with receipt=true")),
    }
}

/// The files of a form.
async fn of_body(app: &Arc<App>, mut request: Request) -> Result<Kept, Problem> {
    // The limits are those of uploads, not of bodies that are held.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|_| {
        let how = "name a job, or send a form (multipart/form-data) with the parts receipt, rows \
                   and file";
        Problem::new(Kind::NotPlain, how)
    })?;
    let (mut receipt, mut rows, mut list) = (None, None, None);
    loop {
        let field = timeout(app.limits.body_time, form.next_field()).await;
        let field = field.map_err(|_| too_slow())?.map_err(|_| broken())?;
        let Some(field) = field else { break };
        let name = field.name().unwrap_or_default().to_owned();
        let is_new = match &*name {
            "receipt" => receipt.replace(receipt_of(app, field).await?).is_none(),
            "rows" => rows.replace(spooled(app, field).await?).is_none(),
            "file" => list.replace(spooled(app, field).await?).is_none(),
            _ => return Err(Problem::field("body", "the parts are receipt, rows and file")),
        };
        if !is_new {
            return Err(Problem::field(name, "the part is there twice"));
        }
    }
    let missing = |name: &'static str| move || Problem::field(name, "the part is missing");
    Ok(Kept {
        receipt: receipt.ok_or_else(missing("receipt"))?,
        rows: rows.ok_or_else(missing("rows"))?,
        list: list.ok_or_else(missing("file"))?,
    })
}

fn too_slow() -> Problem {
    Problem::new(Kind::TooSlow, "the files came too slowly")
}

fn broken() -> Problem {
    Problem::new(Kind::Malformed, "the form could not be read to its end")
}

/// The next piece of a part; `None` at its end.
async fn piece(
    app: &App,
    field: &mut Field<'_>,
    pace: &mut Pace,
) -> Result<Option<bytes::Bytes>, Problem> {
    let begin = Instant::now();
    let next = timeout(app.limits.body_time, field.next()).await.map_err(|_| too_slow())?;
    let bytes = next.transpose().map_err(|Broken| broken())?;
    let count = bytes.as_ref().map_or(0, bytes::Bytes::len);
    if bytes.is_some() && !pace.is_kept(begin.elapsed(), count) {
        return Err(too_slow());
    }
    Ok(bytes)
}

async fn receipt_of(app: &App, mut field: Field<'_>) -> Result<Receipt, Problem> {
    let (mut text, mut pace) = (Vec::new(), Pace::new(&app.limits));
    while let Some(bytes) = piece(app, &mut field, &mut pace).await? {
        if text.len() + bytes.len() > RECEIPT_BYTES_MAX {
            return Err(Problem::new(Kind::TooLarge, "a receipt is not that large"));
        }
        text.extend_from_slice(&bytes);
    }
    Receipt::parse(&text).map_err(|error| Problem::field("receipt", error.to_string()))
}

async fn spooled(app: &Arc<App>, mut field: Field<'_>) -> Result<Arc<Spool>, Problem> {
    let failed = |error: io::Error| unwritten(app, &error);
    let spool = Arc::new(app.scrubs.room().spool().map_err(failed)?);
    let (mut gathered, mut pace) = (Vec::new(), Pace::new(&app.limits));
    loop {
        let bytes = piece(app, &mut field, &mut pace).await?;
        gathered.extend_from_slice(bytes.as_deref().unwrap_or_default());
        if gathered.len() >= GATHERED_BYTES || bytes.is_none() {
            let (to, from) = (spool.clone(), app.clone());
            let write = move || {
                let written = to.writer().write_all(&gathered);
                gathered.clear();
                written.map(|()| gathered).map_err(|error| unwritten(&from, &error))
            };
            gathered = app.ask_apart(write).await?;
        }
        if bytes.is_none() {
            return Ok(spool);
        }
    }
}

fn run(app: &App, kept: &Kept) -> Result<(Rechecked, Arc<Spool>), Problem> {
    let (reader, receipt) = (app.service.view(), &kept.receipt);
    let context = context_of(receipt).map_err(|error| refused(app, &error))?;
    let judge = judge(app, &reader, context, Stale::Refuse)?;
    let out = app.scrubs.room().spool().map_err(|error| unwritten(app, &error))?;
    let mut writer = out.writer();
    let sink = Sink::new("changed", &mut writer);
    let rows = Source::new("rows", kept.rows.reader());
    let list = Source::new("file", kept.list.reader());
    let report = query::recheck(&judge, receipt, rows, list, Some(sink));
    let report = report.map_err(|error| refused(app, &error))?;
    let rechecked = Rechecked {
        rows: receipt.rows(),
        report,
        from_sequence: receipt.sequence(),
        to_sequence: reader.sequence(),
        scrubbed_at: receipt.basis().asked_at.to_string(),
    };
    Ok((rechecked, Arc::new(out)))
}

fn refused(app: &App, error: &RecheckRefused) -> Problem {
    match error {
        RecheckRefused::Store(error) => app.unanswered(error),
        RecheckRefused::Recheck(error) => match error {
            RecheckError::Index { .. } => Problem::field("rows", error.to_string()),
            RecheckError::OtherFile { .. } | RecheckError::FileChanged { .. } => {
                Problem::field("file", error.to_string())
            }
            RecheckError::Write(ScrubError::Write { source, .. }) => unwritten(app, source),
            RecheckError::Lookup(source) => {
                app.log(format_args!("recheck: {source}"));
                let what = "the store can't be read now: do not send meanwhile";
                Problem::new(Kind::StoreUnavailable, what)
            }
            error => {
                app.log(format_args!("recheck: {error}"));
                Problem::new(Kind::Internal, "the list could not be rechecked: scrub it again")
            }
        },
        RecheckRefused::OtherPolicy => {
            let what = "the list was scrubbed by other rules than the server's: scrub it again";
            Problem::field("receipt", what)
        }
        error => Problem::field("receipt", error.to_string()),
    }
}
