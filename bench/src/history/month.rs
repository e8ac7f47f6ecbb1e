//! A month of a company's runs, made up from a seed, in the order in which a collector would journal it.
//!
//! What it assumes, and where a real month may differ:
//!
//! - Developers work 8 hours on weekdays in four time zones, with a lunch break; on weekends one in twenty does.
//! - A save wakes 4 to 9 of ten workers, one after the other, as DevLoop does; saves come at random (exponentially), as many
//!   a day as it takes for the number of runs that was asked for. Each save's events are one batch of the developer's
//!   agent: more events a batch (a busy agent) would cost less a row.
//! - Durations are log-normal about a median of each worker, **in full microseconds**: DevLoop measures with the clock of
//!   the machine. Times are of the run's end, in full microseconds. Rounded ones would be smaller on disk.
//! - 86 % of runs succeed, 9 % fail (with a finding or more), 4 % have nothing to do, 1 % break and have no duration.
//! - One developer in eight runs Loki instead: runs have a session, an iteration and a model.
//! - A developer has one machine, one project and a branch or two a day. An agent tells other things between runs, which
//!   take numbers and are rows of other data sets: the save itself, findings, now and then a reading of resources, a push,
//!   tokens of Loki's.
//!
//! Nothing repeats on purpose, so nothing compresses better than real data of this shape would.

use bytes::Bytes;
use journal::Position;
use journal::stream::{StreamEntry, StreamItem};
use muster::batch::{BatchBuilder, SourceIdentity, SourceIndex, TextRef};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, StreamKey, Team};
use muster::v1;
use muster::v1::event::Kind;

/// 2026-02-02T00:00:00Z, a Monday.
const START_US: u64 = 1_769_990_400_000_000;
const DAY_US: u64 = 86_400_000_000;
const HOUR_US: u64 = 3_600_000_000;
const WORK_HOURS: u64 = 8;
/// Workers and the median of their durations.
const WORKERS: [(&str, f64); 10] = [
    ("linter", 180e3),
    ("formatter", 210e3),
    ("test-runner", 2_400e3),
    ("type-checker", 900e3),
    ("security-scanner", 650e3),
    ("performance-profiler", 300e3),
    ("doc-lifecycle", 45e3),
    ("git-commit-assistant", 30e3),
    ("code-rabbit", 1_500e3),
    ("snyk", 1_900e3),
];
const MODELS: [&str; 3] = ["opus", "sonnet", "haiku"];
const RUNS_PER_SAVE: f64 = 6.5;

/// What to make up.
#[derive(Debug, Clone, Copy)]
pub struct MonthConfig {
    pub seed: u64,
    pub runs: u64,
    pub days: u64,
    pub developers: u64,
    pub teams: u64,
}

/// The month, a day at a time.
pub struct Month {
    config: MonthConfig,
    random: fastrand::Rng,
    developers: Vec<Developer>,
    day: u64,
    position: u64,
}

struct Developer {
    key: StreamKey,
    identity: SourceIdentity,
    zone_us: u64,
    is_loki: bool,
    next_seq: u64,
    sessions: u64,
}

/// Records of a day in the journal's order, and how many runs are in them.
pub struct DayRecords {
    pub items: Vec<StreamItem>,
    pub runs: u64,
}

