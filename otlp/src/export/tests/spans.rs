//! Sessions and runs as spans.

use muster::batch::BatchBuilder;
use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;
use prost::Message;

use super::super::{Exported, spans};
use super::{NOON, attributes, batch, full, identity, key};
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::trace::Span;

fn decoded(exported: &Exported) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(&exported.request[..]).expect("can be read");
    request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

fn all(batch: &v1::Batch) -> Vec<Span> {
    decoded(&spans(&key(), batch, |_| true))
}

fn run(session: u32, run_id: u64, status: v1::RunStatus, duration_us: Option<u64>) -> Kind {
    Kind::RunFinished(v1::RunFinished {
        session,
        run_id,
        status: status.into(),
        duration_us,
        ..Default::default()
    })
}

#[test]
fn a_run_is_a_span_below_that_of_its_session() {
    let exported = spans(&key(), &batch("loki", full), |_| true);
    let spans = decoded(&exported);
    assert_eq!((exported.items, spans.len()), (2, 2));
    let (run, session) = (&spans[0], &spans[1]);
    assert_eq!((run.name.as_str(), session.name.as_str()), ("run linter", "session"));
    assert_eq!((&run.trace_id, &run.parent_span_id), (&session.trace_id, &session.span_id));
    assert!(session.parent_span_id.is_empty());
    assert_eq!(run.end_time_unix_nano, NOON.0 * 1000);
    assert_eq!(run.end_time_unix_nano - run.start_time_unix_nano, 1_500_000_000);
    assert_eq!(session.end_time_unix_nano, NOON.0 * 1000);
    assert_eq!(session.end_time_unix_nano - session.start_time_unix_nano, 60_000_000_000);
    let told = attributes(&run.attributes);
    assert_eq!((told["muster.worker"].as_str(), told["error.type"].as_str()), ("linter", "failure"));
    assert_eq!(told["muster.run.duration_us"], "1500000i");
    assert_eq!(attributes(&session.attributes)["muster.session.result"], "completed");
}

#[test]
fn ids_are_these_for_ever() {
    let spans = all(&batch("loki", full));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&spans[0].trace_id), "3d19731d75b91832112edc3aabd4267e");
    assert_eq!(hex(&spans[0].span_id), "62a4686946f732de");
    assert_eq!(hex(&spans[1].span_id), "2853a10a92caccda");
}

#[test]
fn a_repeat_has_the_same_ids_wherever_the_event_stands() {
    let make = |t: &mut dyn FnMut(&str) -> u32| {
        let session = t("s-1");
        vec![run(session, 5, v1::RunStatus::Success, Some(1)), run(session, 0, v1::RunStatus::Success, None)]
    };
    let first = batch("loki", make);
    let mut later = first.clone();
    later.first_seq += 1000;
    let (first, later) = (all(&first), all(&later));
    assert_eq!((&first[0].trace_id, &first[0].span_id), (&later[0].trace_id, &later[0].span_id));
    // A run without an id is known by its event, and that is another one now.
    assert_ne!(first[1].span_id, later[1].span_id);
    assert_eq!(first[1].trace_id, later[1].trace_id);
}

#[test]
fn sessions_of_the_same_name_elsewhere_are_other_traces() {
    let traces: Vec<_> = ["user", "host", "tool", "project"]
        .map(|what| {
            let mut who = identity("loki", "shop");
            match what {
                "user" => who.user = "eve".into(),
                "host" => who.host = "laptop-18".into(),
                "tool" => who.tool = "claude".into(),
                _ => who.project = "bank".into(),
            }
            let mut builder = BatchBuilder::new();
            let source = builder.source(&who).expect("room");
            let session = builder.text("s-1");
            builder.push(NOON, source, run(session, 5, v1::RunStatus::Success, None));
            all(builder.as_batch())[0].trace_id.clone()
        })
        .into();
    let mut distinct = traces.clone();
    distinct.push(all(&batch("loki", full))[0].trace_id.clone());
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "{traces:?}");
}

