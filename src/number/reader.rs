//! Whose number is in this cell, and may a message go there?
//!
//! [`NumberReader`] runs the steps in their order: the fast path, or `clean`, `parse` and the
//! retries that repair what exports lose; then the key. Both sides of a match, opt-outs and
//! recipients, must use the same default region and the same folding. Promises that what one
//! method reads the others read too, and never to panic. Leaves policy to its callers, except
//! that doubt about a number never makes it sendable.

use std::borrow::Cow;

use super::clean::{Cleaned, clean, parts};
use super::e164::{Number, Region, SubscriberKey};
use super::fast::{self, Answer};
use super::fold::{Folding, fold, fold_split};
use super::parse::{Parsed, StrictReading, is_valid, parse_with_extension, strict};
use super::plan::{Length, TEN};
use super::status::{Reason, Status};

/// Reads the numbers of one file or one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberReader {
    region: Option<Region>,
    folding: Folding,
}

/// All that is known of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// What was written, as digits. Absent exactly when the status is rejected.
    pub number: Option<Number>,
    /// The key of the subscriber. Absent exactly when the number is.
    pub key: Option<SubscriberKey>,
    /// How good the reading is.
    pub status: Status,
    /// The cell made no sense as written and was read a second time: with a lost plus or a lost
    /// zero put back, or 00 taken for a plus.
    pub retried: bool,
    /// The cell can be read as two numbers: it begins with 00 and is valid whichever way it is
    /// dialled, or with the calling code of the default region and is a number in use behind a plus,
    /// too, or letters among or behind its digits were taken for digits or left out. This is
    /// the reading of the default region, letters included.
    pub ambiguous: bool,
    /// An extension stood behind the number and was dropped.
    pub extension_dropped: bool,
}

/// A number to which a message may or may not be sent, once its key is in no set of opt-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// What was written.
    pub number: Number,
    /// The key to look up.
    pub key: SubscriberKey,
    /// Whether the reading is good enough to send: not for digits of a length that no number
    /// has, nor for a cell with two valid readings.
    pub sendable: bool,
}

/// A number and how it was come by.
#[derive(Clone, Copy)]
struct Found {
    number: Number,
    length: Length,
    retried: bool,
    ambiguous: bool,
    extension_dropped: bool,
}

impl NumberReader {
    /// A reader for numbers without calling code of one region. Without a region, digits are
    /// read as international: that is how webhooks write them.
    pub const fn new(region: Option<Region>, folding: Folding) -> NumberReader {
        NumberReader { region, folding }
    }

    /// The default region.
    pub const fn region(&self) -> Option<Region> {
        self.region
    }

    /// The rules by which keys are made.
    pub const fn folding(&self) -> Folding {
        self.folding
    }

    /// Reads a cell that should hold one number.
    pub fn read(&self, input: &[u8]) -> Reading {
        self.reading(self.find(input))
    }

    fn reading(&self, found: Result<Found, Reason>) -> Reading {
        let judged = found.and_then(|found| Ok((found, self.judge(&found)?)));
        let (found, status) = match judged {
            Ok(judged) => judged,
            Err(reason) => return Reading::rejected(reason),
        };
        Reading {
            number: Some(found.number),
            key: Some(fold(found.number, self.folding)),
            status,
            retried: found.retried,
            ambiguous: found.ambiguous,
            extension_dropped: found.extension_dropped,
        }
    }

    /// Reads a cell of an opt-out list: when it holds several numbers, every one of them, and when
    /// it can be read as two, both. Never empty; a part that cannot be read comes back as
    /// rejected.
    pub fn read_all(&self, input: &[u8]) -> Vec<Reading> {
        let whole = self.read(input);
        if whole.status != Status::Rejected(Reason::TwoNumbers) {
            return self.with_others(whole, input);
        }
        let parts = parts(input);
        if parts.is_empty() {
            return vec![whole];
        }
        let read = |part: &String| self.with_others(self.read(part.as_bytes()), part.as_bytes());
        parts.iter().flat_map(read).collect()
    }

    fn with_others(&self, whole: Reading, input: &[u8]) -> Vec<Reading> {
        let mut readings = vec![whole];
        if whole.ambiguous {
            readings.extend(self.read_otherwise(input));
        }
        readings
    }

