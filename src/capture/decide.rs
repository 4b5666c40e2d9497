//! What is recorded, and what is confirmed, when somebody answers?
//!
//! [`decide`] reads an [`Incoming`] by the settings of its sender. Promises: whatever asks to be
//! left alone is recorded, also when capture is off or nobody knows the sender; only the surest
//! signs lift an opt-out; no text that a provider brought makes a recording fail. Leaves to others
//! the recording, and whether a confirmation is still in time and the first.

use xxhash_rust::xxh3::xxh3_128;

use super::{Incoming, Said, SenderSettings};
use crate::event::{Action, Details, Source, Tier};
use crate::intent::{Detector, Intent, Message, Preference, Verdict};
use crate::number::Address;
use crate::policy::Scope;

/// Characters of the words that an event keeps.
const WORD_CHARS_MAX: usize = 60;
/// Bytes of a text that names something.
const TEXT_BYTES_MAX: usize = 255;

/// What follows from an incoming message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// What the person wants, and why it is read so.
    pub verdict: Verdict,
    /// What is to be recorded for each of the person's addresses, if anything.
    pub details: Option<Details>,
    /// What is to be confirmed if the opt-out is new: language and text.
    pub confirmation: Option<(String, String)>,
}

/// Decides what follows. Without settings nobody knows the sender: the opt-out then holds for all
/// senders on the channel, since the name under which it sends is not known either.
pub fn decide(
    settings: Option<&SenderSettings>,
    detector: &Detector,
    incoming: &Incoming,
) -> Decision {
    let verdict = read(settings, detector, &incoming.said);
    let on = settings.filter(|it| it.capture);
    let holds_likely = settings.is_none_or(|it| it.holds_likely);
    let action = match verdict.intent {
        Intent::OptOut => Some(Action::OptOut),
        Intent::OptOutLikely if holds_likely => Some(Action::OptOut),
        Intent::OptIn if is_surest(verdict.rule) && on.is_some_and(|it| it.opt_in_lifts) => {
            Some(Action::Resubscribe)
        }
        _ => None,
    };
    let details = action.map(|action| details(action, settings, &verdict, incoming));
    // The messenger shows what was set in it, and a provider that was told before told it on.
    let is_said = matches!(incoming.said, Said::Text(_) | Said::Button { .. });
    let confirmation = on
        .filter(|_| verdict.intent == Intent::OptOut && is_said)
        .and_then(|it| it.confirmation(verdict.language))
        .map(|(language, text)| (language.to_owned(), text.to_owned()));
    Decision { verdict, details, confirmation }
}

impl Incoming {
    /// The person's addresses. With both, what was said holds for both: each has its own event,
    /// and they are not linked, as a number can pass to somebody else while an id can't.
    pub fn addresses(&self) -> Vec<Address> {
        let number = self.number.map(Address::from);
        number.into_iter().chain(self.id.clone().map(Address::from)).collect()
    }
}

/// Rules that leave no doubt: only they lift an opt-out.
fn is_surest(rule: &str) -> bool {
    matches!(rule, "lone_word" | "button" | "preference")
}

fn read(settings: Option<&SenderSettings>, detector: &Detector, said: &Said) -> Verdict {
    let plain = |intent, rule| Verdict { intent, rule, matched: String::new(), language: None };
    match said {
        Said::Text(text) => detector.read(text),
        Said::Button { payload, text } => pressed(settings, detector, payload, text),
        Said::Preference(Preference::Stop) => plain(Intent::OptOut, "preference"),
        Said::Preference(Preference::Resume) => plain(Intent::OptIn, "preference"),
        Said::StoppedEarlier => plain(Intent::OptOut, "carrier"),
    }
}

