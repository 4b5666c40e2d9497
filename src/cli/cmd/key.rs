//! `key`: who may ask the server, and for what.

use std::path::Path;
use std::sync::Arc;

use optout::disk::RealDisk;
use optout::server::{KeyFile, KeyInfo, NewKey};
use optout::time::Timestamp;
use serde_json::{Value, json};

use super::print;
use crate::args::{KeyCommand, KeyCreate, moment};
use crate::exit::Exit;
use crate::output::Output;

pub(crate) fn run(path: &Path, command: &KeyCommand, output: &Output) -> anyhow::Result<Exit> {
    let keys = KeyFile::open(Arc::new(RealDisk::new(path)))?;
    match command {
        KeyCommand::Create(args) => create(&keys, args, output),
        KeyCommand::List => list(&keys, output),
        KeyCommand::Revoke { id } => {
            let key = keys.revoke(id, Timestamp::now())?;
            if output.is_json() {
                output.json(&key_json(&key))?;
            }
            output.say(format!("the key {} opens nothing any more", key.id));
            Ok(Exit::Done)
        }
    }
}

fn create(keys: &KeyFile, args: &KeyCreate, output: &Output) -> anyhow::Result<Exit> {
    let expires_at = moment(&args.expires, &args.tz)?;
    let new = NewKey { name: args.name.clone(), scopes: args.scope.clone(), expires_at };
    let (text, key) = keys.create(&new, Timestamp::now())?;
    output.say(format!("the key {} is shown this once: keep it where secrets are kept", key.id));
    if output.is_json() {
        let mut value = key_json(&key);
        value["key"] = json!(text);
        output.json(&value)?;
        return Ok(Exit::Done);
    }
    print(output, format!("{text}\n").as_bytes())
}

fn list(keys: &KeyFile, output: &Output) -> anyhow::Result<Exit> {
    let keys = keys.list()?;
    if output.is_json() {
        output.json(&keys.iter().map(key_json).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let now = Timestamp::now();
    let moment = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    let row = |key: &KeyInfo| {
        vec![
            key.id.clone(),
            key.name.clone(),
            scopes(key).join(","),
            key.created_at.to_string(),
            moment(key.expires_at),
            moment(key.revoked_at),
            if key.is_live(now) { "yes" } else { "no" }.to_owned(),
        ]
    };
    let columns = ["id", "name", "scopes", "created", "expires", "revoked", "opens"];
    output.table(&columns, keys.iter().map(row).collect())?;
    Ok(Exit::Done)
}

fn scopes(key: &KeyInfo) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.as_str()).collect()
}

fn key_json(key: &KeyInfo) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": scopes(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}
