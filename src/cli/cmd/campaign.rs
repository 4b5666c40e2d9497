//! `campaign`: how campaigns treat those who opted out.

use std::path::Path;
use std::sync::Arc;

use optout::disk::RealDisk;
use optout::event::Category;
use optout::server::{Campaign, CampaignFile};
use optout::time::Timestamp;
use serde_json::{Value, json};

use super::record::operator;
use crate::args::{CampaignCommand, CampaignSet};
use crate::exit::{Exit, UsageError};
use crate::output::Output;

pub(crate) fn run(path: &Path, command: &CampaignCommand, output: &Output) -> anyhow::Result<Exit> {
    let campaigns = CampaignFile::open(Arc::new(RealDisk::new(path)))?;
    match command {
        CampaignCommand::List => list(&campaigns, output),
        CampaignCommand::Show { id } => {
            let all = campaigns.list()?;
            let campaign = all.get(id).ok_or_else(|| unknown(id))?;
            show(id, campaign, output)
        }
        CampaignCommand::Set(args) => set(&campaigns, args, output),
        CampaignCommand::Remove { id } => {
            if !campaigns.remove(id)? {
                return Err(unknown(id).into());
            }
            output.say(format!("the campaign {id} is removed: whoever names it is refused"));
            Ok(Exit::Done)
        }
    }
}

fn unknown(id: &str) -> UsageError {
    UsageError(format!("no campaign is called \"{id}\": see `optout campaign list`"))
}

fn set(campaigns: &CampaignFile, args: &CampaignSet, output: &Output) -> anyhow::Result<Exit> {
    let category: Result<Category, _> = args.category.parse();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let campaign = Campaign {
        category: category.map_err(|error| UsageError(error.to_string()))?,
        mode: args.mode,
        channel: text(&args.scope.channel),
        sender: text(&args.scope.sender),
        brand: text(&args.scope.brand),
        changed_at: Timestamp::now(),
        changed_by: operator(),
    };
    campaigns.set(&args.id, campaign.clone())?;
    show(&args.id, &campaign, output)
}

fn show(id: &str, campaign: &Campaign, output: &Output) -> anyhow::Result<Exit> {
    match output.is_json() {
        true => output.json(&campaign_json(id, campaign))?,
        false => table([(id, campaign)], output)?,
    }
    Ok(Exit::Done)
}

fn list(campaigns: &CampaignFile, output: &Output) -> anyhow::Result<Exit> {
    let all = campaigns.list()?;
    let each = all.iter().map(|(id, campaign)| (id.as_str(), campaign));
    match output.is_json() {
        true => {
            let rows: Vec<Value> = each.map(|(id, it)| campaign_json(id, it)).collect();
            output.json(&rows)?;
        }
        false => table(each, output)?,
    }
    Ok(Exit::Done)
}

fn table<'a>(
    campaigns: impl IntoIterator<Item = (&'a str, &'a Campaign)>,
    output: &Output,
) -> anyhow::Result<()> {
    let columns = ["id", "category", "mode", "channel", "sender", "brand", "changed", "by"];
    let row = |(id, it): (&str, &Campaign)| {
        vec![
            id.to_owned(),
            it.category.to_string(),
            it.mode.as_str().to_owned(),
            it.channel.clone(),
            it.sender.clone(),
            it.brand.clone(),
            it.changed_at.to_string(),
            it.changed_by.clone(),
        ]
    };
    output.table(&columns, campaigns.into_iter().map(row).collect())
}

fn campaign_json(id: &str, campaign: &Campaign) -> Value {
    json!({
        "id": id,
        "category": campaign.category.as_str(),
        "mode": campaign.mode.as_str(),
        "channel": campaign.channel,
        "sender": campaign.sender,
        "brand": campaign.brand,
        "changed_at": campaign.changed_at,
        "changed_by": campaign.changed_by,
    })
}
