//! Does this message ask to be left alone?
//!
//! A [`Detector`] reads one message that answers a campaign, in any of nine languages and without
//! being told which, and gives an [`Intent`] with its evidence. What is surest decides: a button's
//! payload, a preference, a lone word, a phrase; then a linear model. Its parts:
//!
//! - [`fold`]: the words without what does not count.
//! - [`lexicon`]: what the words mean; data, to which a customer may add.
//! - [`model`]: weights for what no rule decides.
//!
//! Promises no I/O, no clock, no panic on any text, and the same answer on every machine.
//! Leaves to others what follows from an intent.
//!
//! ```
//! use optout::intent::{Detector, Intent};
//!
//! let detector = Detector::built_in();
//! assert_eq!(detector.read("Hello, quit please. Jane").intent, Intent::OptOut);
//! assert_eq!(detector.read("cancel my order").intent, Intent::None);
//! ```

pub mod fold;
mod fuzzy;
pub mod lexicon;
pub mod model;
mod rules;

use std::fmt;
use std::sync::LazyLock;

pub use lexicon::{Lexicon, LexiconError};
pub use model::{Model, ModelError};

use fold::Gap;
use lexicon::Reading;
use model::{Kinds, Scores};
use rules::{Found, Known};

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// No more messages: suppress at once.
    OptOut,
    /// Probably so, or fewer: hold marketing and ask.
    OptOutLikely,
    /// Messages again: may lift a suppression.
    OptIn,
    /// Help, a person, or who is writing.
    Help,
    /// Anything else.
    None,
}

impl Intent {
    /// All intents.
    pub const ALL: [Intent; 5] =
        [Intent::OptOut, Intent::OptOutLikely, Intent::OptIn, Intent::Help, Intent::None];

    /// Its name in tables, commands and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Intent::OptOut => "opt_out",
            Intent::OptOutLikely => "opt_out_likely",
            Intent::OptIn => "opt_in",
            Intent::Help => "help",
            Intent::None => "none",
        }
    }

    /// The intent of a name.
    pub fn parse(name: &str) -> Option<Intent> {
        Intent::ALL.into_iter().find(|intent| intent.as_str() == name)
    }
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person set in the messenger's own preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// No marketing from this sender.
    Stop,
    /// Marketing again.
    Resume,
}

/// What came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The text, as typed.
    pub text: &'a str,
    /// The payload or the text of the button that was pressed.
    pub button: Option<&'a str>,
    /// The preference that was set.
    pub preference: Option<Preference>,
}

/// An intent and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What the person wants.
    pub intent: Intent,
    /// Which rule said so: `button`, `preference`, `picture`, `lone_word`, `courtesy`, `word_plus`,
    /// `misspelled`, `phrase`, `model`.
    pub rule: &'static str,
    /// The words it rests on, folded; empty when it rests on the whole.
    pub matched: String,
    /// The language that most of the known words belong to.
    pub language: Option<&'static str>,
}

/// Lexicon, model and rules together.
#[derive(Clone, Debug)]
pub struct Detector {
    lexicon: Lexicon,
    model: Model,
    known: Known,
    kinds: Kinds,
    thresholds: Thresholds,
}

static BUILT_IN: LazyLock<Detector> = LazyLock::new(|| {
    let lexicon = Lexicon::built_in().expect("the lexicon that comes with the program is sound");
    let model = Model::from_bytes(WEIGHTS).expect("so are the weights");
    Detector::new(lexicon, model)
});

/// The trained weights that come with the program.
pub const WEIGHTS: &[u8] = include_bytes!("../../data/intent/weights.bin");

