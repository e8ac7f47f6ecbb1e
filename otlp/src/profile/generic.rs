//! Any OTLP server.

use super::*;

/// Limits are what a server takes that nobody configured: grpc-go's 4 MiB (contracts/otlp.md section 2.1).
pub(super) const OTLP: Profile = Profile {
    name: "otlp",
    title: "Any OTLP server",
    summary: "An OpenTelemetry Collector, or whatever else speaks OTLP. Everything goes as it is.",
    docs_url: "https://opentelemetry.io/docs/specs/otlp/",
    endpoints: Endpoints::Given { example: "https://otel.example.com:4317" },
    path_prefix: "",
    transports: &[Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson],
    auth: Auth {
        header: "authorization",
        scheme: AuthScheme::Prefixed(&["Bearer", "Basic", "ApiKey"]),
        required: false,
        secret: "a token, or a whole value such as `Basic ..`",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Gzip, Compression::None, Compression::Zstd],
    limits: PerSignal::all(PayloadLimit::uncompressed(REQUEST_BYTES_TARGET)),
    headers: &[],
    metrics: MetricRules::AS_IS,
    attributes: AttributeLimits::NONE,
    ages: PerSignal::all(Age::ANY),
    answers: Answers::BY_THE_BOOK,
    notes: &[
        "On the collector's own machine the other server needs other ports than 4317 and 4318, which are the collector's own.",
        "OTLP/HTTP is usually on port 4318: `transport = \"http/protobuf\"`, `endpoint = \"https://otel.example.com:4318\"`.",
        "Servers must take `gzip`; `zstd` is an addition that not all have.",
    ],
};
