//! What does a message say by itself, before anything has to be weighed?
//!
//! [`alone`] decides what is left of a message when courtesies, names, repetitions and pictures
//! beside the word are taken away: a lone word, a lone word with its object, a misspelled one, or
//! pictures alone.
//!
//! Leaves phrases to `lexicon` and doubt to `model`.

use super::Intent;
use super::fold::{Folded, Gap, Word};
use super::fuzzy::{Slip, distance, is_slip_of_short, letter_of_digit, mask, sounds};
use super::lexicon::{Classes, Lexicon, Reading};

/// Classes that the rules know by name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    courtesy: Classes,
    beside: Classes,
    object: Classes,
    ordinary: Classes,
    weak: Classes,
    yes: Classes,
    /// Words of leaving and refusing.
    pub(super) leaving: Classes,
    /// What speaks for some intent; it is shown as evidence.
    pub(super) speaks: Classes,
}

impl Known {
    pub(super) fn new(lexicon: &Lexicon) -> Known {
        Known {
            courtesy: lexicon.set(&["courtesy"]),
            beside: lexicon.set(&["me", "msg", "list", "now", "func", "filler", "contact"]),
            object: lexicon.set(&["me", "msg", "list", "contact"]),
            ordinary: lexicon.set(&["ordinary"]),
            weak: lexicon.set(&["weak"]),
            yes: lexicon.set(&["yes"]),
            leaving: lexicon.set(&[
                "neg", "no", "nomore", "stop", "remove", "unsub", "cancel", "consent", "idiom",
            ]),
            speaks: lexicon.set(&[
                "stop", "remove", "unsub", "cancel", "neg", "nomore", "no", "send", "receive",
                "msg", "list", "contact", "me", "bother", "consent", "threat", "asked", "wrong",
                "less", "join", "back", "helpw", "who", "idiom", "law", "pref", "cond",
            ]),
        }
    }
}

/// What was found, and by which rule.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) intent: Intent,
    pub(super) rule: &'static str,
    pub(super) matched: String,
}

fn found(intent: Intent, rule: &'static str, matched: impl Into<String>) -> Option<Found> {
    Some(Found { intent, rule, matched: matched.into() })
}

/// Decides a message that is one word, or as good as one.
pub(super) fn alone(lexicon: &Lexicon, known: Known, reading: &Reading) -> Option<Found> {
    let folded = &reading.folded;
    if !folded.is_empty() && folded.words().iter().all(|word| word.emoji) {
        return pictures(lexicon, folded);
    }
    // First as it stands: a courtesy of one language is a stop word of another.
    let all: Vec<usize> = (0..folded.len())
        .filter(|&at| !folded.words()[at].quoted && !folded.words()[at].emoji)
        .collect();
    if let Some(found) = exact(lexicon, folded, once(folded, &all)) {
        return Some(found);
    }
    let mut core: Vec<usize> = Vec::new();
    for (at, word) in folded.words().iter().enumerate() {
        let courtesy = reading.tags[at].classes & known.courtesy != 0;
        let is_lone = lexicon.lone(folded.text(word)).is_some();
        if !word.quoted && !word.emoji && (!courtesy || is_lone) {
            core.push(at);
        }
    }
    let agrees = |&at: &usize| reading.tags[at].classes & known.yes != 0;
    if core.iter().all(agrees) {
        // Thanks, or yes: the question that it answers is not known. A picture beside it may say more.
        let picture = pictures(lexicon, folded).filter(|it| it.intent != Intent::None);
        return picture.or_else(|| found(Intent::None, "courtesy", ""));
    }
    if core.len() > 12 {
        return None;
    }
    let core = once(folded, &core);
    if let Some(found) = exact(lexicon, folded, core) {
        return Some(found);
    }
    if let Some(found) = signed(lexicon, reading, core) {
        return Some(found);
    }
    // What asks a question, or means nothing, is left to the phrases.
    if folded.asks || reading.hits.iter().any(|hit| hit.intent != Intent::OptOut) {
        return None;
    }
    beside(lexicon, known, reading, core).or_else(|| misspelled(lexicon, known, reading, core))
}

