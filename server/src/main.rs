//! Muster's command line: collector, agent and the operator's tools.

fn main() {}
