//! What is in a delivery of the WhatsApp Cloud API?
//!
//! One delivery holds several entries, changes and messages; each is read by itself, leniently:
//! fields that nobody knows don't count, and neither does their order. Promises: text, buttons,
//! captions, reactions, preferences and error 131050 come out as what a person said; a message
//! without a readable person, id or content is unreadable, never ignored, if people could have
//! said something with it. Leaves to others: signatures, what the words mean.
//!
//! Shapes: Meta's references of the webhooks `messages`, `status` and `user_preferences`, and
//! "Business-scoped user IDs" (2026), by which the number may be missing.

use serde_json::{Map, Value};

use super::{Delivery, moment, number};
use crate::capture::{Incoming, Said};
use crate::intent::{Detector, Intent, Preference};
use crate::number::{BusinessId, Number};
use crate::time::Timestamp;

/// "This recipient has chosen to stop receiving marketing messages from your business."
const STOPPED: i64 = 131_050;
const CHANNEL: &str = "whatsapp";
/// Bytes of an id.
const ID_BYTES_MAX: usize = 1024;
/// What a reaction says at the most.
const LIKELY_PICTURE: &str = "\u{1f44e}";

/// Why a delivery as a whole is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Refused {
    /// It is not JSON, or no object.
    NotJson,
    /// It is not about WhatsApp.
    NotWhatsApp,
}

/// What is in a delivery.
pub(in crate::server) fn read(bytes: &[u8], now: Timestamp) -> Result<Delivery, Refused> {
    let body: Value = serde_json::from_slice(bytes).map_err(|_| Refused::NotJson)?;
    let body = body.as_object().ok_or(Refused::NotJson)?;
    if text(body, "object") != Some("whatsapp_business_account") {
        return Err(Refused::NotWhatsApp);
    }
    let mut reading = Reading { delivery: Delivery::default(), now };
    for entry in reading.list(body, "entry") {
        let Some(entry) = entry.as_object() else {
            reading.delivery.unreadable += 1;
            continue;
        };
        for change in reading.list(entry, "changes") {
            match change.get("value").and_then(Value::as_object) {
                Some(value) => reading.change(value),
                None => reading.delivery.unreadable += 1,
            }
        }
    }
    Ok(reading.delivery)
}

/// One who is meant: a number, an id, or both.
#[derive(Default)]
struct Person {
    number: Option<Number>,
    id: Option<BusinessId>,
}

struct Reading {
    delivery: Delivery,
    now: Timestamp,
}

