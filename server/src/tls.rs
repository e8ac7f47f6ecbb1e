//! The collector's certificate: from PEM files, or issued by its own authority; exchanged while it runs.
//!
//! Connections ask [`Certificate`] for the key at each handshake, so a new one needs no restart and cuts no stream. A
//! pair of files that cannot be used at start is an error; one that cannot be used later leaves the old one in place,
//! is logged with its reason and counted. One of the own authority is issued anew when half of its life is over, and when
//! the authority is another.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster::clock::{Clock, WallTime};
use muster::private_file;
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::{Authority, AuthorityError};
use crate::config::{TlsFiles, TlsSource};
use crate::figures::{Figures, Reload};
use crate::record_file;

/// How often files and authority are looked at: a rotated one is used within seconds, and the cost is a few `stat`s.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A chain of certificates is a few KiB.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// A certificate that follows its files or its authority.
#[derive(Debug)]
pub struct Certificate {
    source: Mutex<TlsSource>,
    age: Mutex<Age>,
    key: ArcSwap<CertifiedKey>,
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
}

/// By what is seen that another certificate is due.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Age {
    /// When the files are others. `None` while one is missing, which is never equal to a loaded one's.
    Files(Option<Stamp>),
    /// At a time.
    RenewAt(WallTime),
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner can read the key.
    #[error("private key {path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    LooseKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not the PEM that it should be. Says nothing of its content.
    #[error("{path} holds no usable {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate in {path}")]
    Mismatch {
        /// The certificate's file.
        path: PathBuf,
    },
    /// rustls refuses them.
    #[error("certificate cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
    /// A file does not say whose certificates are taken.
    #[error("{path} cannot say whose certificates read the pages: {problem}")]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The authorities of those who read the pages with a certificate.
    #[error("server.http_client_ca_file: {0}")]
    HttpClients(#[source] Box<TlsError>),
    /// The own authority does not issue it.
    #[error("the collector's own certificate: {0}")]
    NotIssued(String),
}

