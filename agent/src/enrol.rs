//! The agent's certificate: how it gets one, keeps it, and has it renewed.
//!
//! ```text
//! enrolment token ─> Enrol(CSR) ─> <state_dir>/enrolment/ ─> every connection (mTLS, no token)
//!                                        ▲        │ half of its life
//!                                        └─ Renew(CSR of a new key, over mTLS)
//! ```
//!
//! - **The private key** is made here and stays here: what is sent is a request that it signed. It is in no error, no
//!   `Debug` and no log.
//! - **Whom the agent trusts**: at the first contact the public authorities, a file of one, or one by its fingerprint
//!   ([`pinned`]); from then on the authorities that the collector named, if its own certificate is of them.
//! - **The files** are the old ones or the new ones, whatever happens in between ([`store`]). They are read again at each
//!   connection, so that whoever writes them needs not tell a running agent.
//! - **Renewal** never touches an event: the stream is left in order and the next one goes on at the collector's mark
//!   ([`renewal`]).
//!
//! | failure | what happens |
//! |---|---|
//! | a key that others can read | refused with the command that helps; the agent does not start |
//! | a renewal that fails | tried again with a growing pause; the old certificate is used until it ends |
//! | a certificate that ended | said in `status`, `doctor` and the log, with what to do; events stay in the spool |

pub mod certificate;
pub mod client;
pub mod command;
pub mod key;
pub mod pinned;
pub mod renewal;
pub mod store;
mod text;
pub mod token;

#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use client::{About, EnrolError, FirstContact, enrol};
pub use pinned::Fingerprint;
pub use renewal::{Situation, StoredCertificate};
pub use store::{Enrolment, Record, Store, StoreError};
