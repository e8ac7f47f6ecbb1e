//! Processes under measurement: pinned to a core, read through `/proc`, killed when dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// A child whose ready line was read.
pub struct Measured {
    child: Child,
    ready: String,
}

/// CPU and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// The most that it ever was.
    pub resident_peak_bytes: u64,
    /// Voluntary context switches of all its threads: wake-ups.
    pub wakeups: u64,
}

impl Measured {
    /// Starts `program` on `core` and waits for its `ready ...` line.
    pub fn start(core: usize, program: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut process = Self { child, ready: String::new() };
        for line in lines.by_ref() {
            let line = line?;
            if line.starts_with("ready") {
                process.ready = line;
                break;
            }
        }
        ensure!(!process.ready.is_empty(), "{} ended before it was ready", program.display());
        // Keep the pipe read, so that the child never blocks on it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(process)
    }

    /// Starts a program that tells nothing, and waits until it listens on `address`.
    pub fn start_listening(
        core: usize,
        program: &Path,
        args: &[&str],
        address: &str,
    ) -> anyhow::Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let process = Self { child, ready: String::new() };
        let begun = crate::collector::started();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed().as_secs() < 10, "{} does not listen", program.display());
            crate::collector::wait(std::time::Duration::from_millis(20));
        }
        Ok(process)
    }

    /// A value of the ready line, as in `ready grpc=127.0.0.1:4317`.
    pub fn address(&self, name: &str) -> anyhow::Result<String> {
        let pair = self.ready.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
        pair.map(str::to_owned).with_context(|| format!("no {name} in {:?}", self.ready))
    }

    /// The process's pid; `taskset` execs, so it is the program itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.pid())
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `/proc/<pid>`.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    // Fields 14 and 15 of proc(5), counted from 1; the state after the name is field 3. Ticks are 10 ms on Linux.
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    let cpu_seconds = (ticks(11) + ticks(12)) / 100.0;
    let mut wakeups = 0;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident_bytes = memory(&status, "VmRSS:")?;
    let resident_peak_bytes = memory(&status, "VmHWM:")?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else { continue };
        for line in status.lines() {
            if let Some(count) = line.strip_prefix("voluntary_ctxt_switches:") {
                wakeups += count.trim().parse::<u64>()?;
            }
        }
    }
    Ok(Usage { cpu_seconds, resident_bytes, resident_peak_bytes, wakeups })
}

/// Bytes of a line of `/proc/<pid>/status`, such as `VmRSS:  1234 kB`.
fn memory(status: &str, name: &str) -> anyhow::Result<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// A program built beside this one.
pub fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.is_file(), "{} is not there; build it with cargo build --release", path.display());
    Ok(path)
}
