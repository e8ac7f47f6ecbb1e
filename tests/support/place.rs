//! A state directory, commands of `muster-agent` there, and what they spooled.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::process::{Child, Command, ExitStatus, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::spool::{Spool, SpoolConfig};
use muster::batch::BatchView;
use muster::clock::SystemClock;
use muster::ids::Seq;
use muster::v1::attribute::Value;
use muster::v1::event::Kind;
use muster::v1::{ResourceSample, RunFinished};
use rustix::process::{Pid, Signal, kill_process};

pub const BINARY: &str = env!("CARGO_BIN_EXE_muster-agent");
/// Longest that anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory and what was spooled there.
pub struct Place(pub tempfile::TempDir);

/// Names, values, and the text behind each.
pub type Attributes = Vec<(String, Value, String)>;

/// All that a spool says.
#[derive(Default)]
pub struct Said {
    pub started: usize,
    pub runs: Vec<(String, RunFinished)>,
    pub samples: Vec<ResourceSample>,
    pub logs: Vec<(String, Attributes)>,
    pub sources: Vec<(String, String, String, String)>,
    pub others: usize,
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn state(&self) -> std::path::PathBuf {
        self.0.path().join("state")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.0.path()).env("MUSTER_STATE_DIR", self.state()).current_dir(self.0.path());
        command
    }

    /// `exec -- sh -c SCRIPT`
    pub fn shell(&self, script: &str) -> Command {
        self.command(&["exec", "--", "sh", "-c", script])
    }

    /// What the spool has. Nobody else may have it open.
    pub fn said(&self) -> Said {
        let spool = Spool::open(SpoolConfig::new(self.state()), Arc::new(SystemClock::new())).unwrap();
        let mut reader = spool.batches_after(Seq::ZERO);
        let mut said = Said::default();
        while let Some(batch) = reader.next_batch().unwrap() {
            let batch = muster::batch::decode(&batch.bytes).unwrap();
            let view = BatchView::new(&batch);
            for index in 0..view.source_count() {
                let source = view.source(index).unwrap();
                let [tool, project, repository, branch] =
                    [source.tool, source.project, source.repository, source.branch].map(str::to_owned);
                said.sources.push((tool, project, repository, branch));
            }
            for event in view.events() {
                match event.kind {
                    Some(Kind::RunStarted(_)) => said.started += 1,
                    Some(Kind::RunFinished(run)) => said.runs.push((view.text(run.worker).to_owned(), *run)),
                    Some(Kind::ResourceSample(sample)) => said.samples.push(*sample),
                    Some(Kind::LogRecord(log)) => {
                        let attributes = log.attributes.iter().map(|attribute| {
                            let value = attribute.value.unwrap();
                            let text = if let Value::Text(text) = value { view.text(text) } else { "" };
                            (view.text(attribute.key).to_owned(), value, text.to_owned())
                        });
                        said.logs.push((view.text(log.name).to_owned(), attributes.collect()));
                    }
                    _ => said.others += 1,
                }
            }
        }
        said
    }

    /// The one run, how it ended, and its log's integer or text of a name.
    #[track_caller]
    pub fn only_run(&self) -> (RunFinished, Said) {
        let said = self.said();
        assert_eq!((said.runs.len(), said.started, said.logs.len()), (1, 1, 1));
        (said.runs[0].1, said)
    }
}

impl Said {
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.logs[0].1.iter().find_map(|(key, value, _)| match value {
            Value::Integer(number) if key == name => Some(*number),
            _ => None,
        })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.logs[0].1.iter().find(|(key, ..)| key == name).map(|(.., text)| text.as_str())
    }
}

#[track_caller]
pub fn wait(mut child: Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("still there after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn output(mut command: Command) -> Output {
    command.output().unwrap()
}

pub fn kill(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}
