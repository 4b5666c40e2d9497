//! Which words are left of a message when everything that does not count is folded away?
//!
//! [`fold`] takes away case, accents, odd letter forms, invisible characters, marks, letters set
//! apart and drawn out; it marks what is only quoted, and drops a mail program's line. Time grows
//! with the length of the text, of which at most [`LONGEST`] bytes are read: of a longer one the
//! beginning and the end.
//!
//! Leaves to others what the words mean (`lexicon`), and which of them are courtesies or names.

use unicode_normalization::char::decompose_compatible;

/// How many bytes of a message are read.
pub const LONGEST: usize = 4096;

/// Of a longer message so many bytes are read at its end.
const END: usize = 1024;

/// What stands between a word and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A hyphen, an apostrophe or another mark, and no blank.
    Joint,
    /// A blank.
    Blank,
    /// Several blanks.
    Wide,
    /// A comma, a dash, a bracket.
    Comma,
    /// The end of a sentence or line; also the beginning of the text.
    Sentence,
}

/// One word of a folded message.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    start: u32,
    end: u32,
    /// What stands before it.
    pub gap: Gap,
    /// It began with a capital letter and went on with small ones, or was a capital alone.
    pub capitalised: bool,
    /// It stands in quotation marks, or in a quoted line.
    pub quoted: bool,
    /// It is a picture, not a word.
    pub emoji: bool,
}

/// A message after folding.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    text: String,
    words: Vec<Word>,
    /// The message ends with a question mark.
    pub asks: bool,
}

