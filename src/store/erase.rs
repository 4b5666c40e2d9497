//! How is somebody forgotten who must stay suppressed?
//!
//! Of each person a *tombstone* is kept: an opt-out from all messages whose row names nobody. Then
//! every sealed segment that holds something else of him is written anew without it, and one swap
//! of the manifest goes over to these segments together with a generation that leads to the
//! tombstones alone. Last, every file is searched for the number.
//!
//! Promises: at every moment, and after a crash at any, the person is suppressed, by what was there
//! before or by the tombstone; asking again completes what was interrupted. What nothing lifted
//! before is not lifted afterwards either. Everybody else's events stay, word for word but for the
//! number itself. Leaves outside lists alone: they are somebody else's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use serde::Serialize;

use super::core::{Core, merge_changes};
use super::error::{StoreError, WriteError};
use super::layout::Entry;
use super::standing::{Standing, decide, follow};
use super::traces::{Bytes, Traces};
use crate::disk::{Disk, DiskError};
use crate::event::{Action, Details, Ground, Source, Tier};
use crate::journal::{Fate, Record, Redaction, Row, SegmentInfo, Spelling, Subject, revise};
use crate::number::{Address, Folding, SubscriberKey};
use crate::policy::{Fact, Scope, is_permanent, standing_opt_outs};
use crate::time::Timestamp;

/// Who is to be forgotten, and what is recorded of that.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Erasure {
    /// The people, by any of their addresses: those that are linked with it are erased too.
    pub addresses: Vec<Address>,
    /// Who carries it out.
    pub operator: String,
    /// Why, such as the number of a case. It stays, so it must not say who was forgotten.
    pub reason: String,
}

/// Counts the people.
impl fmt::Debug for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Erasure({} people)", self.addresses.len())
    }
}

impl Erasure {
    /// What the tombstones share.
    pub(super) fn details(&self) -> Details {
        let mut details = Details::new(Action::OptOut, Source::Agent);
        details.tier = Tier::All;
        details.ground = Ground::Erasure;
        details.operator.clone_from(&self.operator);
        details.note.clone_from(&self.reason);
        details
    }
}

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EraseReport {
    /// Each person, in the order in which they were asked for.
    pub people: Vec<Erased>,
    /// Segments of the journal that were written anew.
    pub segments_rewritten: u64,
    /// What recovery had kept aside, and which is removed: whose events such a file holds can't be
    /// told.
    pub quarantines_removed: Vec<String>,
    /// Files that were searched for the numbers afterwards.
    pub files_searched: u64,
    /// Their bytes.
    pub bytes_searched: u64,
    /// What could not be searched: folders, links and pipes, which are none of the store's.
    pub unsearched: Vec<String>,
    /// The generation that is current now.
    pub generation: u64,
}

/// One person who was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Sequence of the opt-out that is kept.
    pub sequence: u64,
    /// Events that were dropped.
    pub events_dropped: u64,
}

/// What leaves the store in one swap of the manifest.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Segments that were written anew without it.
    pub(super) revised: Vec<SegmentInfo>,
    /// The keys of ids of which only the hash is kept.
    pub(super) ids: BTreeSet<SubscriberKey>,
}

/// Those who are forgotten.
struct Forgotten {
    folding: Folding,
    /// Whether a new tombstone is kept of each; if not, they had nothing else before.
    keys: HashMap<SubscriberKey, bool>,
    /// Sequence of the first new tombstone.
    first_new: u64,
    traces: Traces,
}

impl Redaction for Forgotten {
    fn fate(&self, record: &Record, row: usize) -> Fate {
        let Some(key) = record.key(row, self.folding) else { return Fate::Kept };
        let sequence = record.first_sequence() + row as u64;
        match self.keys.get(&key) {
            Some(true) if sequence < self.first_new => Fate::Erased,
            Some(true) if (1..self.first_new).contains(&record.previous(row)) => Fate::Begins,
            _ => Fate::Kept,
        }
    }

    fn starred(&self, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        self.traces.starred(text)
    }
}

/// The keys of one person: first the one that was asked for, then those linked with it.
type Addresses = Vec<SubscriberKey>;

/// What is known of one address.
#[derive(Default)]
struct Known {
    head: u64,
    /// Whether there is more than tombstones.
    is_more: bool,
    /// Events that are no tombstones.
    events: u64,
    /// Sequence of the oldest event.
    first: u64,
    /// Those of all his addresses.
    facts: Vec<Fact>,
}

