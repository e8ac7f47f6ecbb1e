//! The collector's own authority: who issues the certificates of agents, and its own if it is told its names.
//!
//! ```text
//! first start ──> own authority, key in <data_dir>/authority/ (0600)
//!                   │ rotate: a new key; the old certificate stays trusted until the last one that it issued has ended
//!                   ▼
//! current ──> retired (trusted, issues nothing; its key is gone) ──> forgotten
//! ```
//!
//! **Rotating cuts nobody off.** Who trusts only the old authority is shown the new one signed by the old (a *bridge*), and
//! gets the new one with its next certificate.
//!
//! An authority that is brought along (`[server.authority] cert_file`, `key_file`) is read from its files and followed;
//! when they change, the one before stays trusted as long. The chain in its file is sent as it is. When it takes the place of
//! the collector's own, the own one signs a bridge to it, as its last.
//!
//! | what is wrong | what happens |
//! |---|---|
//! | the key's file can be read by others | the collector does not start |
//! | the files cannot be used while it runs | the authority before stays in use; logged and counted |
//! | the clock is before 1970 or the authority has ended | nothing is issued |

mod issue;
mod kept;
mod name;
mod reader;
mod request;
mod rotate;
#[cfg(test)]
mod tests;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster::clock::{Clock, WallTime};
use parking_lot::Mutex;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

pub use name::{AgentName, NotAName, PeerCertificate};
pub use reader::{NAME_BYTES_MAX, NAMES_MAX, NotAReader, ReaderCertificate, ReaderName};
pub use request::{ProvenKey, REQUEST_BYTES_MAX, RequestError};
pub use rotate::{Known, RetiredAuthority, Rotated, known, last_end, rotate};
pub(crate) use trust::{ClientTrust, Verifier};

use crate::config::{AuthoritySettings, TlsFiles};
use crate::record_file::{self, Edit, RecordFileError, Stamp};
use crate::tls::{self, TlsError};
use kept::{Kept, Retired};

/// An authority that issues.
#[derive(Debug)]
pub struct Authority {
    data_dir: PathBuf,
    settings: AuthoritySettings,
    clock: Arc<dyn Clock>,
    stamp: Mutex<Stamps>,
    current: ArcSwap<Current>,
    trust: Arc<ClientTrust>,
}

type Stamps = (Option<Stamp>, Option<tls::Stamp>);

/// The authority as it is now.
#[derive(Debug)]
struct Current {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    not_after: WallTime,
    /// What follows a certificate of ours on the wire: the authority, its own chain, and bridges from those before it.
    sent: Vec<CertificateDer<'static>>,
    /// It and those before it.
    trusted: Vec<CertificateDer<'static>>,
    /// When the next of those before is trusted no more.
    forgets_at: Option<WallTime>,
}

/// A certificate for an agent.
#[derive(Debug, Clone)]
pub struct Issued {
    /// DER, the agent's first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Every authority that is trusted now, DER.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The certificate's serial number in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub sha256: String,
    /// From when it is valid.
    pub not_before: WallTime,
    /// When it ends.
    pub not_after: WallTime,
}

