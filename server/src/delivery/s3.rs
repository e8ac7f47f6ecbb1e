//! One object in an S3-compatible store: what is written to it, in parts, whole or not at all.
//!
//! A store shows an object when its last part is confirmed and not before, so an upload that ends before leaves nothing
//! under the name. What is there already is left alone unless it is to be overwritten: a small object is put on the
//! condition that there is none; for a large one it is looked before the first and before the last part.
//!
//! A store that goes away while it takes a part is asked again for some seconds; then the upload ends, and what it had sent
//! is seen by nobody. If the answer to the last request is what was lost, the object may be there: it is looked for before
//! anybody is told that it is not.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use history::dataset::DataSet;
use history::format::Format;
use history::query::TimeRange;
use history::store::{Credentials, Place, S3Place, open_bucket};
use muster::clock::WallTime;
use object_store::path::Path;
use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload,
};
use secrecy::SecretString;
use tokio::runtime::Runtime;

/// What is gathered before it is sent. S3's least is 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// S3's most.
const PARTS_MAX: usize = 10_000;

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The address.
    #[error("{0:?} is no place in an object store; write it like s3://my-bucket/devloop-metrics/")]
    Place(String),
    /// The name is taken.
    #[error("{0} is there already; --force overwrites it")]
    Exists(String),
    /// The bucket is not there.
    #[error("{place}: there is no bucket {bucket:?} at {endpoint}; make it, or name another")]
    NoBucket {
        /// The object.
        place: String,
        /// The bucket.
        bucket: String,
        /// Whose.
        endpoint: String,
    },
    /// The key is not one, or not the right one.
    #[error(
        "{place}: the store does not know the key, or it is not signed with its secret ({said}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    Key {
        /// The object.
        place: String,
        /// The store's word.
        said: String,
    },
    /// No permission.
    #[error(
        "{place}: the key may not write there ({said}); give it s3:PutObject and s3:GetObject on the bucket"
    )]
    Denied {
        /// The object.
        place: String,
        /// The store's word.
        said: String,
    },
    /// Not reached, or something else.
    #[error("{place}: cannot {what}: {said}")]
    Away {
        /// The object.
        place: String,
        /// What was tried.
        what: &'static str,
        /// What was heard.
        said: String,
    },
    /// Too much for one object.
    #[error(
        "{0}: more than {PARTS_MAX} parts of {PART_BYTES} bytes are too much for one object: deliver a shorter range"
    )]
    TooLarge(String),
    /// The runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// Where an object goes, and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Target {
    bucket: S3Place,
    /// Under the bucket's prefix.
    name: String,
}

