//! Making OTLP fit for a destination: temporality, kinds of histograms, limits on attributes, age.
//!
//! An [`Adapter`] is a pure function of what it is given and of what it remembers: no clock, no file, no order of a hash
//! map comes through, so the same requests with the same times after the same snapshot give the same bytes. A signal
//! that no rule of the destination can touch is not decoded at all ([`Adapter::is_identity`]).
//!
//! ```text
//! request -> decode -> each point: age -> temporality (streams) -> one a second -> kind of histogram -> attributes -> encode
//!                      each record, span: age -> attributes
//! ```
//!
//! Every item that comes in goes out or is counted under a [`DropReason`]. Requests that do not decode go out as they
//! came, for the destination to refuse: they were checked at the door, so that is a defect that must not stop a queue.
//!
//! Memory: at most [`Rules::streams_max`] streams and [`Rules::state_bytes_max`] bytes of them; past either, the stream
//! that was silent longest is forgotten and counted ([`Stats::streams_forgotten`]). A forgotten stream that comes back
//! costs a cumulative source the point that it comes back with, never a number counted twice.

mod attributes;
pub mod exponential;
mod identity;
mod metrics;
mod point;
mod records;
mod snapshot;
mod streams;
mod temporality;
#[cfg(test)]
mod tests;
mod value;

use bytes::Bytes;
use muster::clock::WallTime;
use prost::Message;

pub use snapshot::SnapshotError;

use crate::Signal;
use crate::profile::{Age, AttributeLimits, MetricRules, PerSignal, Profile};
use crate::proto::{collector_logs, collector_metrics, collector_trace};
use streams::Streams;

/// Most streams that an adapter remembers when nothing else is said.
pub const STREAMS_MAX: usize = 100_000;

/// Most bytes of streams that an adapter remembers when nothing else is said: 100,000 histograms of 40 buckets.
pub const STATE_BYTES_MAX: usize = 64 << 20;

/// What a destination wants of payloads.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which metrics it understands.
    pub metrics: MetricRules,
    /// What attributes may be.
    pub attributes: AttributeLimits,
    /// How old and new items may be.
    pub ages: PerSignal<Age>,
    /// Most streams to remember.
    pub streams_max: usize,
    /// Most bytes of them.
    pub state_bytes_max: usize,
}

impl From<&Profile> for Rules {
    fn from(profile: &Profile) -> Self {
        Self {
            metrics: profile.metrics,
            attributes: profile.attributes,
            ages: profile.ages,
            streams_max: STREAMS_MAX,
            state_bytes_max: STATE_BYTES_MAX,
        }
    }
}

/// Why an item did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Further back than the destination takes.
    TooOld,
    /// Further ahead than the destination takes.
    TooNew,
    /// NaN or infinite, where the destination drops that or nothing can be added to it.
    NotFinite,
    /// Not after the point before it of the same stream.
    OutOfOrder,
    /// First cumulative point of a stream: the next one's difference begins here.
    Baseline,
    /// The source said that it has nothing to say, in a form that the destination's temporality lacks.
    NoValue,
    /// No time, no temporality, or buckets that are none, where something must be added or taken away.
    Invalid,
    /// Its value went into another point of the same request: nothing is lost.
    Merged,
}

impl DropReason {
    /// All of them.
    pub const ALL: [DropReason; 8] = [
        DropReason::TooOld,
        DropReason::TooNew,
        DropReason::NotFinite,
        DropReason::OutOfOrder,
        DropReason::Baseline,
        DropReason::NoValue,
        DropReason::Invalid,
        DropReason::Merged,
    ];

    /// The word for it in metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            DropReason::TooOld => "too_old",
            DropReason::TooNew => "too_new",
            DropReason::NotFinite => "not_finite",
            DropReason::OutOfOrder => "out_of_order",
            DropReason::Baseline => "baseline",
            DropReason::NoValue => "no_value",
            DropReason::Invalid => "invalid",
            DropReason::Merged => "merged",
        }
    }
}

impl DropReason {
    /// What it says, for the reference page.
    pub const fn meaning(self) -> &'static str {
        match self {
            DropReason::TooOld => "further back than the destination takes",
            DropReason::TooNew => "further ahead than the destination takes",
            DropReason::NotFinite => {
                "NaN or infinite, where the destination drops that or it cannot be added up"
            }
            DropReason::OutOfOrder => "not after the point before it of the same stream",
            DropReason::Baseline => {
                "first cumulative point of a stream: the next one's difference begins here"
            }
            DropReason::NoValue => "a mark that a stream has nothing to say, where its temporality changes",
            DropReason::Invalid => {
                "no time, no temporality, or buckets that do not fit, where it must be added up"
            }
            DropReason::Merged => "added to another point of the same request: nothing is lost",
        }
    }
}

/// A request made fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    /// What to send; empty when nothing is left.
    pub bytes: Bytes,
    /// Items in it.
    pub items: u64,
    /// Items that are not in it, by reason; no zeros, in the order of [`DropReason::ALL`].
    pub dropped: Vec<(DropReason, u64)>,
    /// Attributes that are not in it. OTLP's own `dropped_attributes_count` says it too, where there is one.
    pub attributes_dropped: u64,
    /// Attributes that were cut or renamed.
    pub attributes_changed: u64,
}

