//! Objects in an S3-compatible store.

use super::*;

fn variable<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
}

const RANGE: TimeRange =
    TimeRange { from: WallTime(1_795_000_000_000_000), to: WallTime(1_795_086_400_000_000) };

pub(super) fn s3_target(destination: &str, endpoint: &str) -> S3Target {
    let what = (DataSet::Runs, RANGE, Format::Ndjson);
    S3Target::new(destination, what, variable(&[("AWS_REGION", "us-east-1")]))
        .unwrap()
        .at(Some(endpoint.to_owned()))
}

pub(super) fn keys(target: S3Target, access: &str, secret: &str) -> S3Target {
    target.with_key(access, SecretString::from(secret))
}

#[test]
fn an_object_appears_whole_under_a_name_of_its_data_set_and_range() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = Seaweed::spawn(folder.path()) else { return };
    let writer =
        |destination: &str| keys(s3_target(destination, &store.endpoint), "writer-key", "writer-secret");
    let rows = crowded_runs(1_000);
    let layout = Layout { data_set: DataSet::Runs, detail: history::format::Detail::Full };
    let upload = Upload::begin(writer("s3://history/devloop-metrics/"), false).unwrap();
    let mut rows_out = RowWriter::new(Format::Ndjson, layout, upload).unwrap();
    for batch in batches(DataSet::Runs, &rows, 300) {
        rows_out.write(&batch).unwrap();
    }
    let bytes = rows_out.finish().unwrap().finish().unwrap();
    let name = "devloop-metrics/muster-runs-20261118T110640Z-20261119T110640Z.ndjson";
    assert_eq!(store.list("history"), [name]);
    let object = String::from_utf8(store.get("history", name)).unwrap();
    assert_eq!((object.len() as u64, object.lines().count()), (bytes, 1_000));
    let first: serde_json::Value = serde_json::from_str(object.lines().next().unwrap()).unwrap();
    assert!(first.as_object().unwrap().values().any(|value| value == "linter"), "{first}");

    // The name is taken, unless it is to be overwritten.
    let taken = Upload::begin(writer("s3://history/devloop-metrics/"), false).err().unwrap().to_string();
    assert!(taken.contains("is there already; --force overwrites it"), "{taken}");
    let mut upload = Upload::begin(writer("s3://history/devloop-metrics/"), true).unwrap();
    upload.write_all(b"again").unwrap();
    upload.finish().unwrap();
    assert_eq!(store.get("history", name), b"again");
    // It came between the look and the end.
    let late = Upload::begin(writer("s3://history/late.ndjson"), false).unwrap();
    let mut other = Upload::begin(writer("s3://history/late.ndjson"), false).unwrap();
    other.write_all(b"first").unwrap();
    other.finish().unwrap();
    assert!(late.finish().unwrap_err().to_string().contains("is there already"));
    assert_eq!(store.get("history", "late.ndjson"), b"first");

    // In parts: nothing is seen before the last, and nothing of one that was given up.
    let large: Vec<u8> = (0..20_000_000_u32).flat_map(|n| (n as u8 ^ (n >> 8) as u8).to_be_bytes()).collect();
    let mut upload = Upload::begin(writer("s3://history/large.ndjson"), false).unwrap();
    upload.write_all(&large).unwrap();
    assert!(!store.list("history").contains(&"large.ndjson".to_owned()), "not before its end");
    upload.finish().unwrap();
    assert_eq!(store.get("history", "large.ndjson"), large);
    let mut upload = Upload::begin(writer("s3://history/given-up.ndjson"), false).unwrap();
    upload.write_all(&large).unwrap();
    drop(upload);
    assert!(!store.list("history").contains(&"given-up.ndjson".to_owned()));

    let words = |access: &str, secret: &str| {
        let target = keys(s3_target("s3://history/x/", &store.endpoint), access, secret);
        let written = Upload::begin(target, false).and_then(Upload::finish);
        written.unwrap_err().to_string()
    };
    let denied = words("reader-key", "reader-secret");
    assert!(denied.contains("the key may not write there (AccessDenied"), "{denied}");
    for (access, secret) in [("nobody", "writer-secret"), ("writer-key", "wrong-secret")] {
        let words = words(access, secret);
        assert!(words.contains("check AWS_ACCESS_KEY_ID") && !words.contains("wrong-secret"), "{words}");
    }
}

#[test]
fn a_bucket_that_is_not_there_and_a_store_that_is_away_are_told() {
    // SeaweedFS makes a bucket for who may; Amazon does not.
    let sink = HttpSink::spawn(|_, request| match request.method.as_str() {
        "HEAD" => says(404, ""),
        _ => {
            says(404, "<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>")
        }
    });
    let target = keys(s3_target("s3://nowhere/x/", &sink.url()), "key", "secret");
    let words = Upload::begin(target, false).and_then(Upload::finish).unwrap_err().to_string();
    assert!(words.contains("there is no bucket \"nowhere\" at http://127.0.0.1"), "{words}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = keys(s3_target("s3://nowhere/x/", &format!("http://{nobody}")), "key", "secret");
    let words = Upload::begin(target, false).err().unwrap().to_string();
    assert!(words.contains("cannot look whether it is there"), "{words}");
    let what = (DataSet::Runs, RANGE, Format::Json);
    for destination in ["gs://bucket/x", "/tmp/folder", "s3://"] {
        let words = S3Target::new(destination, what, variable(&[])).err().unwrap().to_string();
        assert!(words.contains("write it like s3://"), "{words}");
    }
}
