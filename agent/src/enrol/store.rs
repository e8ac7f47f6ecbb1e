//! The files of an enrolment.
//!
//! ```text
//! <state_dir>/enrolment/                 0700
//!     key.pem            0600            the private key
//!     certificate.pem                    the agent's certificate, then what stands between it and its authority
//!     authorities.pem                    whom the collector's certificate may come from now
//!     ca.pem                             what was trusted at the first contact, if not the public authorities
//!     enrolment.json                     where, as whom, since when
//! <state_dir>/enrolment.lock             one writer at a time: `enroll` beside a running agent that renews
//! <state_dir>/enrolment.pending.pem      0600   the key that a certificate was asked for, until one has come
//! <state_dir>/enrolment.asking.lock      one `enroll` at a time
//! ```
//!
//! They change together: the new ones are written and synced in `enrolment.new/`, then the folders change names, then the old
//! one is removed.
//!
//! | a crash | what is read |
//! |---|---|
//! | while the new ones are written | the old ones, whole |
//! | between the two changes of name | the old ones, in `enrolment.old/` |
//! | after | the new ones |
//!
//! The key of an enrolment is durable before the collector is asked, so that the same one is asked for again when the answer
//! was lost, by whatever crash. It goes when its certificate is here.
//!
//! A reader that meets a writer reads again; a key that is not its certificate's is never handed out.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use muster::atomic_file::{self, Access};
use muster::clock::WallTime;
use muster::ids::AgentId;
use muster::private_file;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, CertificateError};
use super::key::{self, KeyError, Requested};

const LIVE: &str = "enrolment";
const NEW: &str = "enrolment.new";
const OLD: &str = "enrolment.old";
const LOCK: &str = "enrolment.lock";
const PENDING: &str = "enrolment.pending.pem";
const ASKING: &str = "enrolment.asking.lock";

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";
const AUTHORITIES: &str = "authorities.pem";
const CA: &str = "ca.pem";
const RECORD: &str = "enrolment.json";

/// A chain or a list of authorities has a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How often a reader begins again that met a writer: a writer changes two names, and is done.
const READS_MAX: usize = 5;

/// Where, as whom, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The collector, as it was named.
    pub server: String,
    /// The name in the collector's certificate, if it is not the address's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
    /// How the collector calls our team.
    pub team: String,
    /// What people call this agent.
    pub name: String,
    /// Who we are there.
    pub agent_id: AgentId,
    /// When the agent was enrolled, by its own clock.
    pub enrolled_us: u64,
    /// When this certificate came, by the agent's own clock.
    pub received_us: u64,
    /// Whether the collector's own certificate is of `authorities.pem`.
    pub collector_is_of_authority: bool,
}

/// A whole enrolment.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Where, as whom, since when.
    pub record: Record,
    /// What `certificate_pem` says.
    pub certificate: Certificate,
    /// PEM, the agent's own first.
    pub certificate_pem: String,
    /// PKCS#8 in PEM.
    pub key_pem: SecretString,
    /// PEM.
    pub authorities_pem: String,
    /// PEM; `None`: the public authorities.
    pub ca_pem: Option<String>,
}

/// Why an enrolment cannot be read or written. No variant carries what was read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner can read the key.
    #[error("the agent's private key can be read by others (mode {mode:o}); run: chmod 600 {}", path.display())]
    LooseKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another process asks for a certificate.
    #[error("another `muster agent enroll` is under way in {}", path.display())]
    Busy {
        /// The state directory.
        path: PathBuf,
    },
    /// Something in it is not what it should be.
    #[error("{} is damaged: {what}; enrol again with `muster agent enroll --force`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, in words.
        what: String,
    },
}

/// The enrolment of a state directory.
#[derive(Debug, Clone)]
pub struct Store {
    state_dir: PathBuf,
}

