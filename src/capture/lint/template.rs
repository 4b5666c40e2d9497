//! Does a marketing template show the way out?
//!
//! A footer line that names a word to reply, or a button: each is read by the detector, as the
//! reply itself would be. A word that it does not read as an opt-out is no way out.

use serde::Deserialize;

use super::Finding;
use super::fold::{Folded, Word};
use super::words::{ENDS, LEAVING, REPLIES, is_among};
use crate::event::Category;
use crate::intent::{Detector, Intent, Message};

/// A message template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its language, such as `es` or `es_MX`; nothing if it is not known.
    #[serde(default)]
    pub language: String,
    /// Its category; only marketing needs a way out, and what is not named is marketing.
    #[serde(default)]
    pub category: String,
    /// The text.
    #[serde(default)]
    pub body: String,
    /// The line below.
    #[serde(default)]
    pub footer: String,
    /// The texts on the buttons that send a reply.
    #[serde(default)]
    pub buttons: Vec<String>,
}

/// Why a file is no template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is JSON, but not of a template.
    #[error(
        "line {line}, column {column}: this is no template: give body, footer, buttons, language \
         and category, or components as WhatsApp has them"
    )]
    Json {
        /// Where.
        line: usize,
        /// Where in it.
        column: usize,
    },
}

impl Template {
    /// Reads a template: JSON of its parts, JSON as WhatsApp's API has it (`components`), or plain
    /// text, which is all body.
    ///
    /// # Errors
    ///
    /// When it is JSON of something else.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if !text.trim_start().starts_with('{') {
            return Ok(Template { body: text.to_owned(), ..Template::default() });
        }
        let wrong = |error: serde_json::Error| TemplateError::Json {
            line: error.line(),
            column: error.column(),
        };
        match serde_json::from_str::<Whole>(text) {
            Ok(whole) => Ok(whole.into()),
            Err(_) => serde_json::from_str(text).map_err(wrong),
        }
    }
}

/// As WhatsApp's API has it; what is not needed here is left out.
#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    language: String,
    #[serde(default)]
    category: String,
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    buttons: Vec<Button>,
}

#[derive(Deserialize)]
struct Button {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
}

impl From<Whole> for Template {
    fn from(whole: Whole) -> Template {
        let Whole { language, category, components } = whole;
        let mut template = Template { language, category, ..Template::default() };
        for component in components {
            match component.kind.to_ascii_uppercase().as_str() {
                "BODY" => template.body = component.text,
                "FOOTER" => template.footer = component.text,
                "BUTTONS" => {
                    // A button that opens a page or calls sends no reply.
                    let replies = component
                        .buttons
                        .into_iter()
                        .filter(|it| it.kind.eq_ignore_ascii_case("QUICK_REPLY"));
                    template.buttons.extend(replies.map(|it| it.text));
                }
                _ => {}
            }
        }
        template
    }
}

/// What a marketing template lacks. A place is one in the footer, or in the body when there is no
/// footer. `buttons` are those that the sender takes for an opt-out whatever is on them.
pub fn template(template: &Template, detector: &Detector, buttons: &[String]) -> Vec<Finding> {
    if Category::of_message(&template.category) != Category::Marketing {
        return Vec::new();
    }
    let is_own = |text: &str| buttons.iter().any(|it| it.trim().eq_ignore_ascii_case(text.trim()));
    let leaves = |text: &String| {
        let read = detector.detect(&Message { button: Some(text), ..Message::default() });
        read.intent == Intent::OptOut || is_own(text)
    };
    if template.buttons.iter().any(leaves) {
        return Vec::new();
    }
    let text = if template.footer.trim().is_empty() { &template.body } else { &template.footer };
    let footer = lines(&template.footer, detector);
    let body = lines(&template.body, detector);
    let named = footer.named.as_ref().or(body.named.as_ref());
    if let Some(language) = named {
        return other_language(template, language.as_deref(), text).into_iter().collect();
    }
    let (what, at) = if let Some((word, at)) = footer.unread {
        (format!("a reply of \"{word}\" is not read as an opt-out"), at)
    } else if let Some((word, at)) = body.unread.filter(|_| template.footer.trim().is_empty()) {
        (format!("a reply of \"{word}\" is not read as an opt-out"), at)
    } else if footer.speaks || body.speaks {
        ("it speaks of leaving, but names no word to reply".to_owned(), 0..text.len())
    } else {
        ("no footer line and no button says how to get no more".to_owned(), 0..text.len())
    };
    let mend =
        format!("add the footer \"{}\" or a button \"{}\"", way(template).0, way(template).1);
    vec![Finding::refusal("way_out", what, at, &mend)]
}

