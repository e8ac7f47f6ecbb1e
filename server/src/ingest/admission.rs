//! How many streams there may be, in all and of one team.

use std::collections::HashMap;
use std::sync::Arc;

use muster::ids::Team;
use parking_lot::Mutex;

/// A bound on streams.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams_max: usize,
    streams_per_team_max: usize,
    streams: usize,
    /// Holds teams with open streams alone.
    teams: HashMap<Team, usize>,
}

/// A stream's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    team: Team,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the collector has as many streams as it may; come back later")]
    Streams,
    #[error("the team has as many streams as it may; come back later")]
    TeamStreams,
}

impl Admission {
    /// Bounds in all and a team.
    pub fn new(streams_max: usize, streams_per_team_max: usize) -> Arc<Self> {
        let state = State { streams_max, streams_per_team_max, streams: 0, teams: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Changes the bounds; a lower one ends no stream.
    pub fn set_max(&self, streams_max: usize, streams_per_team_max: usize) {
        let mut state = self.state.lock();
        (state.streams_max, state.streams_per_team_max) = (streams_max, streams_per_team_max);
    }

    pub(super) fn enter(self: &Arc<Self>, team: &Team) -> Result<Place, Full> {
        let mut state = self.state.lock();
        if state.streams >= state.streams_max {
            return Err(Full::Streams);
        }
        let of_team = state.teams.get(team).copied().unwrap_or(0);
        if of_team >= state.streams_per_team_max {
            return Err(Full::TeamStreams);
        }
        state.streams += 1;
        state.teams.insert(team.clone(), of_team + 1);
        Ok(Place { admission: self.clone(), team: team.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.streams -= 1;
        if let Some(of_team) = state.teams.get_mut(&self.team) {
            *of_team -= 1;
            if *of_team == 0 {
                state.teams.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_team_cannot_take_the_place_of_all() {
        let admission = Admission::new(3, 2);
        let (red, blue): (Team, Team) = ("red".parse().expect("team"), "blue".parse().expect("team"));
        let places = [admission.enter(&red), admission.enter(&red)];
        assert!(matches!(admission.enter(&red), Err(Full::TeamStreams)));
        let last = admission.enter(&blue).expect("room");
        assert!(matches!(admission.enter(&blue), Err(Full::Streams)));
        drop((places, last));
        assert!(admission.state.lock().teams.is_empty());
    }
}
