//! The receiver over a real spool.

mod asked;
mod canaries;
mod rig;
mod sockets;
mod spooling;
mod tools;
