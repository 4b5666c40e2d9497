//! How do people, spreadsheets and messaging platforms write a phone number?
//!
//! Everything written here is international and can be read without knowing a region, except
//! by [`write_unreadable`]. Cells are complete CSV cells, quoted where they have to be.

use clap::ValueEnum;

use crate::plan::Plan;
use crate::population::Subscriber;
use crate::random::Random;

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spellings {
    /// Bare international digits: 525512345678
    Clean,
    /// Five everyday ways in equal parts: bare digits, +digits, +52 55 1234 5678,
    /// +52-55-1234-5678, +52 (55) 1234-5678
    Five,
    /// Also chat ids, tel: and whatsapp:, apostrophes, spreadsheet damage, odd blanks and marks,
    /// older forms of Mexican, Argentine and Brazilian numbers, and quoted cells
    Messy,
}

impl Spellings {
    /// Appends the subscriber's number in one of these spellings.
    pub(crate) fn write(self, subscriber: &Subscriber, random: &mut Random, cell: &mut Vec<u8>) {
        match self {
            Spellings::Clean => write_number(subscriber.digits, cell),
            Spellings::Five => write_everyday(&Groups::of(subscriber), random, cell),
            Spellings::Messy => write_messy(&Groups::of(subscriber), random, cell),
        }
    }
}

/// Appends a number in decimal.
pub(crate) fn write_number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// A number taken apart as people group it.
struct Groups {
    plan: &'static Plan,
    digits: Vec<u8>,
    area: usize,
    middle: usize,
    last: usize,
}

impl Groups {
    fn of(subscriber: &Subscriber) -> Groups {
        let plan = subscriber.plan;
        let mut digits = Vec::with_capacity(20);
        write_number(subscriber.digits, &mut digits);
        let area = plan.calling_code.len() + plan.mobile_token.len();
        let last = digits.len() - plan.last_group;
        Groups { plan, digits, area, middle: area + subscriber.area_digits, last }
    }

    fn area(&self) -> &[u8] {
        &self.digits[self.area..self.middle]
    }

    fn middle(&self) -> &[u8] {
        &self.digits[self.middle..self.last]
    }

    fn last(&self) -> &[u8] {
        &self.digits[self.last..]
    }

    /// `+52`, or `+54 9` with the mobile token.
    fn write_country(&self, token: &str, between: &str, cell: &mut Vec<u8>) {
        put(cell, &[b"+", self.plan.calling_code.as_bytes()]);
        if !token.is_empty() {
            put(cell, &[between.as_bytes(), token.as_bytes()]);
        }
    }

    /// All groups with the same separator.
    fn write_separated(&self, between: &str, cell: &mut Vec<u8>) {
        self.write_country(self.plan.mobile_token, between, cell);
        let between = between.as_bytes();
        put(cell, &[between, self.area(), between, self.middle(), between, self.last()]);
    }
}

fn put(cell: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        cell.extend_from_slice(part);
    }
}

fn write_everyday(number: &Groups, random: &mut Random, cell: &mut Vec<u8>) {
    match random.below(5) {
        0 => cell.extend_from_slice(&number.digits),
        1 => put(cell, &[b"+", &number.digits]),
        2 => number.write_separated(" ", cell),
        3 => number.write_separated("-", cell),
        _ => {
            number.write_country(number.plan.mobile_token, " ", cell);
            put(cell, &[b" (", number.area(), b") ", number.middle(), b"-", number.last()]);
        }
    }
}

fn write_messy(number: &Groups, random: &mut Random, cell: &mut Vec<u8>) {
    match random.below(10) {
        0..=3 => write_everyday(number, random, cell),
        4..=5 => write_older_form(number, random, cell),
        6..=7 => write_platform_form(&number.digits, random, cell),
        8 => write_spreadsheet_form(&number.digits, random, cell),
        _ => write_with_odd_blanks(number, random, cell),
    }
}

/// The forms that dialling plans have left behind but webhooks and address books have not.
fn write_older_form(number: &Groups, random: &mut Random, cell: &mut Vec<u8>) {
    let (area, middle, last) = (number.area(), number.middle(), number.last());
    let form = random.below(3);
    match number.plan.country {
        "MX" => match form {
            0 => put(cell, &[b"521", area, middle, last]),
            1 => put(cell, &[b"+52 1 ", area, b" ", middle, b" ", last]),
            _ => put(cell, &[b"+521", area, middle, last]),
        },
        "AR" => match form {
            0 => put(cell, &[b"54", area, middle, last]),
            1 => put(cell, &[b"+54 ", area, b" 15 ", middle, b"-", last]),
            _ => put(cell, &[b"+54 ", area, b" ", middle, b" ", last]),
        },
        // Old eight-digit mobiles began with 6 to 9. Those with 7 are left alone: some of them
        // are trunking lines that never got a ninth digit.
        "BR" if matches!(middle[1], b'6' | b'8' | b'9') => match form {
            0 => put(cell, &[b"55", area, &middle[1..], last]),
            1 => put(cell, &[b"+55 ", area, b" ", &middle[1..], b"-", last]),
            _ => put(cell, &[b"+55", area, &middle[1..], last]),
        },
        _ => write_everyday(number, random, cell),
    }
}

