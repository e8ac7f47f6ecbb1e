//! Who a certificate is of: its one subject alternative name, `muster://TEAM/agent/AGENT_ID`.

use std::fmt;
use std::str::FromStr;

use muster::clock::WallTime;
use muster::ids::{AgentId, Team};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ReaderCertificate, fingerprint};

pub(super) const SCHEME: &str = "muster://";
const KIND: &str = "agent";

/// An agent of a team.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName {
    /// Its team.
    pub team: Team,
    /// Its id.
    pub agent: AgentId,
}

/// The certificate that a peer showed in its handshake. It has been verified; who it is of has still to be known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Who it is of; `None`: its name is none of ours.
    pub name: Option<AgentName>,
    /// When it ends. A connection may outlive it.
    pub not_after: WallTime,
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of it in hexadecimal digits: two may have one serial number, if somebody else has the authority's key.
    pub sha256: String,
    /// At the pages, if the own authority has not issued it: who it may be of then. Such a one is never an agent's.
    pub reader: Option<ReaderCertificate>,
}

/// A name that is none of an agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form muster://TEAM/agent/AGENT_ID")]
pub struct NotAName;

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{KIND}/{}", self.team, self.agent)
    }
}

impl FromStr for AgentName {
    type Err = NotAName;

    fn from_str(uri: &str) -> Result<Self, NotAName> {
        let mut parts = uri.strip_prefix(SCHEME).ok_or(NotAName)?.split('/');
        let (team, kind, agent) = (parts.next(), parts.next(), parts.next());
        let (Some(team), Some(KIND), Some(agent), None) = (team, kind, agent, parts.next()) else {
            return Err(NotAName);
        };
        let team = team.parse().map_err(|_| NotAName)?;
        let name = Self { team, agent: agent.parse().map_err(|_| NotAName)? };
        // One agent has one name: an id in capitals is another text.
        if name.to_string() == uri { Ok(name) } else { Err(NotAName) }
    }
}

impl PeerCertificate {
    /// Reads a certificate that has been verified to be of the own authority.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        // What the verifier has accepted can be parsed; if not, it is of nobody and has ended.
        let sha256 = fingerprint(certificate);
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self { name: None, not_after: WallTime(0), serial: String::new(), sha256, reader: None };
        };
        let ends_at = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let names = parsed.subject_alternative_name().ok().flatten();
        let name = names.and_then(|names| match names.value.general_names.as_slice() {
            [GeneralName::URI(uri)] => uri.parse().ok(),
            _ => None,
        });
        let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let not_after = WallTime(ends_at.saturating_mul(1_000_000));
        Self { name, not_after, serial, sha256, reader: None }
    }

    /// The same, of another authority: whatever name it has, it is no agent's.
    pub(crate) fn into_readers(self, chain: &[CertificateDer<'_>]) -> Self {
        Self { name: None, reader: Some(ReaderCertificate::of(chain)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let name = AgentName { team: "red".parse().expect("team"), agent: AgentId::from_bytes([0xab; 16]) };
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        let id = name.agent.to_string();
        for wrong in [
            String::new(),
            format!("spiffe://red/agent/{id}"),
            format!("muster://red/worker/{id}"),
            format!("muster://red/agent/{id}/"),
            format!("muster://red/agent/{id}?x"),
            format!("muster://red/agent/{}", id.to_uppercase()),
            format!("muster:///agent/{id}"),
            format!("muster://r%65d/agent/{id}"),
            format!("muster://red/agent/{}", &id[1..]),
            format!("muster://red/../agent/{id}"),
        ] {
            assert_eq!(wrong.parse::<AgentName>(), Err(NotAName), "{wrong}");
        }
    }
}
