//! Small logs in memory with records that can be told from their position.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use muster::clock::{ManualClock, WallTime};

use crate::fs::SimFs;
use crate::segments::segment_path;
use crate::{Config, GapReason, Journal, Position, ReadItem, Record, Recovery};

pub(super) const DIR: &str = "/log";

pub(super) fn config() -> Config {
    let mut config = Config::new(DIR);
    config.segment_bytes_max = 4096;
    config.record_bytes_max = 2048;
    config.queue_bytes_max = 64 << 10;
    config.reserve_bytes = 4096;
    config.read_block_bytes = 1024;
    config.preallocate_bytes = 1024;
    config
}

pub(super) fn clock() -> ManualClock {
    ManualClock::at(WallTime(1_700_000_000_000_000))
}

pub(super) fn open(fs: &SimFs) -> (Journal, Recovery) {
    open_with(fs, config())
}

pub(super) fn open_with(fs: &SimFs, config: Config) -> (Journal, Recovery) {
    Journal::open(config, Arc::new(fs.clone()), Arc::new(clock())).unwrap()
}

/// The record that stands at `position` in all tests: its content and length follow from it.
pub(super) fn record(position: u64) -> Record {
    let mut random = fastrand_like(position);
    let len = (random() % 400) as usize;
    let payload: Vec<u8> = (0..len).map(|_| random() as u8).collect();
    Record {
        kind: (position % 7) as u8,
        meta: Bytes::from(position.to_le_bytes().to_vec()),
        payload: payload.into(),
    }
}

/// A small generator of numbers (splitmix64), so that a seed means the same everywhere.
pub(super) fn fastrand_like(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Commits the records of `positions`, one by one.
pub(super) fn fill(journal: &Journal, positions: std::ops::RangeInclusive<u64>) {
    for position in positions {
        assert_eq!(journal.commit(vec![record(position)]).unwrap(), Position(position));
    }
}

/// What a reader told: positions of good records and the gaps. Panics on a record that is not the one of its position.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub(super) struct Told {
    pub(super) positions: Vec<u64>,
    pub(super) gaps: Vec<(u64, u64, GapReason)>,
}

impl Told {
    pub(super) fn lost(&self) -> Vec<u64> {
        self.gaps.iter().flat_map(|&(from, to, _)| from..=to).collect()
    }
}

pub(super) fn read(journal: &Journal, from: u64) -> Told {
    let mut told = Told::default();
    let mut next = from + 1;
    for item in journal.reader(Position(from)) {
        match item.unwrap() {
            ReadItem::Entry(entry) => {
                let expected = record(entry.position.0);
                assert_eq!(entry.position.0, next, "records come in order");
                assert_eq!((entry.kind, &entry.meta), (expected.kind, &expected.meta), "position {next}");
                assert_eq!(entry.payload, expected.payload, "position {next}");
                told.positions.push(next);
                next += 1;
            }
            ReadItem::Gap { from, to, reason } => {
                assert_eq!(from.0, next, "gaps come in order");
                assert!(to >= from);
                told.gaps.push((from.0, to.0, reason));
                next = to.0 + 1;
            }
        }
    }
    assert_eq!(next, journal.durable().0.max(from) + 1, "everything durable was told");
    told
}

/// A closed log of `count` records over several segments.
pub(super) fn closed_log(count: u64) -> SimFs {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=count);
    drop(journal);
    fs
}

/// Takes the seal off the last segment, as if it had never reached the disk: nothing proves that the last group was synced.
pub(super) fn unseal(fs: &SimFs) {
    let path = segment_files(fs).pop().unwrap();
    let (_, last, len) = frames(fs, &path).pop().unwrap();
    let mut bytes = fs.contents()[&path].clone();
    bytes[last + len..].fill(0);
    fs.put(&path, bytes);
}

/// The segments' files, oldest first.
pub(super) fn segment_files(fs: &SimFs) -> Vec<PathBuf> {
    fs.contents().into_keys().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect()
}

pub(super) fn segment(first: u64) -> PathBuf {
    segment_path(Path::new(DIR), first)
}

/// Where each frame of a segment's file begins, with its position; seals left out.
pub(super) fn frames(fs: &SimFs, path: &Path) -> Vec<(u64, usize, usize)> {
    use crate::format::{FrameHead, FrameType, SEGMENT_HEAD_BYTES};
    let bytes = fs.contents()[path].clone();
    let mut at = SEGMENT_HEAD_BYTES;
    let mut frames = Vec::new();
    while let Some(head) = bytes.get(at..).and_then(FrameHead::decode) {
        let len = head.frame_len() as usize;
        if head.frame_type != FrameType::Seal {
            frames.push((head.position, at, len));
        }
        at += len;
    }
    frames
}

/// Waits until the writer has told everybody that the disk is full, and appends may look for room again.
pub(super) fn settle(journal: &Journal) {
    use crate::queue::Condition;
    while matches!(journal.shared().queue.lock().condition, Condition::DiskFull { is_settled: false }) {
        std::thread::yield_now();
    }
}
