//! What each kind of event says, as rows. The counterpart for counters is the metrics' catalogue; where the two speak of
//! the same fact, the sum of the rows is the counter.

use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;
use muster::words::{self, Word, word};

use super::rows::{Cell, Head};
use super::texts::TextId;
use super::words::push_outcome;
use super::{Fold, TIME_US_MAX, integer};
use crate::dataset::DataSet;
use crate::partition::Day;

/// One event in hand.
pub(super) struct Fact<'a> {
    pub(super) fold: &'a mut Fold,
    pub(super) batch: &'a v1::Batch,
    pub(super) team: u32,
    pub(super) appended: WallTime,
    pub(super) head: Head,
    pub(super) time: WallTime,
}

/// The own columns of a row of `events`, in the order of its table.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventRow {
    kind: Word,
    name: TextId,
    worker: TextId,
    session: TextId,
    iteration: u32,
    severity: TextId,
    outcome: TextId,
    reason: TextId,
    count: i64,
    duration_us: Option<u64>,
    file: TextId,
    has_attributes: bool,
}

/// What a sample read.
enum Reading {
    Number(f64),
    Word(TextId),
    /// A word that gauges show as a number.
    State(Word, f64),
    Nothing,
}

impl EventRow {
    /// One of an unknown kind.
    const NOTHING: Self = Self {
        kind: word::UNKNOWN,
        name: TextId::NONE,
        worker: TextId::NONE,
        session: TextId::NONE,
        iteration: 0,
        severity: TextId::NONE,
        outcome: TextId::NONE,
        reason: TextId::NONE,
        count: 1,
        duration_us: None,
        file: TextId::NONE,
        has_attributes: false,
    };

    /// One of OTLP, whoever it came from. What is in it is not looked into.
    pub(super) fn otlp(signal: i32, items: u32) -> Self {
        let name = words::otlp_signal(signal).into();
        Self { kind: word::OTLP, name, count: i64::from(items), ..Self::NOTHING }
    }

    pub(super) fn cells(&self) -> [Cell; 12] {
        [
            Cell::Word(self.kind.into()),
            Cell::Word(self.name),
            Cell::Word(self.worker),
            Cell::Word(self.session),
            iteration(self.iteration),
            Cell::Word(self.severity),
            Cell::Word(self.outcome),
            Cell::Word(self.reason),
            Cell::Integer(Some(self.count)),
            Cell::Integer(self.duration_us.map(integer)),
            Cell::Word(self.file),
            Cell::Attributes(self.has_attributes),
        ]
    }
}

