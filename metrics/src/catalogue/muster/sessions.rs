//! Sessions, tasks, workers, queues: what is going on now.

use muster::words::word;

use super::EVERY;
use crate::aggregate::Label;
use crate::catalogue::words::session_status;
use crate::catalogue::{AGENT, Family, GAUGE, Rule, SECONDS_SINCE, STATUS, TOOL};

const NOW: Family = Family { kind: GAUGE, ..EVERY };

pub(in crate::catalogue) const FAMILIES: &[Family] = &[
    Family {
        name: "muster_session_status",
        help: "State of the tool in the project (0=stopped, 1=running, 2=paused); a dead session reads 0",
        rules: &[Rule::ToolState(|state, fact| {
            if let Some(status) = session_status(state.status) {
                fact.set([Label::Tool], status);
            }
        })],
        ..NOW
    },
    Family {
        name: "muster_sessions_live",
        help: "Sessions alive",
        rules: &[Rule::ToolState(|state, fact| fact.set([Label::Tool], f64::from(state.sessions_live)))],
        ..NOW
    },
    Family {
        name: "muster_session_iteration",
        help: "Iteration of the newest session",
        rules: &[Rule::ToolState(|state, fact| fact.set([Label::Tool], state.iteration as f64))],
        ..NOW
    },
    Family {
        name: "muster_session_iteration_max",
        help: "Iterations that the session may have; absent when not known",
        rules: &[Rule::ToolState(|state, fact| match state.iteration_max {
            0 => fact.unset([Label::Tool]),
            max => fact.set([Label::Tool], max as f64),
        })],
        ..NOW
    },
    Family {
        name: "muster_session_uptime_seconds",
        kind: SECONDS_SINCE,
        unit: "seconds",
        help: "Seconds since the oldest live session started; 0 when none is alive, absent when not known",
        rules: &[Rule::ToolState(|state, fact| {
            match (state.started_time_us, session_status(state.status)) {
                (Some(started_us), _) => fact.set([Label::Tool], started_us as f64),
                (None, Some(0.0)) => fact.set([Label::Tool], 0.0),
                (None, _) => fact.unset([Label::Tool]),
            }
        })],
        ..NOW
    },
    Family {
        name: "muster_tasks",
        help: "Tasks on the tool's board by status",
        labels: &[TOOL, STATUS],
        rules: &[Rule::TaskCounts(|tasks, fact| {
            fact.set([Label::Tool, word::PENDING.into()], tasks.pending as f64);
            fact.set([Label::Tool, word::IN_PROGRESS.into()], tasks.in_progress as f64);
            fact.set([Label::Tool, word::COMPLETED.into()], tasks.completed as f64);
            fact.set([Label::Tool, word::FAILED.into()], tasks.failed as f64);
            fact.set([Label::Tool, word::REVIEW.into()], tasks.review as f64);
        })],
        ..NOW
    },
    Family {
        name: "muster_workers_active",
        help: "Workers at work",
        rules: &[Rule::WorkerCounts(|workers, fact| fact.set([Label::Tool], workers.active as f64))],
        ..NOW
    },
    Family {
        name: "muster_workers_registered",
        help: "Workers that the tool has registered",
        rules: &[Rule::WorkerCounts(|workers, fact| fact.set([Label::Tool], workers.registered as f64))],
        ..NOW
    },
    Family {
        name: "muster_queue_depth",
        help: "Causes that wait for a worker",
        labels: &[TOOL, AGENT],
        rules: &[Rule::QueueDepth(|queue, fact| {
            fact.set([Label::Tool, Label::Text(queue.worker)], queue.depth as f64);
        })],
        ..NOW
    },
    Family {
        name: "muster_files_watched",
        help: "Files that the tool watches",
        rules: &[Rule::FilesWatched(|files, fact| fact.set([Label::Tool], files.count as f64))],
        ..NOW
    },
];
