//! OTLP: mapping to and from the event model, and the destinations' profiles.
