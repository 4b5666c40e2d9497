//! Who opted out, when and how: the list, its chart, its download.
//!
//! Promises: the download holds exactly what the page's question means; a question that can't be
//! answered is shown again as it was asked, with what is wrong.

use std::sync::Arc;

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use jiff::ToSpan;
use jiff::civil::Date;

use super::chart::{self, Chart, Days};
use super::form::{self, Fields};
use super::look::{self, Choice, Row};
use super::texts::Texts;
use super::visit::{A_YEAR, Frame, Visit, ZONE};
use super::{Answer, Failed, html};
use crate::event::{Action, Event};
use crate::server::App;
use crate::server::keys::KeyScope;
use crate::server::problem::Problem;
use crate::server::routes::list::{self, Parts};
use crate::store::{Clock, Reader, StoreError};
use crate::time::{Timestamp, Zone};

/// Events of a page.
const ROWS: usize = 50;
/// Events that are counted for the chart; more would let the page wait.
const COUNTED_MAX: u64 = 3_000_000;
/// The fields of a question, beside its range.
const KEPT: [&str; 8] =
    ["tz", "clock", "view", "source", "channel", "sender", "campaign", "country"];
/// Zones that are offered; every other one may be written.
pub(super) const ZONES: [&str; 24] = [
    "UTC",
    "America/Mexico_City",
    "America/Tijuana",
    "America/Cancun",
    "America/Bogota",
    "America/Lima",
    "America/Guayaquil",
    "America/Guatemala",
    "America/Costa_Rica",
    "America/Panama",
    "America/Santo_Domingo",
    "America/Caracas",
    "America/La_Paz",
    "America/Santiago",
    "America/Asuncion",
    "America/Montevideo",
    "America/Argentina/Buenos_Aires",
    "America/Sao_Paulo",
    "America/Manaus",
    "America/New_York",
    "America/Los_Angeles",
    "Europe/Madrid",
    "Europe/Lisbon",
    "Europe/London",
];

/// A question, as it was asked.
#[derive(Clone, Default)]
pub(super) struct Asked {
    range: String,
    from: String,
    /// The last day of the range; a moment ends it.
    to: String,
    /// The others, in the order of [`KEPT`].
    kept: [String; KEPT.len()],
    cursor: String,
}

/// The range of a question: its first day, and the first behind it.
#[derive(Clone, Default)]
struct Range {
    from: Option<Date>,
    to: Option<Date>,
    /// As the question says it.
    from_text: String,
    to_text: String,
}

impl Asked {
    fn read(fields: &Fields, zone: &str) -> Asked {
        let mut kept = KEPT.map(|name| fields.get(name).to_owned());
        if kept[0].is_empty() {
            kept[0] = zone.to_owned();
        }
        let text = |name| fields.get(name).to_owned();
        let (from, to) = (text("from"), text("to"));
        let range = match fields.get("range") {
            "" if from.is_empty() && to.is_empty() => "last28".to_owned(),
            "" => "custom".to_owned(),
            range => range.to_owned(),
        };
        Asked { range, from, to, kept, cursor: text("cursor") }
    }

    fn get(&self, name: &str) -> &str {
        let at = KEPT.iter().position(|it| *it == name);
        at.map_or("", |at| &self.kept[at])
    }

    /// The days that are meant. What is no date is left for the question to refuse.
    fn days(&self, now: Timestamp) -> Result<Range, Problem> {
        let zone = Zone::parse(self.get("tz"));
        let zone = zone.map_err(|error| Problem::field("tz", error.to_string()))?;
        let today = now.date_in(&zone);
        let before = |days: i64| today.checked_sub(days.days()).unwrap_or(today);
        let next = |date: Date| date.checked_add(1.day()).ok();
        let month = today.first_of_month();
        let last_month = month.checked_sub(1.month()).unwrap_or(month);
        let (from, to) = match self.range.as_str() {
            "today" => (Some(today), next(today)),
            "yesterday" => (Some(before(1)), Some(today)),
            "last7" => (Some(before(6)), next(today)),
            "last28" => (Some(before(27)), next(today)),
            "last90" => (Some(before(89)), next(today)),
            "month" => (Some(month), next(today)),
            "last-month" => (Some(last_month), Some(month)),
            "all" => (None, None),
            "custom" => return self.own_days(&zone),
            _ => return Err(Problem::field("range", "no range is called so")),
        };
        let text = |date: Option<Date>| date.map_or(String::new(), |date| date.to_string());
        Ok(Range { from, to, from_text: text(from), to_text: text(to) })
    }

