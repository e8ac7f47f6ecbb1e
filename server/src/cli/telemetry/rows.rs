//! Rows for a command, from wherever they are: in batches, in the order of their time, as they come.

use arrow_array::RecordBatch;
use history::dataset::DataSet;
use history::format::ArrowRows;
use history::query::{Filter, TimeRange};
use history::summary::{Summary, SummaryAsked};
use history::when::rfc3339;

use super::super::Failure;
use super::SourceArguments;
use super::remote::{Answer, Collector, encode};

/// Where rows are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// With a running collector.
    Collector(Collector),
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
#[derive(Debug)]
pub(super) struct RowSource {
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    Collector(Box<ArrowRows<Answer>>, Collector),
}

impl Place {
    pub(super) fn open(arguments: &SourceArguments) -> Result<Self, Failure> {
        if let Some(path) = &arguments.data_dir {
            return Err(Failure::Other(format!("cannot read {} yet", path.display())));
        }
        Ok(Self::Collector(Collector::new(arguments)?))
    }

    /// Asks for figures.
    pub(super) fn summary(&self, asked: &SummaryAsked) -> Result<Summary, Failure> {
        match self {
            Self::Collector(collector) => {
                let by = asked.by.map_or_else(String::new, |by| format!("&by={by}"));
                let query = query(asked.range, &asked.filter);
                collector.document(&format!("/api/v1/history/summary?compare={}{by}{query}", asked.compare))
            }
        }
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
