//! Many lookups at once: their cache misses overlap.
//!
//! A lookup in a large set is little more than three loads that miss the caches, each needing the
//! one before. One key at a time, the processor waits for every one of them. Here each key takes
//! one step after another, with steps of other keys in between, and each step asks for the memory
//! of the next: it comes while the others are computed.

use super::container::Body;
use super::directory::Directory;
use super::prefetch::prefetch;
use crate::number::SubscriberKey;

/// By how many keys each step is ahead of the next.
const AHEAD: usize = 16;
/// How many keys are between their first and last step: a power of two, so that the place of one
/// is quickly found.
const UNDER_WAY: usize = 4 * AHEAD;
/// Keys whose members are gathered before it is asked how many lie before their containers.
const HITS: usize = 64;

#[inline(always)]
pub(super) fn contains(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    found: &mut [bool],
) {
    assert_eq!(keys.len(), found.len(), "one answer for each key");
    found.fill(false);
    look_up(directory, bytes, keys, |place, spot, body| {
        found[place] = body.contains_near(spot.low, spot.block.into()) & spot.exists;
    });
}

#[inline(always)]
pub(super) fn positions(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    positions: &mut [Option<u64>],
) {
    assert_eq!(keys.len(), positions.len(), "one answer for each key");
    positions.fill(None);
    let mut hits = [(0, 0, 0); HITS];
    let mut count = 0;
    let mut settle = |hits: &[(usize, u32, usize)]| {
        for &(place, container, below) in hits {
            positions[place] = Some(directory.members_before(container as usize) + below as u64);
        }
    };
    look_up(directory, bytes, keys, |place, spot, body| {
        let below = body.position_near(spot.low, spot.block.into());
        if let Some(below) = below.filter(|_| spot.exists) {
            directory.prefetch_before(spot.container as usize);
            hits[count] = (place, spot.container, below);
            count += 1;
            if count == HITS {
                settle(&hits);
                count = 0;
            }
        }
    });
    settle(&hits[..count]);
}

/// How far a key has come.
#[derive(Clone, Copy, Default)]
struct Spot {
    low: u16,
    /// The block of the container.
    block: u16,
    container: u32,
    /// Whether there is a container; if not, it is the first one.
    exists: bool,
}

/// Takes every key to where it has to be if it is a member, and there to `finish`, which gets its
/// place among the keys. That there is a container for a key may be a coin toss, so nothing
/// branches on it.
#[inline(always)]
fn look_up(
    directory: &Directory,
    bytes: &[u8],
    keys: &[SubscriberKey],
    mut finish: impl FnMut(usize, &Spot, Body<'_>),
) {
    if directory.containers() == 0 {
        return;
    }
    let mut spots = [Spot::default(); UNDER_WAY];
    for step in 0..keys.len() + 3 * AHEAD {
        if let Some(key) = keys.get(step) {
            let container = directory.find(key.get());
            let index = container.unwrap_or_default();
            directory.prefetch(index);
            let (low, container, exists) = (key.get() as u16, index as u32, container.is_some());
            spots[step % UNDER_WAY] = Spot { low, block: 0, container, exists };
        }
        let behind = |steps: usize| step.checked_sub(steps * AHEAD).filter(|&at| at < keys.len());
        if let Some(place) = behind(1) {
            directory.prefetch_marks(spots[place % UNDER_WAY].container as usize);
        }
        if let Some(place) = behind(2) {
            let spot = &mut spots[place % UNDER_WAY];
            let (body, start) = directory.body(bytes, spot.container as usize);
            let block = body.block(spot.low);
            spot.block = block as u16;
            prefetch(bytes, start + body.reach(spot.low, block));
        }
        if let Some(place) = behind(3) {
            let spot = &spots[place % UNDER_WAY];
            finish(place, spot, directory.body(bytes, spot.container as usize).0);
        }
    }
}
