//! Every figure against DuckDB, which reads the same files with code that nobody here wrote (tests/peers/history_check.py).

#[path = "../../../../tests/support/tool.rs"]
mod tool;

use std::path::Path;
use std::process::Command;

use tool::tool;

use super::*;
use crate::dataset::DataSet;
use crate::reader::fake::now;

/// Writes the files as a store in a folder has them.
fn lay_out(fake: &Fake, root: &Path) {
    use object_store::ObjectStoreExt;
    for file in fake.files.files() {
        let bytes = now(async { fake.files.objects.get(&file.path).await.unwrap().bytes().await.unwrap() });
        let path = root.join(file.path.as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own folder need not survive a crash")]
        std::fs::write(path, bytes).unwrap();
    }
}

/// What DuckDB counts.
fn counted(python: &Path, root: &Path, asked: &SummaryAsked) -> serde_json::Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/history_check.py");
    let mut command = Command::new(python);
    command.arg(script).arg("summary").arg(root);
    command.args(["--from", &asked.range.from.0.to_string(), "--to", &asked.range.to.0.to_string()]);
    if let Some(by) = asked.by {
        command.args(["--by", by.name()]);
    }
    if asked.compare {
        command.arg("--compare");
    }
    let filter = &asked.filter;
    let team = filter.team.as_ref().map(ToString::to_string);
    for (option, value) in [
        ("--team", &team),
        ("--project", &filter.project),
        ("--tool", &filter.tool),
        ("--agent", &filter.worker),
        ("--user", &filter.user),
        ("--status", &filter.status),
    ] {
        if let Some(value) = value {
            command.args([option, value]);
        }
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_figure_is_the_one_that_duckdb_counts() {
    let Some(python) = tool("MUSTER_TEST_PYTHON") else { return };
    let rng = &mut fastrand::Rng::with_seed(31);
    let fake = Fake::with_events(rng, 2_500, 80, 2);
    fake.files.flush(&fake.log, fake.history.position());
    let folder = tempfile::tempdir().unwrap();
    lay_out(&fake, folder.path());
    let rows: usize =
        DataSet::ALL.iter().flat_map(|set| fake.truth(*set)).map(|(_, batch)| batch.num_rows()).sum();
    assert!(rows >= 50_000, "only {rows} rows");
    let at = |hours: u64| WallTime(START.0 + hours * HOUR_US);
    let whole = TimeRange { from: at(0), to: at(90) };
    let part = TimeRange { from: WallTime(at(20).0 + 123_457), to: WallTime(at(41).0 + 999_999) };
    let some = |text: &str| Some(text.to_owned());
    let linter = Filter { worker: some("linter"), ..Filter::default() };
    let failures = Filter { status: some("failure"), user: some("ann"), ..Filter::default() };
    let team = Filter { team: Some("platform".parse().unwrap()), tool: some("devloop"), ..Filter::default() };
    let project = Filter { project: some("project-1"), ..Filter::default() };
    let mut questions: Vec<SummaryAsked> = By::ALL
        .into_iter()
        .map(|by| SummaryAsked { range: whole, filter: Filter::default(), by: Some(by), compare: false })
        .collect();
    questions.extend([linter, failures, team, project].map(|filter| SummaryAsked {
        range: part,
        filter,
        by: Some(By::Agent),
        compare: true,
    }));
    for asked in questions {
        let summary = fake.history.summary(&asked).unwrap();
        assert!(summary.total.runs.total > 100, "{asked:?}");
        assert_eq!(summary.notices, [""; 0]);
        let ours = serde_json::to_value(&summary).unwrap();
        assert_eq!(ours, counted(&python, folder.path(), &asked), "{asked:?}");
        // Values that are not counted one by one give no other answer.
        for values_max in [100, 10_000] {
            assert_eq!(summarise(&fake.history, &asked, values_max).unwrap(), summary, "{asked:?}");
        }
    }
}
