//! Is this word a slip of that one?
//!
//! [`sounds`] makes one of what is often confused, [`distance`] counts forgotten, added, changed
//! and swapped letters, [`Near`] finds the words of a list that are one slip away.
//!
//! Leaves to others which words may be taken for slips.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Intent;

/// Longer words are not compared.
const LONGEST: usize = 31;

/// Words by what is left of them when one letter is taken away.
#[derive(Clone, Debug, Default)]
pub(super) struct Near<T> {
    words: Vec<(Vec<char>, T)>,
    left: HashMap<Box<str>, Vec<u32>, FixedState>,
}

impl<T: Copy> Near<T> {
    /// Takes in a word of five letters or more.
    pub(super) fn add(&mut self, word: &str, value: T) {
        let letters = sounds(word);
        if letters.len() < 5 || letters.len() > LONGEST {
            return;
        }
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        for left in without_one(&letters) {
            let list = self.left.entry(left.into()).or_default();
            if list.last() != Some(&number) {
                list.push(number);
            }
        }
        self.words.push((letters, value));
    }

    /// The first word, in the order in which they were taken in, that is at most one slip away.
    pub(super) fn find(&self, word: &str) -> Option<T> {
        let letters = sounds(word);
        if letters.len() < 5 || letters.len() > LONGEST || self.words.is_empty() {
            return None;
        }
        let lists = without_one(&letters).filter_map(|left| self.left.get(&*left));
        let fits = |&number: &u32| -> Option<(usize, u32)> {
            let (other, _) = self.words.get(number as usize)?;
            // In a short word another letter makes another word.
            let changed = letters.len() == other.len() && letters.len() < 7;
            let swapped = || {
                let (mut one, mut two) = (letters.clone(), other.clone());
                one.sort_unstable();
                two.sort_unstable();
                one == two
            };
            let distance = distance(&letters, other, 1);
            (distance <= 1 && letters[0] == other[0] && (distance == 0 || !changed || swapped()))
                .then_some((distance, number))
        };
        let (_, best) = lists.flatten().filter_map(fits).min()?;
        self.words.get(best as usize).map(|&(_, value)| value)
    }
}

/// Whether the one letter in which a word differs from a short one can be a slip: most short words
/// are one letter away from ordinary ones. Letters that were swapped, added or forgotten can,
/// unless three are left of four; of others only a neighbour on the keyboard.
pub(super) fn is_slip_of_short(letters: &[char], of: &[char]) -> bool {
    if letters.len() != of.len() {
        return letters.len() > 3;
    }
    let mut differ = letters.iter().zip(of).filter(|(one, other)| one != other);
    match (differ.next(), differ.next()) {
        (Some((&one, &other)), None) => are_neighbours(one, other),
        // Two letters, swapped.
        _ => true,
    }
}

fn are_neighbours(one: char, other: char) -> bool {
    let rows = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let place = |letter: char| {
        rows.iter().enumerate().find_map(|(row, keys)| Some((row, keys.find(letter)?)))
    };
    match (place(one), place(other)) {
        (Some((row, at)), Some((other_row, other_at))) => {
            row.abs_diff(other_row) <= 1 && at.abs_diff(other_at) <= 1
        }
        _ => false,
    }
}

/// A lone word, ready to be compared.
#[derive(Clone, Debug)]
pub(super) struct Slip {
    pub(super) word: Box<str>,
    pub(super) intent: Intent,
    pub(super) letters: Vec<char>,
    /// A bit for each letter in it.
    pub(super) mask: u64,
}

impl Slip {
    /// A word of four letters or more.
    pub(super) fn new(word: &str, intent: Intent) -> Option<Slip> {
        let letters = sounds(word);
        let fits = word.chars().count() >= 4 && !word.contains(' ') && letters.len() <= LONGEST;
        let mask = mask(&letters);
        fits.then(|| Slip { word: word.into(), intent, letters, mask })
    }
}

/// A bit for each letter: words that differ in many bits differ in many letters.
pub(super) fn mask(letters: &[char]) -> u64 {
    letters.iter().fold(0, |mask, &c| mask | 1 << (u32::from(c) % 64))
}

/// The word itself, and the word without each of its letters.
fn without_one(letters: &[char]) -> impl Iterator<Item = String> + '_ {
    (0..=letters.len()).map(|gone| {
        let kept = letters.iter().enumerate().filter(|&(at, _)| at != gone);
        kept.map(|(_, &c)| c).collect()
    })
}

/// The letter that a digit stands for.
pub(super) fn letter_of_digit(c: char) -> char {
    match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        other => other,
    }
}

/// Letters as they sound: what is often confused is one.
pub(super) fn sounds(text: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    for c in text.chars() {
        let c = match letter_of_digit(c) {
            'k' | 'q' => 'c',
            'z' => 's',
            'v' => 'b',
            'y' => 'i',
            c => c,
        };
        if out.last() != Some(&c) {
            out.push(c);
        }
    }
    out
}

/// How many letters were forgotten, added, changed or swapped; more than `most` is `most + 1`.
pub(super) fn distance(a: &[char], b: &[char], most: usize) -> usize {
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut rows = [[0usize; 32]; 3];
    let width = b.len() + 1;
    if width > 32 {
        return most + 1;
    }
    for (at, cell) in rows[0].iter_mut().enumerate().take(width) {
        *cell = at;
    }
    for i in 1..=a.len() {
        let (row, up, far) = (i % 3, (i + 2) % 3, (i + 1) % 3);
        rows[row][0] = i;
        let mut least = i;
        for j in 1..width {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut cell = (rows[up][j - 1] + same).min(rows[up][j] + 1).min(rows[row][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cell = cell.min(rows[far][j - 2] + 1);
            }
            rows[row][j] = cell;
            least = least.min(cell);
        }
        if least > most {
            return most + 1;
        }
    }
    rows[a.len() % 3][width - 1]
}
