//! The collector's certificate: PEM files, reloaded while it runs.
//!
//! Connections ask [`Certificate`] for the key at each handshake, so a new one needs no restart and cuts no stream. A
//! pair of files that cannot be used at start is an error; one that cannot be used later leaves the old one in place,
//! is logged with its reason and counted.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use muster::private_file;
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::figures::{Figures, Reload};

/// How often the files are looked at: a rotated certificate is used within seconds, and the cost is two `stat`s.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// A chain of certificates is a few KiB.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// A certificate that follows its files.
#[derive(Debug)]
pub struct Certificate {
    files: Mutex<TlsFiles>,
    stamp: Mutex<Option<Stamp>>,
    key: ArcSwap<CertifiedKey>,
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
}

/// When and how large: enough to see that a file is another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp([(Option<SystemTime>, u64); 2]);

impl Certificate {
    /// Loads the files.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let stamp = Stamp::of(&files);
        let key = load(&files)?;
        Ok(Arc::new(Self {
            files: Mutex::new(files),
            stamp: Mutex::new(stamp),
            key: ArcSwap::from_pointee(key),
        }))
    }

    /// Settings of a listener that speaks `protocol` (ALPN).
    pub fn server_config(
        self: &Arc<Self>,
        protocols: &[&str],
    ) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Reads the files again, from other paths if the configuration names others. An error leaves the old certificate.
    pub fn reload(&self, files: Option<TlsFiles>) -> Result<(), TlsError> {
        let files = files.unwrap_or_else(|| self.files.lock().clone());
        // The stamp is taken first: a change while they are read is seen at the next look.
        let stamp = Stamp::of(&files);
        *self.stamp.lock() = stamp;
        let key = load(&files)?;
        *self.files.lock() = files;
        self.key.store(Arc::new(key));
        Ok(())
    }

    /// Looks at the files every [`POLL_INTERVAL`], for ever.
    pub async fn follow(self: Arc<Self>, figures: Arc<Figures>) {
        let mut timer = tokio::time::interval(POLL_INTERVAL);
        loop {
            timer.tick().await;
            if Stamp::of(&self.files.lock()) == *self.stamp.lock() {
                continue;
            }
            match self.reload(None) {
                Ok(()) => {
                    figures.reloads.add(Reload::TlsApplied, 1);
                    tracing::info!("certificate reloaded");
                }
                Err(error) => {
                    figures.reloads.add(Reload::TlsRefused, 1);
                    tracing::warn!(%error, "new certificate refused, the old one stays in use");
                }
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
    /// `None` while a file is missing, which is never equal to a loaded one's.
    fn of(files: &TlsFiles) -> Option<Self> {
        let look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok(), metadata.len()))
        };
        Some(Self([look(&files.cert_file)?, look(&files.key_file)?]))
    }
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path, what| TlsError::Pem { path: path.to_owned(), what };
    let chain_pem = read_bounded(&files.cert_file, |_| Ok(()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|_| pem(&files.cert_file, "certificate"))?;
    if chain.is_empty() {
        return Err(pem(&files.cert_file, "certificate"));
    }
    let key_pem = zeroize_on_drop(read_bounded(&files.key_file, |file| refuse_loose(file, &files.key_file))?);
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| pem(&files.key_file, "private key"))?;
    let signing = ring::sign::any_supported_type(&key).map_err(|_| pem(&files.key_file, "private key"))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { path: files.cert_file.clone() }),
        Err(error) => Err(error.into()),
    }
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
    use muster::atomic_file::{Access, replace};

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
        let certificate = Certificate::open(files.clone()).expect("valid");
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
        assert!(matches!(Certificate::open(files), Err(TlsError::Mismatch { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let files = issue(folder.path());
        std::fs::set_permissions(&files.key_file, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = Certificate::open(files).expect_err("loose").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
