//! What must not stand in a confirmation?
//!
//! One message that says that no more come, and nothing else: no link, no offer, nothing that
//! holds somebody back (FCC, 47 CFR 64.1200(a)(12), and its declaratory ruling 12-143: the text
//! "merely confirms" and has no marketing in it). Words are judged by lists: a text that passes is
//! not thereby lawful, one that fails is not fit.

use std::ops::Range;

use super::Finding;
use super::fold::{Folded, Word, is_invisible};
use super::words::{
    CALLS, DOTS, ENDS, MONEY, MONEY_SIGNS, NAMED, OFFERS, PERSUASIONS, SITES, SPELLED_SITES, STAY,
    TURNS, is_among,
};

/// Characters of a message elsewhere than in SMS: the bound of a WhatsApp text with a template.
const CHARS_MAX: usize = 1024;
/// Units of one SMS.
const GSM_MAX: usize = 160;
const UCS2_MAX: usize = 70;

/// What is wrong with a confirmation on a channel, such as `sms`; nothing that refuses when it is
/// fit.
pub fn confirmation(text: &str, channel: &str) -> Vec<Finding> {
    let folded = Folded::new(text);
    let words = folded.words();
    let mut findings = Vec::new();
    if words.is_empty() {
        let what = "the text has no words".to_owned();
        let mend = "say that no more messages come, such as \"You get no more messages from us.\"";
        findings.push(Finding::refusal("empty", what, 0..text.len(), mend));
        return findings;
    }
    controls(text, &mut findings);
    placeholders(text, &mut findings);
    length(text, channel, &mut findings);
    links(&folded, &words, &mut findings);
    offers(&folded, &words, &mut findings);
    prices(&folded, &words, &mut findings);
    persuasion(&folded, &words, &mut findings);
    if !words.iter().any(|word| is_among(&word.text, ENDS)) {
        let what = "it does not say that no more messages come".to_owned();
        let mend = "say so in plain words: that is what the message is for";
        findings.push(Finding::advice("no_end", what, 0..text.len(), mend));
    }
    findings
}

fn controls(text: &str, findings: &mut Vec<Finding>) {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        // An emoji may be joined of several, and have a form.
        let joins = matches!(c, '\u{200d}' | '\u{fe0f}') && !before.is_alphanumeric();
        if (c.is_control() && c != '\n') || (is_invisible(c) && !joins) {
            let what = format!("a character that nobody sees: U+{:04X}", u32::from(c));
            let at = at..at + c.len_utf8();
            findings.push(Finding::refusal("control", what, at, "take it out"));
        }
        before = c;
    }
}

fn placeholders(text: &str, findings: &mut Vec<Finding>) {
    for (open, close) in [("{{", "}}"), ("${", "}"), ("[[", "]]"), ("%{", "}")] {
        if let Some(at) = text.find(open)
            && let Some(length) = text[at..].find(close)
        {
            let what = "a place that nothing is filled into".to_owned();
            let at = at..at + length + close.len();
            let mend = "write the text as it is to be sent: it is the same for everybody";
            findings.push(Finding::refusal("placeholder", what, at, mend));
        }
    }
}

fn length(text: &str, channel: &str, findings: &mut Vec<Finding>) {
    let mut refuse = |what: String, at: usize, mend: &str| {
        findings.push(Finding::refusal("length", what, at..text.len(), mend));
    };
    if channel != "sms" {
        if let Some((at, _)) = text.char_indices().nth(CHARS_MAX) {
            let what = format!("{} characters; {CHARS_MAX} fit", text.chars().count());
            refuse(what, at, "shorten it to one message");
        }
        return;
    }
    let is_gsm = text.chars().all(|c| gsm_units(c).is_some());
    let (units, max): (fn(char) -> usize, usize) = match is_gsm {
        true => (|c| gsm_units(c).unwrap_or(1), GSM_MAX),
        false => (char::len_utf16, UCS2_MAX),
    };
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += units(c);
        if used > max {
            let total: usize = text.chars().map(units).sum();
            let odd = text.chars().find(|&c| gsm_units(c).is_none());
            let why = odd.map_or(String::new(), |c| format!(" with a character such as \"{c}\""));
            let mend = match is_gsm {
                true => "shorten it to one SMS",
                false => "shorten it to one SMS, or keep to the letters of the GSM alphabet",
            };
            return refuse(format!("{total} units; one SMS{why} has {max}"), at, mend);
        }
    }
}

/// Septets in the GSM 7-bit alphabet (3GPP TS 23.038); `None` outside of it.
fn gsm_units(c: char) -> Option<usize> {
    const BASIC: &str = "@£$¥èéùìòÇ\nØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                         ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
    const EXTENDED: &str = "^{}\\[~]|€";
    if BASIC.contains(c) {
        return Some(1);
    }
    EXTENDED.contains(c).then_some(2)
}

