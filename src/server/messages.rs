//! How are replies written in JSON, and how is said what became of them?
//!
//! One message, or up to 1,000, from a program that talks to people itself. Promises: an item that
//! can't be read says why and stops no other; an answer names what is durable. Leaves to others
//! who may post them (`routes`, `webhooks`) and what follows (`capture`).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::body::{AtMost, from_json, is_object};
use super::capture::{Confirmation, Taken};
use super::problem::{FieldError, Kind, Problem};
use crate::capture::{Incoming, Said, SenderSettings};
use crate::intent::Preference;
use crate::number::{BusinessId, Folding, Number, NumberReader, Region};
use crate::policy::Scope;
use crate::time::{Timestamp, Zone};

/// Messages of one request.
const ITEMS_MAX: usize = 1000;
/// A person can't have written later than this after now: clocks differ, but not by more.
const AHEAD_MILLIS: i64 = 5 * 60 * 1000;
const ID_BYTES_MAX: usize = 1024;

/// A reply: a text, a button or a preference, of a number, an id or both.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    /// The person's number, in any spelling that can be read in one way.
    #[schema(example = "+525512345678")]
    number: Option<String>,
    /// The region of a number without calling code, such as MX.
    region: Option<String>,
    /// The person's business-scoped id.
    id: Option<String>,
    /// To which sender it was written: its name, or the provider's name for it.
    #[schema(example = "shop")]
    sender: Option<String>,
    /// The channel, such as whatsapp or sms.
    #[schema(example = "whatsapp")]
    channel: Option<String>,
    /// What was written.
    #[schema(example = "BAJA")]
    text: Option<String>,
    /// The button that was pressed.
    button: Option<Button>,
    /// stop or resume: what was set in the messenger's own preferences.
    preference: Option<String>,
    /// The provider's id of the message: the same id twice is taken once.
    #[schema(example = "wamid.HBgNNTI1NTEyMzQ1Njc4")]
    message_id: String,
    /// When it was written: RFC 3339. Now if not given.
    occurred_at: Option<String>,
    /// The id of the message that it answers.
    answers: Option<String>,
    /// The campaign that caused it.
    campaign: Option<String>,
}

/// A button that was pressed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Button {
    /// What the business wrote behind it.
    payload: Option<String>,
    /// What stands on it.
    #[schema(example = "Cancelar suscripción")]
    text: Option<String>,
}

/// Up to 1,000 messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    items: AtMost<Message, ITEMS_MAX>,
}

/// One message, or up to 1,000 of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand, with better refusals")]
pub(super) enum Messages {
    /// One.
    One(Box<Message>),
    /// Several.
    Many {
        /// Up to 1,000.
        items: Vec<Message>,
    },
}

/// What became of messages, in their order.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Results {
    items: Vec<MessageResult>,
    /// Messages that asked to be left alone, or probably so, and are recorded.
    recorded: usize,
    /// Messages that can't be taken as they are.
    invalid: usize,
}

/// What became of a message.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct MessageResult {
    /// Its place in the request, from 0.
    index: usize,
    /// The number as it was read, or the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    /// opt_out, opt_out_likely, opt_in, help or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'static str>,
    /// Which rule says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    /// The words that it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<String>,
    /// The language that most words belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
    /// added, already, resubscribed, not-listed or refused; none when nothing is recorded, and
    /// invalid.
    outcome: &'static str,
    /// The position of the event in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// Whether the person is opted out of anything now, if something was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    opted_out: Option<bool>,
    /// The confirmation that is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmation: Option<Confirmation>,
    /// Why it is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// The messages of a body, each read or with what is wrong with it.
pub(super) struct Read(Vec<Result<Incoming, Vec<FieldError>>>);

impl Read {
    /// Reads a body: one message, or a list of them. `sender` is whose webhook it came to; what a
    /// message says of its sender then does not count.
    ///
    /// # Errors
    ///
    /// When it is not as described.
    pub(super) fn parse(
        bytes: &[u8],
        folding: Folding,
        now: Timestamp,
        sender: Option<&str>,
    ) -> Result<Read, Problem> {
        is_object(bytes)?;
        let items = match serde_json::from_slice::<Message>(bytes) {
            Ok(one) => vec![one],
            Err(error) if error.to_string().starts_with("unknown field `items`") => {
                from_json::<Items>(bytes)?.items.0
            }
            Err(_) => vec![from_json::<Message>(bytes)?],
        };
        let read = |mut it: Message| {
            it.sender = sender.map(str::to_owned).or(it.sender.take());
            it.read(folding, now)
        };
        Ok(Read(items.into_iter().map(read).collect()))
    }

    /// Visits the messages that could be read.
    pub(super) fn each(&mut self, visit: impl FnMut(&mut Incoming)) {
        self.0.iter_mut().flatten().for_each(visit);
    }

    /// Takes what could be read, and writes what became of all.
    ///
    /// # Errors
    ///
    /// When nothing can be taken, or it is not known whether all is recorded.
    pub(super) async fn take(
        self,
        app: &Arc<App>,
        operator: &str,
        vouched: impl Fn(&SenderSettings) -> bool,
    ) -> Result<Bytes, Problem> {
        if self.0.iter().all(Result::is_err) {
            return Err(self.all_invalid());
        }
        let readable: Vec<Incoming> =
            self.0.iter().filter_map(|it| it.as_ref().ok().cloned()).collect();
        let mut taken = app.take(operator, readable, vouched).await?.into_iter();
        let mut results = Results::default();
        for (index, item) in self.0.into_iter().enumerate() {
            let result = match item {
                Ok(incoming) => taken.next().map(|it| MessageResult::of(&incoming, it)),
                Err(errors) => {
                    results.invalid += 1;
                    Some(MessageResult { outcome: "invalid", errors, ..MessageResult::default() })
                }
            };
            let result = result.unwrap_or_default();
            let is_stop = result.intent.is_some_and(|it| it.starts_with("opt_out"));
            results.recorded += usize::from(is_stop && result.sequence.is_some());
            results.items.push(MessageResult { index, ..result });
        }
        let written = serde_json::to_vec(&results).map(Bytes::from);
        written.map_err(|_| Problem::new(Kind::Internal, "it is recorded; the answer failed"))
    }