impl Folded {
    /// The words, in order.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The letters of a word.
    pub fn text(&self, word: &Word) -> &str {
        &self.text[word.start as usize..word.end as usize]
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether no word is left.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// Folds a message.
pub fn fold(text: &str) -> Folded {
    let mut folder = Folder::default();
    if text.len() <= LONGEST {
        folder.read(text);
    } else {
        folder.read(&text[..text.floor_char_boundary(LONGEST - END)]);
        folder.end_word();
        folder.gap = Gap::Sentence;
        folder.read(&text[text.ceil_char_boundary(text.len() - END)..]);
    }
    folder.finish()
}

/// Reads characters and gathers words.
struct Folder {
    out: Folded,
    /// Where the word being read begins, if one is.
    start: Option<usize>,
    gap: Gap,
    /// Only blanks so far on this line.
    line_start: bool,
    quoted_line: bool,
    /// The mark that closes the open quotation, and the first word in it.
    quote: Option<(char, usize)>,
    first_upper: bool,
    later_upper: bool,
    letters: usize,
    asks: bool,
}

impl Default for Folder {
    fn default() -> Folder {
        Folder {
            out: Folded::default(),
            start: None,
            gap: Gap::Sentence,
            line_start: true,
            quoted_line: false,
            quote: None,
            first_upper: false,
            later_upper: false,
            letters: 0,
            asks: false,
        }
    }
}

impl Folder {
    fn read(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if is_invisible(c) {
                continue;
            }
            if is_letter(c) {
                self.letter(c);
            } else if is_apostrophe(c) {
                let next = chars.peek().copied().is_some_and(is_letter);
                self.apostrophe(c, next);
            } else if (c == '@' || c == '$')
                && self.start.is_some() != chars.peek().copied().is_some_and(is_letter)
            {
                self.other(c);
            } else if c == '@' || c == '$' {
                self.push(if c == '@' { 'a' } else { 's' });
            } else {
                self.other(c);
            }
        }
    }

    fn letter(&mut self, c: char) {
        self.line_start = false;
        if self.start.is_none() {
            self.start = Some(self.out.text.len());
            self.first_upper = c.is_uppercase();
            self.later_upper = false;
            self.letters = 0;
        } else {
            self.later_upper |= c.is_uppercase();
        }
        self.letters += 1;
        if c.is_ascii() {
            self.out.text.push(c.to_ascii_lowercase());
        } else if let Some(plain) = odd_letter(c) {
            self.out.text.push_str(plain);
        } else if ('\u{1F150}'..='\u{1F169}').contains(&c) {
            self.offset(c, 0x1F150);
        } else if ('\u{1F170}'..='\u{1F189}').contains(&c) {
            self.offset(c, 0x1F170);
        } else if ('\u{1F1E6}'..='\u{1F1FF}').contains(&c) {
            self.offset(c, 0x1F1E6);
        } else {
            let text = &mut self.out.text;
            decompose_compatible(c, |part| {
                if is_mark(part) || is_invisible(part) {
                } else if let Some(plain) = odd_letter(part) {
                    text.push_str(plain);
                } else if part.is_alphanumeric() || is_vowel_sign(part) {
                    text.extend(part.to_lowercase());
                }
            });
        }
    }

    fn offset(&mut self, c: char, base: u32) {
        let letter = u8::try_from(u32::from(c) - base).unwrap_or(0);
        self.out.text.push(char::from(b'a' + letter.min(25)));
    }

    fn push(&mut self, c: char) {
        if self.start.is_none() {
            self.letter(c);
        } else {
            self.letters += 1;
            self.out.text.push(c);
        }
    }

    fn apostrophe(&mut self, c: char, before_letter: bool) {
        match self.start {
            Some(start) if before_letter => {
                // "l'offre" is two words, "don't" is one.
                if ELISIONS.contains(&&self.out.text[start..]) {
                    self.end_word();
                    self.widen(Gap::Joint);
                }
            }
            Some(_) => {
                self.end_word();
                self.close_quote('\'');
            }
            None if before_letter && self.quote.is_none() && c != '`' => {
                self.quote = Some(('\'', self.out.words.len()));
            }
            None => self.close_quote('\''),
        }
    }

    fn other(&mut self, c: char) {
        self.end_word();
        match c {
            '\n' | '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{b}' | '\u{c}' => {
                self.widen(Gap::Sentence);
                self.line_start = true;
                self.quoted_line = false;
            }
            '>' if self.line_start => self.quoted_line = true,
            '.' | '!' | '?' | '…' | ';' | '।' | '॥' | '؟' | '۔' | '。' | '！' | '？' | '‼'
            | '⁉' | '‽' | '¡' | '¿' => {
                self.asks = matches!(c, '?' | '؟' | '？') || (self.asks && c != '.');
                self.widen(Gap::Sentence);
            }
            ',' | ':' | '،' | '؛' | '(' | ')' | '[' | ']' | '—' | '–' | '→' | '/' | '|' | '+'
            | '=' => {
                self.widen(Gap::Comma);
            }
            '"' | '“' | '”' | '„' | '«' | '»' | '‹' | '›' | '‟' | '「' | '」' => {
                self.quote_mark(c)
            }
            c if c.is_whitespace() => {
                self.gap = match self.gap {
                    Gap::Joint => Gap::Blank,
                    Gap::Blank => Gap::Wide,
                    gap => gap,
                };
            }
            c if is_emoji(c) => self.emoji(c),
            // A hyphen between blanks is a dash.
            '-' if self.gap >= Gap::Blank => self.widen(Gap::Comma),
            _ => {}
        }
        if !c.is_whitespace() {
            self.line_start = false;
        }
    }

    fn emoji(&mut self, c: char) {
        let start = self.out.text.len();
        self.out.text.push(c);
        let gap = std::mem::replace(&mut self.gap, Gap::Blank);
        self.out.words.push(Word {
            start: index(start),
            end: index(self.out.text.len()),
            gap,
            capitalised: false,
            quoted: self.quoted_line,
            emoji: true,
        });
    }

    fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn quote_mark(&mut self, c: char) {
        if self.quote.is_some_and(|(close, _)| closes(close, c)) {
            self.close_quote(self.quote.map_or('"', |(close, _)| close));
        } else if self.quote.is_none_or(|(close, _)| close == '\'') {
            let close = if c == '«' { '»' } else { '"' };
            self.quote = Some((close, self.out.words.len()));
        }
        self.widen(Gap::Joint);
    }

    fn close_quote(&mut self, with: char) {
        if let Some((close, first)) = self.quote
            && close == with
        {
            for word in &mut self.out.words[first..] {
                word.quoted = true;
            }
            self.quote = None;
        }
    }

    fn end_word(&mut self) {
        let Some(start) = self.start.take() else { return };
        let end = self.out.text.len();
        if start == end {
            return;
        }
        let gap = std::mem::replace(&mut self.gap, Gap::Joint);
        self.asks = false;
        self.out.words.push(Word {
            start: index(start),
            end: index(end),
            gap,
            capitalised: self.first_upper && (!self.later_upper || self.letters == 1),
            quoted: self.quoted_line,
            emoji: false,
        });
    }

    fn finish(mut self) -> Folded {
        self.end_word();
        self.out.asks = self.asks;
        let mut folded = join_letters(&self.out);
        squeeze(&mut folded);
        let cut = mail_line(&folded);
        folded.words.truncate(cut);
        if folded.words.iter().all(|word| word.quoted || word.emoji) {
            folded.words.iter_mut().for_each(|word| word.quoted = false);
        }
        folded
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Joins letters that stand apart: `q u i t`, `q.u.i.t`. A wider gap parts words.
fn join_letters(folded: &Folded) -> Folded {
    let mut out = Folded { asks: folded.asks, ..Folded::default() };
    out.text.reserve(folded.text.len());
    let words = &folded.words;
    let single = |at: usize| -> bool {
        words.get(at).is_some_and(|word| {
            let mut letters = folded.text(word).chars().filter(|&c| !is_vowel_sign(c));
            // A vowel sign may stand apart from its letter.
            !word.emoji
                && letters.next().is_none_or(char::is_alphabetic)
                && letters.next().is_none()
        })
    };
    let mut at = 0;
    while at < words.len() {
        let mut run = at;
        if single(at) {
            run = at + 1;
            while single(run) && words[run].gap != Gap::Wide && words[run].gap == words[at + 1].gap
            {
                run += 1;
            }
        }
        let few = words.get(at + 1).is_some_and(|word| word.gap != Gap::Blank);
        let enough = if few { 3 } else { 4 };
        let end = if run - at >= enough { run } else { at + 1 };
        let start = out.text.len();
        for word in &words[at..end] {
            out.text.push_str(folded.text(word));
        }
        let (start, stop) = (index(start), index(out.text.len()));
        out.words.push(Word { start, end: stop, ..words[at] });
        at = end;
    }
    out
}

/// Draws drawn-out letters together: three and more of one letter become one. Words that were
/// written in letters that only look like Latin ones become Latin.
fn squeeze(folded: &mut Folded) {
    let mut text = String::with_capacity(folded.text.len());
    for at in 0..folded.words.len() {
        let word = folded.words[at];
        let start = text.len();
        let old = &folded.text[word.start as usize..word.end as usize];
        let latin = lookalike(old);
        let old = latin.as_deref().unwrap_or(old);
        let mut chars = old.chars().peekable();
        while let Some(c) = chars.next() {
            let mut count = 1;
            while chars.peek() == Some(&c) {
                chars.next();
                count += 1;
            }
            text.push(c);
            if count == 2 || (count > 2 && c.is_numeric()) {
                text.push(c);
            }
        }
        folded.words[at].start = index(start);
        folded.words[at].end = index(text.len());
    }
    folded.text = text;
}

/// A word of Cyrillic or Greek letters all of which look like Latin ones, in Latin letters.
fn lookalike(word: &str) -> Option<String> {
    if word.is_ascii() || !word.chars().any(|c| ('\u{370}'..='\u{52F}').contains(&c)) {
        return None;
    }
    let has_latin = word.chars().any(|c| c.is_ascii_alphabetic());
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        match latin_of(c) {
            _ if c.is_ascii() => out.push(c),
            Some(latin) => out.push(latin),
            None if has_latin => out.push(c),
            None => return None,
        }
    }
    Some(out)
}

fn latin_of(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'һ' => 'h',
        'і' | 'ι' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'м' => 'm',
        'ո' => 'n',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' => 'y',
        _ => return None,
    })
}