/// What is kept of one subscriber.
struct Kept {
    key: SubscriberKey,
    /// Of the newest tombstone.
    head: u64,
    facts: Vec<Fact>,
}

impl Core {
    /// As [`Writer::erase`](super::Writer::erase); `details` are those of the tombstones.
    pub(super) fn erase(
        &mut self,
        request: &Erasure,
        details: &Details,
        now: Timestamp,
    ) -> Result<EraseReport, WriteError> {
        self.check()?;
        if request.addresses.is_empty() {
            return Ok(EraseReport::default());
        }
        let folding = self.folding();
        let before = self.sequence();
        let mut traces = Traces::new(folding);
        request.addresses.iter().for_each(|address| traces.add_address(address));
        let met = self.meet(request, details, now, &traces);
        if met.is_err() {
            self.give_up_past(before);
        }
        let (people, known) = self.known(&met?, before, &mut traces)?;
        refuse_traces(details, &traces)?;
        let first_new = self.sequence() + 1;
        let everybody: Vec<SubscriberKey> = people.iter().flatten().copied().collect();
        let kept = self.append_tombstones(&everybody, &known, details, now);
        if kept.is_err() {
            self.give_up_past(before);
        }
        let kept = kept?;
        let mut keys: HashMap<SubscriberKey, bool> =
            known.keys().map(|&key| (key, false)).collect();
        keys.extend(kept.iter().map(|it| (it.key, true)));
        let forgotten = Forgotten { folding, keys, first_new, traces };
        let mut report = EraseReport::default();
        let first_kept: HashMap<SubscriberKey, u64> =
            kept.iter().map(|it| (it.key, it.facts[0].sequence)).collect();
        report.people.extend(people.iter().map(|members| Erased {
            sequence: first_kept.get(&members[0]).copied().unwrap_or(known[&members[0]].first),
            events_dropped: members.iter().map(|member| known[member].events).sum(),
        }));
        self.go_over(&forgotten, kept, now, &mut report)?;
        self.remove_leftovers(&mut report)?;
        self.search(&forgotten, &mut report)?;
        report.generation = self.manifest.generation;
        Ok(report)
    }

    /// The keys of the addresses. An id of which nothing is known has none yet: it gets one from an
    /// opt-out that is then erased like any other.
    fn meet(
        &mut self,
        request: &Erasure,
        details: &Details,
        now: Timestamp,
        traces: &Traces,
    ) -> Result<Vec<SubscriberKey>, WriteError> {
        refuse_traces(details, traces)?;
        let mut keys = Vec::with_capacity(request.addresses.len());
        for address in &request.addresses {
            if let (None, Address::Id(id)) = (self.key_of(address), address) {
                let after = self.sequence();
                let row = Row {
                    subject: Subject::Id(SubscriberKey::of_id(after + 1)),
                    occurred_at: now,
                    spelling: Spelling::Text(id.as_str()),
                    previous: 0,
                };
                self.append(details, now, &[row])?;
                self.take_in(after)?;
            }
            keys.extend(self.key_of(address));
        }
        Ok(keys)
    }

    /// Follows the histories of everybody and of those who are linked with them, and gathers what
    /// in them leads to a person. Events past `before` are no history.
    fn known(
        &self,
        keys: &[SubscriberKey],
        before: u64,
        traces: &mut Traces,
    ) -> Result<(Vec<Addresses>, BTreeMap<SubscriberKey, Known>), WriteError> {
        let journal = self.journal.journal();
        let mut people = Vec::new();
        let mut all = BTreeMap::new();
        for &key in keys {
            let pool = self.standings.pool(journal, key)?;
            people.push(pool.members.iter().map(|&(member, _)| member).collect());
            for (member, head) in pool.members {
                traces.add_key(member);
                let mut known = Known { head, facts: pool.facts.clone(), ..Known::default() };
                follow(journal, head, |record, row| {
                    known.first = record.first_sequence() + row as u64;
                    let subject = record.subjects()[row];
                    let is_tombstone = matches!(subject, Subject::Tombstone(_));
                    known.is_more |= !is_tombstone;
                    known.events += u64::from(!is_tombstone && known.first <= before);
                    record.address(row).iter().for_each(|address| traces.add_address(address));
                    record.text(row).into_iter().for_each(|text| traces.add_spelling(text));
                    Ok(())
                })?;
                all.insert(member, known);
            }
        }
        Ok((people, all))
    }

