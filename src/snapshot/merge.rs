//! Folding changes into a new snapshot.
//!
//! Containers that no change concerns are copied as bytes: the cost is that of one sequential copy
//! and of the containers that do change. Like `writer`, this goes over its input twice, to plan and
//! to write; what a changed container becomes is worked out both times rather than kept.

use std::io::Write;
use std::ops::Range;

use super::container::Body;
use super::error::SnapshotError;
use super::format::Shape;
use super::view::View;
use super::writer::{Output, Planned, Summary, bucket_count, buckets, summarize};
use crate::number::SubscriberKey;

/// What a subscriber key is to be in the new snapshot, whatever it was in the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key.
    pub key: SubscriberKey,
    /// Whether it is to be a member.
    pub present: bool,
}

/// Writes `old` with `changes` made, which have to be strictly ascending by key.
///
/// The new snapshot is written as [`write_sorted`](super::write_sorted) would, except that
/// containers that no change concerns keep the shape they have. A change that changes nothing is
/// fine. Memory holds 16 bytes for each container and the members of one.
///
/// # Errors
///
/// When the changes don't strictly ascend (nothing is written then) or the output fails.
pub fn merge<B, W>(old: &View<B>, changes: &[Change], out: &mut W) -> Result<Summary, SnapshotError>
where
    B: AsRef<[u8]>,
    W: Write + ?Sized,
{
    merge_with(old, changes, |&change| change, out)
}

/// As [`merge`], with the changes told by what the caller has, which then needs no copy of it.
///
/// # Errors
///
/// As [`merge`].
pub(crate) fn merge_with<B, W, T>(
    old: &View<B>,
    told: &[T],
    change: impl Fn(&T) -> Change,
    out: &mut W,
) -> Result<Summary, SnapshotError>
where
    B: AsRef<[u8]>,
    W: Write + ?Sized,
{
    let keys = |pair: &[T]| (change(&pair[0]).key, change(&pair[1]).key);
    if let Some(index) = told.windows(2).map(keys).position(|(one, next)| one >= next) {
        return Err(SnapshotError::NotAscending { index: index as u64 + 1 });
    }
    let changes = Changes { told, change: &change };
    let mut lows = Vec::new();
    let (plan, added, removed) = make_plan(old, changes, &mut lows);
    let mut output = Output::new(out);
    output.put(&bucket_count(&plan))?;
    let mut steps = Steps::new(old, changes);
    let mut copy = Copy { bytes: old.bytes(), pending: 0..0 };
    for bucket in buckets(&plan) {
        copy.flush(&mut output)?;
        output.put_header(bucket)?;
        for planned in bucket {
            // Steps that the plan left out came to nothing.
            let Some(step) = steps.find(|step| step.key == planned.key) else {
                return Err(output.source_changed());
            };
            if let Some((range, _)) = step.unchanged(old) {
                copy.add(range, &mut output)?;
                continue;
            }
            step.apply(old, &mut lows);
            if Planned::new(planned.key, &lows) != Some(*planned) {
                return Err(output.source_changed());
            }
            copy.flush(&mut output)?;
            output.put_container(planned.shape, &lows)?;
        }
    }
    copy.flush(&mut output)?;
    Ok(Summary { added, removed, ..summarize(&plan, output.finish()?) })
}

/// Changes, told by what the caller has.
struct Changes<'a, T, F> {
    told: &'a [T],
    change: &'a F,
}

impl<T, F> Clone for Changes<'_, T, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, F> std::marker::Copy for Changes<'_, T, F> {}

impl<T, F: Fn(&T) -> Change> Changes<'_, T, F> {
    fn iter(&self) -> impl Iterator<Item = Change> {
        self.told.iter().map(self.change)
    }

    /// Takes `count` off the front.
    fn take(&mut self, count: usize) -> Self {
        let (now, later) = self.told.split_at(count);
        self.told = later;
        Changes { told: now, ..*self }
    }
}

/// What to write, and how many members come and go.
fn make_plan<B: AsRef<[u8]>, T, F: Fn(&T) -> Change>(
    old: &View<B>,
    changes: Changes<'_, T, F>,
    lows: &mut Vec<u16>,
) -> (Vec<Planned>, u64, u64) {
    let mut plan = Vec::with_capacity(old.directory().containers());
    let (mut added, mut removed) = (0, 0);
    for step in Steps::new(old, changes) {
        if let (Some((_, shape)), Some(index)) = (step.unchanged(old), step.old) {
            let members_less_one = (old.directory().members_in(index) - 1) as u16;
            plan.push(Planned { key: step.key, members_less_one, shape });
            continue;
        }
        let (more, fewer) = step.apply(old, lows);
        added += more;
        removed += fewer;
        plan.extend(Planned::new(step.key, lows));
    }
    (plan, added, removed)
}

