//! Datadog: its intake, and its Agent (contracts/otlp.md section 1.3).

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Deltas alone for what only rises; what may fall stays cumulative and becomes a gauge.
const METRICS: MetricRules = MetricRules {
    monotonic: Temporality::Delta,
    non_monotonic: Temporality::Cumulative,
    histograms: Temporality::Delta,
    exponential: Exponential::Kept,
    non_finite: NonFinite::Kept,
    one_point_a_second: true,
};

const AGES: PerSignal<Age> = PerSignal {
    logs: Age { past_max: Some(HOUR.saturating_mul(18)), future_max: None },
    metrics: Age { past_max: Some(HOUR), future_max: Some(Duration::from_secs(10 * 60)) },
    traces: Age::ANY,
};

const NAME_NOTE: &str = "Metric names begin with a letter and have `A-Z a-z 0-9 _ .`, 200 characters at most; others are changed there.";

const fn site(region: &'static str, aliases: &'static [&'static str], http: &'static str) -> Endpoint {
    Endpoint { region, aliases, http, grpc: "" }
}

pub(super) const DATADOG: Profile = Profile {
    name: "datadog",
    title: "Datadog (direct intake)",
    summary: "Datadog's OTLP intake, without an Agent between.",
    docs_url: "https://docs.datadoghq.com/opentelemetry/setup/otlp_ingest/",
    endpoints: Endpoints::Regions(&[
        site("us1", &["us", "datadoghq.com"], "https://otlp.datadoghq.com"),
        site("us3", &["us3.datadoghq.com"], "https://otlp.us3.datadoghq.com"),
        site("us5", &["us5.datadoghq.com"], "https://otlp.us5.datadoghq.com"),
        site("eu1", &["eu", "datadoghq.eu"], "https://otlp.datadoghq.eu"),
        site("ap1", &["ap1.datadoghq.com"], "https://otlp.ap1.datadoghq.com"),
        site("ap2", &["ap2.datadoghq.com"], "https://otlp.ap2.datadoghq.com"),
    ]),
    path_prefix: "",
    transports: &[Transport::HttpProtobuf, Transport::HttpJson],
    auth: Auth {
        header: "dd-api-key",
        scheme: AuthScheme::Plain,
        required: true,
        secret: "an API key of the organisation (not an application key)",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Zstd, Compression::Gzip, Compression::None],
    // Three pages, three limits: each is the least of them (section 7).
    limits: PerSignal {
        logs: PayloadLimit::uncompressed(5_300_000),
        metrics: PayloadLimit { uncompressed_bytes_max: 5_000_000, compressed_bytes_max: Some(500_000) },
        traces: PayloadLimit::uncompressed(3_200_000),
    },
    headers: &[
        // Without it there are spans and no metrics of them.
        FixedHeader { signal: Some(Signal::Traces), name: "compute_stats", value: "true" },
        // Without it the attributes of the resource, team and user and project among them, are lost.
        FixedHeader {
            signal: Some(Signal::Metrics),
            name: "dd-otel-metric-config",
            value: r#"{"resource_attributes_as_tags":true}"#,
        },
    ],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: AGES,
    answers: Answers {
        success: "202, 200 or another 2xx, with any body",
        partial_success: false,
        transient_grpc: &[],
        transient_http: &[],
    },
    notes: &[
        "Government sites have no OTLP intake: use an Agent there.",
        "403 is a wrong key, a wrong site, or an organisation that is not allowed in.",
        "A log over 1 MB is cut there.",
        "Points of one series within one second would replace each other: deltas are added up or set one second apart.",
        "Points of more than one hour back are dropped and counted, even if Historical Metrics is on for some of them.",
        "Hosts do not appear in the infrastructure list by this way.",
        NAME_NOTE,
    ],
};

pub(super) const DATADOG_AGENT: Profile = Profile {
    name: "datadog-agent",
    title: "Datadog Agent",
    summary: "The OTLP receiver of a Datadog Agent on the same host.",
    docs_url: "https://docs.datadoghq.com/opentelemetry/setup/otlp_ingest_in_the_agent/",
    // Its usual ports are the collector's own as well: on one machine they cannot be the default.
    endpoints: Endpoints::Given { example: "http://127.0.0.1:5317" },
    path_prefix: "",
    transports: &[Transport::Grpc, Transport::HttpProtobuf],
    auth: Auth {
        header: "dd-api-key",
        scheme: AuthScheme::Plain,
        required: false,
        secret: "not needed: the Agent has the key",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None],
    // Those of the Collector's receiver, which the Agent is built on.
    limits: PerSignal::all(PayloadLimit::uncompressed(REQUEST_BYTES_TARGET)),
    headers: &[],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: AGES,
    answers: Answers::BY_THE_BOOK,
    notes: &[
        "Its usual ports, 4317 and 4318, are the collector's own: give the Agent others on the same machine.",
        "Off by default: set `otlp_config.receiver.protocols.grpc.endpoint` and, for logs, `logs_enabled` and `otlp_config.logs.enabled`.",
        "For the resource's attributes as tags set `otlp_config.metrics.resource_attributes_as_tags`.",
        NAME_NOTE,
    ],
};
