//! The machine's counters: `/proc/stat`, `/proc/meminfo`, `/proc/diskstats` (proc(5)).

use std::collections::BTreeMap;

/// Processor time of all cores since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTicks {
    /// Working for somebody.
    pub busy: u64,
    /// Doing nothing, or waiting for a disk.
    pub idle: u64,
    /// Cores that are switched on.
    pub cores: u64,
}

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What could not be given to somebody new.
    pub used_bytes: u64,
}

/// Bytes read and written since the machine started, by whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskIo {
    bytes_by_disk: BTreeMap<String, u64>,
}

/// A sector in `/proc/diskstats`, whatever the disk's own.
const SECTOR_BYTES: u64 = 512;
/// Devices that are made of others or of memory: what they do is done by a disk or by none.
const NO_DISKS: [&str; 6] = ["loop", "ram", "zram", "dm-", "md", "sr"];

impl CpuTicks {
    /// From the text of `/proc/stat`.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
        // user nice system idle [iowait irq softirq steal]; guests are in user and nice already.
        let [user, nice, system, idle] = *ticks.first_chunk()?;
        let [iowait, irq, softirq, steal] = [4, 5, 6, 7].map(|at| ticks.get(at).copied().unwrap_or(0));
        let is_core = |line: &&str| {
            line.strip_prefix("cpu")
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        let sum = |parts: &[u64]| parts.iter().fold(0u64, |sum, part| sum.saturating_add(*part));
        Some(Self {
            busy: sum(&[user, nice, system, irq, softirq, steal]),
            idle: sum(&[idle, iowait]),
            cores: text.lines().filter(is_core).count().max(1) as u64,
        })
    }

    /// What was used since `before`; 100 is one core. `None` if no time has passed or the counters began anew.
    pub fn percent_since(&self, before: &Self) -> Option<f64> {
        let busy = self.busy.checked_sub(before.busy)?;
        // Waiting for a disk is known to run backwards a little.
        let idle = self.idle.saturating_sub(before.idle);
        let all = busy.saturating_add(idle);
        (all > 0).then(|| busy as f64 / all as f64 * self.cores as f64 * 100.0)
    }
}

impl Memory {
    /// From the text of `/proc/meminfo`.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        let total_bytes = field("MemTotal")?;
        // Kernels before 3.14 do not work it out themselves.
        let available = match field("MemAvailable") {
            Some(available) => available,
            None => ["MemFree", "Buffers", "Cached"].iter().filter_map(|name| field(name)).sum(),
        };
        Some(Self { total_bytes, used_bytes: total_bytes.saturating_sub(available) })
    }
}

impl DiskIo {
    /// From the text of `/proc/diskstats`. Partitions are left out where their disk is there.
    pub fn parse(text: &str) -> Self {
        let mut disks = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
            let (Some(name), Some(read), Some(written)) = (fields.get(2), number(5), number(9)) else {
                continue;
            };
            if !NO_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
                disks.insert(*name, read.saturating_add(written).saturating_mul(SECTOR_BYTES));
            }
        }
        let is_partition = |name: &str| disk_of(name).any(|disk| disks.contains_key(disk));
        let whole = disks.iter().filter(|(name, _)| !is_partition(name));
        Self { bytes_by_disk: whole.map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect() }
    }

    /// Bytes moved since `before`. A disk that is new, or whose counter began anew, moved what
    /// it says now.
    pub fn bytes_since(&self, before: &Self) -> u64 {
        self.bytes_by_disk
            .iter()
            .map(|(disk, now)| {
                let before = before.bytes_by_disk.get(disk).copied().unwrap_or(0);
                now.checked_sub(before).unwrap_or(*now)
            })
            .fold(0, u64::saturating_add)
    }
}

/// The names that the disk of a partition of this name could have: `sda` for `sda1`, `nvme0n1` for `nvme0n1p2`.
fn disk_of(name: &str) -> impl Iterator<Item = &str> {
    let without_number = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let has_number = without_number.len() < name.len();
    [Some(without_number), without_number.strip_suffix('p')].into_iter().flatten().filter(move |_| has_number)
}
