//! The collector's own figures, traces and logs.
//!
//! Figures go through the OpenTelemetry SDK into a Prometheus registry, which `/metrics` merges into its page. Traces
//! and logs go out over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and only then. Logs always go to standard error.

mod destinations;
mod history;
mod instruments;
mod logs;

use std::sync::{Arc, Once};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{SpanKind, Tracer};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

use crate::config::destination::DESTINATIONS_MAX;
use crate::forward::Live;
use crate::quota::TEAMS_COUNTED_MAX;

pub use history::observe_history;
pub use instruments::{Observed, observe};
pub use logs::{LogFormat, LogReload, Logging, init};

/// Name of the service in what it exports.
pub const SERVICE_NAME: &str = "muster-server";

/// Most series of one of the collector's own figures. All labels are closed sets far smaller than this; the SDK's
/// default of 2,000 would allocate 100 KiB for each instrument.
const SERIES_MAX: usize = 64;

/// What the figures of destinations begin with, and most series of one of these: destinations, signals and reasons.
const DESTINATION_PREFIX: &str = "muster_destination";
const DESTINATION_SERIES_MAX: usize = DESTINATIONS_MAX * 3 * 20;

/// What the figures of quotas begin with, and most series: each counted team with its six reasons, and the others.
const QUOTA_PREFIX: &str = "muster_quota";
const QUOTA_SERIES_MAX: usize = (TEAMS_COUNTED_MAX + 2) * 6;

/// Where the collector's own figures are gathered.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkMeterProvider,
    registry: Registry,
    destinations: Once,
}

/// Why the collector cannot observe itself.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The SDK refused.
    #[error("cannot set up the collector's own metrics: {0}")]
    Metrics(String),
    /// The OTLP exporter cannot be made.
    #[error("cannot set up export to OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Export(String),
}

impl Telemetry {
    /// A registry of its own: two collectors in one process do not share figures.
    pub fn new() -> Result<Arc<Self>, TelemetryError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let few_series = |instrument: &Instrument| {
            let max = match instrument.name() {
                name if name.starts_with(DESTINATION_PREFIX) => DESTINATION_SERIES_MAX,
                name if name.starts_with(QUOTA_PREFIX) => QUOTA_SERIES_MAX,
                _ => SERIES_MAX,
            };
            Stream::builder().with_cardinality_limit(max).build().ok()
        };
        let builder = SdkMeterProvider::builder().with_reader(exporter).with_view(few_series);
        let provider = builder.with_resource(resource()).build();
        Ok(Arc::new(Self { provider, registry, destinations: Once::new() }))
    }

    /// Where instruments are made.
    pub fn meter(&self) -> Meter {
        self.provider.meter(SERVICE_NAME)
    }

    /// Shows the figures of destinations from now on. To be called when there is one: the instruments take a MiB, which a
    /// collector without destinations does not pay.
    pub fn observe_destinations(&self, live: &Live) {
        self.destinations.call_once(|| destinations::observe(&self.meter(), live));
    }

    /// All figures as Prometheus text 0.0.4.
    pub fn page(&self) -> String {
        let mut page = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut page) {
            tracing::warn!(%error, "cannot write the collector's own figures");
        }
        page
    }
}

fn resource() -> Resource {
    Resource::builder().with_service_name(SERVICE_NAME).build()
}

/// A span that ends when it is dropped. Costs nothing to speak of while traces are not exported.
pub fn span(name: &'static str, attributes: Vec<KeyValue>) -> impl Send {
    let tracer = opentelemetry::global::tracer(SERVICE_NAME);
    tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes).start(&tracer)
}

/// Figures that nobody reads, for tests.
#[cfg(test)]
pub(crate) fn detached_figures() -> Arc<crate::figures::Figures> {
    let provider = SdkMeterProvider::default();
    Arc::new(crate::figures::Figures::new(&provider.meter("test")))
}
