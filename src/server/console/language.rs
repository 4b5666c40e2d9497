//! In which language, and how are dates and numbers written in it?

use axum::http::{HeaderMap, header};
use jiff::civil::Date;

use super::texts::{self, Texts};
use crate::time::{Timestamp, Zone};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Spanish,
    Portuguese,
}

impl Language {
    pub(super) const ALL: [Language; 3] =
        [Language::English, Language::Spanish, Language::Portuguese];

    /// Its code in addresses and pages.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Spanish => "es",
            Language::Portuguese => "pt",
        }
    }

    /// What it calls itself.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Spanish => "Español",
            Language::Portuguese => "Português",
        }
    }

    pub(super) const fn texts(self) -> &'static Texts {
        match self {
            Language::English => &texts::ENGLISH,
            Language::Spanish => &texts::SPANISH,
            Language::Portuguese => &texts::PORTUGUESE,
        }
    }

    /// The language of a code.
    pub(super) fn parse(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.code() == code)
    }

    /// The language that a browser would rather have; English if it wants none of ours.
    pub(super) fn accepted(headers: &HeaderMap) -> Language {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|it| it.to_str().ok());
        let mut best: Option<(Language, f32)> = None;
        for part in wanted.unwrap_or_default().split(',') {
            let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight =
                weight.trim().strip_prefix("q=").map_or(1.0, |it| it.parse().unwrap_or(0.0));
            let code = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let is_better = best.is_none_or(|(_, best)| weight > best) && weight > 0.0;
            if let Some(language) = Language::parse(&code).filter(|_| is_better) {
                best = Some((language, weight));
            }
        }
        best.map_or(Language::English, |(language, _)| language)
    }

    /// A count with its digits in groups.
    pub(super) fn count(self, value: u64) -> String {
        let digits = value.to_string();
        let group = match self {
            Language::English => ',',
            Language::Spanish => '\u{202f}',
            Language::Portuguese => '.',
        };
        // Four digits stay together in Spanish.
        if self == Language::Spanish && digits.len() <= 4 {
            return digits;
        }
        let mut text = String::new();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(group);
            }
            text.push(digit);
        }
        text
    }

    /// A part of a whole in percent, with one decimal.
    pub(super) fn percent(self, part: u64, whole: u64) -> String {
        let tenths = match whole {
            0 => 0,
            _ => (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole),
        };
        let (mark, space) = match self {
            Language::English => ('.', ""),
            _ => (',', "\u{a0}"),
        };
        format!("{}{mark}{}{space}%", tenths / 10, tenths % 10)
    }

    /// A calendar date.
    pub(super) fn date(self, date: Date) -> String {
        let month = self.months()[usize::from(date.month().unsigned_abs()) - 1];
        let (day, year) = (date.day(), date.year());
        match self {
            Language::English | Language::Spanish => format!("{day} {month} {year}"),
            Language::Portuguese => format!("{day} de {month} de {year}"),
        }
    }

    /// A moment as the calendar and the clock of a zone show it.
    pub(super) fn moment(self, at: Timestamp, zone: &Zone) -> String {
        let at = at.datetime_in(zone);
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        format!("{}, {hour:02}:{minute:02}:{second:02}", self.date(at.date()))
    }

    const fn months(self) -> [&'static str; 12] {
        match self {
            Language::English => {
                ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            }
            Language::Spanish => {
                ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"]
            }
            Language::Portuguese => [
                "jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.",
                "nov.", "dez.",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_dearest_language_is_taken() {
        let accepted = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, text.parse().unwrap());
            Language::accepted(&headers)
        };
        assert_eq!(accepted("es-MX,es;q=0.9,en;q=0.8"), Language::Spanish);
        assert_eq!(accepted("fr, en;q=0.2, pt-BR;q=0.7"), Language::Portuguese);
        assert_eq!(accepted("de"), Language::English);
        assert_eq!(accepted("es;q=0, ;;q=x,"), Language::English);
    }

    #[test]
    fn counts_and_moments_look_as_people_write_them() {
        let [english, spanish, portuguese] = Language::ALL;
        assert_eq!(english.count(1_234_567), "1,234,567");
        assert_eq!(spanish.count(1234), "1234");
        assert_eq!(spanish.count(12_345), "12\u{202f}345");
        assert_eq!(portuguese.count(1234), "1.234");
        assert_eq!(portuguese.count(999), "999");
        assert_eq!(english.percent(1, 3), "33.3%");
        assert_eq!(spanish.percent(2, 3), "66,7\u{a0}%");
        assert_eq!(english.percent(0, 0), "0.0%");
        let at = Timestamp::parse("2026-12-01T02:03:04Z", &Zone::UTC).unwrap();
        let mexico = Zone::parse("America/Mexico_City").unwrap();
        assert_eq!(english.moment(at, &Zone::UTC), "1 Dec 2026, 02:03:04");
        assert_eq!(spanish.moment(at, &mexico), "30 nov 2026, 20:03:04");
        assert_eq!(portuguese.date(at.date_in(&Zone::UTC)), "1 de dez. de 2026");
    }
}
