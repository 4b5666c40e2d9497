//! Can the number be read from a table, in tens of nanoseconds?
//!
//! Campaign files hold ten million numbers and nearly all are written in one of a few clean ways:
//! `+` and digits, digits of a webhook, national digits, blanks, dashes and brackets between.
//! [`read`] answers those from the generated tables. Promises the number that `clean`, `parse` and
//! the retries of `reader` would give, without allocating, or no answer; a test holds it to that.
//! Leaves everything of which it is not sure to them.

use super::e164::{Number, Region};
use super::plan::{self, Length, Plan, Split, TEN};

/// Fewest digits that are read here. Shorter ones meet too many special cases to be worth it.
const DIGITS_MIN: usize = 7;
/// Most digits that are read here: with more there could be two numbers in the cell.
const DIGITS_MAX: usize = 15;

/// A number, how its length fits, and its parts.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) number: Number,
    pub(super) length: Length,
    pub(super) split: Split,
}

/// Reads a cell if it is written in a common way; `None` says nothing about the cell.
#[inline]
pub(super) fn read(input: &[u8], region: Option<Region>) -> Option<Answer> {
    // Filled in place: to move it costs more than to fill it.
    let mut digits = [0; DIGITS_MAX];
    let lexed = match plain(input, &mut digits) {
        Some(lexed) => lexed,
        None => lex(input, &mut digits)?,
    };
    let digits = digits.get(..lexed.count)?;
    match region {
        Some(region) if !lexed.plus => at_home(digits, lexed.value, region),
        _ => international(digits, lexed.value),
    }
}

/// Digits as they stand in a cell.
type Digits = [u8; DIGITS_MAX];

/// What the digits of a cell are.
struct Lexed {
    count: usize,
    value: u64,
    plus: bool,
}

/// What a byte is to the lexer; digits are their own value.
const BLANK: u8 = 10;
const PLUS: u8 = 11;
const STOP: u8 = 12;
const NO_BREAK: u8 = 13;
const OTHER: u8 = 14;

static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut digit = 0;
    while digit < 10 {
        classes[b'0' as usize + digit] = digit as u8;
        digit += 1;
    }
    classes[b' ' as usize] = BLANK;
    classes[b'-' as usize] = BLANK;
    classes[b'(' as usize] = BLANK;
    classes[b')' as usize] = BLANK;
    classes[b'+' as usize] = PLUS;
    classes[b'.' as usize] = STOP;
    // The first byte of U+00A0, the no-break space, in UTF-8.
    classes[0xc2] = NO_BREAK;
    classes
};

/// [`lex`] of eight digits or more with nothing but a plus before them, eight at once: two words
/// that overlap hold them all.
#[inline]
fn plain(input: &[u8], digits: &mut Digits) -> Option<Lexed> {
    const WORD: usize = size_of::<u64>();
    let (plus, text) = match input {
        [b'+', text @ ..] => (true, text),
        text => (false, text),
    };
    let count = text.len();
    let (head, tail) = (digits_of(text.first_chunk()?)?, digits_of(text.last_chunk()?)?);
    digits.first_chunk_mut().map(|place: &mut [u8; WORD]| *place = head.to_le_bytes())?;
    digits.get_mut(count - WORD..count)?.copy_from_slice(&tail.to_le_bytes());
    // Those of the tail that the head has too are its first, in its lowest bytes.
    let shared = 8 * (2 * WORD - count) as u32;
    let rest = tail & u64::MAX.checked_shl(shared).unwrap_or(0);
    let value = value_of(head) * TEN.get(count - WORD)? + value_of(rest);
    Some(Lexed { count, value, plus })
}

