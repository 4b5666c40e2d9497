//! How many, by what?

use std::collections::BTreeMap;

use jiff::civil::{Date, Weekday};
use serde::Serialize;

use super::range::{Filter, events};
use crate::event::{Action, Event};
use crate::number::{Address, Number};
use crate::store::{Clock, Reader, StoreError};
use crate::time::Zone;

/// What events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// Calendar days.
    Day,
    /// Weeks, named by their Monday.
    Week,
    /// Calendar months.
    Month,
    /// Where the events came from.
    Source,
    /// The country of the number.
    Country,
    /// The campaign that caused them.
    Campaign,
    /// The message template that caused them.
    Template,
    /// The sender to whom it was said.
    Sender,
    /// The word that the person used.
    Word,
}

/// Counts of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Opt-outs recorded.
    pub opt_outs: u64,
    /// Resubscribes recorded.
    pub resubscribes: u64,
}

/// What [`stats`] counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// By group, ascending; a group without a name (no campaign, no known country) is `-`.
    pub groups: BTreeMap<String, Count>,
    /// All groups together.
    pub total: Count,
}

impl Stats {
    fn count(&mut self, group: &str, action: Action) {
        // A group of nothing but overrides, links and retracts has nothing to tell.
        if !matches!(action, Action::OptOut | Action::Resubscribe) {
            return;
        }
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), Count::default());
        }
        for count in self.groups.get_mut(group).into_iter().chain([&mut self.total]) {
            match action {
                Action::OptOut => count.opt_outs += 1,
                Action::Resubscribe => count.resubscribes += 1,
                _ => {}
            }
        }
    }
}

/// Counts the events that match a filter. Days, weeks and months are those of `zone`.
///
/// # Errors
///
/// When the journal is damaged or can't be read.
pub fn stats(reader: &Reader, filter: &Filter, by: By, zone: &Zone) -> Result<Stats, StoreError> {
    let mut stats = Stats::default();
    // Rows of one record nearly always fall into one group: the name is made once for them.
    let mut last: Option<(GroupOf, String)> = None;
    events::<StoreError>(reader, filter, |event| {
        let group = GroupOf::new(by, &event, filter.clock, zone);
        let (_, name) = match last.take() {
            Some(same) if same.0 == group => last.insert(same),
            _ => {
                let name = group.name();
                last.insert((group, name))
            }
        };
        stats.count(name, event.details.action);
        Ok(true)
    })?;
    Ok(stats)
}

/// The group of an event, before it is spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GroupOf {
    Day(Date),
    Month(Date),
    Name(&'static str),
    Text(String),
}

impl GroupOf {
    fn new(by: By, event: &Event, clock: Clock, zone: &Zone) -> GroupOf {
        let date = || {
            let moment = match clock {
                Clock::Occurred => event.occurred_at,
                Clock::Received => event.received_at,
            };
            moment.date_in(zone)
        };
        let text = |text: &String| match text.is_empty() {
            true => GroupOf::Name("-"),
            false => GroupOf::Text(text.clone()),
        };
        match by {
            By::Day => GroupOf::Day(date()),
            By::Week => GroupOf::Day(monday_of(date())),
            By::Month => GroupOf::Month(date().first_of_month()),
            By::Source => GroupOf::Name(event.details.source.as_str()),
            By::Country => {
                let number = event.address.as_ref().and_then(Address::number);
                let region = number.and_then(Number::region);
                GroupOf::Name(region.map_or("-", |it| it.as_str()))
            }
            By::Campaign => text(&event.details.campaign),
            By::Template => text(&event.details.template),
            By::Sender => text(&event.details.sender),
            By::Word => text(&event.details.word),
        }
    }

    fn name(&self) -> String {
        match self {
            GroupOf::Day(date) => date.to_string(),
            GroupOf::Month(date) => date.strftime("%Y-%m").to_string(),
            GroupOf::Name(name) => (*name).to_owned(),
            GroupOf::Text(text) => text.clone(),
        }
    }
}

fn monday_of(date: Date) -> Date {
    let past = i64::from(date.weekday().since(Weekday::Monday));
    date.checked_sub(jiff::Span::new().days(past)).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_named_by_its_monday_also_across_years() {
        for (date, monday) in [
            ("2026-11-25", "2026-11-23"),
            ("2026-11-23", "2026-11-23"),
            ("2026-11-29", "2026-11-23"),
            ("2027-01-01", "2026-12-28"),
        ] {
            assert_eq!(monday_of(date.parse().unwrap()).to_string(), monday);
        }
    }
}
