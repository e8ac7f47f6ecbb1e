//! Who reads the pages with a certificate: one of an authority that the operator names, and of a name that he lists
//! (`http_client_ca_file`, `[[server.http_client]]`).
//!
//! This authority is trusted by the listener of the pages alone. Which authority has issued a certificate says whose it is, and
//! never its name:
//!
//! | issued by | at the pages | at every other port |
//! |---|---|---|
//! | the own authority ([`crate::authority`]) | an agent's, which reads nothing | an agent's |
//! | the readers' authority, a name is listed | reads as the first entry that has one of its names says | no handshake |
//! | the readers' authority, no name is listed | not accepted | no handshake |
//! | both, or one that both go back to | an agent's | an agent's |
//! | another | no handshake | no handshake |
//!
//! List and authority are judged anew at each request, so that a name that is taken out reads nothing more, on a connection
//! that is open or resumed too. A file that cannot be used leaves the authorities from before; it is logged and counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster::clock::WallTime;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::{ClientTrust, PeerCertificate, ReaderCertificate, ReaderName, Verifier};
use crate::config::HttpClients;
use crate::credentials::Sight;
use crate::figures::{Figures, Reload};
use crate::record_file::Stamp;
use crate::tls::{TlsError, read_certificates};

/// Authorities in the file: old and new ones of a company, and not the whole public web.
pub const AUTHORITIES_MAX: usize = 64;

/// Who reads with a certificate now.
#[derive(Debug)]
pub struct Readers {
    agents: Arc<ClientTrust>,
    source: Mutex<Source>,
    current: ArcSwap<Current>,
}

/// Where it is from, and by what is seen that the file is another.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    settings: Option<HttpClients>,
    stamp: Option<Stamp>,
}

#[derive(Debug)]
struct Current {
    /// `None`: no authority is named.
    authorities: Option<Verifier>,
    /// With the place in the list: the first entry goes before.
    listed: BTreeMap<ReaderName, (usize, Sight)>,
}

/// Settings whose file has been read, to be put in force.
#[derive(Debug)]
pub(crate) struct Prepared(Source, Current);

impl Prepared {
    /// Reads the file. Nothing is in force yet.
    pub(crate) fn read(settings: Option<HttpClients>) -> Result<Self, TlsError> {
        // The stamp is taken first: a change while it is read is seen at the next look.
        let stamp = settings.as_ref().and_then(|settings| Stamp::of_file(&settings.ca_file));
        let current = Current::of(settings.as_ref())?;
        Ok(Self(Source { settings, stamp }, current))
    }
}

impl Readers {
    /// Beside the authorities of agents.
    pub(crate) fn new(agents: Arc<ClientTrust>, prepared: Prepared) -> Arc<Self> {
        let Prepared(source, current) = prepared;
        Arc::new(Self { agents, source: Mutex::new(source), current: ArcSwap::from_pointee(current) })
    }

    /// Puts settings in force. `true`: they, or the file, are others than before.
    pub(crate) fn set(&self, prepared: Prepared) -> bool {
        let Prepared(source, current) = prepared;
        let mut held = self.source.lock();
        let is_other = *held != source;
        *held = source;
        self.current.store(Arc::new(current));
        is_other
    }

    /// Looks at the file. `true`: other authorities are in force.
    pub(crate) fn look(&self, figures: &Figures) -> bool {
        let mut source = self.source.lock();
        let Some(settings) = source.settings.clone() else { return false };
        let seen = Stamp::of_file(&settings.ca_file);
        if seen == source.stamp {
            return false;
        }
        match Current::of(Some(&settings)) {
            Ok(current) => {
                source.stamp = seen;
                self.current.store(Arc::new(current));
                figures.reloads.add(Reload::HttpClientCaApplied, 1);
                tracing::info!("authorities of those who read the pages with a certificate exchanged");
                true
            }
            Err(error) => {
                // What is not valid is read again when it has changed; what could not be read at all, at the next look.
                if !error.is_passing() {
                    source.stamp = seen;
                }
                figures.reloads.add(Reload::HttpClientCaRefused, 1);
                tracing::warn!(%error, "the authorities from before stay in use");
                false
            }
        }
    }

    /// Whether a certificate that was accepted is an agent's: one of the own authority, as of its end if that has come.
    pub(crate) fn is_agents(
        &self,
        certificate: &PeerCertificate,
        chain: &[CertificateDer<'_>],
        now: WallTime,
    ) -> bool {
        self.agents.has_issued(chain, now.min(certificate.not_after))
    }

    /// By which name its owner reads, and what.
    pub(crate) fn admit(&self, shown: &ReaderCertificate, now: WallTime) -> Option<(ReaderName, Sight)> {
        let current = self.current.load();
        let (name, sight) = current.listed(shown)?;
        // Verified in the handshake; but the connection may have outlived the authority, or been resumed.
        let is_of_authority = current.authorities.as_ref()?.has_issued(&shown.chain, now);
        is_of_authority.then(|| (name.clone(), sight.clone()))
    }

    /// By which name its owner would read.
    pub(crate) fn name_of(&self, shown: &ReaderCertificate) -> Option<ReaderName> {
        self.current.load().listed(shown).map(|(name, _)| name.clone())
    }
}

impl Current {
    fn of(settings: Option<&HttpClients>) -> Result<Self, TlsError> {
        let Some(settings) = settings else { return Ok(Self { authorities: None, listed: BTreeMap::new() }) };
        let authorities =
            authorities(&settings.ca_file).map_err(|error| TlsError::HttpClients(error.into()))?;
        let entries = settings.listed.iter().enumerate();
        let listed = entries.map(|(at, (name, sight))| (name.clone(), (at, sight.clone()))).collect();
        Ok(Self { authorities: Some(authorities), listed })
    }

    /// The first entry that has one of its names.
    fn listed<'a>(&self, shown: &'a ReaderCertificate) -> Option<(&'a ReaderName, &Sight)> {
        let entries = shown.names.iter().filter_map(|name| Some((name, self.listed.get(name)?)));
        entries.min_by_key(|(_, (at, _))| *at).map(|(name, (_, sight))| (name, sight))
    }
}

/// Reads a file of authorities, for who checks a configuration as well.
pub(crate) fn authorities(path: &Path) -> Result<Verifier, TlsError> {
    let refused = |problem: String| TlsError::NoAuthority { path: path.to_owned(), problem };
    let certificates = read_certificates(path)?;
    if certificates.len() > AUTHORITIES_MAX {
        return Err(refused(format!("more than {AUTHORITIES_MAX} certificates")));
    }
    for (at, certificate) in certificates.iter().enumerate() {
        let parsed = x509_parser::parse_x509_certificate(certificate);
        if !parsed.is_ok_and(|(_, parsed)| parsed.is_ca()) {
            return Err(refused(format!(
                "certificate {} may not issue others (basicConstraints CA)",
                at + 1
            )));
        }
    }
    Verifier::of(&certificates).map_err(|error| refused(error.to_string()))
}

impl ClientCertVerifier for Readers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None, as at the other ports.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let of_agents = self.agents.verify_client_cert(end_entity, intermediates, now);
        let current = self.current.load();
        match (of_agents, &current.authorities) {
            // The other errors say more: that it is the own authority's, and what is wrong with it.
            (Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)), Some(authorities)) => {
                authorities.verify(end_entity, intermediates, now)
            }
            (Err(error), Some(authorities)) => {
                authorities.verify(end_entity, intermediates, now).map_err(|_| error)
            }
            (of_agents, _) => of_agents,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.agents.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.agents.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.agents.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
