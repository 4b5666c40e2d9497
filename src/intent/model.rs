//! Which intent does a message most resemble, where no rule is sure?
//!
//! A linear model over hashed features: letters in groups of two to five, words and pairs of
//! words, the classes that the lexicon gives them and the order these stand in, and the phrases
//! that were found. [`Model::score`] adds up one weight for each feature and intent. The same text
//! gets the same scores on every machine.
//!
//! Leaves to others what scores are enough (`rules`), and where the weights come from (a program
//! of its own trains them; the file says from which data).

use super::Intent;
use super::fold::Gap;
use super::lexicon::{Classes, Lexicon, Reading};

/// How many buckets features are hashed to.
pub const BUCKETS: usize = 1 << BITS;

/// Fewer make words share their weights with others.
const BITS: u32 = 18;

/// How many intents there are.
pub const INTENTS: usize = Intent::ALL.len();

/// A score for each intent, in the order of [`Intent::ALL`].
pub type Scores = [f32; INTENTS];

/// The largest weight that is kept, as a part of the largest that was trained.
const LARGEST: f32 = 0.4;

const MAGIC: &[u8; 8] = b"OPTINT01";

/// A weights file that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It is of another kind or length.
    #[error("these are no weights of this release")]
    Foreign,
}

/// The trained weights.
#[derive(Clone)]
pub struct Model {
    scale: f32,
    trained_on: u64,
    bias: Scores,
    weights: Box<[[i8; INTENTS]]>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("trained_on", &self.trained_on).finish_non_exhaustive()
    }
}

impl Model {
    /// Rounds trained weights to half a byte each.
    pub fn quantise(weights: &[[f32; INTENTS]], bias: Scores, trained_on: u64) -> Model {
        let most = weights.iter().flatten().fold(1e-6_f32, |most, weight| most.max(weight.abs()));
        // The few largest are cut off: the many small ones need the steps.
        let scale = most * LARGEST / 7.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is held to seven")]
        let round = |it: f32| (it / scale).round().clamp(-7.0, 7.0) as i8;
        let weights = weights.iter().map(|row| row.map(round)).collect();
        Model { scale, trained_on, bias, weights }
    }

    /// Reads a weights file.
    ///
    /// # Errors
    ///
    /// Refuses anything but what [`Model::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        let (magic, bytes) = bytes.split_at_checked(8).ok_or(ModelError::Foreign)?;
        let (head, rows) =
            bytes.split_at_checked(8 + 4 + 4 * INTENTS).ok_or(ModelError::Foreign)?;
        if magic != MAGIC || rows.len() != BUCKETS * INTENTS / 2 {
            return Err(ModelError::Foreign);
        }
        let float = |at: usize| {
            let mut part = [0; 4];
            part.copy_from_slice(&head[at..at + 4]);
            f32::from_le_bytes(part)
        };
        let mut trained_on = [0; 8];
        trained_on.copy_from_slice(&head[..8]);
        let mut weights = vec![[0; INTENTS]; BUCKETS].into_boxed_slice();
        // Two weights a byte, each seven too large.
        let halves = rows.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        for (weight, half) in weights.iter_mut().flatten().zip(halves) {
            *weight = half.cast_signed() - 7;
        }
        let bias = std::array::from_fn(|at| float(12 + 4 * at));
        Ok(Model { scale: float(8), trained_on: u64::from_le_bytes(trained_on), bias, weights })
    }

    /// The weights file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.trained_on.to_le_bytes());
        out.extend(self.scale.to_le_bytes());
        self.bias.iter().for_each(|it| out.extend(it.to_le_bytes()));
        let halves: Vec<u8> =
            self.weights.iter().flatten().map(|it| (it + 7).cast_unsigned()).collect();
        out.extend(halves.chunks_exact(2).map(|two| two[0] | two[1] << 4));
        out
    }

    /// The checksum of the data and lexicon that it was trained on.
    pub fn trained_on(&self) -> u64 {
        self.trained_on
    }

    /// Adds up the weights of features.
    pub fn score(&self, features: &[(u32, f32)]) -> Scores {
        let mut scores = [0.0; INTENTS];
        for &(bucket, value) in features {
            let row = &self.weights[bucket as usize % BUCKETS];
            for (score, &weight) in scores.iter_mut().zip(row) {
                *score += f32::from(weight) * value;
            }
        }
        std::array::from_fn(|at| scores[at] * self.scale + self.bias[at])
    }
}

