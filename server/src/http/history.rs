//! `/api/v1/history/...`: rows and figures of the history for programs, and what `muster telemetry` reads.
//!
//! | path | answer |
//! |---|---|
//! | `/api/v1/history/{runs,events,sessions,usage,samples}` | rows in the order of their time: a page of JSON, or all of them as `format=ndjson`, `csv` or `arrow` |
//! | `/api/v1/history/summary` | figures of a range |
//! | `/api/v1/history/recent` | the newest rows of all kinds as NDJSON, and with `follow=true` every one that comes |
//!
//! All take `start`, `end`, `team`, `project`, `tool`, `agent`, `user` and `status`; a team's token reads its own team alone. At
//! most [`QUERIES_MAX`] are answered at once; the next is told 503 and when to come again, so that the history costs ingest
//! a bounded part of the machine.

mod asked;
mod page;
mod recent;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use axum::body::Body;
use axum::extract::{Extension, Path, Query as UrlQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use history::dataset::DataSet;
use history::format::{Detail, Format, Layout};
use history::query::Query;
use history::reader::History;
use history::scan::ScanError;
use history::summary::{By, SummaryAsked};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub(super) use recent::recent;

use super::connection::Life;
use super::{Pages, Reader, Refused, Shared};
use asked::{Parameters, bad};
use page::{Cursor, Page};

/// Queries that run at once. Each reads with one thread and holds a few batches.
pub(super) const QUERIES_MAX: usize = 4;
/// Readers that follow the newest rows at once.
pub(super) const FOLLOWERS_MAX: usize = 32;
/// A page or a summary that takes longer is told so, before its connection ends.
const ANSWER_MAX: Duration = Duration::from_secs(100);
/// A stream of rows may take so long: ten million rows over a slow line.
const STREAM_MAX: Duration = Duration::from_secs(60 * 60);
/// Rows of a page unless asked otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// How many may ask at once.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    queries: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        }
    }

    fn query(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let words =
            format!("{QUERIES_MAX} queries of the history are running already; come again in a moment");
        self.queries.clone().try_acquire_owned().map_err(|_| unavailable(words))
    }

    fn follower(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let words = format!("{FOLLOWERS_MAX} readers follow the history already");
        self.followers.clone().try_acquire_owned().map_err(|_| unavailable(words))
    }
}

/// Rows of a data set.
pub(super) async fn rows(
    State(shared): State<Shared>,
    reader: Reader,
    Path(data_set): Path<String>,
    UrlQuery(given): UrlQuery<Vec<(String, String)>>,
    Extension(life): Extension<Life>,
) -> Result<Response, Refused> {
    let history = history(&shared.pages)?;
    let data_set: DataSet = data_set.parse().map_err(|_| {
        let words = "no such page; there are runs, events, sessions, usage, samples, summary and recent";
        Refused(StatusCode::NOT_FOUND, words.to_owned())
    })?;
    let parameters = Parameters::new(given, &["format", "detailed", "limit", "after"])?;
    let (format, layout) = (parameters.format()?, parameters.layout(data_set)?);
    let now = shared.pages.clock.wall();
    let mut query = Query {
        data_set,
        range: parameters.range(now)?,
        filter: parameters.filter(&reader)?,
        columns: None,
        is_sorted: true,
    };
    if format == Format::Json {
        let limit = parameters.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = parameters.text("after").map(str::parse::<Cursor>).transpose();
        let after = after.map_err(|()| bad("after is the `next` of the page before".to_owned()))?;
        if let Some(after) = after {
            query.range.from = query.range.from.max(after.time());
        }
        let permit = shared.turns.query()?;
        let page = answer(move || {
            let _permit = permit;
            page_of(&history, &query, layout, after, limit)
        });
        return Ok(json(page.await?));
    }
    if parameters.text("limit").or(parameters.text("after")).is_some() {
        return Err(bad(format!("limit and after page JSON; format={format} has all rows at once")));
    }
    let permit = shared.turns.query()?;
    let rows = answer(move || Ok(Rows::new(&history, &query, layout)?)).await?;
    life.extend(STREAM_MAX);
    let (chunks, body) = stream::pipe();
    let stop = shared.pages.stop.clone();
    // It ends with its reader, or with the collector.
    drop(tokio::task::spawn_blocking(move || stream::copy(rows, (format, layout), chunks, &stop, permit)));
    Ok(stream::response(format, body))
}

/// Figures.
pub(super) async fn summary(
    State(shared): State<Shared>,
    reader: Reader,
    UrlQuery(given): UrlQuery<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let history = history(&shared.pages)?;
    let parameters = Parameters::new(given, &["by", "compare"])?;
    let by =
        parameters.text("by").map(str::parse::<By>).transpose().map_err(|error| bad(error.to_string()))?;
    let asked = SummaryAsked {
        range: parameters.range(shared.pages.clock.wall())?,
        filter: parameters.filter(&reader)?,
        by,
        compare: parameters.truth("compare", true)?,
    };
    let permit = shared.turns.query()?;
    let page = answer(move || {
        let _permit = permit;
        let summary = history.summary(&asked)?;
        serde_json::to_vec(&summary).map_err(|error| Problem::Failed(error.to_string()))
    });
    Ok(json(page.await?))
}

fn page_of(
    history: &History,
    query: &Query,
    layout: Layout,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<u8>, Problem> {
    let failed = |error: history::format::FormatError| Problem::Failed(error.to_string());
    if query.range.from >= query.range.to {
        // A cursor at the very end.
        return Page::new(layout, after, limit).and_then(|page| page.finish(&[])).map_err(failed);
    }
    let mut rows = Rows::new(history, query, layout)?;
    let mut page = Page::new(layout, after, limit).map_err(failed)?;
    for batch in rows.by_ref() {
        if !page.take(&batch?).map_err(failed)? {
            break;
        }
    }
    page.finish(&rows.notices()).map_err(failed)
}

/// Rows of a scan; of runs with what their workers used, where the layout has it.
pub(super) struct Rows(history::scan::Scan);

impl Rows {
    fn new(history: &History, query: &Query, layout: Layout) -> Result<Self, ScanError> {
        let _has_readings = query.data_set == DataSet::Runs && layout.detail == Detail::Full;
        history.scan(query).map(Self)
    }

    /// What is wrong with the answer so far.
    fn notices(&self) -> Vec<String> {
        self.0.notices().iter().map(ToString::to_string).collect()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Why there is no answer.
enum Problem {
    Scan(ScanError),
    Failed(String),
}

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Scan(error @ (ScanError::NoColumn { .. } | ScanError::EmptyRange)) => {
                bad(error.to_string())
            }
            Problem::Scan(error) => {
                tracing::warn!(%error, "a query of the history failed");
                Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Problem::Failed(why) => Refused(StatusCode::INTERNAL_SERVER_ERROR, why),
        }
    }
}

/// Does what blocks on a thread of its own, within [`ANSWER_MAX`].
async fn answer<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Refused> {
    match timeout(ANSWER_MAX, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done?),
        Ok(Err(error)) => {
            tracing::error!(%error, "a query of the history failed");
            let words = "the query failed; the collector's log says more".to_owned();
            Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, words))
        }
        Err(_) => {
            Err(unavailable(format!("no answer within {ANSWER_MAX:?}: ask for less time or with a filter")))
        }
    }
}

fn history(pages: &Pages) -> Result<History, Refused> {
    let words = "this collector keeps no history: [history] is off in its configuration";
    pages.history.clone().ok_or_else(|| Refused(StatusCode::NOT_FOUND, words.to_owned()))
}

fn unavailable(words: String) -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, words)
}

fn json(page: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