impl Month {
    pub fn new(config: MonthConfig) -> anyhow::Result<Self> {
        let mut random = fastrand::Rng::with_seed(config.seed);
        let developers = (0..config.developers)
            .map(|number| Developer::new(number, config, &mut random))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { config, random, developers, day: 0, position: 0 })
    }

    /// The next day; `None` after the last.
    pub fn next_day(&mut self) -> anyhow::Result<Option<DayRecords>> {
        if self.day == self.config.days {
            return Ok(None);
        }
        let midnight_us = START_US + self.day * DAY_US;
        let is_weekend = self.day % 7 >= 5;
        let mut saves = Vec::new();
        for (number, developer) in self.developers.iter().enumerate() {
            if is_weekend && self.random.u32(0..20) > 0 {
                continue;
            }
            developer.saves(midnight_us, self.saves_a_day(), &mut self.random, |time_us| {
                saves.push((time_us, number))
            });
        }
        saves.sort_unstable();
        self.day += 1;
        let mut day = DayRecords { items: Vec::with_capacity(saves.len()), runs: 0 };
        for (time_us, number) in saves {
            self.position += 1;
            let position = Position(self.position);
            day.items.push(self.developers[number].record(
                position,
                time_us,
                &mut self.random,
                &mut day.runs,
            )?);
        }
        Ok(Some(day))
    }

    /// Saves of a developer on a working day, on average.
    fn saves_a_day(&self) -> f64 {
        let (weeks, rest) = (self.config.days / 7, self.config.days % 7);
        let weekdays = weeks * 5 + rest.min(5);
        let days = weekdays as f64 + (self.config.days - weekdays) as f64 / 20.0;
        self.config.runs as f64 / RUNS_PER_SAVE / self.config.developers as f64 / days
    }
}

impl Developer {
    fn new(number: u64, config: MonthConfig, random: &mut fastrand::Rng) -> anyhow::Result<Self> {
        let team: Team = format!("team-{}", number % config.teams).parse()?;
        let agent = AgentId::from_bytes(random.u128(..).to_le_bytes());
        let is_loki = number % 8 == 7;
        let identity = SourceIdentity {
            tool: if is_loki { "loki" } else { "devloop" }.to_owned(),
            project: format!("project-{number}"),
            user: format!("user-{number}"),
            host: format!("laptop-{number}"),
            os: ["linux", "macos", "windows"][number as usize % 3].to_owned(),
            repository: format!("company/project-{number}"),
            branch: "main".to_owned(),
            tool_version: format!("1.{}.0", number % 4),
        };
        Ok(Self {
            key: StreamKey { team, agent, epoch: Epoch::try_from(random.u64(1..))? },
            identity,
            zone_us: [0, 1, 8, 14][random.usize(..4)] * HOUR_US,
            is_loki,
            next_seq: 1,
            sessions: 0,
        })
    }

    /// The times of a day's saves.
    fn saves(&self, midnight_us: u64, count: f64, random: &mut fastrand::Rng, mut save: impl FnMut(u64)) {
        let start_us = midnight_us + (self.zone_us + random.u64(7 * HOUR_US..10 * HOUR_US)) % DAY_US;
        let mean_us = (WORK_HOURS * HOUR_US) as f64 / count;
        let lunch_us = start_us + random.u64(3 * HOUR_US..5 * HOUR_US);
        let mut worked_us = 0.0;
        loop {
            worked_us -= mean_us * random.f64().max(1e-12).ln();
            if worked_us >= (WORK_HOURS * HOUR_US) as f64 {
                return;
            }
            let time_us = start_us + worked_us as u64;
            save(if time_us > lunch_us { time_us + HOUR_US } else { time_us });
        }
    }

    /// What a save leads to.
    fn record(
        &mut self,
        position: Position,
        time_us: u64,
        random: &mut fastrand::Rng,
        runs: &mut u64,
    ) -> anyhow::Result<StreamItem> {
        if random.u32(0..150) == 0 {
            self.identity.branch = format!("feature-{}", random.u32(0..1000));
        }
        if random.u32(0..200) == 0 {
            self.sessions += 1;
        }
        let mut builder = BatchBuilder::new();
        let source = builder.source(&self.identity).ok_or_else(|| anyhow::anyhow!("no room for a source"))?;
        let mut now_us = time_us;
        let saved = v1::FileActivity { change: v1::FileChange::Modified.into(), count: 1, file: 0 };
        builder.push(WallTime(now_us), source, Kind::FileActivity(saved));
        let [session, model] = match self.is_loki {
            true => [format!("run-{}", self.sessions), MODELS[random.usize(..3)].to_owned()],
            false => Default::default(),
        };
        let [session, model] = [session, model].map(|text| builder.text(&text));
        let first = random.usize(..WORKERS.len());
        for place in 0..random.usize(4..=9) {
            let (worker, median_us) = WORKERS[(first + place) % WORKERS.len()];
            let (worker, duration_us) = (builder.text(worker), log_normal(median_us, random));
            now_us += random.u64(50..30_000) + duration_us;
            let run = self.run(worker, duration_us, [session, model], random);
            let has_failed = run.status() == v1::RunStatus::Failure;
            builder.push(WallTime(now_us), source, Kind::RunFinished(run));
            *runs += 1;
            if has_failed {
                let severity = random.i32(1..=4);
                let finding = v1::Finding {
                    worker,
                    severity,
                    change: 1,
                    count: random.u32(1..5),
                    ..Default::default()
                };
                builder.push(WallTime(now_us), source, Kind::Finding(finding));
            }
        }
        self.asides(&mut builder, source, WallTime(now_us), [session, model], random);
        let sealed = builder.seal(Seq(self.next_seq))?;
        self.next_seq = sealed.seqs.last().0 + 1;
        Ok(StreamItem::Batch(StreamEntry {
            position,
            appended_wall: WallTime(now_us + 300_000),
            key: self.key.clone(),
            seqs: sealed.seqs,
            crc32c: sealed.crc32c,
            bytes: Bytes::copy_from_slice(&sealed.bytes),
        }))
    }