/// The value of a text that is nothing but digits; `None` if it is anything else, or too large.
#[inline]
pub(crate) fn value_of_digits(text: &[u8]) -> Option<u64> {
    const WORD: usize = size_of::<u64>();
    let count = text.len();
    if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk())
        && count < 2 * WORD
    {
        let (head, tail) = (digits_of(head)?, digits_of(tail)?);
        let shared = 8 * (2 * WORD - count) as u32;
        let rest = tail & u64::MAX.checked_shl(shared).unwrap_or(0);
        return Some(value_of(head) * TEN[count - WORD] + value_of(rest));
    }
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Eight digits as numbers from 0 to 9, the first in the lowest byte; `None` if one is no digit.
#[inline]
fn digits_of(text: &[u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(*text) ^ u64::from_le_bytes([b'0'; 8]);
    // Whatever is more than 9 reaches the high bit of its byte, or has it already.
    let over = digits.wrapping_add(u64::from_le_bytes([0x7f - 9; 8])) | digits;
    (over & u64::from_le_bytes([0x80; 8]) == 0).then_some(digits)
}

/// The value of eight digits: joined to pairs, to fours, to one.
#[inline]
fn value_of(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul((10 << 8) + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul((100 << 16) + 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul((10_000 << 32) + 1) >> 32
}

/// Collects the digits. None of the characters that could begin an extension, a second number or
/// an id gets through.
#[inline]
fn lex(input: &[u8], digits: &mut Digits) -> Option<Lexed> {
    let mut lexed = Lexed { count: 0, value: 0, plus: false };
    // A full stop with nothing but zeros behind it is a spreadsheet's `.0`.
    let (mut stop, mut digit_since_stop) = (false, false);
    let mut bytes = input.iter();
    while let Some(&byte) = bytes.next() {
        let class = CLASSES[usize::from(byte)];
        match class {
            0..=9 => {
                *digits.get_mut(lexed.count)? = class;
                lexed.count += 1;
                lexed.value = lexed.value * 10 + u64::from(class);
                digit_since_stop |= class != 0;
            }
            BLANK => {}
            PLUS if lexed.count == 0 && !lexed.plus => lexed.plus = true,
            STOP => (stop, digit_since_stop) = (true, false),
            NO_BREAK if bytes.next() == Some(&0xa0) => {}
            _ => return None,
        }
    }
    let is_sure = lexed.count >= DIGITS_MIN && (!stop || digit_since_stop);
    is_sure.then_some(lexed)
}

/// Digits that begin with a calling code.
#[inline]
fn international(digits: &[u8], value: u64) -> Option<Answer> {
    let &[first, second, third, ..] = digits else { return None };
    let three = usize::from(first) * 100 + usize::from(second) * 10 + usize::from(third);
    let code = plan::code_of(three)?;
    let national = digits.get(plan::code_digits(code.code)..)?;
    let national_digits = national.len();
    let before = u64::from(code.code) * TEN.get(national_digits)?;
    keeps(&code.plan, national).then(|| Answer {
        number: Number::trusted(value),
        length: code.plan.length(national_digits),
        split: Split { code, national: value - before, national_digits },
    })
}

/// Digits without a plus, in a region.
fn at_home(digits: &[u8], value: u64, region: Region) -> Option<Answer> {
    let home = region.plan();
    let &[first, second, ..] = digits else { return None };
    let answer = if plan::begins(home.idd_begins, first, second) {
        dialled(digits, value, home.idd)?
    } else if (first, second) == (0, 0) {
        // Text that begins with 00 is read a second time where 00 is no international prefix.
        return None;
    } else if begins_with_code(digits, home.code) {
        // The plus was lost, which libphonenumber sees by the length alone only here.
        if !home.plan.is_too_long(digits.len()) {
            return None;
        }
        // Here even the shortest numbers lose what looks like a trunk prefix: no length is asked.
        let national = digits.get(plan::code_digits(home.code)..)?;
        let &[first, second, ..] = national else { return None };
        (!plan::begins(home.plan.trunk, first, second)).then_some(())?;
        international(digits, value)?
    } else if first == home.trunk_digit {
        let national = digits.get(1..)?;
        (home.plan.length(national.len()) == Length::Possible).then_some(())?;
        national_number(home.code, national.len(), value)?
    } else {
        keeps(&home.plan, digits).then_some(())?;
        national_number(home.code, digits.len(), value)?
    };
    // Anything else is read a second time, as a number that lost its plus.
    (answer.length == Length::Possible).then_some(answer)
}

/// Digits behind an international prefix.
fn dialled(digits: &[u8], value: u64, prefixes: &[&str]) -> Option<Answer> {
    let begins_with = |prefix: &&&str| {
        prefix.len() < digits.len()
            && prefix.bytes().zip(digits).all(|(wanted, &digit)| wanted == b'0' + digit)
    };
    let prefix = prefixes.iter().find(begins_with)?;
    let rest = digits.get(prefix.len()..)?;
    let begins_with_zeros = digits.starts_with(&[0, 0]);
    // A prefix counts only before a digit other than 0. And text that begins with 00 by way of
    // another prefix is read a second time.
    if rest.first() == Some(&0) || rest.len() < DIGITS_MIN || (begins_with_zeros && *prefix != "00")
    {
        return None;
    }
    international(rest, value % TEN.get(rest.len())?)
}

/// Whether parsing leaves these national digits as they are.
#[inline]
fn keeps(plan: &Plan, national: &[u8]) -> bool {
    matches!(national, &[first, second, ..] if plan.keeps(first, second, national.len()))
}

fn begins_with_code(digits: &[u8], code: u16) -> bool {
    let code_digits = plan::code_digits(code);
    let head = digits.iter().take(code_digits).fold(0, |head, &digit| head * 10 + u16::from(digit));
    head == code
}

/// The number of `digits` national digits behind a calling code. A leading trunk digit of the
/// value is cut off.
fn national_number(code: u16, digits: usize, value: u64) -> Option<Answer> {
    let scale = TEN[digits.min(16)];
    let number = Number::trusted(u64::from(code) * scale + value % scale);
    let split = plan::split(number.get())?;
    Some(Answer { number, length: split.code.plan.length(split.national_digits), split })
}
