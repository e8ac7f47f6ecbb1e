//! Tests over whole `.loki` folders: facts are folded as the exposition folds them.

mod fixtures;
mod fuzz;
mod log;
mod restart;
mod sessions;
mod support;
mod traps;
mod usage;
