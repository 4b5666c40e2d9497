//! What was recorded in a range of dates: page by page, or as a download?
//!
//! Promises: a walk along the cursors gives each event of the first answer's moment once, whatever
//! is recorded meanwhile; memory does not grow with what is asked for.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use xxhash_rust::xxh3::xxh3_64;

use super::App;
use super::event::EventView;
use crate::event::{Event, Source};
use crate::exchange::{EventWriter, ExportFormat};
use crate::number::{Address, Number};
use crate::policy::Scope;
use crate::query::{self, Filter};
use crate::server::body::{Streamed, from_query, json};
use crate::server::problem::{Kind, Problem};
use crate::store::{Clock, Reader, StoreError};
use crate::time::{TimeRange, Timestamp, Zone};

/// Events of one page.
const LIMIT_MAX: usize = 1000;
const LIMIT_USUAL: usize = 100;
/// Events that are looked at for one page; when there are more, it is shorter.
const LOOKED_AT_MAX: usize = 500_000;

/// Defines the query of a route that is about events, with the fields that all have and its own.
macro_rules! question {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// The first moment: RFC 3339, or a date in the zone.
            from: Option<String>,
            /// The first moment behind the range.
            to: Option<String>,
            /// The zone of dates, such as America/Mexico_City; UTC if not given.
            tz: Option<String>,
            /// received (if not given) or occurred.
            #[param(schema_with = super::words::clock)]
            clock: Option<String>,
            /// events (if not given), or state: those who opted out in the range and still are at
            /// its end.
            #[param(schema_with = super::words::view)]
            view: Option<String>,
            /// Only events of this source.
            #[param(schema_with = super::words::source)]
            source: Option<String>,
            /// Only events on this channel.
            channel: Option<String>,
            /// Only events of this sender.
            sender: Option<String>,
            /// Only events of this campaign.
            campaign: Option<String>,
            /// Only numbers of this country, such as MX.
            country: Option<String>,
            $($(#[$fmeta])* $field: $type,)*
        }

        impl $name {
            /// The fields that all have.
            fn parts(&self) -> Parts<'_> {
                Parts {
                    from: self.from.as_deref(),
                    to: self.to.as_deref(),
                    tz: self.tz.as_deref(),
                    clock: self.clock.as_deref(),
                    view: self.view.as_deref(),
                    source: self.source.as_deref(),
                    channel: self.channel.as_deref(),
                    sender: self.sender.as_deref(),
                    campaign: self.campaign.as_deref(),
                    country: self.country.as_deref(),
                }
            }
        }
    };
}

question! {
    /// Which events are meant, and which page of them.
    Listed {
        /// Events of a page, 1 to 1,000; 100 if not given.
        #[param(minimum = 1, maximum = 1000)]
        limit: Option<usize>,
        /// Where the page before ended: its `next`.
        cursor: Option<String>,
    }
}

question! {
    /// Which events are meant, and how they are written.
    Exported {
        /// csv (if not given), ndjson or xlsx.
        format: Option<String>,
        /// Whether numbers show their first and last digits only.
        mask: Option<bool>,
    }
}

/// A page of events, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    items: Vec<EventView>,
    /// The cursor of the next page; none when this is the last. A page may be short, or empty, and
    /// have a next.
    next: Option<String>,
    /// The newest event that the whole walk knows.
    sequence: u64,
}

