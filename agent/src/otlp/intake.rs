//! What the receiver does with a payload: clean it, stamp it, spool it, and only then say yes.
//!
//! | what happens | the client is told |
//! |---|---|
//! | the spool is full | to come again in a moment; nothing is read of it meanwhile |
//! | the disk is full, or a write failed | to come again later |
//! | a request over 4 MiB is cut by a failure | to come again; what was spooled of it is there twice then |
//! | the client goes away before the answer | nothing; the payload is spooled nevertheless |
//! | a web page sends it | that it is not welcome: browsers name the page in `Origin` |
//! | the collector's configuration turns `otlp` off | that nothing is taken, before its body is read |

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Uri, header};
use metrics::Applied;
use muster::ids::AgentId;
use otlp::Signal;
use otlp::receive::{Accepted, Budget, FORWARDED_BY, Intake, Outcome, Payload, Refusal, Room, Transport};
use tokio::sync::watch;

use super::figures::OtlpCounters;
use super::origin::Origins;
use super::prepare::{Preparation, Prepared, pieces};
use super::pseudonyms::Pseudonyms;
use super::texts::Texts;
use crate::endpoint::Page;
use crate::remote_configuration::Settings;
use crate::runtime::local;
use crate::spool::SpoolError;

/// How payloads' records name their source, and what turns it off; there is no position to keep.
const SPOOL_KEY: &str = "otlp";
/// Most resources of a request: each becomes an event with its own stamps, however little it holds. A tool sends one.
const RESOURCES_MAX: u32 = 4096;
/// The uplink empties a full spool within seconds once it is connected.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(2);
/// A full disk or a failed write wants a person.
const TROUBLE_RETRY_AFTER: Duration = Duration::from_secs(15);

/// Takes payloads into the spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolIntake(Arc<Inner>);

/// What an intake needs.
#[derive(Debug)]
pub struct Inner {
    /// The spool, and the local page that counts what is spooled.
    pub page: Arc<Page>,
    /// Who this agent is.
    pub agent_id: AgentId,
    /// What may leave, and whether anything is taken.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Whose it is.
    pub origins: Arc<Origins>,
    /// Names for redacted attributes of series.
    pub pseudonyms: Pseudonyms,
    /// Bytes that all requests may hold.
    pub budget: Arc<Budget>,
    /// What is counted.
    pub counters: Arc<OtlpCounters>,
}

impl SpoolIntake {
    /// Takes payloads by `inner`.
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Cleans a payload. Between two pieces others have their turn: the agent has one thread.
    async fn prepare(&self, payload: &Payload) -> Result<Prepared, Refusal> {
        let inner = &*self.0;
        let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(error.to_string());
        let roots: Vec<_> = inner.origins.watched().iter().map(|project| project.root.clone()).collect();
        let privacy = inner.settings.borrow().privacy.clone();
        let texts = Texts::new(&privacy, &roots, &inner.pseudonyms);
        let received = inner.page.clock.wall();
        let mut preparation = Preparation::new(payload.signal, received, &privacy, &inner.origins, texts);
        for piece in pieces(payload.signal, &payload.request).map_err(|error| invalid(&error))? {
            preparation.add(&piece).map_err(|error| invalid(&error))?;
            tokio::task::yield_now().await;
        }
        Ok(preparation.finish())
    }

    /// Makes what was prepared durable, and counts it.
    async fn spool(self, signal: Signal, prepared: Prepared) -> Result<u64, Refusal> {
        let inner = &*self.0;
        let mut spool = inner.page.spool.lock().await;
        if spool.is_full() {
            return Err(Refusal::Overloaded { retry_after: FULL_RETRY_AFTER });
        }
        for facts in prepared.batches {
            let batch = spool.append_step(SPOOL_KEY, Vec::new(), facts.into_builder()).await;
            match batch {
                Ok(Some(batch)) => {
                    let at =
                        Applied { wall: inner.page.clock.wall(), monotonic: inner.page.clock.monotonic() };
                    // Under the spool's lock: what stores both takes it as well, so neither is ahead of the other.
                    local::apply(&mut inner.page.aggregate.lock(), inner.agent_id, &batch, at);
                }
                Ok(None) => {}
                Err(error) => return Err(refusal_of(&error)),
            }
        }
        inner.counters.spooled(signal, prepared.items, prepared.rejected, prepared.redacted);
        Ok(prepared.rejected)
    }
}

impl Intake for SpoolIntake {
    type Caller = ();

    fn authenticate(&self, head: &Parts) -> Result<(), Refusal> {
        if self.0.settings.borrow().is_off(SPOOL_KEY) {
            let said = "nothing is taken here: the collector's configuration turns `otlp` off";
            return Err(Refusal::Invalid(said.to_owned()));
        }
        if head.headers.contains_key(FORWARDED_BY) {
            let said = "a collector forwarded this request, and this agent would send it back to one: \
                        an agent takes what tools of its machine send";
            return Err(Refusal::Invalid(said.to_owned()));
        }
        match head.headers.get(header::ORIGIN) {
            Some(origin) if !is_local(origin.to_str().unwrap_or_default()) => Err(Refusal::Unauthenticated),
            _ => Ok(()),
        }
    }

    fn reserve(&self, bytes: usize) -> Result<Room, Refusal> {
        self.0.budget.reserve(bytes)
    }

    async fn take(&self, _: &(), payload: Payload) -> Result<Accepted, Refusal> {
        if payload.tally.resources > RESOURCES_MAX {
            let said = format!("more than {RESOURCES_MAX} resources in a request; send smaller ones");
            return Err(Refusal::Invalid(said));
        }
        // Looked at first, so that a full spool costs no cleaning.
        if self.0.page.spool.lock().await.is_full() {
            return Err(Refusal::Overloaded { retry_after: FULL_RETRY_AFTER });
        }
        let prepared = self.prepare(&payload).await?;
        // In a task of its own: a client that goes away must not stop an append halfway.
        let spooled = tokio::spawn(self.clone().spool(payload.signal, prepared)).await;
        let rejected = spooled.map_err(|_| Refusal::Internal)??;
        let message = match rejected {
            0 => String::new(),
            _ => {
                "left out: single items over 3 MiB, or metrics whose names do not look like names".to_owned()
            }
        };
        Ok(Accepted { rejected, message })
    }

    fn finished(&self, _: Signal, _: Transport, outcome: Outcome) {
        self.0.counters.request(outcome);
    }
}

fn refusal_of(error: &SpoolError) -> Refusal {
    tracing::warn!(%error, "the spool refused an OTLP payload; its sender is to repeat it");
    match error {
        // The bounds of a batch are kept above; a batch over one would be so again.
        SpoolError::Batch(_) => Refusal::Internal,
        _ => Refusal::Unavailable { retry_after: TROUBLE_RETRY_AFTER },
    }
}

/// Whether a browser's page is of this machine. Programs that are no browsers (`vscode-file://`) are.
fn is_local(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    match uri.scheme_str() {
        Some("http" | "https") => matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]")),
        scheme => scheme.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_web_page_is_told_apart() {
        for origin in
            ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443", "vscode-file://vscode-app"]
        {
            assert!(is_local(origin), "{origin}");
        }
        for origin in ["https://example.com", "http://localhost.example.com", "null", "", "file"] {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
