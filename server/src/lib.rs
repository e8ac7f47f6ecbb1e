//! The collector and the operator's command line.

pub mod accept;
pub mod config;
pub mod credentials;
pub mod figures;
pub mod fleet;
pub mod ingest;
pub mod stop;
pub mod telemetry;
pub mod tls;
