//! Scenario: one kind of operation fails, once or from now on. Guarantees: nothing is acknowledged after a failed write
//! or sync; the error is told; opening anew heals, with everything that was acknowledged.

use super::support::*;
use crate::fs::{Fault, OpKind, SimFs, Trigger};
use crate::{AppendError, Health, Journal, Position, Retention};

const EIO: i32 = 5;

const KINDS: [OpKind; 10] = [
    OpKind::Read,
    OpKind::Write,
    OpKind::Truncate,
    OpKind::Allocate,
    OpKind::SyncData,
    OpKind::SyncDir,
    OpKind::Rename,
    OpKind::Unlink,
    OpKind::List,
    OpKind::Create,
];

fn retaining() -> crate::Config {
    let mut config = config();
    config.retention = Retention { bytes_max: Some(16 << 10), ..Retention::default() };
    config
}

#[test]
fn whatever_fails_what_was_acknowledged_is_there_after_opening_anew() {
    for kind in KINDS {
        for trigger in [Trigger::Once, Trigger::Sticky] {
            for before in [0, 5, 30] {
                let fs = SimFs::new();
                let (journal, _) = open_with(&fs, retaining());
                fill(&journal, 1..=before);
                fs.inject(Fault { kind, trigger, errno: EIO });
                let mut acknowledged = before;
                let mut failed = false;
                for position in before + 1..=before + 40 {
                    match journal.commit(vec![record(position)]) {
                        Ok(at) => {
                            assert!(!failed, "{kind:?} {trigger:?}: acknowledged after a failure");
                            assert_eq!(at, Position(position));
                            acknowledged = position;
                        }
                        Err(AppendError::Poisoned(cause)) => {
                            assert!(!cause.to_string().is_empty());
                            failed = true;
                        }
                        Err(other) => panic!("{kind:?} {trigger:?}: {other}"),
                    }
                }
                assert_eq!(failed, matches!(journal.health(), Health::Poisoned(_)), "{kind:?} {trigger:?}");
                if matches!(kind, OpKind::Write | OpKind::SyncData | OpKind::Create) {
                    assert!(failed, "{kind:?} {trigger:?} must poison");
                }
                drop(journal);
                fs.heal();
                let (journal, _) = open_with(&fs, retaining());
                assert!(journal.durable().0 >= acknowledged, "{kind:?} {trigger:?}");
                let told = read(&journal, journal.first().0 - 1);
                assert!(told.gaps.is_empty(), "{kind:?} {trigger:?}: {told:?}");
                let next = journal.durable().0 + 1;
                fill(&journal, next..=next + 3);
            }
        }
    }
}

#[test]
fn a_failure_while_opening_is_an_error_and_opening_again_heals() {
    for kind in KINDS {
        let fs = closed_log(30);
        // So that opening has all of its work to do.
        unseal(&fs);
        fs.inject(Fault { kind, trigger: Trigger::Once, errno: EIO });
        let clock = std::sync::Arc::new(clock());
        let opened = Journal::open(config(), std::sync::Arc::new(fs.clone()), clock);
        if let Err(error) = &opened {
            assert!(error.to_string().starts_with("cannot "), "{error}");
        }
        drop(opened);
        fs.heal();
        assert_eq!(read(&open(&fs).0, 0).positions, (1..=30).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn a_failed_read_is_told_and_can_be_tried_again() {
    let fs = closed_log(30);
    let (journal, _) = open(&fs);
    let mut reader = journal.reader(Position(0));
    reader.read().unwrap();
    fs.inject(Fault { kind: OpKind::Read, trigger: Trigger::Sticky, errno: EIO });
    let mut seen = reader.position().0;
    let failed = loop {
        match reader.read() {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the end came before the fault"),
            Err(error) => break error,
        }
    };
    assert!(failed.to_string().contains(&format!("after position {seen}")), "{failed}");
    fs.heal();
    assert_eq!(reader.count() as u64, 30 - seen);
}

#[test]
fn a_cursor_that_cannot_be_written_stays_where_it_was() {
    for kind in [OpKind::Write, OpKind::SyncData] {
        let fs = SimFs::new();
        let (journal, _) = open(&fs);
        fill(&journal, 1..=5);
        let cursor = journal.cursor("sink").unwrap();
        cursor.advance(Position(2)).unwrap();
        std::thread::yield_now();
        // The writer may be about to note that the last group is synced; let it, so that the fault is the cursor's.
        journal.commit(vec![record(6)]).unwrap();
        let settled = fs.writes();
        while kind == OpKind::Write && fs.writes() < settled {
            std::thread::yield_now();
        }
        drop(journal);
        fs.inject(Fault { kind, trigger: Trigger::Once, errno: EIO });
        assert!(cursor.advance(Position(4)).is_err());
        assert_eq!(cursor.position(), Position(2));
        cursor.advance(Position(4)).unwrap();
        assert_eq!(open(&fs).0.cursor("sink").unwrap().position(), Position(4));
    }
}

#[test]
fn a_panic_of_the_writer_leaves_nobody_waiting() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    let panics = || -> Vec<crate::Record> {
        panic!("the checkpoint could not be made (this panic is part of the test)")
    };
    *journal.shared().segment_head.lock() = Some(Box::new(panics));
    let failed = (4..60).find_map(|n| journal.commit(vec![record(n)]).err());
    assert!(matches!(failed, Some(AppendError::Closed | AppendError::Poisoned(_))), "{failed:?}");
    while !matches!(journal.health(), Health::Poisoned(_)) {
        std::thread::yield_now();
    }
    assert!(matches!(journal.append(record(60)), Err(AppendError::Poisoned(_))));
    drop(journal);
    open(&fs);
}
