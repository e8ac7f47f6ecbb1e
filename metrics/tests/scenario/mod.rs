//! Batches that state every kind of fact, for whole pages.

use std::time::Duration;

use metrics::{Aggregate, AggregateConfig, Applied, Format, PageRequest};
use muster::batch::{BatchBuilder, SourceIdentity, SourceIndex};
use muster::clock::{Monotonic, WallTime};
use muster::ids::AgentId;
use muster::v1;
use muster::v1::event::Kind;

/// 2026-02-20 12:00:00 UTC.
pub const NOON: WallTime = WallTime(1_771_588_800_000_000);

/// A page of `aggregate` a minute after noon.
pub fn page(aggregate: &Aggregate, format: Format) -> String {
    let mut out = Vec::new();
    let request = PageRequest { format, ..Default::default() };
    aggregate.render(&request, WallTime(NOON.0 + 60_000_000), &mut out);
    String::from_utf8(out).expect("pages are UTF-8")
}

/// A collector that heard one developer's Loki Mode, DevLoop, Claude and machine.
pub fn collector() -> Aggregate {
    aggregate(AggregateConfig { series_per_family_max: 12, ..AggregateConfig::collector() }, "shop")
}

/// The same, with a project's name and workers' names that try to break the page.
pub fn hostile() -> Aggregate {
    aggregate(AggregateConfig::collector(), "q\"} 1\nloki_cost_usd 666\\ \r\0 \u{2028} é \u{1f980}")
}

/// An agent that watches one project.
pub fn agent() -> Aggregate {
    aggregate(AggregateConfig::agent(), "shop")
}

fn aggregate(config: AggregateConfig, project: &str) -> Aggregate {
    let mut aggregate = Aggregate::new(config);
    let mut day =
        Day { builder: BatchBuilder::new(), source: None, time: NOON.0, project: project.to_owned() };
    day.loki();
    day.devloop();
    day.claude();
    day.machine();
    let mut batch = day.builder.as_batch().clone();
    // A kind that this version does not know.
    batch.events.push(v1::Event::default());
    let at = Applied { wall: WallTime(NOON.0 + 50_000_000), monotonic: Monotonic(Duration::ZERO) };
    let team = "core".parse().expect("a valid team");
    aggregate.apply(&team, AgentId::from_bytes([1; 16]), &batch, at);
    aggregate
}

struct Day {
    builder: BatchBuilder,
    source: Option<SourceIndex>,
    time: u64,
    project: String,
}

impl Day {
    fn speak_for(&mut self, tool: &str, project: &str) {
        self.source = self.builder.source(&SourceIdentity {
            tool: tool.into(),
            project: project.into(),
            user: "dana".into(),
            host: "laptop-17".into(),
            ..Default::default()
        });
    }

    fn say(&mut self, kind: Kind) {
        self.say_weighted(1, kind);
    }

    fn say_weighted(&mut self, weight: u32, kind: Kind) {
        self.time += 250_000;
        let source = self.source.expect("a source speaks first");
        self.builder.push_weighted(WallTime(self.time), source, weight, kind);
    }

    fn loki(&mut self) {
        self.speak_for("loki", &self.project.clone());
        self.say(Kind::ToolState(v1::ToolState {
            status: v1::SessionStatus::Running.into(),
            iteration: 7,
            iteration_max: 40,
            started_time_us: Some(NOON.0 - 5_335_500_000),
            sessions_live: 1,
            phase: 0,
        }));
        self.say(Kind::TaskCounts(v1::TaskCounts {
            pending: 3,
            in_progress: 1,
            completed: 5,
            failed: 1,
            review: 2,
        }));
        self.say(Kind::WorkerCounts(v1::WorkerCounts { active: 2, registered: 4 }));
        self.say(Kind::CostTotal(v1::CostTotal { cost_usd: 2.4012 }));
        self.say(Kind::BudgetState(v1::BudgetState {
            limit_usd: Some(5.0),
            used_usd: Some(2.4012),
            exceeded: false,
        }));
        self.say(Kind::LinesRecorded(v1::LinesRecorded { count: 20 }));
        let name = self.builder.text("phase_change");
        self.say(Kind::LogRecord(v1::LogRecord { name, ..Default::default() }));
        let health = v1::SourceHealth {
            newest_data_time_us: NOON.0 - 3_000_000,
            parse_errors: 1,
            ..Default::default()
        };
        self.say(Kind::SourceHealth(health));
    }