impl Reading {
    /// The items of a list. One that is missing is empty; anything else can't be read.
    fn list<'a>(&mut self, within: &'a Map<String, Value>, name: &str) -> &'a [Value] {
        match within.get(name) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => &[],
            Some(_) => {
                self.delivery.unreadable += 1;
                &[]
            }
        }
    }

    /// Reads by what is there, not by the name of the field, which only says who subscribed.
    fn change(&mut self, value: &Map<String, Value>) {
        let sender = value.get("metadata").and_then(|it| it.get("phone_number_id"));
        let sender = sender.and_then(words).unwrap_or_default();
        let before = self.parts();
        for message in self.list(value, "messages") {
            self.message(message, value, &sender);
        }
        for preference in self.list(value, "user_preferences") {
            self.preference(preference, value, &sender);
        }
        for status in self.list(value, "statuses") {
            self.status(status, value, &sender);
        }
        self.delivery.ignored += usize::from(self.parts() == before);
    }

    /// How much has been read, whatever it was.
    fn parts(&self) -> usize {
        let it = &self.delivery;
        it.incoming.len() + it.sent.len() + it.ignored + it.unreadable
    }

    fn message(&mut self, message: &Value, value: &Map<String, Value>, sender: &str) {
        let Some(message) = message.as_object() else {
            self.delivery.unreadable += 1;
            return;
        };
        let said = match said(message) {
            Content::Said(said) => said,
            Content::Nothing => return self.delivery.ignored += 1,
            Content::Unreadable => return self.delivery.unreadable += 1,
        };
        let names = ["from", "from_user_id", "from_parent_user_id"];
        let person = person(message, names, value);
        let (Some(person), Some(id)) = (person, id(message)) else {
            self.delivery.unreadable += 1;
            return;
        };
        let answers = message.get("reaction").and_then(|it| it.get("message_id"));
        let answers = answers.or_else(|| message.get("context").and_then(|it| it.get("id")));
        let answers = answers.and_then(words).filter(|it| it.len() <= ID_BYTES_MAX);
        self.take(person, sender, said, id, message.get("timestamp"), answers);
    }

    fn preference(&mut self, set: &Value, value: &Map<String, Value>, sender: &str) {
        let Some(set) = set.as_object() else {
            self.delivery.unreadable += 1;
            return;
        };
        if text(set, "category").is_some_and(|it| it != "marketing_messages") {
            self.delivery.ignored += 1;
            return;
        }
        let meant = text(set, "value").and_then(preference);
        let names = ["wa_id", "user_id", "parent_user_id"];
        let (Some(meant), Some(person)) = (meant, person(set, names, value)) else {
            self.delivery.unreadable += 1;
            return;
        };
        let timestamp = set.get("timestamp");
        // It comes without an id. Events of one person are told apart by it, so that the person
        // need not be in it.
        let word = if meant == Preference::Stop { "stop" } else { "resume" };
        let at = timestamp.and_then(seconds).unwrap_or_default();
        let id = format!("preference-{word}-{at}-{sender}");
        self.take(person, sender, Said::Preference(meant), id, timestamp, None);
    }

    fn status(&mut self, status: &Value, value: &Map<String, Value>, sender: &str) {
        // No person says anything in a receipt that can't be read.
        let Some(status) = status.as_object() else { return self.delivery.ignored += 1 };
        let id = id(status);
        let campaign = status.get("biz_opaque_callback_data").and_then(words);
        if let (Some(id), Some(campaign)) = (&id, campaign.filter(|it| !it.is_empty())) {
            self.delivery.sent.push((id.clone(), campaign));
        }
        let errors = status.get("errors").and_then(Value::as_array);
        let code = |error: &Value| error.get("code").and_then(seconds);
        let is_stopped = errors.is_some_and(|all| all.iter().any(|it| code(it) == Some(STOPPED)));
        if !is_stopped {
            self.delivery.ignored += 1;
            return;
        }
        let number = match text(status, "recipient_type") {
            Some("group") => "recipient_participant_id",
            _ => "recipient_id",
        };
        let names = [number, "recipient_user_id", "recipient_parent_user_id"];
        let (Some(person), Some(id)) = (person(status, names, value), id) else {
            self.delivery.unreadable += 1;
            return;
        };
        let answers = Some(id.clone());
        self.take(person, sender, Said::StoppedEarlier, id, status.get("timestamp"), answers);
    }

    fn take(
        &mut self,
        person: Person,
        sender: &str,
        said: Said,
        message_id: String,
        timestamp: Option<&Value>,
        answers: Option<String>,
    ) {
        self.delivery.incoming.push(Incoming {
            number: person.number,
            id: person.id,
            sender: sender.to_owned(),
            channel: CHANNEL.to_owned(),
            said,
            message_id,
            occurred_at: moment(timestamp.and_then(seconds), self.now),
            answers,
            campaign: None,
        });
    }
}

/// What is in a message.
enum Content {
    Said(Said),
    /// Nothing that could be an opt-out.
    Nothing,
    Unreadable,
}

impl Content {
    /// Of a text that has to be there.
    fn of(text: Option<&Value>) -> Content {
        match text.and_then(Value::as_str) {
            Some(text) => Content::Said(Said::Text(text.to_owned())),
            None => Content::Unreadable,
        }
    }
}

