//! What do the words of a message mean?
//!
//! A [`Lexicon`] is read from tables: words in classes (*stop*, *send*, *message*, *order* …), lone
//! words with their verdict, and phrases over words and classes. [`Lexicon::read`] tags each word
//! of a folded message and finds the phrases in it. A customer's tables add to it and never
//! replace.
//!
//! Leaves to others which finding decides (`rules`) and what follows from doubt (`model`).

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Intent;
use super::fold::{Folded, Gap, Word, fold};
use super::fuzzy::{Near, Slip};

type Map<V> = HashMap<Box<str>, V, FixedState>;

/// Sets of classes, one bit each.
pub type Classes = u128;

/// The tables that come with the program, each with its language.
pub const TABLES: [(&str, &str); 10] = [
    ("und", include_str!("../../data/lexicon/und.tsv")),
    ("es", include_str!("../../data/lexicon/es.tsv")),
    ("pt", include_str!("../../data/lexicon/pt.tsv")),
    ("en", include_str!("../../data/lexicon/en.tsv")),
    ("fr", include_str!("../../data/lexicon/fr.tsv")),
    ("de", include_str!("../../data/lexicon/de.tsv")),
    ("it", include_str!("../../data/lexicon/it.tsv")),
    ("hi", include_str!("../../data/lexicon/hi.tsv")),
    ("ar", include_str!("../../data/lexicon/ar.tsv")),
    ("id", include_str!("../../data/lexicon/id.tsv")),
];

/// The languages a lexicon can tell apart; the first stands for none.
pub const LANGUAGES: [&str; 10] = ["und", "es", "pt", "en", "fr", "de", "it", "hi", "ar", "id"];

/// The classes whose words are known also when they are misspelled.
const MISSPELLED: [&str; 8] =
    ["stop", "remove", "unsub", "cancel", "msg", "list", "send", "contact"];

/// How many words a gap in a phrase may hold.
const GAP: usize = 4;

/// A line of a table that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the lexicon {table}: {problem}")]
#[non_exhaustive]
pub struct LexiconError {
    /// Which table.
    pub table: String,
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What is known of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag {
    /// Its classes.
    pub classes: Classes,
    /// The languages that have it, a bit each.
    pub languages: u16,
}

impl Tag {
    fn add(&mut self, other: Tag) {
        self.classes |= other.classes;
        self.languages |= other.languages;
    }
}

/// What the tables of each language say of a word.
#[derive(Clone, Debug, Default)]
struct Entry {
    tags: Vec<Tag>,
}

impl Entry {
    fn add(&mut self, tag: Tag) {
        match self.tags.iter_mut().find(|it| it.languages == tag.languages) {
            Some(known) => known.classes |= tag.classes,
            None => self.tags.push(tag),
        }
    }

    /// What all tables say, or one language's and those of no language.
    fn tag(&self, only: u16) -> Tag {
        let mut tag = Tag::default();
        let fits = |it: &&Tag| it.languages == 0 || it.languages & only != 0;
        self.tags.iter().filter(fits).for_each(|&it| tag.add(it));
        tag
    }
}

/// All languages.
const ANY: u16 = u16::MAX;

#[derive(Clone, Debug)]
enum Test {
    Word(Box<str>),
    Prefix(Box<str>),
    Class(u8),
}

#[derive(Clone, Debug)]
struct Element {
    any: Vec<Test>,
    /// How many other words may stand before it.
    gap: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Class(u8),
    Phrase(Intent),
}

#[derive(Clone, Debug)]
struct Pattern {
    gives: Gives,
    elements: Vec<Element>,
    unless: Classes,
    at_start: bool,
    at_end: bool,
    language: u16,
    text: Box<str>,
}

/// A phrase found in a message.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    pattern: u32,
    /// What the phrase says.
    pub intent: Intent,
    /// Its first word.
    pub start: usize,
    /// The word after its last.
    pub end: usize,
    /// It is a customer's.
    pub own: bool,
}

/// A folded message with all that the lexicon knows of it.
#[derive(Debug)]
pub struct Reading {
    /// The message.
    pub folded: Folded,
    /// A tag for each word.
    pub tags: Vec<Tag>,
    /// The phrases, in the order of their first words.
    pub hits: Vec<Hit>,
}