/// Whether the last sentence of several is a lone stop word.
pub(super) fn ends_with_stop_word(lexicon: &Lexicon, reading: &Reading) -> bool {
    let folded = &reading.folded;
    let words: Vec<&Word> =
        folded.words().iter().filter(|word| !word.quoted && !word.emoji).collect();
    let Some(start) = words.iter().rposition(|word| word.gap == Gap::Sentence) else {
        return false;
    };
    if folded.asks || start == 0 || words.len() - start > 3 {
        return false;
    }
    let texts: Vec<&str> = words[start..].iter().map(|word| folded.text(word)).collect();
    lexicon.lone(&texts.join(" ")) == Some(Intent::OptOut)
}

fn pictures(lexicon: &Lexicon, folded: &Folded) -> Option<Found> {
    let meanings = || {
        folded.words().iter().filter_map(|word| {
            let text = folded.text(word);
            lexicon.lone(text).map(|intent| (intent, text))
        })
    };
    let (intent, text) = meanings()
        .find(|&(intent, _)| intent == Intent::OptOut)
        .or_else(|| meanings().find(|&(intent, _)| intent == Intent::OptOutLikely))
        .unwrap_or((Intent::None, ""));
    found(intent, "picture", text)
}

/// The words without repetition: `quit quit quit` is `quit`.
fn once<'a>(folded: &Folded, core: &'a [usize]) -> &'a [usize] {
    let text = |at: usize| folded.text(&folded.words()[core[at]]);
    for period in 1..=core.len() / 2 {
        if core.len().is_multiple_of(period)
            && (period..core.len()).all(|at| text(at) == text(at - period))
        {
            return &core[..period];
        }
    }
    core
}

fn joined(folded: &Folded, core: &[usize], with: &str) -> String {
    let mut out = String::new();
    for &at in core {
        if !out.is_empty() {
            out.push_str(with);
        }
        out.push_str(folded.text(&folded.words()[at]));
    }
    out
}

fn exact(lexicon: &Lexicon, folded: &Folded, core: &[usize]) -> Option<Found> {
    if core.len() > 5 {
        return None;
    }
    let words = joined(folded, core, " ");
    if let Some(intent) = lexicon.lone(&words) {
        return found(intent, "lone_word", words);
    }
    let word = joined(folded, core, "");
    if core.len() > 1
        && let Some(intent) = lexicon.lone(&word).filter(|_| word.len() > 3)
    {
        return found(intent, "lone_word", word);
    }
    // The word several times without a blank, or drawn out to double letters.
    if core.len() == 1 && word.is_ascii() {
        for length in 3..=word.len() / 2 {
            let part = &word[..length];
            if word.len().is_multiple_of(length)
                && word.as_bytes().chunks(length).all(|it| it == part.as_bytes())
                && let Some(intent) = lexicon.lone(part)
            {
                return found(intent, "lone_word", part);
            }
        }
        let mut letters: Vec<u8> = word.bytes().collect();
        letters.dedup();
        let letters = String::from_utf8(letters).unwrap_or_default();
        if letters.len() > 2
            && let Some(intent) = lexicon.lone(&letters)
        {
            return found(intent, "lone_word", letters);
        }
        let plain: String = word.chars().map(letter_of_digit).collect();
        if plain != word
            && let Some(intent) = lexicon.lone(&plain)
        {
            return found(intent, "lone_word", plain);
        }
    }
    None
}

/// The word and behind it a name.
fn signed(lexicon: &Lexicon, reading: &Reading, core: &[usize]) -> Option<Found> {
    let folded = &reading.folded;
    let word = |at: usize| -> &Word { &folded.words()[core[at]] };
    for length in (1..core.len().min(5)).rev() {
        let rest = length..core.len();
        if rest.len() > 6 || word(length).gap < Gap::Comma {
            continue;
        }
        let Some(intent) = lexicon.lone(&joined(folded, &core[..length], " ")) else { continue };
        let name = rest.clone().all(|at| {
            let digits = folded.text(word(at)).bytes().all(|b| b.is_ascii_digit());
            (word(at).capitalised || digits) && reading.tags[core[at]].classes == 0
        });
        let one = rest.len() == 1 && reading.tags[core[length]].classes == 0;
        if name || one {
            return found(intent, "lone_word", joined(folded, &core[..length], " "));
        }
    }
    None
}

