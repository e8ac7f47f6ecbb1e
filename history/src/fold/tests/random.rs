//! Batches of every kind with random values, as an agent and as a hostile sender would send them.

use bytes::Bytes;
use journal::Position;
use journal::stream::{StreamEntry, StreamItem};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, SeqRange, StreamKey};
use muster::v1;
use muster::v1::event::Kind;
use prost::Message;

pub(crate) const NOW: WallTime = WallTime(1_795_000_000_000_000);
pub(crate) const DAY_US: u64 = 86_400_000_000;
/// How many kinds of event there are.
pub(crate) const KINDS: u32 = 26;

pub(crate) fn texts() -> Vec<String> {
    let words = [
        "", "devloop", "shop", "ada", "host-1", "linux", "repo", "main", "1.2", "linter", "tests", "model-a",
    ];
    words.map(str::to_owned).to_vec()
}

pub(crate) fn source() -> v1::Source {
    v1::Source { tool: 1, project: 2, user: 3, host: 4, os: 5, repository: 6, branch: 7, tool_version: 8 }
}

pub(crate) fn key(team: &str, agent: u8, epoch: u64) -> StreamKey {
    StreamKey {
        team: team.parse().unwrap(),
        agent: AgentId::from_bytes([agent; 16]),
        epoch: Epoch::try_from(epoch).unwrap(),
    }
}

/// The batch as the journal gives it back.
pub(crate) fn item(position: u64, key: StreamKey, batch: &v1::Batch) -> StreamItem {
    let (first, count) = (batch.first_seq.max(1), batch.events.len().max(1) as u64);
    let last = Seq(first.saturating_add(count - 1));
    StreamItem::Batch(StreamEntry {
        position: Position(position),
        appended_wall: NOW,
        key,
        seqs: SeqRange::new(Seq(first), last).unwrap(),
        crc32c: 0,
        bytes: Bytes::from(batch.encode_to_vec()),
    })
}

pub(crate) fn batch(first_seq: u64, events: Vec<v1::Event>) -> v1::Batch {
    v1::Batch { first_seq, base_time_us: NOW.0, strings: texts(), sources: vec![source()], events }
}

pub(crate) fn event(kind: Kind) -> v1::Event {
    v1::Event { time_delta_us: 0, source: 0, weight: 0, kind: Some(kind) }
}

/// An event as an agent sends them: within the last days, numbers that add up without overflow.
pub(crate) fn tame_event(random: &mut fastrand::Rng) -> v1::Event {
    let time_delta_us = random.i64(-3_600_000_000..=1_800_000_000);
    let kind = kind(random.u32(0..KINDS), &mut Values { random, is_hostile: false });
    v1::Event { time_delta_us, source: 0, weight: random.u32(0..4), kind: Some(kind) }
}

/// An event with any numbers at all, and now and then of no kind that we know.
pub(crate) fn hostile_event(random: &mut fastrand::Rng) -> v1::Event {
    let time_delta_us = if random.bool() { random.i64(..) } else { random.i64(-1000..1000) };
    let number = random.u32(0..KINDS + 1);
    let kind = (number < KINDS).then(|| kind(number, &mut Values { random, is_hostile: true }));
    v1::Event { time_delta_us, source: 0, weight: random.u32(..), kind }
}

struct Values<'a> {
    random: &'a mut fastrand::Rng,
    is_hostile: bool,
}

impl Values<'_> {
    fn text(&mut self) -> u32 {
        if self.is_hostile { self.random.u32(..20) } else { self.random.u32(..12) }
    }

    fn word(&mut self) -> i32 {
        if self.is_hostile { self.random.i32(-3..9) } else { self.random.i32(0..6) }
    }

    fn number(&mut self) -> u64 {
        let any = self.random.u64(..);
        match self.is_hostile && self.random.bool() {
            true => self.random.choice([u64::MAX, 1 << 63, i64::MAX as u64, any]).unwrap_or(0),
            false => self.random.u64(0..100_000),
        }
    }

    fn signed(&mut self) -> i64 {
        if self.is_hostile { self.random.i64(..) } else { self.random.i64(-5..100_000) }
    }

    fn double(&mut self) -> f64 {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX];
        if self.is_hostile { self.random.choice(odd).unwrap_or(0.0) } else { self.random.f64() * 100.0 }
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.random.bool().then(|| value(self))
    }

    fn truth(&mut self) -> bool {
        self.random.bool()
    }
}

