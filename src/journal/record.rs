//! Rows of events to the bytes of a record, and back.
//!
//! Rows that share all their [`Details`] stand in one record: the details once, then a column
//! for each thing in which rows differ. A list loaded in bulk thus costs about two bytes a number.

use std::fmt;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U32, U64};

use super::format::{KIND_EVENTS, RECORD_MAGIC, RECORD_PAYLOAD_BYTES_MAX, RECORD_ROWS_MAX};
use super::format::{RecordHeader, Seal};
use super::payload::Payload;
use super::varint;
use crate::event::{Action, Category, Details, Event, Ground, Source, Tier};
use crate::number::{Address, BusinessId, Folding, Number, SubscriberKey, fold, value_of_digits};
use crate::time::Timestamp;

/// How a number was written in the request or file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling<'a> {
    /// A plus and the digits.
    Plus,
    /// The digits alone.
    Digits,
    /// Otherwise.
    Text(&'a str),
}

/// Names the kind; a text is a person's number.
impl fmt::Debug for Spelling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spelling::Plus => "Plus",
            Spelling::Digits => "Digits",
            Spelling::Text(_) => "Text",
        })
    }
}

impl<'a> Spelling<'a> {
    /// The shortest way to say how `raw` spells `number`.
    pub fn of(number: Number, raw: &'a str) -> Spelling<'a> {
        Spelling::plain(number, raw.as_bytes()).unwrap_or(Spelling::Text(raw))
    }

    /// How `raw` spells `number`, when it does so with nothing but digits and perhaps a plus.
    pub fn plain(number: Number, raw: &[u8]) -> Option<Spelling<'a>> {
        let (spelling, digits) = match raw {
            [b'+', digits @ ..] => (Spelling::Plus, digits),
            digits => (Spelling::Digits, digits),
        };
        let is_same = !digits.starts_with(b"0") && value_of_digits(digits) == Some(number.get());
        is_same.then_some(spelling)
    }

    fn code(self) -> u8 {
        match self {
            Spelling::Plus => SPELLING_PLUS,
            Spelling::Digits => SPELLING_DIGITS,
            Spelling::Text(_) => SPELLING_TEXTS,
        }
    }

    fn write(self, subject: Subject, out: &mut Vec<u8>) {
        let text = match self {
            Spelling::Plus => format!("+{}", subject.code()),
            Spelling::Digits => subject.code().to_string(),
            Spelling::Text(text) => return put_text(out, text),
        };
        put_text(out, &text);
    }
}

/// What stands for a key in the text of a tombstone: the key mixed with what only this store has,
/// so that the number stands nowhere as it is read or computed with. It is no secret: whoever has
/// the store can tell whom it suppresses, as he has to.
fn tombstone_text(seal: Seal, key: SubscriberKey) -> String {
    format!("{:016x}", key.get() ^ seal.mask())
}

fn tombstone_key(seal: Seal, text: &str) -> Option<SubscriberKey> {
    let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let digits = Some(text).filter(|it| it.len() == 16 && it.bytes().all(is_ours))?;
    let key = u64::from_str_radix(digits, 16).ok()? ^ seal.mask();
    Some(SubscriberKey::from_u64(key))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

const SPELLING_PLUS: u8 = 0;
const SPELLING_DIGITS: u8 = 1;
const SPELLING_TEXTS: u8 = 2;

/// Set in `flags` when an operator's resubscribe lifts also what the person said himself.
const FLAG_OVERRIDES: u8 = 1;

/// Whom a row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A number.
    Number(Number),
    /// An id, by the key that the store gave it; the row's text is the id itself.
    Id(SubscriberKey),
    /// Somebody who asked to be forgotten, by the key under which he stays suppressed: what is
    /// kept of him.
    Tombstone(SubscriberKey),
    /// Nobody any more: what the row said was erased.
    Erased,
}

/// Neither a number nor the key of an id.
const ERASED: u64 = u64::MAX;

impl Subject {
    /// The integer on disk.
    fn code(self) -> u64 {
        match self {
            Subject::Number(number) => number.get(),
            Subject::Id(key) => key.get(),
            Subject::Tombstone(_) | Subject::Erased => ERASED,
        }
    }

