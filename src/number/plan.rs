//! What does a numbering plan say about a number's length and beginning?
//!
//! The shapes of the generated tables, and the few questions that the module asks them. Promises
//! constant-time answers without allocation. Leaves reading of text to `fast` and `parse`, and
//! the data itself to `tables`.

use super::tables::{BY_THREE_DIGITS, CODES, NORTH_AMERICA, REGIONS};

/// The powers of ten that fit a `u64`.
pub(super) const TEN: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// How a number's length fits the plan of its calling code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A number of this length can be dialled from anywhere.
    Possible,
    /// The area code is missing: it could be dialled inside of one area only.
    LocalOnly,
    /// No number of the plan is so long.
    Impossible,
}

/// Lengths and trunk prefixes of one plan. Bit `n` of a length set stands for `n` digits.
pub(super) struct Plan {
    /// Lengths of whole national numbers.
    pub(super) possible: u32,
    /// Lengths that lack the area code.
    pub(super) local: u32,
    /// The shortest possible length, from which nothing can be stripped because the rest would
    /// be too short; 0 where a rule may lengthen numbers.
    pub(super) shortest: u8,
    /// Bit `10 * first + second` for each pair of digits with which a trunk prefix, carrier code
    /// or rewriting rule could begin. Too many bits cost speed, too few would be wrong.
    pub(super) trunk: u128,
}

/// A calling code and the plan of its main region.
pub(super) struct Code {
    pub(super) code: u16,
    /// Place in [`REGIONS`]; 255 for codes that belong to no country.
    pub(super) region: u8,
    pub(super) plan: Plan,
}

/// What a region adds to its calling code's plan: how it dials.
pub(super) struct RegionPlan {
    pub(super) name: &'static str,
    pub(super) code: u16,
    /// Every international prefix, none beginning another; empty where they are too many.
    pub(super) idd: &'static [&'static str],
    /// As [`Plan::trunk`], for international prefixes.
    pub(super) idd_begins: u128,
    /// The trunk prefix where it is a single digit with which no whole number begins; else 255.
    pub(super) trunk_digit: u8,
    pub(super) plan: Plan,
}

impl Plan {
    /// How `digits` national digits fit. Local-only lengths win, as they do in libphonenumber.
    pub(super) fn length(&self, digits: usize) -> Length {
        let bit = 1_u32.checked_shl(digits as u32).unwrap_or(0);
        if self.local & bit != 0 {
            Length::LocalOnly
        } else if self.possible & bit != 0 {
            Length::Possible
        } else {
            Length::Impossible
        }
    }

    /// Whether `digits` national digits are more than any number of the plan has.
    pub(super) fn is_too_long(&self, digits: usize) -> bool {
        self.length(digits) == Length::Impossible && digits as u32 > self.possible.ilog2()
    }

    /// Whether parsing leaves a national number as it is, whatever follows its first two digits.
    pub(super) fn keeps(&self, first: u8, second: u8, digits: usize) -> bool {
        digits == usize::from(self.shortest) || !begins(self.trunk, first, second)
    }
}

/// Whether a set of two-digit beginnings holds this one.
pub(super) fn begins(set: u128, first: u8, second: u8) -> bool {
    let bit = u32::from(first) * 10 + u32::from(second);
    set & 1_u128.checked_shl(bit).unwrap_or(0) != 0
}

/// The calling code with which three digits begin.
pub(super) fn code_of(three_digits: usize) -> Option<&'static Code> {
    let place = usize::from(*BY_THREE_DIGITS.get(three_digits)?);
    CODES.get(place.checked_sub(1)?)
}

/// The number of digits of a calling code.
pub(super) const fn code_digits(code: u16) -> usize {
    match code {
        0..=9 => 1,
        10..=99 => 2,
        _ => 3,
    }
}

/// The number of decimal digits of a value; 1 for zero.
pub(super) fn digits_in(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A number taken apart: calling code, national digits as a value, and how many there are.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub(super) code: &'static Code,
    pub(super) national: u64,
    pub(super) national_digits: usize,
}

/// Takes an E.164 integer apart; `None` when it begins with no calling code.
pub(super) fn split(value: u64) -> Option<Split> {
    let digits = digits_in(value);
    let three = if digits >= 3 { value / TEN[digits - 3] } else { value * TEN[3 - digits] };
    let code = code_of(three as usize)?;
    let national_digits = digits.checked_sub(code_digits(code.code))?;
    Some(Split { code, national: value % TEN[national_digits], national_digits })
}

/// The place in [`REGIONS`] of the region to which a number most likely belongs.
pub(super) fn region_of(split: &Split) -> Option<u8> {
    const KAZAKHSTAN_BEGINS: std::ops::RangeInclusive<u64> = 6..=7;
    let mut region = split.code.region;
    if split.code.code == 1 && split.national_digits == 10 {
        let area = (split.national / TEN[7]) as usize;
        region = NORTH_AMERICA.get(area).copied().filter(|&known| known != 255).unwrap_or(region);
    } else if split.code.code == 7
        && split.national_digits == 10
        && KAZAKHSTAN_BEGINS.contains(&(split.national / TEN[9]))
    {
        region = REGIONS.iter().position(|plan| plan.name == "KZ").map_or(region, |at| at as u8);
    }
    (region != 255).then_some(region)
}
