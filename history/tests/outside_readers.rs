//! What docs/history.md tells people to run, run on real files by DuckDB, pandas and pyarrow; and a summary counted by a
//! program that shares no code with ours.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

#[path = "../../tests/support/tool.rs"]
mod tool;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use history::file;
use history::fold::Fold;
use history::partition::{JournalRange, Partition};
use journal::Position;
use journal::stream::{StreamEntry, StreamItem};
use muster::atomic_file::{Access, replace};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, StreamKey};
use muster::v1;
use muster::v1::event::Kind;
use tool::tool;

/// 2026-11-18T11:06:40Z.
const NOW_US: u64 = 1_795_000_000_000_000;

/// Runs of two workers, one of them sampled, and a report of usage; those of the second record failed.
fn record(position: u64, team: &str, status: v1::RunStatus) -> StreamItem {
    let mut builder = BatchBuilder::new();
    let identity =
        SourceIdentity { tool: "devloop".into(), project: "shop".into(), ..SourceIdentity::default() };
    let source = builder.source(&identity).expect("a test's own values");
    for (worker, weight) in [("linter", 1), ("tests", 20)] {
        let worker = builder.text(worker);
        let run = v1::RunFinished {
            worker,
            status: status.into(),
            duration_us: Some(1_000 * position),
            ..Default::default()
        };
        builder.push_weighted(WallTime(NOW_US + position), source, weight, Kind::RunFinished(run));
    }
    let usage = v1::Usage { input_tokens: 10, reported_cost_microusd: Some(250), ..Default::default() };
    builder.push(WallTime(NOW_US + position), source, Kind::Usage(usage));
    let sealed = builder.seal(Seq(1 + 3 * position)).expect("a test's own values");
    StreamItem::Batch(StreamEntry {
        position: Position(position),
        appended_wall: WallTime(NOW_US),
        key: StreamKey {
            team: team.parse().expect("a test's own values"),
            agent: AgentId::from_bytes([7; 16]),
            epoch: Epoch::try_from(1).expect("a test's own values"),
        },
        seqs: sealed.seqs,
        crc32c: sealed.crc32c,
        bytes: sealed.bytes,
    })
}

fn write(root: &Path, records: &[StreamItem], range: JournalRange) {
    let mut fold = Fold::new();
    records.iter().for_each(|record| fold.take(record).expect("a test's own values"));
    for (partition, batch) in fold.finish() {
        let bytes: Bytes = file::encode(partition.data_set, [batch], range).expect("a test's own values");
        let Partition { data_set, team, day } = partition;
        let folder = root.join(format!("{data_set}/team={team}/date={day}"));
        std::fs::create_dir_all(&folder).expect("a test's own values");
        let name = format!("5f0c9d1e-{:016x}-{:016x}.parquet", range.after.0, range.to.0);
        replace(&folder.join(name), &bytes, Access::Umask).expect("the folder can be written");
    }
}

fn range(after: u64, to: u64) -> JournalRange {
    JournalRange { after: Position(after), to: Position(to) }
}

/// Two files that were merged into a third and are still there.
fn history(folder: &Path) -> PathBuf {
    let root = folder.join("history");
    let first = record(1, "platform", v1::RunStatus::Success);
    let second = record(2, "platform", v1::RunStatus::Failure);
    write(&root, std::slice::from_ref(&first), range(0, 1));
    write(&root, std::slice::from_ref(&second), range(1, 2));
    write(&root, &[first, second], range(0, 2));
    root
}

fn script(python: &Path, name: &str, args: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers").join(name);
    let output = Command::new(python).arg(path).args(args).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the script prints text")
}

#[test]
fn the_snippets_of_the_page_run_as_they_stand() {
    let Some(python) = tool("MUSTER_TEST_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    history(folder.path());
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.md");
    let answers = script(&python, "history_reading.py", &[page, folder.path().to_str().unwrap()]);
    let answers: Vec<&str> = answers.lines().collect();
    // Who reads everything while files are merged sees them twice; who leaves the superseded out does not.
    assert_eq!(answers[0], r#"["sql", [["tests", "80", "0.5", "2.0"], ["linter", "4", "0.5", "2.0"]]]"#);
    assert_eq!(answers[1], r#"["sql", [["platform", "2026-11-18", "42"]]]"#);
    assert!(answers[2].contains("tests") && answers[2].contains("failure"), "{}", answers[2]);
    assert_eq!(answers[3], r#"["python", "1000 millionths of a US dollar\n"]"#);
    assert_eq!(answers.len(), 4);
}

#[test]
fn the_independent_count_leaves_superseded_files_out_and_knows_weights() {
    let Some(python) = tool("MUSTER_TEST_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = history(folder.path());
    let (from, to) = (NOW_US.to_string(), (NOW_US + 1_000_000).to_string());
    let args = ["summary", root.to_str().unwrap(), "--from", &from, "--to", &to, "--by", "agent"];
    let answer = script(&python, "history_check.py", &args);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let runs = &answer["total"]["runs"];
    assert_eq!((&runs["total"], &runs["success"], &runs["failure"]), (&42.into(), &21.into(), &21.into()));
    assert_eq!((&runs["duration"]["p50_us"], &runs["duration"]["p95_us"]), (&1_000.into(), &2_000.into()));
    assert_eq!(answer["total"]["usage"]["reported_cost_microusd"], 500);
    let groups: Vec<_> =
        answer["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(groups, ["tests".into(), "linter".into(), serde_json::Value::Null]);
    let summary: history::summary::Summary = serde_json::from_value(answer).expect("it is a Summary");
    assert_eq!(summary.groups[0].figures.runs.total, 40);
}
