//! Connections to a destination: plain or TLS, HTTP/1.1 or HTTP/2, kept and used again.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use otlp::profile::Transport;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Body;
use crate::config::destination::Destination;

pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;
/// Stands for the certificates that were in the files for TLS. A key is not among it: it belongs to one of them.
pub(super) type FilesDigest = [u8; 32];

/// A host that does not answer a SYN in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that nobody uses is closed after this; load balancers do so after a minute and do not always say so.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// A black hole under an HTTP/2 connection is found by this (reliability.md B2).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A chain of certificates is a few KiB.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not the PEM that it should be. Says nothing of its content.
    #[error("{path} holds no usable {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// rustls refuses them.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Reads the files; connects to nothing.
pub(super) fn client(destination: &Destination) -> Result<(HttpClient, FilesDigest), ConnectError> {
    let mut seen = Sha256::new();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls(destination, &mut seen)?).https_or_http();
    let is_grpc = destination.transport == Transport::Grpc;
    let connector = if is_grpc {
        builder.enable_http2().wrap_connector(http)
    } else {
        builder.enable_http1().enable_http2().wrap_connector(http)
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .http2_only(is_grpc)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(destination.requests_in_flight_max)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .http2_keep_alive_timeout(KEEPALIVE_TIMEOUT);
    Ok((builder.build(connector), seen.finalize().into()))
}

fn tls(destination: &Destination, seen: &mut Sha256) -> Result<ClientConfig, ConnectError> {
    let builder = trusting_seen(destination.ca_file.as_deref(), seen)?;
    let Some(files) = &destination.client_certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&files.cert_file, seen)?;
    let key_pem = Zeroizing::new(read(&files.key_file)?);
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|_| ConnectError::Pem { path: files.key_file.clone(), what: "private key" })?;
    Ok(builder.with_client_auth_cert(chain, key)?)
}

/// TLS that trusts the authorities in a PEM file; the public ones if none is named.
pub(crate) fn trusting(
    ca_file: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConnectError> {
    trusting_seen(ca_file, &mut Sha256::new())
}

fn trusting_seen(
    ca_file: Option<&Path>,
    seen: &mut Sha256,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match ca_file {
        Some(path) => builder.with_root_certificates(roots(path, seen)?),
        None => builder.with_webpki_roots(),
    })
}

fn roots(path: &Path, seen: &mut Sha256) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, seen)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(path: &Path, seen: &mut Sha256) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = || ConnectError::Pem { path: path.to_owned(), what: "certificate" };
    let bytes = read(path)?;
    // With its length: files must not flow into each other.
    seen.update((bytes.len() as u64).to_le_bytes());
    seen.update(&bytes);
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|_| pem())?;
    if chain.is_empty() { Err(pem()) } else { Ok(chain) }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    let io_error = |source| ConnectError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io_error)?;
    file.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(bytes)
}
