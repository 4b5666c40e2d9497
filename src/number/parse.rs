//! Which number does libphonenumber read in this text?
//!
//! The exact, slow answer: rlibphonenumber, with four guards where it is known to differ from
//! Google's own code. Promises the same integer as libphonenumber of the metadata release in
//! `tables`, or the same refusal. Leaves damage to `clean` and common spellings to `fast`.

use std::borrow::Cow;

use rlibphonenumber::{PHONE_NUMBER_UTIL, ParseError, PhoneNumber};

use super::e164::{Number, Region};
use super::plan::{self, Length, TEN, digits_in};
use super::status::Reason;
use super::tables::MEXICO;

/// Longest text that libphonenumber looks at, in characters.
const CHARACTERS_MAX: usize = 250;
/// Most leading zeros that rlibphonenumber keeps when it writes a number out.
const ZEROS_MAX: usize = 10;

/// Reads a text as libphonenumber does, in a default region if there is one. An extension is
/// dropped.
///
/// # Errors
///
/// The reason why libphonenumber reads no number, or none of at most 19 digits.
pub fn parse(text: &str, region: Option<Region>) -> Result<Number, Reason> {
    parse_with_extension(text, region).map(|parsed| parsed.number)
}

/// What parsing yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) number: Number,
    pub(super) had_extension: bool,
}

pub(super) fn parse_with_extension(text: &str, region: Option<Region>) -> Result<Parsed, Reason> {
    let raw = parse_raw(text, region)?;
    let number = Number::from_e164(raw.digits).ok_or(Reason::TooLong)?;
    Ok(Parsed { number, had_extension: raw.had_extension })
}

/// libphonenumber's reading alone, for comparing with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictReading {
    /// Calling code and national number, when they fit 64 bits; up to 20 digits.
    pub digits: Option<u64>,
    /// How good it is.
    pub status: StrictStatus,
}

/// What libphonenumber thinks of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictStatus {
    /// `is_valid_number`.
    Valid,
    /// `is_possible_number`, with its area code.
    Possible,
    /// `is_possible_number`, without area code.
    LocalOnly,
    /// It parses, and no number has that length.
    Parsed,
    /// It does not parse.
    Rejected(Reason),
}

impl StrictStatus {
    /// The word for files and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            StrictStatus::Valid => "valid",
            StrictStatus::Possible => "possible",
            StrictStatus::LocalOnly => "local_only",
            StrictStatus::Parsed => "parsed",
            StrictStatus::Rejected(_) => "rejected",
        }
    }
}

/// Reads the bytes as they are: nothing cleaned, retried or folded.
pub(super) fn strict(input: &[u8], region: Option<Region>) -> StrictReading {
    let refused = |reason| StrictReading { digits: None, status: StrictStatus::Rejected(reason) };
    let Ok(text) = std::str::from_utf8(input) else { return refused(Reason::NotText) };
    let digits = match parse_raw(text, region) {
        Ok(raw) => raw.digits,
        Err(reason) => return refused(reason),
    };
    let status = match Number::from_e164(digits) {
        Some(number) if is_valid(number) => StrictStatus::Valid,
        Some(number) => match number.length() {
            Length::Possible => StrictStatus::Possible,
            Length::LocalOnly => StrictStatus::LocalOnly,
            Length::Impossible => StrictStatus::Parsed,
        },
        None => StrictStatus::Parsed,
    };
    StrictReading { digits: Some(digits), status }
}

/// Whether the metadata assigns the number: some region behind its calling code has a pattern
/// that it matches. About a microsecond. Differs from `is_valid_number` in one point: a number of
/// local-only length never is (Canada's 310 and four digits are, there), since no message
/// reaches it from outside.
pub(super) fn is_valid(number: Number) -> bool {
    let Some(split) = plan::split(number.get()) else { return false };
    let zeros = split.national_digits - digits_in(split.national).min(split.national_digits);
    if split.code.code == 52 && split.national_digits == 10 {
        return is_valid_mexican(split.national);
    }
    // The generator of the tables asserts that no region of a calling code has lengths that the
    // main one lacks. No plan has so many zeros; the crate would look at fewer.
    if split.code.plan.length(split.national_digits) != Length::Possible || zeros > ZEROS_MAX {
        return false;
    }
    let mut spelled = PhoneNumber {
        country_code: i32::from(split.code.code),
        national_number: split.national,
        ..PhoneNumber::default()
    };
    if zeros > 0 {
        spelled.italian_leading_zero = Some(true);
        spelled.number_of_leading_zeros = Some(zeros as i32);
    }
    PHONE_NUMBER_UTIL.is_valid_number(&spelled)
}

