//! How is an outside list written? Formats, how they are told apart, and rows of the registry of
//! the United States.

use std::str::FromStr;

use serde::Serialize;

use crate::table::fields;
use crate::time::{Timestamp, Zone};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistryFormat {
    /// Found out from the first lines.
    Auto,
    /// All numbers of the registry of the United States: area code and number, `201,5551234`.
    UsFull,
    /// Changes of that registry: a number (whole, or its area code apart), a moment, and A for an
    /// added or D for a deleted one, in any order.
    UsChange,
    /// A number a line.
    Lines,
    /// A table with a column of numbers.
    Csv,
}

impl RegistryFormat {
    /// All of them.
    pub const ALL: [RegistryFormat; 5] = [
        RegistryFormat::Auto,
        RegistryFormat::UsFull,
        RegistryFormat::UsChange,
        RegistryFormat::Lines,
        RegistryFormat::Csv,
    ];

    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            RegistryFormat::Auto => "auto",
            RegistryFormat::UsFull => "us-full",
            RegistryFormat::UsChange => "us-change",
            RegistryFormat::Lines => "lines",
            RegistryFormat::Csv => "csv",
        }
    }
}

impl FromStr for RegistryFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<RegistryFormat, String> {
        let known = RegistryFormat::ALL.into_iter();
        known.into_iter().find(|format| format.as_str() == text).ok_or_else(|| {
            let words = RegistryFormat::ALL.map(RegistryFormat::as_str).join(", ");
            format!("use one of {words}")
        })
    }
}

/// The format of a list that begins with these lines: the one that most of them have.
pub(super) fn detect(sample: &[u8]) -> RegistryFormat {
    const LINES_MAX: usize = 64;
    let sample = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
    let lines: Vec<&[u8]> = sample
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .collect();
    // The first may be a header.
    let lines = if lines.len() > 1 { &lines[1..] } else { &lines[..] };
    let most = |is_it: &dyn Fn(&[u8]) -> bool| {
        let count = lines.iter().filter(|line| is_it(line)).count();
        count * 2 > lines.len()
    };
    let has_delimiter = |line: &[u8]| line.iter().any(|byte| b",;\t|".contains(byte));
    if most(&|line| us_change(line, &Zone::UTC).is_ok()) {
        RegistryFormat::UsChange
    } else if most(&is_us_full) {
        RegistryFormat::UsFull
    } else if most(&has_delimiter) {
        RegistryFormat::Csv
    } else {
        RegistryFormat::Lines
    }
}

fn is_us_full(line: &[u8]) -> bool {
    let cells = cells(line);
    matches!(&cells[..], [area, rest] if has_digits(area, 3) && has_digits(rest, 7))
}

/// The number of a row of the full list that is written as it should be.
#[inline]
pub(super) fn us_digits(body: &[u8]) -> Option<[u8; 10]> {
    let &[a, b, c, b',', d, e, f, g, h, i, j] = body else { return None };
    let digits = [a, b, c, d, e, f, g, h, i, j];
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

/// The number of any other row of the full list: in one piece, or whatever stands there.
pub(super) fn us_number(body: &[u8]) -> Vec<u8> {
    let cells = cells(body);
    match number_in(&cells) {
        Some((_, number)) => number,
        None => body.to_vec(),
    }
}

/// A row of a list of changes.
pub(super) struct UsChange {
    pub(super) number: Vec<u8>,
    pub(super) at: Option<Timestamp>,
    pub(super) present: bool,
}

/// Reads a row of a list of changes.
pub(super) fn us_change(body: &[u8], zone: &Zone) -> Result<UsChange, &'static str> {
    let mut cells = cells(body);
    let place = cells.iter().position(|cell| action(cell).is_some()).ok_or("no_action")?;
    let present = action(&cells.remove(place)).ok_or("no_action")?;
    if cells.iter().any(|cell| action(cell).is_some_and(|other| other != present)) {
        return Err("two_actions");
    }
    let (used, number) = number_in(&cells).ok_or("not_a_number")?;
    let others = cells.iter().enumerate().filter(|(index, _)| !used.contains(index));
    let at = others.map(|(_, cell)| cell).find_map(|cell| moment(cell, zone));
    Ok(UsChange { number, at, present })
}

fn action(cell: &[u8]) -> Option<bool> {
    let is_one_of =
        |words: &[&str]| words.iter().any(|it| cell.eq_ignore_ascii_case(it.as_bytes()));
    if is_one_of(&["a", "add", "added"]) {
        Some(true)
    } else if is_one_of(&["d", "delete", "deleted"]) {
        Some(false)
    } else {
        None
    }
}

/// The cells without quotes and the blanks around them.
fn cells(body: &[u8]) -> Vec<Vec<u8>> {
    let mut scratch = Vec::new();
    fields(body, b',').map(|cell| cell.value(&mut scratch).trim_ascii().to_vec()).collect()
}

