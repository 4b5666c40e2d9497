//! What is kept in memory about a snapshot: where each container lies and what comes before it.
//!
//! The directory is a few flat tables. For twenty million numbers spread over ten billion it takes
//! about 5 MB; for the most scattered sets, a few times the bytes of the file.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::container::{Array, BLOCK_RUNS, BLOCKS, Body};
use super::error::SnapshotError;
use super::format::{BITMAP_BYTES, MEMBER_BYTES, RUN_BYTES, RUN_COUNT_BYTES, Shape};
use super::prefetch::prefetch;

/// Where every container is. Built by `check`; only the marks of arrays are made later, and once.
pub(super) struct Directory {
    /// Ascending; parallel to `buckets`.
    bucket_keys: Vec<u32>,
    buckets: Vec<Bucket>,
    /// Guides to `bucket_keys`.
    top: Guide,
    /// Ascending within each bucket; parallel to `containers`.
    keys: Vec<u16>,
    containers: Vec<Container>,
    /// How many members lie before each container. Ends with the number of all members.
    before: Vec<u64>,
    /// The entries of all guides.
    guides: Vec<u32>,
    /// The words of all maps.
    words: Vec<Word>,
    /// The marks of all containers but arrays, see `container`.
    marks: Vec<u16>,
    /// Those of arrays, once it pays to have them.
    starts: OnceLock<Vec<u16>>,
    /// How many they are.
    starts_len: usize,
    /// How many keys were asked for, as long as arrays are not marked.
    asked: AtomicU64,
}

/// Marking an array costs some 0.4 ns a member, and saves some 100 ns for each key that is looked
/// up in a batch: a program that asks for a few people should not wait for it.
const MEMBERS_PER_KEY: u64 = 256;

/// A bucket's containers are those from `first` to the `first` of the next bucket.
struct Bucket {
    first: u32,
    finder: Finder,
}

/// How the containers of a bucket are found by their keys.
#[derive(Clone, Copy)]
enum Finder {
    /// One bit for each key that a container could have: where there are many, a look at the bit
    /// and a count of those before it take the place of a search. `words` words of the directory
    /// from `at` on; the first of them is for the keys from 64 * `first` on.
    Map { at: u32, first: u16, words: u16 },
    /// Guides to `keys`, where a map would take too much room.
    Guide(Guide),
}

/// 64 bits of a map.
#[derive(Clone, Copy, Default)]
struct Word {
    bits: u64,
    /// The first container of the bucket behind those of the words before.
    before: u32,
}

/// Most words of a map for each container that it leads to: 64 bytes, about what the rest of the
/// directory takes for it.
const MAP_WORDS_MAX: usize = 4;

/// Narrows a search: keys whose upper bits are `u` lie between entries `u` and `u + 1`.
///
/// One more load in place of a binary search: with as many entries as keys, evenly spread keys
/// leave about one candidate.
#[derive(Clone, Copy, Default)]
struct Guide {
    at: u32,
    shift: u8,
}

/// One container of the file.
#[derive(Clone, Copy)]
pub(super) struct Container {
    /// Where its members start in the file; for runs, the number of runs lies just before.
    at: u64,
    /// Where its marks start in `marks`, or those of an array in `starts`.
    marks_at: u32,
    /// Runs for run containers, members for the others; less one.
    count_less_one: u16,
    kind: Kind,
}

/// How a container is written in the file that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Array,
    Bitmap,
    Runs,
    /// Runs that are valid, but not as this module writes them: they touch, or another shape
    /// would have been smaller. Read like others; written anew instead of copied.
    LooseRuns,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            bucket_keys: Vec::new(),
            buckets: Vec::new(),
            top: Guide::default(),
            keys: Vec::new(),
            containers: Vec::new(),
            before: vec![0],
            guides: Vec::new(),
            words: Vec::new(),
            marks: Vec::new(),
            starts: OnceLock::new(),
            starts_len: 0,
            asked: AtomicU64::new(0),
        }
    }
}

/// Looking up.
impl Directory {
    /// How many members there are.
    pub(super) fn members(&self) -> u64 {
        self.before.last().copied().unwrap_or(0)
    }