/// Words, classes and phrases.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    classes: Vec<Box<str>>,
    words: Map<Entry>,
    prefixes: Map<Entry>,
    prefix_longest: usize,
    lone: Map<(Intent, u16)>,
    buttons: Map<Intent>,
    patterns: Vec<Pattern>,
    by_word: Map<Vec<u32>>,
    /// By the first letter, since each word of a message is held against them.
    by_prefix: HashMap<char, Vec<(Box<str>, u32)>, FixedState>,
    by_class: Vec<Vec<u32>>,
    near: Near<Tag>,
    slips: Vec<Slip>,
    digits: Classes,
    /// How many patterns came with the program; the others are a customer's.
    built_in: usize,
}

impl Lexicon {
    /// The lexicon that comes with the program.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read; a test makes sure that there is none.
    pub fn built_in() -> Result<Lexicon, LexiconError> {
        let mut lexicon = Lexicon::default();
        for (language, table) in TABLES {
            lexicon.add(language, table)?;
        }
        lexicon.prepare();
        lexicon.built_in = lexicon.patterns.len();
        Ok(lexicon)
    }

    /// This lexicon and a customer's table. The table adds words and phrases; one that is there
    /// already keeps its meaning.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read.
    pub fn with(mut self, extra: &str) -> Result<Lexicon, LexiconError> {
        self.add("und", extra)?;
        self.prepare();
        Ok(self)
    }

    /// Makes misspelled words known, once all tables are there.
    pub fn prepare(&mut self) {
        self.digits = self.set(&["digits"]);
        self.slips = self.lone.iter().filter_map(|(word, &(it, _))| Slip::new(word, it)).collect();
        self.slips.sort_unstable_by(|a, b| a.word.cmp(&b.word));
        self.near = Near::default();
        let often = self.set(&MISSPELLED);
        let tags = self.words.iter().map(|(word, entry)| (word, entry.tag(ANY)));
        let mut words: Vec<(&Box<str>, Tag)> =
            tags.filter(|(_, tag)| tag.classes & often != 0).collect();
        words.sort_unstable_by_key(|&(word, _)| word);
        for (word, tag) in words {
            self.near.add(word, tag);
        }
    }

    /// Adds a table in a language.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read.
    pub fn add(&mut self, language: &str, table: &str) -> Result<(), LexiconError> {
        let at = LANGUAGES.iter().position(|&it| it == language).unwrap_or(0);
        let bit = if at == 0 { 0 } else { 1 << at };
        for (number, line) in table.lines().enumerate() {
            let wrong =
                |problem| LexiconError { table: language.to_owned(), line: number + 1, problem };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (class, items) = line.split_once('\t').ok_or(wrong("there is no tab"))?;
            for item in items.split('|').map(str::trim).filter(|item| !item.is_empty()) {
                self.add_item(class.trim(), item, bit).map_err(wrong)?;
            }
        }
        Ok(())
    }

