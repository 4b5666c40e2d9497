//! How many may an import add?

use std::fmt;
use std::str::FromStr;

/// The most that an import may add: so many, or a share of those who are opted out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAdded {
    /// So many subscribers.
    Count(u64),
    /// So many for each hundred who are opted out of anything.
    Percent(u32),
}

impl MaxAdded {
    /// Whether an import may add so many to a store in which so many are opted out.
    ///
    /// # Errors
    ///
    /// When they are more.
    pub fn check(self, would_add: u64, opted_out: u64) -> Result<(), TooMany> {
        let allowed = match self {
            MaxAdded::Count(count) => count,
            MaxAdded::Percent(percent) => {
                let share = u128::from(opted_out) * u128::from(percent) / 100;
                u64::try_from(share).unwrap_or(u64::MAX)
            }
        };
        match would_add > allowed {
            true => Err(TooMany { max: self, would_add, allowed, opted_out }),
            false => Ok(()),
        }
    }
}

/// As it is written on the command line.
impl fmt::Display for MaxAdded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxAdded::Count(count) => write!(f, "{count}"),
            MaxAdded::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for MaxAdded {
    type Err = NoMaxAdded;

    fn from_str(text: &str) -> Result<MaxAdded, NoMaxAdded> {
        let read = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(MaxAdded::Percent),
            None => text.parse().ok().map(MaxAdded::Count),
        };
        read.ok_or(NoMaxAdded)
    }
}

/// The text says neither how many nor which share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write how many, such as 5000, or a share of those who are opted out, such as 10%")]
pub struct NoMaxAdded;

/// An import would add more than was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the import would add {would_add}, but no more than {allowed} may be added ({max}; {opted_out} \
     are opted out now): nothing is recorded; look at the list, and allow more if it is right"
)]
pub struct TooMany {
    /// What was allowed.
    pub max: MaxAdded,
    /// Rows that would opt somebody out.
    pub would_add: u64,
    /// How many were allowed.
    pub allowed: u64,
    /// Those who are opted out of anything.
    pub opted_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_those_who_are_opted_out() {
        for (text, opted_out, allowed) in [
            ("0", 50, 0),
            ("7", 0, 7),
            ("10%", 0, 0),
            ("10%", 59, 5),
            ("250%", 4, 10),
            ("4294967295%", u64::MAX, u64::MAX),
        ] {
            let max: MaxAdded = text.parse().unwrap();
            assert_eq!(max.to_string(), text);
            assert_eq!(max.check(allowed, opted_out), Ok(()), "{text}");
            if let Some(more) = allowed.checked_add(1) {
                let refused = max.check(more, opted_out).unwrap_err();
                assert_eq!((refused.would_add, refused.allowed), (more, allowed));
            }
        }
        for text in ["", "%", "-1", "1.5%", "many", "1 %"] {
            assert_eq!(text.parse::<MaxAdded>(), Err(NoMaxAdded), "{text}");
        }
    }
}