fn said(message: &Map<String, Value>) -> Content {
    // Without a kind it may be anything.
    let Some(kind) = text(message, "type") else { return Content::Unreadable };
    let of_kind = message.get(kind);
    let part = |name: &str| of_kind.and_then(|it| it.get(name));
    match kind {
        "text" => Content::of(part("body")),
        "button" => pressed(part("payload"), part("text")),
        "interactive" => interactive(of_kind),
        "reaction" => match part("emoji").and_then(Value::as_str) {
            Some(emoji) if !emoji.is_empty() => Content::Said(Said::Text(reaction(emoji))),
            // It was taken back.
            _ => Content::Nothing,
        },
        "system" => match part("type").and_then(Value::as_str) {
            Some("user_preference_changed") => {
                let set = part("marketing").or(part("value")).and_then(Value::as_str);
                let set = set.and_then(preference).map(Said::Preference);
                set.map_or(Content::Unreadable, Content::Said)
            }
            // The words are WhatsApp's.
            _ => Content::Nothing,
        },
        // Captions, and whatever kinds come later: words are words.
        _ => ["caption", "body", "text"]
            .iter()
            .find_map(|name| part(name).and_then(Value::as_str))
            .map_or(Content::Nothing, |words| Content::Said(Said::Text(words.to_owned()))),
    }
}

fn interactive(reply: Option<&Value>) -> Content {
    let kind = reply.and_then(|it| it.get("type")).and_then(Value::as_str);
    let Some((reply, kind)) = reply.zip(kind) else { return Content::Unreadable };
    let part = |name: &str| reply.get(kind).and_then(|it| it.get(name));
    match kind {
        "button_reply" | "list_reply" => pressed(part("id"), part("title")),
        // Forms are what their makers made of them.
        _ => Content::Nothing,
    }
}

fn pressed(payload: Option<&Value>, text: Option<&Value>) -> Content {
    match (payload.and_then(words), text.and_then(words)) {
        (None, None) => Content::Unreadable,
        (payload, text) => {
            let (payload, text) = (payload.unwrap_or_default(), text.unwrap_or_default());
            Content::Said(Said::Button { payload, text })
        }
    }
}

/// A sign on a message says no about this one; it stops marketing and is asked about, but is
/// never taken for a clear word.
fn reaction(emoji: &str) -> String {
    match Detector::built_in().read(emoji).intent {
        Intent::OptOut => LIKELY_PICTURE.to_owned(),
        _ => emoji.to_owned(),
    }
}

fn preference(word: &str) -> Option<Preference> {
    match word.to_ascii_lowercase().as_str() {
        "stop" => Some(Preference::Stop),
        "resume" => Some(Preference::Resume),
        _ => None,
    }
}

/// The person behind the names of number, id and parent id. What is missing is taken from the
/// contact, if there is no other. An id that does not look like one is no reason to lose the
/// number, and the other way round.
fn person(
    within: &Map<String, Value>,
    [number_name, id_name, parent_name]: [&str; 3],
    value: &Map<String, Value>,
) -> Option<Person> {
    let of = |within: &Map<String, Value>, names: [&str; 3]| {
        let get = |name: &str| within.get(name).and_then(words).unwrap_or_default();
        let id = |name: &str| BusinessId::parse(get(name).as_bytes());
        let number_text = get(names[0]);
        // A number's place may hold an id.
        let id = id(names[1]).or_else(|| id(names[2])).or_else(|| id(names[0]));
        Person { number: number(&number_text), id }
    };
    let mut person = of(within, [number_name, id_name, parent_name]);
    let contacts = value.get("contacts").and_then(Value::as_array).map_or(&[][..], |it| it);
    if let [contact] = contacts
        && let Some(contact) = contact.as_object()
        && person.number.is_none() != person.id.is_none()
    {
        let known = of(contact, ["wa_id", "user_id", "parent_user_id"]);
        // One contact and several people: it is this one's only if one end agrees.
        let agrees = (person.number.is_some() && person.number == known.number)
            || (person.id.is_some() && person.id == known.id);
        if agrees {
            person = Person { number: person.number.or(known.number), id: person.id.or(known.id) };
        }
    }
    (person.number.is_some() || person.id.is_some()).then_some(person)
}