/// Where the line of a mail program begins; the number of words if there is none.
fn mail_line(folded: &Folded) -> usize {
    let words = &folded.words;
    for (at, word) in words.iter().enumerate() {
        if at == 0 || word.gap < Gap::Comma {
            continue;
        }
        let is = |offset: usize, list: &[&str]| {
            words.get(at + offset).is_some_and(|word| list.contains(&folded.text(word)))
        };
        let has = |list: &[&str]| (1..7).any(|offset| is(offset, list));
        let sent = is(
            0,
            &[
                "sent",
                "enviado",
                "envoye",
                "inviato",
                "gesendet",
                "dikirim",
                "von",
                "get",
                "obtener",
                "obter",
                "mera",
                "مرسل",
                "ارسلت",
                "تم",
                "मेरे",
            ],
        );
        if sent && has(DEVICES) {
            return at;
        }
    }
    words.len()
}

const DEVICES: &[&str] = &[
    "iphone",
    "ipad",
    "android",
    "outlook",
    "samsung",
    "galaxy",
    "huawei",
    "xiaomi",
    "yahoo",
    "gmail",
    "ios",
    "blackberry",
    "motorola",
    "dispositivo",
    "smartphone",
    "handy",
    "mobile",
    "movil",
    "celular",
    "telefono",
    "phone",
    "mail",
    "hp",
    "redmi",
    "oppo",
    "vivo",
    "الايفون",
    "ايفون",
];

