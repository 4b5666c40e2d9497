//! What did spreadsheets, exports and messaging ids do to this cell, and can it be undone?
//!
//! libphonenumber reads a damaged cell as nothing, or worse, as another valid number: the `.0` of
//! a spreadsheet lengthens it, a second number becomes an extension, a business-scoped id becomes
//! a Colombian mobile. [`clean`] stands in front of it. Promises to undo only what leaves no doubt
//! and to refuse the rest with a reason; linear time, no panic on any bytes. Leaves the reading of
//! the number to `parse`.

use std::borrow::Cow;

use super::status::Reason;

/// Digits from which on a run of them may be a number of its own: the shortest subscriber
/// numbers behind an area code, and longer than the extensions that people write without label.
const OWN_NUMBER_DIGITS: usize = 7;
/// Two runs of digits as long as this, with only blanks or dashes between, are two numbers; behind
/// a plus the first needs two more, since Nigeria has numbers of 16 digits with their code.
const LONG_RUN_DIGITS: usize = 8;

/// What stands between the entries of a list in one cell.
const SEPARATORS: &[char] =
    &[';', ',', '/', '|', '\\', '&', '\n', '\u{ff1b}', '\u{ff0c}', '\u{3001}', '\u{60c}'];

/// A cell fit for the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned<'a> {
    text: Cow<'a, str>,
    international: bool,
}

impl Cleaned<'_> {
    /// The text to parse.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the cell was an id that is international by nature, such as
    /// `5215512345678@s.whatsapp.net`: no default region applies.
    pub fn is_international(&self) -> bool {
        self.international
    }
}

/// Undoes damage that leaves no doubt and recognises what is no phone number.
///
/// # Errors
///
/// The reason why the cell cannot be read as one number.
pub fn clean(input: &[u8]) -> Result<Cleaned<'_>, Reason> {
    let text = trimmed(plain(input)?);
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if let Some(id) = messaging_id(&text) {
        return id;
    }
    // The parser finds nothing in it either, after a long search.
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(Reason::NotANumber);
    }
    if let Some(digits) = scientific(&text) {
        return Ok(Cleaned { text: Cow::Owned(digits?), international: false });
    }
    if has_thousands_commas(&text) {
        return Err(Reason::ThousandsCommas);
    }
    if holds_two_numbers(&text) {
        return Err(Reason::TwoNumbers);
    }
    if is_masked(&text) {
        return Err(Reason::Masked);
    }
    let text = match without_decimals(&text) {
        Some(end) => truncated(text, end),
        None if text.contains('\n') => Cow::Owned(text.replace('\n', " ")),
        None => text,
    };
    Ok(Cleaned { text, international: false })
}

/// The parts of a cell of an opt-out list that holds several numbers: each is to be read alone.
/// Whole parts between list separators, so that a part that is no number is still reported.
pub(super) fn parts(input: &[u8]) -> Vec<String> {
    let Ok(text) = plain(input) else { return Vec::new() };
    let mut parts = Vec::new();
    for part in text.split(SEPARATORS).filter(|part| has_digit(part) && !has_parameter(part)) {
        if holds_two_numbers(part) {
            parts.extend(Runs::new(part).filter(Run::is_long).map(|run| run.text.to_owned()));
        } else {
            parts.push(part.to_owned());
        }
    }
    parts
}

/// The text with every blank a plain blank, every line break `\n`, invisible characters dropped.
fn plain(input: &[u8]) -> Result<Cow<'_, str>, Reason> {
    if input.is_ascii() && !input.iter().any(u8::is_ascii_control) {
        // Plain ASCII is by far the most common; it holds nothing to replace.
        return std::str::from_utf8(input).map(Cow::Borrowed).map_err(|_| Reason::NotText);
    }
    let text = decoded(input)?;
    if text.chars().all(|c| replacement(c) == Some(c)) {
        return Ok(text);
    }
    Ok(Cow::Owned(text.chars().filter_map(replacement).collect()))
}

/// Bytes as UTF-8. Invalid bytes count as blanks where they stand before the first digit or
/// behind the last (a Latin-1 no-break space, say); between digits they are refused.
fn decoded(input: &[u8]) -> Result<Cow<'_, str>, Reason> {
    if let Ok(text) = std::str::from_utf8(input) {
        return Ok(Cow::Borrowed(text));
    }
    let is_core = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'@');
    let first = input.iter().position(is_core).ok_or(Reason::NotText)?;
    let last = input.iter().rposition(is_core).ok_or(Reason::NotText)?;
    let core = input.get(first..=last).ok_or(Reason::NotText)?;
    if std::str::from_utf8(core).is_err() {
        return Err(Reason::NotText);
    }
    let mut text = String::with_capacity(input.len());
    for chunk in input.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(' ');
        }
    }
    Ok(Cow::Owned(text))
}

