//! Is every byte of a store what was written? Reads all of it, writes nothing.
//!
//! Beyond the checksums, the journal is held against the generation: every folded event's
//! subscriber must be in one of its layers or among its changes, with a newest event that is no
//! older, and everybody there must have his newest event in the journal. A set that lost or gained a key is thus
//! noticed even if its checksum was made right again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::error::StoreError;
use super::generation::Generation;
use super::manifest::Manifest;
use super::standing::{Decided, Standing, decide, fact_of_row};
use super::standings::Standings;
use crate::disk::{Disk, RealDisk};
use crate::journal::{Journal, JournalError, JournalIdentity, Record, Subject, verify_sealed};
use crate::number::SubscriberKey;
use crate::policy::Fact;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Everything that is not as it was written; empty for a sound store.
    pub damages: Vec<Damage>,
    /// Events read from the journal.
    pub events: u64,
    /// Subscribers in the generation: in its sets, and those that are new beside them.
    pub subscribers: u64,
    /// The generation.
    pub generation: u64,
    /// Sequence of the newest event.
    pub sequence: u64,
}

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, as closely as is known.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// Reads everything in the store of a directory. Damage is reported, not returned as an error.
///
/// # Errors
///
/// When there is no store, it is newer or folded otherwise, or the operating system refuses.
pub fn verify(directory: impl AsRef<Path>) -> Result<VerifyReport, StoreError> {
    verify_on(Arc::new(RealDisk::new(directory.as_ref())))
}

pub(super) fn verify_on(disk: Arc<dyn Disk>) -> Result<VerifyReport, StoreError> {
    loop {
        let mut report = VerifyReport::default();
        let Some(manifest) = report.keep(Manifest::read(&*disk))? else { return Ok(report) };
        verify_listed(&disk, &manifest, &mut report)?;
        // A compaction may have removed files that this manifest names; then another one does.
        let is_current = Manifest::read(&*disk).is_ok_and(|now| now == manifest);
        if report.is_sound() || is_current {
            return Ok(report);
        }
    }
}

/// Reads everything that a manifest names.
fn verify_listed(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    report.generation = manifest.generation;
    let identity = JournalIdentity {
        store: manifest.store_id().unwrap_or_default(),
        folding: manifest.folding(),
    };
    for info in &manifest.sealed {
        let mut events = 0;
        let count = |record: Record| {
            events += record.rows() as u64;
            Ok(())
        };
        report.keep(verify_sealed(&**disk, identity, info, count).map_err(StoreError::from))?;
        report.events += events;
    }
    let journal = Journal::open(disk.clone(), identity, &manifest.sealed, manifest.active);
    let journal = report.keep(journal.map_err(StoreError::from))?;
    let generation = report.keep(Generation::open(disk, manifest))?.map(Arc::new);
    let mut standings = None;
    if let Some(generation) = generation {
        report.keep(generation.suppressed.verify())?;
        report.keep(generation.released.verify())?;
        report.keep(verify_ids(&**disk, manifest, &generation))?;
        standings = report.keep(Standings::over(generation, &**disk, manifest))?;
        report.subscribers = standings.as_ref().map_or(0, Standings::subscribers);
    }
    super::registry::verify(&**disk, manifest, |checked| report.keep(checked).map(|_| ()))?;
    if let Some(journal) = &journal {
        report.sequence = journal.sequence();
        let sealed_last = manifest.sealed.last().map_or(0, |info| info.last_sequence);
        report.events += journal.sequence() - sealed_last.min(journal.sequence());
    }
    if let (Some(journal), Some(standings), true) = (journal, standings, report.is_sound()) {
        let compared = compare(&**disk, manifest, &journal, &standings);
        report.keep(compared)?;
    }
    Ok(())
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    /// Notes damage and goes on; gives up on everything else.
    fn keep<T>(&mut self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        let damage = match result {
            Ok(value) => return Ok(Some(value)),
            Err(StoreError::Damaged { file, offset, what }) => Damage { file, offset, what },
            Err(StoreError::Journal(JournalError::Damaged { file, offset, what })) => {
                Damage { file, offset, what: what.to_owned() }
            }
            Err(StoreError::FileMissing { file }) => {
                Damage { file, offset: 0, what: "it is missing".to_owned() }
            }
            Err(StoreError::Journal(JournalError::Disk(error)) | StoreError::Disk(error))
                if error.is_missing() =>
            {
                Damage { file: error.path, offset: 0, what: "it is missing".to_owned() }
            }
            Err(error) => return Err(error),
        };
        self.damages.push(damage);
        Ok(None)
    }
}

/// Looks at every text of the table of ids.
fn verify_ids(
    disk: &dyn Disk,
    manifest: &Manifest,
    generation: &Generation,
) -> Result<(), StoreError> {
    let Some(file) = &manifest.ids else { return Ok(()) };
    let damaged = |what| StoreError::damaged(disk.path_of(&file.name), 0, what);
    generation.ids.verify().map_err(damaged)
}

/// Holds the journal up to the folded sequence against the generation.
fn compare(
    disk: &dyn Disk,
    manifest: &Manifest,
    journal: &Journal,
    standings: &Standings,
) -> Result<(), StoreError> {
    let wrong = |what: String| {
        let file = manifest.layers.first().map_or_else(
            || disk.path_of(super::layout::MANIFEST),
            |layer| disk.path_of(&layer.set.name),
        );
        StoreError::damaged(file, 0, what)
    };
    let mut members = 0;
    journal.scan::<StoreError>(
        0,
        |span| span.last_sequence <= manifest.sequence,
        |record| {
            for row in 0..record.rows() {
                let sequence = record.first_sequence() + row as u64;
                let Some(key) = record.key(row, journal.folding()) else { continue };
                if let (Subject::Id(key), Some(id)) = (record.subjects()[row], record.text(row))
                    && standings.key_of_id(id) != Some(key)
                {
                    let what = format!("the id of event {sequence} is not in the table of ids");
                    return Err(wrong(what));
                }
                let standing = standings.standing(key)?.ok_or_else(|| {
                    wrong(format!("the subscriber of event {sequence} is in no set"))
                })?;
                if standing.head < sequence {
                    let what = format!("event {sequence} is newer than its subscriber's newest");
                    return Err(wrong(what));
                }
                if standing.head == sequence {
                    members += 1;
                    check_standing(journal, standings, record, row, (key, standing), &wrong)?;
                }
            }
            Ok(true)
        },
    )?;
    let expected = standings.subscribers();
    if members != expected {
        return Err(wrong(format!("{expected} subscribers are in the sets, {members} in events")));
    }
    Ok(())
}

/// Whether a subscriber stands as his events say. With a single event, which nearly all have, no
/// history needs to be read.
fn check_standing(
    journal: &Journal,
    standings: &Standings,
    record: &Record,
    row: usize,
    (key, found): (SubscriberKey, Standing),
    wrong: &impl Fn(String) -> StoreError,
) -> Result<(), StoreError> {
    let facts: Vec<Fact> = match (record.previous(row), record.partner(row)) {
        (0, None) => vec![fact_of_row(journal, record, row)?],
        _ => standings.pool(journal, key)?.facts,
    };
    let decided =
        decide(&facts).map(|Decided { since, since_at, claims, .. }| (since, since_at, claims));
    let claims = standings.profiles().get(found.profile).map(|it| it.claims.clone());
    let stands = claims.map(|claims| (found.since, found.since_at, claims));
    if decided != stands {
        let what = format!("the subscriber of event {} does not stand as it says", found.head);
        return Err(wrong(what));
    }
    Ok(())
}