/// What stands before an apostrophe that parts two words.
const ELISIONS: &[&str] = &[
    "l", "d", "m", "n", "s", "t", "c", "j", "qu", "jusqu", "lorsqu", "puisqu", "quelqu", "dell",
    "all", "dall", "nell", "sull", "un", "quest", "quell", "v", "tutt", "nient", "senz", "anch",
];

fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    c.is_alphanumeric()
        || is_mark(c)
        || is_vowel_sign(c)
        || ('\u{1F130}'..='\u{1F149}').contains(&c)
        || ('\u{1F150}'..='\u{1F169}').contains(&c)
        || ('\u{1F170}'..='\u{1F189}').contains(&c)
        || ('\u{1F1E6}'..='\u{1F1FF}').contains(&c)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | 'ʹ' | '`' | '´' | '′' | '＇' | '‛')
}

/// Marks above and below letters, that are dropped.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36F}' | '\u{483}'..='\u{487}' | '\u{610}'..='\u{61A}' | '\u{640}'
        | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{6D6}'..='\u{6DC}' | '\u{6DF}'..='\u{6E4}'
        | '\u{93C}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}')
}

/// Signs of Indian scripts that are part of a word.
fn is_vowel_sign(c: char) -> bool {
    ('\u{900}'..='\u{DFF}').contains(&c) && !matches!(c, '\u{964}' | '\u{965}')
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFC}'
        | '\u{1F3FB}'..='\u{1F3FF}' | '\u{E0000}'..='\u{E0FFF}' | '\0'..='\u{8}' | '\u{E}'..='\u{1F}')
}

fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{1F000}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{2B00}'..='\u{2BFF}'
        | '\u{23CF}'..='\u{23FA}' | '\u{25A0}'..='\u{25FF}')
}

fn closes(close: char, c: char) -> bool {
    match close {
        '»' => matches!(c, '»' | '«'),
        '"' => matches!(c, '"' | '”' | '“' | '»' | '›' | '‟' | '」'),
        other => other == c,
    }
}

/// Letters that Unicode does not decompose, and some that sound alike.
fn odd_letter(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' | 'ð' => "d",
        'ı' => "i",
        'ɑ' | 'ᴀ' => "a",
        'ʙ' => "b",
        'ᴄ' => "c",
        'ᴅ' => "d",
        'ᴇ' => "e",
        'ꜰ' => "f",
        'ɢ' | 'ɡ' => "g",
        'ʜ' => "h",
        'ɪ' => "i",
        'ᴊ' => "j",
        'ᴋ' => "k",
        'ʟ' => "l",
        'ᴍ' => "m",
        'ɴ' => "n",
        'ᴏ' => "o",
        'ᴘ' => "p",
        'ꞯ' => "q",
        'ʀ' => "r",
        'ꜱ' => "s",
        'ᴛ' => "t",
        'ᴜ' => "u",
        'ᴠ' => "v",
        'ᴡ' => "w",
        'ʏ' => "y",
        'ᴢ' => "z",
        'آ' | 'أ' | 'إ' | 'ٱ' => "ا",
        'ى' | 'ی' | 'ئ' => "ي",
        'ة' | 'ہ' | 'ھ' => "ه",
        'ؤ' => "و",
        'ک' => "ك",
        'ء' => "",
        'ँ' => "ं",
        '٠'..='٩' | '०'..='९' => "0",
        _ => return None,
    })
}