/// How much each group of features weighs.
const LETTERS: f32 = 1.4;
const WORDS: f32 = 1.2;
const CLASSES: f32 = 1.8;
const PHRASES: f32 = 0.5;

/// The sets of classes that features ask for, looked up once.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    gists: [[Classes; 8]; 3],
    verbs: [Classes; 7],
    objects: [Classes; 6],
    leading: Classes,
    small: Classes,
    negative: Classes,
    more: Classes,
    me: Classes,
}

impl Kinds {
    /// Those of a lexicon.
    pub fn new(lexicon: &Lexicon) -> Kinds {
        let set = |names: &[&str]| lexicon.set(names);
        Kinds {
            gists: GISTS.map(|kinds| kinds.map(set)),
            verbs: VERBS.map(set),
            objects: OBJECTS.map(set),
            leading: set(&["stop", "remove", "unsub", "cancel", "neg", "nomore"]),
            small: set(&["func", "courtesy", "now", "filler", "me", "no"]),
            negative: set(&["neg", "no"]),
            more: set(&["nomore"]),
            me: set(&["me"]),
        }
    }
}

/// The features of the words `from..to` of a message.
pub fn features(
    lexicon: &Lexicon,
    kinds: &Kinds,
    reading: &Reading,
    from: usize,
    to: usize,
) -> Vec<(u32, f32)> {
    let mut out = Features { list: Vec::with_capacity(256), since: 0 };
    let words = &reading.folded.words()[from..to];
    for word in words.iter().filter(|word| !word.quoted) {
        out.letters(reading.folded.text(word));
    }
    out.weigh(LETTERS);
    words_of(reading, from, to, &mut out);
    out.weigh(WORDS);
    classes_of(lexicon, kinds, reading, from, to, &mut out);
    out.weigh(CLASSES);
    gists(kinds, reading, from, to, &mut out);
    lone_sentences(lexicon, reading, from, to, &mut out);
    frames(kinds, reading, from, to, &mut out);
    for hit in reading.hits.iter().filter(|hit| hit.start >= from && hit.end <= to) {
        out.add(&[b"r", hit.intent.as_str().as_bytes()]);
        out.add(&[b"R", lexicon.phrase(hit).as_bytes()]);
    }
    let count = words.iter().filter(|word| !word.quoted).count();
    let length = [1, 2, 3, 5, 8, 13, 21].iter().filter(|&&it| it < count).count();
    out.add(&[b"n", &[u8::try_from(length).unwrap_or(0)]]);
    if reading.folded.asks {
        out.add(&[b"?"]);
    }
    if words.iter().any(|word| word.quoted) {
        out.add(&[b"q"]);
    }
    for at in out.since..out.list.len() {
        out.list[at].1 = PHRASES;
    }
    out.list
}

fn words_of(reading: &Reading, from: usize, to: usize, out: &mut Features) {
    let words = &reading.folded.words()[from..to];
    let mut before = ["", ""];
    for word in words.iter().filter(|word| !word.quoted) {
        let text = reading.folded.text(word);
        if word.gap == Gap::Sentence {
            before = ["", ""];
        }
        out.add(&[b"w", text.as_bytes()]);
        out.add(&[b"b", before[1].as_bytes(), b" ", text.as_bytes()]);
        if !before[0].is_empty() {
            out.add(&[b"s", before[0].as_bytes(), b" ", text.as_bytes()]);
        }
        before = [before[1], text];
    }
    out.add(&[b"b", before[1].as_bytes(), b" $"]);
}

