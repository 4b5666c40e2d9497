//! Who may get a message? The rules of `docs/verdict.md`, said once more as plainly as can be,
//! with nothing of the library's.
//!
//! A history is a list of events in the order of arrival. Everything is asked again of the whole
//! list each time.

/// Where something holds, or over what a message goes. Empty is every one, or not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scope {
    pub channel: String,
    pub sender: String,
    pub brand: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its place in the order of arrival.
    pub sequence: u64,
    /// A number or an id.
    pub address: String,
    /// The other one of a link.
    pub linked: String,
    /// `opt-out`, `resubscribe`, `override`, `retract` or `link`.
    pub action: String,
    pub scope: Scope,
    /// `marketing` or `all`.
    pub tier: String,
    pub ground: String,
    pub source: String,
    /// What an override names.
    pub category: String,
    /// Whether an operator's resubscribe is meant for the person's own word too.
    pub overrides: bool,
    /// The import to which it belongs, or which it takes back; 0 for none.
    pub batch: u64,
    pub message_id: String,
    pub occurred_at: i64,
    pub received_at: i64,
}

/// An outside list from the moment of its import, until the next of the same name.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub name: String,
    /// Who is on it agreed; else, who is on it wants nothing.
    pub is_consent: bool,
    pub scope: Scope,
    pub received_at: i64,
    pub members: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub scope: Scope,
    pub category: String,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Decision {
    Allowed,
    Exempt,
    Suppressed,
}

/// The decision, and all that leads to it: the rule, and the first recorded of its opt-outs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub decision: Decision,
    pub reasons: Vec<(&'static str, Option<u64>)>,
}

/// May the message be sent to this address, by what had been received until `at`?
pub(crate) fn verdict(
    history: &[Event],
    layers: &[Layer],
    address: &str,
    message: &Message,
    at: i64,
) -> Verdict {
    let mut found = vec![];
    for opt_out in standing(history, address, at) {
        if may_concern(&opt_out.scope, &message.scope) {
            let (decision, rule) = rule_on(history, &opt_out, message, address, at);
            found.push((decision, rule, Some(opt_out.sequence)));
        }
    }
    if let Some((decision, rule)) = registry_rule(layers, address, message, at) {
        found.push((decision, rule, None));
    }
    let mut decision = Decision::Allowed;
    for (one, _, _) in &found {
        if *one > decision {
            decision = *one;
        }
    }
    let mut reasons: Vec<(&str, Option<u64>)> = vec![];
    for (one, rule, since) in found {
        // Opt-outs come in the order of recording: the first stays.
        if one == decision && !reasons.iter().any(|(other, _)| *other == rule) {
            reasons.push((rule, since));
        }
    }
    Verdict { decision, reasons }
}

/// What an opt-out that is about the message means for it.
fn rule_on(
    history: &[Event],
    opt_out: &Event,
    message: &Message,
    address: &str,
    at: i64,
) -> (Decision, &'static str) {
    let is_marketing = message.category == "marketing";
    if opt_out.tier == "marketing" {
        return match is_marketing {
            true => (Decision::Suppressed, "opt-out"),
            false => (Decision::Exempt, "category-exempt"),
        };
    }
    for event in counting(history, address, at) {
        if event.action == "override"
            && event.category == message.category
            && !is_marketing
            && covers(&event.scope, &opt_out.scope)
            && is_later(&event, opt_out)
        {
            return (Decision::Exempt, "override");
        }
    }
    (Decision::Suppressed, "opt-out-all")
}

/// What the outside lists mean for a message.
fn registry_rule(
    layers: &[Layer],
    address: &str,
    message: &Message,
    at: i64,
) -> Option<(Decision, &'static str)> {
    let (mut is_listed, mut has_agreed) = (false, false);
    for (place, layer) in layers.iter().enumerate() {
        let is_known = layer.received_at <= at;
        let is_replaced = layers[place + 1..]
            .iter()
            .any(|later| later.name == layer.name && later.received_at <= at);
        if !is_known || is_replaced || !layer.members.iter().any(|it| it == address) {
            continue;
        }
        if layer.is_consent {
            // Consent to one channel is none to a message that may go over another.
            has_agreed |= covers(&layer.scope, &message.scope);
        } else {
            is_listed |= may_concern(&layer.scope, &message.scope);
        }
    }
    match (&*message.category, is_listed, has_agreed) {
        ("marketing", true, true) => Some((Decision::Allowed, "registry-consent")),
        ("marketing", true, false) => Some((Decision::Suppressed, "registry")),
        _ => None,
    }
}

/// The opt-outs that no resubscribe lifts, in the order of recording.
pub(crate) fn standing(history: &[Event], address: &str, at: i64) -> Vec<Event> {
    let events = counting(history, address, at);
    let mut standing = vec![];
    for event in &events {
        let is_lifted = events.iter().any(|other| lifts(other, event));
        if event.action == "opt-out" && !is_lifted {
            standing.push(event.clone());
        }
    }
    standing.sort_by_key(|event| event.sequence);
    standing
}

