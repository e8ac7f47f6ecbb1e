//! How many streams there may be, in all, of one team and of one agent.
//!
//! A stream takes its places when it is opened. Whose agent it is, is known then from a certificate, and with a token from
//! its Hello: until that, for 10 s at most, it has its place among the team's alone. An agent has one stream; it has
//! several while old ones are not known to be dead, and when its folder was copied: each copy has an epoch of its own.

use std::collections::HashMap;
use std::sync::Arc;

use muster::ids::{AgentId, Team};
use parking_lot::Mutex;

use crate::config::Limits;
use crate::figures::StreamEnd;

/// A bound on streams.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams_max: usize,
    streams_per_team_max: usize,
    agent_streams_max: usize,
    /// Teams with a bound of their own.
    own_max: HashMap<Team, usize>,
    streams: usize,
    /// Holds teams with open streams alone.
    teams: HashMap<Team, usize>,
    /// Holds agents with open streams alone.
    agents: HashMap<(Team, AgentId), usize>,
}

/// A stream's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    team: Team,
    agent: Option<AgentId>,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the collector has as many streams as it may; come back later")]
    Streams,
    #[error("the team has as many streams as it may; come back later")]
    TeamStreams,
    #[error(
        "the agent has as many streams as it may (is its state folder copied to many machines?); come back later"
    )]
    AgentStreams,
}

impl Full {
    /// The figure that counts it.
    pub(super) fn end(self) -> StreamEnd {
        match self {
            Self::Streams => StreamEnd::StreamsMax,
            Self::TeamStreams => StreamEnd::TeamStreamsMax,
            Self::AgentStreams => StreamEnd::AgentStreamsMax,
        }
    }
}

impl Admission {
    /// Bounds in all and a team.
    pub fn new(limits: &Limits) -> Arc<Self> {
        let state = State {
            streams_max: limits.streams_max,
            streams_per_team_max: limits.streams_per_team_max,
            agent_streams_max: limits.agent_streams_max,
            own_max: own_max(limits),
            streams: 0,
            teams: HashMap::new(),
            agents: HashMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Changes the bounds; a lower one ends no stream.
    pub fn set_max(&self, limits: &Limits) {
        let mut state = self.state.lock();
        (state.streams_max, state.streams_per_team_max) = (limits.streams_max, limits.streams_per_team_max);
        state.agent_streams_max = limits.agent_streams_max;
        state.own_max = own_max(limits);
    }

    /// A place among the team's streams, and among the agent's if it is known.
    pub(super) fn enter(self: &Arc<Self>, team: &Team, agent: Option<AgentId>) -> Result<Place, Full> {
        let mut place = self.enter_team(team)?;
        agent.map_or(Ok(()), |agent| place.take_agents(agent))?;
        Ok(place)
    }

    fn enter_team(self: &Arc<Self>, team: &Team) -> Result<Place, Full> {
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
        Ok(Place { admission: self.clone(), team: team.clone(), agent: None })
    }
}

impl Place {
    /// Takes a place among the agent's streams as well, unless it has one: a stream has one agent.
    pub(super) fn take_agents(&mut self, agent: AgentId) -> Result<(), Full> {
        if self.agent.is_some() {
            return Ok(());
        }
        let mut state = self.admission.state.lock();
        let streams_max = state.agent_streams_max;
        let of_agent = state.agents.entry((self.team.clone(), agent)).or_default();
        if *of_agent >= streams_max {
            return Err(Full::AgentStreams);
        }
        *of_agent += 1;
        self.agent = Some(agent);
        Ok(())
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
        let Some(agent) = self.agent else { return };
        let key = (self.team.clone(), agent);
        if let Some(of_agent) = state.agents.get_mut(&key) {
            *of_agent -= 1;
            if *of_agent == 0 {
                state.agents.remove(&key);
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
        let places = [admission.enter(&red, None), admission.enter(&red, None)];
        assert!(matches!(admission.enter(&red, None), Err(Full::TeamStreams)));
        let last = admission.enter(&blue, None).expect("room");
        assert!(matches!(admission.enter(&blue, None), Err(Full::Streams)));
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
        let _place = admission.enter(&red, None).expect("room");
        assert!(matches!(admission.enter(&red, None), Err(Full::TeamStreams)));
        let _places =
            [admission.enter(&blue, None).expect("room"), admission.enter(&blue, None).expect("room")];
    }

    #[test]
    fn one_agent_cannot_take_the_place_of_its_team() {
        let limits = Limits { agent_streams_max: 2, ..Limits::default() };
        let admission = Admission::new(&limits);
        let (red, blue): (Team, Team) = ("red".parse().expect("team"), "blue".parse().expect("team"));
        let agent = |number| AgentId::from_bytes([number; 16]);
        let known = admission.enter(&red, Some(agent(1))).expect("room");
        let mut hello = admission.enter(&red, None).expect("room");
        hello.take_agents(agent(1)).expect("the second of two");
        hello.take_agents(agent(1)).expect("it has its place");
        assert!(matches!(admission.enter(&red, Some(agent(1))), Err(Full::AgentStreams)));
        assert_eq!(admission.state.lock().streams, 2, "who is refused has no place left");
        let others = [admission.enter(&red, Some(agent(2))), admission.enter(&blue, Some(agent(1)))];
        assert!(others.iter().all(Result::is_ok), "an agent is one of its team");
        drop(known);
        drop(admission.enter(&red, Some(agent(1))).expect("room again"));
        drop((hello, others));
        let state = admission.state.lock();
        assert!(state.agents.is_empty() && state.teams.is_empty());
    }
}