    /// The subject behind an integer on disk; a tombstone is told from an erased row by its text.
    fn from_code(code: u64) -> Option<Subject> {
        if code == ERASED {
            return Some(Subject::Erased);
        }
        let key = SubscriberKey::from_u64(code);
        match key.id_sequence() {
            Some(_) => Some(Subject::Id(key)),
            None => Number::from_e164(code).map(Subject::Number),
        }
    }
}

/// One row of a record to be written.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Whom it is about.
    pub subject: Subject,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// How the number was written; of an id the id itself. Of others it says nothing.
    pub spelling: Spelling<'a>,
    /// Sequence of the subscriber's event before this one; 0 for none.
    pub previous: u64,
}

/// Where a record goes: what its header says beside its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) generation: u64,
    pub(super) first_sequence: u64,
    pub(super) durable_to: u64,
}

/// Appends one record to `out` and gives its header. The caller sees to it that there is at
/// least one row, at most [`RECORD_ROWS_MAX`], and that the texts fit.
pub(super) fn encode(
    out: &mut Vec<u8>,
    seal: Seal,
    place: Place,
    details: &Details,
    received_at: Timestamp,
    rows: &[Row<'_>],
) -> RecordHeader {
    assert!(!rows.is_empty() && rows.len() <= RECORD_ROWS_MAX);
    let occurred_min = rows.iter().map(|row| row.occurred_at).min().unwrap_or_default();
    let occurred_max = rows.iter().map(|row| row.occurred_at).max().unwrap_or_default();
    let (spelling, texts) = encode_spellings(seal, rows);
    let subjects = encode_differences(rows.iter().map(|row| row.subject.code()));
    let previous = if rows.iter().all(|row| row.previous == 0) {
        Vec::new()
    } else {
        encode_differences(rows.iter().map(|row| row.previous))
    };
    let occurred = encode_occurred(rows, occurred_min, occurred_max);
    let payload = Payload {
        channel: &details.channel,
        sender: &details.sender,
        brand: &details.brand,
        word: &details.word,
        campaign: &details.campaign,
        template: &details.template,
        message_id: &details.message_id,
        operator: &details.operator,
        note: &details.note,
        ground: details.ground.code(),
        category: details.category.map_or(0, Category::code),
        flags: if details.overrides { FLAG_OVERRIDES } else { 0 },
        batch: details.batch,
        subjects: &subjects,
        occurred: &occurred,
        spelling,
        texts: &texts,
        previous: &previous,
    }
    .encode();
    assert!(payload.len() <= RECORD_PAYLOAD_BYTES_MAX, "callers bound the texts");
    let mut header = RecordHeader {
        magic: RECORD_MAGIC,
        kind: KIND_EVENTS,
        action: details.action.code(),
        source: details.source.code(),
        tier: details.tier.code(),
        segment: U64::new(place.segment),
        generation: U64::new(place.generation),
        first_sequence: U64::new(place.first_sequence),
        durable_to: U64::new(place.durable_to),
        rows: U32::new(rows.len() as u32),
        payload_bytes: U32::new(payload.len() as u32),
        received_at: I64::new(received_at.as_millis()),
        occurred_min: I64::new(occurred_min.as_millis()),
        occurred_max: I64::new(occurred_max.as_millis()),
        payload_checksum: U64::new(0),
        header_checksum: U64::new(0),
    };
    header.payload_checksum = U64::new(seal.payload_checksum(&header, &payload));
    header.header_checksum = U64::new(seal.header_checksum(&header));
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&payload);
    header
}

fn encode_differences(values: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    for value in values {
        varint::put_difference(&mut out, before, value);
        before = value;
    }
    out
}

fn encode_spellings(seal: Seal, rows: &[Row<'_>]) -> (u8, Vec<u8>) {
    // An erased row needs no text, so that it goes with any spelling of the others.
    let code = |row: &Row<'_>| match row.subject {
        Subject::Number(_) => Some(row.spelling.code()),
        Subject::Id(_) | Subject::Tombstone(_) => Some(SPELLING_TEXTS),
        Subject::Erased => None,
    };
    let first = rows.iter().find_map(code).unwrap_or(SPELLING_PLUS);
    if first != SPELLING_TEXTS && rows.iter().filter_map(code).all(|code| code == first) {
        return (first, Vec::new());
    }
    let mut texts = Vec::new();
    for row in rows {
        match row.subject {
            Subject::Tombstone(key) => put_text(&mut texts, &tombstone_text(seal, key)),
            Subject::Erased => put_text(&mut texts, ""),
            Subject::Number(_) | Subject::Id(_) => row.spelling.write(row.subject, &mut texts),
        }
    }
    (SPELLING_TEXTS, texts)
}

