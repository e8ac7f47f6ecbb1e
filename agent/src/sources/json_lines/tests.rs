#![allow(clippy::disallowed_methods, reason = "a test moves files as rotation does")]

use std::io::Write;

use muster::batch::BatchView;
use muster::clock::Monotonic;
use muster::v1::RunStatus;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{AgentConfig, Overrides};
use crate::facts::Privacy;
use crate::processes::ProcTable;

const NOW: WallTime = WallTime(1_773_200_000_000_000);

const CONFIG: &str = r#"
[[agent.source]]
name = "nightly"
path = "PATH"
kind = "run"
when = { event = ["done", "failed"] }
[agent.source.time]
field = "ts"
[agent.source.fields]
worker = "job.name"
status = { field = "result", map = { ok = "success", bad = "failure" }, default = "error" }
duration = { field = "took_ms", unit = "ms" }
"#;

fn configured(text: &str) -> Result<SourceConfig, String> {
    AgentConfig::parse(text, Overrides::default(), &|_| None)
        .map(|config| config.sources[0].clone())
        .map_err(|error| error.to_string())
}

fn config(path: &Path) -> SourceConfig {
    configured(&CONFIG.replace("PATH", path.to_str().expect("UTF-8"))).expect("valid")
}

fn open(path: &Path, position: Option<&[u8]>) -> Box<dyn Source> {
    let project = ProjectContext {
        root: "/code/shop".into(),
        name: "shop".into(),
        user: "dana".into(),
        host: "laptop".into(),
        repository: String::new(),
        branch: String::new(),
    };
    JsonLines::of(config(path)).open(project, &ToolEnvironment::default(), position)
}

fn line(second: u64, worker: &str, result: &str) -> String {
    let ts = format!("2026-03-10T09:{:02}:{:02}Z", second / 60, second % 60);
    json!({"event": "done", "ts": ts, "job": {"name": worker}, "result": result, "took_ms": 1500}).to_string()
        + "\n"
}

