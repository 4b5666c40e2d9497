//! `check`, `why`: what the store says of single numbers.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use optout::event::Event;
use optout::number::{Address, BusinessId, NumberReader, SubscriberKey};
use optout::query::{Checker, Explanation, Verdict, explain};
use optout::store::Reader;
use optout::time::Timestamp;
use serde_json::{Value, json};

use super::{for_each_group, judge, open_reader_at, shown, warn_of_unknown_names};
use crate::args::{Check, StaleChoice, Why};
use crate::exit::Exit;
use crate::output::Output;

const UNWRITABLE: &str = "standard output can't be written";

pub(crate) fn check(path: &Path, args: &Check, output: &Output) -> anyhow::Result<Exit> {
    let at = args.as_of.moment()?;
    let mut reader = open_reader_at(path, at, output)?;
    warn_of_unknown_names(&reader, &args.context, output)?;
    let mut out = output.stdout();
    let mut all_allowed = true;
    for_each_group(&args.numbers, |inputs| {
        // Standard input may come slowly: an opt-out of the meantime counts.
        reader.refresh()?;
        let checker = {
            let now = at.unwrap_or_else(Timestamp::now);
            let judge = judge(&reader, &args.context, args.stale, now, output)?;
            Checker::new(judge, args.region)
        };
        for (input, verdict) in inputs.iter().zip(checker.verdicts(inputs)?) {
            all_allowed &= verdict.is_allowed();
            let line = if output.is_json() {
                verdict_json(input, &verdict).to_string()
            } else {
                verdict_line(input, &verdict)
            };
            writeln!(out, "{line}").context(UNWRITABLE)?;
            if let Verdict::Invalid(reason) = verdict {
                super::record::invalid(input, Some(reason));
            }
        }
        out.flush().context(UNWRITABLE)
    })?;
    Ok(if args.exit_status && !all_allowed { Exit::NotAllowed } else { Exit::Done })
}

fn verdict_line(input: &[u8], verdict: &Verdict) -> String {
    let word = verdict.as_str();
    match verdict {
        Verdict::Allowed(address) | Verdict::Exempt { address, .. } => {
            format!("{address}\t{word}\t\t")
        }
        Verdict::Suppressed { address, since, source, .. } => {
            format!("{address}\t{word}\t{since}\t{source}")
        }
        _ => format!("{}\t{word}\t\t", shown(input)),
    }
}

fn verdict_json(input: &[u8], verdict: &Verdict) -> Value {
    let mut value = json!({"input": String::from_utf8_lossy(input), "verdict": verdict.as_str()});
    match verdict {
        Verdict::Allowed(address) => value["number"] = json!(address.to_string()),
        Verdict::Exempt { address, rule } => {
            value["number"] = json!(address.to_string());
            value["rule"] = json!(rule);
        }
        Verdict::Suppressed { address, since, source, rule } => {
            value["number"] = json!(address.to_string());
            value["since"] = json!(since);
            value["source"] = json!(source);
            value["rule"] = json!(rule);
        }
        Verdict::Invalid(reason) => value["reason"] = json!(reason),
        _ => {}
    }
    value
}

