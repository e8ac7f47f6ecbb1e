//! To the unit: what deltas add up to is what a cumulative export says is what the page says.

use std::collections::BTreeMap;

use ::metrics::{Aggregate, AggregateConfig, PageRequest};
use muster::batch::BatchBuilder;
use muster::clock::{Monotonic, WallTime};
use muster::ids::AgentId;
use muster::v1;
use muster::v1::event::Kind;

use super::*;

/// Counters and histograms by series and part, in millionths.
type Sums = BTreeMap<String, u128>;

#[test]
fn deltas_add_up_to_the_cumulative_number_and_to_the_page() {
    let first = std::env::var("MUSTER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(1..41, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("MUSTER_TEST_SEED={seed}");
        Life::new(seed).live();
    }
}

/// An aggregate that keeps everything, and exports that are cut, interrupted and restarted at random.
struct Life {
    random: fastrand::Rng,
    seconds: u64,
    page: Aggregate,
    delta: MetricsExport,
    cumulative: MetricsExport,
    /// What the destination of the deltas has.
    taken: Sums,
    in_flight: Option<Cut>,
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            seconds: 0,
            page: Aggregate::new(AggregateConfig::collector()),
            delta: MetricsExport::new(Temporality::Delta),
            cumulative: MetricsExport::new(Temporality::Cumulative),
            taken: Sums::new(),
            in_flight: None,
        }
    }

    fn live(mut self) {
        for _ in 0..60 {
            self.seconds += self.random.u64(0..90);
            match self.random.u8(0..10) {
                0..=4 => self.hear(false),
                5 | 6 => self.cut(),
                7 => self.land(),
                8 => self.restart(),
                _ => {
                    let now = Monotonic(std::time::Duration::from_secs(self.seconds));
                    self.delta.expire(now);
                    self.cumulative.expire(now);
                    self.page.expire(now);
                }
            }
        }
        self.land();
        // Everything is shown again, so the page has all of it.
        self.hear(true);
        self.cut();
        self.land();
        let mut all = Sums::new();
        add(&cut(&self.cumulative, self.seconds).expect("something was counted"), &mut all);
        let page = self.page_sums();
        assert!(page.len() > 20, "the page has {} numbers", page.len());
        assert_same("cumulative and page", &all, &page);
        assert_same("deltas and page", &self.taken, &page);
    }

    /// A batch of a random agent and project, or, to end with, of every source.
    fn hear(&mut self, shows_all: bool) {
        let agents = if shows_all { 0..3 } else { 0..1 };
        for _ in agents.clone() {
            let mut builder = BatchBuilder::new();
            for tool in ["devloop", "loki", "claude"] {
                for project in ["shop", "bank"] {
                    if shows_all || self.random.u8(0..4) == 0 {
                        self.say(tool, project, shows_all, &mut builder);
                    }
                }
            }
            if builder.is_empty() {
                return;
            }
            let mut batch = builder.as_batch().clone();
            if self.random.u8(0..8) == 0 {
                batch.events.push(v1::Event::default());
            }
            let agent = AgentId::from_bytes([self.random.u8(1..4); 16]);
            let (team, at) = (key().team, applied(self.seconds));
            self.page.apply(&team, agent, &batch, at);
            self.delta.apply(&team, agent, &batch, at);
            self.cumulative.apply(&team, agent, &batch, at);
        }
    }

    fn say(&mut self, tool: &str, project: &str, shows_all: bool, builder: &mut BatchBuilder) {
        let source = builder.source(&identity(tool, project)).expect("room");
        for _ in 0..self.random.usize(1..6) {
            let kind = self.fact(builder);
            let weight = if self.random.bool() { 1 } else { self.random.u32(1..1000) };
            let time = WallTime(applied(self.seconds).wall.0 - self.random.u64(0..5_000_000));
            builder.push_weighted(time, source, weight, kind);
        }
        if shows_all || self.random.u8(0..5) == 0 {
            let hides = !shows_all && self.random.bool();
            let disabled_metrics = if hides { vec![builder.text("agent_runs")] } else { Vec::new() };
            let settings = v1::ToolSettings { disabled_metrics, sample_rate: 0.0 };
            builder.push(applied(self.seconds).wall, source, Kind::ToolSettings(settings));
        }
    }

    fn fact(&mut self, builder: &mut BatchBuilder) -> Kind {
        let random = &mut self.random;
        let worker = builder.text(["linter", "tester", "re\"view\\er"][random.usize(0..3)]);
        let status = random.i32(0..6);
        let odd = random.u64(0..4_000_000_000);
        match random.u8(0..7) {
            0 => Kind::RunFinished(v1::RunFinished {
                worker,
                status,
                duration_us: random.bool().then_some(odd),
                queued_us: random.bool().then_some(odd / 3),
                ..Default::default()
            }),
            1 => Kind::Usage(v1::Usage {
                model: worker,
                input_tokens: odd,
                reasoning_tokens: odd % 17,
                reported_cost_microusd: random.bool().then_some(odd as i64 / 7),
                computed_cost_microusd: random.bool().then_some(odd as i64 / 11),
                ..Default::default()
            }),
            2 => Kind::TimeSaved(v1::TimeSaved {
                kind: random.i32(0..3),
                saved_us: odd,
                modelled: random.bool(),
            }),
            3 => Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(odd) }),
            4 => Kind::LinesRecorded(v1::LinesRecorded { count: odd % 5 }),
            5 => Kind::ResourceSample(v1::ResourceSample {
                scope: 1,
                disk_io_bytes: Some(odd),
                cpu_percent: Some(1.5),
                ..Default::default()
            }),
            _ => Kind::SourceEnded(v1::SourceEnded {}),
        }
    }

    /// Takes a cut; one that was under way is given up, and what it had is in this one.
    fn cut(&mut self) {
        let first = cut(&self.delta, self.seconds);
        let again = cut(&self.delta, self.seconds);
        assert_eq!(first.as_ref().map(|cut| &cut.request), again.as_ref().map(|cut| &cut.request));
        self.in_flight = first;
    }

    /// The destination has the cut that was under way.
    fn land(&mut self) {
        if let Some(cut) = self.in_flight.take() {
            let before = self.delta.committed_time();
            for point in points(&cut).iter().filter(|point| point.kind != "gauge") {
                assert!(point.start < point.time, "{point:?}");
                assert!(before.is_none_or(|before| point.start <= before.0 * 1000), "{point:?}");
            }
            add(&cut, &mut self.taken);
            self.delta.commit(cut);
        }
        if let Some(cut) = cut(&self.cumulative, self.seconds) {
            self.cumulative.commit(cut);
        }
    }

    /// The process ends and what was under way is lost.
    fn restart(&mut self) {
        self.in_flight = None;
        let restore = |temporality, export: &MetricsExport| {
            MetricsExport::restore(temporality, &export.snapshot()).expect("what we write can be read")
        };
        let before = cut(&self.delta, self.seconds).map(|cut| cut.request);
        self.delta = restore(Temporality::Delta, &self.delta);
        self.cumulative = restore(Temporality::Cumulative, &self.cumulative);
        assert_eq!(cut(&self.delta, self.seconds).map(|cut| cut.request), before);
        self.delta.hear_nobody();
        self.cumulative.hear_nobody();
    }

    fn page_sums(&self) -> Sums {
        let mut page = Vec::new();
        self.page.render(&PageRequest::default(), applied(self.seconds).wall, &mut page);
        let page = String::from_utf8(page).expect("UTF-8");
        let mut sums = Sums::new();
        let mut kind = "";
        for line in page.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                kind = typed.rsplit(' ').next().unwrap_or_default();
            } else if !line.starts_with('#') && kind != "gauge" {
                let (series, value) = line.rsplit_once(' ').expect("a sample");
                let series = series.replace("\\\"", "\"").replace("\\\\", "\\");
                assert!(sums.insert(series, millionths(value)).is_none(), "{line} twice");
            }
        }
        sums
    }
}

