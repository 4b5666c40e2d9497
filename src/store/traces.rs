//! Where does a person's number stand in these bytes, however it is written?
//!
//! As digits, with blanks, dashes, dots, slashes and parentheses between them, nationally or with
//! the calling code; as it was spelled when it was recorded; as an integer. Columns of differences
//! are read, not searched: see [`Record::redacted`](crate::journal::Record::redacted).

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::number::{Address, Folding, Number, SubscriberKey, fold};

/// Fewest digits that say whose number it is without its calling code.
const NATIONAL_DIGITS_MIN: usize = 7;
/// With so many digits a number is nobody else's, whatever digits stand before a blank in front.
const NATIONAL_DIGITS_SURE: usize = 10;
/// Numbers are looked up by their first digits; a shorter one can't be told from a count.
const FIRST_DIGITS: usize = 6;
/// Smaller integers may as well be sequences, lengths and places.
const INTEGER_MIN: u64 = 1_000_000_000;
/// Signs between two digits of one number.
const SIGNS_MAX: usize = 3;

/// What the numbers of those who are forgotten look like. One pass over some bytes looks for all
/// of them.
pub(super) struct Traces {
    folding: Folding,
    digits: Vec<Digits>,
    /// Places in `digits` by the first of them.
    by_first: HashMap<u32, Vec<usize>>,
    spellings: Vec<String>,
    ids: Vec<String>,
    /// As they are read from little-endian bytes.
    integers: HashSet<u64>,
    /// For each two bytes whether an integer begins with them.
    may_begin: Vec<bool>,
}

/// A number by its digits.
#[derive(PartialEq, Eq)]
struct Digits {
    code: Vec<u8>,
    /// The digits behind the calling code, or all of them when those are too few.
    national: Vec<u8>,
    key: SubscriberKey,
    folding: Folding,
}

/// Where bytes can come from, which says what would be a chance hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// Texts: what people wrote.
    Texts,
    /// Files of ours that hold counts, lengths and checksums only.
    Counts,
}

impl Traces {
    /// Of nobody yet, in a store that folds numbers so.
    pub(super) fn new(folding: Folding) -> Traces {
        Traces {
            folding,
            digits: Vec::new(),
            by_first: HashMap::new(),
            spellings: Vec::new(),
            ids: Vec::new(),
            integers: HashSet::new(),
            may_begin: vec![false; 1 << 16],
        }
    }

    /// Adds an address that is forgotten.
    pub(super) fn add_address(&mut self, address: &Address) {
        match address {
            Address::Number(number) => self.add(*number),
            Address::Id(id) if self.ids().all(|known| known != id.as_str()) => {
                self.ids.push(id.as_str().to_owned());
            }
            Address::Id(_) => {}
        }
    }

    /// The ids that are forgotten.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Adds a number that is forgotten.
    pub(super) fn add(&mut self, number: Number) {
        let all = number.get().to_string().into_bytes();
        let code = number.calling_code().to_string().into_bytes();
        let national = all[code.len()..].to_vec();
        let (code, national) = match national.len() {
            0..NATIONAL_DIGITS_MIN => (Vec::new(), all),
            _ => (code, national),
        };
        let folding = self.folding;
        let digits = Digits { code, national, key: fold(number, folding), folding };
        if let Some(first) = first_digits(&digits.national) {
            let same = self.by_first.entry(first).or_default();
            if !same.iter().any(|&place| self.digits[place] == digits) {
                same.push(self.digits.len());
                self.digits.push(digits);
            }
        }
        self.add_integer(number.get());
    }

    /// Adds the key of somebody who is forgotten. That of an id says nothing of him.
    pub(super) fn add_key(&mut self, key: SubscriberKey) {
        if let Some(number) = Number::from_e164(key.get()) {
            self.add(number);
        }
    }

    fn add_integer(&mut self, value: u64) {
        if value >= INTEGER_MIN {
            for form in [value, value.swap_bytes()] {
                self.integers.insert(form);
                self.may_begin[usize::from(form as u16)] = true;
            }
        }
    }

    /// Adds how a number was written, unless its digits tell that already. Short texts say too
    /// little, and digits that only a region made his may be another number elsewhere.
    pub(super) fn add_spelling(&mut self, text: &str) {
        let is_odd = |byte: u8| !byte.is_ascii_digit() && !is_sign(byte) && byte != b'+';
        let says_enough = text.len() > NATIONAL_DIGITS_MIN && text.bytes().any(is_odd);
        if says_enough && self.in_text(text).is_none() {
            self.spellings.push(text.to_owned());
        }
    }