fn links(folded: &Folded, words: &[Word], findings: &mut Vec<Finding>) {
    let letters = folded.letters();
    let mut refuse = |run: Range<usize>| {
        let at = folded.place(run);
        let what = "a link, or what reads like one".to_owned();
        let mend = "leave it out; behind a full stop write a blank";
        if findings.iter().all(|it: &Finding| it.rule != "link" || it.at != at) {
            findings.push(Finding::refusal("link", what, at, mend));
        }
    };
    for run in folded.runs() {
        if is_link(&letters[run.clone()]) {
            refuse(run);
        }
    }
    for three in words.windows(3) {
        if is_among(&three[1].text, DOTS) && is_among(&three[2].text, SPELLED_SITES) {
            refuse(three[0].letters.start..three[2].letters.end);
        }
    }
    // A dot that stands apart: "example . com", "example[.]com".
    for pair in words.windows(2) {
        let between = &letters[pair[0].letters.end..pair[1].letters.start];
        let dots = between.iter().filter(|&&c| c == '.').count();
        let others = between.iter().any(|&c| !c.is_whitespace() && !"[](){}.".contains(c));
        let is_apart = between.len() > 1 && between.first() != Some(&'.');
        if dots == 1 && !others && is_apart && is_among(&pair[1].text, SPELLED_SITES) {
            refuse(pair[0].letters.start..pair[1].letters.end);
        }
    }
}

/// Whether a run without blanks holds an address of a site.
fn is_link(run: &[char]) -> bool {
    let text: String = run.iter().collect();
    if ["://", "http:", "https:", "www.", "mailto:", "tel:"].iter().any(|it| text.contains(it)) {
        return true;
    }
    let is_label = |c: char| c.is_alphanumeric() || c == '-';
    let parts: Vec<&str> = text.split('.').collect();
    for pair in parts.windows(2) {
        let behind = pair[0].chars().next_back().is_some_and(is_label);
        let end = pair[1].find(|c| !is_label(c)).unwrap_or(pair[1].len());
        let (label, rest) = pair[1].split_at(end);
        let is_site = is_among(label, SITES) || label.starts_with("xn--");
        let is_path = rest.starts_with('/') && label.chars().any(char::is_alphabetic);
        if behind && (is_site || is_path) {
            return true;
        }
    }
    let is_part = |part: &&str| {
        let digits = part.trim_matches(|c: char| !c.is_ascii_digit());
        (1..=3).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit())
    };
    parts.windows(4).any(|four| four.iter().all(is_part))
}

fn offers(folded: &Folded, words: &[Word], findings: &mut Vec<Finding>) {
    let says = |sentence: usize, list: &[&str]| {
        words.iter().any(|word| word.sentence == sentence && is_among(&word.text, list))
    };
    let mut ends_in = None;
    for word in words {
        if is_among(&word.text, ENDS) {
            ends_in = Some(word.sentence);
        }
        if is_among(&word.text, TURNS) {
            ends_in = None;
        }
        // "No more offers", "offers are stopped": what ends is named, unless the sentence turns.
        let is_ended = ends_in == Some(word.sentence)
            || (says(word.sentence, ENDS) && !says(word.sentence, TURNS));
        let is_named = is_among(&word.text, NAMED) && !is_ended;
        if is_named || is_among(&word.text, OFFERS) {
            let what = format!("\"{}\" speaks of an offer", word.text);
            let mend = match is_named {
                true => "leave it out, or say in the same sentence that they end",
                false => "leave it out: a confirmation advertises nothing",
            };
            let at = folded.place(word.letters.clone());
            findings.push(Finding::refusal("offer", what, at, mend));
        }
    }
    for (phrase, at) in phrases(folded, words, CALLS) {
        let what = format!("\"{phrase}\" calls to buy");
        let mend = "leave it out: a confirmation advertises nothing";
        findings.push(Finding::refusal("offer", what, at, mend));
    }
}

/// The phrases of a list that words hold, with their places.
fn phrases<'a>(folded: &Folded, words: &[Word], list: &[&'a str]) -> Vec<(&'a str, Range<usize>)> {
    let mut line = String::new();
    let mut starts = Vec::new();
    for word in words {
        line.push(' ');
        starts.push(line.len());
        line.push_str(&word.text);
    }
    let place = |at: usize, length: usize| {
        let first = starts.partition_point(|&it| it < at);
        let last = starts.partition_point(|&it| it < at + length).max(first + 1) - 1;
        folded.place(words[first].letters.start..words[last].letters.end)
    };
    let found = list.iter().filter_map(|&phrase| {
        let at = line.find(&format!(" {phrase}"))?;
        Some((phrase, place(at + 1, phrase.len())))
    });
    found.collect()
}