fn encode_occurred(rows: &[Row<'_>], min: Timestamp, max: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    if min != max {
        for row in rows {
            varint::put(&mut out, row.occurred_at.as_millis().abs_diff(min.as_millis()));
        }
    }
    out
}

/// A record that was read and whose every column has been checked.
#[derive(Clone)]
pub struct Record {
    first_sequence: u64,
    received_at: Timestamp,
    details: Details,
    subjects: Vec<Subject>,
    /// Empty when all rows have `occurred_min`.
    occurred: Vec<Timestamp>,
    occurred_min: Timestamp,
    spelling: u8,
    texts: Vec<String>,
    /// Empty when no row has one.
    previous: Vec<u64>,
}

/// Says which rows; shows nobody's number.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} rows from {})", self.rows(), self.first_sequence)
    }
}

impl Record {
    /// Reads a payload whose checksum was found right; `None` when it contradicts its header or
    /// holds what this release doesn't know.
    pub(super) fn decode(seal: Seal, header: &RecordHeader, payload: &[u8]) -> Option<Record> {
        let rows = header.rows.get() as usize;
        if rows == 0 || rows > RECORD_ROWS_MAX {
            return None;
        }
        let payload = Payload::decode(payload)?;
        let details = Details {
            action: Action::from_code(header.action)?,
            source: Source::from_code(header.source)?,
            tier: Tier::from_code(header.tier)?,
            ground: Ground::from_code(payload.ground)?,
            category: match payload.category {
                0 => None,
                code => Some(Category::from_code(code)?),
            },
            overrides: match payload.flags {
                0 => false,
                FLAG_OVERRIDES => true,
                _ => return None,
            },
            batch: payload.batch,
            channel: payload.channel.to_owned(),
            sender: payload.sender.to_owned(),
            brand: payload.brand.to_owned(),
            word: payload.word.to_owned(),
            campaign: payload.campaign.to_owned(),
            template: payload.template.to_owned(),
            message_id: payload.message_id.to_owned(),
            operator: payload.operator.to_owned(),
            note: payload.note.to_owned(),
        };
        let occurred_min = Timestamp::from_millis(header.occurred_min.get());
        let subjects = decode_differences(payload.subjects, rows)?
            .into_iter()
            .map(Subject::from_code)
            .collect::<Option<Vec<Subject>>>()?;
        let previous = if payload.previous.is_empty() {
            Vec::new()
        } else {
            decode_differences(payload.previous, rows)?
        };
        let first_sequence = header.first_sequence.get();
        let chained = |(row, &before): (usize, &u64)| before < first_sequence + row as u64;
        if !previous.iter().enumerate().all(chained) {
            return None;
        }
        let mut record = Record {
            first_sequence,
            received_at: Timestamp::from_millis(header.received_at.get()),
            details,
            subjects,
            occurred: decode_occurred(&payload, header, rows)?,
            occurred_min,
            spelling: payload.spelling,
            texts: decode_texts(&payload, rows)?,
            previous,
        };
        record.read_tombstones(seal)?;
        record.subjects_are_told().then_some(record)
    }

    /// Puts the keys in the place of the texts that stand for them.
    fn read_tombstones(&mut self, seal: Seal) -> Option<()> {
        for (subject, text) in self.subjects.iter_mut().zip(&mut self.texts) {
            if *subject == Subject::Erased && !text.is_empty() {
                *subject = Subject::Tombstone(tombstone_key(seal, text)?);
                text.clear();
            }
        }
        Some(())
    }

    /// Whether the texts say who the subjects without a number are, and whether the links are in
    /// pairs.
    fn subjects_are_told(&self) -> bool {
        let is_id = |row: usize, key: SubscriberKey| {
            let sequence = self.first_sequence + row as u64;
            key.id_sequence().is_some_and(|first| (1..=sequence).contains(&first))
        };
        let is_told = |row: usize| match self.subjects[row] {
            Subject::Id(key) => {
                is_id(row, key)
                    && self.text(row).is_some_and(|it| BusinessId::find(it.as_bytes()) == Some(it))
            }
            Subject::Tombstone(key) => is_id(row, key) || Number::from_e164(key.get()).is_some(),
            Subject::Number(_) | Subject::Erased => true,
        };
        let is_paired = self.details.action != Action::Link || self.rows().is_multiple_of(2);
        is_paired && (0..self.rows()).all(is_told)
    }

