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
pub mod lexicon;
pub mod model;
mod rules;

use std::fmt;
use std::sync::LazyLock;

pub use lexicon::{Lexicon, LexiconError};
pub use model::{Model, ModelError};

use model::Scores;
use rules::{Found, Known};

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Which rule said so: `button`, `preference`, `picture`, `lone_word`, `word_plus`,
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
}

static BUILT_IN: LazyLock<Detector> = LazyLock::new(|| {
    let lexicon = Lexicon::built_in().unwrap_or_default();
    let model = Model::from_bytes(WEIGHTS).unwrap_or_else(|_| {
        Model::quantise(&vec![[0.0; model::INTENTS]; model::BUCKETS], [0.0; model::INTENTS], 0)
    });
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
        let known = Known::new(&lexicon);
        Detector { lexicon, model, known }
    }

    /// This detector with a customer's table of words and phrases.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read.
    pub fn with(&self, extra: &str) -> Result<Detector, LexiconError> {
        Ok(Detector::new(self.lexicon.clone().with(extra)?, self.model.clone()))
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
        let found = rules::alone(&self.lexicon, self.known, &reading)
            .unwrap_or_else(|| self.weigh(&reading));
        verdict(found, language)
    }

    fn weigh(&self, reading: &lexicon::Reading) -> Found {
        let phrase = |intent| {
            let hit = reading.hits.iter().find(|hit| hit.intent == intent)?;
            let words = &reading.folded.words()[hit.start..hit.end];
            let words: Vec<&str> = words.iter().map(|word| reading.folded.text(word)).collect();
            Some(Found { intent, rule: "phrase", matched: words.join(" ") })
        };
        let features = model::features(&self.lexicon, reading, 0, reading.folded.len());
        let scores = self.model.score(&features);
        let mut intent = decide(&scores);
        let [out, likely, ..] = scores;
        let other = scores[2].max(scores[3]).max(scores[4]);
        if let Some(found) = phrase(Intent::OptOut) {
            // A phrase is sure unless the whole speaks strongly against it.
            if out.max(likely) > other - PHRASE_MARGIN {
                return found;
            }
            if intent == Intent::None || intent == Intent::OptIn {
                intent = Intent::OptOutLikely;
            }
        }
        let matched = phrase(intent).map(|found| found.matched).unwrap_or_default();
        Found { intent, rule: "model", matched }
    }
}

/// By how much the rest may outweigh a phrase that asks to stop.
const PHRASE_MARGIN: f32 = 2.0;

/// By how much an intent has to lead, chosen on training folds. An opt-out missed is worse than
/// talk that is held back, so doubt leans towards likely.
const CLEAR: f32 = 0.3;
const CAUGHT: f32 = -0.4;
const JOINS: f32 = 0.3;

fn decide(scores: &Scores) -> Intent {
    let [out, likely, joins, help, none] = *scores;
    let other = joins.max(help).max(none);
    if out >= likely && out - other > CLEAR {
        return Intent::OptOut;
    }
    if out.max(likely) - other > CAUGHT {
        return Intent::OptOutLikely;
    }
    if joins >= help && joins - none > 0.0 && joins - out.max(likely) > JOINS {
        return Intent::OptIn;
    }
    if help > none { Intent::Help } else { Intent::None }
}

fn fold_line(text: &str) -> String {
    let folded = fold::fold(text);
    let words: Vec<&str> = folded.words().iter().map(|word| folded.text(word)).collect();
    words.join(" ")
}

fn verdict(found: Found, language: Option<&'static str>) -> Verdict {
    Verdict { intent: found.intent, rule: found.rule, matched: found.matched, language }
}
