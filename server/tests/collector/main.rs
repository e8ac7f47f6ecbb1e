//! The collector over real sockets, in this process and as a process of its own.

mod bounds;
mod clones;
mod forwarding;
mod ingest;
mod otlp;
mod pages;
mod pki;
mod process;
mod readers;
mod remote_configuration;
mod roles;
mod security;
mod support;
