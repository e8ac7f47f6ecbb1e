//! Directories of every format version that was ever released, and what is in them. They are opened as copies.
//!
//! `expected.txt` next to a directory's files has a line for each thing that a reader tells. A new format version adds a
//! pair of directories; those that are here never change. They were made with
//! `cargo test -p journal --test golden -- --ignored`, which refuses to overwrite them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use journal::fs::RealFs;
use journal::{Config, Health, Journal, Position, ReadItem, Record};
use muster::clock::{ManualClock, WallTime};

const EXPECTED: &str = "expected.txt";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.segment_bytes_max = 4096;
    config.record_bytes_max = 4096;
    config.queue_bytes_max = 64 << 10;
    config.reserve_bytes = 0;
    config.preallocate_bytes = 0;
    config
}

fn open(dir: &Path) -> Journal {
    let clock = ManualClock::at(WallTime(1_800_000_000_000_000));
    Journal::open(config(dir), Arc::new(RealFs), Arc::new(clock)).unwrap().0
}

/// Everything that a reader tells, and where the cursor is.
fn told(journal: &Journal) -> String {
    let mut text = String::new();
    for item in journal.reader(Position(0)) {
        match item.unwrap() {
            ReadItem::Entry(e) => {
                let (meta, payload) = (crc32c::crc32c(&e.meta), crc32c::crc32c(&e.payload));
                let (position, wall, kind) = (e.position, e.appended_wall.0, e.kind);
                let (meta_len, len) = (e.meta.len(), e.payload.len());
                writeln!(text, "record {position} wall {wall} kind {kind} meta {meta_len} {meta:08x} payload {len} {payload:08x}")
            }
            ReadItem::Gap { from, to, reason } => writeln!(text, "gap {from} to {to} {}", reason.as_str()),
        }
        .unwrap();
    }
    writeln!(text, "durable {}", journal.durable()).unwrap();
    writeln!(text, "cursor {}", journal.cursor("sink").unwrap().position()).unwrap();
    text
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != EXPECTED {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn opens_as_expected(name: &str) -> (Journal, tempfile::TempDir) {
    let copy = copy_of(name);
    let expected = std::fs::read_to_string(golden(name).join(EXPECTED)).unwrap();
    let journal = open(copy.path());
    assert_eq!(told(&journal), expected);
    drop(journal);
    let journal = open(copy.path());
    assert_eq!(told(&journal), expected, "opened again");
    let durable = journal.durable();
    assert_eq!(journal.commit(vec![Record::default()]).unwrap(), durable.next());
    (journal, copy)
}

#[test]
fn version_1_reads_as_it_was_written() {
    let (journal, _copy) = opens_as_expected("v1-good");
    assert_eq!(journal.health(), Health::Ok);
}

#[test]
fn a_corrupt_version_1_gives_all_that_can_be_had() {
    let (journal, _copy) = opens_as_expected("v1-corrupt");
    let quarantined =
        journal::Reason::Quarantined { records: 2, bytes: journal.stats().corrupt_bytes, segments: 0 };
    let cursors = journal::Reason::CursorsDamaged(1);
    assert_eq!(journal.health(), Health::Degraded { reasons: vec![quarantined, cursors] });
}

#[test]
#[ignore = "makes the directories; only for a new format version"]
fn make_the_directories() {
    let good = golden("v1-good");
    std::fs::create_dir_all(good.parent().unwrap()).unwrap();
    assert!(!good.exists(), "golden directories never change");
    std::fs::create_dir(&good).unwrap();
    write_history(&good);
    put(&good.join(EXPECTED), told(&open(&good)).as_bytes());

    let corrupt = golden("v1-corrupt");
    std::fs::create_dir(&corrupt).unwrap();
    for entry in std::fs::read_dir(&good).unwrap().map(Result::unwrap).filter(|e| e.file_name() != EXPECTED) {
        std::fs::copy(entry.path(), corrupt.join(entry.file_name())).unwrap();
    }
    spoil(&corrupt);
    let copy = copy_of("v1-corrupt");
    put(&corrupt.join(EXPECTED), told(&open(copy.path())).as_bytes());
}

fn write_history(dir: &Path) {
    let clock = ManualClock::at(WallTime(1_700_000_000_000_000));
    let (journal, _) = Journal::open(config(dir), Arc::new(RealFs), Arc::new(clock.clone())).unwrap();
    let record = |n: u64| Record {
        kind: (n % 5) as u8,
        meta: Bytes::from(n.to_le_bytes()[..(n % 9) as usize].to_vec()),
        payload: Bytes::from((0..n * 29 % 700).map(|i| (i * n) as u8).collect::<Vec<_>>()),
    };
    for n in (1..=40).step_by(2) {
        clock.advance(std::time::Duration::from_millis(n));
        journal.commit(vec![record(n), record(n + 1)]).unwrap();
    }
    journal.cursor("sink").unwrap().advance(Position(11)).unwrap();
    journal.cursor("sink").unwrap().advance(Position(23)).unwrap();
}

/// One kind of damage in each file: a payload, a head of a frame, a segment's first head, a torn end, a cursor's slot.
fn spoil(dir: &Path) {
    let mut segments: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    assert!(segments.len() >= 4, "{segments:?}");
    let edit = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        put(path, &bytes);
    };
    let second_frame =
        |bytes: &[u8]| 1024 + bytes[1024 + 4..].windows(4).position(|w| w == b"\xF5MJR").unwrap() + 4;
    edit(&segments[0], &|bytes| {
        let at = second_frame(bytes) + 50;
        bytes[at] ^= 0x10;
    });
    edit(&segments[1], &|bytes| {
        let at = second_frame(bytes) + 4;
        bytes[at] ^= 0x01;
    });
    edit(&segments[2], &|bytes| bytes[33] ^= 0x80);
    let last = segments.last().unwrap();
    edit(last, &|bytes| bytes.truncate(bytes.len() - 60));
    edit(&dir.join("sink.cursor"), &|bytes| bytes[512 + 33] ^= 0x02);
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
}
