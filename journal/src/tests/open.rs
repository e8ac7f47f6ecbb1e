//! What opening refuses, and that refusing changes nothing.

use std::path::Path;
use std::sync::Arc;

use super::support::*;
use crate::format::{CursorSlot, SegmentHead};
use crate::fs::SimFs;
use crate::{Config, Health, Journal, OpenError, Position, Reason};

fn try_open(fs: &SimFs, config: Config) -> Result<(), OpenError> {
    Journal::open(config, Arc::new(fs.clone()), Arc::new(clock())).map(|_| ())
}

#[test]
fn an_invalid_configuration_touches_no_byte() {
    let wrong: [fn(&mut Config); 8] = [
        |c| c.dir = "".into(),
        |c| c.segment_bytes_max = 4095,
        |c| c.record_bytes_max = 43,
        |c| c.record_bytes_max = u32::MAX,
        |c| c.queue_bytes_max = 2047,
        |c| c.commit_interval = std::time::Duration::from_secs(11),
        |c| c.read_block_bytes = 1023,
        |c| c.retention.bytes_max = Some(8191),
    ];
    let fs = closed_log(20);
    let path = segment_files(&fs).pop().unwrap();
    let mut torn = fs.contents()[&path].clone();
    torn.truncate(torn.len() - 60);
    fs.put(&path, torn);
    let before = fs.contents();
    for spoil in wrong {
        let mut config = config();
        spoil(&mut config);
        assert!(matches!(try_open(&fs, config), Err(OpenError::Config(_))));
        assert_eq!(fs.contents(), before);
    }
}

#[test]
fn a_log_with_proof_that_all_of_it_is_durable_is_opened_without_a_sync() {
    let fs = closed_log(3);
    let syncs = fs.syncs();
    let (journal, recovery) = open(&fs);
    assert_eq!(fs.syncs(), syncs);
    assert_eq!(recovery.last, Position(3));
    assert_eq!(read(&journal, 0).positions, [1, 2, 3]);
}

#[test]
fn without_the_proof_the_last_group_is_synced_again_before_it_counts() {
    let fs = closed_log(3);
    unseal(&fs);
    let syncs = fs.syncs();
    let (journal, recovery) = open(&fs);
    assert_eq!((recovery.torn_bytes, recovery.last), (0, Position(3)));
    assert!(fs.syncs() > syncs, "it counts, and nobody had proof that it was synced");
    assert_eq!(read(&journal, 0).positions, [1, 2, 3]);
}

#[test]
fn a_newer_version_is_refused_and_nothing_is_changed() {
    let newer = |bytes: &mut [u8]| {
        for copy in [0, 512] {
            bytes[copy + 8] = 2;
            let crc = crc32c::crc32c(&bytes[copy..copy + 60]);
            bytes[copy + 60..copy + 64].copy_from_slice(&crc.to_le_bytes());
        }
    };
    let fs = closed_log(40);
    let (journal, _) = open(&fs);
    journal.cursor("sink").unwrap();
    drop(journal);
    let mut paths = segment_files(&fs);
    paths.push("/log/sink.cursor".into());
    for path in paths {
        let copy = fs.copy();
        let mut bytes = copy.contents()[&path].clone();
        newer(&mut bytes);
        copy.put(&path, bytes);
        let before = copy.contents();
        let refused = try_open(&copy, config());
        assert!(
            matches!(refused, Err(OpenError::NewerVersion { version: 2, supported: 1, .. })),
            "{refused:?}"
        );
        assert_eq!(copy.contents(), before);
    }
}

#[test]
fn a_path_that_is_no_folder_and_a_folder_in_use_are_refused() {
    let fs = SimFs::new();
    fs.put(Path::new("/log"), vec![1]);
    assert!(matches!(try_open(&fs, config()), Err(OpenError::NotADirectory(_))));
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    let before = fs.contents();
    assert!(matches!(try_open(&fs, config()), Err(OpenError::Locked(_))));
    assert_eq!(fs.contents(), before);
    drop(journal);
    try_open(&fs, config()).unwrap();
}

