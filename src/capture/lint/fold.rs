//! The letters that a reader sees, whatever characters they are written with.
//!
//! Case, accents, full-width and mathematical forms, invisible characters and letters of other
//! alphabets that look Latin are folded away; each letter remembers where it stood.

use std::ops::Range;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// A folded text.
pub(super) struct Folded {
    letters: Vec<char>,
    places: Vec<Range<usize>>,
}

/// A run of letters and digits.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    /// Its letters.
    pub(super) letters: Range<usize>,
    /// The sentence that it stands in.
    pub(super) sentence: usize,
}

impl Folded {
    pub(super) fn new(text: &str) -> Folded {
        let (mut letters, mut places) = (Vec::new(), Vec::new());
        for (at, c) in text.char_indices().filter(|&(_, c)| !is_invisible(c)) {
            decompose_compatible(c, |part| {
                if !is_combining_mark(part) {
                    for lower in part.to_lowercase().filter(|&it| !is_combining_mark(it)) {
                        letters.push(latin(lower));
                        places.push(at..at + c.len_utf8());
                    }
                }
            });
        }
        Folded { letters, places }
    }

    pub(super) fn letters(&self) -> &[char] {
        &self.letters
    }

    /// Where a run of letters stood in the text.
    pub(super) fn place(&self, run: Range<usize>) -> Range<usize> {
        let begin = self.places.get(run.start).map_or(0, |it| it.start);
        let end = run.end.checked_sub(1).and_then(|last| self.places.get(last));
        begin..end.map_or(begin, |it| it.end.max(begin))
    }

    /// Runs without a blank.
    pub(super) fn runs(&self) -> Vec<Range<usize>> {
        self.split(|c| !c.is_whitespace())
    }

    pub(super) fn words(&self) -> Vec<Word> {
        let mut sentence = 0;
        let mut seen = 0;
        let word = |letters: Range<usize>| {
            let between = self.letters.get(seen..letters.start).unwrap_or_default();
            sentence += usize::from(between.iter().any(|&c| ends_sentence(c)));
            seen = letters.end;
            let text = self.letters[letters.clone()].iter().collect();
            Word { text, letters, sentence }
        };
        self.split(char::is_alphanumeric).into_iter().map(word).collect()
    }

    fn split(&self, within: impl Fn(char) -> bool) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, &c) in self.letters.iter().enumerate().filter(|&(_, &c)| within(c)) {
            debug_assert!(within(c));
            match runs.last_mut().filter(|run| run.end == at) {
                Some(run) => run.end = at + 1,
                None => runs.push(at..at + 1),
            }
        }
        runs
    }
}

pub(super) fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | ';' | '\n' | '¡' | '¿' | '…' | '।' | '؟')
}

/// Characters that nobody sees, some of which turn the direction of what is seen.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{e0000}'..='\u{e007f}')
}

/// The Latin letter that a letter looks like.
fn latin(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'һ' | 'н' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'п' => 'n',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        '。' | '｡' | '․' | '۔' | '︒' => '.',
        '∕' | '⁄' => '/',
        '٪' | '﹪' => '%',
        '：' | '∶' => ':',
        _ => c,
    }
}
