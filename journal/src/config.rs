//! How a log is set up. Checked before a byte is touched.

use std::path::PathBuf;
use std::time::Duration;

use crate::format::{FRAME_HEAD_BYTES, META_BYTES_MAX, SEGMENT_HEAD_BYTES};

/// Settings of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The folder; made if it is not there (its parent must be). Nothing else may live in it.
    pub dir: PathBuf,
    /// A segment is closed when it would grow past this. One record larger than it has a segment of its own.
    pub segment_bytes_max: u64,
    /// Largest frame: a record's head, meta and payload.
    pub record_bytes_max: u32,
    /// Size of the reserve file that is given up when the disk is full; 0 for none.
    pub reserve_bytes: u64,
    /// Most bytes that wait for the disk, records and their bookkeeping. Past it, `append` says `Full`.
    pub queue_bytes_max: usize,
    /// How long a group gathers before it is written. 0: as long as the sync of the group before takes.
    pub commit_interval: Duration,
    /// Whether groups are synced.
    pub sync: SyncMode,
    /// What is deleted when.
    pub retention: Retention,
    /// Size of a reader's blocks: what it reads ahead, and the least that a held payload keeps in memory.
    pub read_block_bytes: usize,
    /// Newest records kept in memory for readers that keep up; 0 for none, and everybody reads the files.
    pub tail_bytes_max: usize,
    /// How much of the segment is allocated ahead, so that a sync has less to do; 0 for none.
    pub preallocate_bytes: u64,
}

/// Whether groups are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// One `fdatasync` a group, before anything of it is acknowledged.
    #[default]
    Always,
    /// Never. For benchmarks only: it breaks the promise.
    Never,
}

/// What is deleted when. Whole segments go, the oldest first, never the one that is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    /// Delete what is older than this. A jump of the wall clock deletes nothing: see `retention.rs`.
    pub age_max: Option<Duration>,
    /// Delete while the log is larger than this.
    pub bytes_max: Option<u64>,
    /// What to do when a cursor has not read it yet.
    pub slow_reader: SlowReader,
}

/// What retention does when a cursor has not read a segment yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowReader {
    /// Keep it, however large the log becomes.
    #[default]
    Keep,
    /// Delete it, count what was not read, and tell the reader as a gap.
    DropOldest,
}

/// Which setting is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal setting {setting}: {problem}")]
pub struct ConfigError {
    /// The field of [`Config`].
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Least size of a segment: heads and a few frames.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
/// Largest segment: offsets are bounded so that a damaged length can never overflow them.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 30;
/// Largest frame that any configuration may allow.
pub const RECORD_BYTES_LIMIT: u32 = 256 << 20;
/// Least size of a reader's block: a frame's head and largest meta.
pub const READ_BLOCK_BYTES_MIN: usize = 1024;
/// Longest time that a group may gather: an ack that waits longer than this looks like a hang.
pub const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(10);

impl Config {
    /// Settings for a log in `dir`: 64 MiB segments, 8 MiB records, 32 MiB queue, 8 MiB reserve, kept for ever.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes_max: 64 << 20,
            record_bytes_max: 8 << 20,
            reserve_bytes: 8 << 20,
            queue_bytes_max: 32 << 20,
            tail_bytes_max: 0,
            commit_interval: Duration::ZERO,
            sync: SyncMode::Always,
            retention: Retention::default(),
            read_block_bytes: 256 << 10,
            preallocate_bytes: 4 << 20,
        }
    }

    /// Whether the settings make sense together. Touches nothing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem: String| Err(ConfigError { setting, problem });
        if self.dir.as_os_str().is_empty() {
            return wrong("dir", "is empty; name a folder".to_owned());
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes_max) {
            let problem =
                format!("{} is not {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}", self.segment_bytes_max);
            return wrong("segment_bytes_max", problem);
        }
        let least = FRAME_HEAD_BYTES as u32;
        if !(least..=RECORD_BYTES_LIMIT).contains(&self.record_bytes_max) {
            let problem = format!("{} is not {least} to {RECORD_BYTES_LIMIT}", self.record_bytes_max);
            return wrong("record_bytes_max", problem);
        }
        if self.queue_bytes_max < self.record_bytes_max as usize {
            let problem = format!("{} is less than record_bytes_max", self.queue_bytes_max);
            return wrong("queue_bytes_max", problem);
        }
        if self.commit_interval > COMMIT_INTERVAL_MAX {
            return wrong("commit_interval", format!("is more than {COMMIT_INTERVAL_MAX:?}"));
        }
        if self.read_block_bytes < READ_BLOCK_BYTES_MIN {
            return wrong("read_block_bytes", format!("is less than {READ_BLOCK_BYTES_MIN}"));
        }
        match self.retention.bytes_max {
            Some(bytes_max) if bytes_max < 2 * self.segment_bytes_max => {
                let problem = format!("{bytes_max} is less than two segments of {}", self.segment_bytes_max);
                wrong("retention.bytes_max", problem)
            }
            _ => Ok(()),
        }
    }
}

// The format's own bounds must leave room for a record in the smallest segment.
const _: () = assert!(SEGMENT_BYTES_MIN > (SEGMENT_HEAD_BYTES + FRAME_HEAD_BYTES) as u64);
const _: () = assert!(META_BYTES_MAX <= u16::MAX as usize);
