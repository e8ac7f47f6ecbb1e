//! The boundary to where files are kept: a folder, or a bucket. It knows names and bytes, and no rows.
//!
//! | | folder | bucket |
//! |---|---|---|
//! | a file appears | whole, by rename; it and its folders are on disk before `put` returns | whole, as the store promises |
//! | only if it is not there | one process has the journal's lock, so a look before is enough | conditional put (`If-None-Match: *`) |
//! | set aside | moved to `_corrupt/` | copied to `_corrupt/`, then deleted: S3 has no rename |

mod local;
mod s3;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use muster::clock::WallTime;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::error::{self, StoreError};
use super::name::corrupt_path;
use super::place::Place;

pub use s3::open_bucket;

/// Small files (markers, plans) are read whole up to this.
const SMALL_BYTES_MAX: u64 = 16 << 20;

/// Where files are kept.
#[derive(Debug)]
pub(super) struct Shelf {
    place: String,
    objects: Arc<dyn ObjectStore>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Local(local::Folder),
    S3,
}

/// A file as a listing tells it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) path: Path,
    pub(super) bytes: u64,
    pub(super) modified: WallTime,
}

impl Shelf {
    /// Opens a place; a folder is made. Requests to a bucket run on the tokio runtime that this is called in.
    pub(super) fn open(place: &Place) -> Result<Self, StoreError> {
        let name = place.to_string();
        let (objects, kind) = match place {
            Place::Local(root) => {
                let folder =
                    local::Folder::open(root).map_err(|e| error::of_io(&name, "open the folder", e))?;
                let objects = object_store::local::LocalFileSystem::new_with_prefix(root)
                    .map_err(|e| error::of_objects(&name, "open the folder", e))?;
                (Arc::new(objects) as Arc<dyn ObjectStore>, Kind::Local(folder))
            }
            Place::S3(bucket) => (open_bucket(bucket)?, Kind::S3),
        };
        Ok(Self { place: name, objects, kind })
    }

    /// A bucket that a test made.
    #[cfg(test)]
    pub(super) fn over(objects: Arc<dyn ObjectStore>) -> Self {
        Self { place: "s3://a-test".to_owned(), objects, kind: Kind::S3 }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn objects(&self) -> Arc<dyn ObjectStore> {
        self.objects.clone()
    }

    /// Whether it is a folder of this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.kind, Kind::Local(_))
    }

    /// Everything that is there.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let listed = self.objects.list(None).map_ok(|meta| Listed {
            path: meta.location,
            bytes: meta.size,
            modified: WallTime(u64::try_from(meta.last_modified.timestamp_micros()).unwrap_or(0)),
        });
        listed.try_collect().await.map_err(|e| error::of_objects(&self.place, "list it", e))
    }

    /// Makes or replaces a file. When this returns it is there for good.
    pub(super) async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Local(folder) => {
                folder.put(path, &bytes).map_err(|e| error::of_io(&self.place, format!("write {path}"), e))
            }
            Kind::S3 => {
                let put = self.objects.put(path, bytes.into()).await;
                put.map(|_| ()).map_err(|e| error::of_objects(&self.place, format!("write {path}"), e))
            }
        }
    }

    /// Makes a file if there is none; false if there is one.
    pub(super) async fn put_new(&self, path: &Path, bytes: Bytes) -> Result<bool, StoreError> {
        let Kind::S3 = self.kind else {
            return match self.get_small(path).await? {
                Some(_) => Ok(false),
                None => self.put(path, bytes).await.map(|()| true),
            };
        };
        let options = object_store::PutMode::Create.into();
        match self.objects.put_opts(path, bytes.clone().into(), options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            // A store without conditional puts: one process has the journal's lock, so a look before is as good.
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                match self.get_small(path).await? {
                    Some(_) => Ok(false),
                    None => self.put(path, bytes).await.map(|()| true),
                }
            }
            Err(error) => Err(error::of_objects(&self.place, format!("write {path}"), error)),
        }
    }

    /// A small file's content; `None` if there is none.
    pub(super) async fn get_small(&self, path: &Path) -> Result<Option<Bytes>, StoreError> {
        let failed = |e| error::of_objects(&self.place, format!("read {path}"), e);
        match self.objects.get(path).await {
            Ok(found) if found.meta.size > SMALL_BYTES_MAX => Ok(Some(Bytes::new())),
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A file's content; `None` if it is not there.
    pub(super) async fn get(&self, path: &Path) -> Result<Option<Bytes>, StoreError> {
        let failed = |e| error::of_objects(&self.place, format!("read {path}"), e);
        match self.objects.get(path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes a file away. One that is not there is no error.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match self.objects.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error::of_objects(&self.place, format!("delete {path}"), error)),
        }
    }

    /// Moves a file to `_corrupt/`. When this returns, its copy is there for good. One that is not there is no error.
    pub(super) async fn set_aside(&self, path: &Path) -> Result<(), StoreError> {
        if let Kind::Local(folder) = &self.kind {
            return folder
                .set_aside(path)
                .map_err(|e| error::of_io(&self.place, format!("set aside {path}"), e));
        }
        match self.objects.copy(path, &corrupt_path(path)).await {
            Ok(()) => self.delete(path).await,
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error::of_objects(&self.place, format!("set aside {path}"), error)),
        }
    }
}
