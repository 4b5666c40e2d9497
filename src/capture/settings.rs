//! How are replies to one sender read, and how are they answered?
//!
//! [`SenderSettings`] say from which provider replies come and how it signs them, which words and
//! buttons of the customer's own are an opt-out, what is confirmed in which language, and who
//! sends that. Promises: settings that pass [`SenderSettings::check`] can be worked with; nothing
//! here shows a secret but the file that holds them. Leaves to others where they are kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::lint;
use crate::intent::{Detector, LexiconError};
use crate::policy::Scope;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 128;
const SECRET_CHARS: std::ops::RangeInclusive<usize> = 8..=512;
/// Bytes of a customer's table of words.
const WORDS_BYTES_MAX: usize = 64 << 10;
const BUTTONS_MAX: usize = 100;
const BUTTON_CHARS_MAX: usize = 256;
const LANGUAGES_MAX: usize = 40;
/// What stands for a secret where settings are shown.
const SHOWN_SECRET: &str = "(set)";

/// A secret; never in `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret of its text. Blanks and line ends around it are not part of it.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// Its text, for signing and sending.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is missing, or only stands for one that is set already.
    fn is_open(&self) -> bool {
        self.0.is_empty() || self.0 == SHOWN_SECRET
    }

    fn shown(&self) -> Secret {
        Secret(if self.0.is_empty() { String::new() } else { SHOWN_SECRET.to_owned() })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// From where replies come, and how they are known to come from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Provider {
    /// Nowhere by themselves: an own program posts them, with a key.
    #[default]
    None,
    /// Meta's WhatsApp Cloud API.
    Meta {
        /// Signs what comes.
        app_secret: Secret,
        /// Is asked for when the webhook is set up.
        verify_token: Secret,
    },
    /// Twilio.
    Twilio {
        /// Signs what comes.
        auth_token: Secret,
        /// The webhook's address as Twilio calls it; the signature is over it.
        url: String,
    },
    /// Any program that signs as Standard Webhooks do.
    Generic {
        /// Signs what comes.
        secret: Secret,
    },
}

/// Who sends confirmations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Delivery {
    /// Whoever posted the message: the text is in his answer.
    #[default]
    None,
    /// An endpoint of the shape of Meta's Graph API.
    Graph {
        /// What stands before the phone number id, such as `https://graph.facebook.com/v23.0`.
        url: String,
        /// From which number.
        phone_number_id: String,
        /// Opens it.
        token: Secret,
    },
    /// An endpoint of the shape of Twilio's API.
    Twilio {
        /// What stands before the version, such as `https://api.twilio.com`.
        url: String,
        /// The account.
        account_sid: String,
        /// Opens it.
        token: Secret,
        /// From which number.
        from: String,
    },
    /// An own program that takes signed JSON.
    Generic {
        /// Where it listens.
        url: String,
        /// Signs what is sent.
        secret: Secret,
    },
}

/// How replies to one sender are read and answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SenderSettings {
    /// The sender's name, as in events and in questions before a send.
    pub sender: String,
    /// The provider's name for it, such as a phone number id; empty when it is the same.
    pub provider_id: String,
    /// The channel, such as `whatsapp` or `sms`.
    pub channel: String,
    /// The brand behind it; empty when there is none.
    pub brand: String,
    /// From where replies come.
    pub provider: Provider,
    /// Whether opt-outs are confirmed and opt-ins count. Opt-outs are recorded either way.
    pub capture: bool,
    /// The customer's own words, a table as [`Detector::with`] takes it. They add, never replace.
    pub words: String,
    /// Texts or payloads of buttons that are an opt-out.
    pub buttons: Vec<String>,
    /// The languages that the sender serves, such as `es`.
    pub languages: Vec<String>,
    /// The language of a confirmation when the message's own is not known or has no text.
    pub language: String,
    /// What is sent to somebody who opted out, by language.
    pub confirmations: BTreeMap<String, String>,
    /// Whether a clear opt-in lifts an opt-out.
    pub opt_in_lifts: bool,
    /// Whether a probable opt-out is recorded as one.
    pub holds_likely: bool,
    /// Who sends confirmations.
    pub delivery: Delivery,
}

