//! Muster's own facts as OTLP: events as log records, sessions and runs as spans, the catalogue as metrics.