/// Why the authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] RecordFileError),
    /// The files that were brought along.
    #[error("[server.authority]: {0}")]
    Brought(#[from] TlsError),
    /// Not a certificate that may issue others.
    #[error("{path} is no certificate of an authority: {problem}")]
    NotAnAuthority {
        /// Its file.
        path: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// Making or reading a certificate.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls refuses it.
    #[error("certificate cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// The system gives no random bytes.
    #[error("the system has no randomness for a key")]
    Randomness,
    /// No certificate can be made for this time.
    #[error("the clock shows a time that no certificate can have")]
    Clock,
    /// It has come to its end.
    #[error("the authority has ended; `muster authority rotate` makes a new one")]
    Ended,
    /// So many are still trusted.
    #[error("{0} authorities before this one are still trusted; rotate again when one of them is not")]
    TooMany(usize),
    /// It was brought along.
    #[error("[server.authority] names the files of this authority: replace those, and the collector follows")]
    BroughtAlong,
}

impl Authority {
    /// Reads it, and makes it if there is none.
    pub fn open(
        data_dir: &Path,
        settings: AuthoritySettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, AuthorityError> {
        let (stamp, current) = load(data_dir, &settings, clock.wall(), record_file::read)?;
        let trust = Arc::new(ClientTrust::new(&current.trusted)?);
        let (stamp, current) = (Mutex::new(stamp), ArcSwap::from_pointee(current));
        Ok(Arc::new(Self { data_dir: data_dir.to_owned(), settings, clock, stamp, current, trust }))
    }

    /// Issues an agent's certificate.
    pub fn issue(&self, name: &AgentName, key: &ProvenKey) -> Result<Issued, AuthorityError> {
        let (current, now) = self.living()?;
        let life = self.settings.certificate_life;
        let made = issue::of_agent(name, &key.0, &current.issuer, now, life, current.not_after)?;
        let chain = [std::slice::from_ref(&made.der), &current.sent].concat();
        Ok(Issued {
            chain,
            authorities: current.trusted.clone(),
            sha256: fingerprint(&made.der),
            serial: made.serial,
            not_before: made.not_before,
            not_after: made.not_after,
        })
    }

    /// Issues the collector's own certificate with a new key that is never written down, and says when half of its life
    /// is over.
    pub(crate) fn issue_own(&self, names: &[String]) -> Result<(CertifiedKey, WallTime), AuthorityError> {
        let (current, now) = self.living()?;
        let key = KeyPair::generate()?;
        let life = self.settings.certificate_life;
        let made = issue::of_server(names, &key, &current.issuer, now, life, current.not_after)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = ring::sign::any_supported_type(&der)?;
        let chain = [std::slice::from_ref(&made.der), &current.sent].concat();
        let half = made.not_after.since(now) / 2;
        let renew_at = WallTime(now.0.saturating_add(half.as_micros() as u64));
        Ok((CertifiedKey::new(chain, signing), renew_at))
    }

    /// SHA-256 of its certificate in hexadecimal digits: what `--ca-fingerprint` takes.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.current.load().certificate)
    }

    /// Whose certificates peers may show.
    pub(crate) fn trust(&self) -> Arc<ClientTrust> {
        self.trust.clone()
    }

    /// Looks at its files. `true`: it is another now, or trusts another.
    pub(crate) fn look(&self) -> Result<bool, AuthorityError> {
        self.look_by(record_file::read)
    }

    /// As [`Authority::look`], with how what is kept is read.
    fn look_by(&self, read: Read) -> Result<bool, AuthorityError> {
        let now = self.clock.wall();
        let is_due = self.current.load().forgets_at.is_some_and(|at| at <= now);
        let seen = stamps(&self.data_dir, &self.settings);
        if !is_due && seen == *self.stamp.lock() {
            return Ok(false);
        }
        let loaded = load(&self.data_dir, &self.settings, now, read).and_then(|(stamp, current)| {
            self.trust.replace(&current.trusted)?;
            Ok((stamp, current))
        });
        let (stamp, current) = loaded.inspect_err(|error| {
            // What is not valid is read again when it has changed; what could not be read at all, at the next look.
            if !error.is_passing() {
                *self.stamp.lock() = seen;
            }
        })?;
        *self.stamp.lock() = stamp;
        self.current.store(Arc::new(current));
        Ok(true)
    }

    fn living(&self) -> Result<(Arc<Current>, WallTime), AuthorityError> {
        let (current, now) = (self.current.load_full(), self.clock.wall());
        if current.not_after <= now { Err(AuthorityError::Ended) } else { Ok((current, now)) }
    }
}

/// SHA-256 of a certificate's DER in hexadecimal digits.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    sha256_hex(certificate)
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stamps(data_dir: &Path, settings: &AuthoritySettings) -> Stamps {
    (Stamp::of::<Kept>(data_dir), settings.files.as_ref().and_then(tls::Stamp::of))
}

/// How what is kept is read; another in tests, where it changes or fails in the middle.
type Read = fn(&Path) -> Result<Kept, RecordFileError>;

/// Reads what is kept, makes what is missing, notes what has been brought along. The stamps are from before that: what
/// changes meanwhile is seen at the next look.
fn load(
    data_dir: &Path,
    settings: &AuthoritySettings,
    now: WallTime,
    read: Read,
) -> Result<(Stamps, Current), AuthorityError> {
    let mut stamps = stamps(data_dir, settings);
    let mut kept = read(data_dir)?;
    let brought = settings.files.as_ref().map(Brought::read).transpose()?;
    let is_due = kept.retired.iter().any(|retired| retired.trusted_until_us <= now.0);
    let is_missing = brought.is_none() && kept.own.is_none();
    let is_other = brought.as_ref().map(|brought| &brought.pem) != kept.brought_pem.as_ref();
    if is_due || is_missing || is_other {
        let mut edit = Edit::<Kept>::open(data_dir)?;
        let until = rotate::last_end(data_dir, settings, now)?;
        rotate::note(&mut edit.document, brought.as_ref(), now, until)?;
        edit.save()?;
        // Nobody else changes it before the edit ends.
        stamps.0 = Stamp::of::<Kept>(data_dir);
        kept = edit.document;
    }
    let (key, chain) = match (brought, &kept.own) {
        (Some(brought), _) => (brought.key, brought.chain),
        (None, Some(own)) => {
            (KeyPair::from_pem(own.key_pem.expose())?, vec![certificate_of(&own.certificate_pem)?])
        }
        (None, None) => return Err(AuthorityError::Ended),
    };
    Ok((stamps, Current::of(key, chain, &kept.retired)?))
}

impl AuthorityError {
    /// Whether the same files may be usable at the next look.
    fn is_passing(&self) -> bool {
        match self {
            Self::File(RecordFileError::Io { source, .. }) => record_file::is_passing(source),
            Self::Brought(error) => error.is_passing(),
            _ => false,
        }
    }
}

impl Current {
    fn of(
        key: KeyPair,
        chain: Vec<CertificateDer<'static>>,
        retired: &[Retired],
    ) -> Result<Self, AuthorityError> {
        let certificate = chain.first().cloned().ok_or(AuthorityError::Ended)?;
        let mut trusted = vec![certificate.clone()];
        let mut sent = chain;
        for retired in retired {
            trusted.push(certificate_of(&retired.certificate_pem)?);
            if let Some(bridge) = &retired.bridge_pem {
                sent.push(certificate_of(bridge)?);
            }
        }
        let forgets_at = retired.iter().map(|retired| WallTime(retired.trusted_until_us)).min();
        let not_after = PeerCertificate::of(&certificate).not_after;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate, not_after, sent, trusted, forgets_at })
    }
}

/// An authority from files.
struct Brought {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    pem: String,
}

impl Brought {
    fn read(files: &TlsFiles) -> Result<Self, AuthorityError> {
        let (chain, key_der) = tls::read_pair(files)?;
        let key = KeyPair::try_from(&key_der)?;
        let refused = |problem| AuthorityError::NotAnAuthority { path: files.cert_file.clone(), problem };
        let first = chain.first().ok_or_else(|| refused("it is empty"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(first).map_err(|_| refused("it cannot be read"))?;
        if !parsed.is_ca() {
            return Err(refused("it may not issue others (basicConstraints CA)"));
        }
        if *parsed.public_key().subject_public_key.data != *key.der_bytes() {
            return Err(refused("the key in key_file is not its key"));
        }
        let pem = pem_of(first);
        Ok(Self { key, chain, pem })
    }
}

fn certificate_of(pem: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| rcgen::Error::CouldNotParseCertificate.into())
}

/// PEM as every tool writes it (RFC 7468).
pub fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