    pub(super) fn containers(&self) -> usize {
        self.containers.len()
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// How many members lie before container `index`, which may be one past the last.
    pub(super) fn members_before(&self, index: usize) -> u64 {
        self.before[index]
    }

    /// How many members container `index` has.
    pub(super) fn members_in(&self, index: usize) -> u64 {
        self.before[index + 1] - self.before[index]
    }

    /// The container that has to hold `key` if anything does.
    #[inline(always)]
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        let bucket = self.find_bucket((key >> 32) as u32).ok()?;
        let wanted = (key >> 16) as u16;
        match self.buckets[bucket].finder {
            Finder::Map { at, first, words } => {
                let word = usize::from(wanted / 64).wrapping_sub(usize::from(first));
                if word >= usize::from(words) {
                    return None;
                }
                let Word { bits, before } = self.words[at as usize + word];
                let below = (bits & !(u64::MAX << (wanted % 64))).count_ones();
                let index = (before + below) as usize;
                (bits >> (wanted % 64) & 1 == 1).then_some(index)
            }
            Finder::Guide(guide) => {
                let (from, to) = guide.span(&self.guides, u32::from(wanted));
                let at = from + position(&self.keys[from..to], wanted);
                (at < to && self.keys[at] == wanted).then_some(at)
            }
        }
    }

    /// [`Directory::find`], or else the first container above `key`.
    pub(super) fn locate(&self, key: u64) -> Result<usize, usize> {
        let bucket = match self.find_bucket((key >> 32) as u32) {
            Ok(bucket) => bucket,
            Err(bucket) => return Err(self.bucket_start(bucket)),
        };
        let wanted = (key >> 16) as u16;
        let (from, to) = (self.bucket_start(bucket), self.bucket_start(bucket + 1));
        let at = from + self.keys[from..to].partition_point(|&key| key < wanted);
        if at < to && self.keys[at] == wanted { Ok(at) } else { Err(at) }
    }

    /// The container in which the member with `rank` members below it lies.
    pub(super) fn find_rank(&self, rank: u64) -> Option<usize> {
        let at = self.before.partition_point(|&before| before <= rank);
        if at == self.before.len() { None } else { at.checked_sub(1) }
    }

