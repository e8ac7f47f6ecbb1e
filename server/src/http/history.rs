//! `/api/v1/history/...`: rows and figures of the history for programs, and what `muster telemetry` reads.
//!
//! | path | answer |
//! |---|---|
//! | `/api/v1/history/{runs,events,sessions,usage,samples}` | rows in the order of their time: a page of JSON, or all of them as `format=ndjson`, `csv` or `arrow` |
//! | `/api/v1/history/summary` | figures of a range |
//! | `/api/v1/history/recent` | the newest rows of all kinds as NDJSON, and with `follow=true` every one that comes |
//!
//! All take `start`, `end`, `team`, `project`, `tool`, `agent`, `user` and `status`; a team's token reads its own team alone. A
//! bounded number is answered at once, and of one team half of them ([`turns`]); the next is told 503 and when to come again.

mod asked;
mod page;
mod recent;
mod stream;
mod turns;

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
use history::readings::RunsWithReadings;
use history::scan::{Scan, ScanError};
use history::summary::{By, SummaryAsked};
use tokio::time::timeout;

pub(super) use recent::recent;
pub(super) use turns::Turns;

use super::audited::Told;
use super::connection::Life;
use super::{Pages, Reader, Refused, Shared};
use asked::{Parameters, bad};
use page::{Cursor, Page};

/// A page or a summary that takes longer is told so, before its connection ends.
const ANSWER_MAX: Duration = Duration::from_secs(100);
/// A stream of rows may take so long: ten million rows over a slow line.
const STREAM_MAX: Duration = Duration::from_secs(60 * 60);
/// Rows of a page unless asked otherwise, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

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
        if let Some(after) = &after {
            query.range.from = query.range.from.max(after.time());
        }
        let turn = shared.turns.query(&reader, shared.pages.is_open)?;
        let page = answer(move || {
            let _turn = turn;
            page_of(&history, &query, layout, after, limit)
        });
        return Ok(told(json(page.await?), data_set.name(), false));
    }
    if parameters.text("limit").or(parameters.text("after")).is_some() {
        return Err(bad(format!("limit and after page JSON; format={format} has all rows at once")));
    }
    let turn = shared.turns.query(&reader, shared.pages.is_open)?;
    let rows = answer(move || Ok(Rows::new(&history, &query, (format, layout))?)).await?;
    life.extend(STREAM_MAX);
    let (chunks, body) = stream::pipe(stall(&shared.pages));
    let stop = shared.pages.stop.clone();
    // It ends with its reader, or with the collector.
    drop(tokio::task::spawn_blocking(move || stream::copy(rows, (format, layout), chunks, &stop, turn)));
    Ok(told(stream::response(format, body), data_set.name(), true))
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
    let turn = shared.turns.query(&reader, shared.pages.is_open)?;
    let page = answer(move || {
        let _turn = turn;
        let summary = history.summary(&asked)?;
        serde_json::to_vec(&summary).map_err(|error| Problem::Failed(error.to_string()))
    });
    Ok(told(json(page.await?), "summary", false))
}

/// Says for the audit log what the answer is.
fn told(mut response: Response, of: &'static str, is_export: bool) -> Response {
    response.extensions_mut().insert(Told { of, is_export });
    response
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
    let mut rows = Rows::new(history, query, (Format::Json, layout))?;
    let mut page = Page::new(layout, after, limit).map_err(failed)?;
    for batch in rows.by_ref() {
        if !page.take(&batch?).map_err(failed)? {
            break;
        }
    }
    page.finish(&rows.notices()).map_err(failed)
}

/// Rows of a scan; of runs with what their workers used, where the answer has it.
pub(super) enum Rows {
    Scan(Box<Scan>),
    WithReadings(Box<RunsWithReadings>),
}

impl Rows {
    fn new(history: &History, query: &Query, (format, layout): (Format, Layout)) -> Result<Self, ScanError> {
        // Formats with types have the rows' own schema unless all is asked for (history::format::Layout).
        let has_types = matches!(format, Format::Arrow | Format::Parquet);
        if query.data_set == DataSet::Runs && (layout.detail == Detail::Full || !has_types) {
            return Ok(Self::WithReadings(Box::new(history.runs_with_readings(query)?)));
        }
        Ok(Self::Scan(Box::new(history.scan(query)?)))
    }

    /// What is wrong with the answer so far.
    fn notices(&self) -> Vec<String> {
        let notices = match self {
            Self::Scan(rows) => rows.notices().to_vec(),
            Self::WithReadings(rows) => rows.notices(),
        };
        notices.iter().map(ToString::to_string).collect()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Scan(rows) => rows.next(),
            Self::WithReadings(rows) => rows.next(),
        }
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
            // It is as long as the store is behind, and will be shorter.
            Problem::Scan(error @ ScanError::TailTooLong { .. }) => unavailable(error.to_string()),
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
    let served = pages.history.as_ref().ok_or_else(|| Refused(StatusCode::NOT_FOUND, words.to_owned()))?;
    served.reader().map_err(|error| unavailable(error.to_string()))
}

/// How long a reader may take nothing.
fn stall(pages: &Pages) -> Duration {
    pages.history.as_ref().map_or(Duration::ZERO, |served| served.reader_stall())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_whose_rest_is_too_long_is_told_to_come_again_and_a_wrong_question_is_not() {
        let told = |error| Refused::from(Problem::Scan(error));
        let Refused(status, words) = told(ScanError::TailTooLong { bytes: 300, bytes_max: 200 });
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(words.contains("in no file yet"), "{words}");
        assert_eq!(told(ScanError::EmptyRange).0, StatusCode::BAD_REQUEST);
    }
}
