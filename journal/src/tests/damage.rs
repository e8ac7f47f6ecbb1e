//! Scenario: bytes on disk are not what was written. Guarantee: it is told, it costs the least, the rest is delivered.

use std::path::Path;

use super::support::*;
use crate::fs::SimFs;
use crate::{GapReason, Health, Position};

/// Opens a damaged copy, and checks what holds whatever was damaged. Which positions were lost.
fn survives(fs: &SimFs, last: u64) -> Vec<u64> {
    let (journal, _) = open(fs);
    let told = read(&journal, 0);
    let lost = told.lost();
    if !lost.is_empty() {
        assert!(matches!(journal.health(), Health::Degraded { .. }), "{told:?}");
    }
    assert!(told.positions.len() as u64 + lost.len() as u64 <= last);
    let next = journal.durable().0 + 1;
    fill(&journal, next..=next);
    let again = read(&journal, 0);
    assert_eq!(again.lost(), lost, "the damage is told the same way again");
    assert_eq!(again.positions.last(), Some(&next));
    lost
}

fn flip(fs: &SimFs, path: &Path, bit: usize) -> SimFs {
    let copy = fs.copy();
    let mut bytes = copy.contents()[path].clone();
    bytes[bit / 8] ^= 1 << (bit % 8);
    copy.put(path, bytes);
    copy
}

#[test]
fn a_flipped_bit_in_a_segments_head_costs_nothing() {
    let fs = closed_log(40);
    for path in segment_files(&fs) {
        for bit in (0..64 * 8).chain(512 * 8..(512 + 64) * 8) {
            let lost = survives(&flip(&fs, &path, bit), 40);
            assert!(lost.is_empty(), "{} bit {bit}: lost {lost:?}", path.display());
        }
    }
}