/// A setting that can't stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
#[non_exhaustive]
pub struct SettingsError {
    /// Which field, such as `confirmations.es`.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl SettingsError {
    fn new(field: impl Into<String>, what: impl Into<String>) -> SettingsError {
        SettingsError { field: field.into(), what: what.into() }
    }

    /// The customer's words can't be read.
    pub(crate) fn words(error: &LexiconError) -> SettingsError {
        SettingsError::new("words", error.to_string())
    }
}

impl SenderSettings {
    /// Settings of a sender on a channel: capture is off, doubt suppresses, a clear opt-in lifts.
    pub fn new(sender: &str, channel: &str) -> SenderSettings {
        SenderSettings {
            sender: sender.trim().to_owned(),
            provider_id: String::new(),
            channel: channel.trim().to_lowercase(),
            brand: String::new(),
            provider: Provider::None,
            capture: false,
            words: String::new(),
            buttons: Vec::new(),
            languages: Vec::new(),
            language: String::new(),
            confirmations: BTreeMap::new(),
            opt_in_lifts: true,
            holds_likely: true,
            delivery: Delivery::None,
        }
    }

    /// Whether it is meant by a channel and a name: its own, or the provider's. A channel that is
    /// not named may be any.
    pub fn is_meant(&self, channel: &str, name: &str) -> bool {
        let channel = channel.trim();
        let is_channel = channel.is_empty() || channel.eq_ignore_ascii_case(&self.channel);
        let wanted = plain(name);
        let names = [&self.sender, &self.provider_id];
        is_channel && !wanted.is_empty() && names.iter().any(|name| plain(name) == wanted)
    }

    /// Whether both are the same sender, or could be taken for each other.
    pub fn collides(&self, other: &SenderSettings) -> bool {
        let names = [&other.sender, &other.provider_id];
        names.iter().any(|name| self.is_meant(&other.channel, name))
    }

    /// The detector with the customer's own words; `None` when there are none.
    ///
    /// # Errors
    ///
    /// Names the line that can't be read.
    pub fn detector(&self) -> Result<Option<Detector>, LexiconError> {
        let has_own = !self.words.trim().is_empty();
        has_own.then(|| Detector::built_in().with(&self.words)).transpose()
    }

    /// The confirmation for somebody who wrote in a language, if there is one: its language and
    /// text.
    pub fn confirmation(&self, language: Option<&str>) -> Option<(&str, &str)> {
        let known = language.and_then(|it| self.confirmations.get_key_value(it));
        let found = known.or_else(|| self.confirmations.get_key_value(&self.language));
        found.map(|(language, text)| (&**language, &**text))
    }

    /// These settings without their secrets, for lists.
    #[must_use]
    pub fn shown(&self) -> SenderSettings {
        let mut shown = self.clone();
        shown.secrets().into_iter().for_each(|(_, secret)| *secret = secret.shown());
        shown
    }

    /// Takes the secrets that are missing here over from settings of the same kind.
    pub fn keep_secrets_of(&mut self, before: &SenderSettings) {
        let mut before = before.clone();
        let known: BTreeMap<_, _> =
            before.secrets().into_iter().map(|(field, it)| (field, it.clone())).collect();
        for (field, secret) in self.secrets() {
            if let Some(known) = known.get(field).filter(|_| secret.is_open()) {
                *secret = known.clone();
            }
        }
    }

