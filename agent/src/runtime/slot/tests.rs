use std::sync::atomic::{AtomicU32, Ordering};

use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;

use super::*;
use crate::facts::Privacy;
use crate::sources::Processes;

#[derive(Debug)]
struct NoProcesses;

impl Processes for NoProcesses {
    fn is_alive(&self, _pid: u32) -> bool {
        false
    }
    fn started(&self, _pid: u32) -> Option<WallTime> {
        None
    }
    fn environment_variable(&self, _pid: u32, _name: &str) -> Option<String> {
        None
    }
    fn tree(&self, _pid: u32) -> Vec<u32> {
        Vec::new()
    }
}

/// Counts from its position; panics at 2 as often as it is told.
#[derive(Debug)]
struct Counting {
    panics_left: AtomicU32,
}

struct Counter {
    at: u8,
    tool: &'static Counting,
    project: ProjectContext,
}

impl Tool for &'static Counting {
    fn name(&self) -> &'static str {
        "counting"
    }
    fn is_in(&self, _root: &Path) -> bool {
        true
    }
    fn open(&self, project: ProjectContext, _: &ToolEnvironment, position: Option<&[u8]>) -> Box<dyn Source> {
        Box::new(Counter { at: position.map_or(0, |p| p[0]), tool: self, project })
    }
}

impl Source for Counter {
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        self.at += 1;
        if self.at == 2 && self.tool.panics_left.load(Ordering::SeqCst) > 0 {
            self.tool.panics_left.fetch_sub(1, Ordering::SeqCst);
            panic!("the source broke");
        }
        if self.at <= 3 {
            facts.speak_for("counting", "", &self.project);
            facts.push(moment.wall, Kind::LinesRecorded(v1::LinesRecorded { count: u64::from(self.at) }));
        }
        self.at = self.at.min(3);
        Step { more: self.at < 3, again_in: None }
    }
    fn position(&self) -> Vec<u8> {
        vec![self.at]
    }
    fn watched_paths(&self) -> Vec<WatchedPath> {
        vec![WatchedPath("/p/.count".into())]
    }
    fn end(&mut self, _: &Moment<'_>, _: &mut Facts) {}
}

fn project() -> ProjectContext {
    ProjectContext {
        root: "/p".into(),
        name: "p".into(),
        user: String::new(),
        host: String::new(),
        repository: String::new(),
        branch: String::new(),
    }
}

fn slot(panics: u32) -> Slot {
    let tool: &'static Counting = Box::leak(Box::new(Counting { panics_left: AtomicU32::new(panics) }));
    let tool: &'static &'static Counting = Box::leak(Box::new(tool));
    let mut slot = Slot::closed(tool, project(), ToolEnvironment::default(), None);
    assert_eq!(
        (slot.due(), slot.watched().len()),
        (Monotonic(Duration::MAX), 0),
        "closed until it is opened"
    );
    slot.open(at(0));
    slot
}

fn at(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

fn moment(seconds: u64) -> Moment<'static> {
    Moment { wall: WallTime(1), monotonic: at(seconds), processes: &NoProcesses, rescan: false }
}

/// Steps like the runtime does; answers what was said, as numbers.
fn run(slot: &mut Slot, seconds: u64) -> Result<Vec<u64>, Panicked> {
    let mut said = Vec::new();
    while slot.due() <= at(seconds) {
        let Some(stepped) = slot.step(&moment(seconds), Facts::new(Privacy::default()))? else { continue };
        let (facts, position, step) = stepped.into_parts();
        for event in &facts.builder().as_batch().events {
            if let Some(Kind::LinesRecorded(lines)) = &event.kind {
                said.push(lines.count);
            }
        }
        slot.spooled(position, step, at(seconds));
    }
    Ok(said)
}

#[test]
fn a_source_with_more_to_read_is_due_until_it_has_read_all() {
    let mut slot = slot(0);
    assert_eq!(run(&mut slot, 0), Ok(vec![1, 2, 3]));
    assert_eq!(slot.due(), Monotonic(Duration::MAX));
    slot.wake(at(5));
    assert_eq!(run(&mut slot, 5), Ok(vec![]));
}

#[test]
fn a_source_that_panics_goes_on_from_its_last_durable_position_after_a_pause() {
    let mut slot = slot(2);
    assert_eq!(run(&mut slot, 0), Err(Panicked));
    slot.broke(at(0));
    slot.wake(at(0));
    assert_eq!(slot.due(), at(1), "a change does not cut the pause short");
    assert_eq!(run(&mut slot, 1), Err(Panicked));
    slot.broke(at(1));
    assert_eq!(slot.due(), at(3), "the pause doubles");
    assert_eq!(run(&mut slot, 3), Ok(vec![2, 3]), "1 was spooled before the first panic");
}

#[test]
fn a_closed_source_reads_nothing_and_goes_on_where_it_was_when_it_is_opened() {
    let mut slot = slot(0);
    let stepped = slot.step(&moment(0), Facts::new(Privacy::default())).expect("no panic").expect("said");
    let (_, position, step) = stepped.into_parts();
    slot.spooled(position, step, at(0));
    let ended = slot.end(&moment(0), Facts::new(Privacy::default())).expect("open");
    slot.close(Some(ended.into_parts().1));
    slot.wake(at(1));
    slot.wake_for_rescan(at(1));
    assert_eq!(slot.due(), Monotonic(Duration::MAX));
    assert!(slot.watched().is_empty() && slot.live_pids().is_empty());
    slot.open(at(9));
    assert_eq!(run(&mut slot, 9), Ok(vec![2, 3]), "1 was said before");
}
