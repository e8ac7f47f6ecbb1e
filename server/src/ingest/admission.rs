//! How many streams there may be, in all and of one team.

use std::collections::HashMap;
use std::sync::Arc;

use muster::ids::Team;
use parking_lot::Mutex;

use crate::config::Limits;

/// A bound on streams.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams_max: usize,
    streams_per_team_max: usize,
    /// Teams with a bound of their own.
    own_max: HashMap<Team, usize>,
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
    pub fn new(limits: &Limits) -> Arc<Self> {
        let state = State {
            streams_max: limits.streams_max,
            streams_per_team_max: limits.streams_per_team_max,
            own_max: own_max(limits),
            streams: 0,
            teams: HashMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Changes the bounds; a lower one ends no stream.
    pub fn set_max(&self, limits: &Limits) {
        let mut state = self.state.lock();
        (state.streams_max, state.streams_per_team_max) = (limits.streams_max, limits.streams_per_team_max);
        state.own_max = own_max(limits);
    }

    pub(super) fn enter(self: &Arc<Self>, team: &Team) -> Result<Place, Full> {
        let mut state = self.state.lock();
        if state.streams >= state.streams_max {
            return Err(Full::Streams);
        }
        let of_team = state.teams.get(team).copied().unwrap_or(0);
        if of_team >= state.own_max.get(team).copied().unwrap_or(state.streams_per_team_max) {
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

fn own_max(limits: &Limits) -> HashMap<Team, usize> {
    let own = limits.teams.iter().filter_map(|(team, own)| Some((team.clone(), own.streams_max?)));
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_team_cannot_take_the_place_of_all() {
        let limits = Limits { streams_max: 3, streams_per_team_max: 2, ..Limits::default() };
        let admission = Admission::new(&limits);
        let (red, blue): (Team, Team) = ("red".parse().expect("team"), "blue".parse().expect("team"));
        let places = [admission.enter(&red), admission.enter(&red)];
        assert!(matches!(admission.enter(&red), Err(Full::TeamStreams)));
        let last = admission.enter(&blue).expect("room");
        assert!(matches!(admission.enter(&blue), Err(Full::Streams)));
        drop((places, last));
        assert!(admission.state.lock().teams.is_empty());
    }

    #[test]
    fn a_team_may_have_a_bound_of_its_own() {
        let (red, blue): (Team, Team) = ("red".parse().expect("team"), "blue".parse().expect("team"));
        let own = crate::config::TeamLimits { streams_max: Some(1), ..Default::default() };
        let mut limits = Limits::default();
        limits.teams.insert(red.clone(), own);
        let admission = Admission::new(&Limits::default());
        admission.set_max(&limits);
        let _place = admission.enter(&red).expect("room");
        assert!(matches!(admission.enter(&red), Err(Full::TeamStreams)));
        let _places = [admission.enter(&blue).expect("room"), admission.enter(&blue).expect("room")];
    }
}