/// A page's number, exactly.
fn millionths(text: &str) -> u128 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    assert!(rest.len() <= 6, "{text}");
    format!("{whole}{rest:0<6}").parse().expect("a decimal number")
}

fn add(cut: &Cut, sums: &mut Sums) {
    // All numbers are whole microseconds or micro-USD, and the nearest of these to a double is the one it came from.
    let exact = |name: &str, number: f64| match name.ends_with("_ms") {
        true => (number * 1e3).round() as u128 * 1000,
        false => (number * 1e6).round() as u128,
    };
    let mut book = |series: String, millionths: u128| *sums.entry(series).or_default() += millionths;
    for point in points(cut).into_iter().filter(|point| point.kind != "gauge") {
        match point.numbers {
            Numbers::One(Value::AsInt(integer)) => book(point.series, integer as u128 * 1_000_000),
            Numbers::One(Value::AsDouble(number)) => book(point.series.clone(), exact("", number)),
            Numbers::Histogram { counts, sum, bounds } => {
                let (name, labels) = point.series.split_once('{').expect("labels");
                let mut count = 0;
                for (index, in_bucket) in counts.iter().enumerate() {
                    count += u128::from(*in_bucket) * 1_000_000;
                    let le = bounds.get(index).map_or("+Inf".to_owned(), f64::to_string);
                    let labels = labels.trim_end_matches('}');
                    book(format!("{name}_bucket{{{labels},le=\"{le}\"}}"), count);
                }
                book(format!("{name}_sum{{{labels}"), exact(name, sum));
                book(format!("{name}_count{{{labels}"), count);
            }
        }
    }
}

fn assert_same(what: &str, ours: &Sums, theirs: &Sums) {
    for series in ours.keys().chain(theirs.keys()) {
        assert_eq!(ours.get(series), theirs.get(series), "{what}: {series}");
    }
}