/// The first number in some cells: one with ten digits or more, or an area code and the cell
/// behind it. Which cells it takes, and the number.
fn number_in(cells: &[Vec<u8>]) -> Option<(std::ops::Range<usize>, Vec<u8>)> {
    (0..cells.len()).find_map(|index| {
        let cell = &cells[index];
        match cells.get(index + 1) {
            Some(next) if has_digits(cell, 3) && has_digits(next, 7) => {
                Some((index..index + 2, [&cell[..], next].concat()))
            }
            _ => [10, 11]
                .iter()
                .any(|&digits| has_digits(cell, digits))
                .then(|| (index..index + 1, cell.clone())),
        }
    })
}

/// Whether the cell holds so many digits, and besides them only what stands in numbers.
fn has_digits(cell: &[u8], count: usize) -> bool {
    cell.iter().all(|byte| byte.is_ascii_digit() || b"+-.() ".contains(byte))
        && cell.iter().filter(|byte| byte.is_ascii_digit()).count() == count
}

/// A moment as such lists have it: RFC 3339, `2026-03-01 12:30:00`, `20260301`, `03/01/2026`, the
/// last two with or without a time of day.
fn moment(cell: &[u8], zone: &Zone) -> Option<Timestamp> {
    let text = std::str::from_utf8(cell).ok()?;
    if let Ok(moment) = Timestamp::parse(text, zone) {
        return Some(moment);
    }
    let (date, time) = text.split_once([' ', 'T']).map_or((text, ""), |(date, time)| (date, time));
    let parts: Vec<&str> = date.split('/').collect();
    let (year, month, day) = match parts[..] {
        [month, day, year] => (year, month, day),
        [digits] if digits.len() == 8 && digits.is_ascii() => {
            (&digits[..4], &digits[4..6], &digits[6..])
        }
        _ => return None,
    };
    let time = time.trim();
    let time = if time.is_empty() { String::new() } else { format!("T{time}") };
    Timestamp::parse(&format!("{year}-{month:0>2}-{day:0>2}{time}"), zone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_lines() {
        for (sample, format) in [
            ("201,5551234\n201,5551235\n", RegistryFormat::UsFull),
            ("Area Code,Phone\r\n201,5551234\r\n", RegistryFormat::UsFull),
            ("\u{feff}\"201\",\"555-1234\"", RegistryFormat::UsFull),
            ("2015551234,2026-03-01T10:00:00Z,A\n", RegistryFormat::UsChange),
            ("phone,when,type\n201,5551234,03/01/2026 10:00:00,D\n", RegistryFormat::UsChange),
            ("+12015551234\n+12015551235\n", RegistryFormat::Lines),
            ("phone\n2015551234", RegistryFormat::Lines),
            ("", RegistryFormat::Lines),
            ("name;phone\nAna;2015551234\n", RegistryFormat::Csv),
            ("phone,state\n2015551234,NJ\n2015551235,NY\n", RegistryFormat::Csv),
        ] {
            assert_eq!(detect(sample.as_bytes()), format, "{sample:?}");
        }
    }

    #[test]
    fn rows_of_changes_are_read_in_any_order_of_their_cells() {
        let at = Some(Timestamp::parse("2026-03-01T10:00:00Z", &Zone::UTC).unwrap());
        let midnight = Some(Timestamp::parse("2026-03-01", &Zone::UTC).unwrap());
        for (row, expected) in [
            ("2015551234,2026-03-01T10:00:00Z,A", Ok(("2015551234", at, true))),
            ("201,5551234,2026-03-01 10:00:00,D", Ok(("2015551234", at, false))),
            ("D,\"201\",\"5551234\",03/01/2026 10:00:00", Ok(("2015551234", at, false))),
            ("add, (201) 555-1234 , 20260301", Ok(("(201) 555-1234", midnight, true))),
            ("2015551234,3/1/2026,DELETE", Ok(("2015551234", midnight, false))),
            ("12015551234,A", Ok(("12015551234", None, true))),
            ("2015551234,sometime,A", Ok(("2015551234", None, true))),
            ("2015551234,2026-03-01T10:00:00Z", Err("no_action")),
            ("A,2015551234,D", Err("two_actions")),
            ("5551234,2026-03-01T10:00:00Z,A", Err("not_a_number")),
        ] {
            let read = us_change(row.as_bytes(), &Zone::UTC);
            let read = read.map(|it| (String::from_utf8(it.number).unwrap(), it.at, it.present));
            let expected = expected.map(|(number, at, present)| (number.to_owned(), at, present));
            assert_eq!(read, expected, "{row}");
        }
    }

    #[test]
    fn rows_of_the_full_list_are_joined() {
        for (row, number) in [
            ("201,5551234", "2015551234"),
            ("\"201\", 555-1234", "201555-1234"),
            ("2015551234", "2015551234"),
            ("201,5551234,x", "2015551234"),
            ("201,555123", "201,555123"),
        ] {
            assert_eq!(us_number(row.as_bytes()), number.as_bytes(), "{row}");
            let digits = us_digits(row.as_bytes());
            assert!(digits.is_none_or(|digits| digits == number.as_bytes()), "{row}");
        }
    }
}