/// What chat platforms and links carry around.
fn write_platform_form(digits: &[u8], random: &mut Random, cell: &mut Vec<u8>) {
    match random.below(5) {
        0 => put(cell, &[digits, b"@s.whatsapp.net"]),
        1 => put(cell, &[digits, b"@c.us"]),
        2 => put(cell, &[digits, b":7@s.whatsapp.net"]),
        3 => put(cell, &[b"tel:+", digits]),
        _ => put(cell, &[b"whatsapp:+", digits]),
    }
}

/// What a spreadsheet makes of a number, as long as no digit is lost.
fn write_spreadsheet_form(digits: &[u8], random: &mut Random, cell: &mut Vec<u8>) {
    match random.below(5) {
        0 => put(cell, &[b"'+", digits]),
        1 => put(cell, &[b"\"=\"\"", digits, b"\"\"\""]),
        2 => put(cell, &[digits, b".0"]),
        3 => {
            put(cell, &[&digits[..1], b".", &digits[1..], b"E+"]);
            write_number(digits.len() as u64 - 1, cell);
        }
        _ => put(cell, &[b"\"+", digits, b"\""]),
    }
}

/// Blanks and invisible marks that copying from chats, web pages and documents leaves.
fn write_with_odd_blanks(number: &Groups, random: &mut Random, cell: &mut Vec<u8>) {
    match random.below(6) {
        0 => number.write_separated("\u{a0}", cell),
        1 => number.write_separated("\u{202f}", cell),
        2 => number.write_separated("\u{2009}", cell),
        3 => {
            cell.extend_from_slice("\u{202a}".as_bytes());
            number.write_separated(" ", cell);
            cell.extend_from_slice("\u{202c}".as_bytes());
        }
        4 => put(cell, &["\u{200e}+".as_bytes(), &number.digits]),
        _ => put(cell, &[b" ", &number.digits, b" "]),
    }
}

/// Appends a cell in which no single phone number can be read.
pub(crate) fn write_unreadable(random: &mut Random, cell: &mut Vec<u8>) {
    let digits = 10_000_000 + random.below(80_000_000);
    let text = match random.below(10) {
        0 => String::new(),
        1 => "n/a".to_owned(),
        2 => "sin teléfono".to_owned(),
        3 => "a confirmar".to_owned(),
        // Too short for any plan.
        4 => format!("+52{}", digits % 1_000),
        // The digits behind the first few are gone for good.
        5 => format!("5.255{}E+12", digits % 100),
        6 => format!("+5255{digits}; +5233{digits}"),
        // A group and a hidden identity: neither is a phone.
        7 => format!("1203630{digits}41@g.us"),
        _ => format!("1843{digits}77@lid"),
    };
    cell.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PLANS;
    use crate::random::Purpose;

    fn spell(form: impl FnOnce(&Groups, &mut Vec<u8>), country: &str, digits: u64) -> String {
        let plan = PLANS.iter().find(|plan| plan.country == country).unwrap();
        let area_digits = if country == "CL" { 1 } else { 2 };
        let mut cell = Vec::new();
        form(&Groups::of(&Subscriber { digits, plan, area_digits }), &mut cell);
        String::from_utf8(cell).unwrap()
    }

    #[test]
    fn groups_are_those_that_people_write() {
        let blanks = |number: &Groups, cell: &mut Vec<u8>| number.write_separated(" ", cell);
        assert_eq!(spell(blanks, "MX", 525_512_345_678), "+52 55 1234 5678");
        assert_eq!(spell(blanks, "BR", 5_511_987_654_321), "+55 11 98765 4321");
        assert_eq!(spell(blanks, "AR", 5_491_123_456_789), "+54 9 11 2345 6789");
        assert_eq!(spell(blanks, "CL", 56_987_654_321), "+56 9 8765 4321");
        assert_eq!(spell(blanks, "EC", 593_987_654_321), "+593 98 765 4321");
    }

    #[test]
    fn everyday_spellings_hold_the_digits_and_nothing_that_needs_quotes() {
        let population =
            crate::population::Population::new(5, 10_000, 0, crate::population::COUNTRIES).unwrap();
        let mut random = Random::new(5, Purpose::CampaignRows);
        let mut starts_with_plus = 0;
        for rank in 0..10_000 {
            let subscriber = population.other(rank);
            let mut cell = Vec::new();
            Spellings::Five.write(&subscriber, &mut random, &mut cell);
            let text = String::from_utf8(cell).unwrap();
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(digits, subscriber.digits.to_string());
            assert!(text.chars().all(|c| "+-() ".contains(c) || c.is_ascii_digit()), "{text}");
            starts_with_plus += u32::from(text.starts_with('+'));
        }
        // Four of five, with a standard deviation of 40.
        assert!(starts_with_plus.abs_diff(8_000) < 250, "{starts_with_plus}");
    }

    #[test]
    fn brazilian_trunking_numbers_keep_their_nine() {
        for (digits, shorter) in [(5_511_987_654_321, true), (5_511_977_654_321, false)] {
            let mut random = Random::new(1, Purpose::CampaignRows);
            for _ in 0..20 {
                let form = |number: &Groups, cell: &mut Vec<u8>| {
                    write_older_form(number, &mut random, cell)
                };
                let count = spell(form, "BR", digits).chars().filter(char::is_ascii_digit).count();
                assert_eq!(count, if shorter { 12 } else { 13 });
            }
        }
    }
}
