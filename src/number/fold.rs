//! Which subscriber does a number belong to?
//!
//! Countries change their plans, and messaging accounts keep the form under which they were
//! registered: two integers, one person. [`fold`] maps every number to the key that all forms
//! share. Promises to be pure, total and idempotent, and to run alike on opt-outs and recipients.
//! Leaves lengths and validity alone: half of the old forms are impossible by now, and an opt-out
//! counts all the same.
//!
//! The key has today's dialling form, except in Argentina, where it lacks the 9: ten digits
//! alone do not tell whether a line is mobile. Vietnam's change of 2018 is not in the table: its
//! list of prefixes is not confirmed.

use super::e164::{Number, SubscriberKey};
use super::plan::{self, Split, TEN};

/// Which rules apply. The first tier always does, Colombia's landlines included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Folding {
    /// Also the rules that can merge two numbers that are both in use: Gabon's old mobiles,
    /// Palestinian numbers behind +972, San Marino behind +39. Off by default.
    pub tier2: bool,
}

impl Folding {
    /// The version of the table. Keys of two versions must not meet: indexes store it.
    pub const VERSION: u32 = 1;
}

/// The key of a number's subscriber.
pub fn fold(number: Number, folding: Folding) -> SubscriberKey {
    match plan::split(number.get()) {
        Some(split) => fold_split(number, &split, folding),
        None => SubscriberKey::from_u64(number.get()),
    }
}

/// [`fold`] by somebody who has the number's parts.
#[inline]
pub(super) fn fold_split(number: Number, split: &Split, folding: Folding) -> SubscriberKey {
    let folded =
        first_tier(split).or_else(|| if folding.tier2 { second_tier(split) } else { None });
    SubscriberKey::from_u64(folded.unwrap_or(number.get()))
}

/// Whether the key of this number could also be that of somebody else's number: eight-digit
/// Brazilian numbers that begin with 7, and every rule of the second tier.
///
/// Such a fold is right for suppression, where it errs towards silence, and wrong for dropping
/// duplicates among recipients, where it would drop a person.
pub fn fold_is_doubtful(number: Number, folding: Folding) -> bool {
    let Some(split) = plan::split(number.get()) else { return false };
    match split.code.code {
        55 => {
            brazil(split.national, split.national_digits).is_some()
                && split.national / TEN[7] % 10 == 7
        }
        _ => folding.tier2 && second_tier(&split).is_some(),
    }
}

/// Rules under which no two numbers in use meet: 4,000 random numbers of each source form were
/// checked, none valid. (Argentina's two forms are both valid and the same line.)
#[inline]
fn first_tier(split: &Split) -> Option<u64> {
    let has_rule = lengths_with_rule(split.code.code) >> split.national_digits.min(31) & 1 == 1;
    if has_rule { first_tier_of_length(split) } else { None }
}

/// The numbers of national digits, as bits, for which the first tier has a rule. Recipients are of
/// many countries and few need a rule: asked first, it spares a jump that cannot be foreseen.
#[inline]
fn lengths_with_rule(code: u16) -> u32 {
    match code {
        52 => 1 << 11 | 1 << 12 | 1 << 13,
        54 => 1 << 11,
        55 | 56 => 1 << 10,
        57 | 225 | 229 => 1 << 8,
        _ => 0,
    }
}

fn first_tier_of_length(split: &Split) -> Option<u64> {
    let (national, digits) = (split.national, split.national_digits);
    match split.code.code {
        52 => mexico(national, digits),
        54 => argentina(national, digits),
        55 => brazil(national, digits),
        56 => chile(national, digits),
        57 => colombia(national, digits),
        225 => ivory_coast(national, digits),
        229 => benin(national, digits),
        _ => None,
    }
}

fn second_tier(split: &Split) -> Option<u64> {
    let (national, digits) = (split.national, split.national_digits);
    match split.code.code {
        39 => san_marino(national, digits),
        241 => gabon(national, digits),
        972 => palestine(national, digits),
        _ => None,
    }
}