    /// The text with every trace starred out; `None` when it holds none.
    pub(super) fn starred(&self, text: &str) -> Option<String> {
        let mut left: Option<String> = None;
        while let Some(found) = self.in_text(left.as_deref().unwrap_or(text)) {
            let left = left.get_or_insert_with(|| text.to_owned());
            left.replace_range(found.clone(), &"*".repeat(found.len()));
        }
        left
    }

    fn in_text(&self, text: &str) -> Option<Range<usize>> {
        self.written(text.as_bytes(), Bytes::Texts)
    }

    /// The first trace in a piece of a file.
    pub(super) fn find(&self, bytes: &[u8], of: Bytes) -> Option<usize> {
        let written = self.written(bytes, of).map(|found| found.start);
        self.integer(bytes).into_iter().chain(written).min()
    }

    fn integer(&self, bytes: &[u8]) -> Option<usize> {
        bytes.windows(size_of::<u64>()).position(|window| {
            self.may_begin[usize::from(u16::from_le_bytes([window[0], window[1]]))]
                && window
                    .try_into()
                    .is_ok_and(|window| self.integers.contains(&u64::from_le_bytes(window)))
        })
    }

    fn written(&self, bytes: &[u8], of: Bytes) -> Option<Range<usize>> {
        let spelled = |text: &String| {
            let at = memchr::memmem::find(bytes, text.as_bytes())?;
            Some(at..at + text.len())
        };
        // An id that goes on is another one.
        let as_id = |id: &String| {
            let mut found = memchr::memmem::find_iter(bytes, id.as_bytes());
            let goes_on = |end: usize| bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
            let at = found.find(|at| !goes_on(at + id.len()))?;
            Some(at..at + id.len())
        };
        let digits = self.as_digits(bytes, of).into_iter();
        let ids = self.ids.iter().filter_map(as_id);
        digits
            .chain(ids)
            .chain(self.spellings.iter().filter_map(spelled))
            .min_by_key(|found| found.start)
    }

    fn as_digits(&self, bytes: &[u8], of: Bytes) -> Option<Range<usize>> {
        let begins = (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit());
        let at = |at: usize| {
            let same = self.by_first.get(&first_digits(&bytes[at..])?)?;
            let found = same.iter().filter_map(|&place| {
                let digits = &self.digits[place];
                digits.at(bytes, at).filter(|found| digits.is_meant(bytes, found, of))
            });
            found.min_by_key(|found| found.end)
        };
        begins.filter_map(at).next()
    }
}

/// The digits with which a number begins, with signs between them.
fn first_digits(bytes: &[u8]) -> Option<u32> {
    let mut first = 0;
    let mut at = 0;
    for _ in 0..FIRST_DIGITS {
        let signs = bytes[at..].iter().take(SIGNS_MAX).take_while(|it| is_sign(**it)).count();
        let digit = bytes.get(at + signs).filter(|it| it.is_ascii_digit())?;
        first = first * 10 + u32::from(digit - b'0');
        at += signs + 1;
    }
    Some(first)
}

impl Digits {
    /// Where the digits end that begin at `at`, if they are these.
    fn at(&self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        let mut end = at + 1;
        for digit in &self.national[1..] {
            let signs = bytes[end..].iter().take(SIGNS_MAX).take_while(|it| is_sign(**it));
            end += signs.count();
            if bytes.get(end) != Some(digit) {
                return None;
            }
            end += 1;
        }
        // Further digits make it another number.
        (!bytes.get(end).is_some_and(u8::is_ascii_digit)).then_some(at..end)
    }

    /// Whether what stands in front makes it no other number. Behind a plus it is his only with his
    /// calling code; so it is without one, or nationally: behind nothing or a trunk prefix.
    fn is_meant(&self, bytes: &[u8], found: &Range<usize>, of: Bytes) -> bool {
        let near = Before::of(&bytes[..found.start], false);
        let far = Before::of(&bytes[..found.start], true);
        if of == Bytes::Counts {
            let is_sure = self.code.len() + self.national.len() >= NATIONAL_DIGITS_SURE;
            return is_sure && !near.digits.is_empty() && self.is_his(&near.digits);
        }
        if far.plus {
            return self.is_his(&far.digits);
        }
        let is_national = matches!(&*near.digits, b"" | b"0" | b"01" | b"044" | b"045");
        let is_alone = far.digits.len() == near.digits.len();
        let is_sure = is_alone || self.national.len() >= NATIONAL_DIGITS_SURE;
        (is_national && is_sure)
            || [near, far].iter().any(|it| {
                let dialled = it.digits.strip_prefix(b"011").unwrap_or(&it.digits);
                let zeros = dialled.iter().take_while(|digit| **digit == b'0').count();
                self.is_his(&dialled[zeros..])
            })
    }