/// What stands for a character: a blank for any blank, nothing for an invisible one.
fn replacement(c: char) -> Option<char> {
    match c {
        ' '..='~' => Some(c),
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        _ if c.is_whitespace() => Some(' '),
        _ if is_ignorable(c) => None,
        _ => Some(c),
    }
}

/// Default-ignorable characters, and the controls that have no meaning in text: joiners,
/// direction marks, byte-order marks, variation selectors.
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without blanks, quotes and the `=` of a spreadsheet formula around it.
fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    fn inner(text: &str) -> &str {
        let around = |c: char| {
            matches!(
                c,
                ' ' | '\n' | '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}'
            )
        };
        text.trim_start_matches(|c| c == '=' || around(c)).trim_end_matches(around)
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(inner(text)),
        Cow::Owned(text) => {
            let kept = inner(&text);
            if kept.len() == text.len() { Cow::Owned(text) } else { Cow::Owned(kept.to_owned()) }
        }
    }
}

fn truncated(text: Cow<'_, str>, end: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

/// What to read in an id or a link of a messaging service; a reason for an id that is no phone.
fn messaging_id(text: &str) -> Option<Result<Cleaned<'static>, Reason>> {
    if let Some((user, server)) = text.rsplit_once('@') {
        // A list of ids is refused as a list; each part of it comes back here alone.
        let id = if text.contains(SEPARATORS) { None } else { jid(user, server) };
        return id.map(|id| {
            id.map(|digits| Cleaned { text: Cow::Owned(format!("+{digits}")), international: true })
        });
    }
    if is_business_scoped(after_prefix(text, "whatsapp:").unwrap_or(text).trim_start()) {
        return Some(Err(Reason::BusinessScopedId));
    }
    // A link to a conversation. Its digits should be international, but people write others: the
    // region gets its say, and the retry of digits that make no sense there does the rest.
    let (_, path) = if text.contains('/') { text.split_once("wa.me/")? } else { return None };
    let signs = path.split(|c: char| !c.is_ascii_digit() && c != '+').next().unwrap_or_default();
    let is_number = signs.len() >= OWN_NUMBER_DIGITS && !text.contains([';', ',', '\n']);
    is_number.then(|| Ok(Cleaned { text: Cow::Owned(signs.to_owned()), international: false }))
}

/// `5215512345678:7@s.whatsapp.net`, and its kin that are no phones. Other text with an `@` is
/// left to the parser, which refuses it unless the `@` stands in front of everything.
fn jid<'a>(user: &'a str, server: &str) -> Option<Result<&'a str, Reason>> {
    let is = |name: &str| server.eq_ignore_ascii_case(name);
    if is("g.us") {
        return Some(Err(Reason::GroupId));
    }
    if is("s.whatsapp.net") || is("c.us") {
        // Behind the number: `_agent` or `.agent`, then `:device`.
        let user = after_prefix(user, "whatsapp:").unwrap_or(user);
        let number = user.split([':', '_', '.']).next().unwrap_or_default();
        let number = number.strip_prefix('+').unwrap_or(number);
        return Some(if is_digits(number) { Ok(number) } else { Err(Reason::NotAPhoneId) });
    }
    let known = ["lid", "hosted.lid", "hosted", "broadcast", "newsletter", "bot", "call", "msgr"];
    known.into_iter().any(is).then_some(Err(Reason::NotAPhoneId))
}

/// `CO.3001234567`, `US.ENT.1349…`: two letters, a full stop, letters and digits to the end.
fn is_business_scoped(text: &str) -> bool {
    let Some((country, id)) = text.split_once('.') else { return false };
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_alphabetic())
        && !id.is_empty()
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Digits in scientific notation, written out when all of them are there.
fn scientific(text: &str) -> Option<Result<String, Reason>> {
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => ("+", rest),
        None => ("", text),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E'])?;
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_scientific =
        is_digits(whole) && is_digits(exponent) && fraction.bytes().all(|b| b.is_ascii_digit());
    if !is_scientific {
        return None;
    }
    // An exponent below zero leaves no digits: it parses as one above and is refused alike.
    let Ok(shift) = exponent.parse::<usize>() else { return Some(Err(Reason::PrecisionLost)) };
    let (Some(moved), Some(left)) = (fraction.get(..shift), fraction.get(shift..)) else {
        return Some(Err(Reason::PrecisionLost));
    };
    let is_exact =
        left.bytes().all(|byte| byte == b'0') && !rest.contains("e-") && !rest.contains("E-");
    Some(if is_exact { Ok(format!("{sign}{whole}{moved}")) } else { Err(Reason::PrecisionLost) })
}

/// `5,215,512,345,678`: groups of three behind a first group of one to three, at least two commas.
fn has_thousands_commas(text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    let mut groups = text.split(',');
    let first = groups.next().unwrap_or_default();
    let mut count = 0;
    is_digits(first)
        && first.len() <= 3
        && groups.inspect(|_| count += 1).all(|group| group.len() == 3 && is_digits(group))
        && count >= 2
}