/// The word with its object: `cancel messages`, `quit now`, `my number: delete`.
fn beside(lexicon: &Lexicon, known: Known, reading: &Reading, core: &[usize]) -> Option<Found> {
    let folded = &reading.folded;
    for length in (1..=core.len().min(4)).rev() {
        for start in 0..=core.len() - length {
            let words = joined(folded, &core[start..start + length], " ");
            let intent = match lexicon.lone(&words) {
                Some(intent @ (Intent::OptOut | Intent::OptOutLikely)) => intent,
                _ => continue,
            };
            let others = || core[..start].iter().chain(&core[start + length..]);
            let digits =
                |at: usize| folded.text(&folded.words()[at]).bytes().all(|b| b.is_ascii_digit());
            if !others().all(|&at| reading.tags[at].classes & known.beside != 0 || digits(at)) {
                continue;
            }
            let has_object = others().any(|&at| reading.tags[at].classes & known.object != 0);
            match intent {
                Intent::OptOut => return found(Intent::OptOut, "word_plus", words),
                _ if has_object && lexicon.tag(&words).classes & known.weak != 0 => {
                    return found(Intent::OptOut, "word_plus", words);
                }
                _ => {}
            }
        }
    }
    None
}

/// A misspelled word, alone or with its object.
fn misspelled(lexicon: &Lexicon, known: Known, reading: &Reading, core: &[usize]) -> Option<Found> {
    let folded = &reading.folded;
    if core.len() > 4 {
        return None;
    }
    let mut best: Option<(Intent, &str)> = None;
    for &at in core {
        let text = folded.text(&folded.words()[at]);
        let tag = reading.tags[at];
        if tag.classes & known.beside != 0 {
            continue;
        }
        if tag.classes & known.ordinary != 0 || best.is_some() || lexicon.lone(text).is_some() {
            return None;
        }
        // A word of leaving may be the very slip; one that means something else hardly is.
        let surer = core.len() > 1 || tag.classes & !known.leaving != 0;
        best = Some(nearest(lexicon, text, surer)?);
    }
    let (intent, word) = best?;
    // Only a stop word keeps its meaning with something beside it.
    (intent == Intent::OptOut || core.len() == 1).then(|| found(intent, "misspelled", word))?
}

/// The lone word that a word is a slip of, if it is one.
fn nearest<'a>(lexicon: &'a Lexicon, text: &str, surer: bool) -> Option<(Intent, &'a str)> {
    let letters: Vec<char> = sounds(text);
    let shortest = if surer { 6 } else { 4 };
    if letters.len() < 3 || letters.len() > 24 || text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bits = mask(&letters);
    let mut best: Option<(usize, &Slip)> = None;
    for slip in lexicon.slips() {
        let long = slip.word.chars().count();
        let allowed = if long >= 8 && !surer { 2 } else { 1 };
        // Nobody is subscribed, or sent a help text, by a long stretch.
        let allowed = if slip.intent == Intent::OptOut { allowed } else { 1 };
        if long < shortest
            || slip.letters.len().abs_diff(letters.len()) > allowed
            || (slip.mask ^ bits).count_ones() as usize > 2 * allowed
            || (long < 6 && slip.letters.first() != letters.first())
        {
            continue;
        }
        let distance = distance(&letters, &slip.letters, allowed);
        if distance == 1 && long < 6 && !is_slip_of_short(&letters, &slip.letters) {
            continue;
        }
        // At a tie it is a stop word.
        let nearer = |&(least, other): &(usize, &Slip)| {
            distance < least
                || (distance == least
                    && slip.intent == Intent::OptOut
                    && other.intent != Intent::OptOut)
        };
        if distance <= allowed && best.as_ref().is_none_or(nearer) {
            best = Some((distance, slip));
        }
    }
    best.map(|(_, slip)| (slip.intent, &*slip.word))
}
