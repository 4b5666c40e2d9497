//! Writing a snapshot, front to back.
//!
//! What stands at the front of the file depends on all that follows: the number of buckets, and
//! for each bucket what its containers hold. So the keys are read twice: once to plan, once to
//! write. Memory holds 16 bytes for each container and the members of one container.

use std::io::{self, Write};

use super::error::SnapshotError;
use super::format::{COOKIE_PLAIN, COOKIE_RUNS, Shape, has_offsets, header_bytes};
use crate::number::SubscriberKey;

/// Small pieces are gathered up to this many bytes before they reach the output.
const BUFFER_BYTES: usize = 1 << 16;

/// What a new snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many members.
    pub len: u64,
    /// How many bytes were written.
    pub bytes: u64,
    /// In how many containers the members lie.
    pub containers: u64,
    /// How many members the old snapshot didn't have.
    pub added: u64,
    /// How many members of the old snapshot are gone.
    pub removed: u64,
}

/// Writes strictly ascending keys to `out`, each container in its smallest shape.
///
/// `keys` is called twice and has to give the same both times. The output needs no buffer of its
/// own; it is flushed at the end, not synced.
///
/// # Errors
///
/// When the keys don't strictly ascend (nothing is written then), when the second reading differs
/// from the first, or when the output fails.
pub fn write_sorted<W, I>(out: &mut W, keys: impl Fn() -> I) -> Result<Summary, SnapshotError>
where
    W: Write + ?Sized,
    I: IntoIterator<Item = SubscriberKey>,
{
    let (plan, planned_digest) = plan_sorted(keys())?;
    let mut digest = Digest::default();
    let mut keys = keys().into_iter().peekable();
    let mut lows = Vec::new();
    let mut output = Output::new(out);
    output.put(&bucket_count(&plan))?;
    for bucket in buckets(&plan) {
        output.put_header(bucket)?;
        for planned in bucket {
            lows.clear();
            while let Some(key) = keys.next_if(|key| key.get() >> 16 == planned.key) {
                if lows.len() >= planned.members() {
                    return Err(output.source_changed());
                }
                lows.push(key.get() as u16);
                digest.add(key.get());
            }
            if Planned::new(planned.key, &lows) != Some(*planned) {
                return Err(output.source_changed());
            }
            output.put_container(planned.shape, &lows)?;
        }
    }
    if keys.next().is_some() || digest != planned_digest {
        return Err(output.source_changed());
    }
    let mut summary = summarize(&plan, output.finish()?);
    summary.added = summary.len;
    Ok(summary)
}

fn plan_sorted(
    keys: impl IntoIterator<Item = SubscriberKey>,
) -> Result<(Vec<Planned>, Digest), SnapshotError> {
    let mut plan = Vec::new();
    let mut current: Option<Tally> = None;
    let mut digest = Digest::default();
    for (index, key) in (0..).zip(keys) {
        let key = key.get();
        digest.add(key);
        match &mut current {
            Some(tally) if key <= tally.last => return Err(SnapshotError::NotAscending { index }),
            Some(tally) if key >> 16 == tally.last >> 16 => {
                tally.members += 1;
                tally.runs += usize::from(key != tally.last + 1);
                tally.last = key;
            }
            _ => {
                let tally = Tally { last: key, members: 1, runs: 1 };
                plan.extend(current.replace(tally).map(Tally::plan));
            }
        }
    }
    plan.extend(current.map(Tally::plan));
    Ok((plan, digest))
}

/// Tells two readings apart that have containers of the same shapes. Against accidents, such as a
/// file that is written while it is read; not against anyone who means to deceive.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Digest(u64);