    /// What an agent tells besides.
    fn asides(
        &self,
        builder: &mut BatchBuilder,
        source: SourceIndex,
        time: WallTime,
        [session, model]: [TextRef; 2],
        random: &mut fastrand::Rng,
    ) {
        if random.u32(0..4) == 0 {
            builder.push(time, source, Kind::ResourceSample(resources(random)));
        }
        if self.is_loki {
            let input_tokens = random.u64(500..60_000);
            let usage = v1::Usage {
                model,
                session,
                input_tokens,
                output_tokens: random.u64(50..4_000),
                reported_cost_microusd: random.bool().then(|| input_tokens as i64 * 3),
                computed_cost_microusd: (random.u32(0..5) > 0).then_some(input_tokens as i64 * 3),
                ..v1::Usage::default()
            };
            builder.push(time, source, Kind::Usage(usage));
        }
        if random.u32(0..40) == 0 {
            let allowed = random.u32(0..5) > 0;
            let prevented_bad_push = !allowed && random.bool();
            let push = v1::PushChecked { gate: random.i32(1..=2), allowed, prevented_bad_push, reason: 0 };
            builder.push(time, source, Kind::PushChecked(push));
            if prevented_bad_push {
                let saved = v1::TimeSaved { kind: 2, saved_us: 600_000_000, modelled: true };
                builder.push(time, source, Kind::TimeSaved(saved));
            }
            builder.push(time, source, Kind::FindingsFixed(v1::FindingsFixed { count: random.u64(0..4) }));
        }
    }

    fn run(
        &self,
        worker: TextRef,
        duration_us: u64,
        [session, model]: [TextRef; 2],
        random: &mut fastrand::Rng,
    ) -> v1::RunFinished {
        let status = match random.u32(0..100) {
            0..86 => v1::RunStatus::Success,
            86..95 => v1::RunStatus::Failure,
            95..99 => v1::RunStatus::Skipped,
            _ => v1::RunStatus::Error,
        };
        v1::RunFinished {
            worker,
            status: status.into(),
            duration_us: (status != v1::RunStatus::Error).then_some(duration_us),
            run_id: random.u64(..),
            session,
            iteration: if self.is_loki { 1 + (self.next_seq % 40) as u32 } else { 0 },
            model,
            ..v1::RunFinished::default()
        }
    }
}

fn resources(random: &mut fastrand::Rng) -> v1::ResourceSample {
    v1::ResourceSample {
        scope: v1::ResourceScope::Tool.into(),
        cpu_percent: Some((random.f64() * 1000.0).round() / 10.0),
        memory_bytes: Some(random.u64(90..300) << 20),
        ..v1::ResourceSample::default()
    }
}

/// A duration about a median, a factor of two up or down in two thirds of the cases.
fn log_normal(median_us: f64, random: &mut fastrand::Rng) -> u64 {
    let (a, b) = (random.f64().max(1e-12), random.f64());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    (median_us * (normal * std::f64::consts::LN_2).exp()) as u64
}
