//! OTLP requests as bytes: checked, counted, stamped and split without decoding.
//!
//! A field that repeats may be written in any number of pieces, so an `Export*ServiceRequest` is a plain run of
//! `resource_*` fields: two requests of one signal, one after the other, are one request with both.