impl Fact<'_> {
    pub(super) fn take(&mut self, kind: Option<&Kind>) {
        let Some(kind) = kind else { return self.event(EventRow::NOTHING) };
        match kind {
            Kind::RunFinished(run) => self.run(run),
            Kind::SessionState(session) => self.session(session),
            Kind::Usage(usage) => self.usage(usage),
            Kind::ToolState(state) => self.tool_state(state),
            Kind::QueueDepth(queue) => {
                let worker = self.text(queue.worker);
                self.sample(word::QUEUE_DEPTH, worker, Reading::Number(queue.depth as f64));
            }
            Kind::TaskCounts(tasks) => self.samples([
                (word::TASKS_PENDING, tasks.pending),
                (word::TASKS_IN_PROGRESS, tasks.in_progress),
                (word::TASKS_COMPLETED, tasks.completed),
                (word::TASKS_FAILED, tasks.failed),
                (word::TASKS_REVIEW, tasks.review),
            ]),
            Kind::WorkerCounts(workers) => self.samples([
                (word::WORKERS_ACTIVE, workers.active),
                (word::WORKERS_REGISTERED, workers.registered),
            ]),
            Kind::ActiveFindings(active) => self.samples([
                (word::ACTIVE_FINDINGS_CRITICAL, active.critical),
                (word::ACTIVE_FINDINGS_HIGH, active.high),
                (word::ACTIVE_FINDINGS_MEDIUM, active.medium),
                (word::ACTIVE_FINDINGS_LOW, active.low),
            ]),
            Kind::FilesWatched(files) => self.samples([(word::FILES_WATCHED, files.count)]),
            Kind::CostTotal(cost) => {
                self.sample(word::COST_USD, TextId::NONE, Reading::Number(cost.cost_usd))
            }
            Kind::BudgetState(budget) => self.budget(budget),
            Kind::ResourceSample(sample) => self.resources(sample),
            Kind::SourceHealth(health) => self.health(health),
            other => {
                let row = self.event_row(other);
                self.event(row);
            }
        }
    }

    fn run(&mut self, run: &v1::RunFinished) {
        let cells = [
            Cell::Word(self.text(run.worker)),
            Cell::Word(words::run_status(run.status).into()),
            Cell::Integer(run.duration_us.map(integer)),
            Cell::Integer(run.queued_us.map(integer)),
            Cell::Word(self.text(run.session)),
            iteration(run.iteration),
            Cell::Word(self.text(run.model)),
            Cell::Truth(run.replayed),
        ];
        self.push(DataSet::Runs, &cells);
    }

    fn session(&mut self, session: &v1::SessionState) {
        let cells = [
            Cell::Word(self.text(session.session)),
            Cell::Word(words::session_status(session.status).into()),
            Cell::Integer(Some(integer(session.iteration))),
            Cell::Integer(Some(session.iteration_max).filter(|max| *max > 0).map(integer)),
            time(session.started_time_us),
            time(session.ended_time_us),
            Cell::Word(self.text(session.result)),
            Cell::Word(self.text(session.provider)),
            Cell::Word(self.text(session.phase)),
            Cell::Integer(session.exit_code),
        ];
        self.push(DataSet::Sessions, &cells);
    }

    fn usage(&mut self, usage: &v1::Usage) {
        let known = |microusd: Option<i64>| Cell::Integer(microusd.filter(|cost| *cost >= 0));
        let cells = [
            Cell::Word(self.text(usage.worker)),
            Cell::Word(self.text(usage.session)),
            iteration(usage.iteration),
            Cell::Word(self.text(usage.model)),
            Cell::Integer(Some(integer(usage.input_tokens))),
            Cell::Integer(Some(integer(usage.output_tokens))),
            Cell::Integer(Some(integer(usage.cache_read_tokens))),
            Cell::Integer(Some(integer(usage.cache_write_tokens))),
            Cell::Integer(Some(integer(usage.reasoning_tokens))),
            known(usage.reported_cost_microusd),
            known(usage.computed_cost_microusd),
        ];
        self.push(DataSet::Usage, &cells);
    }
}