    fn add_item(&mut self, class: &str, item: &str, language: u16) -> Result<(), &'static str> {
        if let Some(intent) = class.strip_prefix("lone.") {
            let intent = Intent::parse(intent).ok_or("no such intent")?;
            self.lone.entry(key(item)).or_insert((intent, language)).1 |= language;
            return Ok(());
        }
        if let Some(intent) = class.strip_prefix("button.") {
            let intent = Intent::parse(intent).ok_or("no such intent")?;
            self.buttons.entry(key(item)).or_insert(intent);
            return Ok(());
        }
        if let Some(intent) = class.strip_prefix("phrase.") {
            let intent = Intent::parse(intent).ok_or("no such intent")?;
            return self.add_pattern(Gives::Phrase(intent), item, language);
        }
        let bit = self.class(class)?;
        if item.contains([' ', '<', '/']) {
            return self.add_pattern(Gives::Class(bit), item, language);
        }
        let tag = Tag { classes: 1 << bit, languages: language };
        if let Some(stem) = item.strip_suffix('*') {
            let stem = key(stem);
            self.prefix_longest = self.prefix_longest.max(stem.len());
            self.prefixes.entry(stem).or_default().add(tag);
            return Ok(());
        }
        let folded = fold(item);
        if folded.len() > 1 {
            let spaced = key(item);
            return self.add_pattern(Gives::Class(bit), &spaced, language);
        }
        self.words.entry(key(item)).or_default().add(tag);
        Ok(())
    }

    /// The bit of a class, made if there is none.
    fn class(&mut self, name: &str) -> Result<u8, &'static str> {
        if let Some(bit) = self.bit(name) {
            return Ok(bit);
        }
        let well_named = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if name.is_empty() || !well_named {
            return Err("a class is named by small letters and _");
        }
        let bit = u8::try_from(self.classes.len()).map_err(|_| "there are too many classes")?;
        if bit >= 128 {
            return Err("there are too many classes");
        }
        self.classes.push(name.into());
        self.by_class.push(Vec::new());
        Ok(bit)
    }

    fn bit(&self, name: &str) -> Option<u8> {
        let at = self.classes.iter().position(|it| **it == *name)?;
        u8::try_from(at).ok()
    }

    /// The set that holds the named classes, as far as they exist.
    pub fn set(&self, names: &[&str]) -> Classes {
        names.iter().filter_map(|name| self.bit(name)).fold(0, |set, bit| set | 1 << bit)
    }

    /// The name of a class.
    pub fn name(&self, bit: u32) -> &str {
        self.classes.get(bit as usize).map_or("", |name| name)
    }

    fn add_pattern(&mut self, gives: Gives, item: &str, language: u16) -> Result<(), &'static str> {
        let mut pattern = Pattern {
            gives,
            elements: Vec::new(),
            unless: 0,
            at_start: false,
            at_end: false,
            language,
            text: item.into(),
        };
        let mut gap = 0;
        for part in item.split_whitespace() {
            match part {
                "^" => pattern.at_start = true,
                "$" => pattern.at_end = true,
                ".." => gap = GAP,
                _ => {
                    if let Some(class) = part.strip_prefix("!<").and_then(|it| it.strip_suffix('>'))
                    {
                        pattern.unless |= 1 << self.class(class)?;
                        continue;
                    }
                    // "l'avis" and "week-end" are two words each.
                    let plain = !part.contains(['/', '<', '*']);
                    let folded = if plain { key(part) } else { part.into() };
                    for part in folded.split(' ') {
                        let any: Result<_, _> = part.split('/').map(|it| self.test(it)).collect();
                        pattern.elements.push(Element { any: any?, gap });
                        gap = 0;
                    }
                }
            }
        }
        let first = pattern.elements.first().ok_or("the phrase has no words")?.any.clone();
        let number = u32::try_from(self.patterns.len()).map_err(|_| "too many phrases")?;
        self.patterns.push(pattern);
        for test in first {
            match test {
                Test::Word(word) => self.by_word.entry(word).or_default().push(number),
                Test::Prefix(stem) => {
                    let first = stem.chars().next().unwrap_or_default();
                    self.by_prefix.entry(first).or_default().push((stem, number));
                }
                Test::Class(bit) => {
                    if let Some(list) = self.by_class.get_mut(usize::from(bit)) {
                        list.push(number);
                    }
                }
            }
        }
        Ok(())
    }

    fn test(&mut self, test: &str) -> Result<Test, &'static str> {
        if let Some(class) = test.strip_prefix('<').and_then(|it| it.strip_suffix('>')) {
            return Ok(Test::Class(self.class(class)?));
        }
        let (stem, open) = test.strip_suffix('*').map_or((test, false), |stem| (stem, true));
        let word = key(stem);
        if word.is_empty() || word.contains(' ') {
            return Err("a word of a phrase folds to none or to several");
        }
        Ok(if open { Test::Prefix(word) } else { Test::Word(word) })
    }

    /// What a lone word, or several words joined by blanks, say by themselves.
    pub fn lone(&self, words: &str) -> Option<Intent> {
        self.lone.get(words).map(|&(intent, _)| intent)
    }

    /// The lone words that can be recognised when misspelled.
    pub(super) fn slips(&self) -> &[Slip] {
        &self.slips
    }

    /// The words that have classes, each with a language that has it.
    pub fn plain_words(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        for (word, entry) in &self.words {
            for tag in &entry.tags {
                if let Some(language) = LANGUAGES.get(tag.languages.trailing_zeros() as usize) {
                    all.push((*language, word.to_string()));
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// What the payload or the text of a button says.
    pub fn button(&self, text: &str) -> Option<Intent> {
        self.buttons.get(&key(text)).copied()
    }

    /// Tags the words of a message and finds its phrases.
    pub fn read(&self, text: &str) -> Reading {
        let folded = fold(text);
        let mut tags: Vec<Tag> =
            folded.words().iter().map(|word| self.tag_or_near(folded.text(word))).collect();
        // A word that the message's language knows means what it means there.
        if let Some(own) = vote(&tags) {
            for (word, tag) in folded.words().iter().zip(&mut tags) {
                if tag.languages & own != 0 && tag.languages != own {
                    let of_own = self.tag_in(folded.text(word), own);
                    if of_own.classes != 0 {
                        *tag = of_own;
                    }
                }
            }
        }
        let mut hits = Vec::new();
        let mut masked = vec![false; tags.len()];
        let scan = Scan { lexicon: self, folded: &folded };
        // Compound words first, then what says that nothing is meant, then the rest.
        scan.all(
            &mut tags,
            &masked,
            |gives| matches!(gives, Gives::Class(_)),
            |tags, hit| {
                if let Gives::Class(bit) = self.patterns[hit.0 as usize].gives {
                    let tag = Tag {
                        classes: 1 << bit,
                        languages: self.patterns[hit.0 as usize].language,
                    };
                    tags[hit.1..hit.2].iter_mut().for_each(|it| it.add(tag));
                }
            },
        );
        let none = Gives::Phrase(Intent::None);
        scan.all(
            &mut tags,
            &masked.clone(),
            |gives| gives == none,
            |_, (pattern, start, end)| {
                masked[start..end].fill(true);
                hits.push(self.hit(pattern, Intent::None, start, end));
            },
        );
        let phrase = |gives| matches!(gives, Gives::Phrase(intent) if intent != Intent::None);
        scan.all(&mut tags, &masked, phrase, |_, (pattern, start, end)| {
            if let Gives::Phrase(intent) = self.patterns[pattern as usize].gives {
                hits.push(self.hit(pattern, intent, start, end));
            }
        });
        Reading { folded, tags, hits }
    }

    fn hit(&self, pattern: u32, intent: Intent, start: usize, end: usize) -> Hit {
        let own = self.built_in > 0 && pattern as usize >= self.built_in;
        Hit { pattern, intent, start, end, own }
    }

    /// A phrase as the table has it.
    pub fn phrase(&self, hit: &Hit) -> &str {
        self.patterns.get(hit.pattern as usize).map_or("", |pattern| &pattern.text)
    }

    /// What is known of a word by itself, or of the word that it is a slip of.
    fn tag_or_near(&self, word: &str) -> Tag {
        let tag = self.tag(word);
        if tag != Tag::default() {
            return tag;
        }
        self.near.find(word).unwrap_or_default()
    }

    /// What is known of a word by itself.
    pub fn tag(&self, word: &str) -> Tag {
        self.tag_in(word, ANY)
    }

    /// What is known of a word in some languages.
    fn tag_in(&self, word: &str, only: u16) -> Tag {
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            return Tag { classes: self.digits, languages: 0 };
        }
        let mut tag = self.words.get(word).map(|entry| entry.tag(only)).unwrap_or_default();
        if let Some(&(_, languages)) = self.lone.get(word) {
            tag.languages |= languages & only;
        }
        for (at, c) in word.char_indices() {
            let end = at + c.len_utf8();
            if end > self.prefix_longest {
                break;
            }
            if end >= 2
                && let Some(more) = self.prefixes.get(&word[..end])
            {
                tag.add(more.tag(only));
            }
        }
        tag
    }

    /// The language that most words speak for.
    pub fn language(&self, reading: &Reading) -> Option<&'static str> {
        let own = vote(&reading.tags)?;
        LANGUAGES.get(own.trailing_zeros() as usize).copied()
    }
}

/// The language that most words speak for, as its bit. A word of many languages says little.
fn vote(tags: &[Tag]) -> Option<u16> {
    let mut votes = [0u32; LANGUAGES.len()];
    for tag in tags {
        if let Some(weight) = 60u32.checked_div(tag.languages.count_ones()) {
            for (at, vote) in votes.iter_mut().enumerate() {
                if tag.languages & 1 << at != 0 {
                    *vote += weight;
                }
            }
        }
    }
    let most = votes.iter().max().copied().filter(|&most| most > 0)?;
    let at = votes.iter().position(|&vote| vote == most)?;
    Some(1 << at)
}

struct Scan<'a> {
    lexicon: &'a Lexicon,
    folded: &'a Folded,
}

