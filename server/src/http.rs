//! The pages: `/metrics`, `/healthz`, `/readyz`, `/api/v1/...` and `/`.
//!
//! On loopback, and with `insecure`, everybody may read everything, unless `http_credentials = "required"`. Elsewhere a
//! token shows the data of its own team alone, or everything if it is an operator's, and an agent's shows nothing; a
//! certificate whose name the configuration lists does as such a token ([`crate::readers`]). `/healthz` and `/readyz` tell
//! no data and need none. Who shows a token of Muster's or a certificate where none is needed is judged by it all the same.
//! Only GET and HEAD are known. A connection has bounds in number, in the time to send a request, and in its whole life.

mod api;
mod audited;
mod connection;
mod health;
mod history;
mod metrics_page;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use journal::Journal;
use muster::clock::Clock;
use muster::ids::Team;
use tokio::sync::{Semaphore, watch};

use connection::LastReading;
pub use connection::serve;

use crate::aggregate::View;
use crate::audit::AuditLog;
use crate::credentials::{self, Credentials, Presented, ReaderRefused, Sight};
use crate::forward::Live;
use crate::history::ServedHistory;
use crate::telemetry::Telemetry;

/// Pages of metrics that are rendered at once: each may be as large as all series.
const RENDERS_MAX: usize = 2;

/// What the pages are made of.
pub struct Pages {
    /// Series, agents, sessions, runs.
    pub view: Arc<View>,
    /// For its health.
    pub journal: Arc<Journal>,
    /// The collector's own figures.
    pub telemetry: Arc<Telemetry>,
    /// Who may read, where not everybody may.
    pub credentials: Arc<Credentials>,
    /// Whether everybody may read everything who shows no credential.
    pub is_open: bool,
    /// Where is noted who read the history.
    pub audit: Arc<AuditLog>,
    /// For the times on the page.
    pub clock: Arc<dyn Clock>,
    /// Where telemetry is forwarded to.
    pub destinations: Live,
    /// Rows of files and journal; `None` when it is off.
    pub history: Option<Arc<ServedHistory>>,
    /// True: the collector stops.
    pub stop: watch::Receiver<bool>,
}

#[derive(Clone)]
struct Shared {
    pages: Arc<Pages>,
    renders: Arc<Semaphore>,
    turns: history::Turns,
}

/// What a reader may see.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reader {
    /// Everything.
    All,
    /// One team's data.
    Team(Team),
}

/// An answer that is no page.
#[derive(Debug)]
struct Refused(StatusCode, String);

/// All pages.
pub fn router(pages: Pages) -> Router {
    let renders = Arc::new(Semaphore::new(RENDERS_MAX));
    let shared = Shared { pages: Arc::new(pages), renders, turns: history::Turns::new() };
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics_page::page))
        .route("/api/v1/agents", get(api::agents))
        .route("/api/v1/sessions", get(api::sessions))
        .route("/api/v1/runs", get(api::runs))
        .route("/api/v1/destinations", get(api::destinations))
        .route("/api/v1/history", get(api::history_state))
        .route("/api/v1/history/summary", get(history::summary))
        .route("/api/v1/history/recent", get(history::recent))
        .route("/api/v1/history/{data_set}", get(history::rows))
        .fallback(async || Refused(StatusCode::NOT_FOUND, "no such page".to_owned()))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), audited::note))
        .with_state(shared)
}

/// For everybody: it says nothing of the fleet.
async fn index() -> Response {
    const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Muster</title>\
         <style>body{font:16px/1.5 system-ui;margin:3rem auto;max-width:40rem;padding:0 1rem}</style>\
         <h1>Muster</h1><ul>\
         <li><a href=/metrics>/metrics</a> Prometheus text or OpenMetrics\
         <li><a href=/readyz>/readyz</a> whether it works, and what is degraded\
         <li><a href=/api/v1/agents>/api/v1/agents</a>\
         <li><a href=/api/v1/sessions>/api/v1/sessions</a>\
         <li><a href=/api/v1/runs>/api/v1/runs</a>\
         <li><a href=/api/v1/destinations>/api/v1/destinations</a>\
         <li><a href=/api/v1/history>/api/v1/history</a> how the history is kept\
         <li><a href=/api/v1/history/summary>/api/v1/history/summary</a> figures of the last 24 hours\
         <li><a href=/api/v1/history/runs>/api/v1/history/runs</a> and events, sessions, usage, samples, recent</ul></html>";
    let mut response = Html(PAGE).into_response();
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

impl FromRequestParts<Shared> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refused> {
        let pages = &shared.pages;
        let refused = || Refused(StatusCode::UNAUTHORIZED, "credential not accepted".to_owned());
        let mut shown = Presented::by(&parts.extensions, &parts.headers).ok_or_else(refused)?;
        // A proxy before an open page may hand on credentials of its own.
        shown.header = shown.header.filter(|header| !pages.is_open || credentials::is_bearer_of_ours(header));
        if pages.is_open && shown.header.is_none() && shown.certificate.is_none() {
            return Ok(Reader::All);
        }
        match pages.credentials.authenticate_reader(shown) {
            Ok(reading) => {
                if let Some(last) = parts.extensions.get::<LastReading>() {
                    last.note(reading.clone());
                }
                Ok(match reading.sight {
                    Sight::Team(team) => Reader::Team(team),
                    Sight::All => Reader::All,
                })
            }
            Err(ReaderRefused::NotAccepted(_)) => Err(refused()),
            Err(why @ ReaderRefused::ReadsNothing) => Err(Refused(StatusCode::FORBIDDEN, why.to_string())),
        }
    }
}

impl Reader {
    /// The team to show: the reader's own, whatever is asked for; else the one that is asked for.
    fn team(&self, asked: Option<Team>) -> Option<Team> {
        match self {
            Reader::All => asked,
            Reader::Team(team) => Some(team.clone()),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(status, error) = self;
        let mut response = (status, Json(serde_json::json!({ "error": error }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