/// The events about this person that nothing takes back.
fn counting(history: &[Event], address: &str, at: i64) -> Vec<Event> {
    let addresses = same_person(history, address, at);
    let mut events = history.to_vec();
    events.retain(|event| event.received_at <= at && addresses.contains(&event.address));
    let all = events.clone();
    events.retain(|event| !all.iter().any(|other| takes_back(other, event)));
    events
}

/// A retract takes back what its import recorded before it, and no other retract.
pub(crate) fn takes_back(retract: &Event, event: &Event) -> bool {
    retract.action == "retract"
        && event.action != "retract"
        && event.batch == retract.batch
        && event.batch != 0
        && event.sequence < retract.sequence
}

/// The address and all that links join to it, by one link or several.
pub(crate) fn same_person(history: &[Event], address: &str, at: i64) -> Vec<String> {
    let mut found = vec![address.to_owned()];
    for _ in history {
        for event in history {
            if event.action == "link" && event.received_at <= at {
                let ends = [event.address.clone(), event.linked.clone()];
                if ends.iter().any(|end| found.contains(end)) {
                    found.extend(ends);
                }
            }
        }
    }
    found
}

fn lifts(resubscribe: &Event, opt_out: &Event) -> bool {
    resubscribe.action == "resubscribe"
        && reaches(resubscribe, opt_out)
        && (resubscribe.overrides || !is_operator(resubscribe) || !is_persons_own(opt_out))
}

/// Whether a resubscribe lifts this opt-out if only it may.
fn reaches(resubscribe: &Event, opt_out: &Event) -> bool {
    covers(&resubscribe.scope, &opt_out.scope)
        && (resubscribe.tier == "all" || opt_out.tier == "marketing")
        && opt_out.source != "registry"
        && opt_out.ground != "legal"
        && opt_out.ground != "protected"
        && is_later(resubscribe, opt_out)
}

/// Not at the same moment. Nobody came back later than it was recorded. And when our own clock
/// was set back before the opt-out was recorded, the moments can't be compared.
fn is_later(event: &Event, opt_out: &Event) -> bool {
    let was_set_back = opt_out.sequence > event.sequence && opt_out.received_at < event.received_at;
    event.occurred_at.min(event.received_at) > opt_out.occurred_at && !was_set_back
}

/// A demand to be forgotten is the person's, whoever recorded it.
fn is_persons_own(opt_out: &Event) -> bool {
    !is_operator(opt_out) || opt_out.ground == "erasure"
}

fn is_operator(event: &Event) -> bool {
    ["agent", "carrier", "import", "registry"].contains(&&*event.source)
}

/// Whether everything of the second is within the first.
fn covers(wide: &Scope, narrow: &Scope) -> bool {
    let pairs = pairs(wide, narrow);
    pairs.iter().all(|(wide, narrow)| wide.is_empty() || wide == narrow)
}

/// Whether an opt-out may be about a message: what either leaves open fits.
fn may_concern(opt_out: &Scope, message: &Scope) -> bool {
    let pairs = pairs(opt_out, message);
    pairs.iter().all(|(one, other)| one.is_empty() || other.is_empty() || one == other)
}

fn pairs(one: &Scope, other: &Scope) -> [(String, String); 3] {
    [
        (plain(&one.channel), plain(&other.channel)),
        (plain_sender(&one.sender), plain_sender(&other.sender)),
        (plain(&one.brand), plain(&other.brand)),
    ]
}

/// Case and blanks around a name don't count.
fn plain(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Nor do the signs in a sender that is a number.
fn plain_sender(sender: &str) -> String {
    let digits: String = sender.chars().filter(|it| !"+-(). ".contains(*it)).collect();
    match !digits.is_empty() && digits.chars().all(|it| it.is_ascii_digit()) {
        true => digits,
        false => plain(sender),
    }
}

/// Takes an event in as the store does: nothing twice by the same message id, no link of those who
/// are linked, and no operator's resubscribe that would leave the person's own word standing for want of an override.
pub(crate) fn record(history: &mut Vec<Event>, event: &Event) -> bool {
    let is_same = |other: &Event| {
        !event.message_id.is_empty()
            && other.message_id == event.message_id
            && other.address == event.address
            && other.linked == event.linked
            && other.action == event.action
    };
    let is_refused = event.action == "resubscribe"
        && standing(history, &event.address, i64::MAX)
            .iter()
            .any(|opt_out| reaches(event, opt_out) && !lifts(event, opt_out));
    let is_known = event.action == "link"
        && same_person(history, &event.address, i64::MAX).contains(&event.linked);
    let is_taken = !is_refused && !is_known && !history.iter().any(is_same);
    if is_taken {
        history.push(event.clone());
    }
    is_taken
}