    /// Records that everybody who has no tombstone, or more than that, is suppressed from now on.
    /// Durable when this returns. Until the history is dropped, the tombstone continues it.
    fn append_tombstones(
        &mut self,
        people: &[SubscriberKey],
        known: &BTreeMap<SubscriberKey, Known>,
        details: &Details,
        now: Timestamp,
    ) -> Result<Vec<Kept>, WriteError> {
        let before = self.sequence();
        let mut everybody = BTreeSet::new();
        let is_needed = |key: &&SubscriberKey| {
            let known = &known[key];
            (known.head == 0 || known.is_more) && everybody.insert(**key)
        };
        let needed = people.iter().filter(is_needed);
        let mut kept: Vec<Kept> =
            needed.map(|&key| Kept { key, head: known[&key].head, facts: Vec::new() }).collect();
        self.append_tombstone(&mut kept, &everybody, details, now)?;
        for ((scope, tier), keys) in permanent(known, &everybody) {
            let mut details = details.clone();
            (details.tier, details.ground) = (tier, Ground::Protected);
            details.channel = scope.channel().to_owned();
            details.sender = scope.sender().to_owned();
            details.brand = scope.brand().to_owned();
            self.append_tombstone(&mut kept, &keys, &details, now)?;
        }
        self.journal.sync()?;
        self.take_in(before)?;
        Ok(kept)
    }

    /// Appends the same tombstone for some of the subscribers.
    fn append_tombstone(
        &mut self,
        kept: &mut [Kept],
        keys: &BTreeSet<SubscriberKey>,
        details: &Details,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut meant: Vec<&mut Kept> =
            kept.iter_mut().filter(|it| keys.contains(&it.key)).collect();
        let row = |it: &&mut Kept| Row {
            subject: Subject::Tombstone(it.key),
            occurred_at: now,
            spelling: Spelling::Plus,
            previous: it.head,
        };
        let rows: Vec<Row<'_>> = meant.iter().map(row).collect();
        let first = self.append(details, now, &rows)?;
        for (sequence, it) in (first..).zip(&mut meant) {
            it.head = sequence;
            it.facts.push(Fact::new(details, sequence, now, now)?);
        }
        Ok(())
    }

    /// Writes the segments anew that hold what is to be forgotten, and goes over to them together
    /// with a generation that leads to the tombstones.
    fn go_over(
        &mut self,
        forgotten: &Forgotten,
        kept: Vec<Kept>,
        now: Timestamp,
        report: &mut EraseReport,
    ) -> Result<(), WriteError> {
        if self.is_in_active(forgotten)? {
            self.rotate(now)?;
        }
        let revised = self.revise_segments(forgotten);
        if revised.is_err() {
            // Half of the files on a full disk are room that somebody waits for.
            let _ = self.remove_unfinished();
        }
        let ids = forgotten.keys.keys().copied().filter(|key| key.id_sequence().is_some());
        let gone = Gone { revised: revised?, ids: ids.collect() };
        report.segments_rewritten = gone.revised.len() as u64;
        if gone.revised.is_empty() {
            return Ok(());
        }
        let mut changes: Vec<(SubscriberKey, Standing)> = Vec::new();
        for Kept { key, facts, .. } in kept {
            let decided = decide(&facts).expect("a tombstone was appended for each");
            changes.push((key, self.standings.place(decided)));
        }
        changes.sort_unstable_by_key(|&(key, _)| key);
        let changes = merge_changes(self.standings.changes()?, changes);
        self.fold(&changes, &gone, self.sequence(), now)
    }

    /// Whether the active segment, which is never written anew, holds what is to be forgotten.
    fn is_in_active(&self, forgotten: &Forgotten) -> Result<bool, WriteError> {
        let sealed = self.manifest.sealed.last().map_or(0, |info| info.last_sequence);
        let mut found = false;
        self.journal.journal().scan::<StoreError>(
            sealed,
            |_| true,
            |record| {
                found = record.holds(forgotten);
                Ok(!found)
            },
        )?;
        Ok(found)
    }

    fn revise_segments(&self, forgotten: &Forgotten) -> Result<Vec<SegmentInfo>, WriteError> {
        let identity = self.journal.journal().identity();
        let mut revised = Vec::new();
        for info in &self.manifest.sealed {
            revised.extend(revise(&*self.disk, identity, info, forgotten)?);
        }
        Ok(revised)
    }

