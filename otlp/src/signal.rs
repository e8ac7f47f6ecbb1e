//! The three kinds of OTLP telemetry, and what each is called where.

use muster::v1::OtlpSignal;

/// One of OTLP's signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
    /// Spans.
    Traces,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

    /// The word for it, as in paths and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::Traces => "traces",
        }
    }

    /// What one item of it is called, in the plural.
    pub const fn items_name(self) -> &'static str {
        match self {
            Signal::Logs => "log records",
            Signal::Metrics => "data points",
            Signal::Traces => "spans",
        }
    }

    /// Path of OTLP/HTTP.
    pub const fn http_path(self) -> &'static str {
        match self {
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
            Signal::Traces => "/v1/traces",
        }
    }

    /// Path of OTLP/gRPC's one method.
    pub const fn grpc_path(self) -> &'static str {
        match self {
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }

    /// The signal of a gRPC path.
    pub fn of_grpc_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.grpc_path() == path)
    }

    /// The signal of an HTTP path.
    pub fn of_http_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.http_path() == path)
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Signal> for OtlpSignal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Logs => OtlpSignal::Logs,
            Signal::Metrics => OtlpSignal::Metrics,
            Signal::Traces => OtlpSignal::Traces,
        }
    }
}

impl TryFrom<OtlpSignal> for Signal {
    type Error = ();

    /// Fails on `OTLP_SIGNAL_UNSPECIFIED`.
    fn try_from(signal: OtlpSignal) -> Result<Self, ()> {
        match signal {
            OtlpSignal::Logs => Ok(Signal::Logs),
            OtlpSignal::Metrics => Ok(Signal::Metrics),
            OtlpSignal::Traces => Ok(Signal::Traces),
            OtlpSignal::Unspecified => Err(()),
        }
    }
}