fn classes_of(
    lexicon: &Lexicon,
    kinds: &Kinds,
    reading: &Reading,
    from: usize,
    to: usize,
    out: &mut Features,
) {
    let words = &reading.folded.words()[from..to];
    let mut open: [u128; 3] = [0; 3];
    let mut seen: u128 = 0;
    for (at, word) in words.iter().enumerate().filter(|(_, word)| !word.quoted) {
        if word.gap == Gap::Sentence {
            open = [0; 3];
            seen = 0;
        }
        let classes = reading.tags[from + at].classes;
        let text = reading.folded.text(word).as_bytes();
        for (far, &set) in open.iter().enumerate() {
            each(set, |c| out.add(&[b"v", &[u8::from(far > 0)], lexicon.name(c).as_bytes(), text]));
        }
        each(classes & !seen, |c| {
            each(seen, |b| {
                let (low, high) = (lexicon.name(b.min(c)), lexicon.name(b.max(c)));
                out.add(&[b"&", low.as_bytes(), b" ", high.as_bytes()]);
            });
        });
        seen |= classes;
        open = [classes & kinds.leading, open[0], open[1]];
    }
    // The last words that had classes, newest first; zero stands for an unknown word.
    let mut before: [u128; 3] = [0; 3];
    let mut fresh = true;
    for (at, word) in words.iter().enumerate() {
        if word.quoted {
            continue;
        }
        if word.gap == Gap::Sentence {
            each(before[0], |c| out.add(&[b"k$", lexicon.name(c).as_bytes()]));
            before = [0; 3];
            fresh = true;
        }
        let classes = reading.tags[from + at].classes;
        if classes == 0 {
            each(before[0], |c| out.add(&[b"k_", lexicon.name(c).as_bytes()]));
            if before[0] != 0 {
                before = [0, before[0], before[1]];
            }
            fresh = false;
            continue;
        }
        each(classes, |c| {
            let name = lexicon.name(c).as_bytes();
            out.add(&[b"k", name]);
            if fresh {
                out.add(&[b"^k", name]);
            }
            for (far, &old) in before.iter().enumerate() {
                let far = if far == 0 { b"1" } else { b"2" };
                each(old & !(1 << c), |b| {
                    out.add(&[b"p", far, lexicon.name(b).as_bytes(), b">", name]);
                });
            }
        });
        fresh = false;
        before = [classes, before[0], before[1]];
    }
    each(before[0], |c| out.add(&[b"k$", lexicon.name(c).as_bytes()]));
}

/// Which kinds of classes meet in a sentence, and in the whole.
fn gists(kinds: &Kinds, reading: &Reading, from: usize, to: usize, out: &mut Features) {
    let words = &reading.folded.words()[from..to];
    for (number, sets) in kinds.gists.iter().enumerate() {
        let name = &[b'1' + u8::try_from(number).unwrap_or(0)][..];
        let mut whole = 0u8;
        let mut here = 0u8;
        let mut count = 0;
        for (at, word) in words.iter().enumerate().filter(|(_, word)| !word.quoted) {
            if word.gap == Gap::Sentence && count > 0 {
                out.add(&[b"g", name, &[here]]);
                here = 0;
            }
            count += 1;
            for (bit, &set) in sets.iter().enumerate() {
                if reading.tags[from + at].classes & set != 0 {
                    here |= 1 << bit;
                    whole |= 1 << bit;
                }
            }
        }
        let asks = u8::from(reading.folded.asks);
        let short = u8::from(count <= 2) + u8::from(count <= 5);
        out.add(&[b"g", name, &[here]]);
        out.add(&[b"G", name, &[whole, asks]]);
        out.add(&[b"H", name, &[whole, short]]);
    }
}

/// For each verb that matters: whether it is negated, whose it is, and its first object.
fn frames(kinds: &Kinds, reading: &Reading, from: usize, to: usize, out: &mut Features) {
    let words = &reading.folded.words()[from..to];
    let classes = |at: usize| reading.tags[from + at].classes;
    let asks = u8::from(reading.folded.asks);
    let mut start = 0;
    for at in 0..words.len() {
        if words[at].gap == Gap::Sentence {
            start = at;
        }
        if words[at].quoted {
            continue;
        }
        for (verb, &set) in kinds.verbs.iter().enumerate() {
            // The first word of several that make one verb.
            if classes(at) & set == 0 || (at > start && classes(at - 1) & set != 0) {
                continue;
            }
            let end = (at + 1..words.len()).find(|&it| words[it].gap == Gap::Sentence);
            let end = end.unwrap_or(words.len());
            let within = |from: usize, to: usize, set: Classes| {
                u8::from((from.max(start)..to.min(end)).any(|it| classes(it) & set != 0))
            };
            let not = within(at.saturating_sub(4), at, kinds.negative);
            let more = within(at.saturating_sub(4), at + 5, kinds.more);
            let mine = within(at.saturating_sub(2), at + 3, kinds.me);
            let after = (at + 1..end).filter(|&it| classes(it) & set == 0);
            let mut content =
                after.filter(|&it| classes(it) == 0 || classes(it) & !kinds.small != 0);
            let object =
                content.next().map_or(255, |it| {
                    kinds.objects.iter().enumerate().fold(0u8, |bits, (bit, &set)| {
                        bits | u8::from(classes(it) & set != 0) << bit
                    })
                });
            let verb = u8::try_from(verb).unwrap_or(0);
            out.add(&[b"f", &[verb, not, object]]);
            out.add(&[b"F", &[verb, not, more, mine, object]]);
            out.add(&[b"E", &[verb, not, object, asks]]);
        }
    }
}

