//! The collector and the operator's command line.

pub mod demo;
