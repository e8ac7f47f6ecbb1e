//! Cursors, bounds, filters, and destinations beside each other.

use std::collections::{BTreeMap, BTreeSet};

use super::sink::{Answer, Sink, grpc_ok, ok, status};
use super::*;

#[tokio::test]
async fn a_new_destination_begins_at_the_journals_end() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    bench.append(&["before"]);
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append(&["after"]);
    eventually("one record", || sink.bodies() == ["after"]).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_destination_that_never_answers_does_not_hold_another() {
    let (dead, live) = (Sink::start(|_, _| Answer::Hang).await, Sink::start(|_, _| grpc_ok()).await);
    let bench = Bench::new();
    let forwarding =
        bench.start(&[otlp("dead", &dead, "http/protobuf", ""), otlp("live", &live, "grpc", "")]);
    for n in 0..500 {
        bench.append(&[&format!("record {n}")]);
    }
    let [first, second] = forwarding.observed.all().try_into().expect("two");
    eventually("all delivered", || second.figures.delivered.value(Signal::Logs) == 500).await;
    at_rest(&second).await;
    assert_eq!(first.figures.delivered.value(Signal::Logs), 0);
    assert!(first.queued_records() >= 500);
    assert!(dead.count() <= 4, "{} requests are out", dead.count());
    // It is given 5 s to answer, and then left.
    forwarding.stop().await;
}

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_at_most_what_was_out() {
    let folder = tempfile::tempdir().expect("folder");
    let sink = Sink::start(|n, _| if n < 2 { ok() } else { Answer::Hang }).await;
    let destination = otlp("one", &sink, "http/protobuf", "requests_in_flight_max = 3\n");
    let mut bodies = Vec::new();
    let first_life = {
        let bench = Bench::at(folder.path());
        let forwarding = bench.start(std::slice::from_ref(&destination));
        for n in 0..30 {
            bodies.push(format!("record {n}"));
            bench.append(&[&bodies[n]]);
            // Not all in one request.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        eventually("three are out", || sink.count() >= 5).await;
        forwarding.stop().await;
        sink.received()
    };
    let out = first_life.len() - 2;
    assert!(out <= 3, "{out} requests were out");

    let second = Sink::start(|_, _| ok()).await;
    let destination = Destination { base_url: format!("http://{}", second.address), ..destination };
    let bench = Bench::at(folder.path());
    let forwarding = bench.start(&[destination]);
    eventually("all are there", || {
        let mut seen: BTreeSet<_> = second.bodies().into_iter().collect();
        seen.extend(first_life.iter().take(2).flat_map(|r| r.records()).map(|(_, body)| body));
        seen == bodies.iter().cloned().collect()
    })
    .await;
    // What was answered and committed is not sent again; ids of what is are the same.
    let answered: BTreeSet<_> = first_life.iter().take(2).flat_map(|r| r.records()).collect();
    let again: Vec<_> = second.records().into_iter().filter(|record| answered.contains(record)).collect();
    assert_eq!(again, [], "repeated though committed");
    let ids: BTreeMap<_, _> =
        first_life.iter().flat_map(|r| r.records()).map(|(id, body)| (body, id)).collect();
    for (id, body) in second.records() {
        assert!(ids.get(&body).is_none_or(|first| *first == id), "{body} has another id");
    }
    forwarding.stop().await;
}

#[tokio::test]
async fn a_record_of_more_requests_than_may_be_out_is_sent_once() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let text = format!(
        "[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\nendpoint = \"http://{}\"\n\
         credential_env = \"PATH\"\nrequests_in_flight_max = 1\ncompression = \"none\"\n",
        sink.address
    );
    let forwarding = bench.start(&destinations(&text));
    let bodies: Vec<String> = (0..3_000).map(|n| format!("{n:01000}")).collect();
    bench.append(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert!(sink.count() > 3, "{} requests", sink.count());
    assert!(sink.received().iter().all(|received| received.message.len() < 1_000_000));
    assert_eq!(sink.bodies(), bodies);
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn what_a_full_queue_drops_is_counted_exactly_and_the_rest_arrives_in_order() {
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = is_up.clone();
    let sink = Sink::start(
        move |_, _| {
            if up.load(std::sync::atomic::Ordering::SeqCst) { ok() } else { status(503) }
        },
    )
    .await;
    let bench = Bench::new();
    let destination = Destination { queue_bytes_max: 2_000_000, ..otlp("one", &sink, "http/protobuf", "") };
    let forwarding = bench.start(&[destination]);
    for n in 0..1_000 {
        bench.append(&[&format!("{n:010000}")]);
    }
    let observed = forwarding.observed.all()[0].clone();
    eventually("the bound is kept", || observed.queued_bytes() <= 2_000_000).await;
    is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    at_rest(&observed).await;
    let dropped = observed.figures.dropped()[&("logs", "queue_full")];
    let delivered = observed.figures.delivered.value(Signal::Logs);
    assert_eq!(dropped + delivered, 1_000);
    assert!(dropped > 500 && delivered > 50, "{dropped} dropped, {delivered} delivered");
    assert_conserved(&observed).await;
    let taken: BTreeSet<String> = sink.bodies().into_iter().collect();
    // The newest are those that arrived.
    let newest: BTreeSet<String> = (1_000 - delivered..1_000).map(|n| format!("{n:010000}")).collect();
    assert!(newest.is_subset(&taken));
    forwarding.stop().await;
}

#[tokio::test]
async fn filters_choose_by_team_project_and_severity_and_count_the_rest() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let more = "filter = { team = [\"platform\"], project = [\"shop\"], severity = \"warn\" }\nsignals = [\"logs\"]\n";
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", more)]);
    bench.append_as("platform", logs(&["yes"], "shop", 13), 1);
    bench.append_as("platform", logs(&["calm"], "shop", 9), 1);
    bench.append_as("platform", logs(&["other project"], "blog", 17), 1);
    bench.append_as("mobile", logs(&["other team"], "shop", 17), 1);
    bench.append_signal("platform", Signal::Traces, Bytes::new(), 3);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(sink.bodies(), ["yes"]);
    let figures = &observed.figures;
    assert_eq!((figures.accepted.value(Signal::Logs), figures.filtered.value(Signal::Logs)), (1, 3));
    assert_eq!(figures.filtered.value(Signal::Traces), 3);
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_not_configured_any_more_holds_the_journal_no_longer() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let (one, two) = (otlp("one", &sink, "http/protobuf", ""), otlp("one-state", &sink, "grpc", ""));
    bench.start(&[one, two.clone()]).stop().await;
    assert_eq!(bench.source.journal.cursor_names().len(), 4);
    bench.start(&[two]).stop().await;
    assert_eq!(bench.source.journal.cursor_names(), ["destination-one-state", "destination_state-one-state"]);
}

#[tokio::test]
async fn a_payload_that_is_no_otlp_costs_itself_alone() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append_as("default", Bytes::from_static(b"\xff\xff\xff"), 2);
    bench.append(&["good"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(sink.bodies(), ["good"]);
    assert_eq!(observed.figures.dropped().get(&("logs", "malformed")), Some(&2));
    assert_conserved(&observed).await;
    forwarding.stop().await;
}
