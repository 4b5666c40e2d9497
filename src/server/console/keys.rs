//! Which keys are there? Making and revoking them.
//!
//! Promises: a key is shown once, in the answer that made it.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;

use super::form::{self, Fields};
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, Failed, html, see};
use crate::server::keys::{KeyError, KeyInfo, KeyScope, NewKey};
use crate::server::problem::{Kind, Problem};
use crate::time::Timestamp;

struct KeyRow {
    id: String,
    name: String,
    scopes: String,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    is_live: bool,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    f: Frame,
    t: &'static Texts,
    keys: Vec<KeyRow>,
    error: Option<String>,
    fields: Fields,
    scopes: Vec<(&'static str, &'static str, bool)>,
    /// The key that was just made, and its id.
    made: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "revoke.html")]
struct RevokePage {
    f: Frame,
    t: &'static Texts,
    key: KeyRow,
}

/// The keys.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.may(KeyScope::Admin)?;
    shown(&visit, StatusCode::OK, None, None, &Fields::default()).await
}

/// Makes a key.
pub(super) async fn create(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Admin)?.clone();
    let fields = form::posted(&visit, request).await?;
    let now = Timestamp::now();
    let expires = Some(fields.get("expires")).filter(|text| !text.is_empty());
    let expires_at = match expires.map(|text| Timestamp::parse(text, &visit.zone())).transpose() {
        Ok(at) => at,
        Err(error) => return wrong(&visit, error.to_string(), &fields).await,
    };
    let scopes = fields.all("scope").filter_map(|scope| scope.parse().ok()).collect();
    let new = NewKey { name: fields.get("name").to_owned(), scopes, expires_at };
    let service = visit.app.service.clone();
    let made = visit.app.ask_apart(move || Ok(service.key_file().create(&new, now))).await?;
    match made {
        Ok((text, info)) => {
            visit.app.log(format_args!("console: key {} made key={}", info.id, access.id));
            let made = Some((text, info.id));
            shown(&visit, StatusCode::OK, None, made, &Fields::default()).await
        }
        Err(error @ (KeyError::List(_) | KeyError::Random(_))) => Err(unchanged(&visit, &error)),
        Err(error) => wrong(&visit, error.to_string(), &fields).await,
    }
}

async fn wrong(visit: &Visit, error: String, fields: &Fields) -> Answer {
    shown(visit, StatusCode::UNPROCESSABLE_ENTITY, Some(error), None, fields).await
}

/// Whether the key is to be revoked.
pub(super) async fn ask_to_revoke(
    visit: Visit,
    path: Result<Path<String>, PathRejection>,
) -> Answer {
    visit.may(KeyScope::Admin)?;
    let id = id(path)?;
    let keys = list(&visit).await?;
    let key = keys.into_iter().find(|key| key.id == id).ok_or_else(unknown)?;
    let (f, key) = (visit.frame(visit.t.keys, "/console/keys"), row(&visit, key));
    Ok(html(StatusCode::OK, &RevokePage { f, t: visit.t, key }))
}

/// Revokes a key.
pub(super) async fn revoke(
    visit: Visit,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let access = visit.may(KeyScope::Admin)?.clone();
    let id = id(path)?;
    form::posted(&visit, request).await?;
    let service = visit.app.service.clone();
    let asked = id.clone();
    let revoke = move || Ok(service.key_file().revoke(&asked, Timestamp::now()));
    match visit.app.ask_apart(revoke).await? {
        Ok(_) => {
            visit.app.log(format_args!("console: key {id} revoked key={}", access.id));
            Ok(see("/console/keys"))
        }
        Err(KeyError::Unknown) => Err(unknown()),
        Err(error) => Err(unchanged(&visit, &error)),
    }
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<String, Failed> {
    path.map(|Path(id)| id).map_err(|_| unknown())
}

fn unknown() -> Failed {
    Problem::new(Kind::NotFound, "no key has this id").into()
}

fn unchanged(visit: &Visit, error: &KeyError) -> Failed {
    visit.app.log(format_args!("store: {error}"));
    Problem::new(Kind::StoreUnavailable, "the list of keys can't be read or changed now").into()
}

async fn list(visit: &Visit) -> Result<Vec<KeyInfo>, Failed> {
    let service = visit.app.service.clone();
    let keys = visit.app.ask_apart(move || Ok(service.key_file().list())).await?;
    keys.map_err(|error| unchanged(visit, &error))
}

fn row(visit: &Visit, key: KeyInfo) -> KeyRow {
    let now = Timestamp::now();
    let moment = |at: Timestamp| visit.moment(at);
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    KeyRow {
        is_live: key.is_live(now),
        is_own: visit.access.as_ref().is_some_and(|access| *access.id == *key.id),
        scopes: scopes.join(", "),
        created: moment(key.created_at),
        expires: key.expires_at.map(moment),
        revoked: key.revoked_at.map(moment),
        id: key.id,
        name: key.name,
    }
}

async fn shown(
    visit: &Visit,
    status: StatusCode,
    error: Option<String>,
    made: Option<(String, String)>,
    fields: &Fields,
) -> Result<Response, Failed> {
    let mut keys: Vec<KeyRow> = list(visit).await?.into_iter().map(|key| row(visit, key)).collect();
    keys.reverse();
    let chosen = |scope: &KeyScope| fields.all("scope").any(|it| it == scope.as_str());
    let scope = |scope: &KeyScope| (scope.as_str(), visit.t.scope(*scope), chosen(scope));
    let page = KeysPage {
        f: visit.frame(visit.t.keys, "/console/keys"),
        t: visit.t,
        keys,
        error,
        fields: fields.clone(),
        scopes: KeyScope::ALL.iter().map(scope).collect(),
        made,
    };
    Ok(html(status, &page))
}
