//! Bytes and values that nobody would write.

use muster::clock::WallTime;
use proptest::prelude::*;
use serde_json::Value;

use super::super::active::ActiveIssues;
use super::super::report::{Health, Report};
use super::super::rows::{self, Row};
use super::super::sampling::Sampling;
use super::super::seen::RowId;
use super::super::{events_jsonl, feedback, position::Position};
use super::{Facts, Project, Watcher};
use crate::facts::Privacy;

/// Every file that the source reads.
const FILES: [&str; 14] = [
    "agents.json",
    ".init-manifest.json",
    "events.db",
    "events.db-journal",
    "events.db-wal",
    "events.jsonl",
    "performance/metrics.jsonl",
    "feedback/feedback.jsonl",
    "context/immediate.json",
    "context/relevant.json",
    "daemon.heartbeat",
    "devloop.pid",
    "backups/change_log.json",
    "context/auto_fixed.json",
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        Just(Value::from("2026-03-10T09:00:00Z")),
        Just(Value::from("linter")),
    ];
    let keys = prop::sample::select(vec![
        "event_type",
        "timestamp",
        "agent",
        "agent_name",
        "success",
        "duration",
        "duration_ms",
        "message",
        "error",
        "data",
        "details",
        "file",
        "issues",
        "severity",
        "code",
        "failed",
        "path",
        "stages",
        "feedback_type",
        "resource_usage_end",
        "disk_read_mb",
        "changes",
        "backup_id",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

fn kind() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("agent:linter:completed".to_owned()),
        Just("file:moved".to_owned()),
        Just("agent:resource_limit_exceeded".to_owned()),
        Just("pipeline:x:completed".to_owned()),
        "[a-z:*]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_payload_and_no_line_breaks_the_core(
        kind in kind(),
        payload in json_value(),
        made in any::<Option<u64>>(),
        stored in any::<Option<u64>>(),
        raw in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut facts = Facts::new(Privacy::default());
        facts.speak_for("devloop", "", &Project::new().context());
        let mut health = Health::default();
        let now = WallTime(1_773_144_000_000_000);
        let mut report =
            Report { facts: &mut facts, sampling: Sampling::default(), now, health: &mut health };
        let mut active = ActiveIssues::default();
        for payload in [payload.to_string().into_bytes(), raw] {
            let line = [&payload[..], b"\n"].concat();
            let row = Row { rowid: 1, id: RowId(1), kind: kind.clone(), made: made.map(WallTime),
                            stored: stored.map(WallTime), payload: Some(payload) };
            rows::state(&row, false, &mut active, &mut report);
            let reading = events_jsonl::Reading { count_runs: true, counted_through: None };
            events_jsonl::state(&line, reading, &mut active, &mut report);
            feedback::state(&line, None, &mut report);
            feedback::state_fixes(&line, &mut Vec::new(), &mut report);
        }
    }

    #[test]
    fn no_bytes_break_a_position(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(position) = Position::decode(&bytes) {
            prop_assert_eq!(Position::decode(&position.encode()), Some(position));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_bytes_in_every_file_are_survived(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), FILES.len()),
        keep_header in any::<bool>(),
    ) {
        let project = Project::new();
        for (name, content) in FILES.iter().zip(contents) {
            let content = if keep_header && *name == "events.db" {
                [b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20", &content[..]].concat()
            } else {
                content
            };
            project.write(name, &content);
        }
        let mut watcher = Watcher::of(&project);
        for rescan in [true, false, true] {
            watcher.monotonic += std::time::Duration::from_secs(300);
            watcher.step(rescan);
        }
    }

    #[test]
    fn a_damaged_fixture_is_survived(
        damage in prop::collection::vec((0..FILES.len(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of((0..FILES.len(), any::<prop::sample::Index>())),
        fixture in prop::sample::select(vec!["failing", "hot-journal", "sqlite-wal"]),
    ) {
        let project = Project::copy_of(fixture);
        let change = |file: usize, change: &dyn Fn(&mut Vec<u8>)| {
            if let Ok(mut bytes) = std::fs::read(project.state().join(FILES[file]))
                && !bytes.is_empty()
            {
                change(&mut bytes);
                project.write(FILES[file], &bytes);
            }
        };
        for (file, at, byte) in damage {
            change(file, &|bytes| *at.get_mut(bytes) = byte);
        }
        if let Some((file, at)) = cut {
            change(file, &|bytes| bytes.truncate(at.index(bytes.len())));
        }
        let mut watcher = Watcher::of(&project);
        for _ in 0..20 {
            watcher.monotonic += std::time::Duration::from_secs(300);
            if !watcher.step(false).more {
                break;
            }
        }
        watcher.restart();
        watcher.step(true);
    }
}