fn prices(folded: &Folded, words: &[Word], findings: &mut Vec<Finding>) {
    let letters = folded.letters();
    let is_number = |word: &Word| word.text.bytes().all(|it| it.is_ascii_digit());
    for (at, word) in words.iter().enumerate() {
        let times = word.text.split_once('x').is_some_and(|(one, other)| {
            let is_digits = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
            is_digits(one) && is_digits(other)
        });
        let mut run = word.letters.clone();
        let mut is_price = times;
        if is_number(word) {
            let sign = |c: Option<&char>| c.is_some_and(|c| MONEY_SIGNS.contains(c) || *c == '%');
            let before = letters[..run.start].iter().rev().take(2);
            let before =
                before.take_while(|c| c.is_whitespace() || sign(Some(c))).collect::<Vec<_>>();
            let behind = letters[run.end..].iter().take(2);
            let behind =
                behind.take_while(|c| c.is_whitespace() || sign(Some(c))).collect::<Vec<_>>();
            let money = words
                .get(at + 1)
                .filter(|it| it.sentence == word.sentence && is_among(&it.text, MONEY));
            is_price |=
                before.iter().any(|c| sign(Some(c))) || behind.iter().any(|c| sign(Some(c)));
            if let Some(money) = money {
                (is_price, run.end) = (true, money.letters.end);
            }
        }
        if is_price {
            let what = "a price, or a part of one".to_owned();
            let mend = "leave it out: a confirmation advertises nothing";
            findings.push(Finding::refusal("offer", what, folded.place(run), mend));
        }
    }
}

