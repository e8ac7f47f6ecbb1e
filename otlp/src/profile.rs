//! What each kind of destination wants: one table.
//!
//! A [`Profile`] is plain data: where to send and how to sign, what a request may weigh, which metrics are understood,
//! and what counts as taken. Nothing here sends or decides when: the forwarder reads the table, [`mod@crate::adapt`]
//! applies its rules to payloads, and `docs/destinations.md` is made from it (`tests/profiles_doc.rs`).
//!
//! Where a vendor's pages disagree, the table holds the value that every one of them takes, and says so. A vendor's
//! limit that is not stated is not invented: requests then keep to what unknown OTLP servers take, [`REQUEST_BYTES_TARGET`].

mod auth;
mod datadog;
mod elastic;
mod endpoint;
mod generic;
mod grafana;
mod honeycomb;
mod newrelic;
mod page;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use auth::{Auth, AuthError, AuthScheme};
pub use endpoint::{Endpoint, EndpointError, Endpoints};
pub use page::reference_page;

use crate::Signal;

/// All destinations there are, in the order of the reference page.
pub static PROFILES: &[Profile] = &[
    generic::OTLP,
    newrelic::NEWRELIC,
    elastic::ELASTIC,
    elastic::ELASTICSEARCH,
    elastic::ELASTIC_APM,
    datadog::DATADOG,
    datadog::DATADOG_AGENT,
    grafana::GRAFANA_CLOUD,
    honeycomb::HONEYCOMB,
    grafana::PROMETHEUS,
];

/// The profile of that name, as `[[destination]] profile = ".."` gives it.
pub fn find(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// What a request should weigh at most, uncompressed, however much more a destination would take: what a gRPC server
/// takes that nobody configured, and the size of a part in the journal (contracts/otlp.md section 2.1).
pub const REQUEST_BYTES_TARGET: usize = 4 << 20;

/// What a client must never go over, uncompressed (contracts/otlp.md section 2.1).
pub const REQUEST_BYTES_CAP: usize = 64 << 20;

/// One kind of destination.
#[derive(Debug)]
pub struct Profile {
    /// The word for it in a configuration.
    pub name: &'static str,
    /// What its makers call it.
    pub title: &'static str,
    /// One sentence for the reference page.
    pub summary: &'static str,
    /// The vendor's own page.
    pub docs_url: &'static str,
    /// Where it is.
    pub endpoints: Endpoints,
    /// What OTLP/HTTP paths have before `/v1/<signal>`.
    pub path_prefix: &'static str,
    /// Transports that it speaks; the first is used when none is named.
    pub transports: &'static [Transport],
    /// How a request is signed.
    pub auth: Auth,
    /// Signals that it takes.
    pub signals: &'static [Signal],
    /// Encodings of a request's body that it takes; the first is used when none is named.
    pub compressions: &'static [Compression],
    /// What a request may weigh.
    pub limits: PerSignal<PayloadLimit>,
    /// Headers that are always sent.
    pub headers: &'static [FixedHeader],
    /// Which metrics it understands.
    pub metrics: MetricRules,
    /// What attributes may be.
    pub attributes: AttributeLimits,
    /// How old and how new an item may be.
    pub ages: PerSignal<Age>,
    /// What its answers mean beyond OTLP's own rules.
    pub answers: Answers,
    /// What an operator should know, for the reference page.
    pub notes: &'static [&'static str],
}

impl Profile {
    /// Whether it takes that signal.
    pub fn takes(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    /// The transport that is used when none is named.
    pub fn default_transport(&self) -> Transport {
        self.transports[0]
    }

    /// The compression that is used when none is named.
    pub fn default_compression(&self) -> Compression {
        self.compressions[0]
    }

    /// The fixed headers of that signal's requests.
    pub fn headers_for(&self, signal: Signal) -> impl Iterator<Item = &'static FixedHeader> {
        self.headers.iter().filter(move |header| header.signal.is_none_or(|only| only == signal))
    }
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson];

    /// The word for it in settings, as `OTEL_EXPORTER_OTLP_PROTOCOL` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http/protobuf",
            Transport::HttpJson => "http/json",
        }
    }

    /// The transport of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// The exact `Content-Type` of a request. Never with parameters: Prometheus takes the bare type alone
    /// (contracts/otlp.md section 4).
    pub const fn content_type(self) -> &'static str {
        match self {
            Transport::Grpc => "application/grpc",
            Transport::HttpProtobuf => "application/x-protobuf",
            Transport::HttpJson => "application/json",
        }
    }
}

/// How a request's body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// As it is.
    None,
    /// `gzip`, which every OTLP server must take.
    Gzip,
    /// `zstd`, which is not in OTLP's specification.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    /// The word for it in settings; but for `none` also its `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    /// The compression of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.name() == name)
    }
}

/// Something for each signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerSignal<T> {
    /// For log records.
    pub logs: T,
    /// For data points.
    pub metrics: T,
    /// For spans.
    pub traces: T,
}

impl<T: Copy> PerSignal<T> {
    /// The same for all.
    pub const fn all(value: T) -> Self {
        Self { logs: value, metrics: value, traces: value }
    }

    /// That of one signal.
    pub const fn of(&self, signal: Signal) -> T {
        match signal {
            Signal::Logs => self.logs,
            Signal::Metrics => self.metrics,
            Signal::Traces => self.traces,
        }
    }
}

