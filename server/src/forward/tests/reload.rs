//! Destinations that are added, changed and taken out while the others are at work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Retention, SlowReader};
use muster::atomic_file::{Access, replace};

use super::sink::{Answer, Sink, ok, status};
use super::*;

/// What a reload does.
fn reload(forwarding: &mut Forwarding, destinations: &[Destination]) -> Changes {
    let plan = forwarding.plan(destinations).expect("all can be used");
    forwarding.apply(plan)
}

fn changes(added: &[&str], changed: &[&str], removed: &[&str]) -> Changes {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Changes { added: owned(added), changed: owned(changed), removed: owned(removed) }
}

/// What is counted of one; waits until it is shown.
async fn observed(forwarding: &Forwarding, name: &str) -> Observed {
    let find = || forwarding.observed.all().into_iter().find(|observed| observed.name == name);
    eventually("it is shown", || find().is_some()).await;
    find().expect("it is shown")
}

/// A sink that never answers before the flag is set.
async fn hanging_until(is_well: &Arc<AtomicBool>) -> Sink {
    let is_well = is_well.clone();
    Sink::start(move |_, _| if is_well.load(Ordering::SeqCst) { ok() } else { Answer::Hang }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_destination_gets_what_comes_from_then_on_and_the_others_are_not_touched() {
    let (first, second) = (Sink::start(|_, _| ok()).await, Sink::start(|_, _| ok()).await);
    let bench = Bench::new();
    let one = otlp("one", &first, "http/protobuf", "");
    let two = otlp("two", &second, "http/protobuf", "");
    let mut forwarding = bench.start(std::slice::from_ref(&one));
    let figures = observed(&forwarding, "one").await.figures;
    bench.append(&["before"]);
    assert_eq!(reload(&mut forwarding, &[two.clone(), one.clone()]), changes(&["two"], &[], &[]));
    bench.append(&["after"]);
    eventually("the new one has it", || second.bodies() == ["after"]).await;
    eventually("the old one has both", || first.bodies() == ["before", "after"]).await;
    assert!(Arc::ptr_eq(&figures, &observed(&forwarding, "one").await.figures), "it was begun anew");
    let names: Vec<_> = forwarding.observed.all().into_iter().map(|observed| observed.name).collect();
    assert_eq!(names, ["two", "one"], "as the configuration has them");
    assert!(reload(&mut forwarding, &[two, one]).is_empty());
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_destination_stops_and_holds_the_journal_no_longer() {
    let (live, dead) = (Sink::start(|_, _| ok()).await, Sink::start(|_, _| Answer::Hang).await);
    let folder = tempfile::tempdir().expect("folder");
    let bench = Bench::with(folder.path(), |config| {
        let retention = Retention { age_max: None, bytes_max: Some(16 << 10), slow_reader: SlowReader::Keep };
        journal::Config { segment_bytes_max: 8 << 10, retention, ..config }
    });
    let journal = bench.source.journal.clone();
    let logs = "signals = [\"logs\"]\n";
    let (one, two) = (otlp("one", &live, "http/protobuf", logs), otlp("two", &dead, "http/protobuf", ""));
    let mut forwarding = bench.start(&[one.clone(), two]);
    for n in 0..100 {
        bench.append(&[&format!("{n:01000}")]);
    }
    at_rest(&observed(&forwarding, "one").await).await;
    let held = journal.retain();
    assert_eq!((held.segments, held.held_by_cursor), (0, 1), "{held:?}");
    assert_eq!(reload(&mut forwarding, &[one]), changes(&[], &[], &["two"]));
    eventually("its cursors are gone", || journal.cursor_names() == ["destination-one"]).await;
    assert!(forwarding.observed.all().iter().all(|observed| observed.name == "one"));
    let kept = journal.retain();
    assert!(kept.segments > 3 && kept.held_by_cursor == 0, "{kept:?}");
    let sent = dead.count();
    bench.append(&["after"]);
    eventually("the other goes on", || live.bodies().last().is_some_and(|body| body == "after")).await;
    assert_eq!(dead.count(), sent);
    assert!(folder_of(folder.path(), "two").is_dir(), "dead letters stay for the operator, as at a start");
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_moves_again_and_again_loses_nothing_and_repeats_nothing_that_was_answered() {
    let (still, left, right) =
        (Sink::start(|_, _| ok()).await, Sink::start(|_, _| ok()).await, Sink::start(|_, _| ok()).await);
    let bench = Bench::new();
    let one = otlp("one", &still, "http/protobuf", "");
    let places = [otlp("two", &left, "http/protobuf", ""), otlp("two", &right, "http/protobuf", "")];
    let mut forwarding = bench.start(&[one.clone(), places[0].clone()]);
    let figures = observed(&forwarding, "one").await.figures;
    let mut bodies = Vec::new();
    for n in 0..400 {
        bodies.push(format!("record {n}"));
        bench.append(&[&bodies[n]]);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if n % 80 == 0 {
            let all = [one.clone(), places[(n / 80 + 1) % 2].clone()];
            assert_eq!(reload(&mut forwarding, &all), changes(&[], &["two"], &[]), "{n}");
        }
    }
    let moved = || left.bodies().len() + right.bodies().len();
    eventually("all have moved", || moved() >= bodies.len()).await;
    at_rest(&observed(&forwarding, "one").await).await;
    let all: BTreeSet<String> = left.bodies().into_iter().chain(right.bodies()).collect();
    assert_eq!((all.len(), moved()), (400, 400), "each once");
    assert!(left.count() > 1 && right.count() > 1, "{} and {} requests", left.count(), right.count());
    assert_eq!(still.bodies(), bodies, "the one that stays, in order");
    assert!(Arc::ptr_eq(&figures, &observed(&forwarding, "one").await.figures));
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_when_a_destination_changes_comes_again_under_the_same_ids() {
    let (dead, live) = (Sink::start(|_, _| Answer::Hang).await, Sink::start(|_, _| ok()).await);
    let bench = Bench::new();
    let one = otlp("one", &dead, "http/protobuf", "");
    let mut forwarding = bench.start(std::slice::from_ref(&one));
    bench.append(&["a", "b"]);
    eventually("it is out", || dead.count() == 1).await;
    let moved = Destination { base_url: format!("http://{}", live.address), ..one };
    assert_eq!(reload(&mut forwarding, std::slice::from_ref(&moved)), changes(&[], &["one"], &[]));
    // Twice more while the first one ends: the last counts.
    let other = Destination { queue_bytes_max: 1 << 20, ..moved.clone() };
    assert_eq!(reload(&mut forwarding, std::slice::from_ref(&other)), changes(&[], &["one"], &[]));
    assert_eq!(reload(&mut forwarding, std::slice::from_ref(&moved)), changes(&[], &["one"], &[]));
    bench.append(&["c"]);
    eventually("all are there", || live.bodies() == ["a", "b", "c"]).await;
    assert_eq!(live.records()[..2], dead.records(), "ids are the same");
    assert_eq!(dead.count(), 1);
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_put_back_before_it_has_stopped_was_never_out() {
    let is_well = Arc::default();
    let sink = hanging_until(&is_well).await;
    let bench = Bench::new();
    let one = otlp("one", &sink, "http/protobuf", "");
    let mut forwarding = bench.start(std::slice::from_ref(&one));
    bench.append(&["a"]);
    eventually("it is out", || sink.count() == 1).await;
    assert_eq!(reload(&mut forwarding, &[]), changes(&[], &[], &["one"]));
    bench.append(&["b"]);
    assert!(reload(&mut forwarding, &[]).is_empty(), "it is told once");
    assert_eq!(reload(&mut forwarding, std::slice::from_ref(&one)), changes(&["one"], &[], &[]));
    is_well.store(true, Ordering::SeqCst);
    eventually("all are there", || sink.bodies() == ["a", "a", "b"]).await;

    // One that has gone begins anew.
    at_rest(&observed(&forwarding, "one").await).await;
    assert_eq!(reload(&mut forwarding, &[]), changes(&[], &[], &["one"]));
    eventually("it has gone", || bench.source.journal.cursor_names().is_empty()).await;
    bench.append(&["to nobody"]);
    assert_eq!(reload(&mut forwarding, &[one]), changes(&["one"], &[], &[]));
    bench.append(&["c"]);
    eventually("it goes on", || sink.bodies() == ["a", "a", "b", "c"]).await;
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_used_refuses_all_and_nothing_is_stopped_or_begun() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let (one, two) = (otlp("one", &sink, "http/protobuf", ""), otlp("two", &sink, "http/protobuf", ""));
    let forwarding = bench.start(&[one.clone(), two]);
    let before: Vec<_> = forwarding.observed.all().into_iter().map(|observed| observed.figures).collect();
    let cursors = bench.source.journal.cursor_names();
    let changed = Destination { requests_in_flight_max: 1, ..one };
    for more in [
        "credential_file = \"/nowhere/key\"\n",
        "ca_file = \"/nowhere/ca.pem\"\n",
        "client_cert_file = \"/nowhere/a\"\nclient_key_file = \"/nowhere/b\"\n",
    ] {
        let bad = otlp("three", &sink, "http/protobuf", more);
        let refused = forwarding.plan(&[changed.clone(), bad]).expect_err("cannot be used").to_string();
        assert!(refused.contains("destination \"three\"") && refused.contains("/nowhere/"), "{refused}");
    }
    bench.append(&["a"]);
    eventually("both go on", || sink.bodies() == ["a", "a"]).await;
    let after: Vec<_> = forwarding.observed.all().into_iter().map(|observed| observed.figures).collect();
    assert!(before.len() == 2 && before.iter().zip(&after).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!(bench.source.journal.cursor_names(), cursors);
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_credential_or_certificate_in_the_same_file_is_a_change() {
    let folder = tempfile::tempdir().expect("folder");
    let (key, ca) = (folder.path().join("key"), folder.path().join("ca.pem"));
    let write_key = |text: &str| replace(&key, text.as_bytes(), Access::Owner).expect("written");
    let write_ca = || {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
        replace(&ca, issued.cert.pem().as_bytes(), Access::Umask).expect("written");
    };
    write_key("first-key");
    write_ca();
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let one = otlp("one", &sink, "http/protobuf", &format!("credential_file = {key:?}\nca_file = {ca:?}\n"));
    let two = otlp("two", &Sink::start(|_, _| ok()).await, "http/protobuf", "");
    let all = [one, two];
    let mut forwarding = bench.start(&all);
    bench.append(&["a"]);
    eventually("sent with the first", || sink.count() == 1).await;
    // Written anew, and white space: nothing is another.
    write_key("first-key\n");
    assert!(reload(&mut forwarding, &all).is_empty());
    write_key("second-key");
    assert_eq!(reload(&mut forwarding, &all), changes(&[], &["one"], &[]));
    bench.append(&["b"]);
    eventually("sent with the second", || sink.count() == 2).await;
    let keys: Vec<_> =
        sink.received().iter().map(|received| received.headers["authorization"].clone()).collect();
    assert_eq!(keys, ["Bearer first-key", "Bearer second-key"]);
    write_ca();
    assert_eq!(reload(&mut forwarding, &all), changes(&[], &["one"], &[]));
    assert!(reload(&mut forwarding, &all).is_empty());
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_the_disk_does_not_let_begin_is_shown_and_begins_when_it_can() {
    let (first, second) = (Sink::start(|_, _| ok()).await, Sink::start(|_, _| ok()).await);
    let folder = tempfile::tempdir().expect("folder");
    let bench = Bench::at(folder.path());
    let (one, two) = (otlp("one", &first, "http/protobuf", ""), otlp("two", &second, "http/protobuf", ""));
    let mut forwarding = bench.start(std::slice::from_ref(&one));
    let in_the_way = folder_of(folder.path(), "two");
    replace(&in_the_way, b"a file where its folder is to be", Access::Umask).expect("written");
    let all = [one, two];
    assert_eq!(reload(&mut forwarding, &all), changes(&["two"], &[], &[]));
    let shown = observed(&forwarding, "two").await;
    eventually("it is told", || shown.row().last_error.is_some()).await;
    assert_eq!(shown.figures.is_up(), Some(false));
    let cursors = bench.source.journal.cursor_names();
    assert!(!cursors.iter().any(|name| name.ends_with("-two")), "nobody bounds what it holds: {cursors:?}");
    bench.append(&["a"]);
    eventually("the other goes on", || first.bodies() == ["a"]).await;
    std::fs::remove_file(&in_the_way).expect("removed");
    // Changed meanwhile: it still gets what came since it was added.
    let all = [all[0].clone(), Destination { requests_in_flight_max: 1, ..all[1].clone() }];
    assert_eq!(reload(&mut forwarding, &all), changes(&[], &["two"], &[]));
    eventually("it has begun", || second.bodies() == ["a"]).await;
    forwarding.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_stops_in_time_while_a_destination_is_stopping() {
    let sink = Sink::start(|_, _| Answer::Hang).await;
    let bench = Bench::new();
    let one = otlp("one", &sink, "http/protobuf", "");
    let mut forwarding = bench.start(std::slice::from_ref(&one));
    bench.append(&["a"]);
    eventually("it is out", || sink.count() == 1).await;
    assert_eq!(reload(&mut forwarding, &[]), changes(&[], &[], &["one"]));
    tokio::time::timeout(Duration::from_secs(8), forwarding.stop()).await.expect("within its 5 s");
    // The next start ends what this one has begun.
    bench.start(&[]).stop().await;
    assert_eq!(bench.source.journal.cursor_names(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_out_again_does_not_hold_up_the_end_and_stays_to_be_sent() {
    let sink = Sink::start(|n, _| if n == 0 { status(400) } else { Answer::Hang }).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append(&["a"]);
    let letters = DeadLetters::of(&folder_of(&bench.source.data_dir, "one"));
    eventually("it is kept", || !letters.list().expect("readable").is_empty()).await;
    letters.retry(&letters.list().expect("readable")[0].id).expect("there");
    eventually("it is out again", || sink.count() == 2).await;
    // A request has 30 s.
    tokio::time::timeout(Duration::from_secs(8), forwarding.stop()).await.expect("within its 5 s");
    assert!(letters.next_retry().expect("readable").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_of_many_requests_goes_on_in_its_middle_when_only_the_place_changes() {
    let (first, second) =
        (Sink::start(|n, _| if n < 2 { ok() } else { Answer::Hang }).await, Sink::start(|_, _| ok()).await);
    let bench = Bench::new();
    let newrelic = |sink: &Sink| {
        let text = format!(
            "[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\nendpoint = \"http://{}\"\n\
             credential_env = \"PATH\"\nrequests_in_flight_max = 1\ncompression = \"none\"\n",
            sink.address
        );
        destinations(&text)
    };
    let mut forwarding = bench.start(&newrelic(&first));
    let bodies: Vec<String> = (0..3_000).map(|n| format!("{n:01000}")).collect();
    bench.append(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    eventually("the third is out", || first.count() == 3).await;
    assert_eq!(reload(&mut forwarding, &newrelic(&second)), changes(&[], &["nr"], &[]));
    let answered: Vec<String> =
        first.received()[..2].iter().flat_map(|received| received.records()).map(|(_, body)| body).collect();
    eventually("all are there", || answered.len() + second.bodies().len() >= bodies.len()).await;
    let all: Vec<String> = answered.into_iter().chain(second.bodies()).collect();
    assert!(all == bodies, "{} records, each once and in order", all.len());
    let ids: BTreeMap<_, _> = first.records().into_iter().map(|(id, body)| (body, id)).collect();
    assert!(second.records().iter().all(|(id, body)| ids.get(body).is_none_or(|first| first == id)));
    forwarding.stop().await;
}