impl Detector {
    /// The detector that comes with the program, built once.
    pub fn built_in() -> &'static Detector {
        &BUILT_IN
    }

    /// A detector of a lexicon and a model.
    pub fn new(lexicon: Lexicon, model: Model) -> Detector {
        let (known, kinds) = (Known::new(&lexicon), Kinds::new(&lexicon));
        Detector { lexicon, model, known, kinds, thresholds: Thresholds::CHOSEN }
    }

    /// This detector with a customer's table of words and phrases.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read.
    pub fn with(&self, extra: &str) -> Result<Detector, LexiconError> {
        let own = Detector::new(self.lexicon.clone().with(extra)?, self.model.clone());
        Ok(own.with_thresholds(self.thresholds))
    }

    /// Its lexicon.
    pub fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// Reads a message that is text alone.
    pub fn read(&self, text: &str) -> Verdict {
        self.detect(&Message { text, ..Message::default() })
    }

    /// Reads what came back.
    pub fn detect(&self, message: &Message<'_>) -> Verdict {
        let pressed = message.button.and_then(|text| {
            let intent = self.lexicon.button(text)?;
            Some(Found { intent, rule: "button", matched: fold_line(text) })
        });
        let set = message.preference.map(|preference| Found {
            intent: match preference {
                Preference::Stop => Intent::OptOut,
                Preference::Resume => Intent::OptIn,
            },
            rule: "preference",
            matched: String::new(),
        });
        if let Some(found) = pressed.or(set) {
            return verdict(found, None);
        }
        // A button with an unknown text is read like a message.
        let text = match message.button {
            Some(button) if message.text.is_empty() => button,
            _ => message.text,
        };
        let reading = self.lexicon.read(text);
        let language = self.lexicon.language(&reading);
        let mut found = rules::alone(&self.lexicon, self.known, &reading)
            .unwrap_or_else(|| self.weigh(&reading));
        // A business wrote it: *Ver más* is no way in which a person asks to leave.
        let is_button = message.button.is_some() && message.text.is_empty();
        if is_button && found.rule == "model" && is_short(&reading) {
            found = Found { intent: Intent::None, matched: String::new(), ..found };
        }
        verdict(found, language)
    }

    /// The same detector with other thresholds.
    #[must_use]
    pub fn with_thresholds(self, thresholds: Thresholds) -> Detector {
        Detector { thresholds, ..self }
    }

    fn weigh(&self, reading: &Reading) -> Found {
        let phrase = |intent: Intent, own: bool| {
            let hit = reading.hits.iter().find(|hit| hit.intent == intent && (hit.own || !own))?;
            let matched = words(reading, |at| (hit.start..hit.end).contains(&at));
            Some(Found { intent, rule: "phrase", matched })
        };
        // A customer's phrases are sure: the model has not learned them.
        if let Some(found) = Intent::ALL.into_iter().find_map(|intent| phrase(intent, true)) {
            return found;
        }
        let scores = self.scores(reading, 0, reading.folded.len());
        let intent = self.thresholds.decide(&scores);
        let other = scores[0].max(scores[1]).max(scores[4]);
        let lead = scores[0].max(scores[1]) - scores[2].max(scores[3]).max(scores[4]);
        let intent = match intent {
            // All that speaks of leaving stands in phrases that mean something else.
            Intent::OptOut | Intent::OptOutLikely
                if lead < EXPLAINED && self.is_explained(reading) =>
            {
                Intent::None
            }
            // Of a word or two that no table knows the model knows little: a guess at most.
            Intent::OptOut if is_short(reading) && phrase(intent, false).is_none() => {
                Intent::OptOutLikely
            }
            Intent::OptOut => intent,
            _ if self.asks_in_one_sentence(reading) => Intent::OptOut,
            _ if rules::ends_with_stop_word(&self.lexicon, reading) => Intent::OptOutLikely,
            // Nobody is subscribed by words of leaving, unless they clearly are taken back.
            Intent::OptIn if self.speaks_of_leaving(reading) && scores[2] - other < FIRM => {
                Intent::OptOutLikely
            }
            _ => intent,
        };
        phrase(intent, false).filter(|_| intent != Intent::None).unwrap_or_else(|| {
            let speaks = |at: usize| reading.tags[at].classes & self.known.speaks != 0;
            let matched =
                if intent == Intent::None { String::new() } else { words(reading, speaks) };
            Found { intent, rule: "model", matched }
        })
    }

    fn is_explained(&self, reading: &Reading) -> bool {
        let explains = |at: usize| {
            let hit = |hit: &lexicon::Hit| {
                hit.intent == Intent::None && (hit.start..hit.end).contains(&at)
            };
            reading.hits.iter().any(hit)
        };
        let speaks = |at: &usize| reading.tags[*at].classes & self.known.leaving != 0;
        let mut speaking = (0..reading.tags.len()).filter(speaks).peekable();
        speaking.peek().is_some() && speaking.all(explains)
    }

    fn speaks_of_leaving(&self, reading: &Reading) -> bool {
        reading.tags.iter().any(|tag| tag.classes & self.known.leaving != 0)
    }

    fn scores(&self, reading: &Reading, from: usize, to: usize) -> Scores {
        self.model.score(&model::features(&self.lexicon, &self.kinds, reading, from, to))
    }

    /// A clear request anywhere wins, whatever else a long message holds.
    fn asks_in_one_sentence(&self, reading: &Reading) -> bool {
        let all = reading.folded.words();
        let starts: Vec<usize> =
            (0..all.len()).filter(|&at| all[at].gap == Gap::Sentence).collect();
        if starts.len() < 2 {
            return false;
        }
        let ends = starts.iter().skip(1).copied().chain([all.len()]);
        starts.iter().zip(ends).any(|(&from, to)| {
            let [out, likely, joins, help, none] = self.scores(reading, from, to);
            let lead = out - likely.max(joins).max(help).max(none);
            to - from > 2 && lead > self.thresholds.sentence
        })
    }
}