/// What one request may weigh. What is over it is split, and a single item that is over it cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimit {
    /// Most bytes before compression, in the encoding that is sent.
    pub uncompressed_bytes_max: usize,
    /// Most bytes after compression, where the destination counts those.
    pub compressed_bytes_max: Option<usize>,
}

impl PayloadLimit {
    /// A limit on uncompressed bytes alone.
    pub const fn uncompressed(bytes_max: usize) -> Self {
        Self { uncompressed_bytes_max: bytes_max, compressed_bytes_max: None }
    }

    /// What requests are made for: the limit, but never more than [`REQUEST_BYTES_TARGET`]. A single item between the two
    /// goes alone.
    pub const fn target_bytes(&self) -> usize {
        if self.uncompressed_bytes_max < REQUEST_BYTES_TARGET {
            self.uncompressed_bytes_max
        } else {
            REQUEST_BYTES_TARGET
        }
    }
}

/// A header that is always sent.
#[derive(Debug, Clone, Copy)]
pub struct FixedHeader {
    /// Only with requests of that signal.
    pub signal: Option<Signal>,
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// Which aggregation temporality a destination wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Any: points go as they came.
    AsIs,
    /// What was added since the point before.
    Delta,
    /// What was added since the start.
    Cumulative,
}

/// What becomes of exponential histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exponential {
    /// They are taken.
    Kept,
    /// They are taken from that scale on; those of a lower one are made explicit.
    FromScale(i32),
    /// They are refused, so all are made explicit.
    Explicit,
}

/// What becomes of points that are NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// They are taken.
    Kept,
    /// The destination drops them without a word, so they are dropped here, where they are counted.
    Dropped,
}

/// Which metrics a destination understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricRules {
    /// Temporality of monotonic sums.
    pub monotonic: Temporality,
    /// Temporality of sums that may fall. Never [`Temporality::Delta`] where a destination wants to know the value.
    pub non_monotonic: Temporality,
    /// Temporality of histograms of both kinds.
    pub histograms: Temporality,
    /// What becomes of exponential histograms.
    pub exponential: Exponential,
    /// What becomes of numbers that are none.
    pub non_finite: NonFinite,
    /// Whether of two delta points of one series in one second only the last is kept there, so that they must be added
    /// up or set apart here.
    pub one_point_a_second: bool,
}

impl MetricRules {
    /// Everything is taken as it is.
    pub const AS_IS: MetricRules = MetricRules {
        monotonic: Temporality::AsIs,
        non_monotonic: Temporality::AsIs,
        histograms: Temporality::AsIs,
        exponential: Exponential::Kept,
        non_finite: NonFinite::Kept,
        one_point_a_second: false,
    };

    /// Whether no point is ever changed or dropped by these rules.
    pub fn is_as_is(&self) -> bool {
        *self == Self::AS_IS
    }
}

/// What attributes may be. `None` is no limit that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeLimits {
    /// Most attributes of a resource.
    pub resource_max: Option<usize>,
    /// Most attributes of a scope.
    pub scope_max: Option<usize>,
    /// Most attributes of a log record, span, span event or link.
    pub record_max: Option<usize>,
    /// Most attributes of a data point, its resource's and scope's among them.
    pub metric_max: Option<usize>,
    /// Most characters of a key.
    pub key_chars_max: Option<usize>,
    /// Most characters of a text.
    pub value_chars_max: Option<usize>,
    /// Most elements of an array.
    pub array_max: Option<usize>,
    /// Most bytes of a byte value.
    pub bytes_max: Option<usize>,
    /// Whether maps and arrays of mixed kinds are kept on log records alone.
    pub complex_on_logs_only: bool,
    /// Whether attributes without a value are dropped.
    pub empty_dropped: bool,
    /// Keys that a data point may not have; they get an underscore after them. Its metric's name is one where there are any.
    pub metric_keys_reserved: &'static [&'static str],
}

impl AttributeLimits {
    /// No limit that is known.
    pub const NONE: AttributeLimits = AttributeLimits {
        resource_max: None,
        scope_max: None,
        record_max: None,
        metric_max: None,
        key_chars_max: None,
        value_chars_max: None,
        array_max: None,
        bytes_max: None,
        complex_on_logs_only: false,
        empty_dropped: false,
        metric_keys_reserved: &[],
    };
}

/// How far from now an item's time may be. `None` is no limit that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Furthest back.
    pub past_max: Option<Duration>,
    /// Furthest ahead.
    pub future_max: Option<Duration>,
}

impl Age {
    /// No limit that is known.
    pub const ANY: Age = Age { past_max: None, future_max: None };
}

/// What answers mean beyond OTLP's rules (contracts/otlp.md section 2.2). Everywhere: any 2xx is success, 202 too, and its
/// body may be empty, which says that nothing was rejected.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// What success looks like, for the reference page.
    pub success: &'static str,
    /// Whether it ever rejects a part and says so.
    pub partial_success: bool,
    /// gRPC codes that OTLP calls permanent and that pass here.
    pub transient_grpc: &'static [tonic::Code],
    /// HTTP statuses that OTLP calls permanent and that pass here.
    pub transient_http: &'static [u16],
}

impl Answers {
    /// OTLP's own rules.
    pub const BY_THE_BOOK: Answers =
        Answers { success: "200", partial_success: true, transient_grpc: &[], transient_http: &[] };

    /// Whether an HTTP status says that the request was taken.
    pub const fn is_success(&self, status: u16) -> bool {
        status >= 200 && status < 300
    }
}
