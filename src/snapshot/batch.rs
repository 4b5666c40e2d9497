//! Many lookups at once: their cache misses overlap.
//!
//! A lookup in a large set is little more than three loads that miss the caches, each needing the
//! one before. One key at a time, the processor waits for every one of them. Here a chunk of keys
//! takes each step together, and each step asks for the memory of the next, which comes while the
//! other keys take theirs. Whether a key has a container, and of which kind it is, may be a coin
//! toss to the processor: nothing branches on it, and keys of one kind are put together instead.

use super::container::{Array, Body, Span};
use super::directory::Directory;
use super::prefetch::prefetch;
use crate::number::SubscriberKey;

/// How many keys step together: enough that a step takes longer than memory does.
const CHUNK: usize = 64;

#[inline(always)]
pub(super) fn contains(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    found: &mut [bool],
) {
    look_up(directory, bytes, keys, found);
}

#[inline(always)]
pub(super) fn positions(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    positions: &mut [Option<u64>],
) {
    look_up(directory, bytes, keys, positions);
}

/// What is asked of a set.
trait Answer: Copy {
    /// Of a key without a container.
    const ABSENT: Self;
    /// Whether it takes what comes before a container.
    const COUNTS: bool;

    fn in_array(array: Array<'_>, span: Span, low: u16, before: impl FnOnce() -> u64) -> Self;

    fn in_body(body: Body<'_>, low: u16, before: impl FnOnce() -> u64) -> Self;
}

impl Answer for bool {
    const ABSENT: bool = false;
    const COUNTS: bool = false;

    #[inline(always)]
    fn in_array(array: Array<'_>, span: Span, low: u16, _: impl FnOnce() -> u64) -> bool {
        array.contains(low, span)
    }

    #[inline(always)]
    fn in_body(body: Body<'_>, low: u16, _: impl FnOnce() -> u64) -> bool {
        body.contains(low)
    }
}

impl Answer for Option<u64> {
    const ABSENT: Option<u64> = None;
    const COUNTS: bool = true;

    #[inline(always)]
    fn in_array(array: Array<'_>, span: Span, low: u16, before: impl FnOnce() -> u64) -> Self {
        array.locate(low, span).ok().map(|below| before() + below as u64)
    }

    #[inline(always)]
    fn in_body(body: Body<'_>, low: u16, before: impl FnOnce() -> u64) -> Self {
        body.position(low).map(|below| before() + below as u64)
    }
}

/// A key whose container was found.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// The key's place in the chunk.
    place: u8,
    low: u16,
    container: u32,
    /// Where in an array it has to be.
    span: Span,
}

#[inline(always)]
fn look_up<T: Answer>(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    answers: &mut [T],
) {
    assert_eq!(keys.len(), answers.len(), "one answer for each key");
    answers.fill(T::ABSENT);
    directory.expect(keys.len(), bytes);
    let (mut spots, mut arrays) = ([Spot::default(); CHUNK], [Spot::default(); CHUNK]);
    for (keys, answers) in keys.chunks(CHUNK).zip(answers.chunks_mut(CHUNK)) {
        let found = find_containers(directory, keys, &mut spots);
        let (array_count, other_count) = part_arrays(directory, &mut spots[..found], &mut arrays);
        let (arrays, others) = (&mut arrays[..array_count], &spots[..other_count]);
        for spot in others {
            let (body, start) = directory.body(bytes, spot.container as usize);
            prefetch(bytes, start + body.reach(spot.low));
        }
        for spot in &mut *arrays {
            if let Body::Array(array) = directory.body(bytes, spot.container as usize).0 {
                spot.span = array.span(spot.low);
                array.reach(spot.span).into_iter().for_each(|at| prefetch(bytes, at));
            }
            if T::COUNTS {
                directory.prefetch_before(spot.container as usize);
            }
        }
        for spot in others {
            let before = || directory.members_before(spot.container as usize);
            let body = directory.body(bytes, spot.container as usize).0;
            answers[usize::from(spot.place)] = T::in_body(body, spot.low, before);
        }
        for spot in &*arrays {
            let before = || directory.members_before(spot.container as usize);
            if let Body::Array(array) = directory.body(bytes, spot.container as usize).0 {
                answers[usize::from(spot.place)] = T::in_array(array, spot.span, spot.low, before);
            }
        }
    }
}

/// Gives each key that has a container a spot; how many they are.
#[inline(always)]
fn find_containers(
    directory: &Directory,
    keys: &[SubscriberKey],
    spots: &mut [Spot; CHUNK],
) -> usize {
    let mut found = 0;
    for (place, key) in keys.iter().enumerate() {
        let (place, low) = (place as u8, key.get() as u16);
        let container = directory.find(key.get());
        let index = container.unwrap_or_default();
        directory.prefetch(index);
        spots[found] = Spot { place, low, container: index as u32, span: Span::default() };
        found += usize::from(container.is_some());
    }
    found
}

/// Moves the spots in arrays to `arrays` and the others together; how many there are of each.
#[inline(always)]
fn part_arrays(
    directory: &Directory,
    spots: &mut [Spot],
    arrays: &mut [Spot; CHUNK],
) -> (usize, usize) {
    let (mut array_count, mut other_count) = (0, 0);
    for place in 0..spots.len() {
        let spot = spots[place];
        let is_array = directory.prefetch_mark(spot.container as usize, spot.low);
        arrays[array_count] = spot;
        spots[other_count] = spot;
        array_count += usize::from(is_array);
        other_count += usize::from(!is_array);
    }
    (array_count, other_count)
}