    /// Sequence of the first row.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.subjects.len()
    }

    /// What the rows share.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// When the rows were recorded.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Whom the rows are about, in the order of their sequences.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The key of a row's subscriber; `None` when the row says nothing any more.
    pub fn key(&self, row: usize, folding: Folding) -> Option<SubscriberKey> {
        match self.subjects[row] {
            Subject::Number(number) => Some(fold(number, folding)),
            Subject::Id(key) => Some(key),
            // A key is itself a number of its subscriber, so that another table folds it further.
            Subject::Tombstone(key) => match Number::from_e164(key.get()) {
                Some(number) => Some(fold(number, folding)),
                None => Some(key),
            },
            Subject::Erased => None,
        }
    }

    /// A row's number or id; `None` when its subscriber asked to be forgotten.
    pub fn address(&self, row: usize) -> Option<Address> {
        match self.subjects[row] {
            Subject::Number(number) => Some(Address::Number(number)),
            Subject::Id(_) => BusinessId::parse(self.text(row)?.as_bytes()).map(Address::Id),
            Subject::Tombstone(_) | Subject::Erased => None,
        }
    }

    /// The text of a row whose spelling is one.
    pub fn text(&self, row: usize) -> Option<&str> {
        self.texts.get(row).map(String::as_str)
    }

    /// For a row of a link, the row of the other end, unless that was cut off.
    pub fn partner(&self, row: usize) -> Option<usize> {
        let is_link = self.details.action == Action::Link;
        is_link.then_some(row ^ 1).filter(|&partner| partner < self.rows())
    }

    /// The record as if it ended after its first `rows` rows.
    #[must_use]
    pub fn cut(&self, rows: usize) -> Record {
        let mut record = self.clone();
        record.subjects.truncate(rows);
        record.occurred.truncate(rows);
        record.texts.truncate(rows);
        record.previous.truncate(rows);
        record
    }

    /// When the person of a row acted.
    pub fn occurred_at(&self, row: usize) -> Timestamp {
        self.occurred.get(row).copied().unwrap_or(self.occurred_min)
    }

    /// Sequence of the event before a row's for the same subscriber; 0 for none.
    pub fn previous(&self, row: usize) -> u64 {
        self.previous.get(row).copied().unwrap_or(0)
    }

    /// A row as an event. `row` is below [`Record::rows`].
    pub fn event(&self, row: usize, folding: Folding) -> Event {
        let raw = match (self.subjects[row], self.spelling) {
            (Subject::Number(number), SPELLING_PLUS) => format!("+{}", number.get()),
            (Subject::Number(number), SPELLING_DIGITS) => number.get().to_string(),
            (Subject::Tombstone(_) | Subject::Erased, _) => String::new(),
            _ => self.texts[row].clone(),
        };
        let details = match self.subjects[row] {
            Subject::Erased => bare(&self.details),
            _ => self.details.clone(),
        };
        Event {
            sequence: self.first_sequence + row as u64,
            occurred_at: self.occurred_at(row),
            received_at: self.received_at,
            key: self.key(row, folding),
            address: self.address(row),
            raw,
            previous: self.previous(row),
            details,
        }
    }

    /// How a row's number was written.
    fn spelling(&self, row: usize) -> Spelling<'_> {
        match self.spelling {
            SPELLING_PLUS => Spelling::Plus,
            SPELLING_DIGITS => Spelling::Digits,
            _ => Spelling::Text(&self.texts[row]),
        }
    }

    /// Appends the record to `out`, at another place of the same segment.
    pub(super) fn encode(&self, out: &mut Vec<u8>, seal: Seal, place: Place) {
        let rows: Vec<Row<'_>> = (0..self.rows())
            .map(|row| Row {
                subject: self.subjects[row],
                occurred_at: self.occurred_at(row),
                spelling: self.spelling(row),
                previous: self.previous(row),
            })
            .collect();
        encode(out, seal, place, &self.details, self.received_at, &rows);
    }

    /// Whether it holds what `redaction` takes out.
    pub fn holds(&self, redaction: &dyn Redaction) -> bool {
        let is_in_row = |row| match redaction.fate(self, row) {
            Fate::Erased => true,
            Fate::Begins => self.previous(row) != 0,
            Fate::Kept => self.plain(row, redaction).is_some(),
        };
        let mut texts = free_texts(&self.details).into_iter();
        texts.any(|text| redaction.starred(text).is_some()) || (0..self.rows()).any(is_in_row)
    }

    /// The record without what `redaction` takes out. Details that only erased rows share go with
    /// them.
    pub fn redacted(&self, redaction: &dyn Redaction) -> Record {
        let mut left = self.clone();
        for row in 0..self.rows() {
            let fate = redaction.fate(self, row);
            if fate == Fate::Kept {
                if let Some(plain) = self.plain(row, redaction) {
                    left.texts[row] = plain;
                }
                continue;
            }
            left.previous.get_mut(row).into_iter().for_each(|previous| *previous = 0);
            if fate == Fate::Erased {
                left.subjects[row] = Subject::Erased;
                left.texts.get_mut(row).into_iter().for_each(String::clear);
            }
        }
        if left.subjects.iter().all(|subject| *subject == Subject::Erased) {
            left.details = bare(&self.details);
        }
        for text in free_texts_mut(&mut left.details) {
            if let Some(starred) = redaction.starred(text) {
                *text = starred;
            }
        }
        left
    }

    /// The plain form of a number whose spelling holds what is to be taken out: a cell with two
    /// numbers is the spelling of both.
    fn plain(&self, row: usize, redaction: &dyn Redaction) -> Option<String> {
        let (Subject::Number(number), Some(text)) = (self.subjects[row], self.texts.get(row))
        else {
            return None;
        };
        let plain = format!("+{}", number.get());
        (*text != plain && redaction.starred(text).is_some()).then_some(plain)
    }
}

