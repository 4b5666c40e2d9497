//! E.164 numbers and the subscriber key.

use std::fmt;

/// An E.164 number: country calling code and national number as one integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

/// The number under which all equivalent spellings of one phone meet. For matching only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SubscriberKey(u64);

impl SubscriberKey {
    /// The key behind an integer that a set or a file holds.
    pub const fn from_u64(value: u64) -> SubscriberKey {
        SubscriberKey(value)
    }

    /// The integer that sets and files hold.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number")
    }
}

impl fmt::Debug for SubscriberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriberKey")
    }
}

/// Temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Folding {
    /// Tier 2.
    pub tier2: bool,
}
impl Folding {
    /// Version.
    pub const VERSION: u32 = 1;
}
/// Temporary.
pub const METADATA_RELEASE: &str = "9.0.42";
/// Temporary.
pub fn fold(number: Number, _folding: Folding) -> SubscriberKey {
    SubscriberKey(number.0)
}
impl Number {
    /// Temporary.
    pub fn from_e164(value: u64) -> Option<Number> {
        (value >= 100).then_some(Number(value))
    }
    /// Temporary.
    pub fn get(self) -> u64 {
        self.0
    }
}