/// Ten digits of Mexico, from a table. WhatsApp lists are full of Mexican ids in the old form, each
/// of which asks this once: 720 ns a row by the crate (`benches/number.rs`, `whatsapp_old_form`).
fn is_valid_mexican(national: u64) -> bool {
    let area = (national / TEN[7]) as usize;
    MEXICO.get(area / 64).is_some_and(|word| word >> (area % 64) & 1 == 1)
}

struct Raw {
    digits: u64,
    had_extension: bool,
}

fn parse_raw(text: &str, region: Option<Region>) -> Result<Raw, Reason> {
    // First guard: the C++ code, and with it the crate, has no limit.
    if text.len() > CHARACTERS_MAX && text.chars().nth(CHARACTERS_MAX).is_some() {
        return Err(Reason::TooLong);
    }
    // Second guard: the full-width tilde is punctuation in Java only.
    let text = if text.contains('\u{ff5e}') {
        Cow::Owned(text.replace('\u{ff5e}', "~"))
    } else {
        Cow::Borrowed(text)
    };
    let region = region.and_then(|region| rlibphonenumber::Region::from_code(region.as_str()).ok());
    let parsed = PHONE_NUMBER_UTIL.parse(text.as_ref(), region).map_err(|error| reason(&error))?;
    let had_extension = parsed.extension.is_some();
    // Third guard: two digits carry no extension; the crate's pattern lets them.
    if had_extension && !has_three_digits(&text) {
        return Err(Reason::NotANumber);
    }
    Ok(Raw { digits: e164_digits(&parsed).ok_or(Reason::TooLong)?, had_extension })
}

/// The digits of a parsed number. Written out here because (fourth guard) the crate caps leading
/// zeros at ten when it formats.
fn e164_digits(parsed: &PhoneNumber) -> Option<u64> {
    let zeros = match (parsed.italian_leading_zero, parsed.number_of_leading_zeros) {
        (Some(true), Some(zeros)) => u32::try_from(zeros).ok()?,
        (Some(true), None) => 1,
        _ => 0,
    };
    let national_digits = zeros + digits_in(parsed.national_number) as u32;
    let code = u64::try_from(parsed.country_code).ok()?;
    code.checked_mul(10_u64.checked_pow(national_digits)?)?.checked_add(parsed.national_number)
}

/// Whether the number begins with three digits with nothing but punctuation between them.
fn has_three_digits(text: &str) -> bool {
    let text = match text.split_once(";phone-context=") {
        Some((_, context)) if context.starts_with('+') => return true,
        Some((text, _)) => text.split_once("tel:").map_or(text, |(_, rest)| rest),
        None => text,
    };
    let mut digits = 0;
    for c in text.chars().skip_while(|&c| !is_digit(c) && !matches!(c, '+' | '\u{ff0b}')) {
        if is_digit(c) {
            digits += 1;
        } else if !matches!(c, '+' | '\u{ff0b}' | '*') && !is_punctuation(c) {
            break;
        }
        if digits == 3 {
            return true;
        }
    }
    false
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}

/// The punctuation that libphonenumber allows inside of a number.
fn is_punctuation(c: char) -> bool {
    matches!(c, '-' | 'x' | 'X' | '.' | '/' | '~' | '(' | ')' | '[' | ']' | ' ' | '\u{a0}' | '\u{ad}'
        | '\u{200b}' | '\u{2010}'..='\u{2015}' | '\u{2053}' | '\u{2060}' | '\u{2212}' | '\u{223c}'
        | '\u{3000}' | '\u{30fc}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'..='\u{ff0f}'
        | '\u{ff3b}' | '\u{ff3d}')
}

fn reason(error: &ParseError) -> Reason {
    match error {
        ParseError::InvalidCountryCode => Reason::InvalidCountryCode,
        ParseError::NotANumber(_) => Reason::NotANumber,
        ParseError::TooShortAfterIdd | ParseError::TooShortNsn => Reason::TooShort,
        ParseError::TooLongNsn => Reason::TooLong,
    }
}