fn persuasion(folded: &Folded, words: &[Word], findings: &mut Vec<Finding>) {
    let mend = "leave it out: the person has decided";
    for (phrase, at) in phrases(folded, words, PERSUASIONS) {
        let what = format!("\"{phrase}\" holds somebody back");
        findings.push(Finding::refusal("persuasion", what, at, mend));
    }
    let asks = |sentence: usize| {
        let last = words.iter().rfind(|word| word.sentence == sentence);
        let behind = last.map(|word| &folded.letters()[word.letters.end..]).unwrap_or_default();
        let end = behind.iter().find(|c| !c.is_whitespace() && !"\"')»”".contains(**c));
        matches!(end, Some('?' | '؟'))
    };
    let count = words.last().map_or(0, |word| word.sentence + 1);
    for sentence in (0..count).filter(|&it| asks(it)) {
        let mut held = words.iter().filter(|word| word.sentence == sentence);
        if let Some(word) = held.find(|word| is_among(&word.text, STAY)) {
            let what = "a question that invites to stay".to_owned();
            let at = folded.place(word.letters.clone());
            findings.push(Finding::refusal("persuasion", what, at, mend));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, channel: &str) -> Vec<&'static str> {
        let findings = confirmation(text, channel);
        for finding in &findings {
            assert!(text.get(finding.at.clone()).is_some(), "{text}: {finding:?}");
        }
        let mut rules: Vec<_> = findings.iter().filter(|it| it.refuses).map(|it| it.rule).collect();
        rules.dedup();
        rules
    }

    #[test]
    fn plain_confirmations_pass_in_every_language() {
        for text in [
            "You are unsubscribed from Acme and get no more messages. Reply START to come back.",
            "Acme: you will receive no more offers or promotions from us.",
            "Listo. Ya no recibirás más promociones de Acme. Escribe ALTA para volver.",
            "Has sido dado de baja. No te enviaremos más ofertas ni mensajes.",
            "Pronto! Você não receberá mais promoções da Acme. Envie VOLTAR se mudar de ideia.",
            "C'est fait. Vous ne recevrez plus de messages ni d'offres d'Acme.",
            "Sie sind abgemeldet und erhalten keine Angebote mehr von Acme.",
            "Fatto. Non riceverai più messaggi da Acme S.A. de C.V.",
            "Anda berhasil berhenti berlangganan. Tidak ada pesan lagi.",
            "You get no more messages. Questions? Call 555 0100.",
            "You have successfully been unsubscribed. You will not receive any more messages from this \
             number. Reply START to resubscribe.",
            "Best Buy: promotional messages are now off. Didn't mean to? Reply START.",
            "You still get order updates but no more promotions from The Body Shop.",
            "Promociones canceladas. Seguirás recibiendo avisos de tu compra.",
            "Vous êtes désinscrit. Plus aucun message promotionnel ne vous sera envoyé.",
        ] {
            assert_eq!(confirmation(text, "whatsapp"), [], "{text}");
        }
    }

    #[test]
    fn links_are_refused_however_they_are_written() {
        for link in [
            "https://acme.example/x",
            "HTTP://acme",
            "www.acme",
            "acme.com",
            "bit.ly/3xYz",
            "wa.me/52155",
            "ａｃｍｅ．ｃｏｍ",
            "аcme.соm",
            "acme。com",
            "ac\u{200b}me.co\u{ad}m",
            "acme dot com",
            "acme punto com",
            "acme . com",
            "acme[.]com",
            "acme(.)com",
            "xn--80ak6aa92e.xn--p1ai",
            "tienda.mx",
            "http∶//x",
            "192.168.10.7",
            "mail@acme.org",
            "𝐚𝐜𝐦𝐞.𝐜𝐨𝐦",
            "loja.acme.com.br.",
        ] {
            let text = format!("You get no more messages, see {link} now");
            assert!(refused(&text, "whatsapp").contains(&"link"), "{link}");
        }
    }

    #[test]
    fn offers_and_prices_are_refused() {
        for text in [
            "You are unsubscribed. But today everything is 50% off!",
            "You get no more messages. Last chance: 20 % discount.",
            "No recibirás más mensajes. Tenemos nuevas ofertas.",
            "No recibirás más mensajes pero hoy hay promociones.",
            "Você não receberá mais mensagens. Aproveite o cupom VOLTA10.",
            "Keine Nachrichten mehr. Hier ein Gutschein.",
            "Vous ne recevrez plus rien. Profitez de nos remises.",
            "Non riceverai più messaggi. Sconto per te.",
            "No more messages. It costs $5.",
            "No more messages. Solo 99 pesos.",
            "No more messages. 2x1.",
            "No more messages. Buy now!",
            "No more messages. Ｄｉｓｃｏｕｎｔ!",
            "No more messages, 10€ for you",
            "no more: R$ 10",
        ] {
            assert!(refused(text, "whatsapp").contains(&"offer"), "{text}");
        }
    }

    #[test]
    fn nobody_is_held_back() {
        for text in [
            "No more messages. We will miss you!",
            "Are you sure you want no more messages?",
            "¿Seguro que no quieres más mensajes?",
            "Ya no te escribiremos. Te extrañaremos.",
            "Não enviaremos mais. Tem certeza?",
            "No more messages. Why did you leave?",
            "Sie erhalten keine Nachrichten mehr. Wollen Sie nicht bleiben?",
        ] {
            assert!(refused(text, "whatsapp").contains(&"persuasion"), "{text}");
        }
    }

    #[test]
    fn one_message_is_one_message() {
        let gsm = |count: usize| format!("No {}", "x".repeat(count - 3));
        assert_eq!(refused(&gsm(160), "sms"), [""; 0]);
        assert_eq!(refused(&gsm(161), "sms"), ["length"]);
        // A sign of the extension table takes two places.
        assert_eq!(refused(&format!("{}^", gsm(158)), "sms"), [""; 0]);
        assert_eq!(refused(&format!("{}^", gsm(159)), "sms"), ["length"]);
        // "ã" is not in the alphabet; a picture takes two places of 70.
        assert_eq!(refused(&format!("não{}", "x".repeat(67)), "sms"), [""; 0]);
        assert_eq!(refused(&format!("não{}", "x".repeat(68)), "sms"), ["length"]);
        assert_eq!(refused(&format!("no {}😀", "x".repeat(66)), "sms"), ["length"]);
        assert_eq!(refused(&gsm(1024), "whatsapp"), [""; 0]);
        assert_eq!(refused(&gsm(1025), "whatsapp"), ["length"]);
    }

    #[test]
    fn empty_hidden_and_unfilled_texts_are_refused() {
        for text in ["", "   ", "\u{200b}", "…!"] {
            assert_eq!(refused(text, "sms"), ["empty"], "{text:?}");
        }
        assert_eq!(refused("No more\u{7} messages", "sms"), ["control"]);
        assert_eq!(refused("No more \u{202e}messages", "whatsapp"), ["control"]);
        assert_eq!(refused("No more messages 👨\u{200d}👩", "whatsapp"), [""; 0]);
        assert_eq!(refused("No more messages, {{1}}", "whatsapp"), ["placeholder"]);
        let findings = confirmation("Thank you.", "sms");
        assert_eq!(findings.iter().map(|it| it.rule).collect::<Vec<_>>(), ["no_end"]);
        assert!(!findings[0].refuses);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_and_places_lie_on_characters(text in "\\PC{0,80}", odd in ".{0,40}") {
            for text in [text, odd] {
                for channel in ["sms", "whatsapp"] {
                    for finding in confirmation(&text, channel) {
                        proptest::prop_assert!(text.get(finding.at.clone()).is_some());
                    }
                }
            }
        }
    }
}