/// One container, old or new, and what is to change in it.
struct Step<'a, T, F> {
    /// All but the low 16 bits of its members, shifted down.
    key: u64,
    old: Option<usize>,
    changes: Changes<'a, T, F>,
}

impl<T, F: Fn(&T) -> Change> Step<'_, T, F> {
    /// Where the container can be copied from, when nothing is to change in it.
    fn unchanged<B: AsRef<[u8]>>(&self, old: &View<B>) -> Option<(Range<usize>, Shape)> {
        if self.changes.told.is_empty() { old.directory().stored(self.old?) } else { None }
    }

    /// Leaves the new members in `lows`; how many are new, and how many are gone.
    fn apply<B: AsRef<[u8]>>(&self, old: &View<B>, lows: &mut Vec<u16>) -> (u64, u64) {
        lows.clear();
        let old_body = self.old.map(|index| old.directory().body(old.bytes(), index).0);
        let mut members = old_body.map(|body: Body<'_>| body.members_from(0)).into_iter().flatten();
        let mut member = members.next();
        let (mut added, mut removed) = (0, 0);
        for change in self.changes.iter() {
            let low = change.key.get() as u16;
            while let Some(below) = member.filter(|&member| member < low) {
                lows.push(below);
                member = members.next();
            }
            let was_present = member == Some(low);
            if was_present {
                member = members.next();
            }
            if change.present {
                lows.push(low);
            }
            added += u64::from(change.present && !was_present);
            removed += u64::from(!change.present && was_present);
        }
        lows.extend(member);
        lows.extend(members);
        (added, removed)
    }
}

/// All containers, old and new, ascending.
struct Steps<'a, B, T, F> {
    old: &'a View<B>,
    next_old: usize,
    bucket: usize,
    changes: Changes<'a, T, F>,
}

impl<'a, B: AsRef<[u8]>, T, F> Steps<'a, B, T, F> {
    fn new(old: &'a View<B>, changes: Changes<'a, T, F>) -> Steps<'a, B, T, F> {
        Steps { old, next_old: 0, bucket: 0, changes }
    }

    fn next_old_key(&mut self) -> Option<u64> {
        let directory = self.old.directory();
        if self.next_old >= directory.containers() {
            return None;
        }
        if self.next_old >= directory.bucket_start(self.bucket + 1) {
            self.bucket += 1;
        }
        Some(directory.base(self.bucket, self.next_old) >> 16)
    }
}

impl<'a, B: AsRef<[u8]>, T, F: Fn(&T) -> Change> Iterator for Steps<'a, B, T, F> {
    type Item = Step<'a, T, F>;

    fn next(&mut self) -> Option<Step<'a, T, F>> {
        let old_key = self.next_old_key();
        let change_key = self.changes.iter().next().map(|change| change.key.get() >> 16);
        let key = match (old_key, change_key) {
            (Some(old), Some(change)) => old.min(change),
            (old, change) => old.or(change)?,
        };
        let old = (old_key == Some(key)).then_some(self.next_old);
        self.next_old += usize::from(old.is_some());
        let count = if change_key == Some(key) {
            self.changes.iter().take_while(|change| change.key.get() >> 16 == key).count()
        } else {
            0
        };
        let changes = self.changes.take(count);
        Some(Step { key, old, changes })
    }
}

/// Gathers neighbours, so that a long unchanged stretch is one write.
struct Copy<'a> {
    bytes: &'a [u8],
    pending: Range<usize>,
}

impl Copy<'_> {
    fn add<W: Write + ?Sized>(
        &mut self,
        range: Range<usize>,
        output: &mut Output<'_, W>,
    ) -> Result<(), SnapshotError> {
        if self.pending.end == range.start {
            self.pending.end = range.end;
            return Ok(());
        }
        self.flush(output)?;
        self.pending = range;
        Ok(())
    }

    fn flush<W: Write + ?Sized>(
        &mut self,
        output: &mut Output<'_, W>,
    ) -> Result<(), SnapshotError> {
        let range = std::mem::replace(&mut self.pending, 0..0);
        output.put(&self.bytes[range])
    }
}
