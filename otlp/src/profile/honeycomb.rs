//! Honeycomb (contracts/otlp.md section 1.5).

use super::*;

pub(super) const HONEYCOMB: Profile = Profile {
    name: "honeycomb",
    title: "Honeycomb",
    summary: "Honeycomb's OTLP endpoint.",
    docs_url: "https://docs.honeycomb.io/send-data/opentelemetry/",
    endpoints: Endpoints::Regions(&[
        Endpoint {
            region: "us",
            aliases: &["us1"],
            http: "https://api.honeycomb.io",
            grpc: "https://api.honeycomb.io",
        },
        Endpoint {
            region: "eu",
            aliases: &["eu1"],
            http: "https://api.eu1.honeycomb.io",
            grpc: "https://api.eu1.honeycomb.io",
        },
    ]),
    path_prefix: "",
    transports: &[Transport::HttpProtobuf, Transport::Grpc, Transport::HttpJson],
    auth: Auth {
        header: "x-honeycomb-team",
        scheme: AuthScheme::Plain,
        required: true,
        secret: "an ingest key of the environment",
    },
    signals: &Signal::ALL,
    compressions: &[Compression::Zstd, Compression::Gzip, Compression::None],
    // The default of its intake's library; what the service itself sets is not published (section 7).
    limits: PerSignal::all(PayloadLimit::uncompressed(20 << 20)),
    headers: &[],
    metrics: MetricRules::AS_IS,
    attributes: AttributeLimits::NONE,
    ages: PerSignal::all(Age::ANY),
    answers: Answers::BY_THE_BOOK,
    notes: &[
        "The dataset is `service.name`. For metrics and for Classic environments name one: `headers = { x-honeycomb-dataset = \"muster\" }`.",
        "An event there is 1 MB at most.",
    ],
};