fn kind(number: u32, v: &mut Values<'_>) -> Kind {
    match number {
        0 => Kind::RunFinished(v1::RunFinished {
            worker: v.text(),
            status: v.word(),
            duration_us: v.maybe(Values::number),
            run_id: v.number(),
            session: v.text(),
            queued_us: v.maybe(Values::number),
            replayed: v.truth(),
            iteration: v.text(),
            model: v.text(),
        }),
        1 => Kind::RunStarted(v1::RunStarted {
            worker: v.text(),
            run_id: v.number(),
            session: v.text(),
            iteration: v.text(),
        }),
        2 => Kind::ToolState(v1::ToolState {
            status: v.word(),
            iteration: v.number(),
            iteration_max: v.number(),
            started_time_us: v.maybe(Values::number),
            sessions_live: v.text(),
            phase: v.text(),
        }),
        3 => Kind::SessionState(v1::SessionState {
            session: v.text(),
            status: v.word(),
            iteration: v.number(),
            iteration_max: v.number(),
            started_time_us: v.maybe(Values::number),
            ended_time_us: v.maybe(Values::number),
            result: v.text(),
            provider: v.text(),
            phase: v.text(),
            exit_code: v.maybe(Values::signed),
        }),
        4 => Kind::QueueDepth(v1::QueueDepth { worker: v.text(), depth: v.number() }),
        5 => Kind::TaskCounts(v1::TaskCounts {
            pending: v.number(),
            in_progress: v.number(),
            completed: v.number(),
            failed: v.number(),
            review: v.number(),
        }),
        6 => Kind::WorkerCounts(v1::WorkerCounts { active: v.number(), registered: v.number() }),
        7 => Kind::Finding(v1::Finding {
            worker: v.text(),
            severity: v.word(),
            change: v.word(),
            count: v.text(),
            native_severity: v.text(),
            file: v.text(),
        }),
        8 => Kind::ActiveFindings(v1::ActiveFindings {
            critical: v.number(),
            high: v.number(),
            medium: v.number(),
            low: v.number(),
        }),
        9 => Kind::FileActivity(v1::FileActivity { change: v.word(), count: v.text(), file: v.text() }),
        10 => Kind::FilesWatched(v1::FilesWatched { count: v.number() }),
        11 => {
            let prevented_bad_push = v.truth();
            let allowed = v.truth() && !prevented_bad_push;
            Kind::PushChecked(v1::PushChecked {
                gate: v.word(),
                allowed,
                prevented_bad_push,
                reason: v.text(),
            })
        }
        12 => Kind::Usage(v1::Usage {
            model: v.text(),
            session: v.text(),
            worker: v.text(),
            input_tokens: v.number(),
            output_tokens: v.number(),
            cache_read_tokens: v.number(),
            cache_write_tokens: v.number(),
            reported_cost_microusd: v.maybe(Values::signed),
            computed_cost_microusd: v.maybe(Values::signed),
            iteration: v.text(),
            reasoning_tokens: v.number(),
        }),
        _ => kind_of_other(number, v),
    }
}

fn kind_of_other(number: u32, v: &mut Values<'_>) -> Kind {
    match number {
        13 => Kind::CostTotal(v1::CostTotal { cost_usd: v.double() }),
        14 => Kind::BudgetState(v1::BudgetState {
            limit_usd: v.maybe(Values::double),
            used_usd: v.maybe(Values::double),
            exceeded: v.truth(),
        }),
        15 => Kind::ToolCall(v1::ToolCall {
            worker: v.text(),
            name: v.text(),
            status: v.word(),
            duration_us: v.maybe(Values::number),
        }),
        16 => Kind::ResourceSample(v1::ResourceSample {
            scope: v.word(),
            worker: v.text(),
            cpu_percent: v.maybe(Values::double),
            memory_bytes: v.maybe(Values::number),
            disk_io_bytes: v.maybe(Values::number),
            memory_total_bytes: v.maybe(Values::number),
            processes: v.text(),
        }),
        17 => Kind::TimeSaved(v1::TimeSaved { kind: v.word(), saved_us: v.number(), modelled: v.truth() }),
        18 => Kind::SourceHealth(v1::SourceHealth {
            newest_data_time_us: v.number(),
            parse_errors: v.number(),
            rescans: v.number(),
            records_skipped: v.number(),
            read_errors: v.number(),
        }),
        19 => Kind::LogRecord(v1::LogRecord {
            name: v.text(),
            severity: v.word(),
            attributes: (0..v.random.u32(0..5)).map(|_| attribute(v)).collect(),
            session: v.text(),
        }),
        20 => Kind::OtlpPayload(v1::OtlpPayload {
            signal: v.word(),
            payload: vec![1, 2, 3].into(),
            item_count: v.text(),
        }),
        21 => Kind::LinesRecorded(v1::LinesRecorded { count: v.number() }),
        22 => Kind::BusEvents(v1::BusEvents { count: v.text(), latency_us: v.maybe(Values::number) }),
        23 => Kind::SourceEnded(v1::SourceEnded {}),
        24 => Kind::ToolSettings(v1::ToolSettings {
            disabled_metrics: vec![v.text(), v.text()],
            sample_rate: v.double(),
        }),
        _ => Kind::FindingsFixed(v1::FindingsFixed { count: v.number() }),
    }
}

fn attribute(v: &mut Values<'_>) -> v1::Attribute {
    use v1::attribute::Value;
    let value = match v.random.u32(0..5) {
        0 => Some(Value::Text(v.text())),
        1 => Some(Value::Integer(v.signed())),
        2 => Some(Value::Number(v.double())),
        3 => Some(Value::Truth(v.truth())),
        _ => None,
    };
    v1::Attribute { key: v.text(), value }
}