impl Digest {
    #[inline]
    fn add(&mut self, key: u64) {
        self.0 = (self.0.rotate_left(5) ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What is known about the container that is being read.
struct Tally {
    last: u64,
    members: usize,
    runs: usize,
}

impl Tally {
    fn plan(self) -> Planned {
        Planned {
            key: self.last >> 16,
            members_less_one: (self.members - 1) as u16,
            shape: Shape::smallest(self.members, self.runs),
        }
    }
}

/// A container to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    /// All but the low 16 bits of its members, shifted down.
    pub(super) key: u64,
    pub(super) members_less_one: u16,
    pub(super) shape: Shape,
}

impl Planned {
    /// A container of `lows` in its smallest shape; `None` unless they strictly ascend.
    pub(super) fn new(key: u64, lows: &[u16]) -> Option<Planned> {
        let members_less_one = u16::try_from(lows.len().checked_sub(1)?).ok()?;
        let pairs = || lows.iter().zip(lows.iter().skip(1));
        if !pairs().all(|(a, b)| a < b) {
            return None;
        }
        let runs = 1 + pairs().filter(|&(a, b)| b - a > 1).count();
        Some(Planned { key, members_less_one, shape: Shape::smallest(lows.len(), runs) })
    }

    pub(super) fn members(&self) -> usize {
        usize::from(self.members_less_one) + 1
    }
}

/// The containers of each bucket.
pub(super) fn buckets(plan: &[Planned]) -> impl Iterator<Item = &[Planned]> {
    plan.chunk_by(|a, b| a.key >> 16 == b.key >> 16)
}

pub(super) fn bucket_count(plan: &[Planned]) -> [u8; 8] {
    (buckets(plan).count() as u64).to_le_bytes()
}

pub(super) fn summarize(plan: &[Planned], bytes: u64) -> Summary {
    Summary {
        len: plan.iter().map(|planned| planned.members() as u64).sum(),
        bytes,
        containers: plan.len() as u64,
        added: 0,
        removed: 0,
    }
}

/// The file so far.
pub(super) struct Output<'a, W: Write + ?Sized> {
    out: io::BufWriter<&'a mut W>,
    written: u64,
    scratch: Vec<u8>,
}

impl<'a, W: Write + ?Sized> Output<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Output<'a, W> {
        let out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
        Output { out, written: 0, scratch: Vec::new() }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let written = self.written;
        self.out.write_all(bytes).map_err(|source| SnapshotError::Write { written, source })?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Everything of a bucket that comes before its containers.
    pub(super) fn put_header(&mut self, bucket: &[Planned]) -> Result<(), SnapshotError> {
        let mut header = std::mem::take(&mut self.scratch);
        header.clear();
        let done = write_header(&mut header, bucket)
            .ok_or(SnapshotError::TooLarge { offset: self.written });
        let done = done.and_then(|()| self.put(&header));
        self.scratch = header;
        done
    }

    pub(super) fn put_container(
        &mut self,
        shape: Shape,
        lows: &[u16],
    ) -> Result<(), SnapshotError> {
        let mut container = std::mem::take(&mut self.scratch);
        container.clear();
        write_container(&mut container, shape, lows);
        let done = self.put(&container);
        self.scratch = container;
        done
    }

    pub(super) fn source_changed(&self) -> SnapshotError {
        SnapshotError::SourceChanged { written: self.written }
    }

    /// Hands everything to the output; how many bytes that was.
    pub(super) fn finish(mut self) -> Result<u64, SnapshotError> {
        let written = self.written;
        self.out.flush().map_err(|source| SnapshotError::Write { written, source })?;
        Ok(written)
    }
}

/// `None` when an offset doesn't fit, which shapes chosen by `Shape::smallest` rule out.
fn write_header(header: &mut Vec<u8>, bucket: &[Planned]) -> Option<()> {
    let key = u32::try_from(bucket.first()?.key >> 16).ok()?;
    header.extend(key.to_le_bytes());
    let has_runs = bucket.iter().any(|planned| matches!(planned.shape, Shape::Runs { .. }));
    if has_runs {
        let count_less_one = u32::try_from(bucket.len() - 1).ok()?;
        header.extend((COOKIE_RUNS | count_less_one << 16).to_le_bytes());
        for planned in bucket.chunks(8) {
            header.push(run_flags(planned));
        }
    } else {
        header.extend(COOKIE_PLAIN.to_le_bytes());
        header.extend(u32::try_from(bucket.len()).ok()?.to_le_bytes());
    }
    for planned in bucket {
        header.extend((planned.key as u16).to_le_bytes());
        header.extend(planned.members_less_one.to_le_bytes());
    }
    if has_offsets(bucket.len(), has_runs) {
        let mut offset = header_bytes(bucket.len(), has_runs);
        for planned in bucket {
            header.extend(u32::try_from(offset).ok()?.to_le_bytes());
            offset += planned.shape.bytes(planned.members());
        }
    }
    Some(())
}

fn run_flags(containers: &[Planned]) -> u8 {
    let flags = containers.iter().enumerate();
    flags.fold(0, |flags, (bit, planned)| {
        flags | u8::from(matches!(planned.shape, Shape::Runs { .. })) << bit
    })
}

fn write_container(out: &mut Vec<u8>, shape: Shape, lows: &[u16]) {
    match shape {
        Shape::Array => {
            out.resize(size_of_val(lows), 0);
            let places = out.chunks_exact_mut(size_of::<u16>());
            places.zip(lows).for_each(|(place, low)| place.copy_from_slice(&low.to_le_bytes()));
        }
        Shape::Bitmap => {
            out.resize(shape.bytes(lows.len()), 0);
            for &low in lows {
                out[usize::from(low / 8)] |= 1 << (low % 8);
            }
        }
        Shape::Runs { count } => {
            out.extend(count.to_le_bytes());
            for run in lows.chunk_by(|a, b| b - a == 1) {
                out.extend(run[0].to_le_bytes());
                out.extend(((run.len() - 1) as u16).to_le_bytes());
            }
        }
    }
}
