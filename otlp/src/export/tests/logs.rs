//! Events as log records.

use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;
use prost::Message;

use super::super::{EventFacts, EventSeverity, Exported};
use super::{NOON, assert_is_file, attributes, batch, full, identity, key};
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::logs::LogRecord;

const APPENDED: WallTime = WallTime(NOON.0 + 90_000_000);

fn export(batch: &v1::Batch, wanted: impl FnMut(&EventFacts<'_>) -> bool) -> Exported {
    super::super::logs(&key(), APPENDED, batch, wanted)
}

fn decoded(exported: &Exported) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest::decode(&exported.request[..]).expect("what we write can be read")
}

/// All records of a batch of one source.
pub(super) fn records(batch: &v1::Batch) -> Vec<LogRecord> {
    let mut request = decoded(&export(batch, |_| true));
    assert_eq!(request.resource_logs.len(), 1);
    std::mem::take(&mut request.resource_logs[0].scope_logs[0].log_records)
}

#[test]
fn every_kind_says_all_that_it_knows() {
    let batch = batch("loki", full);
    let mut told = String::new();
    for record in records(&batch) {
        told.push_str(&format!("{} {}", record.event_name, record.severity_text));
        for (key, value) in attributes(&record.attributes) {
            if key != "muster.item.id" {
                told.push_str(&format!(" {}={value}", key.trim_start_matches("muster.")));
            }
        }
        told.push('\n');
    }
    assert_is_file("src/export/tests/logs.golden", &told);
}

#[test]
fn a_record_has_times_severity_name_id_and_place() {
    let batch = batch("loki", full);
    let records = records(&batch);
    let run = &records[0];
    assert_eq!(run.time_unix_nano, 1_771_588_800_000_000_000);
    assert_eq!(run.observed_time_unix_nano, 1_771_588_890_000_000_000);
    assert_eq!((run.severity_number, run.severity_text.as_str()), (13, "WARN"));
    let id = attributes(&run.attributes)["muster.item.id"].clone();
    assert_eq!(id, "abababababababababababababababab-0000000000000007-101");
    assert_eq!((run.trace_id.len(), run.span_id.len()), (16, 8));
    // The start of the run is in the span of the run, the usage of the session in that of the session.
    assert_eq!((&records[1].trace_id, &records[1].span_id), (&run.trace_id, &run.span_id));
    let (session, usage) = (&records[3], &records[13]);
    assert_eq!((&usage.trace_id, &usage.span_id), (&session.trace_id, &session.span_id));
    assert_eq!(session.trace_id, run.trace_id);
    assert_ne!(session.span_id, run.span_id);
    assert!(records[4].trace_id.is_empty() && records[4].span_id.is_empty(), "a queue has no session");
}

#[test]
fn the_resource_says_who_and_where_and_leaves_out_what_is_not_known() {
    let batch = batch("loki", |_| vec![Kind::SourceEnded(v1::SourceEnded {})]);
    let request = decoded(&export(&batch, |_| true));
    let resource = request.resource_logs[0].resource.as_ref().expect("there");
    let told: Vec<_> = attributes(&resource.attributes).into_iter().collect();
    let expected = [
        ("host.name", "laptop-17"),
        ("muster.project", "shop"),
        ("muster.team", "core"),
        ("muster.tool", "loki"),
        ("muster.tool.version", "5.2"),
        ("os.type", "darwin"),
        ("service.instance.id", "core/dana@laptop-17/shop"),
        ("service.name", "muster"),
        ("user.name", "dana"),
        ("vcs.ref.head.name", "main"),
        ("vcs.repository.name", "shop"),
    ];
    assert_eq!(told, expected.map(|(key, value)| (key, value.to_owned())));
    let scope = request.resource_logs[0].scope_logs[0].scope.as_ref().expect("there");
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("muster", env!("CARGO_PKG_VERSION")));

    let mut unknown = batch.clone();
    unknown.sources[0] = v1::Source { tool: unknown.sources[0].tool, ..Default::default() };
    let request = decoded(&export(&unknown, |_| true));
    let resource = request.resource_logs[0].resource.as_ref().expect("there");
    let told: Vec<_> = attributes(&resource.attributes).into_keys().collect();
    assert_eq!(told, ["muster.team", "muster.tool", "service.instance.id", "service.name"]);
}

#[test]
fn unknown_kinds_are_counted_and_what_came_over_otlp_is_left_alone() {
    let mut batch = batch("claude", |_| {
        vec![
            Kind::OtlpPayload(v1::OtlpPayload { item_count: 3, ..Default::default() }),
            Kind::FilesWatched(v1::FilesWatched { count: 1 }),
        ]
    });
    batch.events.push(v1::Event::default());
    let exported = export(&batch, |_| true);
    assert_eq!((exported.items, exported.unwanted, exported.unknown), (1, 0, 1));
    // The unknown event has its number all the same.
    batch.events.swap(1, 2);
    let moved = records(&batch);
    assert!(attributes(&moved[0].attributes)["muster.item.id"].ends_with("-103"));
}

