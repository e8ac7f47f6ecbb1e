//! The per-developer process: sources -> redaction -> spool -> uplink.
//!
//! ```text
//! file changes ─> source ─> facts (redact, intern) ─> spool (journal, fsync) ─> uplink ══ gRPC ══> collector
//! ```

pub mod facts;
pub mod sources;
