//! The per-developer process: sources -> redaction -> spool -> uplink.
//!
//! ```text
//! file changes ─> source ─> facts (redact, intern) ─> spool (journal, fsync) ─> uplink ══ gRPC ══> collector
//! ```

pub mod config;
pub mod facts;
pub mod identity;
pub mod sources;
pub mod spool;
pub mod uplink;