    fn secrets(&mut self) -> Vec<(&'static str, &mut Secret)> {
        let mut secrets = match &mut self.provider {
            Provider::None => Vec::new(),
            Provider::Meta { app_secret, verify_token } => {
                vec![("provider.app_secret", app_secret), ("provider.verify_token", verify_token)]
            }
            Provider::Twilio { auth_token, .. } => vec![("provider.auth_token", auth_token)],
            Provider::Generic { secret } => vec![("provider.secret", secret)],
        };
        secrets.extend(match &mut self.delivery {
            Delivery::None => None,
            Delivery::Graph { token, .. } => Some(("delivery.token", token)),
            Delivery::Twilio { token, .. } => Some(("delivery.auth_token", token)),
            Delivery::Generic { secret, .. } => Some(("delivery.secret", secret)),
        });
        secrets
    }

    /// What can't stand, field by field; nothing when all can.
    pub fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        self.check_names(&mut errors);
        self.check_words(&mut errors);
        self.check_provider(&mut errors);
        self.check_delivery(&mut errors);
        self.check_texts(&mut errors);
        for (field, secret) in self.clone().secrets() {
            let count = secret.0.chars().count();
            if secret.is_open() {
                errors.push(SettingsError::new(field, "it is missing"));
            } else if !SECRET_CHARS.contains(&count)
                || secret.0.chars().any(|c| !c.is_ascii_graphic())
            {
                let what = "a secret has 8 to 512 visible ASCII characters without blanks";
                errors.push(SettingsError::new(field, what));
            }
        }
        errors
    }

    fn check_names(&self, errors: &mut Vec<SettingsError>) {
        let names = [
            ("sender", &self.sender, true),
            ("provider_id", &self.provider_id, false),
            ("brand", &self.brand, false),
        ];
        for (field, name, is_needed) in names {
            if is_needed && name.trim().is_empty() {
                errors.push(SettingsError::new(field, "it is missing"));
            }
            if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
                let what = "it has at most 128 characters, none of them a control character";
                errors.push(SettingsError::new(field, what));
            }
        }
        if self.channel.is_empty() {
            errors.push(SettingsError::new("channel", "it is missing: whatsapp, sms or another"));
        } else if let Err(error) = Scope::new(&self.channel, &self.sender, &self.brand) {
            errors.push(SettingsError::new("channel", error.to_string()));
        }
    }

    fn check_words(&self, errors: &mut Vec<SettingsError>) {
        if self.words.len() > WORDS_BYTES_MAX {
            errors.push(SettingsError::new("words", "the table has more than 65,536 bytes"));
        } else if let Err(error) = self.detector() {
            errors.push(SettingsError::words(&error));
        }
        let is_odd = |it: &String| {
            it.trim().is_empty()
                || it.chars().count() > BUTTON_CHARS_MAX
                || it.chars().any(char::is_control)
        };
        if self.buttons.len() > BUTTONS_MAX || self.buttons.iter().any(is_odd) {
            let what = "at most 100 texts of 1 to 256 characters, without control characters";
            errors.push(SettingsError::new("buttons", what));
        }
    }

    fn check_provider(&self, errors: &mut Vec<SettingsError>) {
        if let Provider::Twilio { url, .. } = &self.provider {
            check_url("provider.url", url, errors);
        }
    }

    fn check_delivery(&self, errors: &mut Vec<SettingsError>) {
        let mut name = |field: &str, text: &str| {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
            if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.bytes().all(is_name) {
                let what = "it is missing, or has other signs than letters, digits, _ - .";
                errors.push(SettingsError::new(field, what));
            }
        };
        match &self.delivery {
            Delivery::None => {}
            Delivery::Graph { url, phone_number_id, .. } => {
                name("delivery.phone_number_id", phone_number_id);
                check_url("delivery.url", url, errors);
            }
            Delivery::Twilio { url, account_sid, from, .. } => {
                name("delivery.account_sid", account_sid);
                check_url("delivery.url", url, errors);
                let count = from.chars().count();
                if !(1..=NAME_CHARS_MAX).contains(&count) || from.chars().any(char::is_control) {
                    let what = "it is missing: the number that confirmations come from";
                    errors.push(SettingsError::new("delivery.from", what));
                }
            }
            Delivery::Generic { url, .. } => check_url("delivery.url", url, errors),
        }
    }

    fn check_texts(&self, errors: &mut Vec<SettingsError>) {
        let mut wrong = |field: String, what: String| errors.push(SettingsError { field, what });
        let of = |language: &String| format!("confirmations.{language}");
        let all = [&self.language].into_iter().filter(|it| !it.is_empty());
        let all = all.chain(&self.languages).chain(self.confirmations.keys());
        if let Some(language) = all.clone().find(|it| !is_language(it)) {
            let shown: String = language.chars().take(20).collect();
            let what =
                format!("\"{shown}\" is no language: write two or three letters, such as es");
            wrong("languages".to_owned(), what);
        }
        if self.languages.len().max(self.confirmations.len()) > LANGUAGES_MAX {
            wrong("languages".to_owned(), "there are more than 40".to_owned());
        }
        for (language, text) in &self.confirmations {
            let findings = lint::confirmation(text, &self.channel);
            if let Some(it) = findings.into_iter().find(|it| it.refuses) {
                let (from, to) = (it.at.start, it.at.end);
                let what = format!("bytes {from} to {to}: {}: {}", it.what, it.mend);
                wrong(of(language), what);
            }
        }
        if !self.capture {
            return;
        }
        if self.language.is_empty() {
            let what = "capture can't be on without a default language of confirmations";
            wrong("language".to_owned(), what.to_owned());
        }
        for language in
            [&self.language].into_iter().filter(|it| !it.is_empty()).chain(&self.languages)
        {
            if !self.confirmations.contains_key(language) {
                let what = "capture can't be on without a confirmation in this language";
                wrong(of(language), what.to_owned());
            }
        }
    }
}

