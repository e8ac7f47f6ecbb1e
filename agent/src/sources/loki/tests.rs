//! Tests over whole `.loki` folders: facts are folded as the exposition folds them.

mod fixtures;
mod fuzz;
mod restart;
mod support;
mod traps;