    /// The other readings of a cell that can be read in two ways; rejected when letters leave
    /// none, so that nobody takes the first for certain.
    fn read_otherwise(&self, input: &[u8]) -> Vec<Reading> {
        let Ok(cleaned) = clean(input) else { return vec![Reading::rejected(Reason::Letters)] };
        let text = with_ascii_digits(cleaned.as_str());
        let digits = letters_in(&text).and_then(|first| text.get(..first));
        let mut others: Vec<Found> =
            digits.and_then(|text| self.find_in(&cleaned, text).ok()).into_iter().collect();
        let bare = without_plus(digits.unwrap_or(&text));
        others.extend(bare.and_then(|bare| self.behind_zeros(bare)).map(Found::again));
        others.extend(bare.and_then(|bare| self.behind_plus(bare)).map(Found::again));
        others.retain(|other| self.is_usable(other.number));
        if others.is_empty() {
            return vec![Reading::rejected(Reason::Letters)];
        }
        others.into_iter().map(|other| self.reading(Ok(other))).collect()
    }

    /// Whose number a cell holds: number and key of [`NumberReader::read`], without its judgement,
    /// which costs a program that asks once 10 ms to make ready.
    ///
    /// # Errors
    ///
    /// The reason why there is no number.
    pub fn subscriber(&self, input: &[u8]) -> Result<(Number, SubscriberKey), Reason> {
        let found = self.find(input)?;
        if found.length == Length::LocalOnly && !self.is_usable(found.number) {
            return Err(Reason::LocalOnly);
        }
        Ok((found.number, fold(found.number, self.folding)))
    }

    /// Reads the cell of a recipient; asks for no more than sending needs.
    ///
    /// # Errors
    ///
    /// The reason why there is no number.
    #[inline]
    pub fn recipient(&self, input: &[u8]) -> Result<Recipient, Reason> {
        // By reference: to move the answer costs more than the fold.
        match &fast::read(input, self.region) {
            Some(Answer { number, length: Length::Possible, split }) => {
                let key = fold_split(*number, split, self.folding);
                Ok(Recipient { number: *number, key, sendable: true })
            }
            _ => self.odd_recipient(input),
        }
    }

    /// The recipient in a cell that is not as most are.
    fn odd_recipient(&self, input: &[u8]) -> Result<Recipient, Reason> {
        let found = self.find(input)?;
        let key = fold(found.number, self.folding);
        let fits = match found.length {
            Length::Possible => true,
            _ if self.is_usable(found.number) => true,
            Length::LocalOnly => return Err(Reason::LocalOnly),
            Length::Impossible => false,
        };
        Ok(Recipient { number: found.number, key, sendable: fits && !found.ambiguous })
    }

    /// libphonenumber's reading alone: nothing cleaned, retried or folded.
    pub fn strict(&self, input: &[u8]) -> StrictReading {
        strict(input, self.region)
    }

    #[inline]
    fn find(&self, input: &[u8]) -> Result<Found, Reason> {
        match fast::read(input, self.region) {
            Some(answer) => Ok(Found {
                number: answer.number,
                length: answer.length,
                retried: false,
                ambiguous: false,
                extension_dropped: false,
            }),
            None => self.find_slowly(input),
        }
    }

    /// The exact answer, of which [`fast::read`] is a shortcut.
    fn find_slowly(&self, input: &[u8]) -> Result<Found, Reason> {
        let cleaned: Cleaned<'_> = clean(input)?;
        let text = cleaned.as_str();
        let found = self.find_in(&cleaned, text)?;
        // Where an extension was cut off, the letters are its label.
        let in_doubt = !found.extension_dropped && letters_in(text).is_some();
        Ok(Found { ambiguous: found.ambiguous || in_doubt, ..found })
    }

    fn find_in(&self, cleaned: &Cleaned<'_>, text: &str) -> Result<Found, Reason> {
        let text = with_ascii_digits(text);
        let text = without_idle_plus(&text);
        match self.region {
            Some(region) if !cleaned.is_international() => self.at_home(text, region),
            _ => self.international(text),
        }
    }

    /// What the slow path finds, to hold the fast one to: digits, length, whether anything was
    /// flagged.
    #[cfg(test)]
    pub(super) fn find_slowly_for_tests(
        &self,
        input: &[u8],
    ) -> Result<(u64, Length, bool), Reason> {
        let found = self.find_slowly(input)?;
        let flagged = found.retried || found.ambiguous || found.extension_dropped;
        Ok((found.number.get(), found.length, flagged))
    }

