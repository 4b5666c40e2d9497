//! How good is a reading, and why is there none?
//!
//! A [`Status`] for every cell, a [`Reason`] for every refusal: small, countable, with a word for
//! programs that never changes and a sentence for people. Leaves the judging to `reader`.

use std::fmt;

/// How good a reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The plan assigns numbers of this beginning and length.
    Valid,
    /// The length fits; the range is unknown to the metadata, which lags behind reality.
    Possible,
    /// Out of date as written (a WhatsApp id of Mexico with its old 1, say), valid under its key.
    Folded,
    /// Digits behind a calling code, but no number of that plan is so long.
    Parsed,
    /// No number.
    Rejected(Reason),
}

impl Status {
    /// The word for files and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Valid => "valid",
            Status::Possible => "possible",
            Status::Folded => "folded",
            Status::Parsed => "parsed",
            Status::Rejected(_) => "rejected",
        }
    }

    /// The reason of a refusal.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Status::Rejected(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Defines the reasons with their words and sentences.
macro_rules! reasons {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $sentence:literal;)+) => {
        /// Why a cell yields no number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$meta])* $variant,)+ }

        impl Reason {
            /// Every reason, for tables of counts.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The word for files and programs. Never changes.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $word,)+ }
            }

            /// The sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    /// Nothing but blanks.
    Empty = "empty", "the cell is empty";
    /// Bytes that are no UTF-8 between the digits.
    NotText = "not_text", "the cell is not UTF-8 text: save the file as UTF-8";
    /// No digits, or characters among them that no number has.
    NotANumber = "not_a_number", "this is not a phone number";
    /// No country begins like this.
    InvalidCountryCode = "invalid_country_code",
        "no country has this calling code: write + and the calling code, or give a default region";
    /// Too few digits.
    TooShort = "too_short", "there are too few digits for a phone number";
    /// Too many digits.
    TooLong = "too_long", "there are too many digits for one phone number";
    /// The area code is missing.
    LocalOnly = "local_only", "the area code is missing, so it is not clear whose number this is";
    /// Two or more numbers in one cell.
    TwoNumbers = "two_numbers", "there is more than one number in the cell: write one in each row";
    /// A spreadsheet cut the digits off.
    PrecisionLost = "precision_lost",
        "a spreadsheet rounded the number (as in 5.21E+12): export the column as text";
    /// A spreadsheet put commas between thousands.
    ThousandsCommas = "thousands_commas",
        "a spreadsheet put commas between the thousands: export the column as text";
    /// A group conversation.
    GroupId = "group_id", "this is the id of a group, not a phone number";
    /// A business-scoped user id, such as `CO.1349…`.
    BusinessScopedId = "business_scoped_id",
        "this is a business-scoped user id, not a phone number";
    /// Digits that no number of their country has, or that could be two different numbers.
    NotSendable = "not_sendable",
        "no number of that country is so long, or the digits can be read as two numbers";
    /// Letters among the digits, so that it is not clear which number is meant.
    Letters = "letters", "there are letters among the digits: write the number in digits alone";
    /// A number with its middle hidden.
    Masked = "masked", "digits are hidden behind stars or letters: give the whole number";
    /// Another id of a messaging service.
    NotAPhoneId = "not_a_phone_id", "this is an id of a messaging service, not a phone number";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.sentence())
    }
}

impl std::error::Error for Reason {}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