/// What people wrote freely. Scopes are none of it: they decide.
fn free_texts(details: &Details) -> [&String; 6] {
    let Details { word, campaign, template, message_id, operator, note, .. } = details;
    [word, campaign, template, message_id, operator, note]
}

fn free_texts_mut(details: &mut Details) -> [&mut String; 6] {
    let Details { word, campaign, template, message_id, operator, note, .. } = details;
    [word, campaign, template, message_id, operator, note]
}

/// What is to be taken out of records.
pub trait Redaction: Sync {
    /// What becomes of a row.
    fn fate(&self, record: &Record, row: usize) -> Fate;

    /// A text of somebody else's without what it says of those who are forgotten; `None` when it
    /// says nothing of them.
    fn starred(&self, text: &str) -> Option<String>;
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It stays, and nothing comes before it any more.
    Begins,
    /// It says nothing any more, not even what came before it.
    Erased,
}

/// What may still be counted when nothing else is told.
fn bare(details: &Details) -> Details {
    let Details { tier, category, batch, .. } = *details;
    Details { tier, category, batch, ..Details::new(details.action, details.source) }
}

fn decode_differences(mut bytes: &[u8], rows: usize) -> Option<Vec<u64>> {
    let mut values = Vec::with_capacity(rows);
    let mut before = 0;
    for _ in 0..rows {
        before = varint::take_difference(&mut bytes, before)?;
        values.push(before);
    }
    bytes.is_empty().then_some(values)
}

fn decode_occurred(
    payload: &Payload<'_>,
    header: &RecordHeader,
    rows: usize,
) -> Option<Vec<Timestamp>> {
    let (min, max) = (header.occurred_min.get(), header.occurred_max.get());
    let mut bytes = payload.occurred;
    if bytes.is_empty() {
        return (min == max).then(Vec::new);
    }
    let mut moments = Vec::with_capacity(rows);
    for _ in 0..rows {
        let at = min.checked_add_unsigned(varint::take(&mut bytes)?)?;
        moments.push((at <= max).then(|| Timestamp::from_millis(at))?);
    }
    bytes.is_empty().then_some(moments)
}

fn decode_texts(payload: &Payload<'_>, rows: usize) -> Option<Vec<String>> {
    if payload.spelling != SPELLING_TEXTS {
        let known = matches!(payload.spelling, SPELLING_PLUS | SPELLING_DIGITS);
        return (known && payload.texts.is_empty()).then(Vec::new);
    }
    let mut bytes = payload.texts;
    let mut texts = Vec::with_capacity(rows);
    for _ in 0..rows {
        let length = usize::try_from(varint::take(&mut bytes)?).ok()?;
        let text = bytes.split_off(..length)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
    }
    bytes.is_empty().then_some(texts)
}