impl S3Target {
    /// A place as in `--destination`: a folder, or an object's name if it ends in the format's.
    /// `variable` looks variables of the environment up.
    pub fn new(
        destination: &str,
        what: (DataSet, TimeRange, Format),
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, S3Error> {
        let (data_set, range, format) = what;
        let bad = || S3Error::Place(destination.to_owned());
        let Ok(Place::S3(mut bucket)) = Place::parse(destination) else { return Err(bad()) };
        let ending = format!(".{format}");
        let mut name = object_name(data_set, range, format);
        if bucket.prefix.ends_with(&ending) && !destination.ends_with('/') {
            let prefix = std::mem::take(&mut bucket.prefix);
            let (folder, object) = prefix.rsplit_once('/').unwrap_or(("", &prefix));
            (bucket.prefix, name) = (folder.to_owned(), object.to_owned());
        }
        bucket.region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        bucket.endpoint = variable("AWS_ENDPOINT_URL_S3")
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .or_else(|| variable("AWS_ENDPOINT"));
        // Stores that are not Amazon's have the bucket in the path.
        bucket.is_path_style = bucket.endpoint.is_some();
        bucket.allows_http = bucket.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        Ok(Self { bucket, name })
    }

    /// With another address of the store, such as `http://localhost:8333`.
    pub fn at(mut self, endpoint: Option<String>) -> Self {
        if let Some(endpoint) = endpoint {
            self.bucket.is_path_style = true;
            self.bucket.allows_http = endpoint.starts_with("http://");
            self.bucket.endpoint = Some(endpoint);
        }
        self
    }

    /// With a key that the environment does not have.
    pub fn with_key(mut self, access_key_id: &str, secret_access_key: SecretString) -> Self {
        let access_key_id = access_key_id.to_owned();
        self.bucket.credentials = Credentials::Key { access_key_id, secret_access_key, session_token: None };
        self
    }

    /// The object's full name.
    pub fn place(&self) -> String {
        format!("{}/{}", Place::S3(self.bucket.clone()), self.name)
    }

    fn endpoint(&self) -> String {
        self.bucket.endpoint.clone().unwrap_or_else(|| "Amazon S3".to_owned())
    }
}

/// `muster-runs-20261121T080000Z-20261122T080000Z.json`
fn object_name(data_set: DataSet, range: TimeRange, format: Format) -> String {
    let time = |WallTime(us)| {
        let time = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
        time.map_or_else(|| us.to_string(), |time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
    };
    format!("muster-{data_set}-{}-{}.{format}", time(range.from), time(range.to))
}

/// An object that is being written. Dropping it leaves nothing under its name.
pub struct Upload {
    runtime: Runtime,
    objects: Arc<dyn ObjectStore>,
    target: S3Target,
    path: Path,
    is_forced: bool,
    part: Vec<u8>,
    parts: usize,
    bytes: u64,
    multipart: Option<Box<dyn MultipartUpload>>,
}

impl Upload {
    /// Looks whether there is such an object; writes nothing yet.
    pub fn begin(target: S3Target, is_forced: bool) -> Result<Self, S3Error> {
        // The client's requests run on a thread of their own, whoever waits for them.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(S3Error::Runtime)?;
        let objects = {
            let _context = runtime.enter();
            open_bucket(&target.bucket)
                .map_err(|error| away(&target, "reach the store", &error.to_string()))?
        };
        let path = Path::parse(&target.name).map_err(|_| S3Error::Place(target.place()))?;
        let upload = Self {
            runtime,
            objects,
            target,
            path,
            is_forced,
            part: Vec::new(),
            parts: 0,
            bytes: 0,
            multipart: None,
        };
        upload.refuse_existing()?;
        Ok(upload)
    }

    /// Makes the object appear; says how many bytes it has.
    pub fn finish(mut self) -> Result<u64, S3Error> {
        self.bytes += self.part.len() as u64;
        let rest = Bytes::from(std::mem::take(&mut self.part));
        match self.multipart.take() {
            None => self.put(&rest)?,
            Some(mut multipart) => {
                if let Err(error) = self.complete(multipart.as_mut(), rest) {
                    // What is left there is seen by nobody.
                    let _ = self.runtime.block_on(multipart.abort());
                    return Err(error);
                }
            }
        }
        Ok(self.bytes)
    }

    fn put(&self, whole: &Bytes) -> Result<(), S3Error> {
        let mode = if self.is_forced { PutMode::Overwrite } else { PutMode::Create };
        let put = self.objects.put_opts(&self.path, whole.clone().into(), PutOptions::from(mode));
        match self.runtime.block_on(put) {
            Err(error) if !(may_be_done(&error) && self.has(whole)) => Err(self.error("write it", &error)),
            _ => Ok(()),
        }
    }

    fn complete(&self, multipart: &mut dyn MultipartUpload, rest: Bytes) -> Result<(), S3Error> {
        self.refuse_existing()?;
        if !rest.is_empty() {
            let sent = self.runtime.block_on(multipart.put_part(rest.into()));
            sent.map_err(|error| self.error("write its last part", &error))?;
        }
        let before = self.runtime.block_on(self.objects.head(&self.path));
        match self.runtime.block_on(multipart.complete()) {
            Err(error) if !(may_be_done(&error) && self.is_new(&before)) => {
                Err(self.error("make it appear", &error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the object is what was put, byte by byte.
    fn has(&self, whole: &Bytes) -> bool {
        let read = async { self.objects.get(&self.path).await?.bytes().await };
        self.runtime.block_on(read).is_ok_and(|there| there == whole)
    }

    /// Whether there is an object as large as what was sent, and another than before. Where nobody could tell what was there
    /// before, what is there now proves nothing.
    fn is_new(&self, before: &Result<ObjectMeta, object_store::Error>) -> bool {
        let there = self.runtime.block_on(self.objects.head(&self.path));
        there.is_ok_and(|there| {
            let is_other = match before {
                Ok(before) => before.e_tag != there.e_tag,
                Err(error) => matches!(error, object_store::Error::NotFound { .. }),
            };
            there.size == self.bytes && is_other
        })
    }

    fn refuse_existing(&self) -> Result<(), S3Error> {
        if self.is_forced {
            return Ok(());
        }
        match self.runtime.block_on(self.objects.head(&self.path)) {
            Ok(_) => Err(S3Error::Exists(self.target.place())),
            // A bucket that is not there is told when something is put into it.
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                // An answer to HEAD has no words; that to GET says which of key and permission it is.
                let told = self.runtime.block_on(self.objects.get(&self.path)).err();
                Err(self.error("look whether it is there", told.as_ref().unwrap_or(&error)))
            }
        }
    }

    fn send_part(&mut self) -> Result<(), S3Error> {
        if self.parts >= PARTS_MAX - 1 {
            return Err(S3Error::TooLarge(self.target.place()));
        }
        self.parts += 1;
        self.bytes += self.part.len() as u64;
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
        if self.multipart.is_none() {
            let begin = self.objects.put_multipart_opts(&self.path, PutMultipartOptions::default());
            let begun = self.runtime.block_on(begin);
            self.multipart = Some(begun.map_err(|error| self.error("begin to write it", &error))?);
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let sent = self.runtime.block_on(multipart.put_part(PutPayload::from(Bytes::from(part))));
        sent.map_err(|error| self.error("write a part of it", &error))
    }

    fn error(&self, what: &'static str, error: &object_store::Error) -> S3Error {
        use object_store::Error;
        let (place, said) = (self.target.place(), words(error));
        let is_key =
            ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"]
                .iter()
                .any(|word| said.contains(word));
        match error {
            Error::AlreadyExists { .. } | Error::Precondition { .. } => S3Error::Exists(place),
            Error::NotFound { .. } if !said.contains("NoSuchUpload") => S3Error::NoBucket {
                place,
                bucket: self.target.bucket.bucket.clone(),
                endpoint: self.target.endpoint(),
            },
            _ if is_key => S3Error::Key { place, said },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => S3Error::Denied { place, said },
            _ => away(&self.target, what, &said),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() >= PART_BYTES {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut multipart) = self.multipart.take() {
            // What is left there is seen by nobody.
            let _ = self.runtime.block_on(multipart.abort());
        }
    }
}

/// Whether the store may have done what it was asked for: the answer was lost, or a repeat of it found it done.
fn may_be_done(error: &object_store::Error) -> bool {
    use object_store::Error;
    !matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
}

fn away(target: &S3Target, what: &'static str, said: &str) -> S3Error {
    S3Error::Away { place: target.place(), what, said: said.to_owned() }
}

/// What the store said: an error's own words, or the code and message of S3's XML within them.
fn words(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !text.contains(&inner_words) {
            text = format!("{text}: {inner_words}");
        }
        source = inner.source();
    }
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(content, _)| content.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect(),
    }
}