const VERBS: [&[&str]; 7] =
    [&["stop"], &["remove"], &["unsub"], &["cancel"], &["send"], &["receive"], &["want"]];

const OBJECTS: [&[&str]; 6] = [
    &["order"],
    &["msg"],
    &["list", "contact"],
    &["send", "receive"],
    &["stop", "remove", "unsub", "cancel"],
    &["bother", "nomore"],
];

/// Kinds of classes whose meeting says more than each of them.
const GISTS: [[&[&str]; 8]; 3] = [
    [
        &["stop", "remove", "unsub", "cancel"],
        &["msg", "list", "contact"],
        &["order"],
        &["neg", "nomore", "no"],
        &["me"],
        &["send", "receive"],
        &["bother", "consent", "threat", "asked", "idiom", "law", "cond"],
        &["join", "back", "helpw", "who", "how"],
    ],
    [
        &["idiom", "bother", "insult"],
        &["law", "consent"],
        &["cond", "threat"],
        &["pref", "less"],
        &["wrong", "person"],
        &["msg", "list", "contact", "send", "receive", "channel"],
        &["order", "talk", "digits"],
        &["neg", "nomore", "no", "stop", "remove", "unsub", "cancel"],
    ],
    [
        &["stop", "remove", "unsub", "cancel", "bother", "consent", "asked"],
        &["msg", "list", "contact", "send", "receive"],
        &["order", "digits"],
        &["talk", "yes"],
        &["keep", "like", "interest"],
        &["person"],
        &["neg", "nomore", "no"],
        &["channel"],
    ],
];

/// Sentences that are a lone word.
fn lone_sentences(
    lexicon: &Lexicon,
    reading: &Reading,
    from: usize,
    to: usize,
    out: &mut Features,
) {
    let words = &reading.folded.words()[from..to];
    let ends = |at: usize| at == words.len() || words[at].gap == Gap::Sentence;
    let mut start = 0;
    while start < words.len() {
        let end = (start + 1..=words.len()).find(|&at| ends(at)).unwrap_or(words.len());
        if end - start <= 3 && (start > 0 || end < words.len()) && !words[start].quoted {
            let texts: Vec<&str> =
                words[start..end].iter().map(|word| reading.folded.text(word)).collect();
            if let Some(intent) = lexicon.lone(&texts.join(" ")) {
                let place: &[u8] = match (start, end == words.len()) {
                    (0, _) => b"first",
                    (_, true) => b"last",
                    _ => b"between",
                };
                out.add(&[b"l", intent.as_str().as_bytes(), place]);
            }
        }
        start = end;
    }
}

fn each(mut set: u128, mut visit: impl FnMut(u32)) {
    while set != 0 {
        visit(set.trailing_zeros());
        set &= set - 1;
    }
}

struct Features {
    list: Vec<(u32, f32)>,
    /// Where the group begins that has not been weighed yet.
    since: usize,
}

impl Features {
    fn add(&mut self, parts: &[&[u8]]) {
        let mut hash = SEED;
        for byte in parts.iter().copied().flatten() {
            hash = step(hash, *byte);
        }
        self.list.push((bucket(hash), 0.0));
    }

    /// Groups of two to five letters, with the word's beginning and end.
    fn letters(&mut self, word: &str) {
        let ends = word.char_indices().map(|(at, c)| at + c.len_utf8());
        let bounds: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let count = bounds.len() - 1;
        // Place 0 is the blank before the word, count + 1 the one behind it.
        for start in 0..=count {
            let mut hash = step(SEED, b'c');
            for (taken, place) in (start..=count + 1).enumerate().take(5) {
                if place == 0 || place > count {
                    hash = step(hash, b' ');
                } else {
                    for &byte in &word.as_bytes()[bounds[place - 1]..bounds[place]] {
                        hash = step(hash, byte);
                    }
                }
                if taken >= 1 {
                    self.list.push((bucket(hash), 0.0));
                }
            }
        }
    }

    /// Gives the group's features values whose squares add up to the square of `weight`.
    fn weigh(&mut self, weight: f32) {
        let count = self.list.len() - self.since;
        #[expect(clippy::cast_precision_loss, reason = "a message has few features")]
        let value = weight / (count.max(1) as f32).sqrt();
        self.list[self.since..].iter_mut().for_each(|it| it.1 = value);
        self.since = self.list.len();
    }
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

fn bucket(hash: u64) -> u32 {
    ((hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITS)) as u32
}
