//! What happens to files while the agent watches (reliability.md row C7): nothing is missed, nothing is counted twice,
//! and nothing makes it spin. Through the real agent, on its own page.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::agent::{Agent, AgentOptions};
use support::live_project::line;
use support::scrape::Page;
use support::{pause, wait_until};

/// Longest from a write to the page where notifications work, on a busy machine.
const SEEN_MAX: Duration = Duration::from_secs(10);
/// Where only the rescan can find it.
const RESCAN_MAX: Duration = Duration::from_secs(30);

/// One project and an agent that watches the folder above it.
struct Watched {
    folder: tempfile::TempDir,
    project: PathBuf,
    agent: Agent,
    lines: u64,
}

impl Watched {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("work/shop");
        fs::create_dir_all(project.join(".loki")).unwrap();
        append(&project, 0..3);
        let options = AgentOptions {
            watch: vec![folder.path().join("work")],
            config: "rescan_interval_seconds = 5\nhost_samples = false\n".to_owned(),
            ..AgentOptions::default()
        };
        let agent = Agent::spawn(&folder.path().join("agent"), options);
        let watched = Self { folder, project, agent, lines: 3 };
        watched.settle("the first lines", SEEN_MAX);
        watched
    }

    fn log(&self) -> PathBuf {
        self.project.join(".loki/events.jsonl")
    }

    fn append(&mut self, count: u64) {
        append(&self.project, self.lines..self.lines + count);
        self.lines += count;
    }

    /// Waits until the page counts every line, and makes sure that it stays at that.
    #[track_caller]
    fn settle(&self, what: &str, deadline: Duration) {
        let count = || self.page().value("loki_events_total", &[]);
        let expected = Some(self.lines as f64);
        let began = Instant::now();
        while count() != expected {
            assert!(
                began.elapsed() < deadline,
                "{what}: {:?} of {} lines after {deadline:?}",
                count(),
                self.lines
            );
            pause(Duration::from_millis(20));
        }
        pause(Duration::from_millis(300));
        assert_eq!(count(), expected, "{what}: counted twice");
    }

    fn page(&self) -> Page {
        self.agent.page()
    }

    /// CPU that the agent used in a time in which nothing happens, as a share of a core.
    fn idle_share(&self, time: Duration) -> f64 {
        let (before, began) = (self.agent.process.cpu_time(), Instant::now());
        pause(time);
        (self.agent.process.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64()
    }
}

#[test]
fn a_file_saved_by_rename_is_read_each_time() {
    let watched = Watched::new();
    let state = watched.project.join(".loki/dashboard-state.json");
    for iteration in 1..=10 {
        let partial = watched.project.join(".loki/dashboard-state.json.tmp");
        fs::write(&partial, format!("{{\"mode\":\"autonomous\",\"iteration\":{iteration}}}")).unwrap();
        fs::rename(&partial, &state).unwrap();
        wait_until(&format!("iteration {iteration}"), SEEN_MAX, || {
            watched.page().value("loki_iteration_current", &[]) == Some(f64::from(iteration))
        });
    }
}

#[test]
fn half_lines_truncation_and_rotation_lose_nothing_and_never_make_the_counter_fall() {
    let mut watched = Watched::new();
    let whole = line(3, 40);
    let (first, second) = whole.split_at(20);
    let mut log = OpenOptions::new().append(true).open(watched.log()).unwrap();
    log.write_all(first.as_bytes()).unwrap();
    pause(Duration::from_millis(500));
    log.write_all(second.as_bytes()).unwrap();
    watched.lines += 1;
    watched.settle("a line in two halves", SEEN_MAX);

    // Rotation: the old file gets another name, a new one begins.
    fs::rename(watched.log(), watched.project.join(".loki/events.jsonl.1")).unwrap();
    watched.append(4);
    watched.settle("a rotation", SEEN_MAX);

    // Truncation: the file stays and begins anew.
    OpenOptions::new().write(true).truncate(true).open(watched.log()).unwrap();
    pause(Duration::from_secs(1));
    watched.append(2);
    watched.settle("a truncation", SEEN_MAX);

    fs::remove_file(watched.log()).unwrap();
    pause(Duration::from_secs(1));
    watched.append(5);
    watched.settle("a deleted and new file", SEEN_MAX);
}

#[test]
fn a_state_folder_that_is_deleted_and_made_anew_is_watched_again() {
    let mut watched = Watched::new();
    for round in 0..3 {
        fs::remove_dir_all(watched.project.join(".loki")).unwrap();
        pause(Duration::from_millis(round * 700));
        fs::create_dir_all(watched.project.join(".loki")).unwrap();
        watched.append(5);
        watched.settle("a new state folder", RESCAN_MAX);
        watched.append(5);
        watched.settle("and lines after that", SEEN_MAX);
    }
}

#[test]
fn projects_are_found_and_lost_while_it_runs() {
    let watched = Watched::new();
    let second = watched.folder.path().join("work/deep/er/blog");
    fs::create_dir_all(second.join(".loki")).unwrap();
    append(&second, 0..7);
    let count = |project| watched.page().value("loki_events_total", &[("project", project)]);
    wait_until("the second project", RESCAN_MAX, || count("blog") == Some(7.0));
    assert_eq!(count("shop"), Some(3.0), "with two projects each has its label");
    fs::remove_dir_all(&second).unwrap();
    wait_until("its gauges to leave", RESCAN_MAX, || {
        watched.page().matching("loki_session_status", &[("project", "blog")]).count() == 0
    });
}

