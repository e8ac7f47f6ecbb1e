//! Asking the collector for a certificate: the first one with a token, the next ones with the one before.
//!
//! What comes back is believed as little as anything from a network: a certificate that is not for our key and our id is
//! refused, and the old one stays.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::WallTime;
use muster::credential::{Token, TokenError};
use muster::ids::AgentId;
use muster::v1;
use muster::v1::enrolment_client::EnrolmentClient;
use tonic::transport::{Certificate as Pem, Channel, ClientTlsConfig};
use tonic::{Code, Status};

use super::certificate::{Certificate, CertificateError};
use super::key::{self, KeyError, Requested};
use super::pinned::{Fingerprint, PinnedAuthority};
use super::store::{Enrolment, Record, StoreError};
use super::text;
use crate::uplink::{ChannelError, ServerConfig, channel};

/// A collector signs within milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A chain and some authorities have a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whom to trust before the collector has said whom to trust.
#[derive(Debug, Clone)]
pub enum FirstContact {
    /// The public authorities.
    Public,
    /// Those in this PEM.
    Authorities(String),
    /// The one with this fingerprint, which the collector sends.
    Pinned(Fingerprint),
}

impl FirstContact {
    /// Reads the authorities of a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, ChannelError> {
        let pem = std::fs::read_to_string(path);
        pem.map(Self::Authorities).map_err(|source| ChannelError::CaFile { path: path.to_owned(), source })
    }
}

/// What the agent says of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Who it is.
    pub agent_id: AgentId,
    /// What people call it; empty: its host's name.
    pub name: String,
    /// The machine's name.
    pub host: String,
    /// The developer's login name.
    pub user: String,
}