#[test]
fn a_flipped_bit_in_a_frames_head_costs_that_record_alone() {
    let fs = closed_log(40);
    let files = segment_files(&fs);
    assert!(files.len() >= 3);
    for path in [&files[0], &files[files.len() / 2], &files[files.len() - 1]] {
        let frames = frames(&fs, path);
        for &(position, at, _) in [&frames[0], &frames[frames.len() / 2], &frames[frames.len() - 1]] {
            for bit in at * 8..(at + 44 + 8) * 8 {
                let copy = flip(&fs, path, bit);
                let lost = survives(&copy, 40);
                assert_eq!(lost, [position], "{} bit {bit}", path.display());
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_payload_costs_that_record_alone_and_is_set_aside_once() {
    let fs = closed_log(40);
    let mut random = fastrand_like(7);
    for path in segment_files(&fs) {
        for &(position, at, len) in frames(&fs, &path).iter().filter(|frame| frame.2 > 60) {
            for _ in 0..12 {
                let bit = (at + 52) * 8 + (random() as usize) % ((len - 52) * 8);
                let copy = flip(&fs, &path, bit);
                assert_eq!(survives(&copy, 40), [position], "{} bit {bit} (seed 7)", path.display());
                let (journal, _) = open(&copy);
                read(&journal, 0);
                read(&journal, 0);
                let stats = journal.stats();
                assert_eq!((stats.quarantined_records, stats.corrupt_bytes), (1, len as u64));
                let aside = copy.contents()[&path.with_extension("corrupt")].clone();
                assert_eq!(aside.len(), 32 + len);
                assert_eq!(aside[32..], copy.contents()[&path][at..at + len]);
            }
        }
    }
}

#[test]
fn a_lost_sector_in_the_middle_costs_the_records_in_it() {
    let fs = closed_log(60);
    for path in segment_files(&fs) {
        let frames = frames(&fs, &path);
        let size = fs.contents()[&path].len();
        for sector in (1024..size.min(4096)).step_by(512) {
            let copy = fs.copy();
            let mut bytes = copy.contents()[&path].clone();
            let end = (sector + 512).min(bytes.len());
            bytes[sector..end].fill(0xAA);
            copy.put(&path, bytes);
            let hit = frames.iter().filter(|&&(_, at, len)| at < end && at + len > sector);
            let hit: Vec<u64> = hit.map(|frame| frame.0).collect();
            let (journal, recovery) = open(&copy);
            let told = read(&journal, 0);
            // Of the last segment the end may be gone together with the proof that it was synced: then it is cut off.
            let mut lost = told.lost();
            lost.extend(journal.durable().0 + 1..=60);
            assert_eq!(lost, hit, "{} sector {sector} {recovery:?}", path.display());
        }
    }
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_three_records_loses_only_what_was_cut() {
    let fs = closed_log(20);
    let path = segment_files(&fs).pop().unwrap();
    let frames = frames(&fs, &path);
    let third_last = frames[frames.len() - 3];
    let bytes = fs.contents()[&path].clone();
    for cut in third_last.1..bytes.len() {
        let copy = fs.copy();
        copy.put(&path, bytes[..cut].to_vec());
        let whole = frames.iter().filter(|&&(_, at, len)| at + len <= cut).map(|frame| frame.0).max();
        let last = whole.unwrap_or(third_last.0 - 1);
        let (journal, recovery) = open(&copy);
        assert_eq!(recovery.last, Position(last), "cut at {cut}");
        assert_eq!(recovery.quarantined_records, 0);
        fill(&journal, last + 1..=25);
        assert_eq!(read(&journal, 0).positions, (1..=25).collect::<Vec<_>>());
        assert_eq!(journal.health(), Health::Ok);
        drop(journal);
        assert_eq!(read(&open(&copy).0, 0).positions, (1..=25).collect::<Vec<_>>());
    }
}

#[test]
fn zeros_after_the_end_are_nothing_and_zeros_in_the_tail_cut_it() {
    let fs = closed_log(20);
    let path = segment_files(&fs).pop().unwrap();
    let bytes = fs.contents()[&path].clone();
    let copy = fs.copy();
    copy.put(&path, [&bytes[..], &[0; 3000]].concat());
    assert!(survives(&copy, 20).is_empty());

    let frames = frames(&fs, &path);
    let (position, at, _) = frames[frames.len() - 2];
    let mut zeroed = bytes;
    zeroed[at..].fill(0);
    copy.put(&path, zeroed);
    let (journal, recovery) = open(&copy);
    assert_eq!(recovery.last, Position(position - 1));
    assert!(read(&journal, 0).gaps.is_empty());
}

#[test]
fn old_frames_after_the_end_are_never_replayed() {
    let fs = closed_log(40);
    let files = segment_files(&fs);
    let last = files.last().unwrap();
    let bytes = fs.contents()[last].clone();
    let others = [&fs.contents()[&files[0]][1024..], &bytes[1024..]];
    for old in others {
        let copy = fs.copy();
        copy.put(last, [&bytes[..], old].concat());
        let (journal, recovery) = open(&copy);
        assert_eq!(recovery.last, Position(40));
        assert!(recovery.torn_bytes > 0);
        let told = read(&journal, 0);
        assert_eq!(told.positions, (1..=40).collect::<Vec<_>>());
        fill(&journal, 41..=60);
        assert_eq!(read(&journal, 0).positions, (1..=60).collect::<Vec<_>>());
    }
}

#[test]
fn a_duplicated_segment_is_set_aside_and_never_replayed() {
    let fs = closed_log(40);
    let files = segment_files(&fs);
    let first = fs.contents()[&files[0]].clone();
    // As a segment far ahead, and in place of another.
    let copy = fs.copy();
    copy.put(&segment(9000), first.clone());
    let (journal, recovery) = open(&copy);
    assert_eq!((recovery.quarantined_segments, recovery.last), (1, Position(40)));
    assert_eq!(read(&journal, 0).positions, (1..=40).collect::<Vec<_>>());
    assert!(copy.contents().contains_key(&segment(9000).with_extension("seg.corrupt")));
    drop(journal);

    let copy = fs.copy();
    copy.put(&files[1], first);
    let (journal, recovery) = open(&copy);
    assert_eq!(recovery.quarantined_segments, 1);
    let missing: Vec<u64> = frames(&fs, &files[1]).iter().map(|frame| frame.0).collect();
    assert_eq!(read(&journal, 0).lost(), missing);
}

#[test]
fn a_missing_middle_segment_is_told_by_number() {
    let fs = closed_log(60);
    let files = segment_files(&fs);
    let missing: Vec<u64> = frames(&fs, &files[1]).iter().map(|frame| frame.0).collect();
    let (from, to) = (missing[0], missing[missing.len() - 1]);
    let copy = fs.copy();
    copy.remove(&files[1]);
    let (journal, recovery) = open(&copy);
    assert_eq!(recovery.missing, [(Position(from), Position(to))]);
    assert_eq!(read(&journal, 0).gaps, [(from, to, GapReason::Missing)]);
    assert_eq!(read(&journal, to - 1).gaps, [(to, to, GapReason::Missing)]);
    assert!(matches!(journal.health(), Health::Degraded { .. }));
    assert_eq!(journal.stats().missing_records, to - from + 1);
}

#[test]
fn a_segment_that_vanishes_while_open_is_told_as_missing() {
    let fs = closed_log(60);
    let (journal, _) = open(&fs);
    let files = segment_files(&fs);
    fs.remove(&files[1]);
    let missing = read(&journal, 0).lost();
    assert!(missing.len() > 2 && missing[0] == frames(&closed_log(60), &files[1])[0].0);
}

#[test]
fn a_segment_with_no_head_left_is_read_by_its_neighbours_identity() {
    let fs = closed_log(40);
    for path in segment_files(&fs) {
        let copy = fs.copy();
        let mut bytes = copy.contents()[&path].clone();
        bytes[..1024].fill(0);
        copy.put(&path, bytes);
        assert!(survives(&copy, 40).is_empty(), "{}", path.display());
    }
}

#[test]
fn a_short_closed_segment_is_a_gap_at_its_end() {
    let fs = closed_log(60);
    let files = segment_files(&fs);
    let frames = frames(&fs, &files[0]);
    let (position, at, _) = frames[frames.len() - 2];
    let copy = fs.copy();
    let bytes = copy.contents()[&files[0]].clone();
    copy.put(&files[0], bytes[..at + 10].to_vec());
    let lost = read(&open(&copy).0, 0).lost();
    assert_eq!(lost, [position, position + 1]);
}
