//! What identifies an item: the same event always has the same id, whoever exports it and however often.
//!
//! - A log record: agent, epoch and number of its event.
//! - A trace: team, user, host, tool, project and the session's name. A run outside a session has a trace of its own.
//! - A session's span: its trace. A run's span: its trace and the run's id, or, when the tool has none, the event's
//!   identity.
//!
//! Who is part of a hash is written with its length before it, so that no two lists of parts are the same bytes.

use muster::batch::SourceView;
use muster::ids::{Seq, StreamKey};
use sha2::{Digest, Sha256};

/// 16 bytes, never all 0.
pub(super) type TraceId = [u8; 16];
/// 8 bytes, never all 0.
pub(super) type SpanId = [u8; 8];

/// Where a batch came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) key: &'a StreamKey,
}

/// A run's place in the traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunIdentity {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// The session's span.
    pub(super) parent: Option<SpanId>,
}

/// A session's place in the traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionIdentity {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
}

impl Identity<'_> {
    /// `muster.item.id`.
    pub(super) fn item(self, seq: Seq) -> String {
        format!("{}-{}-{seq}", self.key.agent, self.key.epoch)
    }

    /// `None` when the session has no name.
    pub(super) fn session(self, source: &SourceView<'_>, session: &str) -> Option<SessionIdentity> {
        if session.is_empty() {
            return None;
        }
        let trace = trace(&hash("muster.trace", &self.source(source, session.as_bytes())));
        Some(SessionIdentity { trace, span: span(&hash("muster.session", &[&trace])) })
    }

    pub(super) fn run(self, source: &SourceView<'_>, session: &str, run_id: u64, seq: Seq) -> RunIdentity {
        let mut of_event = Vec::with_capacity(32);
        of_event.extend_from_slice(self.key.agent.as_bytes());
        of_event.extend_from_slice(&self.key.epoch.get().to_be_bytes());
        of_event.extend_from_slice(&seq.0.to_be_bytes());
        let run = if run_id == 0 { of_event } else { run_id.to_be_bytes().to_vec() };
        match self.session(source, session) {
            Some(session) => RunIdentity {
                trace: session.trace,
                span: span(&hash("muster.run", &[&session.trace, &run])),
                parent: Some(session.span),
            },
            None => {
                let trace = trace(&hash("muster.run.trace", &self.source(source, &run)));
                RunIdentity { trace, span: span(&hash("muster.run", &[&trace, &run])), parent: None }
            }
        }
    }

    /// A source and something of its own.
    fn source<'a>(&'a self, source: &SourceView<'a>, own: &'a [u8]) -> [&'a [u8]; 6] {
        let [team, user, host, tool, project] =
            [self.key.team.as_str(), source.user, source.host, source.tool, source.project]
                .map(str::as_bytes);
        [team, user, host, tool, project, own]
    }
}

fn hash(what: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in std::iter::once(what.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn trace(hash: &[u8; 32]) -> TraceId {
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    if id == [0; 16] { [1; 16] } else { id }
}

fn span(hash: &[u8; 32]) -> SpanId {
    let mut id = [0; 8];
    id.copy_from_slice(&hash[..8]);
    if id == [0; 8] { [1; 8] } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_zeros_alone_is_never_given() {
        assert_eq!(trace(&[0; 32]), [1; 16]);
        assert_eq!(span(&[0; 32]), [1; 8]);
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(hash("w", &[b"ab", b"c"]), hash("w", &[b"a", b"bc"]));
        assert_ne!(hash("w", &[b"a"]), hash("wa", &[]));
    }
}
