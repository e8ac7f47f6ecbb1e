//! OTLP that comes to the collector itself: into the journal, and acknowledged when it is durable there.
//!
//! ```text
//! otlp::receive ─> team of the token, room in the budget ─> parts of a record each ─> stream log ─> accepted
//! ```
//!
//! | what comes | what happens |
//! |---|---|
//! | a request that fits into a record | one record |
//! | a larger one | parts in groups ([`GROUP_BYTES_MAX`]): after a crash a group is there or is not |
//! | an item that fits into no record | rejected, counted, told as partial success; the rest is taken |
//! | a request that this collector forwarded itself | invalid: it is dropped where it came from, and goes round no more |
//! | a quota of the team is used up | limited (RESOURCE_EXHAUSTED, 429): the client comes again when it is told |
//! | journal full, disk full | overloaded: the client comes again |
//! | journal poisoned | unavailable, and the collector stops |
//!
//! A request whose answer is lost is sent again and stored again: OTLP has no numbers to tell a repeat by.

mod connection;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use journal::stream::StreamLog;
use otlp::Signal;
use otlp::receive::{Accepted, Budget, Door, Intake, Outcome, Payload, Refusal, Room, Transport};
use tokio::sync::watch;

pub(crate) use connection::serve;
pub use store::GROUP_BYTES_MAX;

use crate::credentials::{Caller, Credentials, Presented};
use crate::figures::Figures;
use crate::forward::Forwarder;
use crate::ingest::spread;
use crate::quota::{Quotas, Wanted};

/// Both of OTLP's protocols before the collector's journal.
pub type OtlpDoor = Door<OtlpIntake>;

/// What both OTLP doors share.
#[derive(Clone)]
pub struct Shared {
    /// Where payloads become durable.
    pub log: Arc<dyn StreamLog>,
    /// Who may send.
    pub credentials: Arc<Credentials>,
    /// What teams may send.
    pub quotas: Arc<Quotas>,
    /// The bytes that requests may hold.
    pub budget: Arc<Budget>,
    /// Counters.
    pub figures: Arc<Figures>,
    /// This collector's name on what it forwards.
    pub forwarder: Forwarder,
    /// Told once when the log is poisoned.
    pub poisoned: watch::Sender<Option<String>>,
}

/// Takes payloads into the journal.
#[derive(Clone)]
pub struct OtlpIntake {
    shared: Shared,
    anonymous_allowed: bool,
}

impl OtlpIntake {
    /// An intake for one listener; `anonymous_allowed` is whether it takes requests without a token.
    pub fn new(shared: Shared, anonymous_allowed: bool) -> Self {
        Self { shared, anonymous_allowed }
    }
}

impl Intake for OtlpIntake {
    type Caller = Caller;

    fn authenticate(&self, head: &Parts) -> Result<Caller, Refusal> {
        let shown = Presented::by(&head.extensions, &head.headers).ok_or(Refusal::Internal)?;
        let peer = shown.ip;
        if self.shared.forwarder.has_sent(&head.headers) {
            tracing::debug!(%peer, "a request of this collector came back");
            let said = "this collector forwarded the request itself: a destination of it leads back here; \
                        check the endpoints of its [[destination]] sections";
            return Err(Refusal::Invalid(said.to_owned()));
        }
        let caller = self.shared.credentials.authenticate_at(shown, self.anonymous_allowed);
        caller.map_err(|_| {
            tracing::debug!(%peer, "credential refused");
            Refusal::Unauthenticated
        })
    }

    fn reserve(&self, bytes: usize) -> Result<Room, Refusal> {
        self.shared.budget.reserve(bytes)
    }

    async fn take(&self, caller: &Caller, payload: Payload) -> Result<Accepted, Refusal> {
        let (bytes, events) = (payload.request.len() as u64, payload.tally.items);
        let wanted = Wanted { bytes, events, streams: 0 };
        self.shared.quotas.take(&caller.team, caller.agent, wanted).map_err(|used_up| Refusal::Limited {
            quota: used_up.reason.words(),
            retry_after: later(used_up.retry_after),
        })?;
        store::store(&self.shared, &caller.team, payload).await
    }

    fn finished(&self, signal: Signal, transport: Transport, outcome: Outcome) {
        self.shared.figures.otlp.requests.of(signal).of(transport).add(outcome, 1);
    }
}

/// A time of at least `least`, spread so that clients do not come back together.
fn later(least: Duration) -> Duration {
    Duration::from_millis(spread(least))
}
