//! `muster telemetry summary`: what happened in a range of time, in figures.
//!
//! The collector counts, this writes: a table for a person, JSON for programs, Markdown for a page or a job's summary, and
//! what an incoming webhook of Slack takes.

mod figures;
mod markdown;
mod slack;
mod spark;
mod table;

pub(super) use figures::{count, dollars, duration};
pub(super) use table::printable;

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use history::summary::{By, Summary, SummaryAsked, UnknownBy};

use super::super::{Failure, print};
use super::export::tell;
use super::rows::Place;
use super::{FilterArguments, RangeArguments, SourceArguments};

/// Arguments of `muster telemetry summary`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Part the figures by this: team, user, project, tool, agent, model or day.
    #[arg(long, value_name = "WORD", value_parser = by)]
    by: Option<By>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = SummaryFormat::Table)]
    format: SummaryFormat,
    #[command(flatten)]
    range: RangeArguments,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    source: SourceArguments,
}

/// What `--format` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SummaryFormat {
    /// For a person; with bars and lines on a terminal.
    Table,
    /// One JSON value with every figure.
    Json,
    /// Markdown, as for $GITHUB_STEP_SUMMARY.
    Markdown,
    /// What an incoming webhook of Slack takes.
    Slack,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let asked = SummaryAsked {
        range: arguments.range.range()?,
        filter: arguments.filter.filter(),
        by: arguments.by,
        compare: true,
    };
    let summary = Place::open(&arguments.source)?.summary(&asked)?;
    for notice in &summary.notices {
        tell(notice);
    }
    print(&written(&summary, arguments.format)?)
}

fn written(summary: &Summary, format: SummaryFormat) -> Result<String, Failure> {
    Ok(match format {
        SummaryFormat::Table => table::written(summary, io::stdout().is_terminal()),
        SummaryFormat::Json => serde_json::to_string(summary).map_err(Failure::other)? + "\n",
        SummaryFormat::Markdown => markdown::written(summary),
        SummaryFormat::Slack => slack::written(summary),
    })
}

fn by(name: &str) -> Result<By, UnknownBy> {
    name.parse()
}
