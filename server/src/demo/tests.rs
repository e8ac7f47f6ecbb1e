use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, ManualClock, SystemClock, WallTime};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

mod shapes;

const START: WallTime = WallTime(1_771_588_800_000_000);

struct Stage {
    folder: TempDir,
    clock: ManualClock,
    demo: Demo,
}

impl Stage {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let folder = folder();
        let clock = ManualClock::at(START);
        let demo = Demo::create(folder.path(), seed, Arc::new(clock.clone())).unwrap();
        Self { folder, clock, demo }
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.advance(TICK);
            self.demo.tick(self.clock.wall()).unwrap();
        }
    }

    fn shopapi(&self) -> PathBuf {
        self.folder.path().join("shopapi")
    }
}

/// In memory where the system has it: ext4 starts to write a file out when another is renamed over it, and the demo
/// does that all the time.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Complete lines, each one valid JSON. None if the file is absent.
fn lines(path: &Path) -> Vec<Value> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    assert!(text.is_empty() || text.ends_with('\n'), "torn tail in {}", path.display());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn tree(base: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![base.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn database(project: &Path) -> Connection {
    Connection::open_with_flags(project.join(".devloop/events.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn count(database: &Connection, sql: &str) -> u64 {
    database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

/// Recounts everything from the files alone.
fn assert_files_say(root: &Path, truth: &Truth) {
    for (name, loki) in &truth.loki {
        assert_loki_says(&root.join(name).join(".loki"), loki);
    }
    assert_devloop_says(&root.join("shopapi"), &truth.devloop);
    for path in tree(root) {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("json") => drop(json(&path)),
            Some("jsonl") => drop(lines(&path)),
            _ => {}
        }
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(!name.contains(".tmp") && name != "events.db-journal", "left over: {}", path.display());
    }
}

fn assert_loki_says(loki: &Path, truth: &LokiTruth) {
    let events = lines(&loki.join("events.jsonl"));
    assert_eq!(events.len() as u64, truth.event_lines);
    let mut by_type: BTreeMap<String, u64> = BTreeMap::new();
    let mut iteration = 0;
    for event in &events {
        let kind = event["type"].as_str().unwrap();
        *by_type.entry(kind.to_owned()).or_default() += 1;
        match kind {
            "session_start" => iteration = 0,
            "iteration_start" => iteration = event["data"]["iteration"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert_eq!(by_type, truth.events);
    assert_eq!(iteration, truth.iteration);
    assert_eq!(by_type.get("iteration_start").copied().unwrap_or(0), truth.iterations_started);
    let ended = by_type.get("iteration_complete").copied().unwrap_or(0);
    assert_eq!(ended, truth.iterations_completed + truth.iterations_failed);
    let votes = by_type.get("council_vote").copied().unwrap_or(0);
    assert_eq!(votes, truth.council_approvals + truth.council_rejections);

    let mut cost = 0.0;
    for entry in fs::read_dir(loki.join("metrics/efficiency")).unwrap() {
        cost += json(&entry.unwrap().path())["cost_usd"].as_f64().unwrap();
    }
    let expected = truth.cost_on_disk_microusd as f64 / 1e6;
    assert!((cost - expected).abs() < 1e-9, "{cost} on disk, {expected} expected");
    assert!(truth.cost_microusd >= truth.cost_on_disk_microusd);

    let is_up = loki.join("loki.pid").is_file();
    match truth.session_status {
        Some(status) => {
            assert_eq!(is_up, status > 0);
            assert_eq!(loki.join("PAUSE").exists(), status == 2);
        }
        None => assert!(!is_up),
    }
    if let Ok(state) = fs::read_to_string(loki.join("dashboard-state.json")) {
        let state: Value = serde_json::from_str(&state).unwrap();
        let listed = |name: &str| state["tasks"][name].as_array().unwrap().len() as u64;
        let tasks = truth.tasks;
        let expected = [tasks.pending, tasks.in_progress, tasks.completed, tasks.failed];
        assert_eq!(["pending", "inProgress", "completed", "failed"].map(listed), expected);
        assert_eq!(state["iteration"], 0);
    }
    if let Ok(Value::Array(agents)) =
        fs::read_to_string(loki.join("state/agents.json")).map(|text| serde_json::from_str(&text).unwrap())
        && !agents.is_empty()
    {
        let active = agents.iter().filter(|agent| agent["status"] == "active").count() as u64;
        assert_eq!(truth.agents, AgentCounts { active, total: agents.len() as u64 });
    }
}

fn assert_devloop_says(project: &Path, truth: &DevloopTruth) {
    let devloop = project.join(".devloop");
    let database = database(project);
    assert_eq!(count(&database, "SELECT COUNT(*) FROM events"), truth.bus_rows_on_disk);
    assert_eq!(count(&database, "SELECT COUNT(DISTINCT id) FROM events"), truth.bus_rows_on_disk);
    let journal_mode: String = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(journal_mode, "delete");
    if truth.restarts == 0 {
        assert_eq!(truth.bus_rows, truth.bus_rows_on_disk);
        let files = count(&database, "SELECT COUNT(*) FROM events WHERE type LIKE 'file:%'");
        assert_eq!(files, truth.file_events);
        assert_eq!(runs_in(&database), truth.runs);
    }
    let events = lines(&devloop.join("events.jsonl"));
    assert_eq!(events.len() as u64, truth.event_lines);
    let checks = |kind: &str, passed: bool| {
        let is_it = |event: &&Value| event["event_type"] == kind && event["success"] == passed;
        events.iter().filter(is_it).count() as u64
    };
    let counted = |kind| CheckCounts { passed: checks(kind, true), prevented: checks(kind, false) };
    assert_eq!(counted("pre_push_check"), truth.pushes);
    assert_eq!(counted("pre_commit_check"), truth.commits);
    let executed = events.iter().filter(|event| event["event_type"] == "agent_executed").count() as u64;
    let raised: u64 = truth.runs.values().map(|runs| runs.error).sum();
    let runs: u64 = truth.runs.values().map(RunCounts::total).sum();
    assert_eq!(executed, runs - raised);
    assert_eq!(lines(&devloop.join("performance/metrics.jsonl")).len() as u64, truth.metric_lines);
    assert_eq!(truth.metric_lines, runs);
    let feedback = lines(&devloop.join("feedback/feedback.jsonl")).len() as u64;
    assert_eq!(feedback, truth.feedback.values().sum::<u64>());
    let findings = ["immediate", "relevant"].map(|tier| {
        let path = devloop.join(format!("context/{tier}.json"));
        if path.exists() { json(&path)["findings"].as_array().unwrap().len() as u64 } else { 0 }
    });
    assert_eq!(findings.iter().sum::<u64>(), truth.findings_on_disk);
}

/// By the definitions of the fixtures' `expected.json`.
fn runs_in(database: &Connection) -> BTreeMap<String, RunCounts> {
    const NOTHING_DONE: [&str; 6] = [
        "Skipped ",
        "Excluded file",
        "No tests found",
        "No test framework configured",
        "File too small",
        "No file path",
    ];
    let mut query = database
        .prepare("SELECT source, payload FROM events WHERE type LIKE 'agent:%:completed' ORDER BY rowid")
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let mut runs: BTreeMap<String, RunCounts> = BTreeMap::new();
    for row in rows {
        let (worker, payload) = row.unwrap();
        let payload: Value = serde_json::from_str(&payload).unwrap();
        let message = payload["message"].as_str().unwrap();
        let counts = runs.entry(worker).or_default();
        if payload["success"] == true {
            let skipped = NOTHING_DONE.iter().any(|prefix| message.starts_with(prefix));
            *(if skipped { &mut counts.skipped } else { &mut counts.success }) += 1;
        } else if message.is_empty() && payload["error"].is_string() {
            counts.error += 1;
        } else {
            counts.failure += 1;
        }
    }
    runs
}

/// Every file's text with the folder's name and the process id taken out; the database as its rows.
fn contents(root: &Path) -> BTreeMap<String, String> {
    let canonical = root.canonicalize().unwrap();
    let mut contents = BTreeMap::new();
    for path in tree(&canonical) {
        let name = path.strip_prefix(&canonical).unwrap().display().to_string();
        let text = if name.ends_with("events.db") { rows(&path) } else { text(&path) };
        contents.insert(name, text.replace(&canonical.display().to_string(), "ROOT"));
    }
    contents
}

fn rows(path: &Path) -> String {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query = database
        .prepare("SELECT rowid || id || type || timestamp || payload || sequence || created_at FROM events")
        .unwrap();
    let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_files_say_what_the_truth_says_after_any_number_of_ticks() {
    for seed in [1, 2, 3] {
        let mut stage = Stage::new(seed);
        assert_files_say(stage.folder.path(), &stage.demo.truth());
        for _ in 0..20 {
            stage.ticks(23);
            assert_files_say(stage.folder.path(), &stage.demo.truth());
        }
        assert_eq!(stage.demo.truth().failed_ticks, 0);
    }
}

#[test]
fn twenty_minutes_of_story_show_everything_that_the_demo_promises() {
    let mut stage = Stage::new(11);
    stage.ticks(4000);
    let truth = stage.demo.truth();
    assert_files_say(stage.folder.path(), &truth);
    let shop = &truth.loki["shopapi"];
    for kind in [
        "session_start",
        "session_end",
        "iteration_start",
        "iteration_complete",
        "phase_change",
        "code_review_start",
        "code_review_complete",
        "council_vote",
        "session_pause",
        "session_resume",
        "budget_warning",
        "claude_hook_stop",
    ] {
        assert!(shop.events.get(kind).copied() > Some(0), "no {kind}: {:?}", shop.events);
    }
    assert!(shop.iterations_failed > 0 && shop.iterations_unmeasured > 0 && shop.cost_microusd > 1_000_000);
    assert!(truth.loki["webshop"].events["session_end"] > 0);
    let devloop = &truth.devloop;
    let all = devloop.runs.values().fold([0; 4], |sum, runs| {
        [sum[0] + runs.success, sum[1] + runs.skipped, sum[2] + runs.failure, sum[3] + runs.error]
    });
    assert!(all.iter().all(|&count| count > 0), "{all:?}");
    assert!(devloop.restarts > 1 && devloop.resource_pauses > 0, "{devloop:?}");
    assert!(devloop.bus_rows > devloop.bus_rows_on_disk);
    assert!(devloop.pushes.passed > 0 && devloop.pushes.prevented > 0, "{devloop:?}");
    assert!(!devloop.issues.is_empty() && !devloop.active_issues.is_empty());
}

#[test]
fn the_same_seed_and_times_give_the_same_files() {
    let [mut one, mut two, mut other] = [Stage::new(5), Stage::new(5), Stage::new(6)];
    for stage in [&mut one, &mut two, &mut other] {
        stage.ticks(300);
    }
    let [first, second, third] = [&one, &two, &other].map(|stage| contents(stage.folder.path()));
    assert_eq!(first, second);
    assert_eq!(one.demo.truth(), two.demo.truth());
    assert_ne!(first, third);
}

#[test]
fn finish_ends_the_sessions_and_nothing_starts_again() {
    let mut stage = Stage::new(3);
    stage.ticks(60);
    assert!(stage.demo.truth().loki["shopapi"].session_status > Some(0));
    stage.demo.finish().unwrap();
    let truth = stage.demo.truth();
    assert_files_say(stage.folder.path(), &truth);
    let last = lines(&stage.shopapi().join(".loki/events.jsonl")).pop().unwrap();
    assert_eq!((&last["type"], &last["data"]["reason"]), (&"session_end".into(), &"interrupted".into()));
    assert!(!stage.shopapi().join(".loki/loki.pid").exists());
    stage.ticks(300);
    let mut later = stage.demo.truth();
    assert_eq!(later.loki["shopapi"].session_status, Some(0), "the state file is old by now");
    for (name, loki) in &mut later.loki {
        loki.session_status = truth.loki[name].session_status;
    }
    assert_eq!(later, truth);
}

#[test]
fn the_pid_file_names_this_process_while_a_session_lives() {
    let mut stage = Stage::new(1);
    stage.ticks(30);
    let pid = text(&stage.shopapi().join(".loki/loki.pid"));
    assert_eq!(pid, format!("{}\n", std::process::id()));
}

#[test]
fn a_demo_dropped_at_any_tick_leaves_readable_files_and_can_be_gone_on_with() {
    for ticks in 0..40 {
        let mut stage = Stage::new(ticks as u64);
        stage.ticks(ticks * 3);
        let Stage { folder, clock, demo } = stage;
        let truth = demo.truth();
        drop(demo);
        assert_files_say(folder.path(), &truth);
        let rows = truth.devloop.bus_rows_on_disk;
        let demo = Demo::create(folder.path(), 99, Arc::new(clock.clone())).unwrap();
        let mut stage = Stage { folder, clock, demo };
        assert!(stage.demo.truth().devloop.bus_rows_on_disk <= rows);
        stage.ticks(20);
        let database = database(&stage.shopapi());
        let truth = stage.demo.truth();
        assert_eq!(count(&database, "SELECT COUNT(*) FROM events"), truth.devloop.bus_rows_on_disk);
        assert!(truth.devloop.file_events + truth.runs_total() > 0);
    }
}

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "started by a_killed_demo_leaves_what_a_reader_can_read"]
fn demo_to_be_killed() {
    let Some(root) = std::env::var_os("MUSTER_DEMO_ROOT") else { return };
    let clock = ManualClock::at(START);
    let mut demo = Demo::create(Path::new(&root), 8, Arc::new(clock.clone())).unwrap();
    loop {
        clock.advance(TICK);
        demo.tick(clock.wall()).unwrap();
    }
}

#[test]
fn a_killed_demo_leaves_what_a_reader_can_read() {
    for round in 0..12_u64 {
        let folder = folder();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "demo::tests::demo_to_be_killed"])
            .env("MUSTER_DEMO_ROOT", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let events = folder.path().join("shopapi/.devloop/events.jsonl");
        let (_open, never) = std::sync::mpsc::channel::<()>();
        while fs::metadata(&events).map_or(0, |meta| meta.len()) < 20_000 {
            let _ = never.recv_timeout(Duration::from_millis(5));
        }
        let _ = never.recv_timeout(Duration::from_micros(1700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // Recovers a hot journal, as the next start of the tool does.
        let database = Connection::open(folder.path().join("shopapi/.devloop/events.db")).unwrap();
        let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        for path in tree(folder.path()) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                // Renamed files are whole; those truncated in place may be caught empty, as the real ones.
                Some("json") if text.is_empty() => {
                    assert!(!path.ends_with("dashboard-state.json") && !path.ends_with("relevant.json"));
                }
                Some("json") => drop(json(&path)),
                Some("jsonl") => drop(text.lines().map(serde_json::from_str::<Value>).collect::<Vec<_>>()),
                _ => {}
            }
        }
        let mut demo = Demo::create(folder.path(), 9, Arc::new(SystemClock::new())).unwrap();
        demo.tick(START).unwrap();
    }
}

#[test]
fn a_folder_that_no_demo_made_is_not_touched() {
    let folder = folder();
    let project = folder.path().join("shopapi");
    fs::create_dir_all(project.join(".loki")).unwrap();
    let refused = Demo::create(folder.path(), 1, Arc::new(ManualClock::at(START)));
    assert!(matches!(refused, Err(DemoError::NotADemo { path }) if path == project));
    assert_eq!(tree(folder.path()), Vec::<PathBuf>::new());
    assert!(!folder.path().join("webshop").exists());
}

#[test]
fn a_clock_that_jumps_moves_the_story_by_one_step_at_most() {
    let mut stage = Stage::new(4);
    stage.ticks(40);
    let before = stage.demo.truth().loki["shopapi"].event_lines;
    stage.clock.set_wall(WallTime(START.0 - 3_600_000_000));
    stage.ticks(1);
    stage.clock.set_wall(WallTime(START.0 + 86_400_000_000));
    stage.ticks(1);
    let after = stage.demo.truth().loki["shopapi"].event_lines;
    assert!(after - before <= 6, "{before} lines before, {after} after");
    stage.ticks(100);
    assert_files_say(stage.folder.path(), &stage.demo.truth());
}

#[test]
fn a_write_that_fails_is_counted_and_stops_no_other_part() {
    let mut stage = Stage::new(4);
    stage.ticks(20);
    let events = stage.shopapi().join(".devloop/performance");
    fs::remove_dir_all(&events).unwrap();
    let mut failed = 0;
    for _ in 0..100 {
        stage.clock.advance(TICK);
        failed += u64::from(stage.demo.tick(stage.clock.wall()).is_err());
    }
    assert!(failed > 0);
    let truth = stage.demo.truth();
    assert_eq!(truth.failed_ticks, failed);
    assert_loki_says(&stage.shopapi().join(".loki"), &truth.loki["shopapi"]);
}

#[test]
fn a_folder_that_is_away_for_a_while_does_not_hold_the_story_up() {
    let mut stage = Stage::new(4);
    stage.ticks(20);
    let queue = stage.shopapi().join(".loki/queue");
    fs::remove_dir_all(&queue).unwrap();
    for _ in 0..200 {
        stage.clock.advance(TICK);
        let _ = stage.demo.tick(stage.clock.wall());
    }
    let stuck = stage.demo.truth().loki["shopapi"].event_lines;
    assert!(stuck < 40, "{stuck} lines while every iteration failed to start");
    fs::create_dir_all(&queue).unwrap();
    stage.ticks(200);
    assert!(stage.demo.truth().loki["shopapi"].iterations_completed > 0);
    let _ = fs::remove_file(stage.shopapi().join("src/scratch.py"));
    for _ in 0..200 {
        stage.clock.advance(TICK);
        let _ = stage.demo.tick(stage.clock.wall());
    }
    let failed = stage.demo.truth().failed_ticks;
    stage.ticks(100);
    assert_eq!(stage.demo.truth().failed_ticks, failed);
}

#[test]
fn a_running_demo_stops_at_once_and_its_last_truth_is_that_of_the_files() {
    let folder = folder();
    let running = Demo::create(folder.path(), 2, Arc::new(SystemClock::new())).unwrap().run().unwrap();
    let (_open, never) = std::sync::mpsc::channel::<()>();
    let mut patience = 200;
    while running.truth().devloop.bus_rows == 0 && patience > 0 {
        let _ = never.recv_timeout(Duration::from_millis(50));
        patience -= 1;
    }
    let truth = running.stop().unwrap();
    assert!(truth.devloop.bus_rows > 0);
    assert_files_say(folder.path(), &truth);
}
