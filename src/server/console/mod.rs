//! How do people see and work with what is recorded, in a browser?
//!
//! Pages made by the server, in English, Spanish and Portuguese. Promises: whatever a form does
//! works without scripts; nothing is loaded from elsewhere, and no text of anybody's becomes
//! markup; numbers are masked until somebody asks for them, which is logged with his key; what a
//! key does not open is neither shown nor done; a request that changes something carries a token
//! of its session and comes from our own pages. Leaves to others: what is asked of the store
//! (`routes`, `query`), who may ask (`guard`).

mod api;
mod audience;
mod capture;
mod chart;
mod form;
mod keys;
mod language;
mod look;
mod number;
mod record;
mod scrub;
mod session;
mod sign_in;
mod texts;
mod tour;
mod visit;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::App;
use super::problem::{Kind, Problem};

pub(super) use session::Sessions;
use visit::Visit;

/// Every page.
pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home))
        .route("/console", get(home))
        .route("/console/audience", get(audience::page))
        .route("/console/audience/download", post(audience::download))
        .route("/console/numbers", post(number::search))
        .route("/console/numbers/{sequence}", get(number::page))
        .route("/console/record", get(record::page))
        .route("/console/record/opt-out", post(record::opt_out))
        .route("/console/record/resubscribe", post(record::resubscribe))
        .route("/console/keys", get(keys::page).post(keys::create))
        .route("/console/keys/{id}/revoke", get(keys::ask_to_revoke).post(keys::revoke))
        .route("/console/scrub", get(scrub::page).post(scrub::begin))
        .route("/console/scrub/{id}", get(scrub::job))
        .route("/console/scrub/{id}/delete", post(scrub::remove))
        .route("/console/scrub/{id}/{output}", get(scrub::output))
        .route("/console/capture", get(capture::page))
        .route("/console/capture/sender", get(capture::sender).post(capture::save))
        .route("/console/capture/try", post(capture::try_message))
        .route("/console/capture/template", post(capture::check_template))
        .route("/console/tour", get(tour::page))
        .route("/console/api", get(api::page))
        .route("/console/sign-in", get(sign_in::page).post(sign_in::enter))
        .route("/console/sign-out", post(sign_in::leave))
        .route("/console/numbers-shown", post(sign_in::show_numbers))
        .route("/console/assets/console.css", get(style))
        .route("/console/assets/console.js", get(script))
        .route("/console/{*rest}", get(nothing).post(nothing))
        .route_layer(from_fn_with_state(app.clone(), visit::admit))
}

/// A page that could not be given: a page says why.
struct Failed(Problem);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Failed {
        Failed(problem)
    }
}

/// The visit makes a page of it.
impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = self.0.status().into_response();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

type Answer = Result<Response, Failed>;

/// A page.
fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            (status, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => Problem::new(Kind::Internal, "the page could not be written").into_response(),
    }
}

/// Leads to another page, which is asked for with GET.
fn see(path: &str) -> Response {
    // Paths are our own; whatever is not a header's text leads home.
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/console"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

/// The first page that the visitor may see.
async fn home(visit: Visit) -> Answer {
    visit.known()?;
    Ok(see(visit.pages().first().map_or("/console/tour", |page| page.path)))
}

async fn nothing() -> Answer {
    Err(Problem::new(Kind::NotFound, "no page has this address").into())
}

async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("assets/console.css")).into_response()
}

async fn script() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("assets/console.js")).into_response()
}