/// The right to ask for a certificate, until it is dropped: two at once would each take from the other what it got.
#[derive(Debug)]
pub struct Asking {
    state_dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Of this state directory. Touches nothing.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into() }
    }

    /// The folder that holds it.
    pub fn folder(&self) -> PathBuf {
        self.state_dir.join(LIVE)
    }

    /// What is there; `None` when this agent is not enrolled.
    pub fn load(&self) -> Result<Option<Enrolment>, StoreError> {
        let mut read = self.read_once();
        for _ in 1..READS_MAX {
            match read {
                // Files of two enrolments, or neither folder where it was looked for: somebody changed them meanwhile.
                Err(StoreError::Damaged { .. } | StoreError::Io { .. }) | Ok(None) => read = self.read_once(),
                _ => break,
            }
        }
        read
    }

    /// Makes `new` the enrolment, durably. With `instead_of`, only while the certificate of that serial is still there;
    /// answers whether it was.
    pub fn replace(&self, new: &Enrolment, instead_of: Option<&str>) -> Result<bool, StoreError> {
        make_folder(&self.state_dir)?;
        let (lock, lock_path) = self.lock_file(LOCK)?;
        // Released when the file is closed.
        lock.lock().map_err(io_error(&lock_path))?;
        if let Some(serial) = instead_of
            && self.load()?.is_none_or(|held| held.certificate.serial != serial)
        {
            return Ok(false);
        }
        self.write_new(new)?;
        self.change_names()?;
        Ok(true)
    }

    /// Begins to ask for a certificate.
    pub fn ask(&self) -> Result<Asking, StoreError> {
        make_folder(&self.state_dir)?;
        let (lock, path) = self.lock_file(ASKING)?;
        match lock.try_lock() {
            Ok(()) => Ok(Asking { state_dir: self.state_dir.clone(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy { path: self.state_dir.clone() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self.state_dir.join(name);
        let file = File::options().create(true).append(true).open(&path).map_err(io_error(&path))?;
        Ok((file, path))
    }

    fn read_once(&self) -> Result<Option<Enrolment>, StoreError> {
        for name in [LIVE, OLD] {
            let folder = self.state_dir.join(name);
            match fs::metadata(&folder) {
                Ok(_) => return read_folder(&folder).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::Io { path: folder, source }),
            }
        }
        Ok(None)
    }

    fn write_new(&self, new: &Enrolment) -> Result<(), StoreError> {
        let folder = self.state_dir.join(NEW);
        remove_folder(&folder)?;
        make_folder(&folder)?;
        let record = serde_json::to_vec_pretty(&new.record)
            .map_err(|error| StoreError::Damaged { path: folder.join(RECORD), what: error.to_string() })?;
        let mut files = vec![
            (KEY, new.key_pem.expose_secret().as_bytes()),
            (CERTIFICATE, new.certificate_pem.as_bytes()),
            (AUTHORITIES, new.authorities_pem.as_bytes()),
            (RECORD, record.as_slice()),
        ];
        files.extend(new.ca_pem.as_ref().map(|pem| (CA, pem.as_bytes())));
        for (name, content) in files {
            let path = folder.join(name);
            atomic_file::replace(&path, content, Access::Owner).map_err(io_error(&path))?;
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "folders: each change of name is synced before the next")]
    fn change_names(&self) -> Result<(), StoreError> {
        let [live, new, old] = [LIVE, NEW, OLD].map(|name| self.state_dir.join(name));
        let sync = || File::open(&self.state_dir).and_then(|folder| folder.sync_all());
        if live.exists() {
            remove_folder(&old)?;
            fs::rename(&live, &old).and_then(|()| sync()).map_err(io_error(&live))?;
        }
        fs::rename(&new, &live).and_then(|()| sync()).map_err(io_error(&live))?;
        remove_folder(&old)
    }
}

impl Asking {
    /// The key to ask for a certificate for, durably kept: that of an answer that was lost, or else a new one. That of
    /// `held`, the enrolment that is there, has its certificate.
    pub fn key(&self, held: Option<&Enrolment>) -> Result<Requested, StoreError> {
        let path = self.path();
        if path.exists() {
            let key_pem = SecretString::from(read(&path, |file| refuse_loose(file, &path))?);
            // One that is no key has never been asked for: it is replaced.
            let requested = key::request_again(key_pem.expose_secret());
            let is_held = |requested: &Requested| {
                held.is_some_and(|held| held.certificate.public_key_der == requested.public_key_der)
            };
            if let Some(requested) = requested.filter(|requested| !is_held(requested)) {
                return Ok(requested);
            }
        }
        let requested = key::request()?;
        let key_pem = requested.key_pem.expose_secret().as_bytes();
        atomic_file::replace(&path, key_pem, Access::Owner).map_err(io_error(&path))?;
        Ok(requested)
    }

    /// Forgets the key: its certificate is here, or nobody wants it any more.
    pub fn forget_key(&self) -> Result<(), StoreError> {
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { path, source: error })
            }
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join(PENDING)
    }
}

fn read_folder(folder: &Path) -> Result<Enrolment, StoreError> {
    let damaged = |name: &str, what: &dyn ToString| StoreError::Damaged {
        path: folder.join(name),
        what: what.to_string(),
    };
    let record = read(&folder.join(RECORD), |_| Ok(()))?;
    let record: Record = serde_json::from_str(&record).map_err(|error| damaged(RECORD, &error))?;
    let key_path = folder.join(KEY);
    let key_pem = SecretString::from(read(&key_path, |file| refuse_loose(file, &key_path))?);
    let certificate_pem = read(&folder.join(CERTIFICATE), |_| Ok(()))?;
    let certificate = Certificate::from_pem(&certificate_pem)
        .map_err(|error: CertificateError| damaged(CERTIFICATE, &error))?;
    let authorities_pem = read(&folder.join(AUTHORITIES), |_| Ok(()))?;
    let ca_path = folder.join(CA);
    let ca_pem = ca_path.exists().then(|| read(&ca_path, |_| Ok(()))).transpose()?;
    match key::public_key_of(key_pem.expose_secret()) {
        None => return Err(damaged(KEY, &"it holds no private key")),
        Some(public) if public != certificate.public_key_der => {
            return Err(damaged(KEY, &"it is not the key of certificate.pem"));
        }
        Some(_) => {}
    }
    Ok(Enrolment { record, certificate, certificate_pem, key_pem, authorities_pem, ca_pem })
}

fn read(path: &Path, check: impl Fn(&File) -> Result<(), StoreError>) -> Result<String, StoreError> {
    let file = File::open(path).map_err(io_error(path))?;
    check(&file)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error(path))?;
    Ok(text)
}

fn refuse_loose(file: &File, path: &Path) -> Result<(), StoreError> {
    match private_file::loose_mode(file).map_err(io_error(path))? {
        Some(mode) => Err(StoreError::LooseKey { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(io_error(path))
}

fn remove_folder(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path: path.clone(), source }
}

impl Record {
    /// When this certificate came, by the agent's own clock.
    pub fn received(&self) -> WallTime {
        WallTime(self.received_us)
    }
}
