//! Folding changes into a new snapshot.
//!
//! Containers that no change concerns are copied as bytes: the cost is that of one sequential copy
//! and of the containers that do change. Like `writer`, this goes over its input twice, to plan and
//! to write; what a changed container becomes is worked out both times rather than kept.

use std::io::Write;
use std::iter::Peekable;
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
    merge_with(old, || changes.iter().copied(), out)
}

/// As [`merge`], with the changes from wherever the caller has them. `changes` is called twice and
/// has to give the same both times.
///
/// # Errors
///
/// As [`merge`].
pub(crate) fn merge_with<B, W, I>(
    old: &View<B>,
    changes: impl Fn() -> I,
    out: &mut W,
) -> Result<Summary, SnapshotError>
where
    B: AsRef<[u8]>,
    W: Write + ?Sized,
    I: IntoIterator<Item = Change>,
{
    let mut lows = Vec::new();
    let (plan, added, removed) = make_plan(Steps::new(old, changes()), &mut lows)?;
    let mut output = Output::new(out);
    output.put(&bucket_count(&plan))?;
    let mut steps = Steps::new(old, changes());
    let mut copy = Copy { bytes: old.bytes(), pending: 0..0 };
    for bucket in buckets(&plan) {
        copy.flush(&mut output)?;
        output.put_header(bucket)?;
        for planned in bucket {
            // Steps that the plan left out came to nothing.
            let step = loop {
                match steps.next()? {
                    Some(step) if step.key == planned.key => break step,
                    Some(_) => {}
                    None => return Err(output.source_changed()),
                }
            };
            if let Some((range, _)) = steps.unchanged(&step) {
                copy.add(range, &mut output)?;
                continue;
            }
            steps.apply(&step, &mut lows);
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

/// What to write, and how many members come and go.
fn make_plan<B: AsRef<[u8]>, I: Iterator<Item = Change>>(
    mut steps: Steps<'_, B, I>,
    lows: &mut Vec<u16>,
) -> Result<(Vec<Planned>, u64, u64), SnapshotError> {
    let mut plan = Vec::with_capacity(steps.old.directory().containers());
    let (mut added, mut removed) = (0, 0);
    while let Some(step) = steps.next()? {
        if let (Some((_, shape)), Some(index)) = (steps.unchanged(&step), step.old) {
            let members_less_one = (steps.old.directory().members_in(index) - 1) as u16;
            plan.push(Planned { key: step.key, members_less_one, shape });
            continue;
        }
        let (more, fewer) = steps.apply(&step, lows);
        added += more;
        removed += fewer;
        plan.extend(Planned::new(step.key, lows));
    }
    Ok((plan, added, removed))
}

/// One container, old or new.
struct Step {
    /// All but the low 16 bits of its members, shifted down.
    key: u64,
    old: Option<usize>,
}

/// All containers, old and new, ascending.
struct Steps<'a, B, I: Iterator> {
    old: &'a View<B>,
    next_old: usize,
    bucket: usize,
    changes: Peekable<I>,
    /// What is to change in the container of the last step: the low 16 bits of each key, and
    /// whether it is to be a member.
    lows: Vec<(u16, bool)>,
    /// How many changes there were.
    taken: u64,
}

impl<'a, B: AsRef<[u8]>, I: Iterator<Item = Change>> Steps<'a, B, I> {
    fn new(
        old: &'a View<B>,
        changes: impl IntoIterator<IntoIter = I, Item = Change>,
    ) -> Steps<'a, B, I> {
        let changes = changes.into_iter().peekable();
        Steps { old, next_old: 0, bucket: 0, changes, lows: Vec::new(), taken: 0 }
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

    fn next(&mut self) -> Result<Option<Step>, SnapshotError> {
        let old_key = self.next_old_key();
        let change_key = self.changes.peek().map(|change| change.key.get() >> 16);
        let key = match (old_key, change_key) {
            (Some(old), Some(change)) => old.min(change),
            (old, change) => match old.or(change) {
                Some(key) => key,
                None => return Ok(None),
            },
        };
        let old = (old_key == Some(key)).then_some(self.next_old);
        self.next_old += usize::from(old.is_some());
        self.lows.clear();
        while let Some(change) = self.changes.next_if(|it| it.key.get() >> 16 == key) {
            self.take(change)?;
        }
        Ok(Some(Step { key, old }))
    }

    #[inline]
    fn take(&mut self, change: Change) -> Result<(), SnapshotError> {
        let key = change.key.get();
        self.lows.push((key as u16, change.present));
        self.taken += 1;
        match self.changes.peek() {
            Some(next) if next.key.get() <= key => {
                Err(SnapshotError::NotAscending { index: self.taken })
            }
            _ => Ok(()),
        }
    }

    /// Where the step's container can be copied from, when nothing is to change in it.
    fn unchanged(&self, step: &Step) -> Option<(Range<usize>, Shape)> {
        if self.lows.is_empty() { self.old.directory().stored(step.old?) } else { None }
    }

    /// Leaves the new members in `lows`; how many are new, and how many are gone.
    fn apply(&self, step: &Step, lows: &mut Vec<u16>) -> (u64, u64) {
        lows.clear();
        let old_body = step.old.map(|index| self.old.directory().body(self.old.bytes(), index).0);
        let mut members = old_body.map(|body: Body<'_>| body.members_from(0)).into_iter().flatten();
        let mut member = members.next();
        let (mut added, mut removed) = (0, 0);
        for &(low, present) in &self.lows {
            while let Some(below) = member.filter(|&member| member < low) {
                lows.push(below);
                member = members.next();
            }
            let was_present = member == Some(low);
            if was_present {
                member = members.next();
            }
            if present {
                lows.push(low);
            }
            added += u64::from(present && !was_present);
            removed += u64::from(!present && was_present);
        }
        lows.extend(member);
        lows.extend(members);
        (added, removed)
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
