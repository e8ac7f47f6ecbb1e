//! What a tree of processes used between two readings, though its members come and go.
//!
//! Most of what a coding agent uses is used by commands that live for seconds. What such a process used is in no
//! reading of it, but the kernel adds it to its parent's figures when the parent has waited for it. So between two
//! readings
//!
//! ```text
//! used = own time that the surviving processes added
//!      + all that processes used which began in between
//!      + what the survivors' ended children added, less what those children had used before the first reading
//! ```
//!
//! where the last line is never below 0. Children that nobody waits for are lost with what they used since the last
//! reading; nothing is counted twice. A process that was there before but not in this tree counts from now on.

use std::collections::BTreeMap;

use muster::clock::Monotonic;

use crate::processes::{ProcessStat, Units};

/// One process at one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Its line in `/proc`.
    pub stat: ProcessStat,
    /// Bytes that it and its ended children read from and wrote to disks; `None` if the system does not tell.
    pub disk_io_bytes: Option<u64>,
}

/// When a reading was made, by the agent's clock and by the one that processes' starts are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadingTime {
    /// For rates.
    pub monotonic: Monotonic,
    /// Since the machine started, before the first process was read; `None` if the system does not tell.
    pub since_boot_ticks: Option<u64>,
}

/// A tree at one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeUsage {
    processes: BTreeMap<u32, ProcessUsage>,
    at: ReadingTime,
}

/// What a tree used between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TreeChange {
    /// 100 is one core; `None` if no time has passed.
    pub cpu_percent: Option<f64>,
    /// `None` if the system tells it of no process.
    pub disk_io_bytes: Option<u64>,
}

impl TreeUsage {
    /// What was read at `at`, by pid.
    pub fn new(processes: BTreeMap<u32, ProcessUsage>, at: ReadingTime) -> Self {
        Self { processes, at }
    }

    /// Live processes.
    pub fn count(&self) -> u32 {
        u32::try_from(self.processes.len()).unwrap_or(u32::MAX)
    }

    /// Resident memory of all, shared pages in each.
    pub fn resident_pages(&self) -> u64 {
        self.processes.values().fold(0, |sum, process| sum.saturating_add(process.stat.resident_pages))
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self, units: &Units) -> TreeChange {
        let elapsed_s = self.at.monotonic.0.saturating_sub(before.at.monotonic.0).as_secs_f64();
        let ticks = self.cpu_ticks_since(before);
        let cpu_s = units.duration(ticks).as_secs_f64();
        TreeChange {
            cpu_percent: (elapsed_s > 0.0).then(|| cpu_s / elapsed_s * 100.0),
            disk_io_bytes: self.disk_io_bytes_since(before),
        }
    }

    fn cpu_ticks_since(&self, before: &Self) -> u64 {
        let mut own = 0u64;
        let mut of_children = 0u64;
        for (pid, now) in &self.processes {
            let (now, then) = match before.get(*pid, now) {
                Some(then) => (now.stat, Some(then.stat)),
                None if before.is_older_than(now) => (now.stat, None),
                None => continue,
            };
            own = own.saturating_add(now.cpu_ticks.saturating_sub(then.map_or(0, |then| then.cpu_ticks)));
            let children_before = then.map_or(0, |then| then.children_cpu_ticks);
            of_children = of_children.saturating_add(now.children_cpu_ticks.saturating_sub(children_before));
        }
        let known_of_ended = before.ended_by(self).fold(0u64, |sum, ended| {
            sum.saturating_add(ended.stat.cpu_ticks).saturating_add(ended.stat.children_cpu_ticks)
        });
        own.saturating_add(of_children.saturating_sub(known_of_ended))
    }

    fn disk_io_bytes_since(&self, before: &Self) -> Option<u64> {
        let mut of_new = None;
        let mut of_survivors = None;
        for (pid, now) in &self.processes {
            let Some(bytes) = now.disk_io_bytes else { continue };
            match before.get(*pid, now) {
                Some(then) => {
                    let added = then.disk_io_bytes.map_or(0, |then| bytes.saturating_sub(then));
                    of_survivors = Some(of_survivors.unwrap_or(0u64).saturating_add(added));
                }
                None if before.is_older_than(now) => {
                    of_new = Some(of_new.unwrap_or(0u64).saturating_add(bytes));
                }
                None => {}
            }
        }
        let known_of_ended: u64 =
            before.ended_by(self).filter_map(|ended| ended.disk_io_bytes).fold(0, u64::saturating_add);
        // Here a process's own bytes and its ended children's are one number.
        let of_survivors = of_survivors.map(|added| added.saturating_sub(known_of_ended));
        match (of_survivors, of_new) {
            (None, None) => None,
            (survivors, new) => Some(survivors.unwrap_or(0).saturating_add(new.unwrap_or(0))),
        }
    }

    /// The same process at this reading: the number alone may have been used again.
    fn get(&self, pid: u32, process: &ProcessUsage) -> Option<&ProcessUsage> {
        self.processes.get(&pid).filter(|known| known.stat.start_ticks == process.stat.start_ticks)
    }

    /// Processes of this reading that are gone at `later`.
    fn ended_by<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'a ProcessUsage> {
        self.processes
            .iter()
            .filter(|(pid, process)| later.get(**pid, process).is_none())
            .map(|(_, gone)| gone)
    }

    /// Whether `process` began after this reading, rather than joined the tree.
    fn is_older_than(&self, process: &ProcessUsage) -> bool {
        self.at.since_boot_ticks.is_some_and(|reading| process.stat.start_ticks >= reading)
    }
}

/// Ticks since the machine started, from the text of `/proc/uptime`, rounded down.
pub fn since_boot_ticks(uptime: &str, units: &Units) -> Option<u64> {
    let (seconds, fraction) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = fraction.get(..2)?.parse().ok()?;
    let whole = seconds.parse::<u64>().ok()?.checked_mul(units.ticks_per_second)?;
    whole.checked_add(hundredths.checked_mul(units.ticks_per_second)? / 100)
}

/// Bytes read from and written to disks, from the text of `/proc/PID/io`. What was written and then thrown away before
/// it reached the disk is not counted.
pub fn disk_io_bytes(text: &str) -> Option<u64> {
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim().parse().ok()
    };
    let written = field("write_bytes")?.saturating_sub(field("cancelled_write_bytes").unwrap_or(0));
    Some(field("read_bytes")?.saturating_add(written))
}
