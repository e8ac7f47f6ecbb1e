//! `/proc/PID/stat` and its units (proc_pid_stat(5)).

use std::time::Duration;

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// One letter; `Z` and `X` have ended.
    pub state: u8,
    /// The parent's pid; 0 for the first process.
    pub parent: u32,
    /// Processor time of the process itself, user and system.
    pub cpu_ticks: u64,
    /// Processor time of its ended children that it has waited for, and of theirs.
    pub children_cpu_ticks: u64,
    /// When it started, after the machine did. With the pid it names a process for ever.
    pub start_ticks: u64,
    /// Resident memory in pages.
    pub resident_pages: u64,
}

/// What ticks and pages are worth on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Ticks in a second.
    pub ticks_per_second: u64,
    /// Bytes in a page.
    pub page_bytes: u64,
}

impl ProcessStat {
    /// Reads the one line. `None` if it is cut or is something else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The name stands in brackets and may itself have brackets, spaces and line breaks: the last one closes it.
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let after = std::str::from_utf8(&text[close + 1..]).ok()?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        // The first field here is the third of the manual page.
        let number = |of_manual: usize| fields.get(of_manual - 3)?.parse::<u64>().ok();
        // Some kernels give children's time as a signed number that was once below 0.
        let lenient =
            |of_manual: usize| fields.get(of_manual - 3)?.parse::<i64>().ok().map(|n| n.max(0) as u64);
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: u32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)?.saturating_add(number(15)?),
            children_cpu_ticks: lenient(16)?.saturating_add(lenient(17)?),
            start_ticks: number(22)?,
            resident_pages: lenient(24)?,
        })
    }

    /// It runs or could run: neither a zombie nor dead.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

impl Units {
    /// As the kernel gives them to this process.
    pub fn of_this_machine() -> Self {
        Self {
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    /// Pages as bytes.
    pub fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(self.page_bytes)
    }

    /// Ticks as time.
    pub fn duration(&self, ticks: u64) -> Duration {
        let rest_ns = (ticks % self.ticks_per_second).saturating_mul(1_000_000_000) / self.ticks_per_second;
        Duration::from_secs(ticks / self.ticks_per_second) + Duration::from_nanos(rest_ns)
    }
}
