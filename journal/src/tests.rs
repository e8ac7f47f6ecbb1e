//! The log against a file system that fails, forgets and flips bits.

mod crash;
mod damage;
mod disk_full;
mod faults;
mod group;
mod model;
mod open;
mod probe;
mod retention;
mod support;
