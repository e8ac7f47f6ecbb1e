//! OTLP: taking it, mapping to and from the event model, and the destinations' profiles.
//!
//! ```text
//! in:   receive (gRPC, HTTP; json) -> wire (checked, counted) -> journal or spool
//! page: series (OpenTelemetry to Prometheus)
//! out:  export (Muster's own facts) and wire (what came in) -> adapt -> wire (split) -> a destination of a profile
//! ```
//!
//! All of it is pure but [`mod@receive`], which speaks HTTP and leaves what to do with a payload to its caller.

pub mod adapt;
pub mod export;
pub mod json;
pub mod profile;
pub mod proto;
pub mod receive;
pub mod series;
mod signal;
pub mod wire;

pub use signal::Signal;
