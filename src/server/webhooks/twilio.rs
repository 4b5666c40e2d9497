//! What is in a request of Twilio's?
//!
//! One request is one message that came in, or what became of one that went out. Promises: what a
//! person wrote or pressed comes out as he did; an opt-out that Twilio has answered itself comes
//! out as a preference that was set, which asks for no second answer; codes 21610 and 63014 come
//! out as somebody who had stopped. Leaves to others: signatures, what the words mean.
//!
//! Names: Twilio's "Webhook request" of incoming messages and of status callbacks, and "Advanced
//! Opt-Out". A request says no time: it is taken to have happened when it arrives.

use std::borrow::Cow;

use serde_json::Value;

use super::form::{self, Pair};
use super::{Delivery, number};
use crate::capture::{Incoming, Said};
use crate::intent::Preference;
use crate::number::BusinessId;
use crate::policy::CHANNELS;
use crate::time::Timestamp;

/// "Attempt to send to unsubscribed recipient", "Channel message blocked by user action".
const STOPPED: [&str; 2] = ["21610", "63014"];
const ID_BYTES_MAX: usize = 256;

/// What is in a form.
pub(in crate::server) fn read(form: &[Pair], now: Timestamp) -> Delivery {
    let mut delivery = Delivery::default();
    match Request(form).read(now) {
        Content::Incoming(incoming) => delivery.incoming.push(*incoming),
        Content::Nothing => delivery.ignored = 1,
        Content::Unreadable => delivery.unreadable = 1,
    }
    delivery
}

/// The pairs of a body in JSON, as a form would have them. `None` for what is no object.
pub(in crate::server) fn pairs_of_json(bytes: &[u8]) -> Option<Vec<Pair>> {
    let body: Value = serde_json::from_slice(bytes).ok()?;
    let pairs = body.as_object()?.iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((name.clone().into_bytes(), value.into_bytes()))
    });
    Some(pairs.collect())
}

enum Content {
    Incoming(Box<Incoming>),
    /// Nothing that could be an opt-out.
    Nothing,
    Unreadable,
}

struct Request<'a>(&'a [Pair]);