/// Why there is no new certificate. The private key is in none of them.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A certificate over plaintext protects nothing.
    #[error(
        "{0} is plaintext: an enrolment needs https://, for the token and for the certificate that comes of it"
    )]
    Plaintext(String),
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The collector is not reached, or not trusted.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The collector says no to the token.
    #[error(
        "the collector does not accept the enrolment token: it is used up, has ended (after an hour unless it was made with \
         another --ttl), was revoked, or is another collector's; ask for a new one (muster token create --enroll --team TEAM)"
    )]
    TokenRefused,
    /// The collector says no to the certificate.
    #[error(
        "the collector does not accept this agent's certificate any more. If the agent was revoked (`muster agents list` there), \
         its machine can come back with an empty state directory; else ask for an enrolment token (muster token create --enroll \
         --team TEAM) and run `muster agent enroll --force`"
    )]
    CertificateRefused,
    /// The collector does not know the call.
    #[error(
        "the collector does not enrol agents: it is older than this agent, or has no TLS; update it, or set [server.tls]"
    )]
    Unknown,
    /// Another answer that is none.
    #[error("the collector answered {code:?}: {message}{hint}")]
    Status {
        /// gRPC's code.
        code: Code,
        /// What it said.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// No answer.
    #[error("the collector did not answer within {0:?}{1}")]
    Silent(Duration, &'static str),
    /// What came is not for us.
    #[error("the collector's answer cannot be used: {0}; the certificate was not taken")]
    Answer(&'static str),
    /// The files.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The enrolment may have happened although its answer did not come.
const LOST_HINT: &str =
    "; the answer may be lost: ask again with the same token, which takes no other use of it";

impl EnrolError {
    /// Whether the collector may have issued a certificate that did not arrive, or could if it were asked again.
    pub(super) fn is_answer_lost(&self) -> bool {
        matches!(self, Self::Silent(..))
            || matches!(self, Self::Status { code, .. } if !is_decided_before(*code))
    }
}

/// Enrols: sends the request of a key with `token`, and answers what is to be kept. Nothing is written. Who asks again with
/// the same key and token is answered again.
pub async fn enrol(
    server: &ServerConfig,
    first_contact: &FirstContact,
    token: &Token,
    about: &About,
    requested: Requested,
    now: WallTime,
) -> Result<Enrolment, EnrolError> {
    refuse_plaintext(server)?;
    let (connection, ca_pem) = open(server, first_contact).await?;
    let mut request = tonic::Request::new(v1::EnrolRequest {
        agent_id: about.agent_id.as_bytes().to_vec(),
        csr_der: requested.csr_der.clone(),
        name: about.name.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: about.host.clone(),
        user: about.user.clone(),
        os: std::env::consts::OS.to_owned(),
    });
    request.metadata_mut().insert("authorization", channel::bearer(token)?);
    let mut client = client(connection);
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, client.enrol(request)).await;
    let issued = match answered {
        Err(_) => return Err(EnrolError::Silent(ANSWER_TIMEOUT, LOST_HINT)),
        Ok(Err(status)) => return Err(refusal(&status, EnrolError::TokenRefused, LOST_HINT)),
        Ok(Ok(issued)) => issued.into_inner(),
    };
    let name = if about.name.is_empty() { about.host.clone() } else { about.name.clone() };
    let record = Record {
        server: server.address.to_string(),
        tls_name: server.tls_name.clone(),
        team: issued.team.clone(),
        name,
        agent_id: about.agent_id,
        enrolled_us: now.0,
        received_us: now.0,
        collector_is_of_authority: issued.collector_is_of_authority,
    };
    accept(issued, requested, record, ca_pem)
}

/// Has the certificate of `held` replaced by one for a new key. Nothing is written.
pub async fn renew(server: &ServerConfig, held: &Enrolment, now: WallTime) -> Result<Enrolment, EnrolError> {
    refuse_plaintext(server)?;
    let requested = key::request()?;
    let tls = channel::tls(server, Some(held))?;
    let connection = channel::dial(&server.address, Some(tls), None).await?;
    let request = v1::RenewRequest { csr_der: requested.csr_der.clone() };
    let mut client = client(connection);
    let issued = match tokio::time::timeout(ANSWER_TIMEOUT, client.renew(request)).await {
        Err(_) => return Err(EnrolError::Silent(ANSWER_TIMEOUT, "")),
        Ok(Err(status)) => return Err(refusal(&status, EnrolError::CertificateRefused, "")),
        Ok(Ok(issued)) => issued.into_inner(),
    };
    let record = Record {
        received_us: now.0,
        team: issued.team.clone(),
        collector_is_of_authority: issued.collector_is_of_authority,
        ..held.record.clone()
    };
    accept(issued, requested, record, held.ca_pem.clone())
}

fn refuse_plaintext(server: &ServerConfig) -> Result<(), EnrolError> {
    match server.address.scheme_str() {
        Some("https") => Ok(()),
        _ => Err(EnrolError::Plaintext(server.address.to_string())),
    }
}

fn client(connection: Channel) -> EnrolmentClient<Channel> {
    EnrolmentClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The connection of the first contact, and the authority that it was trusted by.
async fn open(
    server: &ServerConfig,
    first_contact: &FirstContact,
) -> Result<(Channel, Option<String>), ChannelError> {
    let mut tls = ClientTlsConfig::new();
    if let Some(name) = &server.tls_name {
        tls = tls.domain_name(name);
    }
    match first_contact {
        FirstContact::Public => {
            let connection = channel::dial(&server.address, Some(tls.with_webpki_roots()), None).await?;
            Ok((connection, None))
        }
        FirstContact::Authorities(pem) => {
            let tls = tls.ca_certificate(Pem::from_pem(pem));
            let connection = channel::dial(&server.address, Some(tls), None).await?;
            Ok((connection, Some(pem.clone())))
        }
        FirstContact::Pinned(fingerprint) => {
            let verifier = PinnedAuthority::new(*fingerprint);
            let as_verifier: Arc<dyn rustls::client::danger::ServerCertVerifier> = verifier.clone();
            let connection = channel::dial(&server.address, Some(tls), Some(as_verifier)).await?;
            let found = verifier.found();
            Ok((connection, found.map(|der| text::certificates([der.as_slice()]))))
        }
    }
}

fn refusal(status: &Status, unauthenticated: EnrolError, hint: &'static str) -> EnrolError {
    match status.code() {
        Code::Unauthenticated => unauthenticated,
        Code::Unimplemented => EnrolError::Unknown,
        code => {
            let hint = if is_decided_before(code) { "" } else { hint };
            EnrolError::Status { code, message: status.message().to_owned(), hint }
        }
    }
}

/// Whether it is decided before a use of the token is taken.
fn is_decided_before(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::ResourceExhausted | Code::FailedPrecondition | Code::PermissionDenied
    )
}

/// Checks that the certificate is for our key and our id.
fn accept(
    issued: v1::Issued,
    requested: Requested,
    record: Record,
    ca_pem: Option<String>,
) -> Result<Enrolment, EnrolError> {
    let own = issued.certificate_chain_der.first().ok_or(EnrolError::Answer("it has no certificate"))?;
    let certificate = Certificate::from_der(own).map_err(|error| match error {
        CertificateError::Unreadable => EnrolError::Answer("its certificate cannot be read"),
        CertificateError::NoAgent => EnrolError::Answer("its certificate names no team and agent"),
    })?;
    if certificate.public_key_der != requested.public_key_der {
        return Err(EnrolError::Answer("its certificate is for another key"));
    }
    if certificate.agent_id != record.agent_id {
        return Err(EnrolError::Answer("its certificate is for another agent"));
    }
    if certificate.team.as_str() != record.team {
        return Err(EnrolError::Answer("its certificate is for another team than it says"));
    }
    if certificate.not_after <= certificate.not_before {
        return Err(EnrolError::Answer("its certificate ends before it begins"));
    }
    if issued.collector_is_of_authority && issued.authorities_der.is_empty() {
        return Err(EnrolError::Answer("it names no authority"));
    }
    let all = |ders: &[Vec<u8>]| text::certificates(ders.iter().map(Vec::as_slice));
    Ok(Enrolment {
        certificate_pem: all(&issued.certificate_chain_der),
        authorities_pem: all(&issued.authorities_der),
        key_pem: requested.key_pem,
        record,
        certificate,
        ca_pem,
    })
}
