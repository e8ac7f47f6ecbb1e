//! The slim agent: everything that `muster agent` can do, without the collector.

fn main() {}