pub(crate) fn why(path: &Path, args: &Why, output: &Output) -> anyhow::Result<Exit> {
    let at = args.as_of.moment()?;
    let reader = open_reader_at(path, at, output)?;
    let (address, key) = address_of(&reader, args)?;
    warn_of_unknown_names(&reader, &args.context, output)?;
    // A question sends nothing: what is stale is said, not refused.
    let now = at.unwrap_or_else(Timestamp::now);
    let judge = judge(&reader, &args.context, StaleChoice::Warn, now, output)?;
    let explanation = explain(&judge, key)?;
    if output.is_json() {
        output.json(&explanation_json(&address, &explanation, at.map(|it| it.to_string())))?;
        return Ok(Exit::Done);
    }
    let mut out = output.stdout();
    let as_of = at.map_or(String::new(), |at| format!(" at {at}, as the store knew it then"));
    let verdict = explanation.ruling.decision.as_str();
    if explanation.events.is_empty() && explanation.layers.is_empty() {
        writeln!(out, "{address} is {verdict}{as_of}: no event is about it")?;
    } else {
        writeln!(out, "{address} is {verdict}{as_of}")?;
    }
    if let Some(since) = explanation.since_event() {
        if !explanation.rule.is_empty() {
            writeln!(out, "  rule   {}", explanation.rule)?;
        }
        let details = &since.details;
        let (action, source) = (details.action, details.source);
        writeln!(out, "  since  {} ({action} by {source})", since.occurred_at)?;
    }
    for layer in &explanation.layers {
        writeln!(out, "  listed {layer} (rule {})", explanation.rule)?;
    }
    for claim in &explanation.claims {
        let excepted: Vec<&str> = claim.excepted.iter().map(|it| it.as_str()).collect();
        let except = if excepted.is_empty() { "" } else { ", except " };
        let (tier, except) = (claim.tier, format!("{except}{}", excepted.join(" and ")));
        writeln!(out, "  stands {tier} messages, {}{except}", claim.scope)?;
    }
    for event in &explanation.events {
        writeln!(out, "  {}", event_line(event, key))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Whom the question is about. An id that no event is about has the key of nobody.
fn address_of(reader: &Reader, args: &Why) -> anyhow::Result<(Address, SubscriberKey)> {
    let input = args.number.as_bytes();
    if let Some(id) = BusinessId::parse(input) {
        let key = reader.key_of_id(id.as_str())?.unwrap_or(SubscriberKey::of_id(0));
        return Ok((id.into(), key));
    }
    let numbers = NumberReader::new(args.region, reader.folding());
    let (number, key) = numbers
        .subscriber(input)
        .map_err(|reason| anyhow!("\"{}\": {}", shown(input), reason.sentence()))?;
    Ok((number.into(), key))
}

/// `asked` is the key of the question: events of linked addresses say whose they are.
fn event_line(event: &Event, asked: SubscriberKey) -> String {
    let details = &event.details;
    let other = event.address.as_ref().filter(|_| event.key != Some(asked));
    let of = other.map_or_else(String::new, |it| format!(" of {it}"));
    let written = match event.is_tombstone() {
        true => "everything before it was erased".to_owned(),
        false => format!("written \"{}\"", shown(event.raw.as_bytes())),
    };
    let mut line = format!(
        "event  {}: {}{of} ({}, {}) by {}, occurred {}, received {}, {written}",
        event.sequence,
        details.action,
        details.tier,
        details.ground,
        details.source,
        event.occurred_at,
        event.received_at,
    );
    let named = [
        ("word", &details.word),
        ("channel", &details.channel),
        ("sender", &details.sender),
        ("brand", &details.brand),
        ("campaign", &details.campaign),
        ("template", &details.template),
        ("message", &details.message_id),
        ("operator", &details.operator),
        ("note", &details.note),
    ];
    for (name, text) in named.into_iter().filter(|(_, text)| !text.is_empty()) {
        line.push_str(&format!(", {name} \"{}\"", shown(text.as_bytes())));
    }
    if details.batch != 0 {
        line.push_str(&format!(", import {}", details.batch));
    }
    line
}

fn explanation_json(address: &Address, it: &Explanation, at: Option<String>) -> Value {
    json!({
        "number": address.to_string(),
        "at": at,
        "verdict": it.ruling.decision.as_str(),
        "rule": (!it.rule.is_empty()).then_some(&it.rule),
        "since": it.since_event().map(|event| event.occurred_at),
        "layers": it.layers,
        "events": it.events.iter().map(event_json).collect::<Vec<_>>(),
    })
}

fn event_json(event: &Event) -> Value {
    let details = &event.details;
    json!({
        "sequence": event.sequence,
        "number": event.address.as_ref().map(ToString::to_string),
        "action": details.action,
        "occurred_at": event.occurred_at,
        "received_at": event.received_at,
        "source": details.source,
        "channel": details.channel,
        "sender": details.sender,
        "brand": details.brand,
        "tier": details.tier,
        "ground": details.ground,
        "category": details.category,
        "override": details.overrides,
        "batch": details.batch,
        "template": details.template,
        "word": details.word,
        "campaign": details.campaign,
        "message_id": details.message_id,
        "operator": details.operator,
        "note": details.note,
        "raw": event.raw,
    })
}