fn text<'a>(within: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    within.get(name).and_then(Value::as_str)
}

fn id(within: &Map<String, Value>) -> Option<String> {
    let id = text(within, "id")?;
    let is_id = (1..=ID_BYTES_MAX).contains(&id.len()) && !id.contains('\0');
    is_id.then(|| id.to_owned())
}

/// A text, or a number as one: ids are written both ways.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, or a text that is one.
fn seconds(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_770_000_000_000);

    fn delivery(changes: &[Value]) -> Delivery {
        let changes: Vec<Value> = changes.iter().map(|value| json!({"value": value})).collect();
        let body = json!({"object": "whatsapp_business_account", "entry": [{"changes": changes}]});
        read(body.to_string().as_bytes(), NOW).unwrap()
    }

    fn of(message: Value) -> Delivery {
        let metadata = json!({"phone_number_id": "106540352242922"});
        delivery(&[json!({"metadata": metadata, "messages": [message]})])
    }

    fn message(kind: &str, content: Value) -> Value {
        json!({
            "from": "5215512345678", "id": "wamid.1", "timestamp": "1749416383",
            "type": kind, kind: content, "context": {"id": "wamid.0", "from": "1555"},
        })
    }

    #[track_caller]
    fn taken(message: Value) -> Incoming {
        let delivery = of(message);
        assert_eq!((delivery.ignored, delivery.unreadable), (0, 0));
        delivery.incoming.into_iter().next().unwrap()
    }

    #[track_caller]
    fn said_in(kind: &str, content: Value) -> Said {
        taken(message(kind, content)).said
    }

    #[test]
    fn a_message_says_who_wrote_what_to_whom_and_when() {
        let it = taken(message("text", json!({"body": "BAJA"})));
        assert!(it.said == Said::Text("BAJA".to_owned()));
        assert_eq!(it.number.unwrap().get(), 5_215_512_345_678);
        assert_eq!((it.id, &*it.sender, &*it.channel), (None, "106540352242922", "whatsapp"));
        assert_eq!((&*it.message_id, it.answers.as_deref()), ("wamid.1", Some("wamid.0")));
        assert_eq!(it.occurred_at.as_millis(), 1_749_416_383_000);
    }

    #[test]
    fn every_way_of_saying_something_is_read() {
        let button = |payload: &str, text: &str| {
            let (payload, text) = (payload.to_owned(), text.to_owned());
            Said::Button { payload, text }
        };
        let words = |text: &str| Said::Text(text.to_owned());
        let reply = |kind: &str| json!({"type": kind, kind: {"id": "7", "title": "Salir"}});
        for (kind, content, said) in [
            ("button", json!({"payload": "OUT", "text": "Baja"}), button("OUT", "Baja")),
            ("button", json!({"text": "Baja"}), button("", "Baja")),
            ("interactive", reply("button_reply"), button("7", "Salir")),
            ("interactive", reply("list_reply"), button("7", "Salir")),
            ("image", json!({"id": "1", "caption": "stop"}), words("stop")),
            ("document", json!({"caption": "baja"}), words("baja")),
            ("something_new", json!({"body": "sair"}), words("sair")),
            ("reaction", json!({"message_id": "wamid.7", "emoji": "👎"}), words("👎")),
            ("reaction", json!({"message_id": "wamid.7", "emoji": "🛑"}), words("👎")),
            ("reaction", json!({"message_id": "wamid.7", "emoji": "👍"}), words("👍")),
            (
                "system",
                json!({"type": "user_preference_changed", "marketing": "stop"}),
                Said::Preference(Preference::Stop),
            ),
        ] {
            assert!(said_in(kind, content.clone()) == said, "{kind} {content}");
        }
        let reaction = taken(message("reaction", json!({"message_id": "wamid.7", "emoji": "👎"})));
        assert_eq!(reaction.answers.as_deref(), Some("wamid.7"));
    }

    #[test]
    fn what_says_nothing_is_ignored() {
        for (kind, content) in [
            ("image", json!({"id": "1"})),
            ("sticker", json!({})),
            ("location", json!({"latitude": 1.5})),
            ("contacts", json!([{"name": {}}])),
            ("unsupported", json!(null)),
            ("reaction", json!({"message_id": "wamid.7"})),
            ("system", json!({"type": "user_changed_number", "body": "stop"})),
            ("interactive", json!({"type": "nfm_reply", "nfm_reply": {"body": "Sent"}})),
        ] {
            let delivery = of(message(kind, content));
            assert_eq!((delivery.incoming.len(), delivery.ignored), (0, 1), "{kind}");
            assert_eq!(delivery.unreadable, 0, "{kind}");
        }
        assert_eq!(delivery(&[json!({"event": "APPROVED"})]).ignored, 1);
    }

    #[test]
    fn a_message_that_cant_be_read_stops_no_other() {
        let good = message("text", json!({"body": "BAJA"}));
        let with = |name: &str, value: Value| {
            let mut broken = good.clone();
            broken[name] = value;
            broken
        };
        for broken in [
            json!("stop"),
            json!({}),
            with("from", json!(["52155"])),
            with("from", json!("somebody")),
            with("id", json!("")),
            with("id", json!(7)),
            with("text", json!("BAJA")),
            with("text", json!({"body": {}})),
            with("type", json!(null)),
            with("type", json!("button")),
            with("type", json!("interactive")),
        ] {
            let first = json!({"messages": [broken, good]});
            let delivery = delivery(&[first, json!({"messages": [good]})]);
            assert_eq!((delivery.incoming.len(), delivery.unreadable), (2, 1), "{broken}");
        }
        let odd = json!({"messages": {"0": good}, "user_preferences": 5});
        assert_eq!(delivery(&[odd]).unreadable, 2);
        let body = br#"{"object":"whatsapp_business_account","entry":[7,{"changes":[7]}]}"#;
        assert_eq!(read(body, NOW).unwrap().unreadable, 2);
    }

    #[test]
    fn ids_come_without_numbers_with_them_and_from_the_contact() {
        let text = json!({"body": "stop"});
        let id_only = json!({
            "from_user_id": "MX.1349", "id": "wamid.1", "timestamp": 1749416383,
            "type": "text", "text": text,
        });
        let it = taken(id_only.clone());
        assert_eq!((it.number, it.id.unwrap().as_str()), (None, "MX.1349"));
        let mut both = id_only.clone();
        both["from"] = json!(5_215_512_345_678_u64);
        assert!(taken(both.clone()).number.is_some() && taken(both).id.is_some());
        let mut parent = id_only.clone();
        parent["from_user_id"] = json!(null);
        parent["from_parent_user_id"] = json!("MX.ENT.7");
        assert_eq!(taken(parent).id.unwrap().as_str(), "MX.ENT.7");
        let contact = |id: &str| json!({"wa_id": "5215512345678", "user_id": id});
        let of = |contacts: Value| {
            let value = json!({"messages": [id_only], "contacts": contacts});
            delivery(&[value]).incoming.into_iter().next().unwrap()
        };
        assert!(of(json!([contact("MX.1349")])).number.is_some());
        assert_eq!(of(json!([contact("MX.9")])).number, None, "it is another's");
        assert_eq!(of(json!([contact("MX.1349"), contact("MX.9")])).number, None);
    }

    #[test]
    fn preferences_stop_and_resume() {
        let set = |value: Value, category: &str| {
            let set = json!({
                "wa_id": "5215512345678", "category": category, "value": value,
                "timestamp": 1739321024, "detail": "User requested",
            });
            delivery(&[json!({"metadata": {"phone_number_id": 17}, "user_preferences": [set]})])
        };
        let stop = set(json!("stop"), "marketing_messages").incoming.remove(0);
        assert!(stop.said == Said::Preference(Preference::Stop));
        assert_eq!(stop.message_id, "preference-stop-1739321024-17");
        let resume = set(json!("resume"), "marketing_messages").incoming.remove(0);
        assert!(resume.said == Said::Preference(Preference::Resume));
        assert_ne!(resume.message_id, stop.message_id);
        assert_eq!(set(json!("pause"), "marketing_messages").unreadable, 1);
        assert_eq!(set(json!("stop"), "calls").ignored, 1);
    }

    #[test]
    fn receipts_tell_campaigns_and_who_had_stopped() {
        let status = |errors: Value, data: Value| {
            delivery(&[json!({"statuses": [{
                "id": "wamid.9", "status": "failed", "timestamp": "1749416383",
                "recipient_id": "5215512345678", "recipient_user_id": "MX.1349",
                "errors": errors, "biz_opaque_callback_data": data,
            }]})])
        };
        let stopped = status(json!([{"code": 1}, {"code": 131_050}]), json!("summer"));
        let it = &stopped.incoming[0];
        assert!(it.said == Said::StoppedEarlier && it.number.is_some() && it.id.is_some());
        assert_eq!(it.answers.as_deref(), Some("wamid.9"));
        assert_eq!(stopped.sent, [("wamid.9".to_owned(), "summer".to_owned())]);
        let other = status(json!([{"code": 131_026}]), json!(null));
        assert_eq!((other.incoming.len(), other.sent.len(), other.ignored), (0, 0, 1));
        let nobody = json!({"statuses": [{"id": "a", "errors": [{"code": "131050"}]}, 7]});
        let nobody = delivery(&[nobody]);
        assert_eq!((nobody.unreadable, nobody.ignored), (1, 1));
    }

    #[test]
    fn what_is_not_about_whatsapp_is_refused() {
        for body in [&b""[..], b"[]", b"{", b"\xff", b"null"] {
            assert_eq!(read(body, NOW).unwrap_err(), Refused::NotJson);
        }
        for body in [&b"{}"[..], br#"{"object":"page","entry":[]}"#] {
            assert_eq!(read(body, NOW).unwrap_err(), Refused::NotWhatsApp);
        }
    }

    /// Values under the names that count, of every shape.
    fn values() -> impl Strategy<Value = Value> {
        let names = proptest::sample::select(vec![
            "entry",
            "changes",
            "value",
            "messages",
            "statuses",
            "user_preferences",
            "contacts",
            "type",
            "text",
            "body",
            "button",
            "payload",
            "interactive",
            "button_reply",
            "id",
            "from",
            "from_user_id",
            "wa_id",
            "timestamp",
            "errors",
            "code",
            "reaction",
            "emoji",
            "system",
            "context",
            "metadata",
            "category",
            "recipient_id",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            names.clone().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("5215512345678")),
        ];
        leaf.prop_recursive(8, 64, 6, move |inner| {
            let pairs = prop::collection::vec((names.clone(), inner.clone()), 0..8);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                pairs.prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_shape_is_too_odd_and_whatever_is_taken_has_a_person_and_an_id(
            entry in values(), messages in prop::collection::vec(values(), 0..4),
        ) {
            let object = "whatsapp_business_account";
            let body = json!({"object": object, "entry": entry}).to_string();
            let _ = read(body.as_bytes(), NOW).unwrap();
            let read = delivery(&[json!({"messages": messages, "statuses": messages})]);
            for it in &read.incoming {
                prop_assert!(it.number.is_some() || it.id.is_some());
                prop_assert!(!it.message_id.is_empty());
                prop_assert!(it.occurred_at.as_millis() <= NOW.as_millis() + 5 * 60 * 1000);
            }
            let parts = read.incoming.len() + read.ignored + read.unreadable;
            prop_assert!(parts >= messages.len(), "each is taken, ignored or unreadable");
        }
    }
}
