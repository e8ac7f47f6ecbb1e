//! Systems without Unix processes: start, wait, and nothing else. Signals are not passed on, and use is not known.

use std::process;

use muster::clock::{Clock, WallTime};

use super::{Command, End, Ended, Used};

pub(super) fn run(command: &Command, clock: &dyn Clock, _: &mut dyn FnMut(WallTime)) -> Ended {
    let (started, began) = (clock.wall(), clock.monotonic());
    let mut child = process::Command::new(&command.words[0]);
    child.args(&command.words[1..]).envs(command.traceparent.iter().map(|value| ("TRACEPARENT", value)));
    let end = match child.status() {
        Ok(status) => End::Exited(status.code().unwrap_or(1)),
        Err(error) => End::NotStarted(error),
    };
    let duration = clock.monotonic().0.saturating_sub(began.0);
    Ended { end, started, duration, used: Used::default() }
}

pub(super) fn die_by(_: i32) {}