/// What an adapter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Streams remembered.
    pub streams: usize,
    /// About how many bytes they take.
    pub state_bytes: usize,
    /// Streams forgotten since the adapter was made or restored, because there were too many.
    pub streams_forgotten: u64,
}

/// Makes requests fit for one destination.
#[derive(Debug)]
pub struct Adapter {
    rules: Rules,
    streams: Streams,
}

/// What happened to the items of one request.
#[derive(Debug, Default)]
struct Counts {
    items: u64,
    dropped: [u64; DropReason::ALL.len()],
    attributes_dropped: u64,
    attributes_changed: u64,
}

impl Adapter {
    /// One that has seen nothing. Cumulative streams that began before its first request are not counted in full.
    pub fn new(rules: Rules) -> Self {
        let streams = Streams::new(rules.streams_max, rules.state_bytes_max);
        Self { rules, streams }
    }

    /// One that has seen nothing and begins with what was recorded at `start`, such as a backlog: cumulative streams that
    /// began since then are counted in full.
    pub fn starting_at(rules: Rules, start: WallTime) -> Self {
        let mut adapter = Self::new(rules);
        adapter.streams.begin(start.0.saturating_mul(1000));
        adapter
    }

    /// One that goes on where [`Adapter::snapshot`] was taken. Rules may be others than then. On an error begin with
    /// [`Adapter::new`]: that costs cumulative streams one point each, and cumulative destinations see a new start.
    pub fn restore(rules: Rules, snapshot: &[u8]) -> Result<Self, SnapshotError> {
        let streams = snapshot::decode(snapshot, rules.streams_max, rules.state_bytes_max)?;
        Ok(Self { rules, streams })
    }

    /// What is remembered, as versioned bytes with a checksum. The same state gives the same bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::encode(&self.streams)
    }

    /// What it holds.
    pub fn stats(&self) -> Stats {
        self.streams.stats()
    }

    /// Grows whenever the state changes: a snapshot of the same generation is still good.
    pub fn generation(&self) -> u64 {
        self.streams.generation()
    }

    /// Whether requests of that signal go out as they come in, whatever is in them.
    pub fn is_identity(&self, signal: Signal) -> bool {
        let plain = self.rules.attributes == AttributeLimits::NONE && self.rules.ages.of(signal) == Age::ANY;
        plain && (signal != Signal::Metrics || self.rules.metrics.is_as_is())
    }

    /// Makes one request fit. Ask [`Adapter::is_identity`] first where the number of items is known: this counts them.
    pub fn adapt(&mut self, signal: Signal, request: &Bytes, now: WallTime) -> Adapted {
        if self.is_identity(signal) {
            return unchanged(signal, request);
        }
        let now_ns = now.0.saturating_mul(1000);
        let mut counts = Counts::default();
        let bytes = match signal {
            Signal::Logs => collector_logs::ExportLogsServiceRequest::decode(&request[..]).map(|mut logs| {
                records::adapt_logs(&self.rules, &mut logs, now_ns, &mut counts);
                logs.encode_to_vec()
            }),
            Signal::Traces => {
                collector_trace::ExportTraceServiceRequest::decode(&request[..]).map(|mut spans| {
                    records::adapt_spans(&self.rules, &mut spans, now_ns, &mut counts);
                    spans.encode_to_vec()
                })
            }
            Signal::Metrics => {
                collector_metrics::ExportMetricsServiceRequest::decode(&request[..]).map(|mut points| {
                    self.streams.begin(now_ns);
                    metrics::Walk::new(&self.rules, &mut self.streams, now_ns, &mut counts)
                        .request(&mut points);
                    points.encode_to_vec()
                })
            }
        };
        match bytes {
            Ok(bytes) => counts.into_adapted(bytes.into()),
            Err(_) => unchanged(signal, request),
        }
    }
}

fn unchanged(signal: Signal, request: &Bytes) -> Adapted {
    let items = crate::wire::check(signal, request).map_or(0, |tally| tally.items);
    Counts { items, ..Counts::default() }.into_adapted(request.clone())
}

impl Counts {
    fn drop(&mut self, reason: DropReason, items: u64) {
        self.dropped[reason as usize] += items;
    }

    fn into_adapted(self, bytes: Bytes) -> Adapted {
        let reasons = DropReason::ALL.into_iter().zip(self.dropped);
        Adapted {
            bytes,
            items: self.items,
            dropped: reasons.filter(|(_, items)| *items > 0).collect(),
            attributes_dropped: self.attributes_dropped,
            attributes_changed: self.attributes_changed,
        }
    }
}

/// Whether an item of that time is one that the destination takes. Zero is no time: servers then take their own.
fn check_age(age: Age, time_ns: u64, now_ns: u64) -> Result<(), DropReason> {
    let ns = |limit: std::time::Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    if time_ns == 0 {
        return Ok(());
    }
    if age.past_max.is_some_and(|limit| time_ns < now_ns.saturating_sub(ns(limit))) {
        return Err(DropReason::TooOld);
    }
    if age.future_max.is_some_and(|limit| time_ns > now_ns.saturating_add(ns(limit))) {
        return Err(DropReason::TooNew);
    }
    Ok(())
}
