//! What caused each row of a list, and how are rows recorded that say different things of it?
//!
//! A row may name the template and the campaign that the person answered. Rows are gathered by
//! what they name, each kind in a list of its own, and all these lists are recorded together.
//!
//! Promises: what is gathered at once is bounded by rows, by bytes of spellings, and by the number
//! of different labels, so that a column of arbitrary text costs time and not memory.

use std::collections::HashMap;

use crate::event::Details;
use crate::journal::Spelling;
use crate::number::{BusinessId, Number, SubscriberKey};
use crate::store::{Bulk, PlainRow};
use crate::time::Timestamp;

/// What caused an opt-out, as far as its row says so; empty is what the import says of all rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Labels {
    pub(super) template: String,
    pub(super) campaign: String,
}

impl Labels {
    /// Whether there are none. Comparing with empty texts would do, but comparing two of these
    /// costs some 50 ns: they have no bytes that can be read, and the processor finds that out late.
    fn is_empty(&self) -> bool {
        self.template.is_empty() && self.campaign.is_empty()
    }

    /// The details of rows with these labels.
    pub(super) fn on(&self, shared: &Details) -> Details {
        let mut details = shared.clone();
        for (label, own) in
            [(&self.template, &mut details.template), (&self.campaign, &mut details.campaign)]
        {
            if !label.is_empty() {
                own.clone_from(label);
            }
        }
        details
    }
}

/// Different labels, each once; rows name them by place. The first are those of rows without any.
#[derive(Debug)]
pub(super) struct LabelList {
    list: Vec<Labels>,
    places: HashMap<Labels, usize>,
}

impl Default for LabelList {
    fn default() -> LabelList {
        LabelList { list: vec![Labels::default()], places: HashMap::new() }
    }
}

impl LabelList {
    /// The place of labels, new or not.
    pub(super) fn place(&mut self, labels: Labels) -> usize {
        if labels.is_empty() {
            return 0;
        }
        if let Some(&place) = self.places.get(&labels) {
            return place;
        }
        self.list.push(labels.clone());
        self.places.insert(labels, self.list.len() - 1);
        self.list.len() - 1
    }

    /// The labels of a place.
    pub(super) fn get(&self, place: usize) -> &Labels {
        &self.list[place]
    }
}

/// Rows that wait to be recorded, by their labels.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    labels: LabelList,
    /// Those of each place of `labels`.
    bulks: Vec<Bulk>,
    /// Plain rows, and all others.
    plain: usize,
    rows: usize,
    text_bytes: usize,
}

impl Gathered {
    /// Kinds of rows that are recorded at once: each is a record of its own at least.
    const LABELS_MAX: usize = 4096;
    const TEXT_BYTES_MAX: usize = 256 << 20;

    /// Adds a row.
    pub(super) fn push(
        &mut self,
        labels: &Labels,
        number: Number,
        key: Option<SubscriberKey>,
        at: Timestamp,
        spelling: Spelling<'_>,
    ) {
        if let Spelling::Text(text) = spelling {
            self.text_bytes += text.len();
        }
        self.bulk_of(labels).push_read(number, key, at, spelling);
        self.rows += 1;
    }

    /// Adds rows without labels that say nothing but a number.
    pub(super) fn extend_plain(&mut self, rows: &[PlainRow], at: Timestamp) {
        if rows.is_empty() {
            return;
        }
        self.bulk_of(&Labels::default()).extend_plain(rows, at);
        self.plain += rows.len();
    }

    /// Adds a row of an id without a number.
    pub(super) fn push_id(&mut self, labels: &Labels, id: &BusinessId, at: Timestamp) {
        self.text_bytes += id.as_str().len();
        self.bulk_of(labels).push_id(id, at);
        self.rows += 1;
    }

    /// Where the next row with these labels goes.
    fn bulk_of(&mut self, labels: &Labels) -> &mut Bulk {
        let place = if labels.is_empty() { 0 } else { self.labels.place(labels.clone()) };
        if self.bulks.len() <= place {
            self.bulks.resize_with(place + 1, Bulk::new);
        }
        &mut self.bulks[place]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain + self.rows == 0
    }

    /// Whether so much has gathered that it should be recorded.
    pub(super) fn is_full(&self) -> bool {
        Bulk::are_enough(self.plain, self.rows)
            || self.text_bytes >= Self::TEXT_BYTES_MAX
            || self.bulks.len() >= Self::LABELS_MAX
    }

    /// The rows of each kind.
    pub(super) fn lists(&mut self) -> impl Iterator<Item = (&Labels, &mut Bulk)> {
        let filled = self.bulks.iter_mut().enumerate().filter(|(_, bulk)| !bulk.is_empty());
        filled.map(|(place, bulk)| (self.labels.get(place), bulk))
    }

    /// Empties it. The memory of one list is kept; many lists may never be of these labels again.
    pub(super) fn clear(&mut self) {
        self.bulks.truncate(1);
        self.bulks.iter_mut().for_each(Bulk::clear);
        self.labels = LabelList::default();
        (self.plain, self.rows, self.text_bytes) = (0, 0, 0);
    }
}
