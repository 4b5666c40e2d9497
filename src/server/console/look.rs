//! How does an event look on a page?
//!
//! Promises: a number is shown with its middle hidden unless the visitor asked for it, also where
//! it stands inside of a text.

use super::texts::Texts;
use super::visit::Visit;
use crate::event::{Action, Event, Source, Tier};
use crate::number::{Address, Region};

/// An event, for a table or a history.
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) number: String,
    pub(super) action: &'static str,
    pub(super) action_word: &'static str,
    pub(super) occurred: String,
    pub(super) received: String,
    pub(super) source: &'static str,
    pub(super) source_word: &'static str,
    pub(super) channel: String,
    pub(super) sender: String,
    pub(super) campaign: String,
    pub(super) tier: &'static str,
    pub(super) word: String,
    pub(super) note: String,
    pub(super) operator: String,
    /// As it was written; empty while numbers are masked.
    pub(super) raw: String,
}

impl Row {
    pub(super) fn of(visit: &Visit, event: Event) -> Row {
        let (t, shows) = (visit.t, visit.shows_numbers);
        let text = |text: String| if shows { text } else { without_numbers(&text) };
        let details = event.details;
        Row {
            sequence: event.sequence,
            number: event.address.as_ref().map_or(t.forgotten.to_owned(), |it| shown(it, shows)),
            action: t.action(details.action),
            action_word: details.action.as_str(),
            occurred: visit.moment(event.occurred_at),
            received: visit.moment(event.received_at),
            source: t.source(details.source),
            source_word: details.source.as_str(),
            channel: details.channel,
            sender: details.sender,
            campaign: details.campaign,
            tier: t.tier(details.tier),
            word: text(details.word),
            note: text(details.note),
            operator: details.operator,
            raw: if shows { event.raw } else { String::new() },
        }
    }
}

/// An address, whole or masked.
pub(super) fn shown(address: &Address, is_whole: bool) -> String {
    match address {
        _ if is_whole => address.to_string(),
        Address::Id(id) => id.masked(),
        Address::Number(number) => {
            let digits = number.get().to_string();
            let code = number.calling_code().to_string();
            masked(&code, digits.strip_prefix(&code).unwrap_or_default())
        }
    }
}

/// `+52 55 •••• 5678`: at least half of the digits behind the calling code are hidden when there
/// are few of them.
fn masked(code: &str, national: &str) -> String {
    let count = national.len();
    let head = if count >= 10 { 2 } else { 0 };
    let tail = if count >= 8 { 4 } else { count / 3 };
    let dots = "•".repeat(count.saturating_sub(head + tail));
    let (head, rest) = national.split_at(head);
    let tail = &rest[rest.len() - tail..];
    let parts = [head, &dots, tail];
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.fold(format!("+{code}"), |text, part| text + " " + part)
}

/// A text in which whatever may be a number shows its last two digits only.
fn without_numbers(text: &str) -> String {
    const DIGITS_MIN: usize = 7;
    let is_part = |it: char| it.is_numeric() || " \u{a0}+-–.()/".contains(it);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(char::is_numeric) {
        let (before, from) = rest.split_at(begin);
        shown.push_str(before);
        let end = from.find(|it| !is_part(it)).unwrap_or(from.len());
        let (run, behind) = from.split_at(end);
        let digits = run.chars().filter(|it| it.is_numeric()).count();
        let mut left = digits;
        for it in run.chars() {
            let is_hidden = it.is_numeric() && digits >= DIGITS_MIN && left > 2;
            left -= usize::from(it.is_numeric());
            shown.push(if is_hidden { '•' } else { it });
        }
        rest = behind;
    }
    shown + rest
}

impl Texts {
    pub(super) fn action(&self, action: Action) -> &'static str {
        match action {
            Action::OptOut => self.opt_out,
            Action::Resubscribe => self.resubscribe,
            Action::Link => self.action_link,
            Action::Override => self.action_override,
            Action::Retract => self.action_retract,
        }
    }

    pub(super) fn source(&self, source: Source) -> &'static str {
        match source {
            Source::Api => self.source_api,
            Source::Keyword => self.source_keyword,
            Source::Button => self.source_button,
            Source::Preference => self.source_preference,
            Source::Import => self.source_import,
            Source::Registry => self.source_registry,
            Source::Agent => self.source_agent,
            Source::Carrier => self.source_carrier,
        }
    }

    pub(super) fn tier(&self, tier: Tier) -> &'static str {
        match tier {
            Tier::Marketing => self.tier_marketing,
            Tier::All => self.tier_all,
        }
    }
}

/// A choice of a list.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

impl Choice {
    pub(super) fn of(value: &str, label: &str, chosen: &str) -> Choice {
        let is_chosen = value == chosen;
        Choice { value: value.to_owned(), label: label.to_owned(), is_chosen }
    }
}

/// Regions of which many lists are, before all others.
const FIRST: [&str; 12] = ["MX", "BR", "AR", "CO", "CL", "PE", "EC", "UY", "GT", "US", "ES", "PT"];

/// The regions, with none before them.
pub(super) fn regions(none: &str, chosen: &str) -> Vec<Choice> {
    let others = Region::all().map(Region::as_str).filter(|it| !FIRST.contains(it));
    let each = FIRST.into_iter().chain(others).map(|it| Choice::of(it, it, chosen));
    std::iter::once(Choice::of("", none, chosen)).chain(each).collect()
}

/// The sources, with all of them before.
pub(super) fn sources(t: &Texts, chosen: &str) -> Vec<Choice> {
    let each = Source::ALL.iter().map(|&it| Choice::of(it.as_str(), t.source(it), chosen));
    std::iter::once(Choice::of("", t.all, chosen)).chain(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Number;

    #[test]
    fn a_number_shows_its_ends_only() {
        let shown = |value| shown(&Number::from_e164(value).unwrap().into(), false);
        assert_eq!(shown(525_512_345_678), "+52 55 •••• 5678");
        assert_eq!(shown(5_511_955_550_101), "+55 11 ••••• 0101");
        assert_eq!(shown(12_025_550_123), "+1 20 •••• 0123");
        assert_eq!(masked("47", "12345678"), "+47 •••• 5678");
        assert_eq!(masked("290", "12345"), "+290 •••• 5");
        assert_eq!(masked("290", ""), "+290");
    }

    #[test]
    fn a_number_inside_of_a_text_is_hidden_too() {
        assert_eq!(without_numbers("call 55 1234-5678!"), "call •• ••••-••78!");
        assert_eq!(without_numbers("(+52) 5512345678, or 12"), "(+••) ••••••••78, or 12");
        assert_eq!(without_numbers("order 4711 of 2026"), "order 4711 of 2026");
        assert_eq!(without_numbers("٥٥١٢٣٤٥٦٧٨ é"), "••••••••٧٨ é");
        assert_eq!(without_numbers(""), "");
    }
}