/// Lists events of a range, page by page.
#[utoipa::path(
    get, path = "/v1/optouts", tag = "list", security(("key" = ["export"])),
    params(Listed),
    responses(
        (status = 200, body = Page, description = "A page"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn list(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let listed: Listed = match from_query(&uri) {
        Ok(listed) => listed,
        Err(problem) => return problem.into_response(),
    };
    let page = app.ask(move |app, reader| page(app, reader, &listed)).await;
    page.map_or_else(Problem::into_response, |page| json(&page))
}

/// Downloads the events of a range.
#[utoipa::path(
    get, path = "/v1/optouts/export", tag = "list", security(("key" = ["export"])),
    params(Exported),
    responses(
        (status = 200, content((String = "text/csv"), (String = "application/x-ndjson"), (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")), description = "The events, oldest first. A download that is cut short has failed"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn export(State(app): State<Arc<App>>, uri: Uri) -> Response {
    download(&app, &uri).unwrap_or_else(Problem::into_response)
}

/// A question, read.
pub(in crate::server) struct Wanted {
    pub(in crate::server) filter: Filter,
    is_state: bool,
    scope: Scope,
    campaign: Option<String>,
    country: Option<String>,
}

impl Wanted {
    pub(in crate::server) fn includes(&self, event: &Event) -> bool {
        let details = &event.details;
        let is_of_campaign = self.campaign.as_ref().is_none_or(|it| *it == details.campaign);
        let is_of_country = || {
            self.country.as_ref().is_none_or(|country| {
                let number = event.address.as_ref().and_then(Address::number);
                number.and_then(Number::region).is_some_and(|it| it.as_str() == country)
            })
        };
        let is_of_scope = || {
            if self.scope == Scope::EVERYWHERE {
                return true;
            }
            let scope = Scope::new(&details.channel, &details.sender, "");
            scope.is_ok_and(|it| {
                let is_same = |wanted: &str, got| wanted.is_empty() || wanted == got;
                is_same(self.scope.channel(), it.channel())
                    && is_same(self.scope.sender(), it.sender())
            })
        };
        is_of_campaign && is_of_scope() && is_of_country()
    }

    pub(in crate::server) fn visit<E: From<StoreError>>(
        &self,
        reader: &Reader,
        visit: impl FnMut(Event) -> Result<bool, E>,
    ) -> Result<(), E> {
        match self.is_state {
            true => query::states(reader, &self.filter, visit),
            false => query::events(reader, &self.filter, visit),
        }
    }
}

/// The parts of a question that lists and downloads share.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Parts<'a> {
    pub(in crate::server) from: Option<&'a str>,
    pub(in crate::server) to: Option<&'a str>,
    pub(in crate::server) tz: Option<&'a str>,
    pub(in crate::server) clock: Option<&'a str>,
    pub(in crate::server) view: Option<&'a str>,
    pub(in crate::server) source: Option<&'a str>,
    pub(in crate::server) channel: Option<&'a str>,
    pub(in crate::server) sender: Option<&'a str>,
    pub(in crate::server) campaign: Option<&'a str>,
    pub(in crate::server) country: Option<&'a str>,
}

pub(in crate::server) fn wanted(parts: Parts<'_>) -> Result<Wanted, Problem> {
    let zone = Zone::parse(parts.tz.unwrap_or("UTC"));
    let zone = zone.map_err(|error| Problem::field("tz", error.to_string()))?;
    let is_state = match parts.view.unwrap_or("events") {
        "events" => false,
        "state" => true,
        _ => return Err(Problem::field("view", "use events or state")),
    };
    let scope = Scope::new(parts.channel.unwrap_or_default(), parts.sender.unwrap_or_default(), "");
    let country = super::check::region(parts.country);
    let country = country.map_err(|_| Problem::field("country", "no country is called so"))?;
    let range = (parts.from, parts.to);
    Ok(Wanted {
        filter: filter(range, &zone, clock(parts.clock)?, parts.source)?,
        is_state,
        scope: scope.map_err(|error| Problem::field("channel", error.to_string()))?,
        campaign: parts.campaign.map(str::to_owned),
        country: country.map(|region| region.as_str().to_owned()),
    })
}

/// A clock by its name.
pub(super) fn clock(word: Option<&str>) -> Result<Clock, Problem> {
    match word.unwrap_or("received") {
        "received" => Ok(Clock::Received),
        "occurred" => Ok(Clock::Occurred),
        _ => Err(Problem::field("clock", "use received or occurred")),
    }
}

/// The events of a range.
pub(super) fn filter(
    (from, to): (Option<&str>, Option<&str>),
    zone: &Zone,
    clock: Clock,
    source: Option<&str>,
) -> Result<Filter, Problem> {
    let moment = |field: &str, text: Option<&str>| {
        let at = text.map(|text| Timestamp::parse(text, zone)).transpose();
        at.map_err(|error| Problem::field(field, error.to_string()))
    };
    let range = TimeRange::new(moment("from", from)?, moment("to", to)?);
    let range = range.map_err(|error| Problem::field("from", error.to_string()))?;
    let source = source.map(str::parse::<Source>).transpose();
    let source = source.map_err(|error| Problem::field("source", error.to_string()))?;
    Ok(Filter { range, clock, source, up_to: None, after: 0 })
}

fn page(app: &App, reader: &Reader, listed: &Listed) -> Result<Page, Problem> {
    let limit = listed.limit.unwrap_or(LIMIT_USUAL);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::field("limit", format!("use 1 to {LIMIT_MAX}")));
    }
    let page = events(app, reader, listed.parts(), limit, listed.cursor.as_deref())?;
    let items = page.events.into_iter().map(EventView::from).collect();
    Ok(Page { items, next: page.next, sequence: page.sequence })
}

/// A page of events, oldest first.
pub(in crate::server) struct Events {
    pub(in crate::server) events: Vec<Event>,
    /// The cursor of the next page.
    pub(in crate::server) next: Option<String>,
    /// The newest event that the whole walk knows.
    pub(in crate::server) sequence: u64,
}

/// The events of a question behind a cursor.
pub(in crate::server) fn events(
    app: &App,
    reader: &Reader,
    parts: Parts<'_>,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Events, Problem> {
    let mut wanted = wanted(parts)?;
    let question = question(parts, &reader.manifest().store);
    let cursor = cursor.map(|text| Cursor::read(text, question)).transpose()?;
    let up_to = cursor.map_or(reader.sequence(), |cursor| cursor.up_to);
    if up_to > reader.sequence() {
        return Err(Problem::field("cursor", NO_CURSOR));
    }
    wanted.filter.up_to = Some(up_to);
    wanted.filter.after = cursor.map_or(0, |cursor| cursor.after);
    let (mut events, mut looked_at, mut last, mut next) = (Vec::new(), 0, 0, None);
    let visit = |event: Event| {
        // Addresses that are linked come as the same event: they stay together.
        let is_full = events.len() >= limit || looked_at >= LOOKED_AT_MAX;
        if is_full && event.sequence != last {
            next = Some(Cursor { up_to, after: last });
            return Ok(false);
        }
        looked_at += 1;
        last = event.sequence;
        if wanted.includes(&event) {
            events.push(event);
        }
        Ok::<bool, StoreError>(true)
    };
    wanted.visit(reader, visit).map_err(|error| app.unanswered(&error))?;
    let next = next.map(|cursor| cursor.write(question));
    Ok(Events { events, next, sequence: up_to })
}

const NO_CURSOR: &str = "this is no cursor of this question: begin without one";

/// What the cursors of a question have in common: a cursor of another one would leave events out.
fn question(parts: Parts<'_>, store: &str) -> u64 {
    xxh3_64(format!("{store} {parts:?}").as_bytes())
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// The newest event that the walk knows.
    up_to: u64,
    /// The last event of the pages so far.
    after: u64,
}

impl Cursor {
    fn write(self, question: u64) -> String {
        let check = self.check(question);
        format!("{:x}-{:x}-{check:016x}", self.up_to, self.after)
    }

    fn read(text: &str, question: u64) -> Result<Cursor, Problem> {
        let read = || {
            let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16).ok());
            let cursor = Cursor { up_to: parts.next()??, after: parts.next()?? };
            let is_ours = parts.next()?? == cursor.check(question) && parts.next().is_none();
            is_ours.then_some(cursor)
        };
        read().ok_or_else(|| Problem::field("cursor", NO_CURSOR))
    }

    fn check(self, question: u64) -> u64 {
        let parts = [self.up_to, self.after, question];
        xxh3_64(&parts.map(u64::to_le_bytes).concat())
    }
}

