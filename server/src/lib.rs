//! The collector and the operator's command line.
//!
//! [`serve::Server`] is the collector; [`cli`] is what `muster` understands; [`demo`] is the living example of `muster up`.

pub mod accept;
pub mod agents;
pub mod aggregate;
pub mod audit;
pub mod authority;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod delivery;
pub mod demo;
mod enrol;
pub mod figures;
pub mod fleet;
pub mod forward;
pub mod history;
pub mod http;
pub mod ingest;
pub mod otlp_door;
mod own_file;
pub mod quota;
pub mod readers;
pub mod readiness;
mod record_file;
pub mod remote_configuration;
pub mod serve;
pub mod stop;
pub mod telemetry;
pub mod tls;