    fn own_days(&self, zone: &Zone) -> Result<Range, Problem> {
        let date = |text: &str| Date::strptime("%Y-%m-%d", text).ok();
        // Of a moment the day is shown, and the moment is meant.
        let day = |field: &str, text: &str| {
            let moment = Some(text).filter(|text| !text.is_empty());
            let moment = moment.map(|text| Timestamp::parse(text, zone)).transpose();
            let moment = moment.map_err(|error| Problem::field(field, error.to_string()))?;
            Ok::<_, Problem>(moment.map(|moment| moment.date_in(zone)))
        };
        let (from, last) = (day("from", &self.from)?, day("to", &self.to)?);
        let to = last.and_then(|last| last.checked_add(1.day()).ok());
        let to_text = match (date(&self.to), to) {
            (Some(_), Some(to)) => to.to_string(),
            _ => self.to.clone(),
        };
        Ok(Range { from, to, from_text: self.from.clone(), to_text })
    }

    fn parts<'a>(&'a self, range: &'a Range) -> Parts<'a> {
        let given = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let kept = |name| given(self.get(name));
        Parts {
            from: given(&range.from_text),
            to: given(&range.to_text),
            tz: kept("tz"),
            clock: kept("clock"),
            view: kept("view"),
            source: kept("source"),
            channel: kept("channel"),
            sender: kept("sender"),
            campaign: kept("campaign"),
            country: kept("country"),
        }
    }

    /// The fields that ask the same, whatever day it is then.
    fn fixed(&self, range: &Range) -> Vec<(String, String)> {
        let last = match self.range.as_str() {
            "custom" => self.to.clone(),
            _ => range
                .to
                .and_then(|to| to.checked_sub(1.day()).ok())
                .map_or(String::new(), |it| it.to_string()),
        };
        let own = if self.range == "all" { "all" } else { "custom" };
        let mut fields = vec![("range", own.to_owned())];
        fields.push(("from", range.from_text.clone()));
        fields.push(("to", last));
        fields.extend(KEPT.into_iter().zip(self.kept.iter().cloned()));
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn is_filtered(&self) -> bool {
        KEPT[3..].iter().any(|name| !self.get(name).is_empty())
    }
}

/// The form of a question.
struct Form {
    asked: Asked,
    ranges: Vec<Choice>,
    clocks: Vec<Choice>,
    views: Vec<Choice>,
    sources: Vec<Choice>,
    countries: Vec<Choice>,
}

impl Form {
    fn of(asked: Asked, t: &Texts) -> Form {
        let ranges = [
            ("today", t.today),
            ("yesterday", t.yesterday),
            ("last7", t.last7),
            ("last28", t.last28),
            ("last90", t.last90),
            ("month", t.this_month),
            ("last-month", t.last_month),
            ("all", t.all_time),
            ("custom", t.custom),
        ];
        let choices = |list: &[(&str, &str)], chosen: &str| {
            list.iter().map(|(value, label)| Choice::of(value, label, chosen)).collect()
        };
        let clocks = [("", t.clock_received), ("occurred", t.clock_occurred)];
        Form {
            ranges: choices(&ranges, &asked.range),
            clocks: choices(&clocks, asked.get("clock")),
            views: choices(&[("", t.view_events), ("state", t.view_state)], asked.get("view")),
            sources: look::sources(t, asked.get("source")),
            countries: look::regions(t.all, asked.get("country")),
            asked,
        }
    }
}

/// What a question found.
pub(super) struct Found {
    pub(super) opted_out: String,
    pub(super) opt_outs: String,
    pub(super) resubscribes: String,
    pub(super) chart: Option<Chart>,
    pub(super) rows: Vec<Row>,
    pub(super) next: Option<String>,
    /// Whether there is more than was counted.
    pub(super) is_cut: bool,
    pub(super) is_empty_store: bool,
}

#[derive(Template)]
#[template(path = "audience.html")]
struct AudiencePage {
    f: Frame,
    t: &'static Texts,
    form: Form,
    error: Option<String>,
    found: Option<Found>,
    /// The fields of the question, for the download and further pages.
    fixed: Vec<(String, String)>,
    next: Option<String>,
    first: Option<String>,
    formats: Vec<&'static str>,
    is_filtered: bool,
    opens_people: bool,
    offers_tour: bool,
    regions: Vec<Choice>,
}

/// The list.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.may(KeyScope::Export)?;
    let asked = Asked::read(&visit.fields, visit.zone_name());
    let found = find(&visit, &asked).await;
    let (status, error, found) = match found {
        Ok(found) => (StatusCode::OK, None, Some(found)),
        Err(problem) if problem.errors().is_empty() => return Err(problem.into()),
        Err(problem) => (problem.status(), Some(said(&problem, visit.t)), None),
    };
    let range = asked.days(Timestamp::now()).unwrap_or_default();
    let fixed = asked.fixed(&range);
    let link = |cursor: Option<&str>| {
        let fields = fixed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        format!("/console/audience?{}", form::query(fields.chain(cursor.map(|it| ("cursor", it)))))
    };
    let next = found.as_ref().and_then(|found| found.next.as_deref()).map(|it| link(Some(it)));
    let first = Some(link(None)).filter(|_| !asked.cursor.is_empty());
    let is_empty = found.as_ref().is_some_and(|found| found.is_empty_store);
    let page = AudiencePage {
        f: visit.frame(visit.t.audience, "/console/audience"),
        t: visit.t,
        error,
        next,
        first,
        formats: ["csv", "xlsx", "ndjson"]
            .into_iter()
            .filter(|it| list::format(it).is_ok())
            .collect(),
        is_filtered: asked.is_filtered(),
        opens_people: visit.opens(KeyScope::Check),
        offers_tour: is_empty || !visit.knows_tour,
        regions: look::regions(visit.t.international, ""),
        form: Form::of(asked, visit.t),
        found,
        fixed,
    };
    let mut response = html(status, &page);
    let zone = visit.fields.get("tz");
    if !zone.is_empty() && Zone::parse(zone).is_ok() {
        let cookie = HeaderValue::from_str(&visit.cookie(ZONE, zone, Some(A_YEAR)));
        cookie.map(|cookie| response.headers_mut().append(header::SET_COOKIE, cookie)).ok();
    }
    Ok(response)
}

