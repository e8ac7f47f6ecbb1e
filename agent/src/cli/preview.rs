//! `agent preview`: exactly what would leave this machine, less what the collector asked to withhold, and nothing is sent
//! or spooled.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use muster::batch::BatchView;
use muster::clock::{Clock, SystemClock};

use super::{Failure, RunArgs};
use crate::discovery::{Bounds, Discovery};
use crate::processes::ProcTable;
use crate::project::{self, Machine};
use crate::remote_configuration::Settings;
use crate::sources::host::{self, HostSource};
use crate::sources::{self, Moment, ToolEnvironment};

mod lines;
mod words;

/// Flags of `agent preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// Projects or folders of projects (default: what `[agent]` watches)
    paths: Vec<PathBuf>,
    /// A source of `[[agent.source]]`: print what the lines of its file become
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    source: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    config: Option<PathBuf>,
    /// Most events to print a source; 0 for all
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Prints one JSON object a line for each event: all that would stand in a batch.
pub(super) fn preview(args: &PreviewArgs) -> Result<ExitCode, Failure> {
    let run = RunArgs { watch: args.paths.clone(), config: args.config.clone(), ..RunArgs::default() };
    let config = run.resolve().map_err(Failure::usage)?;
    if let Some(name) = &args.source {
        return lines::preview(&config, name, args.limit);
    }
    if config.watch.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "nothing to preview: name a project, as in `muster agent preview .`"
        )));
    }
    let machine = Machine::of_this_process();
    let found = Discovery::new(config.watch.clone(), Bounds::default()).rescan(sources::TOOLS);
    if found.added.is_empty() {
        return Err(Failure::failed(anyhow::anyhow!(
            "no project found in {:?}: a project has a .loki folder or .devloop/agents.json",
            config.watch
        )));
    }
    let settings = config.settings_at_rest();
    let mut sources: Vec<Box<dyn sources::Source>> = Vec::new();
    let mut names = BTreeSet::new();
    for project in &found.added {
        let configured = config.project_names.get(&project.root).map(String::as_str);
        let mut context = project::context(&project.root, configured, &machine);
        context.name = project::distinct_name(&context.name, &project.root, &names);
        names.insert(context.name.clone());
        let environment = ToolEnvironment { loki_max_iterations: std::env::var("LOKI_MAX_ITERATIONS").ok() };
        for tool in sources::TOOLS.iter().filter(|tool| project.tools.contains(&tool.name())) {
            if settings.is_off(tool.name()) {
                continue;
            }
            sources.push(tool.open(context.clone(), &environment, None));
        }
    }
    if config.host_samples && !settings.is_off(host::TOOL) {
        sources.push(Box::new(HostSource::new(&machine)));
    }
    let mut out = std::io::stdout().lock();
    for line in sources.iter_mut().flat_map(|source| events_of(source.as_mut(), &settings, args.limit)) {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Failure::failed(error)),
            Ok(()) => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Steps until the source has nothing more or the limit is reached.
fn events_of(source: &mut dyn sources::Source, settings: &Settings, limit: usize) -> Vec<String> {
    let clock = SystemClock::new();
    let processes = ProcTable::new();
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (mut lines, mut events) = (Vec::new(), 0_usize);
    loop {
        let moment =
            Moment { wall: clock.wall(), monotonic: clock.monotonic(), processes: &processes, rescan: true };
        let mut facts = settings.facts();
        let step = source.step(&moment, &mut facts);
        let batch = facts.into_builder();
        let view = BatchView::new(batch.as_batch());
        for event in view.events() {
            if events == limit {
                return lines;
            }
            events += 1;
            lines.push(words::event(&view, &event).to_string());
        }
        if !step.more {
            return lines;
        }
    }
}
