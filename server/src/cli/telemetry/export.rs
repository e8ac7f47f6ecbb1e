//! `muster telemetry export`: rows to a file, to standard output, or to another system.
//!
//! Rows stream: memory does not grow with their number. The request is made before the file is begun, so that what the
//! collector refuses leaves nothing behind; no rows are an empty file of the format and a word on standard error.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use history::dataset::{DataSet, UnknownDataSet};
use history::format::{Detail, Format, FormatError, Layout, RowWriter};
use history::query::Filter;
use history::summary::{By, SummaryAsked};

use super::super::Failure;
use super::deliver::{self, DeliverArguments, DeliverJob};
use super::output::{Output, Unfinished};
use super::progress::Progress;
use super::rows::{Asked, Place, RowSource};
use super::summary::printable;
use super::{FilterArguments, RangeArguments, SourceArguments};

/// Bytes that are gathered for one write.
const BUFFER_BYTES: usize = 256 << 10;

/// Arguments of `muster telemetry export`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    format: ExportFormat,
    /// What kind of rows: runs, events, sessions, usage or samples.
    #[arg(long, value_name = "NAME", default_value_t = DataSet::Runs, value_parser = data_set)]
    data_set: DataSet,
    /// All columns; without it, of runs, the guide's six.
    #[arg(long)]
    detailed: bool,
    /// The file, or - for standard output [default: -].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    range: RangeArguments,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    deliver: DeliverArguments,
}

/// What `--format` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON array of objects.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// One Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
    /// InfluxDB's line protocol, over HTTP.
    Influx,
    /// Datadog's series and events.
    Datadog,
    /// OpenTelemetry, to a destination of the configuration.
    Otlp,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.refuse_unused()?;
    let range = arguments.deliver.whole(arguments.format, arguments.range.range()?)?;
    let layout = arguments.layout();
    let asked = Asked {
        data_set: arguments.data_set,
        range,
        filter: arguments.filter.filter(),
        has_readings: arguments.has_readings(),
    };
    if arguments.deliver.is_delivery(arguments.format) {
        let place = Place::open(&arguments.source)?;
        let rows = place.rows(&asked)?;
        let begun =
            place.begin_export(&asked, &arguments.format, &arguments.deliver.whereto(arguments.format));
        let (format, detail, is_forced) = (arguments.format, layout.detail, arguments.force);
        let (source, flags) = (arguments.source.describe(), arguments.deliver);
        let job = DeliverJob { format, detail, asked, source, place, is_forced, flags };
        let delivered = deliver::run(job, rows);
        begun.end(delivered.is_ok());
        return delivered;
    }
    // What is no delivery is a file.
    let Some(format) = arguments.format.of_file() else { return Ok(()) };
    let output = Output::at(arguments.output.as_deref(), arguments.force || is_build())?;
    if output.is_terminal() && matches!(format, Format::Parquet | Format::Arrow) {
        return Err(Failure::Usage(format!("{format} is not for a terminal; --output names a file")));
    }
    let place = Place::open(&arguments.source)?;
    let rows = place.rows(&asked)?;
    let is_file = !matches!(output, Output::Stdout);
    let to = arguments.output.as_deref().filter(|_| is_file);
    let to = to.map_or_else(|| "standard output".into(), |path| path.to_string_lossy());
    let begun = place.begin_export(&asked, &format, &to);
    let written = write(rows, RowsTo { format, layout, output, range });
    begun.end(matches!(written, Ok(Some(_))));
    let Some(row_count) = written? else { return Ok(()) };
    if row_count == 0 {
        let why = unknown_name(&place, &asked).unwrap_or_default();
        tell(&format!("no rows of {} in this range with these filters{why}", asked.data_set));
    } else if is_file && io::stderr().is_terminal() {
        let path = arguments.output.unwrap_or_default();
        tell(&format!("{row_count} rows of {} written to {}", asked.data_set, path.display()));
    }
    Ok(())
}

/// Whether this is a build of CI, as Jenkins, GitHub and GitLab say: its workspace has the files of the build before, and
/// the guides' recipes name the same file in each.
fn is_build() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Names that are told when one was asked for that is not there.
const NAMES_TOLD_MAX: usize = 20;