/// Where the text ends without the `.0` that a spreadsheet wrote behind nothing but digits.
fn without_decimals(text: &str) -> Option<usize> {
    let (number, zeros) = text.rsplit_once(['.', ','])?;
    let digits = number.strip_prefix('+').unwrap_or(number);
    let is_zeros = !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0');
    (is_zeros && is_digits(digits)).then_some(number.len())
}

/// Whether digits are hidden, as in `+5255****78` or `55XXXX5678`: libphonenumber leaves stars out
/// and takes three letters for digits, and reads somebody else's number. Brazil's `0xx11` is none.
fn is_masked(text: &str) -> bool {
    // Setting up three searches takes longer than a look at the bytes.
    if !text.bytes().any(|byte| matches!(byte, b'*' | b'x' | b'X')) {
        return false;
    }
    let hides = |mark: &str| {
        text.split_once(mark).is_some_and(|(before, after)| has_digit(before) && has_digit(after))
    };
    hides("**") || hides("xxx") || hides("XXX")
}

/// Whether two stretches of the text could each be a number of its own.
fn holds_two_numbers(text: &str) -> bool {
    Runs::new(text).filter(Run::is_number).nth(1).is_some()
}

/// A stretch of the text that is written like one number.
struct Run<'a> {
    text: &'a str,
    digits: usize,
    is_parameter: bool,
}

impl Run<'_> {
    fn is_number(&self) -> bool {
        self.is_long() && !self.is_parameter
    }

    fn is_long(&self) -> bool {
        self.digits >= OWN_NUMBER_DIGITS
    }
}

/// Cuts a text into runs. A run ends at a character that stands in no number, before a plus
/// behind digits, and between two long groups of digits.
struct Runs<'a> {
    rest: &'a str,
    previous: char,
    after_parameter: bool,
}

impl<'a> Runs<'a> {
    fn new(text: &'a str) -> Runs<'a> {
        Runs { rest: text, previous: '\0', after_parameter: false }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut digits, mut group, mut group_start, mut long_groups) = (0, 0, 0, 0);
        let mut first_digits_min = LONG_RUN_DIGITS;
        for (at, c) in self.rest.char_indices() {
            let is_digit = c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric());
            if !is_digit && !is_number_punctuation(c) {
                let after_letter = c == '=' && self.previous.is_ascii_alphabetic();
                self.previous = c;
                return self.cut(at, at + c.len_utf8(), digits, after_letter);
            }
            if is_plus(c) {
                if digits > 0 {
                    return self.cut(at, at, digits, false);
                }
                first_digits_min = LONG_RUN_DIGITS + 2;
            }
            if is_digit {
                (digits, group) = (digits + 1, group + 1);
                if group == 1 {
                    group_start = at;
                }
                if group == LONG_RUN_DIGITS {
                    long_groups += 1;
                    if long_groups == 2 && digits - group >= first_digits_min {
                        return self.cut(group_start, group_start, digits - group, false);
                    }
                }
            } else {
                group = 0;
            }
            self.previous = c;
        }
        self.cut(self.rest.len(), self.rest.len(), digits, false)
    }
}

impl<'a> Runs<'a> {
    fn cut(&mut self, end: usize, next: usize, digits: usize, parameter: bool) -> Option<Run<'a>> {
        let text = self.rest.get(..end)?;
        self.rest = self.rest.get(next..)?;
        // The letters of `ext=` end runs too; only the run behind the `=` is the value.
        Some(Run {
            text,
            digits,
            is_parameter: std::mem::replace(&mut self.after_parameter, parameter),
        })
    }
}

fn is_plus(c: char) -> bool {
    matches!(c, '+' | '\u{ff0b}')
}

/// What stands between the digits of one number: blanks, dashes, full stops, brackets, plus.
fn is_number_punctuation(c: char) -> bool {
    is_plus(c)
        || matches!(
            c,
            ' ' | '-' | '.' | '(' | ')' | '[' | ']' | '\u{2010}'
                ..='\u{2015}'
                    | '\u{2053}'
                    | '\u{2212}'
                    | '\u{30fc}'
                    | '\u{ff08}'
                    | '\u{ff09}'
                    | '\u{ff0d}'
                    | '\u{ff0e}'
                    | '\u{ff3b}'
                    | '\u{ff3d}'
        )
}

/// The text behind a prefix in any case of its letters.
fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_digit(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric()))
}

/// Whether the part is a parameter of the number before it, such as `ext=12`. Only the names of
/// RFC 3966: anything else might be a number, and is read.
fn has_parameter(part: &str) -> bool {
    let names = ["ext", "isub", "phone-context"];
    part.trim()
        .split_once('=')
        .is_some_and(|(name, _)| names.into_iter().any(|known| known.eq_ignore_ascii_case(name)))
}
