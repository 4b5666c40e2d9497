//! What does a person record by hand?
//!
//! Promises: a form that is sent twice is recorded once; a form that can't be recorded comes back
//! as it was, with what is wrong.

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use super::audience::said;
use super::form::{self, Fields};
use super::look::{self, Choice};
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, html, number, see};
use crate::server::guard::Access;
use crate::server::keys::{self, KeyScope};
use crate::server::problem::{Kind, Problem};
use crate::server::routes::record::{ByHand, by_hand};

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    f: Frame,
    t: &'static Texts,
    error: Option<String>,
    opens_search: bool,
    opens_add: bool,
    opens_resubscribe: bool,
    opens_override: bool,
    regions: Vec<Choice>,
    fields: Fields,
    /// Which form the fields are of.
    form: String,
    once: String,
}

/// The forms.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.known()?;
    Ok(form(&visit, StatusCode::OK, None, &visit.fields))
}

/// The forms, with what was entered.
pub(super) fn form(
    visit: &Visit,
    status: StatusCode,
    error: Option<String>,
    fields: &Fields,
) -> Response {
    let opens = |scope| visit.opens(scope);
    let page = RecordPage {
        f: visit.frame(visit.t.person, "/console/record"),
        t: visit.t,
        error,
        opens_search: opens(KeyScope::Check),
        opens_add: opens(KeyScope::Add),
        opens_resubscribe: opens(KeyScope::Resubscribe),
        opens_override: opens(KeyScope::Admin),
        regions: look::regions(visit.t.international, fields.get("region")),
        fields: fields.clone(),
        form: fields.get("form").to_owned(),
        once: once().unwrap_or_default(),
    };
    html(status, &page)
}

/// What tells one form from another.
pub(super) fn once() -> Result<String, Problem> {
    let mut bytes = [0; 10];
    let drawn = keys::random(&mut bytes);
    drawn.map_err(|_| Problem::new(Kind::Internal, "no random bytes could be had"))?;
    Ok(keys::base32(&bytes))
}

/// Records an opt-out.
pub(super) async fn opt_out(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Add)?.clone();
    let fields = form::posted(&visit, request).await?;
    record(&visit, access, &fields, None).await
}

/// Records that a person came back.
pub(super) async fn resubscribe(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Resubscribe)?.clone();
    let fields = form::posted(&visit, request).await?;
    let overrides = fields.get("override") == "on";
    if overrides {
        visit.may(KeyScope::Admin)?;
    }
    let lift = Some((fields.get("reason").to_owned(), overrides));
    record(&visit, access, &fields, lift).await
}

async fn record(
    visit: &Visit,
    access: Access,
    fields: &Fields,
    lift: Option<(String, bool)>,
) -> Answer {
    let text = |name| fields.get(name).to_owned();
    let of_event = fields.get("of").parse::<u64>().ok();
    let number = match of_event {
        // The page of a person names him by his event.
        Some(sequence) => number::address(visit, sequence).await?,
        None => text("number"),
    };
    let once: String = text("once").chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    let entry = ByHand {
        number,
        region: text("region"),
        channel: text("channel"),
        sender: text("sender"),
        campaign: text("campaign"),
        tier: text("tier"),
        note: text("note"),
        message_id: if once.is_empty() { once } else { format!("console-{once}") },
        lift,
    };
    match by_hand(&visit.app, access.operator.clone(), entry).await {
        Ok(recorded) => {
            let (sequence, outcome) = recorded.last().copied().unwrap_or_default();
            match visit.opens(KeyScope::Check) {
                true => Ok(see(&format!("/console/numbers/{sequence}?done={outcome}"))),
                false => {
                    let done = visit.t.outcome(outcome).to_owned();
                    Ok(done_page(visit, &done))
                }
            }
        }
        Err(problem) if problem.errors().is_empty() => Err(problem.into()),
        Err(problem) => {
            let error = said(&problem, visit.t);
            Ok(form(visit, problem.status(), Some(error), fields))
        }
    }
}

#[derive(Template)]
#[template(path = "done.html")]
struct DonePage<'a> {
    f: Frame,
    t: &'static Texts,
    done: &'a str,
}

/// For those who may record and not look.
fn done_page(visit: &Visit, done: &str) -> Response {
    let f = visit.frame(visit.t.person, "/console/record");
    html(StatusCode::OK, &DonePage { f, t: visit.t, done })
}
