//! `agent preview --source`: what each line of a file becomes, and why another becomes nothing.
//!
//! Events go to stdout as in every preview; what is wrong with a line, and the sum, to stderr.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use muster::batch::BatchView;
use muster::clock::{Clock, SystemClock};

use super::super::Failure;
use super::words;
use crate::config::AgentConfig;
use crate::facts::{Facts, Privacy};
use crate::local::origin;
use crate::project::Machine;
use crate::sources::ProjectContext;
use crate::sources::json_lines::{Line, SourceConfig};

/// Most of a file that is looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most lines that are said to be wrong, one by one.
const WRONG_SAID_MAX: usize = 20;

/// What became of lines.
#[derive(Default)]
struct Sum {
    lines: usize,
    events: usize,
    passed_over: usize,
    wrong: usize,
}

pub(super) fn preview(config: &AgentConfig, name: &str, limit: usize) -> Result<ExitCode, Failure> {
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        return Err(Failure::usage(match names.is_empty() {
            true => anyhow!("there is no [[agent.source]] in the configuration"),
            false => anyhow!("no source {name:?}; sources are {}", names.join(", ")),
        }));
    };
    let folder = source.path.parent().unwrap_or(&source.path);
    let mut project = origin::project_of(folder, &config.project_names, &[], &Machine::of_this_process());
    if let Some(name) = &source.project {
        project.name.clone_from(name);
    }
    let sum = lines(source, &project, &config.settings_at_rest().privacy, limit).map_err(Failure::failed)?;
    let Sum { lines, events, passed_over, wrong } = sum;
    say(&format!("{lines} lines: {events} events, {passed_over} passed over by `when`, {wrong} wrong"));
    Ok(ExitCode::SUCCESS)
}

fn lines(
    source: &SourceConfig,
    project: &ProjectContext,
    privacy: &Privacy,
    limit: usize,
) -> anyhow::Result<Sum> {
    let file = File::open(&source.path).with_context(|| format!("cannot open {}", source.path.display()))?;
    let now = SystemClock::new().wall();
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut out = std::io::stdout().lock();
    let mut sum = Sum::default();
    for line in BufReader::new(file.take(FILE_BYTES_MAX)).split(b'\n') {
        if sum.events >= limit {
            break;
        }
        sum.lines += 1;
        let statement = match source.mapping.read(&line?) {
            Line::Blank => continue,
            Line::PassedOver => {
                sum.passed_over += 1;
                continue;
            }
            Line::Wrong(why) => {
                sum.wrong += 1;
                if sum.wrong <= WRONG_SAID_MAX {
                    say(&format!("line {}: {why}", sum.lines));
                }
                continue;
            }
            Line::Statement(statement) => statement,
        };
        let mut facts = Facts::new(privacy.clone());
        facts.speak_for(&source.tool, "", project);
        statement.state(statement.time.unwrap_or(now), &mut facts);
        let batch = facts.into_builder();
        let view = BatchView::new(batch.as_batch());
        for event in view.events() {
            sum.events += 1;
            match writeln!(out, "{}", words::event(&view, &event)) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(sum),
                written => written?,
            }
        }
    }
    Ok(sum)
}

fn say(line: &str) {
    // Nothing can be done when stderr is closed.
    let _ = writeln!(std::io::stderr(), "muster: {line}");
}
