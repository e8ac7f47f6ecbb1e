//! `/healthz`: the process answers. `/readyz`: it does its work, and if not, why.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use journal::Health;
use serde::Serialize;

use super::Shared;

/// An aggregate that is so far behind shows old numbers; the collector still takes new ones.
const LAG_RECORDS_DEGRADED: u64 = 10_000;

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    ready: bool,
    /// `ok`, `degraded` (works; somebody should look) or `unavailable`.
    status: &'static str,
    reasons: Vec<String>,
}

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let readiness = look(&shared);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

fn look(shared: &Shared) -> Readiness {
    let pages = &shared.pages;
    let (mut broken, mut degraded) = (Vec::new(), Vec::new());
    if *pages.stop.borrow() {
        broken.push("the collector stops".to_owned());
    }
    match pages.journal.health() {
        Health::Ok => {}
        Health::Degraded { reasons } => {
            degraded.extend(reasons.iter().map(|reason| format!("journal: {reason}")));
        }
        Health::DiskFull => {
            broken.push("journal: the disk is full; nothing is taken until there is room".to_owned());
        }
        Health::Poisoned(cause) => broken.push(format!("journal: {cause}; nothing is taken")),
    }
    let lag = pages.journal.durable().0.saturating_sub(pages.view.position().0);
    if !pages.view.is_caught_up() {
        broken.push(format!(
            "aggregate: {lag} journal records to replay before its counters are what they were"
        ));
    } else if lag > LAG_RECORDS_DEGRADED {
        degraded.push(format!("aggregate: {lag} journal records behind"));
    }
    if let Some(problem) = pages.history.as_ref().and_then(|history| history.archive().problem()) {
        degraded.push(problem);
    }
    let ready = broken.is_empty();
    let status = match (ready, degraded.is_empty()) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "unavailable",
    };
    broken.append(&mut degraded);
    Readiness { ready, status, reasons: broken }
}