impl<'a> Request<'a> {
    /// The text of a name; none if it is missing, empty or there with two values.
    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = form::value(self.0, name).map(String::from_utf8_lossy);
        value.filter(|it| !it.is_empty())
    }

    fn read(&self, now: Timestamp) -> Content {
        let status = self.get("MessageStatus").or_else(|| self.get("SmsStatus"));
        match status.as_deref() {
            None | Some("received" | "receiving") => self.message(now),
            // A receipt may repeat the words of what was sent: nobody has said them to us.
            Some(_) => self.receipt(now),
        }
    }

    fn message(&self, now: Timestamp) -> Content {
        let said = match self.get("OptOutType").map(|it| it.to_ascii_uppercase()).as_deref() {
            // Twilio knew the word, which may be one of the customer's, and has answered it.
            Some("STOP") => Some(Said::Preference(Preference::Stop)),
            Some("START") => Some(Said::Preference(Preference::Resume)),
            Some("HELP") => return Content::Nothing,
            _ => self.words(),
        };
        let Some(said) = said else {
            // Two bodies are none that can be read; an empty one is a picture.
            let has_words = self.0.iter().any(|(name, it)| name == b"Body" && !it.is_empty());
            let is_message = self.get("From").is_some();
            return match has_words || !is_message {
                true => Content::Unreadable,
                false => Content::Nothing,
            };
        };
        self.taken("From", "To", said, self.get("OriginalRepliedMessageSid"), now)
    }

    /// What was written or pressed.
    fn words(&self) -> Option<Said> {
        let payload = self.get("ButtonPayload").or_else(|| self.get("ListId"));
        let text = self.get("ButtonText").or_else(|| self.get("ListTitle"));
        let body = self.get("Body");
        if payload.is_none() && text.is_none() {
            return body.map(|body| Said::Text(body.into_owned()));
        }
        let (payload, text) = (payload.unwrap_or_default(), text.or(body).unwrap_or_default());
        Some(Said::Button { payload: payload.into_owned(), text: text.into_owned() })
    }

    fn receipt(&self, now: Timestamp) -> Content {
        let code = self.get("ErrorCode").unwrap_or_default();
        if !STOPPED.contains(&&*code) {
            return Content::Nothing;
        }
        self.taken("To", "From", Said::StoppedEarlier, self.id(), now)
    }

    fn id(&self) -> Option<Cow<'a, str>> {
        let id = self.get("MessageSid").or_else(|| self.get("SmsMessageSid"));
        let id = id.or_else(|| self.get("SmsSid"));
        id.filter(|it| it.len() <= ID_BYTES_MAX && !it.contains('\0'))
    }

    /// `person` and `sender` name the fields of the two ends.
    fn taken(
        &self,
        person: &str,
        sender: &str,
        said: Said,
        answers: Option<Cow<'_, str>>,
        now: Timestamp,
    ) -> Content {
        let address = self.get(person).unwrap_or_default();
        let (channel, bare) = parted(&address);
        let id = BusinessId::parse(bare.as_bytes());
        let known = self.get("WaId").filter(|_| person == "From");
        let number = number(bare).or_else(|| known.as_deref().and_then(number));
        let Some(message_id) = self.id().filter(|_| id.is_some() || number.is_some()) else {
            return Content::Unreadable;
        };
        let sender = self.get(sender).unwrap_or_default();
        Content::Incoming(Box::new(Incoming {
            number,
            id,
            sender: parted(&sender).1.to_owned(),
            channel: channel.to_owned(),
            said,
            message_id: message_id.into_owned(),
            occurred_at: now,
            answers: answers.filter(|it| it.len() <= ID_BYTES_MAX).map(Cow::into_owned),
            campaign: None,
        }))
    }
}

/// The channel of an address, and the address: `whatsapp:+1…`; a number alone is one of SMS.
fn parted(address: &str) -> (&'static str, &str) {
    let named = address.split_once(':').and_then(|(channel, bare)| {
        let known = CHANNELS.iter().find(|it| it.eq_ignore_ascii_case(channel))?;
        Some((*known, bare.trim()))
    });
    named.unwrap_or(("sms", address.trim()))
}