fn download(app: &Arc<App>, uri: &Uri) -> Result<Response, Problem> {
    let exported: Exported = from_query(uri)?;
    let format = format(exported.format.as_deref().unwrap_or("csv"))?;
    stream(app, wanted(exported.parts())?, format, exported.mask.unwrap_or(false))
}

/// How a download is written, of what kind it is and what it is called.
pub(in crate::server) type Format = (ExportFormat, &'static str, &'static str);

/// The way in which a download is written, by its name.
pub(in crate::server) fn format(word: &str) -> Result<Format, Problem> {
    match word {
        "csv" => Ok((ExportFormat::Csv, "text/csv; charset=utf-8", "optouts.csv")),
        "ndjson" => Ok((ExportFormat::Ndjson, "application/x-ndjson", "optouts.ndjson")),
        #[cfg(feature = "xlsx")]
        "xlsx" => Ok((ExportFormat::Xlsx, SPREADSHEET, "optouts.xlsx")),
        _ => Err(Problem::field("format", "use csv, ndjson or xlsx")),
    }
}

/// Writes the events of a question to the client as he takes them.
pub(in crate::server) fn stream(
    app: &Arc<App>,
    mut wanted: Wanted,
    (format, kind, name): Format,
    mask: bool,
) -> Result<Response, Problem> {
    let place = app.downloads.clone().try_acquire_owned();
    let place = place
        .map_err(|_| Problem::new(Kind::Overloaded, "too many downloads at once").retry_after(5))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    let app = app.clone();
    tokio::task::spawn_blocking(move || {
        let reader = app.service.view();
        wanted.filter.up_to = Some(reader.sequence());
        let out = Chunks { sender: sender.clone(), chunk: Vec::with_capacity(CHUNK_BYTES) };
        if let Err(error) = write(&reader, &wanted, out, format, mask) {
            if let Unwritten::Store(error) = &error {
                app.log(format_args!("store: {error}"));
            }
            // The connection is cut, so that nobody takes this for all.
            let _ = sender.blocking_send(Err(io::ErrorKind::Other.into()));
        }
        drop(place);
    });
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::new(Streamed::new(receiver))).into_response())
}

