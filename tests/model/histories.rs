//! Random histories, from so few words and moments that their events collide.

use optout::event::{Category, Details};
use optout::policy::{self, Context, Fact};
use optout::time::Timestamp;

use crate::common::Random;
use crate::rules::{Decision, Event, Message, Scope};

/// Moments at which people act, and at which our clock may stand.
pub(crate) const MOMENTS: u64 = 12;

const CHANNELS: &[&str] = &["", "", "", "sms", " SMS", "whatsapp"];
const SENDERS: &[&str] = &["", "", "", "promo", "Promo ", "+52 55 1111 2222", "525511112222"];
const BRANDS: &[&str] = &["", "", "", "acme", "ACME", "other"];
const ACTIONS: &[&str] =
    &["opt-out", "opt-out", "opt-out", "resubscribe", "resubscribe", "override"];
const GROUNDS: &[&str] =
    &["request", "request", "request", "legal", "wrong-person", "protected", "erasure"];
const SOURCES: &[&str] = &[
    "api",
    "keyword",
    "keyword",
    "button",
    "preference",
    "import",
    "registry",
    "agent",
    "carrier",
];
const CATEGORIES: &[&str] = &["marketing", "marketing", "utility", "authentication"];

pub(crate) fn scope(random: &mut Random) -> Scope {
    Scope {
        channel: random.pick(CHANNELS).to_owned(),
        sender: random.pick(SENDERS).to_owned(),
        brand: random.pick(BRANDS).to_owned(),
    }
}

pub(crate) fn message(random: &mut Random) -> Message {
    Message { scope: scope(random), category: random.pick(CATEGORIES).to_owned() }
}

/// An event that can be recorded, without batch; its sequence is still to be given.
pub(crate) fn event(random: &mut Random, address: &str) -> Event {
    let action = random.pick(ACTIONS);
    let is_override = action == "override";
    Event {
        sequence: 0,
        address: address.to_owned(),
        linked: String::new(),
        action: action.to_owned(),
        scope: scope(random),
        tier: random.pick(&["marketing", "all"]).to_owned(),
        ground: if action == "opt-out" { random.pick(GROUNDS) } else { "request" }.to_owned(),
        source: random.pick(SOURCES).to_owned(),
        category: if is_override { random.pick(&CATEGORIES[2..]) } else { "" }.to_owned(),
        overrides: action == "resubscribe" && random.below(3) == 0,
        batch: 0,
        message_id: String::new(),
        occurred_at: random.below(MOMENTS) as i64,
        received_at: random.below(MOMENTS) as i64,
    }
}

pub(crate) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A link of two addresses.
pub(crate) fn link(random: &mut Random, address: &str, linked: &str) -> Event {
    Event {
        action: "link".to_owned(),
        linked: linked.to_owned(),
        ground: "request".to_owned(),
        category: String::new(),
        overrides: false,
        ..event(random, address)
    }
}

/// What the library is told of an event.
pub(crate) fn details(event: &Event) -> Details {
    let action = match &*event.action {
        "opt-out" => optout::event::Action::OptOut,
        "resubscribe" => optout::event::Action::Resubscribe,
        "override" => optout::event::Action::Override,
        "retract" => optout::event::Action::Retract,
        _ => optout::event::Action::Link,
    };
    let mut details = Details::new(action, event.source.parse().unwrap());
    details.tier = event.tier.parse().unwrap();
    details.ground = event.ground.parse().unwrap();
    details.category = event.category.parse::<Category>().ok();
    details.overrides = event.overrides;
    details.batch = event.batch;
    details.channel.clone_from(&event.scope.channel);
    details.sender.clone_from(&event.scope.sender);
    details.brand.clone_from(&event.scope.brand);
    details.message_id.clone_from(&event.message_id);
    details
}

pub(crate) fn fact(event: &Event) -> Fact {
    let (occurred_at, received_at) = (moment(event.occurred_at), moment(event.received_at));
    Fact::new(&details(event), event.sequence, occurred_at, received_at).unwrap()
}

pub(crate) fn policy_scope(scope: &Scope) -> policy::Scope {
    policy::Scope::new(&scope.channel, &scope.sender, &scope.brand).unwrap()
}

pub(crate) fn context(message: &Message) -> Context {
    Context { scope: policy_scope(&message.scope), category: message.category.parse().unwrap() }
}

pub(crate) fn decision(decision: policy::Decision) -> Decision {
    match decision {
        policy::Decision::Allowed => Decision::Allowed,
        policy::Decision::Exempt => Decision::Exempt,
        policy::Decision::Suppressed => Decision::Suppressed,
    }
}
