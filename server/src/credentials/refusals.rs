//! What becomes of a credential that is not accepted: it is counted, bounded ([`super::guesses`]) and told to the audit log.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use muster::credential::TokenId;

use super::NotAccepted;
use super::guesses::Guesses;
use crate::audit::{AuditLog, Entry, What, Who};
use crate::authority::{AgentName, ReaderName};
use crate::figures::{CredentialRefusal, Figures, Label};

/// Whom a refused credential names.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    /// It cannot be read, or there is none.
    Nobody,
    /// A token of this id, right or not.
    Token(&'a TokenId),
    /// An agent of this name.
    Agent(&'a AgentName),
    /// A reader by certificate, of which this is the first name.
    Reader(&'a ReaderName),
}

#[derive(Debug)]
pub(super) struct Refusals {
    guesses: Guesses,
    figures: Arc<Figures>,
    /// Unset in tests that have none.
    audit: OnceLock<Arc<AuditLog>>,
}

impl Refusals {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self { guesses: Guesses::new(), figures, audit: OnceLock::new() }
    }

    /// Tells the audit log from now on. The first one stays.
    pub(super) fn tell(&self, audit: Arc<AuditLog>) {
        // Set once, at the start.
        let _ = self.audit.set(audit);
    }

    pub(super) fn audit(&self) -> Option<&AuditLog> {
        self.audit.get().map(AsRef::as_ref)
    }

    pub(super) fn refuse(&self, ip: IpAddr, why: CredentialRefusal, about: About<'_>) -> NotAccepted {
        self.figures.credentials_refused.add(why, 1);
        if let Some(audit) = self.audit() {
            let entry = Entry::new(What::CredentialRefused, Who::Peer(ip)).refused(why.name());
            audit.record_often(match about {
                About::Nobody => entry,
                About::Token(id) => entry.token(id),
                About::Agent(name) => entry.team(&name.team).agent(name.agent),
                About::Reader(name) => entry.with("reader", name.as_str()),
            });
        }
        NotAccepted
    }

    /// As [`Refusals::refuse`], for a token whose secret may be being guessed.
    pub(super) fn refuse_guess(&self, ip: IpAddr, why: CredentialRefusal, token: &TokenId) -> NotAccepted {
        self.guesses.count(ip, Some(token));
        self.refuse(ip, why, About::Token(token))
    }

    /// Whether tokens of this id from this address are not looked at for now.
    pub(super) fn is_limited(&self, ip: IpAddr, token: &TokenId) -> bool {
        self.guesses.is_limited(ip, token)
    }

    pub(super) fn forget_old(&self) {
        self.guesses.forget_old();
    }
}
