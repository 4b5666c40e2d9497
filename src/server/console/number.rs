//! How does one person stand, and what happened to him?
//!
//! Promises: no number stands in an address, where browsers and proxies keep it: a person is named
//! by an event of his.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;

use super::audience::said;
use super::look::{self, Row};
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, Failed, form, html, record, see};
use crate::event::Event;
use crate::number::{Address, NumberReader, SubscriberKey};
use crate::policy::Decision;
use crate::query::{self, Filter, Stale, explain};
use crate::server::App;
use crate::server::keys::KeyScope;
use crate::server::problem::{Kind, Problem};
use crate::server::routes::check::{context, judge, region};
use crate::server::routes::number::whom;
use crate::store::{Reader, StoreError};

#[derive(Template)]
#[template(path = "number.html")]
struct NumberPage {
    f: Frame,
    t: &'static Texts,
    number: String,
    verdict: &'static str,
    verdict_word: &'static str,
    rule: String,
    since: Option<String>,
    layers: Vec<String>,
    rows: Vec<Row>,
    done: &'static str,
    is_refused: bool,
    opens_add: bool,
    opens_resubscribe: bool,
    opens_override: bool,
    sequence: Option<u64>,
    once: String,
}

/// A person by one of his events.
pub(super) async fn page(visit: Visit, path: Result<Path<u64>, PathRejection>) -> Answer {
    visit.may(KeyScope::Check)?;
    let nothing = || Failed(Problem::new(Kind::NotFound, "no event has this number"));
    let Path(sequence) = path.map_err(|_| nothing())?;
    let app = visit.app.clone();
    let seen = visit.clone();
    let found = app.ask(move |app, reader| {
        let event = event(app, reader, sequence)?;
        let (address, key) = (event.address, event.key);
        key.map(|key| shown(app, reader, &seen, address, key)).transpose()
    });
    found.await?.ok_or_else(nothing)
}

/// Finds a person by his number or id.
pub(super) async fn search(visit: Visit, request: Request) -> Answer {
    visit.may(KeyScope::Check)?;
    let fields = form::posted(&visit, request).await?;
    let (number, region_name) = (fields.get("number").to_owned(), fields.get("region").to_owned());
    let app = visit.app.clone();
    let seen = visit.clone();
    let found = app.ask(move |app, reader| {
        let numbers = NumberReader::new(region(Some(&region_name))?, reader.folding());
        let (address, key) = whom(reader, number.as_bytes(), &numbers, app)?;
        let history = reader.history(key).map_err(|error| app.unanswered(&error))?;
        match history.last() {
            Some(event) => Ok(see(&format!("/console/numbers/{}", event.sequence))),
            None => shown(app, reader, &seen, Some(address), key),
        }
    });
    match found.await {
        Ok(response) => Ok(response),
        Err(problem) if problem.errors().is_empty() => Err(problem.into()),
        Err(problem) => {
            let error = said(&problem, visit.t);
            Ok(record::form(&visit, problem.status(), Some(error), &fields))
        }
    }
}

fn event(app: &App, reader: &Reader, sequence: u64) -> Result<Event, Problem> {
    let (after, up_to) = (sequence.saturating_sub(1), Some(sequence));
    let filter = Filter { after, up_to, ..Filter::default() };
    let mut found = None;
    let visit = |event| {
        found = Some(event);
        Ok::<bool, StoreError>(false)
    };
    query::events(reader, &filter, visit).map_err(|error| app.unanswered(&error))?;
    found.ok_or_else(|| Problem::new(Kind::NotFound, "no event has this number"))
}

fn shown(
    app: &App,
    reader: &Reader,
    visit: &Visit,
    address: Option<Address>,
    key: SubscriberKey,
) -> Result<Response, Problem> {
    let judge = judge(app, reader, context(None, None, None, None)?, Stale::Accept)?;
    let explained = explain(&judge, key).map_err(|error| app.unanswered(&error))?;
    let t = visit.t;
    let since = explained.since_event().map(|event| visit.moment(event.occurred_at));
    let decision = explained.ruling.decision;
    let done = visit.fields.get("done");
    let name = |address: &Address| look::shown(address, visit.shows_numbers);
    let mut rows: Vec<Row> =
        explained.events.into_iter().map(|event| Row::of(visit, event)).collect();
    rows.reverse();
    let page = NumberPage {
        f: visit.frame(t.person, "/console/record"),
        t,
        number: address.as_ref().map_or(t.forgotten.to_owned(), name),
        verdict: match decision {
            Decision::Suppressed => t.suppressed,
            _ if explained.claims.is_empty() => t.allowed,
            _ => t.exempt,
        },
        verdict_word: decision.as_str(),
        rule: explained.rule,
        since,
        layers: explained.layers,
        sequence: rows.first().map(|row| row.sequence),
        rows,
        done: t.outcome(done),
        is_refused: done == "refused",
        opens_add: visit.opens(KeyScope::Add),
        opens_resubscribe: visit.opens(KeyScope::Resubscribe),
        opens_override: visit.opens(KeyScope::Admin),
        once: record::once()?,
    };
    Ok(html(StatusCode::OK, &page))
}

/// The address that an event is about, as it is read back.
pub(super) async fn address(visit: &Visit, sequence: u64) -> Result<String, Failed> {
    let event = visit.app.ask(move |app, reader| event(app, reader, sequence)).await?;
    let address = event.address.map(|address| address.to_string());
    let forgotten = "the person asked to be forgotten: enter the number";
    address.ok_or_else(|| Problem::new(Kind::NotFound, forgotten).into())
}