    fn devloop(&mut self) {
        self.speak_for("devloop", &self.project.clone());
        let linter = self.builder.text(&format!("linter{}", if self.project == "shop" { "" } else { "\\" }));
        let tests = self.builder.text("test-runner");
        let run = |worker, status: v1::RunStatus, duration_us| {
            let status = status.into();
            Kind::RunFinished(v1::RunFinished {
                worker,
                status,
                duration_us,
                queued_us: Some(4_000),
                ..Default::default()
            })
        };
        self.say(Kind::RunStarted(v1::RunStarted { worker: linter, ..Default::default() }));
        self.say(run(linter, v1::RunStatus::Success, Some(120_500)));
        self.say(run(linter, v1::RunStatus::Skipped, Some(8_000)));
        self.say_weighted(10, run(linter, v1::RunStatus::Success, Some(90_000)));
        self.say(run(tests, v1::RunStatus::Failure, Some(12_345_678)));
        self.say(run(tests, v1::RunStatus::Error, None));
        self.say(Kind::QueueDepth(v1::QueueDepth { worker: linter, depth: 3 }));
        self.say(Kind::QueueDepth(v1::QueueDepth { worker: tests, depth: 1 }));
        for (change, count) in [(v1::FindingChange::Found, 4), (v1::FindingChange::Dismissed, 1)] {
            let (severity, change) = (v1::Severity::High.into(), change.into());
            self.say(Kind::Finding(v1::Finding {
                worker: linter,
                severity,
                change,
                count,
                ..Default::default()
            }));
        }
        self.say(Kind::ActiveFindings(v1::ActiveFindings { critical: 0, high: 3, medium: 1, low: 0 }));
        self.say(Kind::FindingsFixed(v1::FindingsFixed { count: 2 }));
        let change = v1::FileChange::Modified.into();
        self.say(Kind::FileActivity(v1::FileActivity { change, ..Default::default() }));
        self.say(Kind::FilesWatched(v1::FilesWatched { count: 9842 }));
        for (gate, allowed) in
            [(v1::PushGate::PrePush, false), (v1::PushGate::PrePush, true), (v1::PushGate::PreCommit, true)]
        {
            let gate = gate.into();
            self.say(Kind::PushChecked(v1::PushChecked {
                gate,
                allowed,
                prevented_bad_push: !allowed,
                reason: 0,
            }));
        }
        self.say(Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(1_500) }));
        for kind in [v1::TimeSavedKind::Build, v1::TimeSavedKind::Developer] {
            self.say(Kind::TimeSaved(v1::TimeSaved {
                kind: kind.into(),
                saved_us: 900_000_000,
                modelled: true,
            }));
        }
        self.sample(v1::ResourceScope::Tool, 0);
        self.sample(v1::ResourceScope::Worker, tests);
        self.say(Kind::ToolSettings(v1::ToolSettings { disabled_metrics: vec![], sample_rate: 0.1 }));
    }

    fn claude(&mut self) {
        self.speak_for("claude", &self.project.clone());
        let (opus, haiku, bash) =
            (self.builder.text("opus"), self.builder.text("haiku"), self.builder.text("Bash"));
        let tokens =
            v1::Usage { input_tokens: 1200, output_tokens: 340, cache_read_tokens: 99, ..Default::default() };
        self.say(Kind::Usage(v1::Usage { model: opus, reported_cost_microusd: Some(14_500), ..tokens }));
        self.say(Kind::Usage(v1::Usage { model: opus, computed_cost_microusd: Some(20_000), ..tokens }));
        self.say(Kind::Usage(v1::Usage { model: haiku, ..tokens }));
        let status = v1::RunStatus::Success.into();
        self.say(Kind::ToolCall(v1::ToolCall {
            worker: 0,
            name: bash,
            status,
            duration_us: Some(2_000_000),
        }));
        let signal = v1::OtlpSignal::Logs.into();
        self.say(Kind::OtlpPayload(v1::OtlpPayload { signal, item_count: 5, ..Default::default() }));
        // More names than the family has room for.
        for number in 0..14 {
            let name = self.builder.text(&format!("event-{number:02}"));
            self.say(Kind::LogRecord(v1::LogRecord { name, ..Default::default() }));
        }
    }

    fn machine(&mut self) {
        self.speak_for("host", "");
        self.sample(v1::ResourceScope::Machine, 0);
    }

    fn sample(&mut self, scope: v1::ResourceScope, worker: u32) {
        self.say(Kind::ResourceSample(v1::ResourceSample {
            scope: scope.into(),
            worker,
            cpu_percent: Some(12.5),
            memory_bytes: Some(250 << 20),
            disk_io_bytes: Some(4096),
            memory_total_bytes: (scope == v1::ResourceScope::Machine).then_some(16 << 30),
            processes: u32::from(scope == v1::ResourceScope::Machine) * 311,
        }));
    }
}