/// A footer and a button in a template's language.
fn way(template: &Template) -> (&'static str, &'static str) {
    match base(&template.language) {
        "es" => ("Responde BAJA para no recibir más mensajes", "Cancelar suscripción"),
        "pt" => ("Responda SAIR para não receber mais mensagens", "Cancelar inscrição"),
        "fr" => ("Répondez STOP pour ne plus recevoir de messages", "Se désabonner"),
        "de" => ("Antworten Sie STOP, um nichts mehr zu erhalten", "Abmelden"),
        "it" => ("Rispondi STOP per non ricevere più messaggi", "Annulla iscrizione"),
        "id" => ("Balas BERHENTI untuk berhenti berlangganan", "Berhenti berlangganan"),
        _ => ("Reply STOP to opt out", "Unsubscribe"),
    }
}

fn base(language: &str) -> &str {
    language.split(['_', '-']).next().unwrap_or_default()
}

/// Nobody is helped by a way out in a language that he does not read.
fn other_language(template: &Template, read: Option<&str>, text: &str) -> Option<Finding> {
    let (own, read) = (base(&template.language), read?);
    let is_other = !own.is_empty() && read != "und" && !own.eq_ignore_ascii_case(read);
    let what = || format!("the way out reads as {read}, the template is {own}");
    is_other.then(|| {
        let mend = format!("write it as \"{}\"", way(template).0);
        Finding::advice("language", what(), 0..text.len(), &mend)
    })
}

/// What the sentences of a text say of leaving.
#[derive(Default)]
struct Lines {
    /// A reply is asked for with a word that is read as an opt-out: the sentence's language.
    named: Option<Option<String>>,
    /// A reply is asked for with another word.
    unread: Option<(String, std::ops::Range<usize>)>,
    /// It speaks of leaving.
    speaks: bool,
}

fn lines(text: &str, detector: &Detector) -> Lines {
    let folded = Folded::new(text);
    let words = folded.words();
    let mut lines = Lines::default();
    let count = words.last().map_or(0, |word| word.sentence + 1);
    for sentence in 0..count {
        let words: Vec<&Word> = words.iter().filter(|word| word.sentence == sentence).collect();
        let asks = words.iter().any(|word| is_among(&word.text, REPLIES));
        let speaks = words.iter().any(|word| is_among(&word.text, LEAVING));
        lines.speaks |= speaks;
        let (Some(first), Some(last)) = (words.first(), words.last()) else { continue };
        let whole = folded.place(first.letters.start..last.letters.end);
        for candidate in candidates(text, &folded, &words) {
            // "STOP to end" asks for the reply by standing first.
            let leads = || {
                let behind = words
                    .iter()
                    .filter(|it| folded.place(it.letters.clone()).start >= candidate.end);
                let ends = |it: &&Word| {
                    is_among(&it.text, LEAVING) || is_among(&it.text, ENDS) || it.text == "end"
                };
                candidate.start == whole.start && behind.copied().any(|it| ends(&it))
            };
            if !asks && !leads() {
                continue;
            }
            let word = text.get(candidate.clone()).unwrap_or_default();
            let read = detector.read(word);
            if read.intent == Intent::OptOut && read.rule == "lone_word" {
                let language = detector.read(&text[whole.clone()]).language.map(str::to_owned);
                lines.named = Some(language);
                return lines;
            }
            if speaks && lines.unread.is_none() {
                lines.unread = Some((word.to_owned(), candidate));
            }
        }
    }
    lines
}