    /// Whether these digits and his national ones are a number of his, in whatever form.
    fn is_his(&self, before: &[u8]) -> bool {
        let digits = [before, &self.national].concat();
        let value = std::str::from_utf8(&digits).ok().and_then(|it| it.parse().ok());
        let number = value.and_then(Number::from_e164);
        number.is_some_and(|number| fold(number, self.folding) == self.key)
    }
}

/// What stands in front of some digits.
struct Before {
    digits: Vec<u8>,
    /// Whether a plus stands before these.
    plus: bool,
}

impl Before {
    /// With `spans_signs` also the digits before a blank or another sign.
    fn of(bytes: &[u8], spans_signs: bool) -> Before {
        const DIGITS_MAX: usize = 9;
        let mut digits = Vec::new();
        let mut signs = 0;
        let mut plus = false;
        for &byte in bytes.iter().rev() {
            match byte {
                byte if byte.is_ascii_digit() && digits.len() < DIGITS_MAX => {
                    digits.push(byte);
                    signs = 0;
                }
                byte if spans_signs && is_sign(byte) && signs < SIGNS_MAX => signs += 1,
                byte => {
                    plus = byte == b'+';
                    break;
                }
            }
        }
        digits.reverse();
        Before { digits, plus }
    }
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(number: u64) -> Traces {
        let mut traces = Traces::new(Folding::default());
        traces.add(Number::from_e164(number).unwrap());
        traces
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let traces = traces(525_512_345_678);
        for text in [
            "+525512345678",
            "525512345678",
            "5215512345678",
            "00525512345678",
            "011525512345678",
            "5512345678",
            "0445512345678",
            "call (55) 1234-5678, please",
            "+52 55 1234 5678",
            "+52 1 55 1234 5678",
            "2 55 1234.5678",
            "a5512345678;5598765432",
        ] {
            assert!(traces.find(text.as_bytes(), Bytes::Texts).is_some(), "{text}");
            let starred = traces.starred(text).unwrap();
            assert!(traces.find(starred.as_bytes(), Bytes::Texts).is_none(), "{starred}");
            assert_eq!(starred.len(), text.len());
        }
    }

    #[test]
    fn other_numbers_and_counts_are_left_alone() {
        let mexican = traces(525_512_345_678);
        for text in [
            "55123456789",
            "345512345678",
            "551234567",
            "wamid.995512345678901",
            // An American, a Cambodian and a Brazilian.
            "+15512345678",
            "+1 (551) 234-5678",
            "15512345678",
            "85512345678",
            "+5512345678",
        ] {
            assert_eq!(mexican.starred(text), None, "{text}");
        }
        let german = traces(49_123_456_789);
        assert_eq!(german.starred("+49 91234 56789"), None);
        assert!(german.starred("+49 1234 56789").is_some());
        let short = traces(6_512_345_678);
        for text in ["+525512345678", "55 1234 5678", "(55) 1234-5678"] {
            assert_eq!(short.starred(text), None, "{text}");
        }
        assert!(short.starred("+65 1234 5678").is_some());
        assert!(short.starred("1234 5678").is_some());
        assert_eq!(short.find(b"\"bytes\": 12345678,", Bytes::Counts), None);
        assert!(short.find(b"6512345678", Bytes::Counts).is_some());
    }

    #[test]
    fn integers_are_found_in_either_order_of_bytes() {
        let traces = traces(525_512_345_678);
        for value in [525_512_345_678_u64, 525_512_345_678_u64.swap_bytes()] {
            let form = value.to_le_bytes();
            let bytes = [&[1, 2][..], &form, &[3]].concat();
            assert_eq!(traces.find(&bytes, Bytes::Counts), Some(2));
        }
    }

    #[test]
    fn a_spelling_that_its_digits_do_not_tell_is_found_as_it_was() {
        let mut traces = traces(525_512_345_678);
        traces.add_spelling("５５１２３４５６７８");
        traces.add_spelling("short");
        traces.add_spelling("15512345678");
        assert!(traces.starred("tel. ５５１２３４５６７８!").is_some());
        assert_eq!(traces.starred("short"), None);
        assert_eq!(traces.starred("+15512345678"), None);
    }
}
