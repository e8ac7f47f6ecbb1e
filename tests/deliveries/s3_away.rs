//! An object store that goes away while it is written to.

use std::sync::atomic::{AtomicBool, Ordering};

use support::fault_proxy::{Fault, FaultProxy};

use super::command::{collector_of, export, succeeds, words};
use super::s3::{keys, s3_target};
use super::*;

#[test]
fn a_store_that_goes_away_in_the_middle_leaves_no_object_and_the_same_command_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = Seaweed::spawn(&folder.path().join("weed")) else { return };
    let proxy = FaultProxy::spawn(store.endpoint.trim_start_matches("http://").parse().unwrap());
    let url = format!("http://{}", proxy.address);
    // Three parts and one; and what is put at once.
    let large = (collector_of(&crowded_runs(160_000)), 160_000, [0, 4 << 20, 11 << 20]);
    let small = (collector_of(&crowded_runs(5_000)), 5_000, [0, 3_000, 200_000]);
    for (collector, rows, cuts) in [large, small] {
        for bytes in cuts {
            let key = format!("away/{rows}-{bytes}.json");
            let destination = format!("s3://history/{key}");
            let deliver = || {
                let to = ["--format", "json", "--destination", &destination, "--url", &url];
                let mut command = export(&collector, folder.path(), &to);
                command.env("AWS_ACCESS_KEY_ID", "writer-key").env("AWS_SECRET_ACCESS_KEY", "writer-secret");
                command.env("AWS_REGION", "us-east-1").output().unwrap()
            };
            proxy.set(Fault::RefuseAfter(proxy.bytes_up() + bytes + 1));
            let output = deliver();
            let told = words(&output);
            assert_eq!(output.status.code(), Some(1), "{key}: {told}");
            assert!(told.contains(&destination) && told.contains("cannot"), "{key}: {told}");
            let is_begun = bytes > 0;
            assert_eq!(told.contains("nothing was left there"), is_begun, "{key}: {told}");
            assert_eq!(
                told.contains("the same command writes it from its beginning"),
                is_begun,
                "{key}: {told}"
            );
            assert!(!told.contains("writer-secret"), "{told}");
            assert!(!store.list("history").contains(&key), "half of {key} is there");

            proxy.set(Fault::Pass);
            succeeds(&deliver());
            let object: serde_json::Value = serde_json::from_slice(&store.get("history", &key)).unwrap();
            assert_eq!(object.as_array().unwrap().len(), rows);
        }
    }
}

/// A store with one object, whose answer to the first request that makes it appear is lost.
fn store_that_loses_an_answer(length: usize) -> HttpSink {
    let is_there = AtomicBool::new(false);
    let tag =
        || vec![("etag", "\"1\"".to_owned()), ("last-modified", "Sat, 21 Nov 2026 08:00:00 GMT".to_owned())];
    HttpSink::spawn(move |_, request| {
        let has = |text: &str| request.path.contains(text);
        let appear = |again: u16, code: &str| {
            if is_there.swap(true, Ordering::SeqCst) {
                return says(again, &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"));
            }
            Reply::Hang
        };
        match request.method.as_str() {
            "HEAD" | "GET" if !is_there.load(Ordering::SeqCst) => says(404, ""),
            "HEAD" | "GET" => Reply::Say(200, tag(), "x".repeat(length)),
            "POST" if has("uploads") => says(
                200,
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            ),
            "POST" => appear(404, "NoSuchUpload"),
            "PUT" if has("partNumber") => Reply::Say(200, tag(), String::new()),
            "PUT" => appear(412, "PreconditionFailed"),
            _ => says(204, ""),
        }
    })
}

#[test]
fn an_object_whose_last_answer_was_lost_is_there_and_is_not_told_to_be_missing() {
    for length in [20, 9 << 20] {
        let write = |there: usize| {
            let store = store_that_loses_an_answer(there);
            let target = keys(s3_target("s3://history/x.ndjson", &store.url()), "key", "secret");
            let mut upload = Upload::begin(target, false).unwrap();
            upload.write_all(&vec![b'x'; length]).unwrap();
            upload.finish()
        };
        assert_eq!(write(length).unwrap(), length as u64);
        // Another's, which came in between.
        let words = write(length + 1).unwrap_err().to_string();
        assert!(!words.contains("there is no bucket"), "{words}");
    }
}