    fn all_invalid(self) -> Problem {
        const ERRORS_MAX: usize = 100;
        if self.0.is_empty() {
            return Problem::field("items", "there is nothing to be taken");
        }
        let is_one = self.0.len() == 1;
        let items = self.0.into_iter().enumerate();
        let errors = items.flat_map(|(index, item)| {
            let named = move |error: FieldError| match is_one {
                true => error,
                false => FieldError { field: format!("items[{index}].{}", error.field), ..error },
            };
            item.err().unwrap_or_default().into_iter().map(named)
        });
        Problem::invalid(errors.take(ERRORS_MAX).collect())
    }
}

impl MessageResult {
    fn of(incoming: &Incoming, taken: Taken) -> MessageResult {
        let verdict = taken.verdict;
        MessageResult {
            number: incoming.addresses().first().map(ToString::to_string),
            intent: Some(verdict.intent.as_str()),
            rule: Some(verdict.rule),
            matched: Some(verdict.matched),
            language: verdict.language,
            outcome: taken.receipt.map_or("none", |it| it.outcome.as_str()),
            sequence: taken.receipt.map(|it| it.sequence),
            opted_out: taken.receipt.map(|it| it.opted_out),
            confirmation: taken.confirmation,
            ..MessageResult::default()
        }
    }
}

impl Message {
    fn read(self, folding: Folding, now: Timestamp) -> Result<Incoming, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, detail: String| {
            errors.push(FieldError { field: field.to_owned(), detail });
        };
        let number = self.number(folding).unwrap_or_else(|(field, detail)| {
            wrong(field, detail);
            None
        });
        let id = self.id.as_deref().and_then(|text| {
            let id = BusinessId::parse(text.as_bytes());
            if id.is_none() {
                wrong("id", "it is no business-scoped id, such as US.1349".to_owned());
            }
            id
        });
        if self.number.is_none() && self.id.is_none() {
            wrong("number", "give the person's number, or id, or both".to_owned());
        }
        let channel = self.channel.unwrap_or_default();
        if let Err(error) = Scope::new(&channel, "", "") {
            wrong("channel", error.to_string());
        }
        if self.message_id.trim().is_empty() || self.message_id.len() > ID_BYTES_MAX {
            wrong("message_id", format!("it has 1 to {ID_BYTES_MAX} bytes"));
        }
        let occurred_at = match self.occurred_at.as_deref() {
            None => Some(now),
            Some(text) => moment(text, now).map_err(|detail| wrong("occurred_at", detail)).ok(),
        };
        let said = said(self.text, self.button, self.preference.as_deref());
        let said = said.map_err(|(field, detail)| wrong(field, detail.to_owned())).ok();
        match (said, occurred_at) {
            (Some(said), Some(occurred_at)) if errors.is_empty() => Ok(Incoming {
                number,
                id,
                sender: self.sender.unwrap_or_default(),
                channel,
                said,
                message_id: self.message_id,
                occurred_at,
                answers: self.answers.filter(|it| !it.is_empty()),
                campaign: self.campaign.filter(|it| !it.is_empty()),
            }),
            _ => Err(errors),
        }
    }

    /// The number, which has to be one: a confirmation must not go to somebody else.
    fn number(&self, folding: Folding) -> Result<Option<Number>, (&'static str, String)> {
        let region = self.region.as_deref().filter(|it| !it.is_empty()).map(Region::parse);
        let region = region.transpose().map_err(|error| ("region", error.to_string()))?;
        let Some(text) = &self.number else { return Ok(None) };
        let readings = NumberReader::new(region, folding).read_all(text.as_bytes());
        match &readings[..] {
            [one] => match (one.number, one.status.reason()) {
                (Some(number), _) => Ok(Some(number)),
                (None, Some(reason)) => Err(("number", reason.sentence().to_owned())),
                (None, None) => Err(("number", "it can't be read".to_owned())),
            },
            _ => {
                let what = "it can be read as two numbers: write it with + and calling code";
                Err(("number", what.to_owned()))
            }
        }
    }
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    match Timestamp::parse(text, &Zone::UTC) {
        Ok(at) if at.as_millis() <= now.as_millis() + AHEAD_MILLIS => Ok(at),
        Ok(_) => Err("it lies in the future".to_owned()),
        Err(_) => Err("write 2026-03-01T09:30:00Z".to_owned()),
    }
}

fn said(
    text: Option<String>,
    button: Option<Button>,
    preference: Option<&str>,
) -> Result<Said, (&'static str, &'static str)> {
    match (text, button, preference) {
        (Some(text), None, None) => Ok(Said::Text(text)),
        (None, Some(button), None) => {
            let payload = button.payload.unwrap_or_default();
            let text = button.text.unwrap_or_default();
            match payload.is_empty() && text.is_empty() {
                true => Err(("button", "give its payload, or its text, or both")),
                false => Ok(Said::Button { payload, text }),
            }
        }
        (None, None, Some("stop")) => Ok(Said::Preference(Preference::Stop)),
        (None, None, Some("resume")) => Ok(Said::Preference(Preference::Resume)),
        (None, None, Some(_)) => Err(("preference", "use stop or resume")),
        _ => Err(("text", "give one of text, button and preference")),
    }
}