#[test]
fn a_project_that_is_moved_away_and_comes_back_is_not_counted_again() {
    let watched = Watched::new();
    let blog = watched.folder.path().join("work/blog");
    let away = watched.folder.path().join("away");
    fs::create_dir_all(blog.join(".loki")).unwrap();
    append(&blog, 0..7);
    let count = || watched.page().value("loki_events_total", &[("project", "blog")]);
    let watched_now = || watched.page().matching("loki_session_status", &[("project", "blog")]).count() > 0;
    wait_until("the project", RESCAN_MAX, || count() == Some(7.0) && watched_now());
    fs::rename(&blog, &away).unwrap();
    wait_until("its gauges to leave", RESCAN_MAX, || !watched_now());
    fs::rename(&away, &blog).unwrap();
    append(&blog, 7..9);
    wait_until("it to be watched again", RESCAN_MAX, || watched_now() && count() >= Some(9.0));
    pause(Duration::from_secs(2));
    assert_eq!(count(), Some(9.0));
}

#[test]
fn links_in_a_circle_and_names_that_are_no_text_cost_nothing() {
    let mut watched = Watched::new();
    std::os::unix::fs::symlink("..", watched.project.join("up")).unwrap();
    std::os::unix::fs::symlink(".", watched.project.join(".loki/self")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", watched.project.join(".loki/dangling.json")).unwrap();
    use std::os::unix::ffi::OsStrExt;
    let no_text = std::ffi::OsStr::from_bytes(b"\xff\xfe\n\"name");
    fs::write(watched.project.join(".loki").join(no_text), b"\xff\xff").unwrap();
    let mut log = OpenOptions::new().append(true).open(watched.log()).unwrap();
    log.write_all(b"\xff\xfe no text at all\n").unwrap();
    watched.lines += 1;
    watched.append(3);
    watched.settle("lines beside strange names", SEEN_MAX);
    pause(Duration::from_secs(6));
    let share = watched.idle_share(Duration::from_secs(6));
    assert!(share < 0.05, "{:.1} % of a core with nothing to do", share * 100.0);
}

#[test]
fn a_tree_of_fifty_thousand_files_and_a_checkout_storm_cost_no_line_and_no_busy_loop() {
    let mut watched = Watched::new();
    make_tree(&watched.project.join("node_modules"), 50_000);
    watched.append(50);
    watched.settle("lines beside a large tree", RESCAN_MAX);
    // As `git checkout` does: thousands of files vanish and come, also in the state folder, faster than a queue holds.
    for storm in 0..3 {
        let files: Vec<_> =
            (0..8_000).map(|n| watched.project.join(format!(".loki/storm-{storm}-{n}"))).collect();
        files.iter().for_each(|f| fs::write(f, "x").unwrap());
        watched.append(20);
        files.iter().for_each(|f| fs::remove_file(f).unwrap());
        watched.append(20);
    }
    watched.settle("lines in a storm", RESCAN_MAX);
    pause(Duration::from_secs(6));
    let share = watched.idle_share(Duration::from_secs(10));
    println!("{:.2} % of a core after the storm", share * 100.0);
    assert!(share < 0.05, "{:.1} % of a core with nothing to do", share * 100.0);
    assert!(watched.agent.process.resident_bytes() < 100 << 20, "{}", watched.agent.process.resident_bytes());
}

/// What no parser wants: a line larger than every limit, then a good one.
#[test]
fn a_line_larger_than_every_limit_is_passed_over_and_the_next_one_counts() {
    let mut watched = Watched::new();
    let mut log = OpenOptions::new().append(true).open(watched.log()).unwrap();
    let piece = vec![b'x'; 1 << 20];
    log.write_all(b"{\"type\":\"huge\",\"data\":\"").unwrap();
    (0..64).for_each(|_| log.write_all(&piece).unwrap());
    log.write_all(b"\"}\n").unwrap();
    watched.lines += 1;
    watched.append(3);
    watched.settle("lines after a huge one", RESCAN_MAX);
    wait_until("the huge one to be counted as skipped", SEEN_MAX, || {
        watched.page().sum("muster_source_records_skipped_total", &[]) >= 1.0
    });
    assert!(watched.agent.process.resident_bytes() < 64 << 20, "{}", watched.agent.process.resident_bytes());
}

fn append(project: &Path, numbers: std::ops::Range<u64>) {
    let log = project.join(".loki/events.jsonl");
    let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    numbers.for_each(|number| log.write_all(line(number, 10).as_bytes()).unwrap());
}

fn make_tree(root: &Path, files: usize) {
    for folder in 0..files / 100 {
        let folder = root.join(format!("package-{folder}/src"));
        fs::create_dir_all(&folder).unwrap();
        (0..100).for_each(|n| fs::write(folder.join(format!("{n}.js")), "").unwrap());
    }
}
