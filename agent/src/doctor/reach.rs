//! How far towards the collector one gets: name, TCP, TLS, credential.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, WallTime};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use tonic::Code;
use tonic::transport::Uri;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::facts::{Credential, CredentialAnswer, Reached, Served, Tls};
use crate::config::is_loopback;
use crate::uplink::channel::{self, ChannelError};
use crate::uplink::knock::{Knocked, knock};
use crate::uplink::{ServerConfig, TokenSource};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Goes as far as it gets.
pub(super) async fn reach(server: &ServerConfig, clock: &dyn Clock) -> Reached {
    let is_tls = server.address.scheme_str() == Some("https");
    let mut reached = Reached {
        address: server.address.to_string(),
        connect_problem: None,
        tls: if is_tls {
            Tls::NotTried
        } else {
            Tls::Plaintext { is_loopback: is_loopback(&server.address) }
        },
        credential: credential(server),
        answer: CredentialAnswer::NotTried,
        skew_seconds: None,
    };
    let address = server.address.clone();
    let looked = tokio::task::spawn_blocking(move || {
        connect(&address).map(|stream| if is_tls { served(&address, stream) } else { None })
    });
    let served = match looked.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(served) => served,
        Err(problem) => {
            reached.connect_problem = Some(problem);
            return reached;
        }
    };
    match knock(server, clock.wall()).await {
        Ok(knocked) => {
            if is_tls {
                reached.tls = Tls::Spoken { served, problem: None };
            }
            reached.skew_seconds = knocked.date.as_deref().and_then(|date| skew(date, clock.wall()));
            reached.answer = answer(knocked);
        }
        Err(ChannelError::Connect { reason, .. }) if is_tls => {
            reached.tls = Tls::Spoken { served, problem: Some(reason) };
        }
        Err(ChannelError::Connect { reason, .. }) => reached.connect_problem = Some(reason),
        // The judge sees that it has ended.
        Err(ChannelError::CertificateEnded(_)) => reached.tls = Tls::Spoken { served, problem: None },
        Err(error) => reached.credential = Credential::Unusable(muster::reasons::reasons(&error)),
    }
    reached
}

fn credential(server: &ServerConfig) -> Credential {
    match (channel::enrolment(server), &server.token) {
        (Err(error), _) => Credential::Unusable(muster::reasons::reasons(&error)),
        (Ok(Some(held)), _) => Credential::Certificate {
            team: held.record.team,
            name: held.record.name,
            not_after: held.certificate.not_after,
        },
        (Ok(None), TokenSource::None) => Credential::None,
        (Ok(None), _) => Credential::Token,
    }
}

fn connect(address: &Uri) -> Result<TcpStream, String> {
    let host = bare_host(address);
    let port = address.port_u16().ok_or("it has no port")?;
    let resolved =
        (host, port).to_socket_addrs().map_err(|error| format!("the name {host} is not known: {error}"))?;
    let mut last = format!("the name {host} has no address");
    for target in resolved {
        match TcpStream::connect_timeout(&target, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{target}: {error}"),
        }
    }
    Err(last)
}

fn bare_host(address: &Uri) -> &str {
    address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn answer(knocked: Knocked) -> CredentialAnswer {
    match knocked.answer {
        Ok(()) => CredentialAnswer::Accepted,
        Err(status) if status.code() == Code::Unauthenticated => CredentialAnswer::Refused,
        // A refused certificate ends the connection; with TLS 1.3 that comes after the handshake.
        Err(status) if channel::innermost(&status).contains("received fatal alert") => {
            CredentialAnswer::Refused
        }
        Err(status) => {
            CredentialAnswer::Unclear(format!("{:?}: {}", status.code(), channel::innermost(&status)))
        }
    }
}

/// How far `now` is before what the collector says, in whole seconds.
fn skew(date: &str, now: WallTime) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let ours = i64::try_from(now.0 / 1_000_000).ok()?;
    Some(ours - theirs.as_second())
}

/// The certificate that the collector shows. Whether it is trusted is not decided here: the handshake is given up when it is
/// there.
fn served(address: &Uri, mut stream: TcpStream) -> Option<Served> {
    let look = Arc::new(Look::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(look.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(bare_host(address).to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT)).ok()?;
    // Always an error: `Look` ends it.
    let _ = handshake(&mut connection, &mut stream);
    let der = look.0.lock().take()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let second = |at: i64| WallTime(u64::try_from(at).unwrap_or(0).saturating_mul(1_000_000));
    Some(Served {
        issuer: parsed.issuer().to_string(),
        not_before: second(parsed.validity().not_before.timestamp()),
        not_after: second(parsed.validity().not_after.timestamp()),
    })
}

fn handshake(connection: &mut ClientConnection, stream: &mut (impl Read + Write)) -> io::Result<()> {
    while connection.is_handshaking() {
        connection.complete_io(stream)?;
    }
    Ok(())
}

/// Keeps the certificate that it sees, and accepts none.
#[derive(Debug, Default)]
struct Look(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock() = Some(end_entity.to_vec());
        Err(Error::General("only looked at".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only looked at".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only looked at".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_tells_how_far_our_clock_is_off() {
        let noon = WallTime(1_771_588_800_000_000);
        assert_eq!(skew("Fri, 20 Feb 2026 12:00:00 GMT", noon), Some(0));
        assert_eq!(skew("Fri, 20 Feb 2026 11:50:00 GMT", noon), Some(600));
        assert_eq!(skew("Fri, 20 Feb 2026 12:00:09 GMT", noon), Some(-9));
        assert_eq!(skew("yesterday", noon), None);
    }

    #[test]
    fn a_name_that_nobody_knows_and_a_port_where_nobody_listens_are_told_apart() {
        let problem = |address: &str| connect(&address.parse().expect("address")).expect_err("unreachable");
        assert!(problem("https://no-such-host.invalid:4317").contains("is not known"));
        assert!(problem("https://127.0.0.1:1").contains("127.0.0.1:1: "));
    }
}