/// Words that a sentence holds out to be replied: in quotation marks, or in capitals.
fn candidates(text: &str, folded: &Folded, words: &[&Word]) -> Vec<std::ops::Range<usize>> {
    let is_quote = |c: char| "\"'«»“”„‘’*`".contains(c);
    let stands_out = |word: &&Word| {
        let at = folded.place(word.letters.clone());
        let Some(own) = text.get(at.clone()) else { return false };
        let is_quoted = text[..at.start].chars().next_back().is_some_and(is_quote)
            && text[at.end..].chars().next().is_some_and(is_quote);
        let letters = own.chars().filter(|c| c.is_alphabetic()).count();
        let is_capital = letters > 1 && !own.chars().any(char::is_lowercase);
        is_quoted || is_capital
    };
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for word in words.iter().filter(|word| stands_out(word)) {
        let at = folded.place(word.letters.clone());
        // "STOP ALL" is one word to reply.
        match found.last_mut().filter(|it| text.get(it.end..at.start) == Some(" ")) {
            Some(before) => before.end = at.end,
            None => found.push(at),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_footer(language: &str, footer: &str) -> Template {
        Template {
            language: language.to_owned(),
            body: "ACME: everything for your garden is here".to_owned(),
            footer: footer.to_owned(),
            ..Template::default()
        }
    }

    fn rules(it: &Template) -> Vec<&'static str> {
        template(it, Detector::built_in(), &[]).iter().map(|it| it.rule).collect()
    }

    #[test]
    fn footers_that_name_a_stop_word_pass() {
        for (language, footer) in [
            ("es_MX", "Responde BAJA para no recibir más mensajes"),
            ("es", "Para dejar de recibir promociones envía \"baja\""),
            ("en_US", "Reply STOP to opt out"),
            ("en", "Text STOP ALL to get no more messages."),
            ("pt_BR", "Responda SAIR para não receber mais mensagens"),
            ("fr", "Répondez STOP pour ne plus recevoir de messages"),
            ("de", "Antworten Sie STOP, um nichts mehr zu erhalten"),
            ("it", "Rispondi STOP per non ricevere più messaggi"),
            ("id", "Balas BERHENTI untuk berhenti berlangganan"),
            ("en", "STOP to end"),
            ("en", "Msg rates may apply. Txt STOP to cancel"),
        ] {
            assert_eq!(rules(&with_footer(language, footer)), [""; 0], "{footer}");
        }
    }

    #[test]
    fn what_is_proposed_passes_itself() {
        for language in ["es", "pt", "fr", "de", "it", "id", "en"] {
            let mut own = with_footer(language, "");
            let (footer, button) = way(&own);
            assert_eq!(rules(&with_footer(language, footer)), [""; 0], "{footer}");
            own.buttons = vec![button.to_owned()];
            assert_eq!(rules(&own), [""; 0], "{button}");
        }
    }

    #[test]
    fn a_word_that_is_not_read_is_no_way_out() {
        let own = with_footer("en", "Reply PURPLE to opt out");
        let findings = template(&own, Detector::built_in(), &[]);
        assert_eq!(findings[0].rule, "way_out");
        assert_eq!(&own.footer[findings[0].at.clone()], "PURPLE");
        let taught = Detector::built_in().with("lone.opt_out\tpurple").unwrap();
        assert_eq!(template(&own, &taught, &[]), []);
        for footer in [
            "",
            "Terms apply",
            "To unsubscribe visit our page",
            "Reply YES for more",
            "STOP paying too much",
        ] {
            assert_eq!(rules(&with_footer("en", footer)), ["way_out"], "{footer}");
        }
    }

    #[test]
    fn buttons_are_read_as_they_are_pressed() {
        let mut own = with_footer("es", "");
        own.buttons = vec!["Ver más".to_owned(), "Cancelar suscripción".to_owned()];
        assert_eq!(rules(&own), [""; 0]);
        own.buttons = vec!["Ver más".to_owned(), "Abrir el mapa".to_owned()];
        assert_eq!(rules(&own), ["way_out"]);
        assert_eq!(template(&own, Detector::built_in(), &["abrir el mapa".to_owned()]), []);
    }

    #[test]
    fn another_language_is_told_and_other_categories_need_nothing() {
        assert_eq!(rules(&with_footer("es", "Reply STOP to get no more messages")), ["language"]);
        let utility = Template { category: "UTILITY".to_owned(), ..with_footer("es", "") };
        assert_eq!(rules(&utility), [""; 0]);
    }

    #[test]
    fn files_of_three_kinds_are_read() {
        let whatsapp = r#"{"name":"x","language":"es","category":"MARKETING","components":[
            {"type":"HEADER","format":"IMAGE"},{"type":"BODY","text":"Hola {{1}}"},
            {"type":"FOOTER","text":"Responde BAJA"},
            {"type":"BUTTONS","buttons":[{"type":"URL","text":"Unsubscribe","url":"https://x"},
            {"type":"QUICK_REPLY","text":"Salir"}]}]}"#;
        let read = Template::parse(whatsapp).unwrap();
        assert_eq!((&*read.body, &*read.footer), ("Hola {{1}}", "Responde BAJA"));
        assert_eq!(read.buttons, ["Salir"]);
        let parts = Template::parse(r#"{"body":"a","footer":"b","buttons":["c"]}"#).unwrap();
        assert_eq!((&*parts.body, &*parts.footer, parts.buttons.len()), ("a", "b", 1));
        assert_eq!(Template::parse("Reply STOP").unwrap().body, "Reply STOP");
        let error = Template::parse("{\"bodi\":\"a\"}").unwrap_err().to_string();
        assert!(error.starts_with("line 1"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged(body in "\\PC{0,60}", footer in ".{0,60}") {
            let own = Template { body, footer, ..Template::default() };
            for finding in template(&own, Detector::built_in(), &[]) {
                let text = if own.footer.trim().is_empty() { &own.body } else { &own.footer };
                proptest::prop_assert!(text.get(finding.at.clone()).is_some());
            }
        }
    }
}
