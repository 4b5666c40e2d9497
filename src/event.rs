//! What is recorded when a person opts out or comes back.
//!
//! An [`Event`] is one fact: who, what, when (twice: by the person's clock and by ours), and
//! from where. Events are never changed; the journal orders them by sequence.

use std::fmt;
use std::str::FromStr;

use crate::number::{Address, SubscriberKey};
use crate::time::Timestamp;

/// Defines a closed list of words with a stable code for the disk and a stable word for people.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of its code.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word for people and files.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// The code on disk. Never reused.
            pub const fn code(self) -> u8 {
                match self { $($name::$variant => $code,)+ }
            }

            /// The value behind a code on disk; `None` for a code that this release doesn't know.
            pub const fn from_code(code: u8) -> Option<$name> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<$name, UnknownWord> {
                $name::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| UnknownWord {
                    what: $what,
                    got: text.chars().take(40).collect(),
                    known: $name::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let word = String::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

words! {
    /// What the person did.
    Action, "action" {
        /// Asked not to be messaged.
        OptOut = 1, "opt-out";
        /// Asked to be messaged again.
        Resubscribe = 2, "resubscribe";
        /// Found to have this number and this id: what holds for one holds for both.
        Link = 3, "link";
        /// Gets messages of one category in spite of an opt-out from all of them: an operator's
        /// decision.
        Override = 4, "override";
        /// Was opted out by a list that should not have been loaded: takes its events back.
        Retract = 5, "retract";
    }
}

words! {
    /// Where an event came from.
    Source, "source" {
        /// Posted by a program.
        Api = 1, "api";
        /// A word in a conversation (STOP, BAJA …).
        Keyword = 2, "keyword";
        /// A button under a message.
        Button = 3, "button";
        /// The messaging app's own preference setting.
        Preference = 4, "preference";
        /// A list loaded in bulk.
        Import = 5, "import";
        /// An outside do-not-contact list.
        Registry = 6, "registry";
        /// A person in support or compliance, by hand.
        Agent = 7, "agent";
        /// The carrier or provider reported that the person blocks us.
        Carrier = 8, "carrier";
    }
}

words! {
    /// What an opt-out covers.
    Tier, "tier" {
        /// Marketing messages only.
        Marketing = 1, "marketing";
        /// Every message.
        All = 2, "all";
    }
}

words! {
    /// On what ground an opt-out rests. Some can't be lifted by a resubscribe.
    Ground, "ground" {
        /// The person asked, or was on a list of those who did.
        Request = 1, "request";
        /// A legal demand, or somebody known to go to court. Never lifted.
        Legal = 2, "legal";
        /// The number belongs to somebody else than thought.
        WrongPerson = 3, "wrong-person";
        /// Imported as protected. Never lifted.
        Protected = 4, "protected";
        /// The person asked to be forgotten: nothing but the opt-out itself is kept.
        Erasure = 5, "erasure";
    }
}

words! {
    /// What kind of message it is.
    Category, "category" {
        /// Everything that is neither of the others; what nobody named is marketing too.
        Marketing = 1, "marketing";
        /// About something that the person ordered or asked for.
        Utility = 2, "utility";
        /// One-time passwords.
        Authentication = 3, "authentication";
    }
}

impl Tier {
    /// What an opt-out by a word covers: STOPALL and STOP ALL ask for no message at all.
    pub fn of_word(word: &str) -> Tier {
        let letters: String = word.split_whitespace().collect();
        if letters.eq_ignore_ascii_case("stopall") { Tier::All } else { Tier::Marketing }
    }
}

impl Category {
    /// The category of a message by what its sender calls it. In any case, `otp` is a name for
    /// authentication; whatever is unknown or missing is marketing, which every opt-out stops.
    pub fn of_message(label: &str) -> Category {
        let label = label.trim();
        let is = |category: &Category| label.eq_ignore_ascii_case(category.as_str());
        match Category::ALL.iter().copied().find(is) {
            Some(category) => category,
            None if label.eq_ignore_ascii_case("otp") => Category::Authentication,
            None => Category::Marketing,
        }
    }
}

/// A word that is none of the allowed ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{got}\" is not a known {what}: use one of {known}")]
pub struct UnknownWord {
    what: &'static str,
    got: String,
    known: String,
}

/// What many events of one request or one file have in common. Empty strings mean "not given".
#[derive(Clone, PartialEq, Eq)]
pub struct Details {
    /// What the person did.
    pub action: Action,
    /// Where the event came from.
    pub source: Source,
    /// What an opt-out covers, and up to which tier a resubscribe reaches.
    pub tier: Tier,
    /// On what ground an opt-out rests.
    pub ground: Ground,
    /// The category that an override names; none for every other action.
    pub category: Option<Category>,
    /// Whether an operator's resubscribe is meant to lift also what the person said himself.
    pub overrides: bool,
    /// The import to which the event belongs, or which it takes back, by the sequence of its first
    /// event; 0 for none.
    pub batch: u64,
    /// The channel on which it was said, such as `whatsapp` or `sms`.
    pub channel: String,
    /// The sender to whom it was said.
    pub sender: String,
    /// The brand behind the sender.
    pub brand: String,
    /// The word that the person used.
    pub word: String,
    /// The campaign that caused it.
    pub campaign: String,
    /// The message template that caused it.
    pub template: String,
    /// The provider's id of the message; the same id twice is one event.
    pub message_id: String,
    /// Who recorded it, when a person did.
    pub operator: String,
    /// Free text, for resubscribes the reason.
    pub note: String,
}

impl Details {
    /// In [`Details::batch`]: the list that is recorded begins an import, which is named by the
    /// sequence of its first event.
    pub const NEW_BATCH: u64 = u64::MAX;

    /// Details of which only the action and the source are known; the tier is marketing.
    pub fn new(action: Action, source: Source) -> Details {
        Details {
            action,
            source,
            tier: Tier::Marketing,
            ground: Ground::Request,
            category: None,
            overrides: false,
            batch: 0,
            channel: String::new(),
            sender: String::new(),
            brand: String::new(),
            word: String::new(),
            campaign: String::new(),
            template: String::new(),
            message_id: String::new(),
            operator: String::new(),
            note: String::new(),
        }
    }
}

/// Names the fields that are set, never their text: notes and words may hold personal data.
impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Details({} from {})", self.action, self.source)
    }
}