/// The answer: nothing, or one message to be sent to whoever wrote.
pub(in crate::server) fn answer(confirmation: Option<&str>) -> String {
    let mut answer = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let Some(text) = confirmation else { return answer + "<Response/>" };
    answer.push_str("<Response><Message>");
    for sign in text.chars() {
        match sign {
            '<' => answer.push_str("&lt;"),
            '>' => answer.push_str("&gt;"),
            '&' => answer.push_str("&amp;"),
            // XML can't hold them, however they are written.
            sign if sign.is_control() && sign != '\n' => answer.push(' '),
            sign => answer.push(sign),
        }
    }
    answer + "</Message></Response>"
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_770_000_000_000);

    fn read_pairs(pairs: &[(&str, &str)]) -> Delivery {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let form: Vec<Pair> = pairs.iter().map(|(name, it)| (bytes(name), bytes(it))).collect();
        read(&form, NOW)
    }

    const FROM: (&str, &str) = ("From", "whatsapp:+5215512345678");
    const TO: (&str, &str) = ("To", "whatsapp:+14155238886");
    const SID: (&str, &str) = ("MessageSid", "SM1");

    #[track_caller]
    fn taken(pairs: &[(&str, &str)]) -> Incoming {
        let delivery = read_pairs(&[&[FROM, TO, SID], pairs].concat());
        assert_eq!((delivery.ignored, delivery.unreadable), (0, 0));
        delivery.incoming.into_iter().next().unwrap()
    }

    #[test]
    fn a_message_says_who_wrote_what_to_whom() {
        let it = taken(&[("Body", "No más +"), ("OriginalRepliedMessageSid", "SM0")]);
        assert!(it.said == Said::Text("No más +".to_owned()));
        assert_eq!(it.number.unwrap().get(), 5_215_512_345_678);
        assert_eq!((&*it.sender, &*it.channel), ("+14155238886", "whatsapp"));
        assert_eq!((&*it.message_id, it.answers.as_deref()), ("SM1", Some("SM0")));
        assert_eq!(it.occurred_at, NOW);
        let sms = read_pairs(&[("From", "+15005550006"), ("To", "555888"), SID, ("Body", "stop")]);
        assert_eq!((&*sms.incoming[0].channel, &*sms.incoming[0].sender), ("sms", "555888"));
        let id = read_pairs(&[("From", "whatsapp:US.1349"), TO, SID, ("Body", "stop")]);
        assert_eq!(id.incoming[0].id.as_ref().unwrap().as_str(), "US.1349");
        assert_eq!(id.incoming[0].number, None);
    }

    #[test]
    fn buttons_and_what_twilio_has_answered_are_told_apart_from_words() {
        let pressed =
            taken(&[("Body", "Baja"), ("ButtonText", "Baja"), ("ButtonPayload", "OUT_1")]);
        let (payload, text) = ("OUT_1".to_owned(), "Baja".to_owned());
        assert!(pressed.said == Said::Button { payload, text });
        let stopped = taken(&[("Body", "BASTA"), ("OptOutType", "STOP")]);
        assert!(stopped.said == Said::Preference(Preference::Stop));
        let started = taken(&[("Body", "START"), ("OptOutType", "START")]);
        assert!(started.said == Said::Preference(Preference::Resume));
        let help = read_pairs(&[FROM, TO, SID, ("Body", "HELP"), ("OptOutType", "HELP")]);
        assert_eq!(help.ignored, 1);
    }

    #[test]
    fn a_receipt_counts_only_if_the_person_had_stopped() {
        let receipt = |status: &str, code: &str| {
            read_pairs(&[
                ("From", "+14155238886"),
                ("To", "+5215512345678"),
                SID,
                ("MessageStatus", status),
                ("ErrorCode", code),
                ("Body", "STOP is how you leave"),
            ])
        };
        for code in STOPPED {
            let it = &receipt("failed", code).incoming[0];
            assert!(it.said == Said::StoppedEarlier);
            assert_eq!(it.number.unwrap().get(), 5_215_512_345_678);
            assert_eq!((&*it.sender, it.answers.as_deref()), ("+14155238886", Some("SM1")));
        }
        for (status, code) in [("delivered", ""), ("failed", "30003"), ("sent", "0")] {
            assert_eq!(receipt(status, code).ignored, 1, "{status}");
        }
    }

    #[test]
    fn what_may_be_a_stop_and_cant_be_read_is_not_ignored() {
        let body = ("Body", "stop");
        for pairs in [
            &[("From", "Alfa"), TO, SID, body][..],
            &[FROM, TO, body],
            &[TO, SID, body],
            &[FROM, TO, SID, body, ("Body", "hello")],
            &[],
        ] {
            assert_eq!(read_pairs(pairs).unreadable, 1, "{pairs:?}");
        }
        assert_eq!(read_pairs(&[FROM, TO, SID, ("Body", ""), ("NumMedia", "1")]).ignored, 1);
        assert!(pairs_of_json(b"[]").is_none() && pairs_of_json(b"{").is_none());
        let pairs = pairs_of_json(br#"{"From":"+15005550006","Body":"stop","n":[]}"#).unwrap();
        assert_eq!(pairs.len(), 2);
    }

    #[test]
    fn a_confirmation_is_text_whatever_is_in_it() {
        assert!(answer(None).ends_with("?><Response/>"));
        let told = answer(Some("a <b> & \u{1}c"));
        assert!(told.ends_with("<Response><Message>a &lt;b&gt; &amp;  c</Message></Response>"));
    }
}
