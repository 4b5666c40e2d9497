//! What came back from a person, whatever provider brought it.

use std::fmt;

use crate::event::Source;
use crate::intent::Preference;
use crate::number::{BusinessId, Number};
use crate::time::Timestamp;

/// A message, a pressed button, a changed preference, or a provider's word that somebody stopped.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The person's number. At least one of number and id is there; with both, they are one person.
    pub number: Option<Number>,
    /// The person's business-scoped id.
    pub id: Option<BusinessId>,
    /// To which sender it was said, by the provider's name for it: a phone number id, a number.
    pub sender: String,
    /// On which channel, such as `whatsapp` or `sms`.
    pub channel: String,
    /// What was said.
    pub said: Said,
    /// The provider's id of the message, the same at each delivery. Never empty.
    pub message_id: String,
    /// When the person acted, by the provider's clock.
    pub occurred_at: Timestamp,
    /// The id of the message that is answered, if it is known.
    pub answers: Option<String>,
    /// The campaign that caused it, when the provider names it.
    pub campaign: Option<String>,
}

/// What was said.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// Words.
    Text(String),
    /// A button was pressed: its payload and the text on it.
    Button {
        /// What the business wrote behind the button; may be empty.
        payload: String,
        /// What the person read on it.
        text: String,
    },
    /// The messenger's own preference was set.
    Preference(Preference),
    /// The provider refused a message because the person had stopped earlier.
    StoppedEarlier,
}

impl Said {
    /// Where an event that follows from it comes from.
    pub fn source(&self) -> Source {
        match self {
            Said::Text(_) => Source::Keyword,
            Said::Button { .. } => Source::Button,
            Said::Preference(_) => Source::Preference,
            Said::StoppedEarlier => Source::Carrier,
        }
    }
}

/// Leaves out who wrote, and what.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("number", &self.number)
            .field("said", &self.said)
            .field("occurred_at", &self.occurred_at)
            .finish_non_exhaustive()
    }
}

/// Leaves the words out.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Said::Text(_) => "Text",
            Said::Button { .. } => "Button",
            Said::Preference(_) => "Preference",
            Said::StoppedEarlier => "StoppedEarlier",
        })
    }
}