/// Events.
impl Fact<'_> {
    /// The row of a kind that is an event and has no table of its own.
    fn event_row(&mut self, kind: &Kind) -> EventRow {
        let row = EventRow::NOTHING;
        match kind {
            Kind::RunStarted(run) => EventRow {
                kind: word::RUN_STARTED,
                worker: self.text(run.worker),
                session: self.text(run.session),
                iteration: run.iteration,
                ..row
            },
            Kind::Finding(finding) => EventRow {
                kind: word::FINDING,
                worker: self.text(finding.worker),
                severity: words::severity(finding.severity).into(),
                outcome: words::finding_change(finding.change).into(),
                reason: self.text(finding.native_severity),
                count: at_least_one(finding.count),
                file: self.text(finding.file),
                ..row
            },
            Kind::FindingsFixed(fixed) => {
                EventRow { kind: word::FINDINGS_FIXED, count: integer(fixed.count), ..row }
            }
            Kind::FileActivity(activity) => EventRow {
                kind: word::FILE_ACTIVITY,
                outcome: words::file_change(activity.change).into(),
                count: at_least_one(activity.count),
                file: self.text(activity.file),
                ..row
            },
            Kind::PushChecked(push) => EventRow {
                kind: word::PUSH_CHECKED,
                name: words::push_gate(push.gate).into(),
                outcome: push_outcome(push).into(),
                reason: self.text(push.reason),
                ..row
            },
            Kind::ToolCall(call) => EventRow {
                kind: word::TOOL_CALL,
                name: self.text(call.name),
                worker: self.text(call.worker),
                outcome: words::run_status(call.status).into(),
                duration_us: call.duration_us,
                ..row
            },
            Kind::TimeSaved(saved) => EventRow {
                kind: word::TIME_SAVED,
                name: words::time_saved_kind(saved.kind).into(),
                outcome: if saved.modelled { word::MODELLED } else { word::MEASURED }.into(),
                duration_us: Some(saved.saved_us),
                ..row
            },
            other => self.log_row(other),
        }
    }

    /// Logs, counts of the tool's own and settings.
    fn log_row(&mut self, kind: &Kind) -> EventRow {
        let row = EventRow::NOTHING;
        match kind {
            Kind::LogRecord(record) => EventRow {
                kind: word::LOG,
                name: self.text(record.name),
                session: self.text(record.session),
                severity: words::log_severity(record.severity).into(),
                has_attributes: self.fold.attributes.log(self.batch, &record.attributes),
                ..row
            },
            Kind::OtlpPayload(payload) => EventRow::otlp(payload.signal, payload.item_count),
            Kind::LinesRecorded(lines) => {
                EventRow { kind: word::LINES_RECORDED, count: integer(lines.count), ..row }
            }
            Kind::BusEvents(bus) => EventRow {
                kind: word::BUS_EVENTS,
                count: i64::from(bus.count),
                duration_us: bus.latency_us,
                ..row
            },
            Kind::ToolSettings(settings) => EventRow {
                kind: word::TOOL_SETTINGS,
                has_attributes: self.fold.attributes.settings(self.batch, settings),
                ..row
            },
            Kind::SourceEnded(_) => EventRow { kind: word::SOURCE_ENDED, ..row },
            // The others have tables of their own.
            _ => row,
        }
    }

    fn event(&mut self, row: EventRow) {
        self.push(DataSet::Events, &row.cells());
    }
}