impl Scan<'_> {
    fn all(
        &self,
        tags: &mut Vec<Tag>,
        masked: &[bool],
        wanted: impl Fn(Gives) -> bool,
        mut found: impl FnMut(&mut Vec<Tag>, (u32, usize, usize)),
    ) {
        let words = self.folded.words();
        for at in 0..words.len() {
            if masked[at] || words[at].quoted {
                continue;
            }
            let text = self.folded.text(&words[at]);
            let mut seen = |list: &[u32], tags: &mut Vec<Tag>| {
                for &number in list {
                    let pattern = &self.lexicon.patterns[number as usize];
                    if wanted(pattern.gives)
                        && let Some(end) = self.matches(pattern, at, tags, masked)
                    {
                        found(tags, (number, at, end));
                    }
                }
            };
            if let Some(list) = self.lexicon.by_word.get(text) {
                seen(list, tags);
            }
            let first = text.chars().next().unwrap_or_default();
            for (stem, number) in self.lexicon.by_prefix.get(&first).into_iter().flatten() {
                if text.starts_with(&**stem) {
                    seen(&[*number], tags);
                }
            }
            let mut rest = tags[at].classes;
            while rest != 0 {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                seen(&self.lexicon.by_class[bit], tags);
            }
        }
    }

    /// The word after the last of a pattern that begins at a word.
    fn matches(
        &self,
        pattern: &Pattern,
        at: usize,
        tags: &[Tag],
        masked: &[bool],
    ) -> Option<usize> {
        let words = self.folded.words();
        if pattern.at_start && at > 0 && words[at].gap < Gap::Comma {
            return None;
        }
        let end = self.rest(&pattern.elements[1..], at + 1, tags, masked)?;
        if pattern.at_end && words.get(end).is_some_and(|word| word.gap < Gap::Comma && !word.emoji)
        {
            return None;
        }
        if pattern.unless != 0 {
            for (after, word) in words.iter().enumerate().skip(at).take(end - at + 4) {
                if after > at && after >= end && word.gap >= Gap::Comma {
                    break;
                }
                if tags[after].classes & pattern.unless != 0 {
                    return None;
                }
            }
        }
        Some(end)
    }

    fn rest(
        &self,
        elements: &[Element],
        at: usize,
        tags: &[Tag],
        masked: &[bool],
    ) -> Option<usize> {
        let Some((element, others)) = elements.split_first() else { return Some(at) };
        let words = self.folded.words();
        for next in at..words.len().min(at + element.gap + 1) {
            let word: &Word = &words[next];
            if word.gap == Gap::Sentence || word.quoted {
                return None;
            }
            if !masked[next]
                && self.fits(element, next, tags)
                && let Some(end) = self.rest(others, next + 1, tags, masked)
            {
                return Some(end);
            }
        }
        None
    }

    fn fits(&self, element: &Element, at: usize, tags: &[Tag]) -> bool {
        let text = self.folded.text(&self.folded.words()[at]);
        element.any.iter().any(|test| match test {
            Test::Word(word) => **word == *text,
            Test::Prefix(stem) => text.starts_with(&**stem),
            Test::Class(bit) => tags[at].classes & (1 << bit) != 0,
        })
    }
}

/// Words folded and joined by single blanks.
fn key(text: &str) -> Box<str> {
    let folded = fold(text);
    let mut out = String::new();
    for word in folded.words() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(folded.text(word));
    }
    out.into()
}
