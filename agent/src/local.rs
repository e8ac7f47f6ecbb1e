//! The local way in: commands of this user hand events to the running agent, or spool them themselves.
//!
//! ```text
//! emit, exec ─> Request ══ <state_dir>/agent.sock ══> the running agent: check, redact, stamp, spool (fsync) ─> Answer
//!                   └── nobody listens ─> the command opens the spool itself, does the same, and leaves
//! ```
//!
//! - **Who may**: the socket is 0600 in a folder of 0700, and the agent asks the system for the peer's user besides.
//! - **Who has the spool** is told by the lock of the state directory. A command that finds the lock taken and nobody
//!   listening (an agent that just starts or stops, another command) tries both again until [`DELIVERY_TIMEOUT`]; an
//!   agent that starts waits for commands in the same way.
//! - **All or nothing**: a request is one record of the spool. Its answer means that it is on disk.
//! - **Once**: a request has an id, and the ids of the last [`recent::IDS_MAX`] requests are part of the spool's records. A
//!   request that is repeated because its answer was lost is answered, and not spooled again.
//!
//! | bound | at it |
//! |---|---|
//! | [`protocol::REQUEST_BYTES_MAX`] 1 MiB, [`protocol::EVENTS_MAX`] 2,000 events a request | refused for good, and says so |
//! | 32 connections at once | more wait to be accepted |
//! | 5 s for a request to come, and for its answer to go | the connection is closed |
//! | the spool is full | refused, and says so |
//! | [`DELIVERY_TIMEOUT`] 5 s | the command gives up, and says who is in its way |
//!
//! Where there are no Unix sockets there is no way to a running agent yet: commands spool while none runs, and say that
//! the spool is taken while one does.

use std::time::Duration;

mod client;
mod intake;
pub(crate) mod origin;
pub mod protocol;
mod recent;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod socket;
#[cfg(test)]
mod tests;

pub use client::{Delivered, DeliveryError, deliver, deliver_within, new_request_id};
pub use intake::{Intake, LocalCounters};
#[cfg(unix)]
pub use serve::{Door, listen};

/// How long a command tries to hand its events over.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long either side of the socket waits for the other's bytes.
const SPEAK_TIMEOUT: Duration = Duration::from_secs(5);
