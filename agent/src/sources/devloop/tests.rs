//! The whole source over real files: a watcher that is driven step by step, and a reading of all that it stated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::batch::{BatchView, decode};
use muster::clock::{Monotonic, WallTime};
use muster::ids::Seq;
use muster::v1;

use super::super::{Moment, Processes, ProjectContext, Source, Step, Tool, ToolEnvironment};
use super::DevLoop;
use crate::facts::{Facts, Privacy};

mod database;
mod fixtures;
mod random;
mod reading;
mod saying;
mod survival;

use reading::Reading;

/// Noon of the day that the fixtures are of.
pub(super) const NOON: WallTime = WallTime(1_773_144_000_000_000);

/// A project in a folder of its own, which may be changed.
pub(super) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// An empty project with a `.devloop` that is one.
    pub(super) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("project").tempdir().expect("a folder");
        let project = Self { folder };
        fs::create_dir_all(project.state()).expect("a folder");
        project.write("agents.json", b"{}");
        project
    }

    /// A copy of a fixture.
    pub(super) fn copy_of(fixture: &str) -> Self {
        let project =
            Self { folder: tempfile::Builder::new().prefix("project").tempdir().expect("a folder") };
        project.replace_by(fixture);
        project
    }

    /// Puts a fixture in the place of what is there, file by file, as a restored backup would be.
    pub(super) fn replace_by(&self, fixture: &str) {
        let _ = fs::remove_dir_all(self.state());
        copy_tree(&fixture_path(fixture).join(".devloop"), &self.state());
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn state(&self) -> PathBuf {
        self.root().join(".devloop")
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) {
        let path = self.state().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::remove_file(&path).ok();
        self.append(name, content);
    }

    pub(super) fn append(&self, name: &str, content: &[u8]) {
        use std::io::Write;
        let path = self.state().join(name);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("open");
        file.write_all(content).expect("write");
    }

    /// Every file below the project with its content.
    pub(super) fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.root(), &mut files);
        files
    }

    pub(super) fn context(&self) -> ProjectContext {
        ProjectContext {
            root: self.root().to_owned(),
            name: "shopapi".into(),
            user: "dana".into(),
            host: "desk".into(),
            repository: String::new(),
            branch: String::new(),
        }
    }
}

pub(super) fn fixture_path(fixture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/devloop").join(fixture)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.insert(entry.path(), fs::read(entry.path()).expect("read"));
        }
    }
}

/// Processes as a test says.
#[derive(Debug, Default)]
pub(super) struct FakeProcesses {
    pub alive: BTreeMap<u32, WallTime>,
}

impl Processes for FakeProcesses {
    fn is_alive(&self, pid: u32) -> bool {
        self.alive.contains_key(&pid)
    }

    fn started(&self, pid: u32) -> Option<WallTime> {
        self.alive.get(&pid).copied()
    }

    fn environment_variable(&self, _: u32, _: &str) -> Option<String> {
        None
    }

    fn tree(&self, pid: u32) -> Vec<u32> {
        vec![pid]
    }
}

/// A source with a hand on its clock, and all that it said.
pub(super) struct Watcher {
    pub context: ProjectContext,
    pub source: Box<dyn Source>,
    pub reading: Reading,
    pub processes: FakeProcesses,
    pub wall: WallTime,
    pub monotonic: Duration,
    pub privacy: Privacy,
}

impl Watcher {
    pub(super) fn of(project: &Project) -> Self {
        let context = project.context();
        Self {
            source: DevLoop.open(context.clone(), &ToolEnvironment::default(), None),
            context,
            reading: Reading::default(),
            processes: FakeProcesses::default(),
            wall: NOON,
            monotonic: Duration::from_secs(1),
            privacy: Privacy::default(),
        }
    }

    /// One step; its facts are read as a collector would read them.
    pub(super) fn step(&mut self, rescan: bool) -> Step {
        let mut facts = Facts::new(self.privacy.clone());
        let moment = Moment {
            wall: self.wall,
            monotonic: Monotonic(self.monotonic),
            processes: &self.processes,
            rescan,
        };
        let step = self.source.step(&moment, &mut facts);
        self.monotonic += Duration::from_millis(1);
        self.read(facts);
        step
    }

    /// Steps until nothing more is to be read at once.
    pub(super) fn drain(&mut self) -> Step {
        for _ in 0..2_000 {
            let step = self.step(false);
            if !step.more {
                return step;
            }
        }
        panic!("the source always wants more");
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.monotonic += time;
        self.wall.0 += time.as_micros() as u64;
    }

    /// Stops and starts again from the position.
    pub(super) fn restart(&mut self) {
        let position = self.source.position();
        assert!(position.len() <= super::super::POSITION_BYTES_MAX);
        self.reopen(Some(&position));
    }

    /// Starts again from a position.
    pub(super) fn reopen(&mut self, position: Option<&[u8]>) {
        self.source = DevLoop.open(self.context.clone(), &ToolEnvironment::default(), position);
    }

    pub(super) fn read(&mut self, facts: Facts) {
        if facts.is_empty() {
            return;
        }
        let sealed = facts.into_builder().seal(Seq(1)).expect("a step's facts fit in a batch");
        let batch: v1::Batch = decode(&sealed.bytes).expect("a batch");
        self.reading.fold(&BatchView::new(&batch));
    }
}

/// Reads a project from its start to its end.
pub(super) fn read_all(project: &Project) -> Reading {
    let mut watcher = Watcher::of(project);
    watcher.drain();
    watcher.reading
}
