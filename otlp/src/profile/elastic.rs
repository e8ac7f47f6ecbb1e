//! Elastic's three intakes (contracts/otlp.md section 1.2).

use super::*;

const API_KEY: Auth = Auth {
    header: "authorization",
    scheme: AuthScheme::Prefixed(&["ApiKey"]),
    required: true,
    secret: "an API key in its encoded form",
};

/// Elasticsearch adds histograms up, so deltas are right with every version; cumulative ones need 9.5. Counters are
/// cumulative by default and carry their temporality along.
const METRICS: MetricRules = MetricRules { histograms: Temporality::Delta, ..MetricRules::AS_IS };

/// Time series take what is ahead by `look_ahead_time`, 30 minutes by default. How far back they go depends on which
/// backing indices there are (2 hours in the first one), which only Elasticsearch knows.
const AGES: PerSignal<Age> = PerSignal {
    logs: Age::ANY,
    metrics: Age { past_max: None, future_max: Some(Duration::from_secs(30 * 60)) },
    traces: Age::ANY,
};

const ROUTING_NOTE: &str = "`data_stream.dataset` and `data_stream.namespace` choose the data stream; set them with `resource_attributes`.";
const TIME_NOTE: &str = "A new time series data stream takes points of up to 2 hours back (`index.look_back_time`) and 30 minutes ahead; older ones need an older backing index.";

pub(super) const ELASTIC: Profile = Profile {
    name: "elastic",
    title: "Elastic Cloud (managed OTLP)",
    summary: "The managed OTLP endpoint of Elastic Cloud Serverless and Hosted.",
    docs_url: "https://www.elastic.co/docs/reference/opentelemetry/managed-inputs/managed-otlp-endpoint",
    endpoints: Endpoints::Given { example: "https://my-project-123456.ingest.us-east-1.aws.elastic.cloud" },
    path_prefix: "",
    transports: &[Transport::HttpProtobuf, Transport::Grpc],
    auth: API_KEY,
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None],
    // Advised for batches; the exact bound of its 413 is not published.
    limits: PerSignal::all(PayloadLimit::uncompressed(4_000_000)),
    headers: &[],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: AGES,
    answers: Answers { success: "200", ..Answers::BY_THE_BOOK },
    notes: &[
        "The key needs the application privilege `event:write` on `apm`.",
        "Taken means queued there: what cannot be indexed afterwards goes to the failure store, if that is on.",
        ROUTING_NOTE,
        "`service.name` must match `^[a-zA-Z0-9 _-]+$`.",
        TIME_NOTE,
    ],
};

pub(super) const ELASTICSEARCH: Profile = Profile {
    name: "elasticsearch",
    title: "Elasticsearch (native OTLP)",
    summary: "Elasticsearch's own `/_otlp` endpoints: metrics from 9.2, logs and traces from 9.5.",
    docs_url: "https://www.elastic.co/docs/manage-data/ingest/otlp-endpoint",
    endpoints: Endpoints::Given { example: "https://elasticsearch.example.com:9200" },
    path_prefix: "/_otlp",
    transports: &[Transport::HttpProtobuf],
    auth: API_KEY,
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None],
    // `http.max_content_length` is 100 MB; a client may send 64 MiB.
    limits: PerSignal::all(PayloadLimit::uncompressed(REQUEST_BYTES_CAP)),
    headers: &[],
    metrics: METRICS,
    attributes: AttributeLimits::NONE,
    ages: AGES,
    answers: Answers { success: "200, perhaps with rejected items", ..Answers::BY_THE_BOOK },
    notes: &[
        "The key needs `create_doc` and `auto_configure` on `metrics-*`, `logs-*` and `traces-*`; span events go to `logs-*`.",
        "Before 9.5 give `signals = [\"metrics\"]`.",
        "429 is for the whole request as soon as one document of it met one: what is sent again can be there twice. Metrics are deduplicated by dimensions and time, log records by nothing but `muster.item.id`.",
        ROUTING_NOTE,
        TIME_NOTE,
    ],
};

pub(super) const ELASTIC_APM: Profile = Profile {
    name: "elastic-apm",
    title: "Elastic APM Server",
    summary: "APM Server 8 and 9, or the APM integration of Elastic Agent, which put OTLP into ECS.",
    docs_url: "https://www.elastic.co/guide/en/observability/current/apm-api-otlp.html",
    endpoints: Endpoints::Given { example: "https://apm.example.com:8200" },
    path_prefix: "",
    // One port for both; no JSON.
    transports: &[Transport::HttpProtobuf, Transport::Grpc],
    auth: Auth {
        header: "authorization",
        scheme: AuthScheme::Prefixed(&["ApiKey", "Bearer"]),
        required: false,
        secret: "an API key in its encoded form, or `Bearer` and the server's secret token",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None],
    // No size is set in the server, so gRPC's default holds.
    limits: PerSignal::all(PayloadLimit::uncompressed(REQUEST_BYTES_TARGET)),
    headers: &[],
    metrics: MetricRules {
        // Stored as they come, and added up by Elasticsearch: only deltas are then right.
        histograms: Temporality::Delta,
        exponential: Exponential::Explicit,
        non_finite: NonFinite::Dropped,
        ..MetricRules::AS_IS
    },
    attributes: AttributeLimits::NONE,
    ages: PerSignal::all(Age::ANY),
    answers: Answers { success: "200, perhaps with rejected items", ..Answers::BY_THE_BOOK },
    notes: &[
        "Attributes become `labels.*` with dots as underscores, and units are lost; the other two intakes keep both.",
        "Exponential histograms are not taken there: they arrive as explicit ones.",
        "`service.name` must match `^[a-zA-Z0-9 _-]+$`.",
    ],
};
