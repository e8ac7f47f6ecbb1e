//! Metrics that came over OTLP as Prometheus series, by the OpenTelemetry-to-Prometheus rules (contracts/otlp.md section 3).