impl TlsError {
    /// Whether the same files may be usable at the next look.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Io { source, .. } => record_file::is_passing(source),
            Self::HttpClients(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// By what is seen that one of both files is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([record_file::Stamp; 2]);

impl Certificate {
    /// Loads the files, or has the certificate issued.
    pub fn open(
        source: TlsSource,
        authority: Arc<Authority>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TlsError> {
        let (key, age) = obtain(&source, &authority)?;
        let (source, age, key) = (Mutex::new(source), Mutex::new(age), ArcSwap::from_pointee(key));
        Ok(Arc::new(Self { source, age, key, authority, clock }))
    }

    /// Settings of a listener that speaks `protocols` (ALPN). Peers may show certificates that `trust` accepts.
    pub(crate) fn server_config(
        self: &Arc<Self>,
        protocols: &[&str],
        trust: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_client_cert_verifier(trust);
        let mut config = builder.with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Who issues the agents' certificates, and this one if it has names.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Whether the own authority issues it.
    pub fn is_of_authority(&self) -> bool {
        matches!(*self.source.lock(), TlsSource::Names(_))
    }

    /// Obtains it again, from elsewhere if the configuration says so. An error leaves the old certificate.
    pub fn reload(&self, source: Option<TlsSource>) -> Result<(), TlsError> {
        let source = source.unwrap_or_else(|| self.source.lock().clone());
        let seen = match &source {
            TlsSource::Files(files) => Some(Age::Files(Stamp::of(files))),
            TlsSource::Names(_) => None,
        };
        let (key, age) = obtain(&source, &self.authority).inspect_err(|error| {
            // Files that cannot be used are tried again when they have changed, and not each second.
            if let Some(seen) = seen.filter(|_| !error.is_passing()) {
                *self.age.lock() = seen;
            }
        })?;
        *self.age.lock() = age;
        *self.source.lock() = source;
        self.key.store(Arc::new(key));
        Ok(())
    }

    /// Looks at files and authority every [`POLL_INTERVAL`], for ever.
    pub async fn follow(self: Arc<Self>, figures: Arc<Figures>) {
        let mut timer = tokio::time::interval(POLL_INTERVAL);
        loop {
            timer.tick().await;
            // Keys are made and files are synced: not on a thread that serves.
            let (this, figures) = (self.clone(), figures.clone());
            if tokio::task::spawn_blocking(move || this.look(&figures)).await.is_err() {
                tracing::error!("looking at the certificate panicked");
            }
        }
    }

    fn look(&self, figures: &Figures) {
        let is_other = self.authority.look().unwrap_or_else(|error| {
            figures.reloads.add(Reload::AuthorityRefused, 1);
            tracing::warn!(%error, "the authority cannot be read, the one before stays in use");
            false
        });
        if is_other {
            figures.reloads.add(Reload::AuthorityApplied, 1);
            tracing::info!(fingerprint = self.authority.fingerprint(), "authority changed");
        }
        let is_due = match (&*self.source.lock(), &*self.age.lock()) {
            (TlsSource::Files(files), Age::Files(stamp)) => Stamp::of(files) != *stamp,
            (TlsSource::Names(_), Age::RenewAt(at)) => is_other || self.clock.wall() >= *at,
            _ => true,
        };
        if !is_due {
            return;
        }
        match self.reload(None) {
            Ok(()) => {
                figures.reloads.add(Reload::TlsApplied, 1);
                tracing::info!("certificate exchanged");
            }
            Err(error) => {
                figures.reloads.add(Reload::TlsRefused, 1);
                tracing::warn!(%error, "new certificate refused, the old one stays in use");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

impl Stamp {
    /// `None` while a file is missing.
    pub(crate) fn of(files: &TlsFiles) -> Option<Self> {
        let look = record_file::Stamp::of_file;
        Some(Self([look(&files.cert_file)?, look(&files.key_file)?]))
    }
}

fn obtain(source: &TlsSource, authority: &Authority) -> Result<(CertifiedKey, Age), TlsError> {
    match source {
        TlsSource::Files(files) => {
            // The stamp is taken first: a change while they are read is seen at the next look.
            let stamp = Stamp::of(files);
            Ok((load(files)?, Age::Files(stamp)))
        }
        TlsSource::Names(names) => {
            let issued = authority.issue_own(names);
            let (key, renew_at) =
                issued.map_err(|error: AuthorityError| TlsError::NotIssued(error.to_string()))?;
            Ok((key, Age::RenewAt(renew_at)))
        }
    }
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = read_pair(files)?;
    let refused = |_| TlsError::Pem { path: files.key_file.clone(), what: "private key" };
    let signing = ring::sign::any_supported_type(&key).map_err(refused)?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { path: files.cert_file.clone() }),
        Err(error) => Err(error.into()),
    }
}

/// A chain of certificates that is not empty, and a private key that nobody else can read.
pub(crate) fn read_pair(
    files: &TlsFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates(&files.cert_file)?;
    let key_pem = zeroize_on_drop(read_bounded(&files.key_file, |file| refuse_loose(file, &files.key_file))?);
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|_| TlsError::Pem { path: files.key_file.clone(), what: "private key" })?;
    Ok((chain, key))
}

/// The certificates in a file, one at least.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    let text = read_bounded(path, |_| Ok(()))?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| pem())?;
    if certificates.is_empty() { Err(pem()) } else { Ok(certificates) }
}

fn read_bounded(path: &Path, check: impl Fn(&File) -> Result<(), TlsError>) -> Result<Vec<u8>, TlsError> {
    let io_error = |source| TlsError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    check(&file)?;
    let mut bytes = Vec::new();
    file.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(bytes)
}

fn zeroize_on_drop(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}

fn refuse_loose(file: &File, path: &Path) -> Result<(), TlsError> {
    let loose = private_file::loose_mode(file);
    match loose.map_err(|source| TlsError::Io { path: path.to_owned(), source })? {
        Some(mode) => Err(TlsError::LooseKey { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthoritySettings;
    use muster::atomic_file::{Access, replace};
    use muster::clock::SystemClock;

    fn open(folder: &Path, files: &TlsFiles) -> Result<Arc<Certificate>, TlsError> {
        let clock = Arc::new(SystemClock::new());
        let authority = Authority::open(folder, AuthoritySettings::default(), clock.clone());
        Certificate::open(TlsSource::Files(files.clone()), authority.expect("made"), clock)
    }

    fn issue(folder: &Path) -> TlsFiles {
        let files = TlsFiles { cert_file: folder.join("cert.pem"), key_file: folder.join("key.pem") };
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
        replace(&files.cert_file, issued.cert.pem().as_bytes(), Access::Umask).expect("write");
        replace(&files.key_file, issued.signing_key.serialize_pem().as_bytes(), Access::Owner)
            .expect("write");
        files
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_leaves_the_old() {
        let folder = tempfile::tempdir().expect("folder");
        let files = issue(folder.path());
        let certificate = open(folder.path(), &files).expect("valid");
        let first = certificate.key.load_full();
        issue(folder.path());
        certificate.reload(None).expect("valid");
        let second = certificate.key.load_full();
        assert_ne!(first.cert, second.cert);

        replace(&files.cert_file, b"not a certificate", Access::Umask).expect("write");
        assert!(matches!(certificate.reload(None), Err(TlsError::Pem { .. })));
        assert_eq!(certificate.key.load_full().cert, second.cert);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let mut files = issue(one.path());
        files.key_file = issue(two.path()).key_file;
        assert!(matches!(open(one.path(), &files), Err(TlsError::Mismatch { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_taken_when_the_command_that_helps_has_been_run() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let files = issue(folder.path());
        let certificate = open(folder.path(), &files).expect("valid");
        let first = certificate.key.load_full();
        let figures = crate::telemetry::detached_figures();
        let mode = |mode| std::fs::set_permissions(&files.key_file, std::fs::Permissions::from_mode(mode));
        issue(folder.path());
        mode(0o644).expect("chmod");
        certificate.look(&figures);
        certificate.look(&figures);
        assert_eq!(certificate.key.load().cert, first.cert);
        assert_eq!(figures.reloads.value(Reload::TlsRefused), 1, "told once");
        mode(0o600).expect("chmod");
        certificate.look(&figures);
        assert_ne!(certificate.key.load().cert, first.cert, "the new one is still not in use");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let files = issue(folder.path());
        std::fs::set_permissions(&files.key_file, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = open(folder.path(), &files).expect_err("loose").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