#[test]
fn a_filter_sees_team_tool_project_name_and_severity() {
    let batch = batch("devloop", full);
    let mut seen = Vec::new();
    let exported = export(&batch, |facts| {
        assert_eq!((facts.team, facts.tool, facts.project), ("core", "devloop", "shop"));
        seen.push((facts.name, facts.severity));
        facts.severity >= EventSeverity::Warn
    });
    assert_eq!(seen.len(), batch.events.len());
    let names: Vec<_> = seen.iter().filter(|(_, severity)| *severity >= EventSeverity::Warn).collect();
    let kept = decoded(&exported);
    let kept: Vec<_> =
        kept.resource_logs[0].scope_logs[0].log_records.iter().map(|r| &r.event_name).collect();
    assert_eq!(kept, names.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(exported.items + exported.unwanted, batch.events.len() as u64);

    let nothing = export(&batch, |_| false);
    assert!(nothing.request.is_empty() && nothing.items == 0);
}

#[test]
fn severity_follows_kind_and_status() {
    use EventSeverity::{Debug, Error, Info, Warn};
    let run = |status: v1::RunStatus| {
        Kind::RunFinished(v1::RunFinished { status: status.into(), ..Default::default() })
    };
    let finding = |severity: v1::Severity, change: v1::FindingChange| {
        let (severity, change) = (severity.into(), change.into());
        Kind::Finding(v1::Finding { severity, change, ..Default::default() })
    };
    let push = |allowed| Kind::PushChecked(v1::PushChecked { allowed, ..Default::default() });
    let ended = |exit_code| Kind::SessionState(v1::SessionState { exit_code, ..Default::default() });
    let log = |severity| Kind::LogRecord(v1::LogRecord { severity, ..Default::default() });
    let cases = [
        (run(v1::RunStatus::Success), Info),
        (run(v1::RunStatus::Skipped), Debug),
        (run(v1::RunStatus::Failure), Warn),
        (run(v1::RunStatus::Error), Error),
        (run(v1::RunStatus::Unspecified), Info),
        (finding(v1::Severity::Critical, v1::FindingChange::Found), Error),
        (finding(v1::Severity::Critical, v1::FindingChange::Fixed), Info),
        (finding(v1::Severity::High, v1::FindingChange::Found), Warn),
        (finding(v1::Severity::Medium, v1::FindingChange::Found), Info),
        (push(true), Info),
        (push(false), Warn),
        (ended(None), Info),
        (ended(Some(0)), Info),
        (ended(Some(130)), Warn),
        (log(v1::LogSeverity::Debug.into()), Debug),
        (log(v1::LogSeverity::Error.into()), Error),
        (log(0), Info),
        (log(99), Info),
    ];
    for (kind, severity) in cases {
        assert_eq!(
            super::super::events::title(&kind).map(|title| title.severity),
            Some(severity),
            "{kind:?}"
        );
    }
}

#[test]
fn each_source_has_a_resource_of_its_own_and_repeats_are_the_same_bytes() {
    let mut builder = muster::batch::BatchBuilder::new();
    let first = builder.source(&identity("loki", "shop")).expect("room");
    let quiet = builder.source(&identity("claude", "shop")).expect("room");
    let second = builder.source(&identity("loki", "bank")).expect("room");
    assert_ne!(quiet, second);
    for source in [second, first, second] {
        builder.push_weighted(NOON, source, 5, Kind::LinesRecorded(v1::LinesRecorded { count: 1 }));
    }
    let batch = builder.as_batch();
    let request = decoded(&export(batch, |_| true));
    let told = |index: usize| {
        let logs = &request.resource_logs[index];
        let resource = attributes(&logs.resource.as_ref().expect("there").attributes);
        (resource["muster.project"].clone(), logs.scope_logs[0].log_records.len())
    };
    assert_eq!(request.resource_logs.len(), 2);
    assert_eq!((told(0), told(1)), (("shop".to_owned(), 1), ("bank".to_owned(), 2)));
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(attributes(&record.attributes)["muster.weight"], "5i");
    assert_eq!(export(batch, |_| true), export(batch, |_| true));
}

#[test]
fn what_is_not_known_is_no_attribute_and_numbers_stay_in_range() {
    let batch = batch("loki", |_| {
        vec![
            Kind::Usage(v1::Usage::default()),
            Kind::CostTotal(v1::CostTotal { cost_usd: f64::NAN }),
            Kind::FilesWatched(v1::FilesWatched { count: u64::MAX }),
            Kind::RunFinished(v1::RunFinished { status: 77, ..Default::default() }),
        ]
    });
    let records = records(&batch);
    let told: Vec<_> = records.iter().map(|record| attributes(&record.attributes)).collect();
    assert_eq!(told[0].len(), 1, "the id alone: {:?}", told[0]);
    assert_eq!(told[1].len(), 1, "the id alone: {:?}", told[1]);
    assert_eq!(told[2]["muster.files.watched"], format!("{}i", i64::MAX));
    assert_eq!(told[3]["muster.run.status"], "unknown");
}
