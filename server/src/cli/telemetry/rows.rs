//! Rows for a command, from wherever they are: in batches, in the order of their time, as they come.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use history::data_dir::DataDir;
use history::dataset::DataSet;
use history::follow::FOLLOWED;
use history::format::{ArrowRows, tagged_lines};
use history::query::{Filter, Query, TimeRange};
use history::reader::History;
use history::readings::RunsWithReadings;
use history::scan::{Notice, Scan, ScanError};
use history::summary::{Summary, SummaryAsked};
use history::when::rfc3339;
use muster::clock::{SystemClock, WallTime};
use tokio::runtime::{Builder, Runtime};

use super::super::Failure;
use super::SourceArguments;
use super::audited::{Begun, FolderAudit, Taken};
use super::export::tell;
use super::remote::{Answer, Collector, encode};

/// Where rows are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// With a running collector.
    Collector(Collector),
    /// In the data folder of one that does not run.
    DataDir(Folder),
}

/// An open data folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    history: History,
    audit: FolderAudit,
    /// Runs the requests of `history`; it must outlive that one.
    _runtime: Arc<Runtime>,
}

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) data_set: DataSet,
    pub(super) range: TimeRange,
    pub(super) filter: Filter,
    /// Whether runs have `cpu_percent` and `memory_mb` after their columns.
    pub(super) has_readings: bool,
}

/// Batches of rows in the order of (time, team, agent, epoch, seq), with the columns of [`DataSet::row_schema`].
pub(super) struct RowSource {
    rows: Rows,
}

enum Rows {
    Collector(Box<ArrowRows<Answer>>, Collector),
    Scan { rows: Box<Scan>, folder: Folder },
    WithReadings { rows: Box<RunsWithReadings>, folder: Folder },
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Failure::other)?;
        let opened = runtime.block_on(DataDir::open(path, None, Arc::new(SystemClock::new())));
        let opened = opened.map_err(Failure::other)?;
        let history = History::new(opened.store, opened.log).map_err(Failure::other)?;
        Ok(Self { history, audit: FolderAudit::of(path), _runtime: Arc::new(runtime) })
    }

    /// The newest rows of all kinds but samples, oldest first, a line of JSON each.
    pub(super) fn newest(&self, filter: &Filter, count: u64) -> Result<String, Failure> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let newest = self.history.newest(&FOLLOWED, filter, WallTime(0), count).map_err(Failure::other)?;
        let (of, asked) = ("recent".to_owned(), format!("n={count}{}", self::filter(filter)));
        self.audit.read(&Taken { command: "telemetry recent", of, asked });
        newest.notices.iter().for_each(|notice| tell(&format!("warning: {notice}")));
        let lines = tagged_lines(newest.rows).map_err(Failure::other)?;
        String::from_utf8(lines).map_err(Failure::other)
    }

    fn note(&self, batch: &Result<RecordBatch, ScanError>) {
        self.audit.add_rows(batch.as_ref().map_or(0, RecordBatch::num_rows));
    }

    fn rows(&self, asked: &Asked) -> Result<Rows, Failure> {
        let query = Query {
            data_set: asked.data_set,
            range: asked.range,
            filter: asked.filter.clone(),
            columns: None,
            is_sorted: true,
        };
        if asked.data_set == DataSet::Runs && asked.has_readings {
            let runs = self.history.runs_with_readings(&query).map_err(Failure::other)?;
            return Ok(Rows::WithReadings { rows: Box::new(runs), folder: self.clone() });
        }
        let rows = self.history.scan(&query).map_err(Failure::other)?;
        Ok(Rows::Scan { rows: Box::new(rows), folder: self.clone() })
    }
}

/// Says at the end what is wrong with the rows, as a collector's answer does.
fn told<T>(
    batch: Option<Result<T, ScanError>>,
    notices: impl Fn() -> Vec<Notice>,
) -> Option<Result<T, Failure>> {
    if batch.is_none() {
        notices().iter().for_each(|notice| tell(&format!("warning: {notice}")));
    }
    batch.map(|batch| batch.map_err(Failure::other))
}

impl Place {
    pub(super) fn open(arguments: &SourceArguments) -> Result<Self, Failure> {
        if let Some(path) = &arguments.data_dir {
            return Folder::open(path).map(Self::DataDir);
        }
        Ok(Self::Collector(Collector::new(arguments)?))
    }

    /// Asks for figures.
    pub(super) fn summary(&self, asked: &SummaryAsked) -> Result<Summary, Failure> {
        let by = asked.by.map_or_else(String::new, |by| format!("&by={by}"));
        let query = format!("compare={}{by}{}", asked.compare, query(asked.range, &asked.filter));
        match self {
            Self::Collector(collector) => collector.document(&format!("/api/v1/history/summary?{query}")),
            Self::DataDir(folder) => {
                let summary = folder.history.summary(asked).map_err(Failure::other)?;
                let of = "summary".to_owned();
                folder.audit.read(&Taken { command: "telemetry summary", of, asked: query });
                Ok(summary)
            }
        }
    }

    /// Notes that rows go out from now on, in this format and to there. A collector notes it itself.
    pub(super) fn begin_export(&self, asked: &Asked, format: &dyn Display, to: &str) -> Begun {
        let Self::DataDir(folder) = self else { return Begun::elsewhere() };
        let taken = Taken {
            command: "telemetry export",
            of: asked.data_set.to_string(),
            asked: format!("format={format}{}", query(asked.range, &asked.filter)),
        };
        folder.audit.begin(&taken, to)
    }

    /// Asks for rows. What is refused is refused here, before the first.
    pub(super) fn rows(&self, asked: &Asked) -> Result<RowSource, Failure> {
        match self {
            Self::Collector(collector) => {
                let detailed = asked.has_readings;
                let path = format!(
                    "/api/v1/history/{}?format=arrow&detailed={detailed}{}",
                    asked.data_set,
                    query(asked.range, &asked.filter)
                );
                let rows = ArrowRows::new(collector.get(&path)?).map_err(|error| collector.cut(&error))?;
                Ok(RowSource { rows: Rows::Collector(Box::new(rows), collector.clone()) })
            }
            Self::DataDir(folder) => folder.rows(asked).map(|rows| RowSource { rows }),
        }
    }
}

impl Iterator for RowSource {
    type Item = Result<RecordBatch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.rows {
            Rows::Collector(rows, collector) => {
                rows.next().map(|batch| batch.map_err(|error| collector.cut(&error)))
            }
            Rows::Scan { rows, folder } => {
                let batch = rows.next().inspect(|batch| folder.note(batch));
                told(batch, || rows.notices().to_vec())
            }
            Rows::WithReadings { rows, folder } => {
                let batch = rows.next().inspect(|batch| folder.note(batch));
                told(batch, || rows.notices())
            }
        }
    }
}

/// A range and a filter as parameters of a URL, each with `&` before it.
pub(super) fn query(range: TimeRange, filter: &Filter) -> String {
    format!(
        "&start={}&end={}{}",
        encode(&rfc3339(range.from)),
        encode(&rfc3339(range.to)),
        self::filter(filter)
    )
}

/// A filter as parameters of a URL, each with `&` before it.
pub(super) fn filter(filter: &Filter) -> String {
    let team = filter.team.as_ref().map(|team| team.as_str().to_owned());
    let given = [
        ("team", &team),
        ("project", &filter.project),
        ("tool", &filter.tool),
        ("agent", &filter.worker),
        ("user", &filter.user),
        ("status", &filter.status),
    ];
    let told = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    told.map(|(name, value)| format!("&{name}={}", encode(value))).collect()
}
