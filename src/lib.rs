//! What Muster's agent and collector share: the wire types, ids, limits, the clock, secrets and files.
//!
//! This crate depends on no other of the workspace; everything else depends on it.

pub mod atomic_file;
pub mod batch;
pub mod clock;
pub mod credential;
pub mod ids;
pub mod limits;
pub mod page;
pub mod private_file;
pub mod reasons;
pub mod settings;
pub mod words;

/// The wire contract, generated from `proto/muster/v1`; the comments there are its documentation.
// Generated code: its style is not ours to lint.
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("muster.v1");
}
