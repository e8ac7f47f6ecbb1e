//! Reaching the collector: address, TLS, credential.
//!
//! The credential of an enrolled agent is its certificate, and no token is sent with it. A token is used before the agent is
//! enrolled, and when the configuration names one and another collector than the one that the agent is enrolled with. All
//! files are read again at each connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::WallTime;
use muster::credential::{Token, TokenError, TokenKind};
use muster::reasons::plainly;
use rustls::client::danger::ServerCertVerifier;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::enrol::{Enrolment, Store, StoreError, renewal};

/// Where the collector is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `http://host:4317` or `https://host:4317`.
    pub address: Uri,
    /// Read again at each connection, so that a rotated token needs no restart.
    pub token: TokenSource,
    /// PEM of the CA that signed the collector's certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The name in the certificate, if it is not the address's.
    pub tls_name: Option<String>,
    /// Where the agent's own certificate is, once it is enrolled.
    pub enrolment: Store,
}

/// A connection with its credential.
#[derive(Debug)]
pub(super) struct Connection {
    /// The connection.
    pub channel: Channel,
    /// The header that carries the token; `None` without one.
    pub authorization: Option<MetadataValue<Ascii>>,
    /// The certificate that is shown.
    pub shown: Option<Shown>,
}

/// A certificate that is shown to the collector.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Its number.
    pub serial: String,
    /// Nobody accepts it after.
    pub not_after: WallTime,
}

/// Where the token comes from. Never from argv.
#[derive(Debug, Clone, Default)]
pub enum TokenSource {
    /// None: a collector on loopback needs none.
    #[default]
    None,
    /// A file that only its owner can read.
    File(PathBuf),
    /// From `MUSTER_TOKEN`, read once.
    Given(Token),
}

/// Why the collector cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The token's file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The CA's file.
    #[error("cannot read ca_file {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The agent's own certificate.
    #[error(transparent)]
    Enrolment(#[from] StoreError),
    /// The agent's own certificate is too old to be accepted.
    #[error("{}", renewal::ended(*.0))]
    CertificateEnded(WallTime),
    /// Name resolution, TCP or TLS.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// The address as configured.
        address: String,
        /// The innermost reason.
        reason: String,
    },
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent peer is noticed within the sum of both (reliability.md row B2).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Verdicts are small; batches go the other way, where the collector's windows count.
const WINDOW_BYTES: u32 = 256 << 10;

/// Opens a connection. `now` tells what a refusal may come of.
pub(super) async fn connect(server: &ServerConfig, now: WallTime) -> Result<Connection, ChannelError> {
    let enrolment = enrolment(server)?;
    let is_tls = server.address.scheme_str() == Some("https");
    let tls = is_tls.then(|| tls(server, enrolment.as_ref())).transpose()?;
    let channel = match (dial(&server.address, tls, None).await, &enrolment) {
        (Err(_), Some(held)) if now >= held.certificate.not_after => {
            return Err(ChannelError::CertificateEnded(held.certificate.not_after));
        }
        (dialled, _) => dialled?,
    };
    let authorization = if enrolment.is_some() { None } else { authorization(&server.token)? };
    let shown = enrolment
        .map(|held| Shown { serial: held.certificate.serial, not_after: held.certificate.not_after });
    Ok(Connection { channel, authorization, shown })
}

/// The enrolment that is the credential for this collector, if any.
pub(crate) fn enrolment(server: &ServerConfig) -> Result<Option<Enrolment>, ChannelError> {
    if server.address.scheme_str() != Some("https") {
        return Ok(None);
    }
    Ok(server.enrolment.load()?.filter(|held| server.is_credential(held)))
}

impl ServerConfig {
    /// The collector of an enrolment, when the configuration names none or another.
    pub(crate) fn of_enrolment(held: &Enrolment, store: &Store) -> Option<Self> {
        Some(Self {
            address: held.record.server.parse().ok()?,
            token: TokenSource::None,
            ca_file: None,
            tls_name: None,
            enrolment: store.clone(),
        })
    }

    /// Whether `held` is what is shown to this collector.
    pub(crate) fn is_credential(&self, held: &Enrolment) -> bool {
        let has_token = !matches!(self.token, TokenSource::None);
        let is_tls = self.address.scheme_str() == Some("https");
        is_tls && (!has_token || held.record.server == self.address.to_string())
    }
}

/// Connects to an address, with `verifier` in place of the usual verification of the server's certificate.
pub(crate) async fn dial(
    address: &Uri,
    tls: Option<ClientTlsConfig>,
    verifier: Option<Arc<dyn ServerCertVerifier>>,
) -> Result<Channel, ChannelError> {
    let refused = |error: tonic::transport::Error| ChannelError::Connect {
        address: address.to_string(),
        reason: innermost(&error),
    };
    let endpoint = Endpoint::from(address.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    let endpoint = match (tls, verifier) {
        (None, _) => endpoint,
        (Some(tls), None) => endpoint.tls_config(tls).map_err(refused)?,
        (Some(tls), Some(verifier)) => endpoint.tls_config_with_verifier(tls, verifier).map_err(refused)?,
    };
    endpoint.connect().await.map_err(refused)
}

fn authorization(source: &TokenSource) -> Result<Option<MetadataValue<Ascii>>, ChannelError> {
    let token = match source {
        TokenSource::None => return Ok(None),
        TokenSource::File(path) => Token::from_file(path)?.must_be(TokenKind::Access)?,
        TokenSource::Given(token) => token.clone(),
    };
    Ok(Some(bearer(&token)?))
}

/// The header that a token travels in.
pub(crate) fn bearer(token: &Token) -> Result<MetadataValue<Ascii>, TokenError> {
    let header = SecretString::from(format!("Bearer {}", token.expose()));
    let mut value: MetadataValue<Ascii> =
        header.expose_secret().parse().map_err(|_| TokenError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whom to trust, and whom to be. Trusted is what the configuration names and what the enrolment named; without either the
/// public authorities.
pub(crate) fn tls(server: &ServerConfig, held: Option<&Enrolment>) -> Result<ClientTlsConfig, ChannelError> {
    let mut trusted = Vec::new();
    if let Some(path) = &server.ca_file {
        trusted
            .push(std::fs::read(path).map_err(|source| ChannelError::CaFile { path: path.clone(), source })?);
    }
    if let Some(held) = held {
        if held.record.collector_is_of_authority {
            trusted.push(held.authorities_pem.clone().into_bytes());
        } else if trusted.is_empty() {
            trusted.extend(held.ca_pem.clone().map(String::into_bytes));
        }
    }
    let mut tls = ClientTlsConfig::new();
    tls = match trusted.is_empty() {
        true => tls.with_webpki_roots(),
        false => tls.ca_certificates(trusted.into_iter().map(Certificate::from_pem)),
    };
    if let Some(held) = held {
        tls = tls.identity(Identity::from_pem(&held.certificate_pem, held.key_pem.expose_secret()));
    }
    let tls_name = server.tls_name.as_ref().or(held.and_then(|held| held.record.tls_name.as_ref()));
    Ok(match tls_name {
        Some(name) => tls.domain_name(name),
        None => tls,
    })
}

/// The last link of an error's chain says what happened ("connection refused"); the first ones only where.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    // rustls says this before what a verifier of ours says.
    plainly(inner.to_string().trim_start_matches("unexpected error: ").to_owned())
}
