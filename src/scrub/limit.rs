//! How many rows may a scrub take out?
//!
//! A list of the wrong column or region can lose all its rows, and one of the wrong store none;
//! whoever knows what is usual says so beforehand.

use std::fmt;
use std::str::FromStr;

use super::Report;

/// The most rows that may be suppressed: so many, or a share of those read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxSuppressed {
    /// So many rows.
    Rows(u64),
    /// So many of each hundred.
    Percent(f64),
}

impl MaxSuppressed {
    /// Whether a scrub may end like this. To be asked before its outputs are used.
    ///
    /// # Errors
    ///
    /// When more rows are suppressed.
    pub fn check(self, report: &Report) -> Result<(), TooManySuppressed> {
        let (suppressed, rows) = (report.suppressed, report.rows);
        let exceeds = match self {
            MaxSuppressed::Percent(percent) => suppressed as f64 * 100.0 > percent * rows as f64,
            MaxSuppressed::Rows(max) => suppressed > max,
        };
        match exceeds {
            true => Err(TooManySuppressed { suppressed, rows, max: self }),
            false => Ok(()),
        }
    }
}

/// As it is written by people.
impl fmt::Display for MaxSuppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxSuppressed::Rows(rows) => write!(f, "{rows}"),
            MaxSuppressed::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for MaxSuppressed {
    type Err = NoMaxSuppressed;

    fn from_str(text: &str) -> Result<MaxSuppressed, NoMaxSuppressed> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|it| (0.0..=100.0).contains(it));
                percent.map(MaxSuppressed::Percent)
            }
            None => text.parse().ok().map(MaxSuppressed::Rows),
        };
        parsed.ok_or(NoMaxSuppressed)
    }
}

/// The text says neither how many nor which share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a percentage such as 20%, or a count")]
pub struct NoMaxSuppressed;

/// A scrub took out more than was allowed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{suppressed} of {rows} rows would be suppressed, more than {max}: nothing was written")]
pub struct TooManySuppressed {
    /// Rows that would be suppressed.
    pub suppressed: u64,
    /// Rows read.
    pub rows: u64,
    /// What was allowed.
    pub max: MaxSuppressed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_up_to_itself() {
        let report = |rows, suppressed| Report { rows, suppressed, ..Report::default() };
        for (limit, rows, suppressed, holds) in [
            ("20%", 10, 2, true),
            ("20%", 10, 3, false),
            ("0%", 10, 0, true),
            ("0.5%", 1000, 5, true),
            ("0.5%", 1000, 6, false),
            ("7", 8, 7, true),
            ("7", 8, 8, false),
            ("0%", 0, 0, true),
        ] {
            let max: MaxSuppressed = limit.parse().unwrap();
            assert_eq!(max.check(&report(rows, suppressed)).is_ok(), holds, "{limit} {suppressed}");
            assert_eq!(max.to_string(), limit);
        }
        for text in ["", "%", "-1", "101%", "NaN%", "many", "1.5"] {
            assert!(text.parse::<MaxSuppressed>().is_err(), "{text}");
        }
    }
}