/// A name of a sender as it is compared.
fn plain(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix("whatsapp:").unwrap_or(name);
    Scope::new("", name, "").map(|scope| scope.sender().to_owned()).unwrap_or_default()
}

fn is_language(text: &str) -> bool {
    matches!(text.len(), 2 | 3) && text.bytes().all(|it| it.is_ascii_lowercase())
}

/// An address is one of a site with encryption, or of this machine.
fn check_url(field: &str, url: &str, errors: &mut Vec<SettingsError>) {
    let rest = url.strip_prefix("https://");
    let own = url.strip_prefix("http://").filter(|rest| is_this_machine(rest));
    let is_sign = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}@#".contains(&b);
    let fits = rest.or(own).is_some_and(|rest| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        !host.is_empty() && rest.bytes().all(is_sign)
    });
    if !fits || url.len() > 2048 {
        let what = "write it as https://host/path without a name and without #; http only on \
                    this machine";
        errors.push(SettingsError::new(field, what));
    }
}

/// Whether the part of an address behind `://` names this machine.
pub(crate) fn is_this_machine(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> SenderSettings {
        let mut it = SenderSettings::new("shop", "whatsapp");
        it.provider_id = "106540352242922".to_owned();
        it.provider = Provider::Meta {
            app_secret: Secret::new("app-secret-1"),
            verify_token: Secret::new("verify-token-1\n"),
        };
        it.delivery = Delivery::Graph {
            url: "https://graph.example/v23.0".to_owned(),
            phone_number_id: "106540352242922".to_owned(),
            token: Secret::new("graph-token-1"),
        };
        it.language = "es".to_owned();
        it.confirmations.insert("es".to_owned(), "Ya no recibirás más mensajes.".to_owned());
        it.capture = true;
        it
    }

    fn fields(it: &SenderSettings) -> Vec<String> {
        it.check().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn whole_settings_pass_and_hide_their_secrets() {
        let it = whole();
        assert_eq!(it.check(), []);
        let shown = format!("{it:?} {}", serde_json::to_string(&it.shown()).unwrap());
        for secret in ["app-secret-1", "verify-token-1", "graph-token-1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains(SHOWN_SECRET));
    }

    #[test]
    fn capture_needs_a_confirmation_for_each_language_that_is_served() {
        let mut it = whole();
        it.languages = vec!["es".to_owned(), "pt".to_owned()];
        assert_eq!(fields(&it), ["confirmations.pt"]);
        it.capture = false;
        assert_eq!(fields(&it), [""; 0]);
        it.capture = true;
        it.confirmations.insert("pt".to_owned(), "Veja acme.com".to_owned());
        assert_eq!(fields(&it), ["confirmations.pt"]);
        it.confirmations.insert("pt".to_owned(), "Você não receberá mais mensagens.".to_owned());
        assert_eq!(fields(&it), [""; 0]);
        it.language = String::new();
        assert_eq!(fields(&it), ["language"]);
        it.confirmations.clear();
        assert_eq!(fields(&it), ["language", "confirmations.es", "confirmations.pt"]);
    }

    #[test]
    fn each_field_is_named_when_it_can_not_stand() {
        let mut it = whole();
        it.sender = " ".to_owned();
        it.channel = "fax".to_owned();
        it.words = "lone.opt_out adios".to_owned();
        it.buttons = vec![String::new()];
        it.provider = Provider::Twilio {
            auth_token: Secret::new("short"),
            url: "http://example.com/hook".to_owned(),
        };
        it.delivery = Delivery::Twilio {
            url: "https://user@api.example".to_owned(),
            account_sid: "AC/../x".to_owned(),
            token: Secret::default(),
            from: String::new(),
        };
        let expected = [
            "sender",
            "channel",
            "words",
            "buttons",
            "provider.url",
            "delivery.account_sid",
            "delivery.url",
            "delivery.from",
            "provider.auth_token",
            "delivery.auth_token",
        ];
        assert_eq!(fields(&it), expected);
        for url in ["http://127.0.0.1:9/x", "http://[::1]/x", "https://a.example"] {
            let mut errors = Vec::new();
            check_url("url", url, &mut errors);
            assert_eq!(errors, [], "{url}");
        }
        for url in ["http://localhost.evil.example/", "ftp://x", "https://", "https://a b", "x"] {
            let mut errors = Vec::new();
            check_url("url", url, &mut errors);
            assert_eq!(errors.len(), 1, "{url}");
        }
    }

    #[test]
    fn shown_settings_keep_the_secrets_that_were_set() {
        let before = whole();
        let mut edited = before.shown();
        assert!(!edited.check().is_empty(), "a shown secret is none");
        edited.brand = "acme".to_owned();
        edited.keep_secrets_of(&before);
        assert_eq!(edited.check(), []);
        assert_eq!(edited, SenderSettings { brand: "acme".to_owned(), ..before });
    }

    #[test]
    fn a_sender_is_known_by_both_names_on_its_channel() {
        let it = whole();
        assert!(it.is_meant("whatsapp", "Shop") && it.is_meant("", "106540352242922"));
        assert!(!it.is_meant("sms", "shop") && !it.is_meant("whatsapp", ""));
        let mut number = SenderSettings::new("+52 55 1234 5678", "whatsapp");
        assert!(number.is_meant("whatsapp", "whatsapp:+525512345678"));
        assert!(!it.collides(&number));
        number.provider_id = "SHOP".to_owned();
        assert!(it.collides(&number) && number.collides(&it));
    }

    #[test]
    fn the_language_of_the_message_is_answered_if_there_is_a_text() {
        let mut it = whole();
        it.confirmations.insert("en".to_owned(), "No more messages.".to_owned());
        assert_eq!(it.confirmation(Some("en")).unwrap().0, "en");
        assert_eq!(it.confirmation(Some("de")).unwrap().0, "es");
        assert_eq!(it.confirmation(None).unwrap().0, "es");
    }
}
