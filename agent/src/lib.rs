//! The per-developer process: sources -> redaction -> spool -> uplink.
//!
//! ```text
//! file changes ─> source ─> facts (redact, intern) ─> spool (journal, fsync) ─> uplink ══ gRPC ══> collector
//! ```

pub mod cli;
pub mod config;
pub mod discovery;
pub mod doctor;
pub mod emit;
pub mod endpoint;
pub mod enrol;
pub mod exec;
pub mod facts;
pub mod figures;
pub mod identity;
pub mod install;
pub mod local;
pub mod otlp;
pub mod processes;
pub mod project;
pub mod readiness;
pub mod remote_configuration;
pub mod runtime;
pub mod sources;
pub mod spool;
pub mod uplink;
pub mod watch;
