//! What a service manager hears of `muster serve` and `muster agent run`, over a real datagram socket: ready when they do
//! their work, reloading and ready again, proofs of progress, stopping.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};

const PATIENCE: Duration = Duration::from_secs(30);

/// The manager's end of the line.
struct Manager {
    socket: UnixDatagram,
    environment: Vec<(String, String)>,
}

impl Manager {
    /// Listens in `folder`, and has the watchdog expect a proof within `watchdog`.
    fn listen(folder: &Path, watchdog: Option<Duration>) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut environment = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
        environment.extend(watchdog.map(|w| ("WATCHDOG_USEC".to_owned(), w.as_micros().to_string())));
        Self { socket, environment }
    }

    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message before the deadline");
        std::str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits for a message that begins with `line`.
    #[track_caller]
    fn wait_for(&self, line: &str) -> Vec<String> {
        let began = Instant::now();
        loop {
            let message = self.next();
            if message.first().is_some_and(|first| first == line) {
                return message;
            }
            assert!(began.elapsed() < PATIENCE, "no {line}; the last message is {message:?}");
        }
    }

    /// How many messages of this come in this time.
    fn count_within(&self, line: &str, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut message = [0; 4096];
            let Ok(length) = self.socket.recv(&mut message) else { break };
            count += usize::from(&message[..length] == line.as_bytes());
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        count
    }

    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }
}

#[test]
fn a_collector_says_ready_reloading_ready_again_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::listen(folder.path(), None);
    let options = CollectorOptions { environment: manager.environment.clone(), ..Default::default() };
    let mut collector = Collector::spawn(folder.path(), options);
    let ready = manager.wait_for("READY=1");
    assert_eq!(ready[1], "STATUS=0 agents connected");

    collector.process.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    let since_boot = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u128>().unwrap();
    assert!(since_boot > 0, "{reloading:?}");
    manager.wait_for("READY=1");

    assert!(collector.process.terminate(PATIENCE).success());
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping[1].starts_with("STATUS="), "{stopping:?}");
    assert_eq!(manager.count_within("WATCHDOG=1", Duration::from_millis(10)), 0, "nobody asked for proofs");
}

#[test]
fn a_collector_proves_its_progress_and_a_stopped_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::listen(folder.path(), Some(Duration::from_millis(900)));
    let options = CollectorOptions { environment: manager.environment.clone(), ..Default::default() };
    let collector = Collector::spawn(folder.path(), options);
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    collector.process.signal(Signal::STOP);
    manager.forget();
    assert_eq!(manager.count_within("WATCHDOG=1", Duration::from_secs(2)), 0);
    collector.process.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn an_agent_says_ready_proves_its_progress_while_idle_and_says_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::listen(folder.path(), Some(Duration::from_millis(900)));
    let options = AgentOptions { environment: manager.environment.clone(), ..Default::default() };
    let mut agent = Agent::spawn(folder.path(), options);
    let ready = manager.wait_for("READY=1");
    assert!(ready[1].ends_with("no collector"), "{ready:?}");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    assert!(agent.process.terminate(PATIENCE).success());
    manager.wait_for("STOPPING=1");
}

#[test]
fn without_a_manager_nothing_is_told_and_nothing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.sock").display().to_string();
    let options =
        CollectorOptions { environment: vec![("NOTIFY_SOCKET".to_owned(), gone)], ..Default::default() };
    let mut collector = Collector::spawn(folder.path(), options);
    assert_eq!(collector.get("/readyz").status, 200);
    assert!(collector.process.terminate(PATIENCE).success());
    assert!(collector.process.log().contains("does not hear us"), "{}", collector.process.log());
}
