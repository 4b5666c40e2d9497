//! Which other messages would say the same?
//!
//! [`Words::variant`] makes of a labelled message one that a person might as well have typed:
//! words changed for others of the same classes and language, a slip, a greeting before it,
//! ordinary talk beside it. The label stays.
//!
//! Leaves to others how much such a message counts.

use std::collections::HashMap;

use optout::intent::Intent;
use optout::intent::fold::fold;
use optout::intent::lexicon::{LANGUAGES, Lexicon};

use super::Row;

/// Draws by a fixed seed.
pub struct Random(u64);

impl Random {
    /// Those for a message, by its place.
    pub fn of(number: usize) -> Random {
        Random(number as u64 * 7919 + 17)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        it ^ (it >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    fn chance(&mut self, of: f32) -> bool {
        ((self.next() >> 40) as f32) < of * 16_777_216.0
    }
}

/// How often a word is changed for one like it, a word is misspelled, a word is left out, and
/// talk stands beside the message.
const SWAP: f32 = 0.5;
const SLIP: f32 = 0.06;
const DROP: f32 = 0.05;
const BESIDE: f32 = 0.15;

/// The words that may stand for each other, and the talk that may stand beside a message.
pub struct Words<'a> {
    lexicon: &'a Lexicon,
    /// By language and classes.
    alike: HashMap<(&'static str, u128), Vec<String>>,
    /// Short talk by language.
    talk: HashMap<&'a str, Vec<&'a str>>,
    /// Classes whose words may stand for each other in any sentence.
    loose: u128,
}

impl<'a> Words<'a> {
    /// Those of the training data and the lexicon.
    pub fn new(rows: &'a [Row], lexicon: &'a Lexicon) -> Words<'a> {
        let loose = lexicon.set(&[
            "order", "msg", "list", "person", "talk", "now", "like", "insult", "channel",
            "courtesy",
        ]);
        let mut talk: HashMap<&str, Vec<&str>> = HashMap::new();
        for row in rows.iter().filter(|row| row.kind == "business_talk" && row.text.len() < 60) {
            if row.label == Intent::None {
                talk.entry(&row.language).or_default().push(&row.text);
            }
        }
        let mut alike: HashMap<(&'static str, u128), Vec<String>> = HashMap::new();
        for (language, word) in lexicon.plain_words() {
            let classes = lexicon.tag(&word).classes;
            if classes != 0 && classes & !loose == 0 {
                alike.entry((language, classes)).or_default().push(word);
            }
        }
        Words { lexicon, alike, talk, loose }
    }

    /// Another message that says the same.
    pub fn variant(&self, row: &Row, random: &mut Random) -> String {
        let count = row.text.split_whitespace().count();
        let words = row.text.split(' ').filter_map(|word| self.other(row, word, count, random));
        let text = words.collect::<Vec<_>>().join(" ");
        // Beside a call for help it would be a matter, beside a bare refusal the reason.
        let alone = matches!(row.label, Intent::Help | Intent::OptOutLikely);
        if count > 2 && !alone && random.chance(BESIDE) {
            return self.with_talk(row, &text, random);
        }
        text
    }

    /// The word or another for it; none if it is left out.
    fn other(&self, row: &Row, token: &str, count: usize, random: &mut Random) -> Option<String> {
        let folded = fold(token);
        let [word] = folded.words() else { return Some(token.to_owned()) };
        if word.emoji {
            return Some(token.to_owned());
        }
        let classes = self.lexicon.tag(folded.text(word)).classes;
        if classes != 0 && classes & !self.loose == 0 && random.chance(SWAP) {
            let language = LANGUAGES.into_iter().find(|it| **it == row.language).unwrap_or("und");
            if let Some(list) = self.alike.get(&(language, classes)) {
                let tail = token.trim_end_matches(|it: char| ",.!?;:)\n".contains(it)).len();
                return Some(format!("{}{}", list[random.below(list.len())], &token[tail..]));
            }
        }
        if count > 3 && classes == 0 && random.chance(DROP) {
            return None;
        }
        if count > 2 && folded.text(word).chars().count() >= 5 && random.chance(SLIP) {
            return Some(slipped(token, random));
        }
        Some(token.to_owned())
    }

    fn with_talk(&self, row: &Row, text: &str, random: &mut Random) -> String {
        let Some(list) = self.talk.get(&*row.language) else { return text.to_owned() };
        let other = list[random.below(list.len())];
        let mark = [". ", ", ", "\n", "! "][random.below(4)];
        if random.chance(0.5) {
            format!("{other}{mark}{text}")
        } else {
            format!("{text}{mark}{other}")
        }
    }
}

/// A slip of the finger.
fn slipped(word: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let at = 1 + random.below(letters.len() - 2);
    match random.below(3) {
        0 => letters.swap(at, at - 1),
        1 => {
            letters.remove(at);
        }
        _ => letters.insert(at, letters[at]),
    }
    letters.into_iter().collect()
}
