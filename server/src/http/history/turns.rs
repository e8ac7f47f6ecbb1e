//! Who may ask now: a query reads with a thread and some memory for as long as its reader takes its time.
//!
//! There are [`QUERIES_MAX`] turns for all and [`QUERIES_A_TEAM_MAX`] of them for one team, or for all operators together, so that
//! slow readers of one team leave room for the others. Where everybody may read everything there is but one kind of
//! readers, and all turns are theirs. Past either bound a reader is told 503 and when to come again.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::ids::Team;
use parking_lot::Mutex;

use super::super::{Reader, Refused};
use super::unavailable;

/// Queries that run at once. Each reads with one thread and holds a few batches.
const QUERIES_MAX: usize = 4;
/// Those of one team, or of all operators.
const QUERIES_A_TEAM_MAX: usize = 2;
/// Readers that follow the newest rows at once.
const FOLLOWERS_MAX: usize = 32;
/// Those of one team, or of all operators.
const FOLLOWERS_A_TEAM_MAX: usize = 16;

/// The turns of all readers.
#[derive(Debug, Clone)]
pub(in super::super) struct Turns {
    queries: Arc<Kind>,
    followers: Arc<Kind>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    kind: Arc<Kind>,
    whose: Option<Team>,
}

/// Turns of one kind.
#[derive(Debug)]
struct Kind {
    what: &'static str,
    max: usize,
    a_team_max: usize,
    /// By team; `None`: of those who may read everything.
    taken: Mutex<BTreeMap<Option<Team>, usize>>,
}

impl Turns {
    pub(in super::super) fn new() -> Self {
        let kind = |what, max, a_team_max| Arc::new(Kind { what, max, a_team_max, taken: Mutex::default() });
        Self {
            queries: kind("queries of the history", QUERIES_MAX, QUERIES_A_TEAM_MAX),
            followers: kind("followers of the history", FOLLOWERS_MAX, FOLLOWERS_A_TEAM_MAX),
        }
    }

    /// A turn for a query. `is_open`: everybody may read everything.
    pub(super) fn query(&self, reader: &Reader, is_open: bool) -> Result<Turn, Refused> {
        self.queries.turn(reader, is_open)
    }

    /// A turn for one who follows.
    pub(super) fn follower(&self, reader: &Reader, is_open: bool) -> Result<Turn, Refused> {
        self.followers.turn(reader, is_open)
    }
}

impl Kind {
    fn turn(self: &Arc<Self>, reader: &Reader, is_open: bool) -> Result<Turn, Refused> {
        let whose = reader.team(None);
        let Self { what, max, a_team_max, taken } = &**self;
        let mut taken = taken.lock();
        if taken.values().sum::<usize>() >= *max {
            return Err(unavailable(format!("{max} {what} are running already; come again in a moment")));
        }
        let own = taken.get(&whose).copied().unwrap_or(0);
        if own >= *a_team_max && !is_open {
            let of = whose.map_or_else(|| "operators".to_owned(), |team| format!("team {team}"));
            let words = format!("{own} {what} of {of} are running already; come again when one has ended");
            return Err(unavailable(words));
        }
        taken.insert(whose.clone(), own + 1);
        Ok(Turn { kind: self.clone(), whose })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.kind.taken.lock();
        if let Some(own) = taken.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str) -> Reader {
        Reader::Team(name.parse().expect("a team"))
    }

    fn refused(turn: Result<Turn, Refused>) -> String {
        let Refused(status, words) = turn.expect_err("there is none");
        assert_eq!(status, 503);
        words
    }

    #[test]
    fn slow_readers_of_one_team_leave_turns_for_the_others() {
        let turns = Turns::new();
        let query = |reader: &Reader| turns.query(reader, false);
        let red: Vec<_> = (0..2).map(|_| query(&team("red")).expect("a turn")).collect();
        assert!(refused(query(&team("red"))).contains("team red"));
        let operator = query(&Reader::All).expect("a turn");
        let blue = query(&team("blue")).expect("a turn");
        assert!(refused(query(&team("green"))).starts_with("4 queries"));
        drop(red);
        drop((query(&team("green")).expect("a turn"), operator, blue));
        assert!(turns.queries.taken.lock().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn where_everybody_may_read_everything_all_turns_are_theirs() {
        let turns = Turns::new();
        let taken: Vec<_> = (0..4).map(|_| turns.query(&Reader::All, true).expect("a turn")).collect();
        assert!(refused(turns.query(&Reader::All, true)).starts_with("4 queries"));
        // Who follows is no query.
        drop((turns.follower(&Reader::All, true).expect("a turn"), taken));
    }
}