    /// Text in no region: digits are international whether or not they have a plus.
    fn international(&self, text: &str) -> Result<Found, Reason> {
        let written = parse_with_extension(text, None);
        let Some(bare) = without_plus(text) else { return written.map(Found::as_written) };
        let read = match written {
            Err(Reason::InvalidCountryCode) => parse_with_extension(&format!("+{bare}"), None),
            _ => written,
        };
        match self.behind_zeros(bare) {
            Some(retried) if read.is_err() => Ok(Found::again(retried)),
            _ => read.map(Found::as_written),
        }
    }

    /// Text in a region, read again where it makes no sense there.
    fn at_home(&self, text: &str, region: Region) -> Result<Found, Reason> {
        let home = parse_with_extension(text, Some(region));
        let Some(bare) = without_plus(text) else { return home.map(Found::as_written) };
        if begins_with_two_zeros(bare) {
            return self.behind_zeros_at_home(home, bare);
        }
        let has_letters = bare.contains(|c: char| c.is_ascii_alphabetic());
        if !is_impossible(home) {
            // The id of a webhook in a plan of many lengths (Germany's) is a number at home, too.
            let in_doubt = self.begins_with_own_code(home)
                && self.behind_plus(bare).is_some_and(|other| Ok(other) != home);
            return home.map(|home| Found { ambiguous: in_doubt, ..Found::as_written(home) });
        }
        if has_letters || self.if_usable(home).is_some() {
            return home.map(Found::as_written);
        }
        let repaired = self.with_lost_zero(home, bare, region).or_else(|| self.behind_plus(bare));
        repaired.map_or_else(|| home.map(Found::as_written), |parsed| Ok(Found::again(parsed)))
    }

    /// Text that begins with 00 in a region: as dialled there, or as if 00 were a plus.
    fn behind_zeros_at_home(
        &self,
        home: Result<Parsed, Reason>,
        bare: &str,
    ) -> Result<Found, Reason> {
        match (self.behind_zeros(bare), home) {
            (Some(other), Ok(home)) if other.number == home.number => Ok(Found::as_written(home)),
            (Some(_), Ok(home)) if self.is_usable(home.number) => {
                Ok(Found { ambiguous: true, ..Found::as_written(home) })
            }
            (Some(other), _) => Ok(Found::again(other)),
            (None, _) => home.map(Found::as_written),
        }
    }

    /// `00` and an international number, when that is a number in use. In some countries 00 is no
    /// international prefix, or (Colombia) 005 is one and the rest another country's number.
    fn behind_zeros(&self, bare: &str) -> Option<Parsed> {
        if !begins_with_two_zeros(bare) {
            return None;
        }
        let (_, behind_first) = bare.split_once('0')?;
        let (_, rest) = behind_first.split_once('0')?;
        self.if_usable(parse_with_extension(&format!("+{rest}"), None))
    }

    /// The digits as an international number that lost its plus, when that is in use.
    fn behind_plus(&self, bare: &str) -> Option<Parsed> {
        self.if_usable(parse_with_extension(&format!("+{bare}"), None))
    }

    /// Whether the national digits begin with the calling code of their own region.
    fn begins_with_own_code(&self, home: Result<Parsed, Reason>) -> bool {
        let (Some(region), Ok(home)) = (self.region, home) else { return false };
        let code = region.plan().code.to_string();
        home.number.get().to_string().starts_with(&code.repeat(2))
    }

    /// Puts back the zero that a spreadsheet took for meaningless. Only where every number of the
    /// plan has ten digits, so that nine say that one is missing.
    fn with_lost_zero(
        &self,
        home: Result<Parsed, Reason>,
        bare: &str,
        region: Region,
    ) -> Option<Parsed> {
        let lacks_one =
            home.is_ok_and(|parsed| parsed.number.get() / TEN[9] == u64::from(region.plan().code));
        if !matches!(region.as_str(), "CI" | "BJ") || !lacks_one {
            return None;
        }
        self.if_usable(parse_with_extension(&format!("0{bare}"), Some(region)))
    }

    fn if_usable(&self, parsed: Result<Parsed, Reason>) -> Option<Parsed> {
        parsed.ok().filter(|parsed| self.is_usable(parsed.number))
    }

