//! Which paths are there, who may ask them, and what describes them?
//!
//! A route and its description are registered as one, so that `/openapi.json` lists exactly what
//! there is. Leaves to others: who asks (`guard`).

pub(super) mod check;
mod event;
pub(super) mod list;
pub(super) mod number;
pub(super) mod record;
mod service;
mod stats;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::console;
use super::guard::{Counted, guard, require};
use super::keys::KeyScope;
use super::problem::{Kind, Problem};

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
    let add = of().routes(routes!(record::opt_out));
    let resubscribe = of().routes(routes!(record::resubscribe));
    let lookup = of().routes(routes!(number::number));
    let check = of().routes(routes!(check::check));
    let export = of()
        .routes(routes!(list::list))
        .routes(routes!(list::export))
        .routes(routes!(stats::stats));
    let admin = of().routes(routes!(service::metrics));
    let anybody = of().routes(routes!(service::openapi));
    let (router, document) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(open)
        .merge(scoped(add, Some(KeyScope::Add), Counted::Record))
        .merge(scoped(resubscribe, Some(KeyScope::Resubscribe), Counted::Record))
        .merge(scoped(lookup, Some(KeyScope::Check), Counted::Lookup))
        .merge(scoped(check, Some(KeyScope::Check), Counted::Request))
        .merge(scoped(export, Some(KeyScope::Export), Counted::Request))
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