    /// Removes the files that hold, or may hold, what was erased.
    fn remove_leftovers(&mut self, report: &mut EraseReport) -> Result<(), WriteError> {
        self.remove_unfinished()?;
        let mut quarantines = self.disk.list()?;
        quarantines.retain(|name| Entry::of(name) == Entry::Quarantine);
        quarantines.sort_unstable();
        for name in &quarantines {
            self.disk.remove(name)?;
        }
        report.quarantines_removed = quarantines;
        // A name that comes back after a power cut would bring its file back.
        self.disk.sync_directory()?;
        Ok(())
    }

    /// Reads everything once more: no row, no text and no byte may lead to the forgotten.
    fn search(&self, forgotten: &Forgotten, report: &mut EraseReport) -> Result<(), WriteError> {
        let journal = self.journal.journal();
        let mut remains = None;
        journal.scan::<StoreError>(
            0,
            |_| true,
            |record| {
                if record.holds(forgotten) {
                    remains = journal.place_of(record.first_sequence())?;
                }
                Ok(remains.is_none())
            },
        )?;
        if let Some((file, offset)) = remains {
            return Err(WriteError::Remains { file, offset });
        }
        if let Some(file) = &self.manifest.ids
            && forgotten.traces.ids().any(|id| self.standings.generation.ids.tells(id))
        {
            return Err(WriteError::Remains { file: self.disk.path_of(&file.name), offset: 0 });
        }
        if let Some(changes) = &self.manifest.changes
            && self
                .standings
                .new_ids()
                .any(|(id, _)| forgotten.traces.ids().any(|it| it == id.as_str()))
        {
            let file = self.disk.path_of(&changes.file.name);
            return Err(WriteError::Remains { file, offset: 0 });
        }
        for name in self.disk.list()? {
            let of = match Entry::of(&name) {
                Entry::Manifest
                | Entry::Index(..)
                | Entry::Generation(_)
                | Entry::Changes(_)
                | Entry::Ids(_)
                | Entry::Registry(_) => Bytes::Counts,
                _ => Bytes::Texts,
            };
            if let Some(offset) = search_file(&self.disk, &name, of, &forgotten.traces, report)? {
                return Err(WriteError::Remains { file: self.disk.path_of(&name), offset });
            }
        }
        Ok(())
    }
}

/// What is recorded of an erasure stays: it must not say who was forgotten.
fn refuse_traces(details: &Details, traces: &Traces) -> Result<(), WriteError> {
    for (field, text) in [("operator", &details.operator), ("reason", &details.note)] {
        if traces.starred(text).is_some() {
            return Err(WriteError::NamesForgotten { field });
        }
    }
    Ok(())
}

/// What nothing lifts of those who are erased: scope and tier, and of whom.
fn permanent(
    known: &BTreeMap<SubscriberKey, Known>,
    everybody: &BTreeSet<SubscriberKey>,
) -> BTreeMap<(Scope, Tier), BTreeSet<SubscriberKey>> {
    let mut permanent: BTreeMap<(Scope, Tier), BTreeSet<SubscriberKey>> = BTreeMap::new();
    for key in everybody {
        let stand = standing_opt_outs(&known[key].facts).filter(|fact| is_permanent(fact));
        for fact in stand {
            permanent.entry((fact.scope.clone(), fact.tier)).or_default().insert(*key);
        }
    }
    permanent
}

/// Whether it is no file that the store could have made, or one that came and went.
fn is_no_plain_file(error: &DiskError) -> bool {
    matches!(error.source.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound)
}

/// Where in a file a trace stands.
fn search_file(
    disk: &Arc<dyn Disk>,
    name: &str,
    of: Bytes,
    traces: &Traces,
    report: &mut EraseReport,
) -> Result<Option<u64>, WriteError> {
    const PIECE_BYTES: usize = 1 << 20;
    /// Longer than any trace.
    const OVERLAP_BYTES: usize = 16 << 10;
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if is_no_plain_file(&error) => {
            report.unsearched.push(name.to_owned());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    report.files_searched += 1;
    let length = file.len()?;
    report.bytes_searched += length;
    // One more than the file has, so that the last piece is known by its being short.
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(length).unwrap_or(PIECE_BYTES) + 1)];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut piece, offset)?;
        if let Some(at) = traces.find(&piece[..read], of) {
            return Ok(Some(offset + at as u64));
        }
        if read < piece.len() {
            return Ok(None);
        }
        offset += (PIECE_BYTES - OVERLAP_BYTES) as u64;
    }
}

#[cfg(test)]
mod tests;
