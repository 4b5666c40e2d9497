//! Which paths are there, who may ask them, and what describes them?
//!
//! A route and its description are registered as one, so that `/openapi.json` lists exactly what
//! there is. Leaves to others: who asks (`guard`).

mod campaign;
pub(super) mod check;
mod event;
pub(super) mod list;
mod messages;
pub(super) mod number;
mod recheck;
pub(super) mod record;
pub(super) mod scrub;
mod sent;
mod service;
mod stats;
mod webhooks;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::console;
use super::guard::{Counted, guard, require};
use super::keys::KeyScope;
use super::problem::{Kind, Problem};

pub(super) use check::judge;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "optout",
        description = "Who opted out of messages. Errors are problem documents (RFC 9457)."
    ),
    components(schemas(Problem)),
    modifiers(&Keys)
)]
struct Description;

/// How a key is sent.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("key", scheme);
        let signed = |header: &str| {
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(header.to_owned())))
        };
        components.add_security_scheme("meta-signature", signed("X-Hub-Signature-256"));
        components.add_security_scheme("twilio-signature", signed("X-Twilio-Signature"));
        components.add_security_scheme("webhook-signature", signed("webhook-signature"));
        let token = ApiKey::Query(ApiKeyValue::new("hub.verify_token".to_owned()));
        components.add_security_scheme("meta-token", SecurityScheme::ApiKey(token));
    }
}

/// The document that describes the routes.
#[derive(Clone)]
pub(super) struct Document(pub(super) Arc<str>);

/// Every route.
pub(super) fn router(app: Arc<App>) -> Router {
    let scoped = |routes: OpenApiRouter<Arc<App>>, scope: Option<KeyScope>, counted: Counted| {
        let app = app.clone();
        let layer = from_fn(move |request: Request, next: Next| {
            require(app.clone(), scope, counted, request, next)
        });
        routes.route_layer(layer)
    };
    let of = OpenApiRouter::<Arc<App>>::new;
    let open = of().routes(routes!(service::healthz)).routes(routes!(service::readyz));
    let add = of()
        .routes(routes!(record::opt_out))
        .routes(routes!(messages::messages))
        .routes(routes!(sent::sent_messages));
    let signed = of()
        .routes(routes!(webhooks::meta_asks, webhooks::meta_delivers))
        .routes(routes!(webhooks::twilio_posts))
        .routes(routes!(webhooks::generic));
    let resubscribe = of().routes(routes!(record::resubscribe));
    let lookup = of().routes(routes!(number::number));
    let check = of()
        .routes(routes!(check::check))
        .routes(routes!(scrub::begin, scrub::list))
        .routes(routes!(scrub::show, scrub::remove))
        .routes(routes!(scrub::output))
        .routes(routes!(recheck::recheck))
        .routes(routes!(campaign::list))
        .routes(routes!(campaign::show));
    let export = of()
        .routes(routes!(list::list))
        .routes(routes!(list::export))
        .routes(routes!(stats::stats));
    let admin = of().routes(routes!(service::metrics));
    let change = of().routes(routes!(campaign::put, campaign::remove));
    let anybody = of().routes(routes!(service::openapi));
    let (router, document) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(open)
        .merge(signed)
        .merge(scoped(add, Some(KeyScope::Add), Counted::Record))
        .merge(scoped(resubscribe, Some(KeyScope::Resubscribe), Counted::Record))
        .merge(scoped(lookup, Some(KeyScope::Check), Counted::Lookup))
        .merge(scoped(check, Some(KeyScope::Check), Counted::Request))
        .merge(scoped(export, Some(KeyScope::Export), Counted::Request))
        .merge(scoped(change, Some(KeyScope::Admin), Counted::Request))
        .merge(scoped(admin, Some(KeyScope::Admin), Counted::Not))
        .merge(scoped(anybody, None, Counted::Not))
        .split_for_parts();
    let document = Document(document.to_json().unwrap_or_default().into());
    router
        .merge(console::router(&app))
        .fallback(nothing)
        .method_not_allowed_fallback(not_for_this)
        .layer(axum::Extension(document))
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn nothing() -> Response {
    Problem::new(Kind::NotFound, "see /openapi.json for the paths that there are").into_response()
}

async fn not_for_this(_: State<Arc<App>>) -> Response {
    let how = "see /openapi.json for the methods of this path";
    Problem::new(Kind::MethodNotAllowed, how).into_response()
}
