//! placeholder
use std::sync::Arc;
use crate::figures::Figures;
/// Figures that nobody reads, for tests.
#[cfg(test)]
pub(crate) fn detached_figures() -> Arc<Figures> {
    use opentelemetry::metrics::MeterProvider;
    let provider = opentelemetry_sdk::metrics::SdkMeterProvider::default();
    Arc::new(Figures::new(&provider.meter("test")))
}
