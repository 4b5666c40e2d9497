//! Many lookups at once: their cache misses overlap.
//!
//! A lookup in a large set is little more than two or three loads that miss the caches, each
//! needing the one before. One key at a time, the processor waits for every one of them. Here a
//! chunk of keys takes the same step together: the loads of one step don't depend on each other,
//! so the processor has many under way at the same time. No instruction of any one machine is
//! needed for that; a plain load whose value is used will do.

use std::hint::black_box;

use super::container::Body;
use super::directory::Directory;
use crate::number::SubscriberKey;

/// How many keys step together. 64 were no faster for `contains` and slower for positions (57 and
/// 74 ns a key instead of 57 and 65; 20 million even numbers, 2-core Xeon).
const CHUNK: usize = 32;

pub(super) fn contains(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    found: &mut [bool],
) {
    look_up(directory, bytes, keys, found, false, |body, _, (low, block)| {
        body.contains_near(low, block)
    });
}

pub(super) fn positions(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    positions: &mut [Option<u64>],
) {
    look_up(directory, bytes, keys, positions, None, |body, index, (low, block)| {
        let below = body.position_near(low, block)?;
        Some(directory.members_before(index) + below as u64)
    });
}

/// A key whose container was found.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// The key's place in the chunk.
    place: u8,
    low: u16,
    /// The block of the container.
    block: u16,
    container: u32,
    /// The first and last of the bytes that have to be looked at.
    reach: (usize, usize),
}

/// Writes `finish` of each key's container to `out`, or `absent` where there is no container.
#[inline]
fn look_up<T: Copy>(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    out: &mut [T],
    absent: T,
    finish: impl Fn(Body<'_>, usize, (u16, usize)) -> T,
) {
    assert_eq!(keys.len(), out.len(), "one answer for each key");
    let mut spots = [Spot::default(); CHUNK];
    for (keys, out) in keys.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        out.fill(absent);
        // Whether there is a container may be a coin toss, too: instead of branching on it in
        // every step, those that have one move up.
        let mut found = 0;
        for (place, key) in keys.iter().enumerate() {
            let (place, low) = (place as u8, key.get() as u16);
            let container = directory.find(key.get());
            let index = container.unwrap_or_default() as u32;
            spots[found] = Spot { place, low, container: index, ..Spot::default() };
            found += usize::from(container.is_some());
        }
        // What a container is, then its marks, then the members themselves: nothing but loads, so
        // that as many as possible of them are under way.
        touch(&spots[..found], |spot| directory.touch(spot.container as usize));
        touch(&spots[..found], |spot| directory.touch_marks(spot.container as usize));
        for spot in &mut spots[..found] {
            let (body, start) = directory.body(bytes, spot.container as usize);
            let block = body.block(spot.low);
            let (first, last) = body.reach(spot.low, block);
            spot.block = block as u16;
            spot.reach = (start + first, start + last);
        }
        touch(&spots[..found], |spot| u32::from(bytes[spot.reach.0] ^ bytes[spot.reach.1]));
        for spot in &spots[..found] {
            let index = spot.container as usize;
            let near = (spot.low, usize::from(spot.block));
            out[usize::from(spot.place)] = finish(directory.body(bytes, index).0, index, near);
        }
    }
}

/// Has all loads under way before the first is needed.
#[inline(always)]
fn touch(spots: &[Spot], load: impl Fn(&Spot) -> u32) {
    black_box(spots.iter().fold(0, |touched, spot| touched ^ load(spot)));
}
