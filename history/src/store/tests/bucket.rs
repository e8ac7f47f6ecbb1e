//! The store in a bucket that loses answers and refuses requests.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;

type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

/// A bucket in memory.
#[derive(Debug, Default)]
struct Bucket {
    objects: InMemory,
    /// So many puts of rows are done and told as failed.
    answers_lost: AtomicUsize,
    refuses_copies: AtomicBool,
}

fn lost() -> Error {
    Error::Generic { store: "bucket", source: "the connection broke".into() }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bucket")
    }
}

impl ObjectStore for Bucket {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            let done = self.objects.put_opts(location, payload, options).await?;
            let is_lost = location.as_ref().ends_with(".parquet")
                && self
                    .answers_lost
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            if is_lost { Err(lost()) } else { Ok(done) }
        })
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.objects.put_multipart_opts(location, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, location: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.objects.get_opts(location, options)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.objects.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'd, 'c>(
        &'a self,
        from: &'b Path,
        to: &'d Path,
        options: CopyOptions,
    ) -> Answer<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            if self.refuses_copies.load(Ordering::SeqCst) {
                return Err(lost());
            }
            self.objects.copy_opts(from, to, options).await
        })
    }
}

async fn open(bucket: &Arc<Bucket>) -> Store {
    Store::on(Shelf::over(bucket.clone()), JOURNAL, false).await.expect("the bucket opens")
}

/// Commits a record as a file of one day.
async fn commit_one(store: &Store, n: u64) {
    let files = encoded(&[runs(n, 10 * n..=10 * n + 9, 1)], range(n - 1, n));
    store.commit(range(n - 1, n), files, None, NOW).await.expect("committed");
}

async fn objects(bucket: &Bucket, part: &str) -> Vec<String> {
    let listed: Vec<ObjectMeta> =
        futures::TryStreamExt::try_collect(bucket.objects.list(None)).await.unwrap();
    listed.into_iter().map(|meta| meta.location.to_string()).filter(|path| path.contains(part)).collect()
}

const LATER: WallTime = WallTime(NOW.0 + DAY_US);
/// The bucket says by its own clock, which is this machine's, when objects were written.
const MUCH_LATER: WallTime = WallTime(NOW.0 + 10_000 * DAY_US);

#[tokio::test]
async fn a_merge_whose_answer_was_lost_is_done_again_as_it_was() {
    let bucket = Arc::<Bucket>::default();
    let store = open(&bucket).await;
    for n in 1..=3 {
        commit_one(&store, n).await;
    }
    bucket.answers_lost.store(1, Ordering::SeqCst);
    store.compact_once(LATER).await.expect_err("it was not heard of");
    // More came since: without what was written down all four would be merged.
    commit_one(&store, 4).await;
    let done = store.compact_once(LATER).await.unwrap().expect("the same again");
    assert_eq!(done.files, 3);
    assert_eq!(objects(&bucket, ".merge").await, [""; 0], "it is done");
    for store in [store, open(&bucket).await] {
        assert_eq!(seqs(&store, &store.snapshot()).await, expected(4));
    }
}

#[tokio::test]
async fn a_merge_that_was_lost_and_cannot_be_done_again_lies_across_no_other() {
    let bucket = Arc::<Bucket>::default();
    let store = open(&bucket).await;
    for n in 1..=4 {
        commit_one(&store, n).await;
    }
    bucket.answers_lost.store(1, Ordering::SeqCst);
    store.compact_once(LATER).await.expect_err("it was not heard of");
    // Its first file cannot be read any more, and one came after its last.
    let first = store.snapshot().files[0].clone();
    store.set_aside(&first, "a test says so");
    commit_one(&store, 5).await;
    while store.compact_once(LATER).await.unwrap().is_some() {}
    drop(store);
    // The merge was done after all, and has all rows of the file that was set aside.
    let store = open(&bucket).await;
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(5));
    while store.compact_once(MUCH_LATER).await.unwrap().is_some() {}
    assert_eq!((store.size().files, objects(&bucket, ".merge").await.len()), (1, 0));
    assert_eq!(seqs(&open(&bucket).await, &store.snapshot()).await, expected(5));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_never_deleted_for_its_neighbours() {
    let bucket = Arc::<Bucket>::default();
    let store = open(&bucket).await;
    for n in 1..=5 {
        commit_one(&store, n).await;
    }
    let victim = store.snapshot().files[2].path.clone();
    let damaged = bytes::Bytes::from_static(b"PAR1 no more PAR1");
    bucket.objects.put(&victim, damaged.clone().into()).await.unwrap();
    bucket.refuses_copies.store(true, Ordering::SeqCst);
    // It is set aside, and cannot be moved.
    let mut failures = 0;
    for _ in 0..8 {
        failures += usize::from(store.compact_once(LATER).await.is_err());
    }
    assert!(failures > 0, "the copy was refused");
    let ranges = |store: &Store| -> Vec<JournalRange> {
        store.snapshot().files.iter().map(|file| file.range).collect()
    };
    assert_eq!(ranges(&store), [range(0, 2), range(3, 5)], "nothing is merged across it");
    let reopened = open(&bucket).await;
    assert_eq!(bucket.objects.get(&victim).await.unwrap().bytes().await.unwrap(), damaged);
    drop(reopened);
    bucket.refuses_copies.store(false, Ordering::SeqCst);
    store.retain(LATER, &Retention::default()).await.unwrap();
    while store.compact_once(MUCH_LATER).await.unwrap().is_some() {}
    assert_eq!(ranges(&store), [range(0, 5)]);
    for store in [store, open(&bucket).await] {
        assert_eq!(seqs(&store, &store.snapshot()).await.len(), 40);
        assert_eq!(objects(&bucket, "_corrupt/").await, [format!("_corrupt/{victim}")]);
        let kept = bucket.objects.get(&name::corrupt_path(&victim)).await.unwrap();
        assert_eq!(kept.bytes().await.unwrap(), damaged);
    }
}
