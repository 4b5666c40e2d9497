//! The layout of the file: the portable 64-bit Roaring format, and nothing of our own.
//!
//! All integers are little-endian; nothing is aligned. A file is
//!
//! ```text
//! u64  number of buckets
//! then for each bucket, keys ascending:
//!   u32  bucket key: the upper 32 bits of its members
//!   a 32-bit bitmap:
//!     u32  cookie    12346: no runs.   u32 number of containers follows
//!                    12347 in the low half: runs possible. The high half is the number of
//!                    containers less one; one flag bit for each container follows
//!     for each container, keys ascending:
//!       u16  container key: bits 16 to 31 of its members
//!       u16  number of members less one
//!     u32 for each container: where it starts, counted from the cookie. Left out after cookie
//!          12347 when there are fewer than four containers
//!     the containers, one after the other:
//!       array   up to 4096 members:     u16 each, ascending
//!       bitmap  more than 4096 members: 65536 bits
//!       runs    flagged:                u16 number of runs, then (u16 first, u16 more) each
//! ```
//!
//! Nothing says how long a bucket is, so opening a file means walking it from the start.

/// Starts a bucket without run containers.
pub(super) const COOKIE_PLAIN: u32 = 12346;
/// The low half of the cookie of a bucket that may have run containers.
pub(super) const COOKIE_RUNS: u32 = 12347;
/// After [`COOKIE_RUNS`], offsets are present from this many containers on.
pub(super) const OFFSETS_CONTAINERS_MIN: usize = 4;
/// Container keys have 16 bits.
pub(super) const CONTAINERS_MAX: usize = 1 << 16;
/// A container without the run flag is an array up to this many members.
pub(super) const ARRAY_MEMBERS_MAX: usize = 4096;

pub(super) const BUCKET_COUNT_BYTES: usize = 8;
pub(super) const BUCKET_KEY_BYTES: usize = 4;
pub(super) const COOKIE_BYTES: usize = 4;
pub(super) const CONTAINER_COUNT_BYTES: usize = 4;
pub(super) const DESCRIPTION_BYTES: usize = 4;
pub(super) const OFFSET_BYTES: usize = 4;
pub(super) const MEMBER_BYTES: usize = 2;
pub(super) const BITMAP_BYTES: usize = CONTAINERS_MAX / 8;
pub(super) const RUN_COUNT_BYTES: usize = 2;
pub(super) const RUN_BYTES: usize = 4;

/// The smallest bucket: one run container without offsets, holding one run.
pub(super) const BUCKET_BYTES_MIN: usize = BUCKET_KEY_BYTES
    + COOKIE_BYTES
    + 1
    + DESCRIPTION_BYTES
    + if RUN_COUNT_BYTES + RUN_BYTES < CONTAINER_COUNT_BYTES + MEMBER_BYTES {
        RUN_COUNT_BYTES + RUN_BYTES
    } else {
        CONTAINER_COUNT_BYTES + MEMBER_BYTES
    };

/// A file without members.
pub(super) const EMPTY: [u8; BUCKET_COUNT_BYTES] = [0; BUCKET_COUNT_BYTES];

/// How the members of one container are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Array,
    Bitmap,
    Runs { count: u16 },
}

impl Shape {
    /// The shape that takes the fewest bytes. Runs only when they win: every reader knows arrays
    /// and bitmaps best.
    pub(super) fn smallest(members: usize, runs: usize) -> Shape {
        let plain = if members <= ARRAY_MEMBERS_MAX { Shape::Array } else { Shape::Bitmap };
        match u16::try_from(runs) {
            Ok(count) if runs_bytes(runs) < plain.bytes(members) => Shape::Runs { count },
            _ => plain,
        }
    }

    /// How many bytes a container of this shape takes. At most [`BITMAP_BYTES`] for a shape that
    /// [`Shape::smallest`] chose, which is why offsets in a bucket of ours always fit 32 bits:
    /// 65,536 containers × (8,192 + 8) bytes lie below 2³⁰.
    pub(super) fn bytes(self, members: usize) -> usize {
        match self {
            Shape::Array => members * MEMBER_BYTES,
            Shape::Bitmap => BITMAP_BYTES,
            Shape::Runs { count } => runs_bytes(usize::from(count)),
        }
    }
}

/// How many bytes a run container takes.
pub(super) const fn runs_bytes(runs: usize) -> usize {
    RUN_COUNT_BYTES + runs * RUN_BYTES
}

/// How many bytes lie between the start of the cookie and the first container.
pub(super) const fn header_bytes(containers: usize, has_runs: bool) -> usize {
    let descriptions = containers * DESCRIPTION_BYTES;
    let offsets = if has_offsets(containers, has_runs) { containers * OFFSET_BYTES } else { 0 };
    let counts = if has_runs { containers.div_ceil(8) } else { CONTAINER_COUNT_BYTES };
    COOKIE_BYTES + counts + descriptions + offsets
}

/// Whether a bucket carries the offsets of its containers.
pub(super) const fn has_offsets(containers: usize, has_runs: bool) -> bool {
    !has_runs || containers >= OFFSETS_CONTAINERS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_shape_changes_where_the_bytes_do() {
        assert_eq!(Shape::smallest(1, 1), Shape::Array);
        assert_eq!(Shape::smallest(3, 1), Shape::Array, "6 bytes either way");
        assert_eq!(Shape::smallest(4, 1), Shape::Runs { count: 1 });
        assert_eq!(Shape::smallest(4096, 4096), Shape::Array);
        assert_eq!(Shape::smallest(4097, 4097), Shape::Bitmap);
        assert_eq!(Shape::smallest(40_000, 2047), Shape::Runs { count: 2047 });
        assert_eq!(Shape::smallest(40_000, 2048), Shape::Bitmap);
        assert_eq!(Shape::smallest(65_536, 1), Shape::Runs { count: 1 });
    }

    #[test]
    fn offsets_are_left_out_only_for_few_containers_with_runs() {
        assert_eq!(header_bytes(1, false), 16);
        assert_eq!(header_bytes(3, true), 4 + 1 + 12);
        assert_eq!(header_bytes(4, true), 4 + 1 + 32);
        assert_eq!(header_bytes(9, true), 4 + 2 + 72);
    }
}
