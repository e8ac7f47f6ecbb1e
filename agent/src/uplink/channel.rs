//! Reaching the collector: address, TLS, credential.

use std::path::PathBuf;
use std::time::Duration;

use muster::credential::{Token, TokenError};
use muster::reasons::plainly;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

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

/// Opens a connection.
pub(super) async fn connect(server: &ServerConfig) -> Result<Channel, ChannelError> {
    let address = server.address.to_string();
    let refused = |error: tonic::transport::Error| ChannelError::Connect {
        address: address.clone(),
        reason: innermost(&error),
    };
    let mut endpoint = Endpoint::from(server.address.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    if server.address.scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(server)?).map_err(refused)?;
    }
    endpoint.connect().await.map_err(refused)
}

/// The header that carries the token; `None` without one.
pub(super) fn authorization(source: &TokenSource) -> Result<Option<MetadataValue<Ascii>>, ChannelError> {
    let token = match source {
        TokenSource::None => return Ok(None),
        TokenSource::File(path) => Token::from_file(path)?,
        TokenSource::Given(token) => token.clone(),
    };
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {}", token.expose()).parse().map_err(|_| TokenError::Malformed)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn tls(server: &ServerConfig) -> Result<ClientTlsConfig, ChannelError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &server.ca_file {
        Some(path) => {
            let pem =
                std::fs::read(path).map_err(|source| ChannelError::CaFile { path: path.clone(), source })?;
            tls.ca_certificate(Certificate::from_pem(pem))
        }
        None => tls.with_webpki_roots(),
    };
    Ok(match &server.tls_name {
        Some(name) => tls.domain_name(name),
        None => tls,
    })
}

/// The last link of an error's chain says what happened ("connection refused"); the first ones only where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    plainly(inner.to_string())
}
