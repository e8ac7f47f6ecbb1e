//! The history: rows a second from the journal's records to files, bytes a row, on one core.
//!
//! A made-up [month](month) is folded and written as the collector does it: a flush every ten minutes, each day's files
//! merged into one at the day's end. Nothing is read from or written to a disk where it is measured; time is that of
//! the thread on a core, so that what else runs on the machine does not count. With `--out` the files are then kept in
//! a data folder, as the collector keeps them, for other programs to read (`muster telemetry export --data-dir`, DuckDB), with the page of metrics that
//! the collector would have at the month's end, and the month's runs of one worker are scanned.

mod month;
mod out;
mod scan;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use history::dataset::DataSet;
use history::file::{self, Encoder, FileError, MergeInput};
use history::fold::Fold;
use history::partition::{JournalRange, Partition};
use journal::Position;
use journal::stream::StreamItem;
use month::{Month, MonthConfig};
use out::Out;

/// Options.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Runs in the month
    #[arg(long, default_value_t = 10_000_000)]
    runs: u64,
    /// Days of the month, from a Monday
    #[arg(long, default_value_t = 28)]
    days: u64,
    /// Developers, each with a machine and a project
    #[arg(long, default_value_t = 200)]
    developers: u64,
    /// Teams they are in
    #[arg(long, default_value_t = 8)]
    teams: u64,
    /// Minutes between flushes
    #[arg(long, default_value_t = 10)]
    flush_minutes: u64,
    /// Same seed, same month
    #[arg(long, default_value_t = 20_260_201)]
    seed: u64,
    /// Also keep the files and the page of metrics, in this new data folder
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What one step cost, summed.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    rows: u64,
    runs: u64,
    seconds: f64,
    files: u64,
    bytes: u64,
    run_bytes: u64,
}

#[derive(Debug, Default)]
struct Report {
    fold: Step,
    encode: Step,
    merge: Step,
    journal_bytes: u64,
    memory_bytes_max: usize,
}

type Files = BTreeMap<Partition, Bytes>;

/// Runs and prints.
pub fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    let config = MonthConfig {
        seed: args.seed,
        runs: args.runs,
        days: args.days,
        developers: args.developers,
        teams: args.teams,
    };
    let mut month = Month::new(config)?;
    let mut out = args.out.as_deref().map(Out::new).transpose()?;
    let mut report = Report::default();
    while let Some(day) = month.next_day()? {
        let mut flushed: BTreeMap<Partition, Vec<Bytes>> = BTreeMap::new();
        let mut range = JournalRange { after: Position(0), to: Position(0) };
        for flush in flushes(&day.items, args.flush_minutes) {
            let files = write(flush, &mut range, &mut report)?;
            if let Some(out) = &mut out {
                out.commit(range, &files, flush)?;
            }
            files
                .into_iter()
                .for_each(|(partition, bytes)| flushed.entry(partition).or_default().push(bytes));
        }
        for (partition, files) in flushed {
            merge(&partition, files, range, &mut report)?;
        }
        if let Some(out) = &mut out {
            out.settle()?;
        }
    }
    report.print();
    out.iter().try_for_each(Out::finish)?;
    out.iter().try_for_each(|out| scan::measure(out.store()))
}

/// Records that were appended within the same minutes.
fn flushes(items: &[StreamItem], minutes: u64) -> impl Iterator<Item = &[StreamItem]> {
    let slot = move |item: &StreamItem| match item {
        StreamItem::Batch(entry) => entry.appended_wall.0 / (minutes * 60_000_000),
        _ => 0,
    };
    items.chunk_by(move |a, b| slot(b) <= slot(a))
}

fn write(items: &[StreamItem], range: &mut JournalRange, report: &mut Report) -> anyhow::Result<Files> {
    let position = |item: &StreamItem| match item {
        StreamItem::Batch(entry) => (entry.position, entry.bytes.len() as u64),
        _ => (Position(0), 0),
    };
    let (first, last) = (items.first().context("an empty flush")?, items.last().context("an empty flush")?);
    *range = JournalRange { after: Position(position(first).0.0 - 1), to: position(last).0 };
    report.journal_bytes += items.iter().map(|item| position(item).1).sum::<u64>();

    let begun = core_seconds()?;
    let mut fold = Fold::new();
    for item in items {
        fold.take(item)?;
    }
    report.memory_bytes_max = report.memory_bytes_max.max(fold.memory_bytes());
    report.fold.rows += fold.row_count();
    let batches: Vec<_> = fold.into_batches().collect();
    let folded = core_seconds()?;
    report.fold.seconds += folded - begun;
    let mut files = Files::new();
    for (partition, batch) in batches {
        let rows = batch.num_rows() as u64;
        let bytes = file::encode(partition.data_set, [batch], *range)?;
        report.encode.file(&partition, rows, bytes.len());
        files.insert(partition, bytes);
    }
    report.encode.seconds += core_seconds()? - folded;
    Ok(files)
}

fn merge(
    partition: &Partition,
    files: Vec<Bytes>,
    range: JournalRange,
    report: &mut Report,
) -> anyhow::Result<()> {
    let begun = core_seconds()?;
    let inputs = files.into_iter().map(|bytes| file::read(partition.data_set, bytes).map(MergeInput::from));
    let inputs = inputs.collect::<Result<Vec<_>, FileError>>()?;
    let mut encoder = Encoder::new(partition.data_set, range, Vec::new())?;
    let mut rows = 0;
    for batch in file::merge(inputs) {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        encoder.write(&batch)?;
    }
    let bytes = encoder.finish()?;
    report.merge.seconds += core_seconds()? - begun;
    report.merge.file(partition, rows, bytes.len());
    Ok(())
}

impl Step {
    fn file(&mut self, partition: &Partition, rows: u64, bytes: usize) {
        self.rows += rows;
        self.files += 1;
        self.bytes += bytes as u64;
        if partition.data_set == DataSet::Runs {
            self.runs += rows;
            self.run_bytes += bytes as u64;
        }
    }
}

impl Report {
    fn print(&self) {
        let rate = |rows: u64, seconds: f64| rows as f64 / seconds / 1e3;
        println!(
            "{} rows, {} of them runs, from {:.0} MB of journal; at most {:.1} MB of rows in memory",
            self.fold.rows,
            self.encode.runs,
            self.journal_bytes as f64 / 1e6,
            self.memory_bytes_max as f64 / 1e6
        );
        println!("fold: {:.0} k rows/s of a core", rate(self.fold.rows, self.fold.seconds));
        println!(
            "fold and write: {:.0} k rows/s of a core",
            rate(self.fold.rows, self.fold.seconds + self.encode.seconds)
        );
        let all = self.fold.seconds + self.encode.seconds + self.merge.seconds;
        println!(
            "fold, write, merge a day and write again: {:.0} k rows/s of a core",
            rate(self.fold.rows, all)
        );
        for (name, step) in [("flushes", &self.encode), ("days", &self.merge)] {
            println!(
                "{name}: {} files, {:.0} MB, {:.2} bytes a run row, {:.2} bytes a row",
                step.files,
                step.bytes as f64 / 1e6,
                step.run_bytes as f64 / step.runs as f64,
                step.bytes as f64 / step.rows as f64
            );
        }
    }
}

/// How long this thread has been on a core.
fn core_seconds() -> anyhow::Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let nanoseconds: u64 =
        text.split(' ').next().unwrap_or("").parse().with_context(|| format!("{path}: {text:?}"))?;
    Ok(nanoseconds as f64 / 1e9)
}
