//! One child process: its log, the line that says it is ready, and its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A log past this is not kept: a process in a busy loop must not fill the test's memory.
const LOG_BYTES_MAX: usize = 8 << 20;

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
    ready: Receiver<BTreeMap<String, String>>,
}

impl Process {
    /// Starts it and collects what it prints.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        let log = Arc::new(Mutex::new(String::new()));
        let (tell_ready, ready) = sync_channel(1);
        collect(child.stdout.take().unwrap(), log.clone(), Some(tell_ready));
        collect(child.stderr.take().unwrap(), log.clone(), None);
        Self { name: name.to_owned(), child, log, ready }
    }

    /// Waits for its line `ready key=value ...` and returns the pairs.
    #[track_caller]
    pub fn wait_ready(&mut self, deadline: Duration) -> BTreeMap<String, String> {
        let began = Instant::now();
        loop {
            if let Ok(ready) = self.ready.recv_timeout(Duration::from_millis(20)) {
                return ready;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status} before it was ready:\n{}", self.name, self.log());
            }
            assert!(began.elapsed() < deadline, "{} not ready in {deadline:?}:\n{}", self.name, self.log());
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far, both streams.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// As a power cut ends it.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks it to stop and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_end(deadline)
    }

    #[track_caller]
    pub fn wait_end(&mut self, deadline: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < deadline, "{} did not end in {deadline:?}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ended already, by itself or by a failpoint.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// CPU time it has used, user and system, from `/proc`.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // 100 ticks a second is the kernel's ABI on Linux, whatever its own clock is.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in bytes, from `/proc`.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a live process has a VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(6000);
            println!("--- {}'s log ends ---\n{}\n---", self.name, &log[log.ceil_char_boundary(tail)..]);
        }
    }
}

/// Reads lines on a thread until the process closes the pipe.
fn collect(
    pipe: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    tell_ready: Option<SyncSender<BTreeMap<String, String>>>,
) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            if let (Some(tell), Some(pairs)) = (&tell_ready, text.trim_end().strip_prefix("ready ")) {
                let pairs = pairs.split(' ').filter_map(|pair| pair.split_once('='));
                let _ = tell.try_send(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
            }
            let mut log = log.lock().unwrap();
            if log.len() < LOG_BYTES_MAX {
                log.push_str(&text);
            }
            line.clear();
        }
    });
}
