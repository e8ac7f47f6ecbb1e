//! Certificates of agents: which are good, and what is said of the others.
//!
//! A certificate is good if it has not ended, its agent has a record that is not revoked, and it is the newest of that record
//! or the one before ([`crate::agents`]). That the authority has signed it was found out in the handshake, and is not enough:
//! a copy of the authority's key signs as well.
//!
//! The one before renews only until the newest has been seen: its answer was not lost then, and who asks again is a copy of
//! the state directory. What was seen is forgotten when the collector starts.

use std::collections::HashSet;
use std::net::IpAddr;

use muster::ids::{AgentId, Team};
use parking_lot::Mutex;

use super::refusals::About;
use super::{Credentials, NotAccepted, Presented};
use crate::agents::{AGENTS_MAX, Standing};
use crate::authority::{AgentName, PeerCertificate};
use crate::figures::CredentialRefusal;

/// The newest certificates that were seen, by their SHA-256. Bounded: past as many as there can be agents, all are forgotten.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<HashSet<String>>);

/// Why a certificate is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateRefused {
    /// There is none, it has ended, or its agent may not speak.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// Its agent has another one.
    #[error(
        "the agent has a newer certificate than this one. On a copy of its state directory, start with an empty one; else enrol \
         again with `muster agent enroll --force`"
    )]
    Replaced,
}

impl Credentials {
    /// Which agent the peer is, by its certificate alone.
    pub(crate) fn authenticate_agent(&self, shown: Presented<'_>) -> Result<AgentName, CertificateRefused> {
        match shown.certificate {
            Some(certificate) => self.identify_certificate(shown.ip, certificate),
            None => Err(self.missing(shown.ip).into()),
        }
    }

    pub(super) fn identify_certificate(
        &self,
        ip: IpAddr,
        certificate: &PeerCertificate,
    ) -> Result<AgentName, CertificateRefused> {
        let about = certificate.name.as_ref().map_or(About::Nobody, About::Agent);
        let now = self.clock.wall();
        // Verified in the handshake; but the connection may have outlived it, or been resumed.
        if certificate.not_after <= now {
            return Err(self.refusals.refuse(ip, CredentialRefusal::Expired, about).into());
        }
        let agents = self.agents.load();
        let Some(record) = certificate.name.as_ref().and_then(|name| agents.get(name)) else {
            return Err(self.refusals.refuse(ip, CredentialRefusal::Unknown, about).into());
        };
        if record.revoked_us.is_some() {
            return Err(self.refusals.refuse(ip, CredentialRefusal::Revoked, about).into());
        }
        match record.standing(certificate, now) {
            Standing::Newest => {
                if record.previous.is_some() {
                    self.used.note(&certificate.sha256);
                }
                Ok(record.name())
            }
            Standing::Previous => Ok(record.name()),
            Standing::Other => {
                self.refusals.refuse(ip, CredentialRefusal::Replaced, about);
                Err(CertificateRefused::Replaced)
            }
        }
    }

    /// Whether the agent has been seen with its newest certificate since the collector started.
    pub(crate) fn has_used(&self, sha256: &str) -> bool {
        self.used.0.lock().contains(sha256)
    }

    /// Whether an agent of this name has enrolled and speaks by its certificate alone. Not when that has ended: the machine may
    /// have gone back to a token.
    pub(crate) fn is_enrolled(&self, team: &Team, agent: AgentId) -> bool {
        let agents = self.agents.load();
        let record = agents.get(&AgentName { team: team.clone(), agent });
        record.is_some_and(|record| record.revoked_us.is_some() || record.not_after_us > self.clock.wall().0)
    }
}

impl Used {
    fn note(&self, sha256: &str) {
        let mut seen = self.0.lock();
        if seen.contains(sha256) {
            return;
        }
        if seen.len() >= AGENTS_MAX {
            seen.clear();
        }
        seen.insert(sha256.to_owned());
    }
}

impl From<CertificateRefused> for NotAccepted {
    fn from(_: CertificateRefused) -> Self {
        NotAccepted
    }
}