/// Samples.
impl Fact<'_> {
    fn tool_state(&mut self, state: &v1::ToolState) {
        let status = match v1::SessionStatus::try_from(state.status) {
            Ok(v1::SessionStatus::Stopped) => Reading::State(word::STOPPED, 0.0),
            Ok(v1::SessionStatus::Running) => Reading::State(word::RUNNING, 1.0),
            Ok(v1::SessionStatus::Paused) => Reading::State(word::PAUSED, 2.0),
            Ok(v1::SessionStatus::Unspecified) | Err(_) => Reading::Word(word::UNKNOWN.into()),
        };
        self.sample(word::SESSION_STATUS, TextId::NONE, status);
        self.samples([
            (word::SESSIONS_LIVE, u64::from(state.sessions_live)),
            (word::SESSION_ITERATION, state.iteration),
        ]);
        if state.iteration_max > 0 {
            self.samples([(word::SESSION_ITERATION_MAX, state.iteration_max)]);
        }
        if let Some(started_us) = state.started_time_us {
            self.samples([(word::SESSION_STARTED_TIME_US, started_us)]);
        }
        let phase = self.text(state.phase);
        if phase != TextId::NONE {
            self.sample(word::SESSION_PHASE, TextId::NONE, Reading::Word(phase));
        }
    }

    fn budget(&mut self, budget: &v1::BudgetState) {
        let exceeded = f64::from(u8::from(budget.exceeded));
        self.sample(word::BUDGET_EXCEEDED, TextId::NONE, Reading::Number(exceeded));
        for (name, usd) in
            [(word::BUDGET_LIMIT_USD, budget.limit_usd), (word::BUDGET_USED_USD, budget.used_usd)]
        {
            if let Some(usd) = usd {
                self.sample(name, TextId::NONE, Reading::Number(usd));
            }
        }
    }

    fn resources(&mut self, sample: &v1::ResourceSample) {
        let scope = words::resource_scope(sample.scope);
        // Only this scope is of a worker: so it is for the gauges.
        let worker = if scope == word::WORKER { self.text(sample.worker) } else { TextId::NONE };
        let is_tree = scope == word::PROCESS_TREE;
        let whole = |number: Option<u64>| number.map(|number| number as f64);
        let readings = [
            (word::CPU_PERCENT, sample.cpu_percent),
            (word::MEMORY_BYTES, whole(sample.memory_bytes)),
            (word::DISK_IO_BYTES, whole(sample.disk_io_bytes)),
            (word::MEMORY_TOTAL_BYTES, whole(sample.memory_total_bytes)),
            (word::PROCESSES, (sample.processes > 0 || is_tree).then(|| f64::from(sample.processes))),
        ];
        let mut is_empty = true;
        for (name, number) in readings {
            if let Some(number) = number {
                self.scoped_sample(name, scope.into(), worker, Reading::Number(number));
                is_empty = false;
            }
        }
        if is_empty {
            self.scoped_sample(word::CPU_PERCENT, scope.into(), worker, Reading::Nothing);
        }
    }

    fn health(&mut self, health: &v1::SourceHealth) {
        let newest = match health.newest_data_time_us {
            0 => Reading::Nothing,
            newest_us => Reading::Number(newest_us as f64),
        };
        self.sample(word::NEWEST_DATA_TIME_US, TextId::NONE, newest);
        for (name, count) in [
            (word::PARSE_ERRORS, health.parse_errors),
            (word::RESCANS, health.rescans),
            (word::RECORDS_SKIPPED, health.records_skipped),
            (word::READ_ERRORS, health.read_errors),
        ] {
            if count > 0 {
                self.samples([(name, count)]);
            }
        }
    }

    fn samples<const N: usize>(&mut self, readings: [(Word, u64); N]) {
        for (name, number) in readings {
            self.sample(name, TextId::NONE, Reading::Number(number as f64));
        }
    }

    fn sample(&mut self, name: Word, worker: TextId, reading: Reading) {
        self.scoped_sample(name, TextId::NONE, worker, reading);
    }

    fn scoped_sample(&mut self, name: Word, scope: TextId, worker: TextId, reading: Reading) {
        let (value, text) = match reading {
            Reading::Number(number) => (Some(number), TextId::NONE),
            Reading::Word(word) => (None, word),
            Reading::State(word, number) => (Some(number), word.into()),
            Reading::Nothing => (None, TextId::NONE),
        };
        let cells = [
            Cell::Word(name.into()),
            Cell::Word(scope),
            Cell::Word(worker),
            Cell::Number(value),
            Cell::Word(text),
        ];
        self.push(DataSet::Samples, &cells);
    }
}

impl Fact<'_> {
    fn text(&mut self, index: u32) -> TextId {
        self.fold.text(self.batch, index)
    }

    fn push(&mut self, data_set: DataSet, cells: &[Cell]) {
        // What no column can say is no time of any day.
        let day = if self.time.0 > TIME_US_MAX { Day::Undated } else { Day::of(self.time, self.appended) };
        self.fold.push(data_set, self.team, day, self.head, cells);
    }
}

/// The iteration; 0 is none.
fn iteration(iteration: u32) -> Cell {
    Cell::Integer((iteration > 0).then(|| i64::from(iteration)))
}

fn time(time_us: Option<u64>) -> Cell {
    Cell::Time(time_us.filter(|time_us| *time_us <= TIME_US_MAX).map(integer))
}

/// Wire counts where 0 and 1 both mean one.
fn at_least_one(count: u32) -> i64 {
    i64::from(count.max(1))
}
