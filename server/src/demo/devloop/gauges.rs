//! Lines of `performance/metrics.jsonl` and the map `feedback/performance.json`, contracts/devloop.md sections 1.5 and 1.7.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::workers::{RunResult, Worker};
use crate::demo::json::{Json, object};

/// What psutil would say of DevLoop's process and of its host.
#[derive(Debug)]
pub(super) struct Resources {
    memory_mb: f64,
    /// Host counters since boot, in quarters of a MiB and in bytes.
    disk_quarters: [u64; 2],
    network_bytes: [u64; 2],
}

/// A worker's line in `feedback/performance.json`.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Performance {
    executions: u64,
    successes: u64,
    seconds: f64,
    pub(super) feedback: u64,
    pub(super) thumbs_up: u64,
    pub(super) thumbs_down: u64,
    updated_at: f64,
}

/// A run as the monitor around the handler sees it.
#[derive(Debug)]
pub(super) struct Monitored<'a> {
    pub(super) worker: Worker,
    pub(super) trigger: &'a str,
    pub(super) started: f64,
    pub(super) ended: f64,
    /// Set when the handler raised: the only runs that this file calls failed.
    pub(super) raised: Option<&'a str>,
}

impl Resources {
    pub(super) fn invent(rng: &mut Rng) -> Self {
        Self {
            memory_mb: 96.0,
            disk_quarters: [rng.u64(4_000..20_000), rng.u64(4_000..20_000)],
            network_bytes: [rng.u64(1 << 27..1 << 29), rng.u64(1 << 28..1 << 30)],
        }
    }

    /// The line of a run. Time passes in the counters meanwhile.
    pub(super) fn line(&mut self, run: &Monitored<'_>, rng: &mut Rng) -> String {
        let cpu_start = [0.0, 9.9, 19.8][rng.usize(..3)];
        let start = self.sample(run.started, cpu_start);
        let memory_start = self.memory_mb;
        self.pass_time(rng);
        let cpu_end = [0.0, 9.9, 19.8, 30.1][rng.usize(..4)];
        let line = object! {
            "operation_name": format!("agent.{}.handle", run.worker.name()),
            "start_time": run.started, "end_time": run.ended, "duration": run.ended - run.started,
            "success": run.raised.is_none(), "error_message": run.raised,
            "metadata": object! { "event_type": run.trigger, "agent_name": run.worker.name() },
            "resource_usage_start": start, "resource_usage_end": self.sample(run.ended, cpu_end),
            "cpu_used": cpu_end - cpu_start, "memory_used_mb": self.memory_mb - memory_start,
        };
        line.line()
    }

    fn sample(&self, at: f64, cpu_percent: f64) -> Json {
        object! {
            "timestamp": at, "cpu_percent": cpu_percent, "memory_mb": self.memory_mb,
            "memory_percent": self.memory_mb / 160.0,
            "disk_read_mb": self.disk_quarters[0] as f64 / 4.0, "disk_write_mb": self.disk_quarters[1] as f64 / 4.0,
            "network_bytes_sent": self.network_bytes[0], "network_bytes_recv": self.network_bytes[1],
        }
    }

    fn pass_time(&mut self, rng: &mut Rng) {
        let drift = [-0.5, 0.0, 0.0, 0.25, 0.5][rng.usize(..5)];
        self.memory_mb = (self.memory_mb + drift).clamp(90.0, 180.0);
        for quarters in &mut self.disk_quarters {
            *quarters += rng.u64(..4);
        }
        for bytes in &mut self.network_bytes {
            *bytes += rng.u64(..1 << 12);
        }
    }
}

impl Performance {
    pub(super) fn record(&mut self, result: RunResult, seconds: f64, now: f64) {
        self.executions += 1;
        self.successes += u64::from(matches!(result, RunResult::Success | RunResult::Skipped));
        self.seconds += seconds;
        self.updated_at = now;
    }

    fn entry(&self) -> Json {
        object! {
            "total_executions": self.executions, "successful_executions": self.successes,
            "average_duration": self.seconds / self.executions.max(1) as f64,
            "feedback_count": self.feedback, "thumbs_up_count": self.thumbs_up,
            "thumbs_down_count": self.thumbs_down, "average_rating": 0.0, "last_updated": self.updated_at,
        }
    }
}

/// The text of `feedback/performance.json`.
pub(super) fn performance_json(of: &BTreeMap<&'static str, Performance>) -> String {
    Json::Object(of.iter().map(|(&name, seen)| (name.into(), seen.entry())).collect()).pretty()
}