/// A button says what the customer says that it says; then what its payload says if that is known,
/// then what stands on it. Of two that disagree the one that stops counts.
fn pressed(
    settings: Option<&SenderSettings>,
    detector: &Detector,
    payload: &str,
    text: &str,
) -> Verdict {
    let on_it = detector.detect(&Message { button: Some(text), ..Message::default() });
    let own = settings.map(|it| &it.buttons[..]).unwrap_or_default();
    let is_own = |said: &str| own.iter().any(|it| same(it, said));
    if let Some(said) = [payload, text].into_iter().find(|said| is_own(said)) {
        let matched = said.trim().to_lowercase();
        return Verdict { intent: Intent::OptOut, rule: "button", matched, ..on_it };
    }
    if payload.is_empty() || on_it.intent == Intent::OptOut {
        return on_it;
    }
    let behind = detector.detect(&Message { button: Some(payload), ..Message::default() });
    match behind.rule == "button" || text.is_empty() {
        true => Verdict { language: on_it.language.or(behind.language), ..behind },
        false => on_it,
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn details(
    action: Action,
    settings: Option<&SenderSettings>,
    verdict: &Verdict,
    incoming: &Incoming,
) -> Details {
    let mut details = Details::new(action, incoming.said.source());
    match settings {
        Some(it) => {
            details.channel.clone_from(&it.channel);
            details.sender.clone_from(&it.sender);
            details.brand.clone_from(&it.brand);
        }
        // A channel that nobody knows would silence nobody; without one it holds everywhere.
        None => {
            let channel = Scope::new(&incoming.channel, "", "");
            details.channel = channel.map_or(String::new(), |it| it.channel().to_owned());
        }
    }
    details.word = clean(&verdict.matched).chars().take(WORD_CHARS_MAX).collect();
    details.campaign = clipped(incoming.campaign.as_deref().unwrap_or_default());
    details.message_id = message_id(&incoming.message_id);
    if action == Action::OptOut {
        details.tier = Tier::of_word(&details.word);
    }
    details.note = note(action, settings, verdict, incoming);
    details
}

fn note(
    action: Action,
    settings: Option<&SenderSettings>,
    verdict: &Verdict,
    incoming: &Incoming,
) -> String {
    let mut note = match (action, verdict.intent, incoming.said.source()) {
        (Action::Resubscribe, ..) => format!("the person came back (rule {})", verdict.rule),
        (_, Intent::OptOutLikely, _) => format!("held as likely (rule {})", verdict.rule),
        (.., Source::Carrier) => "the provider says that the person had stopped".to_owned(),
        _ => format!("rule {}", verdict.rule),
    };
    if settings.is_none() {
        note.push_str("; sender not set up: ");
        note.push_str(&clipped(&incoming.sender));
    }
    note
}

/// Without what an event can't hold.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn clipped(text: &str) -> String {
    let mut text = clean(text);
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The id that makes a repetition known. One that an event can't hold is replaced by its hash, which
/// is the same at each delivery.
fn message_id(id: &str) -> String {
    let fits = id.len() <= TEXT_BYTES_MAX && !id.chars().any(char::is_control);
    if fits { id.to_owned() } else { format!("xxh3-{:032x}", xxh3_128(id.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{BusinessId, Number};
    use crate::time::Timestamp;

    fn said(said: Said) -> Incoming {
        Incoming {
            number: Number::from_e164(525_512_345_678),
            id: BusinessId::parse(b"MX.1349"),
            sender: "1065".to_owned(),
            channel: "whatsapp".to_owned(),
            said,
            message_id: "wamid.1".to_owned(),
            occurred_at: Timestamp::from_millis(1),
            answers: None,
            campaign: Some("summer".to_owned()),
        }
    }

    fn text(words: &str) -> Incoming {
        said(Said::Text(words.to_owned()))
    }

    fn button(payload: &str, text: &str) -> Incoming {
        said(Said::Button { payload: payload.to_owned(), text: text.to_owned() })
    }

    fn shop() -> SenderSettings {
        let mut it = SenderSettings::new("Shop", "whatsapp");
        it.brand = "acme".to_owned();
        it.capture = true;
        it.language = "en".to_owned();
        for (language, text) in [("en", "No more messages."), ("es", "No más mensajes.")] {
            it.confirmations.insert(language.to_owned(), text.to_owned());
        }
        it
    }

    fn by(settings: Option<&SenderSettings>, incoming: &Incoming) -> Decision {
        decide(settings, Detector::built_in(), incoming)
    }

    #[test]
    fn a_stop_word_is_recorded_where_it_was_said_and_confirmed_in_its_language() {
        let decision = by(Some(&shop()), &text("¡BAJA!"));
        let details = decision.details.unwrap();
        assert_eq!((details.action, details.source), (Action::OptOut, Source::Keyword));
        assert_eq!((&*details.sender, &*details.brand), ("Shop", "acme"));
        assert_eq!((&*details.word, &*details.campaign), ("baja", "summer"));
        assert_eq!((details.tier, &*details.message_id), (Tier::Marketing, "wamid.1"));
        assert_eq!(decision.confirmation.unwrap().0, "es");
        let all = by(Some(&shop()), &text("STOP ALL")).details.unwrap();
        assert_eq!(all.tier, Tier::All);
        assert_eq!(text("x").addresses().len(), 2);
    }

    #[test]
    fn a_stop_is_recorded_though_capture_is_off_or_nobody_knows_the_sender() {
        let off = SenderSettings { capture: false, ..shop() };
        for what in [
            Said::Text("STOP".to_owned()),
            Said::Preference(Preference::Stop),
            Said::StoppedEarlier,
        ] {
            for settings in [Some(&off), None] {
                let decision = by(settings, &said(what.clone()));
                assert_eq!(decision.details.unwrap().action, Action::OptOut);
                assert_eq!(decision.confirmation, None);
            }
        }
        let unknown = by(None, &text("STOP")).details.unwrap();
        assert_eq!((&*unknown.channel, &*unknown.sender), ("whatsapp", ""));
        assert!(unknown.note.contains("1065"), "{}", unknown.note);
        let odd = Incoming { channel: "pigeon".to_owned(), ..text("STOP") };
        assert_eq!(by(None, &odd).details.unwrap().channel, "");
    }

    #[test]
    fn only_the_surest_signs_of_a_known_sender_lift() {
        let lifts = |settings: Option<&SenderSettings>, it: &Incoming| {
            by(settings, it).details.is_some_and(|it| it.action == Action::Resubscribe)
        };
        let sure =
            [text("START"), button("", "Subscribe"), said(Said::Preference(Preference::Resume))];
        let off = SenderSettings { capture: false, ..shop() };
        let never = SenderSettings { opt_in_lifts: false, ..shop() };
        for it in &sure {
            assert!(lifts(Some(&shop()), it), "{it:?}");
            for settings in [Some(&off), Some(&never), None] {
                assert!(!lifts(settings, it), "{it:?}");
            }
        }
        let doubtful = text("I would like to get your messages again please");
        assert_eq!(by(Some(&shop()), &doubtful).verdict.intent, Intent::OptIn);
        assert!(!lifts(Some(&shop()), &doubtful));
    }

    #[test]
    fn what_is_likely_is_held_without_a_confirmation() {
        let decision = by(Some(&shop()), &text("no thanks"));
        assert_eq!(decision.verdict.intent, Intent::OptOutLikely);
        assert!(decision.details.unwrap().note.starts_with("held as likely"));
        assert_eq!(decision.confirmation, None);
        let lenient = SenderSettings { holds_likely: false, ..shop() };
        assert_eq!(by(Some(&lenient), &text("no thanks")).details, None);
        assert!(by(None, &text("no thanks")).details.is_some());
    }

    #[test]
    fn a_button_stops_by_payload_by_text_and_by_the_customers_list() {
        let own = SenderSettings { buttons: vec!["BYE_42".to_owned()], ..shop() };
        let stops = |settings: &SenderSettings, it: &Incoming| {
            by(Some(settings), it).verdict.intent == Intent::OptOut
        };
        assert!(stops(&own, &button("bye_42", "Goodbye")));
        assert!(!stops(&shop(), &button("bye_42", "Goodbye")));
        assert!(stops(&shop(), &button("STOP", "🌵")));
        assert!(stops(&shop(), &button("id-77", "Cancelar suscripción")));
        // The payload is a program's name for it: it is no message.
        assert!(!stops(&shop(), &button("please remove me from the list", "Show more")));
        for it in ["Ver más", "Saber mais", "Shop now"] {
            assert_eq!(by(Some(&shop()), &button("", it)).details, None, "{it}");
        }
        // Of two that disagree the one that stops counts.
        assert!(stops(&shop(), &button("start", "Unsubscribe")));
        assert_eq!(by(Some(&own), &button("bye_42", "x")).details.unwrap().source, Source::Button);
    }

    #[test]
    fn no_text_of_a_provider_is_too_odd_to_be_recorded() {
        let long = Incoming {
            message_id: "é\0".repeat(4000),
            campaign: Some("ñ\u{7}".repeat(4000)),
            sender: "\n\0x".repeat(4000),
            ..text("STOP")
        };
        let details = by(None, &long).details.unwrap();
        for it in [&details.message_id, &details.campaign, &details.note, &details.word] {
            assert!(it.len() < 400 && !it.chars().any(char::is_control), "{it:?}");
        }
        assert_eq!(by(None, &long).details.unwrap().message_id, details.message_id);
        let other = Incoming { message_id: "é\0".repeat(4001), ..long };
        assert_ne!(by(None, &other).details.unwrap().message_id, details.message_id);
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_provider_brings_a_stop_can_be_recorded(
            sender in ".{0,300}", id in ".{1,600}", campaign in ".{0,600}", channel in "\\PC{0,9}",
            (is_known, capture, opt_in_lifts, holds_likely) in proptest::prelude::any::<(bool, bool, bool, bool)>(),
        ) {
            let campaign = Some(campaign);
            let it = Incoming { sender, message_id: id, campaign, channel, ..text("STOP") };
            let settings = SenderSettings { capture, opt_in_lifts, holds_likely, ..shop() };
            let decision = by(Some(&settings).filter(|_| is_known), &it);
            let details = decision.details.unwrap();
            proptest::prop_assert_eq!(details.action, Action::OptOut);
            proptest::prop_assert_eq!(decision.confirmation.is_some(), is_known && capture);
            proptest::prop_assert!(Scope::new(&details.channel, &details.sender, &details.brand).is_ok());
            for text in [&details.message_id, &details.campaign, &details.note, &details.word] {
                proptest::prop_assert!(text.len() < crate::store::TEXT_BYTES_MAX && !text.contains('\0'));
            }
        }
    }
}
