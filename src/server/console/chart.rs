//! How do opt-outs by day and source look?
//!
//! Bars are computed here and drawn by the page, with a table of the same figures for those who
//! can't see them. Long ranges are shown by week or by month. Promises to be pure.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

use super::language::Language;
use super::texts::Texts;
use crate::event::Source;

const WIDTH: u64 = 960;
const HEIGHT: u64 = 220;
const LEFT: u64 = 56;
const TOP: u64 = 12;
const BOTTOM: u64 = 28;
const BARS_MAX: usize = 400;
/// Days up to which bars are days, and weeks.
const DAYS_BY_DAY: i32 = 62;
const DAYS_BY_WEEK: i32 = 400;

/// Opt-outs of a day, by source.
pub(super) type Days = BTreeMap<Date, [u64; SOURCES]>;
pub(super) const SOURCES: usize = Source::ALL.len();

/// The place of a source in a day.
pub(super) fn place(source: Source) -> usize {
    Source::ALL.iter().position(|&it| it == source).unwrap_or_default()
}

pub(super) struct Chart {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) title: &'static str,
    pub(super) bars: Vec<Bar>,
    /// Lines with their height and figure.
    pub(super) lines: Vec<(u64, String)>,
    /// Dates below, with where they stand.
    pub(super) dates: Vec<(u64, String)>,
    /// Sources that occur: word, name, how many.
    pub(super) sources: Vec<(&'static str, &'static str, String)>,
    /// The first column of the table.
    pub(super) unit: &'static str,
}

pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) label: String,
    pub(super) total: String,
    /// Source's word, y, height.
    pub(super) parts: Vec<(&'static str, u64, u64)>,
    /// The figures of the sources that occur.
    pub(super) figures: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
}

impl Unit {
    fn of(days: i32) -> Unit {
        match days {
            _ if days <= DAYS_BY_DAY => Unit::Day,
            _ if days <= DAYS_BY_WEEK => Unit::Week,
            _ => Unit::Month,
        }
    }

    fn begin(self, date: Date) -> Date {
        match self {
            Unit::Day => date,
            Unit::Week => {
                let past = i64::from(date.weekday().since(Weekday::Monday));
                date.checked_sub(past.days()).unwrap_or(date)
            }
            Unit::Month => date.first_of_month(),
        }
    }

    fn next(self, date: Date) -> Option<Date> {
        let span = match self {
            Unit::Day => 1.day(),
            Unit::Week => 1.week(),
            Unit::Month => 1.month(),
        };
        date.checked_add(span).ok()
    }
}