/// What is wrong with a question, in words.
pub(super) fn said(problem: &Problem, t: &Texts) -> String {
    let each = problem.errors().iter().map(|it| format!("{}: {}", t.field(&it.field), it.detail));
    let each: Vec<String> = each.collect();
    if each.is_empty() { problem.detail().to_owned() } else { each.join("; ") }
}

async fn find(visit: &Visit, asked: &Asked) -> Result<Found, Problem> {
    let range = asked.days(Timestamp::now())?;
    let (visit, asked) = (visit.clone(), asked.clone());
    let app = visit.app.clone();
    app.ask(move |app, reader| {
        let cursor = Some(asked.cursor.as_str()).filter(|it| !it.is_empty());
        found(app, reader, &visit, asked.parts(&range), (range.from, range.to), cursor)
    })
    .await
}

/// What a store holds of a question.
pub(super) fn found(
    app: &App,
    reader: &Reader,
    visit: &Visit,
    parts: Parts<'_>,
    (from, to): (Option<Date>, Option<Date>),
    cursor: Option<&str>,
) -> Result<Found, Problem> {
    let page = list::events(app, reader, parts, ROWS, cursor)?;
    let mut wanted = list::wanted(parts)?;
    wanted.filter.up_to = Some(page.sequence);
    let zone = Zone::parse(parts.tz.unwrap_or("UTC")).unwrap_or(Zone::UTC);
    let clock = wanted.filter.clock;
    let (mut days, mut opt_outs, mut resubscribes, mut seen) = (Days::new(), 0, 0, 0u64);
    let visited = wanted.visit(reader, |event: Event| {
        seen += 1;
        if wanted.includes(&event) {
            match event.details.action {
                Action::OptOut => {
                    opt_outs += 1;
                    let at = match clock {
                        Clock::Occurred => event.occurred_at,
                        Clock::Received => event.received_at,
                    };
                    let day = days.entry(at.date_in(&zone)).or_default();
                    day[chart::place(event.details.source)] += 1;
                }
                Action::Resubscribe => resubscribes += 1,
                _ => {}
            }
        }
        Ok::<bool, StoreError>(seen < COUNTED_MAX)
    });
    visited.map_err(|error| app.unanswered(&error))?;
    let opted_out = reader.len().map_err(|error| app.unanswered(&error))?;
    let language = visit.language;
    Ok(Found {
        opted_out: language.count(opted_out),
        opt_outs: language.count(opt_outs),
        resubscribes: language.count(resubscribes),
        chart: chart::chart(&days, from, to, (language, visit.t)),
        rows: page.events.into_iter().map(|event| Row::of(visit, event)).collect(),
        next: page.next,
        is_cut: seen >= COUNTED_MAX,
        is_empty_store: reader.sequence() == 0,
    })
}

/// The same as a file. Whole numbers are logged.
pub(super) async fn download(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Export)?.clone();
    let fields = form::posted(&visit, request).await?;
    let asked = Asked::read(&fields, visit.zone_name());
    let range = asked.days(Timestamp::now())?;
    let wanted = list::wanted(asked.parts(&range))?;
    let format = list::format(fields.get("format"))?;
    let is_whole = fields.get("numbers") == "whole";
    if is_whole {
        visit.app.log(format_args!("console: download with whole numbers key={}", access.id));
    }
    let app: &Arc<App> = &visit.app;
    list::stream(app, wanted, format, !is_whole).map_err(Failed)
}