/// Dialling tokens 1, 01, 044 and 045 in front of the ten digits: gone since August 2019, and
/// still in the WhatsApp ids of accounts registered before.
fn mexico(national: u64, digits: usize) -> Option<u64> {
    let token = (digits, national / TEN[10]);
    let is_token = matches!(token, (11 | 12, 1) | (13, 44 | 45));
    let ten = national % TEN[10];
    (is_token && (2..=9).contains(&(ten / TEN[9]))).then_some(52 * TEN[10] + ten)
}

/// The mobile 9 in front of the ten digits. No fixed and mobile line share the ten.
fn argentina(national: u64, digits: usize) -> Option<u64> {
    let ten = national % TEN[10];
    let has_area = ten / TEN[8] == 11 || matches!(ten / TEN[9], 2 | 3);
    (digits == 11 && national / TEN[10] == 9 && has_area).then_some(54 * TEN[10] + ten)
}

/// The ninth digit, added area by area from 2012 to 2016, in front of eight that begin with 6 to
/// 9. Landlines begin with 2 to 5: a 9 there would be an unrelated mobile.
fn brazil(national: u64, digits: usize) -> Option<u64> {
    let (area, line) = (national / TEN[8], national % TEN[8]);
    let is_mobile = digits == 10 && is_brazilian_area(area) && (6..=9).contains(&(line / TEN[7]));
    is_mobile.then_some(55 * TEN[11] + area * TEN[9] + 9 * TEN[8] + line)
}

/// Brazil's 67 area codes. 80 is none, so toll-free 800 numbers stay as they are.
fn is_brazilian_area(area: u64) -> bool {
    matches!(area,
        11..=19 | 21 | 22 | 24 | 27 | 28 | 31..=35 | 37 | 38 | 41..=49 | 51 | 53..=55
        | 61..=69 | 71 | 73..=75 | 77 | 79 | 81..=89 | 91..=99)
}

/// The 0 with which mobiles were once dialled; the plan has no trunk prefix any more.
fn chile(national: u64, digits: usize) -> Option<u64> {
    (digits == 10 && national / TEN[9] == 0).then_some(56 * TEN[9] + national)
}

/// Landlines before September 2021: an area digit and seven more, today behind 60. Eight digits
/// beginning 46 are another service.
fn colombia(national: u64, digits: usize) -> Option<u64> {
    let is_area = matches!(national / TEN[7], 1 | 2 | 4..=8) && national / TEN[6] != 46;
    (digits == 8 && is_area).then_some(57 * TEN[10] + 60 * TEN[8] + national)
}

/// Eight digits before January 2021: the operator, which two digits told, gives the prefix.
fn ivory_coast(national: u64, digits: usize) -> Option<u64> {
    if digits != 8 {
        return None;
    }
    let (first, second, third) =
        (national / TEN[7], national / TEN[6] % 10, national / TEN[5] % 10);
    let prefix = match (first, second, third) {
        (2, _, 8) => 21,
        (2 | 3, _, 0) => 25,
        (2 | 3, ..) => 27,
        (1, ..) => return None,
        (_, 0..=3, _) => 1,
        (_, 4..=6, _) => 5,
        _ => 7,
    };
    Some(225 * TEN[10] + prefix * TEN[8] + national)
}

/// Eight digits before 30 November 2024, today behind 01.
fn benin(national: u64, digits: usize) -> Option<u64> {
    let is_old = digits == 8 && matches!(national / TEN[7], 2..=7 | 9);
    is_old.then_some(229 * TEN[10] + TEN[8] + national)
}

/// Mobiles before November 2019, with or without their 0.
fn gabon(national: u64, digits: usize) -> Option<u64> {
    let is_old = digits == 7 || (digits == 8 && national < TEN[7]);
    let tens = match national / TEN[6] {
        2 | 5 | 6 => 6,
        4 | 7 => 7,
        _ => return None,
    };
    is_old.then_some(241 * TEN[8] + tens * TEN[7] + national)
}

/// Palestinian mobiles, reachable behind Israel's code as well.
fn palestine(national: u64, digits: usize) -> Option<u64> {
    (digits == 9 && matches!(national / TEN[7], 56 | 59)).then_some(970 * TEN[9] + national)
}

/// San Marino by way of Italy: 0549 and six digits.
fn san_marino(national: u64, digits: usize) -> Option<u64> {
    (digits == 10 && national / TEN[6] == 549).then_some(378 * TEN[10] + national)
}