/// One recorded fact.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Position in the journal: 1, 2, 3 …, never reused.
    pub sequence: u64,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub received_at: Timestamp,
    /// The key under which all spellings of this phone meet, or that of the id; `None` for an
    /// event that says nothing any more, because its subscriber asked to be forgotten.
    pub key: Option<SubscriberKey>,
    /// The number as it was read, or the id; `None` when the person asked to be forgotten.
    pub address: Option<Address>,
    /// The number as it was written in the request or file.
    pub raw: String,
    /// The sequence of the event before this one for the same subscriber; 0 when it is the first.
    pub previous: u64,
    /// Everything else.
    pub details: Details,
}

impl Event {
    /// Whether it is what is kept of somebody who asked to be forgotten: his suppression.
    pub fn is_tombstone(&self) -> bool {
        self.key.is_some() && self.address.is_none()
    }
}

/// Shows the number shortened and leaves its spelling out.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("sequence", &self.sequence)
            .field("occurred_at", &self.occurred_at)
            .field("received_at", &self.received_at)
            .field("address", &self.address)
            .field("previous", &self.previous)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{Folding, Number, fold};

    #[test]
    fn debug_shows_no_full_number_and_no_text() {
        let number = Number::from_e164(525_512_345_678).unwrap();
        let mut details = Details::new(Action::OptOut, Source::Keyword);
        details.note = "call me at 5512345678".to_owned();
        let event = Event {
            sequence: 1,
            occurred_at: Timestamp::default(),
            received_at: Timestamp::default(),
            key: Some(fold(number, Folding::default())),
            address: Some(number.into()),
            raw: "+52 55 1234 5678".to_owned(),
            previous: 0,
            details,
        };
        let shown = format!("{event:?} {:?}", event.key);
        assert!(!shown.contains("5512345678") && !shown.contains("1234 5678"), "{shown}");
    }

    #[test]
    fn words_and_codes_lead_back() {
        for &source in Source::ALL {
            assert_eq!(source.as_str().parse(), Ok(source));
            assert_eq!(Source::from_code(source.code()), Some(source));
        }
        assert_eq!(Source::from_code(0), None);
        let unknown = "letter".parse::<Source>().unwrap_err().to_string();
        assert!(unknown.contains("letter") && unknown.contains("keyword"), "{unknown}");
    }
}
