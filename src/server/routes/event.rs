//! How is an event written in an answer?

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::Event;

/// A recorded event. Texts that were not given are empty.
#[derive(Serialize, ToSchema)]
pub(super) struct EventView {
    /// Its position in the journal.
    sequence: u64,
    /// The number, or the id; nothing when the person asked to be forgotten.
    #[schema(example = "+525512345678")]
    number: Option<String>,
    /// opt-out, resubscribe, link, override or retract.
    #[schema(schema_with = super::words::action)]
    action: &'static str,
    /// When the person acted.
    occurred_at: String,
    /// When it was recorded.
    received_at: String,
    #[schema(schema_with = super::words::source)]
    source: &'static str,
    channel: String,
    sender: String,
    brand: String,
    #[schema(schema_with = super::words::tier)]
    tier: &'static str,
    #[schema(schema_with = super::words::ground)]
    ground: &'static str,
    #[schema(schema_with = super::words::maybe_category)]
    category: Option<&'static str>,
    #[serde(rename = "override")]
    overrides: bool,
    /// The import to which it belongs, by the sequence of its first event; 0 for none.
    batch: u64,
    template: String,
    word: String,
    campaign: String,
    message_id: String,
    /// Who recorded it.
    operator: String,
    note: String,
    /// The number as it was written.
    raw: String,
}

impl From<Event> for EventView {
    fn from(event: Event) -> EventView {
        let details = event.details;
        EventView {
            sequence: event.sequence,
            number: event.address.as_ref().map(ToString::to_string),
            action: details.action.as_str(),
            occurred_at: event.occurred_at.to_string(),
            received_at: event.received_at.to_string(),
            source: details.source.as_str(),
            channel: details.channel,
            sender: details.sender,
            brand: details.brand,
            tier: details.tier.as_str(),
            ground: details.ground.as_str(),
            category: details.category.map(|it| it.as_str()),
            overrides: details.overrides,
            batch: details.batch,
            template: details.template,
            word: details.word,
            campaign: details.campaign,
            message_id: details.message_id,
            operator: details.operator,
            note: details.note,
            raw: event.raw,
        }
    }
}
