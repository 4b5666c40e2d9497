//! When did it happen? Moments as the engine stores them, and half-open ranges of them.
//!
//! A [`Timestamp`] counts milliseconds from the Unix epoch, in UTC. Nothing in this module reads
//! a clock except [`Timestamp::now`], which only the outermost layers call: everything below
//! them takes the moment as an argument.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. Orders and compares as time does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be written in RFC 3339 with four-digit years: 0000-01-01.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000);
    /// The last moment that every time zone can show with a four-digit year.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000);

    /// A moment from its milliseconds since the Unix epoch; outside of the years 0000 to 9999
    /// the nearest moment inside.
    pub const fn from_millis(milliseconds: i64) -> Timestamp {
        if milliseconds < Self::MIN.0 {
            Self::MIN
        } else if milliseconds > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(milliseconds)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// What the system clock says. A clock set before the year 0000 reads as that year.
    pub fn now() -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// Reads RFC 3339 (`2026-03-01T09:30:00Z`), a date and time without an offset, or a date
    /// alone (its first instant). The latter two are read in `zone`.
    ///
    /// # Errors
    ///
    /// When the text is none of these, or the moment lies outside of the years 0000 to 9999.
    pub fn parse(text: &str, zone: &Zone) -> Result<Timestamp, TimeError> {
        let text = text.trim();
        let error = || TimeError::Unreadable { text: text.chars().take(40).collect() };
        let moment = if let Ok(moment) = jiff::Timestamp::from_str(text) {
            moment
        } else if let Ok(date) = Date::strptime("%Y-%m-%d", text) {
            zone.0.to_zoned(date.at(0, 0, 0, 0)).map_err(|_| error())?.timestamp()
        } else {
            let civil = DateTime::from_str(text).map_err(|_| error())?;
            zone.0.to_zoned(civil).map_err(|_| error())?.timestamp()
        };
        let milliseconds = moment.as_millisecond();
        if !(Self::MIN.0..=Self::MAX.0).contains(&milliseconds) {
            return Err(error());
        }
        Ok(Timestamp(milliseconds))
    }

    /// The calendar date of this moment in `zone`.
    pub fn date_in(self, zone: &Zone) -> Date {
        self.to_jiff().to_zoned(zone.0.clone()).date()
    }

    /// The calendar date and the time of day of this moment in `zone`.
    pub fn datetime_in(self, zone: &Zone) -> DateTime {
        self.to_jiff().to_zoned(zone.0.clone()).datetime()
    }

    fn to_jiff(self) -> jiff::Timestamp {
        // The range of `Timestamp` lies inside that of jiff, so the fallback is never taken.
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// RFC 3339 in UTC, with milliseconds only when there are any: `2026-03-01T09:30:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From RFC 3339.
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text, &Zone::UTC).map_err(serde::de::Error::custom)
    }
}

/// A time zone in which dates without an offset are read and days are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// A zone by its IANA name (`America/Mexico_City`) or as a fixed offset (`-06:00`).
    ///
    /// # Errors
    ///
    /// When no such zone is known.
    pub fn parse(name: &str) -> Result<Zone, TimeError> {
        if name.eq_ignore_ascii_case("utc") || name == "Z" {
            return Ok(Zone::UTC);
        }
        jiff::fmt::temporal::DateTimeParser::new()
            .parse_time_zone(name)
            .map(Zone)
            .map_err(|_| TimeError::UnknownZone { name: name.chars().take(40).collect() })
    }
}

/// A half-open range of moments, `from <= t < to`; a missing end is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TimeRange {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl TimeRange {
    /// Every moment.
    pub const ALL: TimeRange = TimeRange { from: None, to: None };

    /// The moments `from <= t < to`.
    ///
    /// # Errors
    ///
    /// When `from` lies after `to`.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<TimeRange, TimeError> {
        match (from, to) {
            (Some(from), Some(to)) if from > to => Err(TimeError::UpsideDown { from, to }),
            _ => Ok(TimeRange { from, to }),
        }
    }

    /// Whether the moment lies inside.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.overlaps(moment, moment)
    }

    /// Whether any moment of `first ..= last` lies inside.
    pub fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= last) && self.to.is_none_or(|to| first < to)
    }

    /// The first moment inside, if the range has a beginning.
    pub fn from(&self) -> Option<Timestamp> {
        self.from
    }

    /// The first moment past the end, if the range has one.
    pub fn to(&self) -> Option<Timestamp> {
        self.to
    }
}

/// Why a time, a zone or a range could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// The text is neither RFC 3339 nor a date.
    #[error(
        "\"{text}\" is not a time: write 2026-03-01, 2026-03-01T09:30:00 or 2026-03-01T09:30:00Z"
    )]
    Unreadable {
        /// What was given, shortened.
        text: String,
    },
    /// The zone's name is not in the IANA database and is no offset.
    #[error(
        "\"{name}\" is not a time zone: write an IANA name such as America/Mexico_City, or an offset such as -06:00"
    )]
    UnknownZone {
        /// What was given, shortened.
        name: String,
    },
    /// The range ends before it begins.
    #[error("the range is upside down: it begins at {from} and ends at {to}")]
    UpsideDown {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        to: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse(text, &Zone::UTC).unwrap()
    }

    #[test]
    fn a_date_is_its_first_instant_in_the_zone() {
        let mexico = Zone::parse("America/Mexico_City").unwrap();
        assert_eq!(utc("2026-03-01"), utc("2026-03-01T00:00:00Z"));
        assert_eq!(Timestamp::parse("2026-03-01", &mexico).unwrap(), utc("2026-03-01T06:00:00Z"));
        assert_eq!(
            Timestamp::parse("2026-03-01 12:00:00", &Zone::parse("-03:00").unwrap()).unwrap(),
            utc("2026-03-01T15:00:00Z")
        );
    }

    #[test]
    fn display_is_read_back_as_the_same_moment() {
        for text in ["1970-01-01T00:00:00Z", "2038-01-19T03:14:08.123Z", "9999-12-30T00:00:00Z"] {
            assert_eq!(utc(text).to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_text() {
        for text in ["", "yesterday", "2026-13-01", "10000-01-01", "2026-02-30"] {
            assert!(Timestamp::parse(text, &Zone::UTC).is_err(), "{text}");
        }
        assert!(Zone::parse("Mars/Olympus").is_err());
    }

    #[test]
    fn ranges_are_half_open_and_not_upside_down() {
        let range = TimeRange::new(Some(utc("2026-01-01")), Some(utc("2026-02-01"))).unwrap();
        assert!(range.contains(utc("2026-01-01")));
        assert!(range.contains(utc("2026-01-31T23:59:59.999Z")));
        assert!(!range.contains(utc("2026-02-01")));
        assert!(TimeRange::new(Some(utc("2026-02-01")), Some(utc("2026-01-01"))).is_err());
        assert!(TimeRange::ALL.contains(Timestamp::MIN));
    }
}