/// All runs that it says until it has nothing more, and the parse errors.
fn drain(source: &mut dyn Source) -> (Vec<String>, u64) {
    let processes = ProcTable::new();
    let (mut workers, mut errors) = (Vec::new(), 0);
    loop {
        let moment =
            Moment { wall: NOW, monotonic: Monotonic::default(), processes: &processes, rescan: true };
        let mut facts = Facts::new(Privacy::default());
        let step = source.step(&moment, &mut facts);
        let batch = facts.into_builder();
        assert!(batch.len() <= STEP_EVENTS_MAX + 1);
        let view = BatchView::new(batch.as_batch());
        for event in view.events() {
            match event.kind {
                Some(Kind::RunFinished(run)) => workers.push(view.text(run.worker).to_owned()),
                Some(Kind::SourceHealth(health)) => errors += health.parse_errors,
                _ => {}
            }
        }
        if !step.more {
            return (workers, errors);
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_line_becomes_what_the_table_says() {
    let config = config(Path::new("/x.jsonl"));
    let read = |text: &str| config.mapping.read(text.as_bytes());
    let Line::Statement(statement) = read(&line(1, "lint", "bad")) else { panic!() };
    assert_eq!(statement.time.map(|time| time.0), Some(1_773_133_201_000_000));
    let mut facts = Facts::new(Privacy::default());
    let project = ProjectContext {
        root: "/".into(),
        name: "p".into(),
        user: String::new(),
        host: String::new(),
        repository: String::new(),
        branch: String::new(),
    };
    facts.speak_for("nightly", "", &project);
    statement.state(NOW, &mut facts);
    let batch = facts.into_builder();
    let Some(Kind::RunFinished(run)) = &batch.as_batch().events[0].kind else { panic!() };
    assert_eq!((run.status(), run.duration_us), (RunStatus::Failure, Some(1_500_000)));

    assert_eq!(read("  \n"), Line::Blank);
    assert_eq!(read(r#"{"event":"began"}"#), Line::PassedOver);
    assert_eq!(read("{}"), Line::PassedOver);
    for (text, why) in [
        ("[1]", "no JSON object"),
        ("{", "no JSON"),
        (r#"{"event":"done","ts":"2026-03-10T09:00:00Z"}"#, "run needs worker"),
        (r#"{"event":"done","job":{"name":"x"},"result":"ok"}"#, "no time in ts"),
        (r#"{"event":"done","ts":"yesterday","job":{"name":"x"},"result":"ok"}"#, "no time of its format"),
        (
            r#"{"event":"done","ts":"2026-03-10T09:00:00Z","job":{"name":"x"},"took_ms":-1}"#,
            "no number of a time span",
        ),
    ] {
        let Line::Wrong(said) = read(text) else { panic!("{text}") };
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_wrong_table_is_said_when_it_is_loaded() {
    let with = |from: &str, to: &str| {
        let text = CONFIG.replace("PATH", "/x.jsonl");
        assert!(text.contains(from));
        configured(&text.replace(from, to)).expect_err(to)
    };
    for (said, words) in [
        (with("kind = \"run\"", "kind = \"rum\""), "did you mean run?"),
        (with("worker = ", "wroker = "), "did you mean worker?"),
        (with("worker = \"job.name\"", ""), "run needs worker"),
        (with("status = {", "session = {"), "run needs status"),
        (with("ok = \"success\"", "ok = \"fine\""), "\"fine\" is not one of success"),
        (with("unit = \"ms\"", "unit = \"fortnight\""), "is not one of ns, us, ms, s, min, h"),
        (with("unit = \"ms\"", "uint = \"ms\""), "unknown key \"uint\""),
        (with("when = ", "wehn = "), "did you mean `when`?"),
        (with("field = \"ts\"", "field = \"ts\"\nformat = \"iso\""), "is not one of rfc3339"),
        (with("\"/x.jsonl\"", "\"x.jsonl\""), "is not absolute"),
        (with("name = \"nightly\"", "name = \"ni ght\""), "a name is 1 to 64"),
        (with("worker = \"job.name\"", "worker = { field = \"a\", value = \"b\" }"), "exclude each other"),
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn lines_are_counted_once_over_torn_ends_and_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.jsonl");
    let mut source = open(&path, None);
    assert_eq!(drain(source.as_mut()), (vec![], 0), "no file yet");
    let two = line(2, "b", "ok");
    append(&path, &(line(1, "a", "ok") + "nonsense\n" + &two[..20]));
    assert_eq!(drain(source.as_mut()), (vec!["a".to_owned()], 1));
    let mut source = open(&path, Some(&source.position()));
    assert_eq!(drain(source.as_mut()), (vec![], 0));
    append(&path, &two[20..]);
    assert_eq!(drain(source.as_mut()), (vec!["b".to_owned()], 0));
    let mut source = open(&path, Some(b"damaged"));
    assert_eq!(drain(source.as_mut()).0, ["a", "b"], "a position that cannot be read is none");
}

#[test]
fn a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.jsonl");
    append(&path, &line(1, "a", "ok"));
    let mut source = open(&path, None);
    assert_eq!(drain(source.as_mut()).0, ["a"]);
    let position = source.position();
    append(&path, &line(2, "b", "ok"));
    std::fs::rename(&path, folder.path().join("runs.jsonl.1")).expect("rotated");
    // The same second as the last line of the old file.
    append(&path, &line(2, "c", "ok"));
    assert_eq!(drain(source.as_mut()).0, ["b", "c"]);
    assert_eq!(drain(open(&path, Some(&position)).as_mut()).0, ["b", "c"], "and so after a restart");
    append(&path, &line(3, "d", "ok"));
    assert_eq!(drain(source.as_mut()).0, ["d"]);
}

#[test]
fn a_rewritten_file_says_only_what_is_newer_than_what_was_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.jsonl");
    append(&path, &(line(1, "a", "ok") + &line(2, "b", "ok")));
    let mut source = open(&path, None);
    assert_eq!(drain(source.as_mut()).0, ["a", "b"]);
    std::fs::remove_file(&path).expect("removed");
    append(&path, &(line(2, "b", "ok") + &line(3, "c", "ok")));
    assert_eq!(drain(source.as_mut()).0, ["c"]);
    std::fs::File::create(&path).expect("truncated");
    assert_eq!(drain(source.as_mut()).0, Vec::<String>::new());
    append(&path, &line(4, "d", "ok"));
    assert_eq!(drain(source.as_mut()).0, ["d"]);
}

#[test]
fn a_flood_of_short_lines_is_read_in_steps_that_fit_a_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.jsonl");
    let text = format!(
        "[[agent.source]]\nname = \"n\"\npath = {path:?}\nkind = \"log\"\nfields = {{ name = {{ value = \"tick\" }} }}\n"
    );
    let config = configured(&text).expect("valid");
    append(&path, &"{}\n".repeat(50_000));
    let project = ProjectContext {
        root: "/".into(),
        name: "p".into(),
        user: String::new(),
        host: String::new(),
        repository: String::new(),
        branch: String::new(),
    };
    let mut source = JsonLines::of(config).open(project, &ToolEnvironment::default(), None);
    let processes = ProcTable::new();
    let mut said = 0;
    loop {
        let moment =
            Moment { wall: NOW, monotonic: Monotonic::default(), processes: &processes, rescan: false };
        let mut facts = Facts::new(Privacy::default());
        let step = source.step(&moment, &mut facts);
        assert!(facts.len() <= STEP_EVENTS_MAX);
        said += facts.len();
        if !step.more {
            break;
        }
    }
    assert_eq!(said, 50_000);
}

proptest! {
    #[test]
    fn any_line_is_read_or_said_to_be_wrong(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = config(Path::new("/x")).mapping.read(&line);
    }

    #[test]
    fn any_json_is_read_or_said_to_be_wrong(ts in ".{0,30}", result in ".{0,10}", took in any::<f64>(), worker in ".{0,40}") {
        let line = json!({"event": "done", "ts": ts, "job": {"name": worker}, "result": result, "took_ms": took});
        let _ = config(Path::new("/x")).mapping.read(line.to_string().as_bytes());
    }

    #[test]
    fn whatever_the_cuts_of_writing_each_line_is_said_once(cuts in proptest::collection::vec(1_usize..60, 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.jsonl");
        let expected: Vec<String> = (0..8).map(|n| format!("w{n}")).collect();
        let text: String = (0..8).map(|n| line(n, &format!("w{n}"), "ok")).collect();
        let (mut rest, mut said, mut position) = (text.as_str(), Vec::new(), None::<Vec<u8>>);
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            append(&path, piece);
            let mut source = open(&path, position.as_deref());
            said.extend(drain(source.as_mut()).0);
            position = Some(source.position());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(said, expected);
    }
}
