//! How long does it take to take the opted-out rows out of a list with a set from a crate?
//!
//! `optout-antijoin SET OPTOUTS RECIPIENTS OUTPUT` reads both lists whole, fills a `hashset`, a
//! `roaring` or a `croaring` set, and writes the rows whose third column is not in it, in order.
//! It is what one would write in an afternoon: one thread, numbers in clean digits, no quotes, and
//! an error at the first cell that is anything else.
//!
//! `optout-antijoin digest FILE` prints how many lines a file has and the sum of their hashes,
//! which is the same for the same lines in another order; quotes and carriage returns don't count,
//! since some tools add them. Whether the answer is right is for the caller to compare.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process::ExitCode;

use memchr::memchr;

/// The column of recipients that holds the number, from 0.
const NUMBER_COLUMN: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["digest", file] => digest(file),
        ["hashset", optouts, recipients, output] => {
            hashset(optouts).and_then(|set| keep(recipients, output, |key| set.contains(&key)))
        }
        ["roaring", optouts, recipients, output] => {
            roaring(optouts).and_then(|set| keep(recipients, output, |key| set.contains(key)))
        }
        ["croaring", optouts, recipients, output] => {
            croaring(optouts).and_then(|set| keep(recipients, output, |key| set.contains(key)))
        }
        _ => Err("usage: optout-antijoin hashset|roaring|croaring OPTOUTS RECIPIENTS OUTPUT, \
                  or optout-antijoin digest FILE"
            .into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit code still tells.
            let _ = writeln!(io::stderr(), "optout-antijoin: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn hashset(optouts: &str) -> Outcome<HashSet<u64, foldhash::fast::RandomState>> {
    Ok(numbers(optouts)?.into_iter().collect())
}

fn roaring(optouts: &str) -> Outcome<roaring::RoaringTreemap> {
    let mut numbers = numbers(optouts)?;
    // Sorted input is the fast way into both roaring sets.
    numbers.sort_unstable();
    numbers.dedup();
    Ok(roaring::RoaringTreemap::from_sorted_iter(numbers)?)
}

fn croaring(optouts: &str) -> Outcome<croaring::Bitmap64> {
    let mut numbers = numbers(optouts)?;
    numbers.sort_unstable();
    Ok(croaring::Bitmap64::of(&numbers))
}

/// All numbers of a list with a header and one column.
fn numbers(file: &str) -> Outcome<Vec<u64>> {
    let text = fs::read(file)?;
    lines(&text).skip(1).map(|line| number(trimmed(line))).collect()
}

/// Writes the header and each row whose number is not in the set.
fn keep(recipients: &str, output: &str, contains: impl Fn(u64) -> bool) -> Outcome<()> {
    let text = fs::read(recipients)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(output)?);
    for (index, line) in lines(&text).enumerate() {
        if index == 0 || !contains(number(cell(line)?)?) {
            out.write_all(line)?;
        }
    }
    out.into_inner()?;
    Ok(())
}

/// Lines with their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

fn cell(line: &[u8]) -> Outcome<&[u8]> {
    let mut cells = trimmed(line).split(|&byte| byte == b',');
    cells.nth(NUMBER_COLUMN).ok_or_else(|| "a row has no third column".into())
}

/// The digits as an integer.
fn number(cell: &[u8]) -> Outcome<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit();
    if cell.is_empty() || cell.len() > 15 || !cell.iter().all(digit) {
        return Err("a cell is not a number in clean digits".into());
    }
    Ok(cell.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn digest(file: &str) -> Outcome<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(file)?);
    let (mut count, mut sum, mut line) = (0u64, 0u128, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        line.retain(|byte| !matches!(byte, b'"' | b'\r' | b'\n'));
        sum = sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(&line));
        count += 1;
        line.clear();
    }
    writeln!(io::stdout(), "{count} {sum:032x}")?;
    Ok(())
}