#[test]
fn a_run_without_a_session_is_a_trace_of_its_own() {
    let batch =
        batch("devloop", |_| [7, 8, 0, 0].map(|id| run(0, id, v1::RunStatus::Success, Some(1))).into());
    let spans = all(&batch);
    let mut traces: Vec<_> = spans.iter().map(|span| &span.trace_id).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 4);
    assert!(spans.iter().all(|span| span.parent_span_id.is_empty() && span.name == "run"));
}

#[test]
fn a_duration_that_is_not_known_is_not_made_up() {
    let ended = |started_time_us: Option<u64>, session| {
        Kind::SessionState(v1::SessionState {
            session,
            started_time_us,
            ended_time_us: Some(NOON.0),
            ..Default::default()
        })
    };
    let batch = batch("loki", |t| {
        vec![
            run(0, 1, v1::RunStatus::Success, None),
            run(0, 2, v1::RunStatus::Success, Some(0)),
            ended(None, t("a")),
            ended(Some(NOON.0 + 1), t("b")),
            ended(Some(NOON.0 - 1), t("c")),
        ]
    });
    let told: Vec<_> = all(&batch)
        .iter()
        .map(|span| {
            let known = attributes(&span.attributes).get("muster.duration.known").cloned();
            (span.end_time_unix_nano - span.start_time_unix_nano, known)
        })
        .collect();
    let unknown = Some("false".to_owned());
    assert_eq!(told, [(0, unknown.clone()), (0, None), (0, unknown.clone()), (0, unknown), (1000, None)]);
}

#[test]
fn status_is_that_of_the_run_and_the_exit_code() {
    let exit = |exit_code, session| {
        let ended_time_us = Some(NOON.0);
        Kind::SessionState(v1::SessionState { session, exit_code, ended_time_us, ..Default::default() })
    };
    let batch = batch("loki", |t| {
        let mut kinds: Vec<_> = [
            v1::RunStatus::Unspecified,
            v1::RunStatus::Success,
            v1::RunStatus::Failure,
            v1::RunStatus::Error,
            v1::RunStatus::Skipped,
        ]
        .map(|status| run(0, 1, status, None))
        .into();
        kinds.extend([exit(None, t("a")), exit(Some(0), t("b")), exit(Some(2), t("c"))]);
        kinds
    });
    let told = all(&batch).into_iter().map(|span| span.status.map(|status| (status.code, status.message)));
    let ok = Some((1, String::new()));
    let error = |word: &str| Some((2, word.to_owned()));
    let expected =
        [None, ok.clone(), error("failure"), error("error"), ok.clone(), None, ok, error("exit_code")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn what_has_not_ended_is_no_span_and_filters_are_asked_for_what_has() {
    let mut batch = batch("loki", |t| {
        let running = v1::SessionState { session: t("s-1"), ..Default::default() };
        let nameless = v1::SessionState { ended_time_us: Some(NOON.0), ..Default::default() };
        vec![
            Kind::RunStarted(v1::RunStarted { run_id: 1, ..Default::default() }),
            Kind::SessionState(running),
            Kind::SessionState(nameless),
            run(0, 1, v1::RunStatus::Error, None),
        ]
    });
    batch.events.push(v1::Event::default());
    let mut asked = Vec::new();
    let exported = spans(&key(), &batch, |facts| {
        asked.push((facts.name, facts.tool.to_owned()));
        false
    });
    assert_eq!(asked, [("muster.run.finished", "loki".to_owned())]);
    let expected = Exported { unwanted: 1, unknown: 1, ..Default::default() };
    assert_eq!(exported, expected);
}

#[test]
fn times_that_no_clock_had_do_not_wrap_around() {
    let mut builder = BatchBuilder::new();
    let source = builder.source(&identity("loki", "shop")).expect("room");
    builder.push(WallTime(u64::MAX), source, run(0, 1, v1::RunStatus::Success, Some(1)));
    builder.push(WallTime(5), source, run(0, 2, v1::RunStatus::Success, Some(u64::MAX)));
    for span in all(builder.as_batch()) {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
}
