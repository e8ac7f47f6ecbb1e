//! The per-developer process: sources -> redaction -> spool -> uplink.
//!
//! ```text
//! file changes ─> source ─> facts (redact, intern) ─> spool (journal, fsync) ─> uplink ══ gRPC ══> collector
//! ```

pub mod discovery;
pub mod facts;
pub mod processes;
pub mod project;
pub mod sources;
pub mod watch;
