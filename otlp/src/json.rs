//! OTLP/JSON, read and written by the rules of OTLP and of proto3 JSON (contracts/otlp.md section 2.4).
