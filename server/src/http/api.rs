//! `/api/v1`: rows of the fleet as JSON, in pages.
//!
//! `?limit=` 1 to 1000 (100), `?after=` the `next` of the page before, `?team=`, `?project=`. An answer is
//! `{"rows": [...], "next": "..."}`; without `next` it is the last one. `/api/v1/destinations` has one page.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use muster::ids::Team;
use serde::Deserialize;

use super::{Reader, Refused, Shared};
use crate::fleet::{Agent, Cursor, Page, Run, Selection, Session};
use crate::forward::figures::Observed;

/// Rows of a page unless asked otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    limit: Option<usize>,
    after: Option<String>,
    team: Option<String>,
    project: Option<String>,
}

type AskedQuery = Result<Query<Asked>, QueryRejection>;
type Answer<T> = Result<Json<Page<T>>, Refused>;

pub(super) async fn agents(State(shared): State<Shared>, reader: Reader, asked: AskedQuery) -> Answer<Agent> {
    Ok(Json(shared.pages.view.fleet.agents(&selection(&reader, asked)?)))
}

pub(super) async fn sessions(
    State(shared): State<Shared>,
    reader: Reader,
    asked: AskedQuery,
) -> Answer<Session> {
    Ok(Json(shared.pages.view.fleet.sessions(&selection(&reader, asked)?)))
}

pub(super) async fn runs(State(shared): State<Shared>, reader: Reader, asked: AskedQuery) -> Answer<Run> {
    Ok(Json(shared.pages.view.fleet.runs(&selection(&reader, asked)?)))
}

/// All destinations, on one page. They are the operator's, of no team.
pub(super) async fn destinations(
    State(shared): State<Shared>,
    reader: Reader,
) -> Result<Json<serde_json::Value>, Refused> {
    if reader != Reader::All {
        let problem =
            "destinations are shown to operators alone: on a loopback address, or with an operator's token or certificate"
                .to_owned();
        return Err(Refused(StatusCode::FORBIDDEN, problem));
    }
    let rows: Vec<_> = shared.pages.destinations.all().iter().map(Observed::row).collect();
    Ok(Json(serde_json::json!({ "rows": rows })))
}

/// How the history is: a row, or none when it is off. It is the operator's, of no team.
pub(super) async fn history_state(
    State(shared): State<Shared>,
    reader: Reader,
) -> Result<Json<serde_json::Value>, Refused> {
    if reader != Reader::All {
        let problem =
            "the state of the history is shown to operators alone; rows are under /api/v1/history/runs";
        return Err(Refused(StatusCode::FORBIDDEN, problem.to_owned()));
    }
    let rows: Vec<_> = shared.pages.history.iter().map(|history| history.state()).collect();
    Ok(Json(serde_json::json!({ "rows": rows })))
}

fn selection(reader: &Reader, asked: AskedQuery) -> Result<Selection, Refused> {
    let bad = |problem: String| Refused(StatusCode::BAD_REQUEST, problem);
    let Query(asked) = asked.map_err(|error| bad(error.body_text()))?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(bad(format!("limit is 1 to {LIMIT_MAX}")));
    }
    let team = asked.team.map(Team::try_from).transpose().map_err(|error| bad(error.to_string()))?;
    Ok(Selection {
        team: reader.team(team),
        project: asked.project,
        after: asked.after.as_deref().map(Cursor::given),
        limit,
    })
}