    /// Whether the number is in use: as it is, or in the form of its key.
    fn is_usable(&self, number: Number) -> bool {
        is_valid(number) || self.is_valid_folded(number)
    }

    fn is_valid_folded(&self, number: Number) -> bool {
        let key = fold(number, self.folding).get();
        key != number.get() && Number::from_e164(key).is_some_and(is_valid)
    }

    fn judge(&self, found: &Found) -> Result<Status, Reason> {
        if is_valid(found.number) {
            Ok(Status::Valid)
        } else if self.is_valid_folded(found.number) {
            Ok(Status::Folded)
        } else {
            match found.length {
                Length::Possible => Ok(Status::Possible),
                Length::LocalOnly => Err(Reason::LocalOnly),
                Length::Impossible => Ok(Status::Parsed),
            }
        }
    }
}

impl Reading {
    const fn rejected(reason: Reason) -> Reading {
        Reading {
            number: None,
            key: None,
            status: Status::Rejected(reason),
            retried: false,
            ambiguous: false,
            extension_dropped: false,
        }
    }
}

impl Found {
    fn as_written(parsed: Parsed) -> Found {
        Found {
            number: parsed.number,
            length: parsed.number.length(),
            retried: false,
            ambiguous: false,
            extension_dropped: parsed.had_extension,
        }
    }

    fn again(parsed: Parsed) -> Found {
        Found { retried: true, ..Found::as_written(parsed) }
    }
}

/// Whether no number of the region can look like this. Local-only lengths can: a number that
/// lacks its area code is not taken for another country's.
fn is_impossible(home: Result<Parsed, Reason>) -> bool {
    match home {
        Ok(parsed) => parsed.number.length() == Length::Impossible,
        Err(reason) => matches!(reason, Reason::InvalidCountryCode | Reason::TooShort),
    }
}

/// The text from its first digit on, when no plus stands in it.
fn without_plus(text: &str) -> Option<&str> {
    if text.contains(['+', '\u{ff0b}']) {
        return None;
    }
    let first = text.find(|c: char| c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric()))?;
    text.get(first..)
}

/// Where the first letter stands that leaves the number in doubt. libphonenumber takes three or
/// more letters for keys of a keypad, so a name behind a number makes it another, longer number;
/// one or two it leaves out, so an O for a 0 makes it a shorter one. No doubt leave letters before
/// the digits, keypad words behind fewer digits than a number has, one or two behind all digits,
/// and the x of `0xx11`.
fn letters_in(text: &str) -> Option<usize> {
    const OWN_NUMBER_DIGITS: usize = 7;
    let (mut digits, mut letters, mut first, mut between) = (0, 0, None, false);
    for (at, c) in text.char_indices() {
        if c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric()) {
            digits += 1;
            between |= first.is_some();
        } else if digits > 0 && c.is_ascii_alphabetic() && !matches!(c, 'x' | 'X') {
            if first.is_none() {
                first = Some((at, digits));
            }
            letters += 1;
        }
    }
    let (at, digits_before) = first?;
    let in_doubt = if letters > 2 { digits_before >= OWN_NUMBER_DIGITS } else { between };
    in_doubt.then_some(at)
}

/// The text with every decimal digit as an ASCII digit, as libphonenumber reads it.
fn with_ascii_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| ascii_digit(c).unwrap_or(c)).collect())
}

/// The ASCII digit for a decimal digit of another script. (Digits outside of the basic plane are
/// none to Google's code.)
fn ascii_digit(c: char) -> Option<char> {
    const ZEROS: [u32; 36] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
        0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
        0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
        0xff10,
    ];
    let place = ZEROS.partition_point(|&zero| zero <= u32::from(c)).checked_sub(1)?;
    char::from_digit(u32::from(c) - ZEROS.get(place)?, 10)
}

/// The text without a plus in front of 00: no calling code begins with 0, so the plus says nothing.
fn without_idle_plus(text: &str) -> &str {
    let rest = text.trim_start_matches(['+', '\u{ff0b}']);
    if rest.len() < text.len() && rest.starts_with("00") { rest } else { text }
}

fn begins_with_two_zeros(bare: &str) -> bool {
    let is_separator = |c: &char| matches!(c, ' ' | '-' | '(' | ')' | '.');
    let mut signs = bare.chars().filter(|c| !is_separator(c));
    signs.next() == Some('0') && signs.next() == Some('0')
}
