//! Whose certificates peers may show, exchangeable while listeners run.
//!
//! A peer without a certificate is let in: its token says who it is. One whose certificate no trusted authority issued, or
//! whose certificate has ended, is not: its handshake fails.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster::clock::WallTime;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

/// The authorities that are trusted now.
#[derive(Debug)]
pub(crate) struct ClientTrust {
    current: ArcSwap<Verifier>,
}

/// Whether certificates are of certain authorities.
#[derive(Debug)]
pub(crate) struct Verifier(Arc<dyn ClientCertVerifier>);

impl ClientTrust {
    /// Trusts these.
    pub(crate) fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, Error> {
        Ok(Self { current: ArcSwap::from_pointee(Verifier::of(authorities)?) })
    }

    /// Trusts these from the next handshake on.
    pub(crate) fn replace(&self, authorities: &[CertificateDer<'static>]) -> Result<(), Error> {
        self.current.store(Arc::new(Verifier::of(authorities)?));
        Ok(())
    }

    /// Whether one of them has issued this certificate, as of that time.
    pub(crate) fn has_issued(&self, chain: &[CertificateDer<'_>], at: WallTime) -> bool {
        self.current.load().has_issued(chain, at)
    }
}

impl Verifier {
    /// Of these.
    pub(crate) fn of(authorities: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let built = builder.allow_unauthenticated().build();
        Ok(Self(built.map_err(|error| Error::General(error.to_string()))?))
    }

    /// Whether one of them has issued the first of these for a client, through the others, as of that time.
    pub(crate) fn has_issued(&self, chain: &[CertificateDer<'_>], at: WallTime) -> bool {
        let at = UnixTime::since_unix_epoch(Duration::from_micros(at.0));
        chain.split_first().is_some_and(|(first, others)| self.verify(first, others, at).is_ok())
    }

    /// As in a handshake.
    pub(crate) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(end_entity, intermediates, now)
    }
}

impl ClientCertVerifier for ClientTrust {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: they would be those of the listener's start, and a peer has one certificate for us at most.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current.load().verify(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.load().0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.load().0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}