    /// The members of container `index`, in the bytes that the directory was built from, and where
    /// they start in them.
    #[inline(always)]
    pub(super) fn body<'a>(&'a self, bytes: &'a [u8], index: usize) -> (Body<'a>, usize) {
        let container = self.containers[index];
        let (at, count) = (container.at as usize, usize::from(container.count_less_one) + 1);
        let marks_at = container.marks_at as usize;
        let body = match container.kind {
            Kind::Array => {
                let starts = self
                    .starts
                    .get()
                    .map_or(&[][..], |starts| &starts[marks_at..marks_at + Array::starts(count)]);
                Body::Array(Array::new(bytes, at, count, starts))
            }
            Kind::Bitmap => Body::Bitmap {
                bits: &bytes[at..at + BITMAP_BYTES],
                counts: &self.marks[marks_at..marks_at + BLOCKS],
            },
            Kind::Runs | Kind::LooseRuns => Body::Runs {
                runs: bytes[at..at + count * RUN_BYTES].as_chunks().0,
                counts: &self.marks[marks_at..marks_at + count.div_ceil(BLOCK_RUNS)],
            },
        };
        (body, at)
    }

    /// Brings what is known of container `index` into the caches.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        prefetch(&self.containers, index);
    }

    /// Whether container `index` is an array; if so, brings the mark for `low` into the caches.
    #[inline(always)]
    pub(super) fn prefetch_mark(&self, index: usize, low: u16) -> bool {
        let container = self.containers[index];
        let is_array = container.kind == Kind::Array;
        let slice = Array::slice(usize::from(container.count_less_one) + 1, low);
        // Of another container it is some mark that is not needed, which costs less than to branch.
        let slice = if is_array { slice } else { 0 };
        let starts = self.starts.get().map_or(&[][..], Vec::as_slice);
        prefetch(starts, container.marks_at as usize + slice);
        is_array
    }

    /// Takes note that `keys` more are asked for, and marks the arrays as soon as that pays.
    /// `bytes` are those that the directory was built from.
    pub(super) fn expect(&self, keys: usize, bytes: &[u8]) {
        if self.starts.get().is_some() {
            return;
        }
        let asked = self.asked.fetch_add(keys as u64, Ordering::Relaxed) + keys as u64;
        if asked.saturating_mul(MEMBERS_PER_KEY) >= self.members() {
            self.starts.get_or_init(|| self.mark_arrays(bytes));
        }
    }

    fn mark_arrays(&self, bytes: &[u8]) -> Vec<u16> {
        let mut all = vec![0; self.starts_len];
        for container in self.containers.iter().filter(|it| it.kind == Kind::Array) {
            let (at, count) = (container.at as usize, usize::from(container.count_less_one) + 1);
            let starts_at = container.marks_at as usize;
            let members = Array::new(bytes, at, count, &[]).members();
            Array::mark(members, &mut all[starts_at..starts_at + Array::starts(count)]);
        }
        all
    }

    /// Brings into the caches how many members lie before container `index`.
    #[inline(always)]
    pub(super) fn prefetch_before(&self, index: usize) {
        prefetch(&self.before, index);
    }

    /// Where container `index` lies in the file and what it is, when it may be copied as it is.
    pub(super) fn stored(&self, index: usize) -> Option<(std::ops::Range<usize>, Shape)> {
        let container = self.containers[index];
        let (at, count_less_one) = (container.at as usize, container.count_less_one);
        let count = usize::from(count_less_one) + 1;
        match container.kind {
            Kind::Array => Some((at..at + count * MEMBER_BYTES, Shape::Array)),
            Kind::Bitmap => Some((at..at + BITMAP_BYTES, Shape::Bitmap)),
            Kind::Runs => {
                let shape = Shape::Runs { count: count_less_one.checked_add(1)? };
                Some((at - RUN_COUNT_BYTES..at + count * RUN_BYTES, shape))
            }
            Kind::LooseRuns => None,
        }
    }

    /// The bucket that container `index` is in; the last one for an index past the end.
    pub(super) fn bucket_of(&self, index: usize) -> usize {
        self.buckets.partition_point(|bucket| bucket.first as usize <= index).saturating_sub(1)
    }

    /// What the members of container `index`, in `bucket`, have in common; low 16 bits zero.
    #[inline]
    pub(super) fn base(&self, bucket: usize, index: usize) -> u64 {
        u64::from(self.bucket_keys[bucket]) << 32 | u64::from(self.keys[index]) << 16
    }

    /// The first container of `bucket`, or the number of containers when there is no such bucket.
    #[inline]
    pub(super) fn bucket_start(&self, bucket: usize) -> usize {
        self.buckets.get(bucket).map_or(self.containers.len(), |bucket| bucket.first as usize)
    }

    #[inline(always)]
    fn find_bucket(&self, key: u32) -> Result<usize, usize> {
        match self.bucket_keys.last() {
            Some(&last) if key <= last => {}
            _ => return Err(self.bucket_keys.len()),
        }
        let (from, to) = self.top.span(&self.guides, key);
        // Each number of up to 13 digits has an entry of its own: then there is one at most.
        let at = match to - from {
            ..=1 => from + usize::from(from < to && self.bucket_keys[from] < key),
            _ => from + self.bucket_keys[from..to].partition_point(|&other| other < key),
        };
        if at < to && self.bucket_keys[at] == key { Ok(at) } else { Err(at) }
    }
}

/// Where `wanted` is or would be.
#[inline]
fn position(keys: &[u16], wanted: u16) -> usize {
    if keys.len() <= 8 {
        keys.iter().map(|&key| usize::from(key < wanted)).sum()
    } else {
        keys.partition_point(|&key| key < wanted)
    }
}

impl Guide {
    #[inline]
    fn span(self, guides: &[u32], key: u32) -> (usize, usize) {
        let at = self.at as usize + (u64::from(key) >> self.shift) as usize;
        (guides[at] as usize, guides[at + 1] as usize)
    }
}

/// Building, in the order of the file.
impl Directory {
    /// Room for the containers of one more bucket.
    pub(super) fn reserve(&mut self, containers: usize) {
        self.keys.reserve(containers);
        self.containers.reserve(containers);
        self.before.reserve(containers);
    }

    /// Adds a container; returns the marks to fill in, which are zero.
    pub(super) fn push(
        &mut self,
        (key, at, kind): (u16, usize, Kind),
        count_less_one: u16,
        members: u64,
        marks: usize,
    ) -> Result<&mut [u16], SnapshotError> {
        let marks_at = self.marks.len();
        self.push_container((key, at, kind), count_less_one, members, marks_at)?;
        self.marks.resize(marks_at + marks, 0);
        Ok(&mut self.marks[marks_at..])
    }

    /// Adds an array.
    pub(super) fn push_array(
        &mut self,
        key: u16,
        at: usize,
        count_less_one: u16,
    ) -> Result<(), SnapshotError> {
        let count = usize::from(count_less_one) + 1;
        let place = (key, at, Kind::Array);
        self.push_container(place, count_less_one, count as u64, self.starts_len)?;
        self.starts_len += Array::starts(count);
        Ok(())
    }

