//! What the end-to-end tests stand on: real processes, a fleet of simulated agents, a proxy that breaks things, and the
//! oracle that says what must be true afterwards.
//!
//! Everything is on loopback, every wait has a deadline, and every process ends when its handle is dropped. Randomness
//! comes from one seed, which is printed: `MUSTER_TEST_SEED` repeats a run. `MUSTER_LONG=1` asks for ten times as many
//! kills and cuts.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod agent;
pub mod canary;
pub mod collector;
pub mod databases;
pub mod fault_proxy;
pub mod fleet;
pub mod guides;
pub mod history_rows;
pub mod http;
pub mod http_sink;
pub mod live_project;
pub mod namespaces;
pub mod oracle;
pub mod otlp_sink;
pub mod payload;
pub mod peers;
pub mod process;
pub mod python;
pub mod raw_agent;
pub mod scrape;
pub mod scripted_http;
pub mod seaweed;
pub mod tool;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The test's random numbers; prints the seed that repeats them.
pub fn seeded(test: &str) -> fastrand::Rng {
    let seed = std::env::var("MUSTER_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: MUSTER_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// How often to repeat: `normal`, or ten times that with `MUSTER_LONG=1`.
pub fn rounds(normal: usize) -> usize {
    if is_long() { normal * 10 } else { normal }
}

/// Whether `MUSTER_LONG=1` asks for more.
pub fn is_long() -> bool {
    std::env::var("MUSTER_LONG").is_ok_and(|v| v == "1")
}

/// Looks every 10 ms until there is an answer. Panics at the deadline with what was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(began.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As [`wait_for`], for a condition.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, deadline, || holds().then_some(()));
}

pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A real state directory of a tool with known answers.
pub fn fixture(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(path);
    assert!(path.exists(), "no fixture {}", path.display());
    path
}

/// Copies a folder with all that is in it. Links are left out.
pub fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target);
        } else if kind.is_file() {
            // A live journal deletes segments and cursors while it is copied.
            match std::fs::copy(entry.path(), &target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    panic!("{}: {error}", target.display())
                }
                _ => {}
            }
        }
    }
}
