//! How many, by what?

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::list::{clock, filter};
use crate::query::{self, By, Count};
use crate::server::body::{from_query, json};
use crate::server::problem::Problem;
use crate::store::Reader;
use crate::time::Zone;

/// What is counted, and by what.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// day, week, month, source (if not given), country, campaign, template, sender or word.
    #[param(schema_with = super::words::by)]
    by: Option<String>,
    /// The first moment: RFC 3339, or a date in the zone.
    from: Option<String>,
    /// The first moment behind the range.
    to: Option<String>,
    /// The zone of dates, such as America/Mexico_City; UTC if not given.
    tz: Option<String>,
    /// received (if not given) or occurred.
    #[param(schema_with = super::words::clock)]
    clock: Option<String>,
    /// Only events of this source.
    #[param(schema_with = super::words::source)]
    source: Option<String>,
}

/// Events counted by group, and the store as a whole.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Subscribers who are opted out of anything, whatever the range.
    opted_out: u64,
    /// The newest event that was known.
    sequence: u64,
    /// By group; a group without a name is "-".
    groups: BTreeMap<String, Counted>,
    /// All groups together.
    total: Counted,
}

/// Counts of one group.
#[derive(Serialize, ToSchema)]
pub(super) struct Counted {
    opt_outs: u64,
    resubscribes: u64,
}

impl From<Count> for Counted {
    fn from(count: Count) -> Counted {
        Counted { opt_outs: count.opt_outs, resubscribes: count.resubscribes }
    }
}

/// Counts the events of a range.
#[utoipa::path(
    get, path = "/v1/stats", tag = "list", security(("key" = ["export"])),
    params(Asked),
    responses(
        (status = 200, body = Counts, description = "The counts"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A refusal")
    )
)]
pub(super) async fn stats(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let asked: Asked = match from_query(&uri) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let counts = app.ask(move |app, reader| counts(app, reader, &asked)).await;
    counts.map_or_else(Problem::into_response, |counts| json(&counts))
}

fn counts(app: &App, reader: &Reader, asked: &Asked) -> Result<Counts, Problem> {
    let by = by(asked.by.as_deref())?;
    let zone = Zone::parse(asked.tz.as_deref().unwrap_or("UTC"));
    let zone = zone.map_err(|error| Problem::field("tz", error.to_string()))?;
    let range = (asked.from.as_deref(), asked.to.as_deref());
    let clock = clock(asked.clock.as_deref())?;
    let mut filter = filter(range, &zone, clock, asked.source.as_deref())?;
    filter.up_to = Some(reader.sequence());
    let failed = |error| app.unanswered(&error);
    let stats = query::stats(reader, &filter, by, &zone).map_err(failed)?;
    Ok(Counts {
        opted_out: reader.len().map_err(failed)?,
        sequence: reader.sequence(),
        groups: stats.groups.into_iter().map(|(name, count)| (name, count.into())).collect(),
        total: stats.total.into(),
    })
}

fn by(word: Option<&str>) -> Result<By, Problem> {
    Ok(match word.unwrap_or("source") {
        "day" => By::Day,
        "week" => By::Week,
        "month" => By::Month,
        "source" => By::Source,
        "country" => By::Country,
        "campaign" => By::Campaign,
        "template" => By::Template,
        "sender" => By::Sender,
        "word" => By::Word,
        _ => {
            let known = "day, week, month, source, country, campaign, template, sender or word";
            return Err(Problem::field("by", format!("use one of {known}")));
        }
    })
}
