//! New Relic (contracts/otlp.md section 1.1).

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Each address answers on 443, 4317 and 4318, with gRPC and HTTP alike: the URL without a port serves both.
const fn region(region: &'static str, aliases: &'static [&'static str], url: &'static str) -> Endpoint {
    Endpoint { region, aliases, http: url, grpc: url }
}

pub(super) const NEWRELIC: Profile = Profile {
    name: "newrelic",
    title: "New Relic",
    summary: "New Relic's OTLP endpoint.",
    docs_url: "https://docs.newrelic.com/docs/opentelemetry/best-practices/opentelemetry-otlp/",
    endpoints: Endpoints::Regions(&[
        region("us", &["us01"], "https://otlp.nr-data.net"),
        region("eu", &["eu01"], "https://otlp.eu01.nr-data.net"),
        region("jp", &["jp01"], "https://otlp.jp.nr-data.net"),
        region("us-fedramp", &["gov", "fedramp"], "https://gov-otlp.nr-data.net"),
    ]),
    path_prefix: "",
    // HTTP with protobuf is what New Relic recommends as the more robust one.
    transports: &[Transport::HttpProtobuf, Transport::Grpc],
    auth: Auth {
        header: "api-key",
        scheme: AuthScheme::Plain,
        required: true,
        secret: "the account's license key (ingest)",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Zstd, Compression::Gzip, Compression::None],
    // Under 10^6 bytes, and not said whether of compressed ones: uncompressed bytes are safe either way. A little is
    // left for gRPC's frame.
    limits: PerSignal::all(PayloadLimit::uncompressed(999_000)),
    headers: &[],
    metrics: MetricRules {
        monotonic: Temporality::Delta,
        // Deltas that may fall are not supported; cumulative ones become gauges.
        non_monotonic: Temporality::Cumulative,
        histograms: Temporality::Delta,
        exponential: Exponential::Kept,
        non_finite: NonFinite::Dropped,
        one_point_a_second: false,
    },
    attributes: AttributeLimits {
        resource_max: Some(64),
        scope_max: Some(8),
        record_max: Some(128),
        metric_max: Some(100),
        key_chars_max: Some(255),
        // 4095 by the OTLP page, 4094 for log attributes by the page on account limits.
        value_chars_max: Some(4094),
        array_max: Some(64),
        bytes_max: Some(128_000),
        complex_on_logs_only: true,
        empty_dropped: true,
        metric_keys_reserved: &[
            "interval.ms",
            "timestamp",
            "value",
            "min",
            "max",
            "count",
            "sum",
            "metrics",
            "common",
        ],
    },
    ages: PerSignal {
        logs: Age::ANY,
        metrics: Age { past_max: Some(HOUR.saturating_mul(48)), future_max: Some(HOUR.saturating_mul(24)) },
        // 20 or 60 minutes by pages on the Trace API; not stated for OTLP, so not applied.
        traces: Age::ANY,
    },
    answers: Answers {
        success: "200 with an empty body",
        partial_success: false,
        // New Relic's edge gives these while it is the one in trouble.
        // "Too many requests" comes as ResourceExhausted without RetryInfo.
        transient_grpc: &[tonic::Code::Unknown, tonic::Code::Internal, tonic::Code::ResourceExhausted],
        transient_http: &[500, 530],
    },
    notes: &[
        "New Relic checks after it has answered: what it dropped or cut is in `NrIntegrationError` events of the account.",
        "A log record with the attribute `newrelic.event.type` becomes a custom event.",
        "Its pages on the Trace API give spans 20 or 60 minutes; nothing is stated for OTLP, and nothing is dropped here for it.",
        "Summaries are taken as deltas there and are not of use.",
    ],
};
