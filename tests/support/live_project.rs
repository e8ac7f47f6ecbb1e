//! A Loki Mode project that is being written to, on a thread, as the real tool writes: whole lines, torn lines, a rename
//! over the old file. Knows how many lines it has written.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Ends when dropped.
pub struct LiveProject {
    path: PathBuf,
    lines: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LiveProject {
    /// Makes the project at `path` and begins to write.
    pub fn create(path: &Path, random: fastrand::Rng) -> Self {
        std::fs::create_dir_all(path.join(".loki")).unwrap();
        let (lines, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let log = OpenOptions::new().create(true).append(true).open(path.join(".loki/events.jsonl")).unwrap();
        let (counted, stopped) = (lines.clone(), stop.clone());
        let thread = std::thread::spawn(move || write(log, random, &counted, &stopped));
        Self { path: path.to_owned(), lines, stop, thread: Some(thread) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines that are whole on disk.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::SeqCst)
    }

    /// Ends the writing. Returns how many lines there are.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.lines()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LiveProject {
    fn drop(&mut self) {
        self.end();
    }
}

/// One line of the log as Loki Mode's emitter writes it, with a payload of so many bytes.
pub fn line(number: u64, payload_bytes: usize) -> String {
    let kind = ["iteration_start", "task_update", "agent_spawned", "phase_change"][(number % 4) as usize];
    let time = format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60);
    let payload = "x".repeat(payload_bytes);
    format!(
        "{{\"timestamp\":\"{time}\",\"type\":\"{kind}\",\"data\":{{\"n\":{number},\"note\":\"{payload}\"}}}}\n"
    )
}

fn write(mut log: File, mut random: fastrand::Rng, lines: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..random.u64(1..=5) {
            let payload_bytes = match random.u8(..) {
                0 => random.usize(..=100_000),
                1..=20 => random.usize(..=4_000),
                _ => random.usize(..=100),
            };
            let line = line(lines.load(Ordering::SeqCst), payload_bytes);
            // Now and then a reader finds half a line.
            let (first, second) = line.as_bytes().split_at(random.usize(..=line.len()));
            log.write_all(first).unwrap();
            if random.u8(..8) == 0 {
                std::thread::sleep(Duration::from_millis(random.u64(..=15)));
            }
            log.write_all(second).unwrap();
            lines.fetch_add(1, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(random.u64(1..=20)));
    }
}
