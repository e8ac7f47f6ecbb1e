//! Grafana Cloud (contracts/otlp.md section 1.4) and Prometheus' OTLP receiver (section 4).

use super::*;

/// Any delta point makes Prometheus answer 500 for the whole request, and Mimir rejects it. Native histograms begin at
/// scale -4; a lower one is an error of the whole request too.
const METRICS: MetricRules = MetricRules {
    monotonic: Temporality::Cumulative,
    non_monotonic: Temporality::Cumulative,
    histograms: Temporality::Cumulative,
    exponential: Exponential::FromScale(-4),
    non_finite: NonFinite::Kept,
    one_point_a_second: false,
};

pub(super) const GRAFANA_CLOUD: Profile = Profile {
    name: "grafana-cloud",
    title: "Grafana Cloud",
    summary: "The OTLP gateway of Grafana Cloud: Mimir, Loki and Tempo behind one address.",
    docs_url: "https://grafana.com/docs/grafana-cloud/send-data/otlp/otlp-format-considerations/",
    endpoints: Endpoints::Pattern {
        url: "https://otlp-gateway-prod-{region}.grafana.net",
        example: "us-east-0",
    },
    path_prefix: "/otlp",
    // JSON is for little traffic, by their words.
    transports: &[Transport::HttpProtobuf, Transport::HttpJson],
    auth: Auth {
        header: "authorization",
        scheme: AuthScheme::Basic,
        required: true,
        secret: "`ID:TOKEN`: the stack's instance id and an access policy token that may write",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None],
    // Mimir takes 100 MiB by default; a client may send 64 MiB.
    limits: PerSignal::all(PayloadLimit::uncompressed(REQUEST_BYTES_CAP)),
    headers: &[],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: PerSignal::all(Age::ANY),
    answers: Answers::BY_THE_BOOK,
    notes: &[
        "The region is in the address that the stack's page shows, between `otlp-gateway-prod-` and `.grafana.net`; for another form of address give `endpoint`.",
        "`job` is `service.namespace/service.name`; other attributes of the resource are on `target_info`.",
        "How far back a point may be is set by the stack's out-of-order window.",
    ],
};

pub(super) const PROMETHEUS: Profile = Profile {
    name: "prometheus",
    title: "Prometheus (OTLP receiver)",
    summary: "Prometheus 3 with `--web.enable-otlp-receiver`; metrics only.",
    docs_url: "https://prometheus.io/docs/guides/opentelemetry/",
    endpoints: Endpoints::Given { example: "http://localhost:9090" },
    path_prefix: "/api/v1/otlp",
    transports: &[Transport::HttpProtobuf, Transport::HttpJson],
    auth: Auth {
        header: "authorization",
        scheme: AuthScheme::Basic,
        required: false,
        secret: "`USER:PASSWORD`, or `Bearer` and a token",
    },
    signals: &[Signal::Metrics],
    compressions: &[Compression::Gzip, Compression::None],
    limits: PerSignal::all(PayloadLimit::uncompressed(32 << 20)),
    headers: &[],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: PerSignal {
        logs: Age::ANY,
        // How far back is decided by the head block and `out_of_order_time_window`.
        metrics: Age { past_max: None, future_max: Some(Duration::from_secs(10 * 60)) },
        traces: Age::ANY,
    },
    answers: Answers { success: "200 with an empty body", partial_success: false, ..Answers::BY_THE_BOOK },
    notes: &[
        "Set `storage.tsdb.out_of_order_time_window: 30m`: without it a point that comes late is refused, and its request with it.",
        "Attributes of the resource are on `target_info`; `otlp.promote_resource_attributes` makes labels of them.",
        "Muster's own `/metrics` can be scraped instead; sending to a Prometheus that also scrapes it gives everything twice.",
    ],
};