/// The chart of the days from one to before another; `None` when there is nothing to show.
pub(super) fn chart(
    days: &Days,
    from: Option<Date>,
    to: Option<Date>,
    (language, t): (Language, &'static Texts),
) -> Option<Chart> {
    let (&first, _) = days.first_key_value()?;
    let (&last, _) = days.last_key_value()?;
    let first = from.unwrap_or(first);
    let last = to.and_then(|to| to.checked_sub(1.day()).ok()).unwrap_or(last).max(first);
    let unit = Unit::of(first.until(last).map_or(i32::MAX, |span| span.get_days()));
    let mut groups: Days = BTreeMap::new();
    let mut at = Some(unit.begin(first));
    while let Some(date) = at.filter(|&date| date <= last && groups.len() < BARS_MAX) {
        groups.insert(date, [0; SOURCES]);
        at = unit.next(date);
    }
    for (&day, counts) in days {
        let group = groups.entry(unit.begin(day)).or_default();
        group.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    Some(drawn(&groups, unit, language, t))
}

fn drawn(groups: &Days, unit: Unit, language: Language, t: &'static Texts) -> Chart {
    let total = |counts: &[u64; SOURCES]| counts.iter().sum::<u64>();
    let top = nice(groups.values().map(total).max().unwrap_or(0));
    let (high, wide) = (HEIGHT - TOP - BOTTOM, WIDTH - LEFT);
    let y = |count: u64| HEIGHT - BOTTOM - scaled(count, high, top);
    let occurs = |at: usize| groups.values().any(|counts| counts[at] > 0);
    let present: Vec<usize> = (0..SOURCES).filter(|&at| occurs(at)).collect();
    let of = groups.len().max(1) as u64;
    let label = |date: Date| match unit {
        Unit::Month => date.strftime("%Y-%m").to_string(),
        _ => language.date(date),
    };
    let mut bars = Vec::new();
    for (at, (&date, counts)) in (0..).zip(groups) {
        let (x, next) = (LEFT + at * wide / of, LEFT + (at + 1) * wide / of);
        let gap = if next - x > 6 { 2 } else { u64::from(next - x > 2) };
        let (mut below, mut parts) = (0, Vec::new());
        for &place in present.iter().filter(|&&place| counts[place] > 0) {
            let (bottom, top) = (y(below), y(below + counts[place]));
            parts.push((Source::ALL[place].as_str(), top, (bottom - top).max(1)));
            below += counts[place];
        }
        let figures = present.iter().map(|&place| language.count(counts[place])).collect();
        let (width, total) = ((next - x - gap).max(1), language.count(total(counts)));
        bars.push(Bar { x, width, label: label(date), total, parts, figures });
    }
    let every = bars.len().div_ceil(7).max(1);
    let dates = bars.iter().step_by(every).map(|bar| (bar.x, bar.label.clone())).collect();
    let sum = |at: usize| language.count(groups.values().map(|counts| counts[at]).sum());
    let named = |&at: &usize| {
        let source = Source::ALL[at];
        (source.as_str(), t.source(source), sum(at))
    };
    let (title, unit) = match unit {
        Unit::Day => (t.chart_by_day, t.day),
        Unit::Week => (t.chart_by_week, t.week),
        Unit::Month => (t.chart_by_month, t.month),
    };
    let figures = if top.is_multiple_of(2) { vec![0, top / 2, top] } else { vec![0, top] };
    Chart {
        width: WIDTH,
        height: HEIGHT,
        title,
        sources: present.iter().map(named).collect(),
        lines: figures.into_iter().map(|count| (y(count), language.count(count))).collect(),
        bars,
        dates,
        unit,
    }
}

/// A part of a height; a count above nothing is never nothing.
fn scaled(count: u64, high: u64, top: u64) -> u64 {
    let part = u128::from(count) * u128::from(high) / u128::from(top.max(1));
    u64::try_from(part).unwrap_or(high)
}

/// A figure at the top of the axis: 1, 2, 5, 10, 20 … that is not below the greatest count.
fn nice(count: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for factor in [1, 2, 4, 6, 8] {
            let top = step.saturating_mul(factor);
            if top >= count || top == u64::MAX {
                return top;
            }
        }
        step = step.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(counts: &[(&str, Source, u64)]) -> Days {
        let mut days = Days::new();
        for &(date, source, count) in counts {
            days.entry(date.parse().unwrap()).or_default()[place(source)] += count;
        }
        days
    }

    fn chart_of(days: &Days, from: &str, to: &str) -> Option<Chart> {
        let date = |text: &str| text.parse().ok();
        chart(days, date(from), date(to), (Language::English, Language::English.texts()))
    }

    #[test]
    fn long_ranges_have_no_more_bars_than_can_be_seen_and_lose_nothing() {
        let days = days(&[
            ("2025-01-31", Source::Api, 3),
            ("2026-02-01", Source::Api, 2),
            ("2026-02-02", Source::Keyword, 40),
        ]);
        for (from, to, bars) in [
            ("2026-02-01", "2026-02-03", 2),
            ("2026-01-01", "2026-03-04", 62),
            ("2026-01-01", "2026-12-31", 53),
            ("2025-01-01", "2027-01-01", 24),
        ] {
            let chart = chart_of(&days, from, to).unwrap();
            let inside = chart.bars.iter().filter(|bar| bar.total != "0").count();
            assert!(chart.bars.len() >= bars && chart.bars.len() <= bars + 1, "{from} {to}");
            assert!(inside >= 1);
            for bar in &chart.bars {
                let high: u64 = bar.parts.iter().map(|part| part.2).sum();
                assert!(high <= HEIGHT && bar.x + bar.width <= WIDTH, "{from} {to}");
            }
        }
        let all = chart_of(&days, "", "").unwrap();
        let sums: Vec<&str> = all.sources.iter().map(|(_, _, sum)| sum.as_str()).collect();
        assert_eq!(sums, ["5", "40"]);
    }

    #[test]
    fn nothing_has_no_chart_and_the_greatest_counts_fit() {
        assert!(chart_of(&Days::new(), "2026-01-01", "2026-02-01").is_none());
        let days = days(&[("2026-01-01", Source::Api, u64::MAX / 4)]);
        let chart = chart_of(&days, "", "").unwrap();
        assert_eq!(chart.bars.len(), 1);
        for (count, top) in [(0, 1), (1, 1), (3, 4), (9, 10), (11, 20), (81, 100)] {
            assert_eq!(nice(count), top);
        }
    }
}
