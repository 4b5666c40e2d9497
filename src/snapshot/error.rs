//! What can go wrong with a snapshot, and what to do then.

use std::fmt;
use std::io;

/// Why a snapshot can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes aren't a valid set. None of them may be used for answers.
    #[error(
        "the snapshot is damaged at byte {offset}: {damage}; go back to an older generation, \
         or fold the journal into a new one"
    )]
    Damaged {
        /// Where in the file, counted from its first byte.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },

    /// The set is valid so far, but has more parts than this release can address.
    #[error("the snapshot is too large for this release at byte {offset}; split the set")]
    TooLarge {
        /// Where in the file, counted from its first byte.
        offset: u64,
    },

    /// Keys or changes to write weren't strictly ascending.
    #[error(
        "input {index} (counted from 0) isn't above the one before it; \
         sort the input, drop repeats, and write again"
    )]
    NotAscending {
        /// Which one, counted from 0.
        index: u64,
    },

    /// A source of keys gave something else when it was read a second time.
    #[error(
        "the source gave other keys on its second reading, after {written} bytes were written; \
         discard the output and write again from a source that holds still"
    )]
    SourceChanged {
        /// How many bytes had been handed to the output.
        written: u64,
    },

    /// The output refused bytes.
    #[error("writing the snapshot failed after {written} bytes; discard the output")]
    Write {
        /// How many bytes had been handed to the output.
        written: u64,
        /// What the output said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with the bytes of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends inside of something.
    Truncated {
        /// What was being read.
        part: Part,
        /// How many bytes it takes.
        needed: u64,
        /// How many are left.
        left: u64,
    },
    /// Bytes follow the last bucket.
    Trailing {
        /// How many.
        count: u64,
    },
    /// A bucket starts with neither of the two known cookies.
    Cookie {
        /// What is there.
        got: u32,
    },
    /// A bucket claims no container, or more than there are keys.
    ContainerCount {
        /// How many it claims.
        got: u32,
    },
    /// Run flags are set beyond the last container.
    RunFlags,
    /// A bucket key isn't above the one before it.
    BucketOrder,
    /// A container key isn't above the one before it.
    ContainerOrder,
    /// An offset doesn't point at its container.
    ContainerOffset {
        /// Where the container starts, counted from the cookie of its bucket.
        expected: u64,
        /// What the file says.
        got: u32,
    },
    /// A member of an array isn't above the one before it.
    ArrayOrder,
    /// A run overlaps the one before it or lies below it.
    RunOrder,
    /// A run leaves its container.
    RunEnd,
    /// A container holds another number of members than its description says.
    Members {
        /// What the description says.
        expected: u32,
        /// How many there are.
        got: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Damage::Truncated { part, needed, left } => {
                write!(f, "{part} takes {needed} bytes, but only {left} are left")
            }
            Damage::Trailing { count } => write!(f, "{count} bytes follow the last bucket"),
            Damage::Cookie { got } => write!(f, "{got:#010x} is not the cookie of a bitmap"),
            Damage::ContainerCount { got } => {
                write!(f, "a bucket has 1 to 65536 containers, not {got}")
            }
            Damage::RunFlags => write!(f, "run flags are set beyond the last container"),
            Damage::BucketOrder => write!(f, "bucket keys don't ascend"),
            Damage::ContainerOrder => write!(f, "container keys don't ascend"),
            Damage::ContainerOffset { expected, got } => {
                write!(f, "the offset of a container is {got} and should be {expected}")
            }
            Damage::ArrayOrder => write!(f, "members of an array don't ascend"),
            Damage::RunOrder => write!(f, "runs overlap or don't ascend"),
            Damage::RunEnd => write!(f, "a run leaves its container"),
            Damage::Members { expected, got } => {
                write!(f, "a container holds {got} members and should hold {expected}")
            }
        }
    }
}

/// A part of the file, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The number of buckets.
    BucketCount,
    /// All the buckets that the file claims to have.
    Buckets,
    /// The key of a bucket.
    BucketKey,
    /// The cookie of a bucket.
    Cookie,
    /// The number of containers of a bucket.
    ContainerCount,
    /// The flags that say which containers hold runs.
    RunFlags,
    /// The descriptions of the containers of a bucket.
    Descriptions,
    /// The offsets of the containers of a bucket.
    Offsets,
    /// An array of members.
    Array,
    /// A bitmap of members.
    Bitmap,
    /// The number of runs of a container.
    RunCount,
    /// The runs of a container.
    Runs,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::BucketCount => "the number of buckets",
            Part::Buckets => "the smallest possible list of buckets",
            Part::BucketKey => "a bucket key",
            Part::Cookie => "a cookie",
            Part::ContainerCount => "the number of containers",
            Part::RunFlags => "the run flags of a bucket",
            Part::Descriptions => "the descriptions of the containers",
            Part::Offsets => "the offsets of the containers",
            Part::Array => "an array container",
            Part::Bitmap => "a bitmap container",
            Part::RunCount => "the number of runs",
            Part::Runs => "a run container",
        })
    }
}