#[test]
fn a_log_that_lost_its_end_goes_on_after_its_cursors() {
    let fs = closed_log(40);
    let (journal, _) = open(&fs);
    journal.cursor("sink").unwrap().advance(Position(40)).unwrap();
    drop(journal);
    // An older copy of the segments is restored under newer cursors.
    let older = closed_log(20);
    for path in segment_files(&fs) {
        fs.remove(&path);
    }
    for path in segment_files(&older) {
        fs.put(&path, older.contents()[&path].clone());
    }
    let (journal, recovery) = open(&fs);
    assert_eq!(recovery.skipped_to, Some(Position(41)));
    fill(&journal, 41..=43);
    assert_eq!(read(&journal, 0).lost(), (21..=40).collect::<Vec<_>>());
    assert_eq!(read(&journal, 40).positions, [41, 42, 43]);
    let missing = Reason::Missing { from: Position(21), to: Position(40) };
    assert_eq!(journal.health(), Health::Degraded { reasons: vec![missing] });
}

#[test]
fn a_flipped_bit_in_a_cursor_costs_at_most_one_advance() {
    let fs = closed_log(40);
    let (journal, _) = open(&fs);
    let cursor = journal.cursor("sink").unwrap();
    for to in [10, 20, 30] {
        cursor.advance(Position(to)).unwrap();
    }
    drop((journal, cursor));
    let path = Path::new("/log/sink.cursor");
    let bytes = fs.contents()[path].clone();
    for bit in (0..64 * 8).chain(512 * 8..576 * 8) {
        let copy = fs.copy();
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        copy.put(path, flipped);
        let (journal, recovery) = open(&copy);
        let cursor = journal.cursor("sink").unwrap();
        assert!([20, 30].contains(&cursor.position().0), "bit {bit}: {:?}", cursor.position());
        assert_eq!(recovery.cursors_damaged, ["sink"]);
        assert_eq!(journal.health(), Health::Degraded { reasons: vec![Reason::CursorsDamaged(1)] });
        cursor.advance(Position(35)).unwrap();
        drop((journal, cursor));
        let (journal, recovery) = open(&copy);
        assert_eq!(journal.cursor("sink").unwrap().position(), Position(35));
        assert!(recovery.cursors_damaged.is_empty(), "the advance mended it");
    }
}

#[test]
fn cursors_have_names_bounds_and_an_end() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    for name in ["", "a/b", "..", "a.b", &"x".repeat(65)] {
        assert!(journal.cursor(name).is_err(), "{name:?}");
    }
    let cursor = journal.cursor("otlp-main_2").unwrap();
    assert_eq!(cursor.position(), Position(0));
    assert!(cursor.advance(Position(4)).is_err(), "past the durable end");
    cursor.advance(Position(3)).unwrap();
    cursor.advance(Position(1)).unwrap();
    assert_eq!(cursor.position(), Position(3));
    journal.remove_cursor("otlp-main_2").unwrap();
    journal.remove_cursor("otlp-main_2").unwrap();
    assert!(cursor.advance(Position(3)).is_err());
}

#[test]
fn a_cursor_is_made_where_it_is_to_begin_and_stays_there_if_it_was_made_before() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    assert!(journal.cursor_from("late", Position(4)).is_err(), "past the durable end");
    assert!(journal.cursor_names().is_empty());
    assert_eq!(journal.cursor_from("late", Position(2)).unwrap().position(), Position(2));
    assert_eq!(journal.cursor_from("late", Position(3)).unwrap().position(), Position(2));
    drop(journal);
    let (journal, recovery) = open(&fs);
    assert!(recovery.cursors_damaged.is_empty());
    let cursor = journal.cursor("late").unwrap();
    assert_eq!(cursor.position(), Position(2));
    cursor.advance(Position(3)).unwrap();
    drop((journal, cursor));
    assert_eq!(open(&fs).0.cursor("late").unwrap().position(), Position(3));
}

#[test]
fn heads_and_slots_are_as_specified() {
    let head =
        SegmentHead { journal_id: *b"0123456789abcdef", first: 0x0102, created_wall_us: 0x0304 }.encode();
    assert_eq!(head[..16], *b"MUSTERJL\x01\0\0\0\0\x04\0\0");
    assert_eq!(head[16..48], *b"0123456789abcdef\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0");
    let slot = CursorSlot { journal_id: *b"0123456789abcdef", position: 5, generation: 6 }.encode();
    assert_eq!(slot[..16], *b"MUSTERJC\x01\0\0\0\0\0\0\0");
    assert_eq!(slot[32..48], *b"\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0");
}
