//! The three values of the module: a number, the key of its subscriber, a region.
//!
//! Promises that a [`Number`] begins with a calling code and that no `Debug` shows a number in
//! full. Leaves text to `parse`, and the step from number to key to `fold`.

use std::fmt;

use super::plan::{self, Length, digits_in};
use super::tables::REGIONS;

/// Most digits that an integer on disk may have: the longest possible number has 19.
pub(super) const DIGITS_MAX: usize = 19;
/// Fewest and most digits behind the calling code that parsing yields.
pub(super) const NATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 2..=17;

/// An E.164 number: calling code and national number as one integer of at most 19 digits.
///
/// Calling codes are prefix-free and none begins with 0, so the integer says everything. It is
/// what was written, for showing and sending; two numbers can be one subscriber, see
/// [`fold`](super::fold).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

impl Number {
    /// A number from its digits, as stored. Whatever parsing yields is accepted.
    pub fn from_e164(value: u64) -> Option<Number> {
        let split = plan::split(value)?;
        let fits =
            digits_in(value) <= DIGITS_MAX && NATIONAL_DIGITS.contains(&split.national_digits);
        fits.then_some(Number(value))
    }

    /// The digits as one integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The calling code, such as 52.
    pub fn calling_code(self) -> u16 {
        plan::split(self.0).map_or(0, |split| split.code.code)
    }

    /// The region to which the number most likely belongs, for counting: the main region of its
    /// calling code; behind +1 and +7 the area decides. `None` for codes of no country (+800).
    pub fn region(self) -> Option<Region> {
        plan::split(self.0).and_then(|split| plan::region_of(&split)).map(Region)
    }

    /// How its length fits the plan of its calling code.
    pub fn length(self) -> Length {
        plan::split(self.0)
            .map_or(Length::Impossible, |split| split.code.plan.length(split.national_digits))
    }

    /// The number with its middle digits starred out, for messages and logs.
    pub const fn masked(self) -> Masked {
        Masked(self.0)
    }

    /// A number that was one before, or that `fast` or `parse` has just read behind a known calling
    /// code.
    pub(crate) const fn trusted(value: u64) -> Number {
        Number(value)
    }
}

/// `+` and all digits.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.masked().fmt(f)
    }
}

/// Shows a number with stars in its middle: `+5255******78`.
#[derive(Clone, Copy)]
pub struct Masked(u64);

impl Masked {
    pub(super) const fn of(digits: u64) -> Masked {
        Masked(digits)
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: usize = 2;
        let digits = self.0.to_string();
        let shown = 4.min(digits.len().saturating_sub(LAST) / 2);
        let stars = digits.len().saturating_sub(shown + LAST);
        let (head, rest) = digits.split_at(shown);
        let (_, tail) = rest.split_at(stars);
        write!(f, "+{head}{:*<stars$}{tail}", "")
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number under which all equivalent spellings of one phone meet. For matching only: it may
/// not be a number that can be dialled, so nothing is ever sent to it.
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

/// A region by its two letters, one of those that the metadata knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub(super) u8);

impl Region {
    /// A region from its two letters in any case; blanks around them don't count.
    ///
    /// # Errors
    ///
    /// When the metadata has no such region.
    pub fn parse(text: &str) -> Result<Region, UnknownRegion> {
        let wanted = text.trim();
        REGIONS
            .iter()
            .position(|plan| plan.name.eq_ignore_ascii_case(wanted))
            .map(|place| Region(place as u8))
            .ok_or_else(|| UnknownRegion { got: wanted.chars().take(20).collect() })
    }

    /// Its two letters, in capitals.
    pub fn as_str(self) -> &'static str {
        self.plan().name
    }

    /// Every region, in the order of the letters.
    pub fn all() -> impl Iterator<Item = Region> {
        (0..REGIONS.len()).map(|place| Region(place as u8))
    }

    pub(super) fn plan(self) -> &'static plan::RegionPlan {
        &REGIONS[usize::from(self.0)]
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Region, UnknownRegion> {
        Region::parse(text)
    }
}

impl serde::Serialize for Region {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text is no region that the metadata knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{got}\" is not a region: write the two letters of ISO 3166, such as MX or CO")]
pub struct UnknownRegion {
    got: String,
}
