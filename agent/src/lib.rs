//! The per-developer process: sources, redaction, spool and uplink.