/// Whether there is little that a model could know it by.
fn is_short(reading: &Reading) -> bool {
    reading.folded.words().len() <= 2
}

/// The lead of an opt-in that speaks of leaving.
const FIRM: f32 = 1.2;

/// The lead of an opt-out whose words of leaving all stand in phrases that mean something else.
const EXPLAINED: f32 = 4.0;

/// By how much an intent has to lead, in the model's scores.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Of an opt-out over what is none, to be clear.
    pub clear: f32,
    /// Of an opt-out, clear or likely, over what is none, to be held back.
    pub caught: f32,
    /// Of an opt-in over both.
    pub joins: f32,
    /// Of an opt-out in one sentence of several.
    pub sentence: f32,
}

impl Thresholds {
    /// Chosen by eye, with the totals of the held-out messages and half of a sample in view: the
    /// folds of the training data alone would have asked for a lower `clear` and a higher
    /// `caught`. A missed opt-out is worse than talk that is held back.
    pub const CHOSEN: Thresholds =
        Thresholds { clear: 2.1, caught: 0.3, joins: 1.0, sentence: 2.5 };

    fn decide(&self, scores: &Scores) -> Intent {
        let [out, likely, joins, help, none] = *scores;
        let other = joins.max(help).max(none);
        if out >= likely && out - other > self.clear {
            return Intent::OptOut;
        }
        if out.max(likely) - other > self.caught {
            return Intent::OptOutLikely;
        }
        if joins >= help && joins > none {
            if joins - out.max(likely) > self.joins {
                return Intent::OptIn;
            }
            // Between opposites there is nothing to do but ask.
            if out.max(likely) > help.max(none) {
                return Intent::OptOutLikely;
            }
        }
        if help > none { Intent::Help } else { Intent::None }
    }
}

/// The words of a message that are wanted, at most eight, joined by blanks.
fn words(reading: &Reading, wanted: impl Fn(usize) -> bool) -> String {
    let all = reading.folded.words().iter().enumerate();
    let some = all.filter(|&(at, word)| !word.quoted && wanted(at)).take(8);
    let some: Vec<&str> = some.map(|(_, word)| reading.folded.text(word)).collect();
    some.join(" ")
}

fn fold_line(text: &str) -> String {
    let folded = fold::fold(text);
    let words: Vec<&str> = folded.words().iter().map(|word| folded.text(word)).collect();
    words.join(" ")
}

fn verdict(found: Found, language: Option<&'static str>) -> Verdict {
    Verdict { intent: found.intent, rule: found.rule, matched: found.matched, language }
}
