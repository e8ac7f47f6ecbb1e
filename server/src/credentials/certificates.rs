//! Certificates of agents: which are good, and what is said of the others.
//!
//! A certificate is good if it has not ended, its agent has a record that is not revoked, and it is the newest of that record
//! or the one before ([`crate::agents`]). That the authority has signed it was found out in the handshake, and is not enough:
//! a copy of the authority's key signs as well.
//!
//! The one before renews only until the newest has been seen: its answer was not lost then, and who asks again is a copy of
//! the state directory. What was seen counts at once and is in the agent's record within [`super::POLL_INTERVAL`]; what is
//! not when the collector dies is seen again when the agent comes back.

use std::collections::HashMap;
use std::net::IpAddr;

use muster::ids::{AgentId, Team};
use parking_lot::Mutex;

use super::refusals::About;
use super::{Credentials, NotAccepted, Presented};
use crate::agents::{AGENTS_MAX, AgentFile, AgentFileError, Standing};
use crate::authority::{AgentName, PeerCertificate};
use crate::figures::CredentialRefusal;

/// The newest certificates that were seen and are not in the agents' records as such, by their SHA-256. Bounded: what comes
/// past as many as there can be agents is noted when it is seen again.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<HashMap<String, AgentName>>);

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
                if !record.seen {
                    self.used.note(&certificate.sha256, record.name());
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

    /// Whether this newest certificate has been seen, and the agent's record does not say so yet.
    pub(crate) fn has_used(&self, sha256: &str) -> bool {
        self.used.0.lock().contains_key(sha256)
    }

    /// Whether an agent of this name has enrolled and speaks by its certificates alone
    /// ([`crate::agents::AgentRecord::speaks_by_certificate`]), or was revoked.
    pub(crate) fn is_enrolled(&self, team: &Team, agent: AgentId) -> bool {
        let (agents, now) = (self.agents.load(), self.clock.wall());
        let record = agents.get(&AgentName { team: team.clone(), agent });
        record.is_some_and(|record| {
            let is_used = || record.not_after_us > now.0 && self.has_used(&record.sha256);
            record.revoked_us.is_some() || record.speaks_by_certificate(now) || is_used()
        })
    }

    /// Writes down which newest certificates have been seen.
    pub(super) fn keep_seen(&self) -> Result<(), AgentFileError> {
        let seen = self.used.all();
        if seen.is_empty() {
            return Ok(());
        }
        let mut file = AgentFile::edit(&self.data_dir)?;
        file.note_seen(&seen)?;
        self.know_agents(&file);
        self.used.forget(&seen);
        Ok(())
    }
}

impl Used {
    fn note(&self, sha256: &str, name: AgentName) {
        let mut seen = self.0.lock();
        if seen.len() < AGENTS_MAX || seen.contains_key(sha256) {
            seen.insert(sha256.to_owned(), name);
        }
    }

    fn all(&self) -> Vec<(AgentName, String)> {
        self.0.lock().iter().map(|(sha256, name)| (name.clone(), sha256.clone())).collect()
    }

    fn forget(&self, written: &[(AgentName, String)]) {
        let mut seen = self.0.lock();
        for (_, sha256) in written {
            seen.remove(sha256);
        }
    }
}

impl From<CertificateRefused> for NotAccepted {
    fn from(_: CertificateRefused) -> Self {
        NotAccepted
    }
}
