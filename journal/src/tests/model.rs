//! The log against a list: any order of appends, closings, retention, cursors and reads gives what the list gives.

use proptest::prelude::*;

use super::support::*;
use crate::fs::SimFs;
use crate::{GapReason, Position, Retention};

#[derive(Debug, Clone)]
enum Step {
    /// Records of their own, waited for together.
    Append(u64),
    /// One unit.
    Commit(u64),
    Reopen,
    Retain,
    /// A cursor goes to this part (in 100) of what is durable.
    Advance {
        cursor: usize,
        percent: u64,
    },
    RemoveCursor(usize),
    /// Reads from this part (in 100).
    Read(u64),
}

const CURSORS: [&str; 2] = ["one", "two"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20u64).prop_map(Step::Append),
        3 => (1..8u64).prop_map(Step::Commit),
        2 => Just(Step::Reopen),
        1 => Just(Step::Retain),
        3 => (0..2usize, 0..=100u64).prop_map(|(cursor, percent)| Step::Advance { cursor, percent }),
        1 => (0..2usize).prop_map(Step::RemoveCursor),
        3 => (0..=110u64).prop_map(Step::Read),
    ]
}

fn small() -> crate::Config {
    let mut config = config();
    config.retention = Retention { bytes_max: Some(10 << 10), ..Retention::default() };
    config
}

proptest! {
    // The seed of a failure is printed, and kept in journal/proptest-regressions.
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list(steps in prop::collection::vec(step(), 1..60)) {
        let fs = SimFs::new();
        let (mut journal, _) = open_with(&fs, small());
        let mut last = 0;
        // Position, and what was still there when it was made.
        let mut cursors: [Option<(u64, u64)>; 2] = [None, None];
        for step in steps {
            match step {
                Step::Append(count) => {
                    let pending: Vec<_> = (last + 1..=last + count).map(|n| journal.append(record(n)).unwrap()).collect();
                    for one in pending {
                        last += 1;
                        prop_assert_eq!(one.wait().unwrap(), Position(last));
                    }
                }
                Step::Commit(count) => {
                    last = journal.commit((last + 1..=last + count).map(record).collect()).unwrap().0;
                }
                Step::Reopen => {
                    drop(journal);
                    let (opened, recovery) = open_with(&fs, small());
                    journal = opened;
                    prop_assert_eq!(recovery.last, Position(last));
                    prop_assert_eq!((recovery.torn_bytes, recovery.missing.len()), (0, 0));
                }
                Step::Retain => _ = journal.retain(),
                Step::Advance { cursor, percent } => {
                    let claimed = journal.cursor(CURSORS[cursor]).unwrap();
                    claimed.advance(Position(last * percent / 100)).unwrap();
                    let (position, first) = cursors[cursor].unwrap_or((0, journal.first().0));
                    let position = position.max(last * percent / 100);
                    cursors[cursor] = Some((position, first));
                    prop_assert_eq!(claimed.position().0, position);
                }
                Step::RemoveCursor(cursor) => {
                    journal.remove_cursor(CURSORS[cursor]).unwrap();
                    cursors[cursor] = None;
                }
                Step::Read(percent) => {
                    let from = last * percent / 100;
                    let told = read(&journal, from);
                    let first = journal.first().0;
                    let expected: Vec<u64> = (first.max(from + 1)..=last).collect();
                    prop_assert_eq!(told.positions, expected);
                    prop_assert!(told.gaps.iter().all(|gap| gap.2 == GapReason::Retention && gap.1 == first - 1));
                }
            }
            prop_assert_eq!(journal.durable(), Position(last));
            for (position, first_then) in cursors.iter().flatten() {
                prop_assert!(journal.first().0 <= (position + 1).max(*first_then), "retention passed a cursor");
            }
        }
    }
}
