//! Counters that add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mode, ScrubError};
use crate::event::Category;
use crate::time::Timestamp;

/// What a scrub did. In JSON the fields have these names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows read, blank lines included, the header not: kept + suppressed + invalid + duplicates.
    pub rows: u64,
    /// Rows that may be sent to.
    pub kept: u64,
    /// Rows of subscribers who opted out.
    pub suppressed: u64,
    /// Rows without a number that can be sent to.
    pub invalid: u64,
    /// Rows with the number of an earlier kept row; counted when asked to remove them.
    pub duplicates: u64,
    /// Of the kept rows, those of subscribers who opted out of other categories only.
    pub exempt: u64,
    /// Rows in the output: the kept ones, or all in the modes that take nothing out.
    pub written: u64,
    /// The invalid rows by reason.
    pub invalid_reasons: BTreeMap<String, u64>,
    /// The generation of the store that was asked.
    pub generation: u64,
    /// The last sequence that the answers know of.
    pub sequence: u64,
    /// The earlier moment as of which the store was asked; none for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// How long it took.
    pub elapsed_ms: u64,
    /// How it was asked for.
    pub options: ReportOptions,
}

impl Report {
    /// Adds the counts of another list that was scrubbed with the same options.
    pub fn add(&mut self, other: &Report) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.suppressed += other.suppressed;
        self.invalid += other.invalid;
        self.duplicates += other.duplicates;
        self.exempt += other.exempt;
        self.written += other.written;
        self.elapsed_ms += other.elapsed_ms;
        for (reason, count) in &other.invalid_reasons {
            *self.invalid_reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

/// The options that a report repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportOptions {
    /// The message that is about to be sent.
    #[serde(flatten)]
    pub message: Message,
    /// What was done with the verdicts.
    pub mode: Mode,
    /// The column of the numbers as it was asked for; none when it was found out.
    pub column: Option<String>,
    /// The default region.
    pub region: Option<String>,
    /// The column of the regions.
    pub region_column: Option<String>,
    /// Whether later rows with the same number were removed.
    pub dedupe: bool,
}

/// The message of a scrub, for its report. Empty scopes are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Marketing, utility or authentication; none when the caller did not say.
    pub category: Option<Category>,
    /// The channel on which it goes.
    pub channel: Option<String>,
    /// Who sends it.
    pub sender: Option<String>,
    /// For which brand.
    pub brand: Option<String>,
    /// The outside lists that were asked.
    pub layers: Vec<LayerUsed>,
}

/// An outside list that a scrub asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUsed {
    /// Its name.
    pub name: String,
    /// The moment that it describes.
    pub as_of: Timestamp,
    /// When the store took it in.
    pub received_at: Timestamp,
    /// A checksum of its members.
    pub digest: String,
    /// Whether it was older than it may be.
    pub stale: bool,
}

/// What one block, or the whole run so far, counted. Workers count alone; totals are summed.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) kept: u64,
    pub(super) suppressed: u64,
    pub(super) invalid: u64,
    pub(super) duplicates: u64,
    pub(super) exempt: u64,
    pub(super) written: u64,
    pub(super) reasons: Reasons,
}

/// How often each reason was given. They are few, and counted for each row of a bad list: a look at
/// where a word stands is cheaper than reading it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons(Vec<(&'static str, u64)>);

impl Reasons {
    fn add(&mut self, reason: &'static str, count: u64) {
        let known = self.0.iter_mut().find(|it| std::ptr::eq(it.0, reason));
        match known {
            Some((_, known)) => *known += count,
            None => self.0.push((reason, count)),
        }
    }

    /// Each reason once.
    pub(super) fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for &(reason, count) in &self.0 {
            *totals.entry(reason.to_owned()).or_default() += count;
        }
        totals
    }
}

impl Counts {
    pub(super) fn count_invalid(&mut self, reason: &'static str) {
        self.invalid += 1;
        self.reasons.add(reason, 1);
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.suppressed += other.suppressed;
        self.invalid += other.invalid;
        self.duplicates += other.duplicates;
        self.exempt += other.exempt;
        self.written += other.written;
        for &(reason, count) in &other.reasons.0 {
            self.reasons.add(reason, count);
        }
    }

    /// The last line of defence: a row that went nowhere fails the run.
    pub(super) fn check(&self, mode: Mode) -> Result<(), ScrubError> {
        let parts = self.kept + self.suppressed + self.invalid + self.duplicates;
        let written = if mode == Mode::Enforce { self.kept } else { self.rows };
        let reasons: u64 = self.reasons.0.iter().map(|it| it.1).sum();
        if parts == self.rows && written == self.written && reasons == self.invalid {
            return Ok(());
        }
        Err(ScrubError::DoesNotAddUp {
            rows: self.rows,
            kept: self.kept,
            suppressed: self.suppressed,
            invalid: self.invalid,
            duplicates: self.duplicates,
        })
    }
}