/// If a filter has a name that nothing in the range has: which, and what names there are.
fn unknown_name(place: &Place, asked: &Asked) -> Option<String> {
    let filter = &asked.filter;
    let names = [
        (By::Project, &filter.project),
        (By::Tool, &filter.tool),
        (By::Agent, &filter.worker),
        (By::User, &filter.user),
    ];
    for (by, given) in names {
        let Some(given) = given else { continue };
        let filter = Filter { team: filter.team.clone(), ..Filter::default() };
        let summary = SummaryAsked { range: asked.range, filter, by: Some(by), compare: false };
        // What is not known here is only a word less.
        let summary = place.summary(&summary).ok()?;
        let known: Vec<_> = summary.groups.iter().filter_map(|group| group.name.as_deref()).collect();
        if !known.contains(&given.as_str()) && summary.others.is_none() {
            let told = match known.as_slice() {
                [] => "none".to_owned(),
                names => names.iter().take(NAMES_TOLD_MAX).copied().collect::<Vec<_>>().join(", "),
            };
            return Some(printable(&format!("; no {by} is called {given:?} there: known are {told}")));
        }
    }
    None
}

struct RowsTo {
    format: Format,
    layout: Layout,
    output: Output,
    range: history::query::TimeRange,
}

/// Writes all rows; says how many they were, or `None` if the reader of standard output had enough.
fn write(rows: RowSource, to: RowsTo) -> Result<Option<u64>, Failure> {
    let mut progress = Progress::new(to.range, to.output.is_terminal());
    let unfinished = Arc::new(Unfinished::default());
    let writing = to.output.open(&unfinished)?;
    let name = writing.name();
    let is_stdout = matches!(writing, super::output::Writing::Stdout(_));
    let copy = || -> Result<(), Copying> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, writing);
        let mut writer = RowWriter::new(to.format, to.layout, out)?;
        for batch in rows {
            let batch = batch.map_err(Copying::Rows)?;
            writer.write(&batch)?;
            progress.note(&batch);
            unfinished.set_rows(writer.row_count());
        }
        let out = writer.finish()?.into_inner().map_err(|error| FormatError::Io(error.into_error()))?;
        out.finish().map_err(Copying::Rows)
    };
    let copied = copy();
    let row_count = progress.finish();
    match copied {
        Ok(()) => Ok(Some(row_count)),
        Err(Copying::Rows(failure)) => Err(failure),
        Err(Copying::Out(FormatError::Io(error)))
            if is_stdout && error.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(None)
        }
        Err(Copying::Out(error)) => Err(Failure::Other(format!("cannot write {name}: {error}"))),
    }
}

/// Which side of the copying failed.
enum Copying {
    Rows(Failure),
    Out(FormatError),
}

impl From<FormatError> for Copying {
    fn from(error: FormatError) -> Self {
        Self::Out(error)
    }
}

/// A word for a person. Nothing is left to tell if standard error is gone.
pub(super) fn tell(words: &str) {
    let _ = writeln!(io::stderr(), "muster: {words}");
}

impl Arguments {
    /// A flag that nothing would come of is refused: whoever gave it meant something.
    fn refuse_unused(&self) -> Result<(), Failure> {
        self.deliver.refuse_unused(self.format)?;
        if self.output.is_some() && self.format.of_file().is_none() {
            let words = format!(
                "--format {} goes to a server (--url) and to no file: leave out --output",
                self.format
            );
            return Err(Failure::Usage(words));
        }
        Ok(())
    }

    fn layout(&self) -> Layout {
        let detail = if self.detailed { Detail::Full } else { Detail::Guide };
        Layout { data_set: self.data_set, detail }
    }

    /// CPU and memory are in the guide's columns, and in all columns.
    fn has_readings(&self) -> bool {
        let has_types = matches!(self.format, ExportFormat::Parquet | ExportFormat::Arrow);
        let is_file = self.format.of_file().is_some();
        self.data_set == DataSet::Runs && is_file && (self.detailed || !has_types)
    }
}

impl ExportFormat {
    /// The format of a file; `None` if it is for a network.
    pub(super) const fn of_file(self) -> Option<Format> {
        match self {
            Self::Csv => Some(Format::Csv),
            Self::Json => Some(Format::Json),
            Self::Ndjson => Some(Format::Ndjson),
            Self::Parquet => Some(Format::Parquet),
            Self::Arrow => Some(Format::Arrow),
            Self::Influx | Self::Datadog | Self::Otlp => None,
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

fn data_set(name: &str) -> Result<DataSet, UnknownDataSet> {
    name.parse()
}
