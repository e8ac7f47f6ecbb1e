//! What the agent reads in a certificate.

use muster::clock::WallTime;
use muster::ids::{AgentId, Team};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The parts of an agent's certificate that decide something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its number at its authority, in hexadecimal digits.
    pub serial: String,
    /// Nobody accepts it before.
    pub not_before: WallTime,
    /// Nobody accepts it after.
    pub not_after: WallTime,
    /// The team that it speaks for.
    pub team: Team,
    /// The agent that it speaks for.
    pub agent_id: AgentId,
    /// The public key, as SubjectPublicKeyInfo in DER.
    pub public_key_der: Vec<u8>,
}

/// The text is no certificate of an agent. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No X.509 in it.
    #[error("it holds no certificate")]
    Unreadable,
    /// Another kind of certificate.
    #[error("its certificate names no team and agent (muster://TEAM/agent/ID)")]
    NoAgent,
}

impl Certificate {
    /// The first certificate of a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateError::Unreadable)?;
        Self::from_der(&der)
    }

    /// Reads a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
        let names = parsed.subject_alternative_name().ok().flatten().ok_or(CertificateError::NoAgent)?;
        let (team, agent_id) = names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => identity(uri),
                _ => None,
            })
            .ok_or(CertificateError::NoAgent)?;
        let validity = parsed.validity();
        Ok(Self {
            serial: format!("{:x}", parsed.serial),
            not_before: wall_time(validity.not_before.timestamp()),
            not_after: wall_time(validity.not_after.timestamp()),
            team,
            agent_id,
            public_key_der: parsed.public_key().raw.to_vec(),
        })
    }
}

/// `muster://TEAM/agent/AGENT_ID`.
fn identity(uri: &str) -> Option<(Team, AgentId)> {
    let (team, agent) = uri.strip_prefix("muster://")?.split_once("/agent/")?;
    Some((team.parse().ok()?, agent.parse().ok()?))
}

fn wall_time(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000))
}
