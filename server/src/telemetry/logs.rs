//! Logs to standard error, and logs and traces over OTLP when the operator names an endpoint.

use std::io::IsTerminal;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::{TelemetryError, resource};

/// The variable of the OpenTelemetry specification that turns export on.
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The exporter's own transport must not export what it says about exporting.
const EXPORT_FILTER: &str = "info,hyper=off,h2=off,tonic=off,tower=off,opentelemetry=off";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What is logged, changeable while running.
#[derive(Clone)]
pub struct LogReload(reload::Handle<EnvFilter, Registry>);

/// Keeps exporters alive; flushes them when ended.
pub struct Logging {
    /// Changes what is logged.
    pub reload: LogReload,
    logger: Option<SdkLoggerProvider>,
    tracer: Option<SdkTracerProvider>,
}

/// Begins to log. Once in a process; a second call is an error.
pub fn init(directives: &str, format: LogFormat) -> Result<Logging, TelemetryError> {
    let filter = EnvFilter::try_new(directives).map_err(|error| TelemetryError::Export(error.to_string()))?;
    let (filter, handle) = reload::Layer::new(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let is_exporting = std::env::var_os(ENDPOINT_VARIABLE).is_some_and(|endpoint| !endpoint.is_empty());
    let logger = is_exporting.then(logger).transpose()?;
    let tracer = is_exporting.then(tracer).transpose()?;
    let export = logger
        .as_ref()
        .map(|provider| OpenTelemetryTracingBridge::new(provider).with_filter(EnvFilter::new(EXPORT_FILTER)));
    if let Some(tracer) = &tracer {
        opentelemetry::global::set_tracer_provider(tracer.clone());
    }
    let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(export);
    subscriber.try_init().map_err(|error| TelemetryError::Export(error.to_string()))?;
    Ok(Logging { reload: LogReload(handle), logger, tracer })
}

impl LogReload {
    /// Logs by other directives from now on.
    pub fn set(&self, directives: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

impl Logging {
    /// Sends what is left. What cannot be sent is lost: it was also on standard error.
    pub fn finish(self) {
        let failed = [
            self.tracer.and_then(|tracer| tracer.shutdown().err()),
            self.logger.and_then(|logger| logger.shutdown().err()),
        ];
        for error in failed.into_iter().flatten() {
            tracing::debug!(%error, "telemetry was not flushed");
        }
    }
}

fn logger() -> Result<SdkLoggerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::LogExporter::builder().with_tonic().build();
    let exporter = exporter.map_err(|error| TelemetryError::Export(error.to_string()))?;
    Ok(SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build())
}

fn tracer() -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build();
    let exporter = exporter.map_err(|error| TelemetryError::Export(error.to_string()))?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build())
}