    fn push_container(
        &mut self,
        (key, at, kind): (u16, usize, Kind),
        count_less_one: u16,
        members: u64,
        marks_at: usize,
    ) -> Result<(), SnapshotError> {
        let at = at as u64;
        let marks_at =
            u32::try_from(marks_at).map_err(|_| SnapshotError::TooLarge { offset: at })?;
        self.keys.push(key);
        self.containers.push(Container { at, marks_at, count_less_one, kind });
        self.before.push(self.members() + members);
        Ok(())
    }

    /// Marks the last container as one that has to be written anew.
    pub(super) fn loosen_last(&mut self) {
        if let Some(last) = self.containers.last_mut() {
            last.kind = Kind::LooseRuns;
        }
    }

    /// Ends a bucket: its containers are those pushed since the last one ended.
    pub(super) fn end_bucket(
        &mut self,
        key: u32,
        first: usize,
        offset: u64,
    ) -> Result<(), SnapshotError> {
        let too_large = |_| SnapshotError::TooLarge { offset };
        u32::try_from(self.keys.len()).map_err(too_large)?;
        let finder = match self.map(first, offset)? {
            Some(map) => map,
            None => {
                let guide_bits = (self.keys.len() - first).next_power_of_two().ilog2();
                let at = u32::try_from(self.guides.len()).map_err(too_large)?;
                let guide = Guide { at, shift: (16 - guide_bits) as u8 };
                let keys = self.keys[first..].iter().map(|&key| u32::from(key));
                extend_guides(&mut self.guides, guide, 1 << guide_bits, keys, first as u32);
                Finder::Guide(guide)
            }
        };
        self.bucket_keys.push(key);
        self.buckets.push(Bucket { first: first as u32, finder });
        Ok(())
    }

    /// The map of the containers from `first` on; `None` when it would be too large.
    fn map(&mut self, first: usize, offset: u64) -> Result<Option<Finder>, SnapshotError> {
        let keys = &self.keys[first..];
        let (Some(&low), Some(&high)) = (keys.first(), keys.last()) else { return Ok(None) };
        let words = usize::from(high / 64 - low / 64) + 1;
        if words > MAP_WORDS_MAX * keys.len() {
            return Ok(None);
        }
        let at = self.words.len();
        let too_large = |_| SnapshotError::TooLarge { offset };
        u32::try_from(at + words).map_err(too_large)?;
        self.words.resize(at + words, Word::default());
        for &key in keys {
            self.words[at + usize::from(key / 64 - low / 64)].bits |= 1 << (key % 64);
        }
        let mut before = first as u32;
        for word in &mut self.words[at..] {
            word.before = before;
            before += word.bits.count_ones();
        }
        Ok(Some(Finder::Map { at: at as u32, first: low / 64, words: words as u16 }))
    }

    /// Ends the file.
    pub(super) fn finish(&mut self, offset: u64) -> Result<(), SnapshotError> {
        /// Numbers of up to 13 digits have bucket keys below 2329: each gets an entry of its own.
        const ENTRIES_MIN: usize = 4096;
        let Some(&last) = self.bucket_keys.last() else { return Ok(()) };
        let at =
            u32::try_from(self.guides.len()).map_err(|_| SnapshotError::TooLarge { offset })?;
        let entries_max = (2 * self.bucket_keys.len()).next_power_of_two().max(ENTRIES_MIN);
        let bits = u32::BITS - last.leading_zeros();
        self.top = Guide { at, shift: bits.saturating_sub(entries_max.ilog2()) as u8 };
        let entries = (last >> self.top.shift) as usize + 1;
        extend_guides(&mut self.guides, self.top, entries, self.bucket_keys.iter().copied(), 0);
        Ok(())
    }
}

/// Appends `entries` + 1 entries for ascending `keys`, the first of which has index `first`.
fn extend_guides(
    guides: &mut Vec<u32>,
    guide: Guide,
    entries: usize,
    keys: impl Iterator<Item = u32>,
    first: u32,
) {
    let end = guide.at as usize + entries + 1;
    let mut index = first;
    for key in keys {
        let entry = guide.at as usize + (u64::from(key) >> guide.shift) as usize;
        guides.resize(guides.len().max(entry + 1), index);
        index += 1;
    }
    guides.resize(end, index);
}