#[cfg(feature = "xlsx")]
const SPREADSHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Bytes that are handed on at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the client.
const CHUNKS_WAITING: usize = 4;

#[derive(Debug)]
enum Unwritten {
    Store(StoreError),
    /// Nobody takes it any more.
    Gone,
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Unwritten {
        Unwritten::Store(error)
    }
}

impl From<io::Error> for Unwritten {
    fn from(_: io::Error) -> Unwritten {
        Unwritten::Gone
    }
}

fn write(
    reader: &Reader,
    wanted: &Wanted,
    out: Chunks,
    format: ExportFormat,
    mask: bool,
) -> Result<(), Unwritten> {
    let mut writer = EventWriter::new(out, format, mask)?;
    wanted.visit(reader, |event| {
        if wanted.includes(&event) {
            writer.write(&event)?;
        }
        Ok::<bool, Unwritten>(true)
    })?;
    writer.finish()?;
    Ok(())
}

/// Hands what is written on to the client, and waits for him.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES + (CHUNK_BYTES >> 3));
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, next));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_by_its_own_question_only() {
        let cursor = Cursor { up_to: 900, after: 17 };
        let text = cursor.write(5);
        assert_eq!(Cursor::read(&text, 5).unwrap(), cursor);
        assert!(Cursor::read(&text, 6).is_err());
        for text in ["", "1-2", "1-2-3", "x", &format!("{text}-1"), &text.replacen('1', "2", 1)] {
            assert!(Cursor::read(text, 5).is_err(), "{text}");
        }
    }
}
