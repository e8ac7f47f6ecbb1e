//! Who is there, what runs and what ran: the read model behind `/api/v1`.
//!
//! Sessions and runs are folded from the journal by the same reader as the aggregate and saved with it, so they are a
//! function of the journal's prefix. What agents say of themselves (host, clock, spool) lives in memory and in the
//! snapshot; it is told with the time at which it was heard. Everything is bounded; the oldest goes.

mod configuration;
mod fold;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use muster::clock::WallTime;
use muster::ids::{AgentId, Instance, StreamKey, Team};
use muster::v1;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::remote_configuration::{Labels, Offer, Report};

pub use configuration::{Configuration, ConfigurationState};
pub use rows::{Agent, Cursor, Page, Run, Session, Source};

/// Agents that are remembered: those of the largest fleet and their predecessors.
pub const AGENTS_MAX: usize = 20_000;
/// Sessions that are remembered, over all teams.
pub const SESSIONS_MAX: usize = 10_000;
/// Runs that are remembered; older ones are in the history.
pub const RUNS_MAX: usize = 5_000;
/// Longest text that an agent may say of itself.
const TEXT_CHARS_MAX: usize = 256;
/// Reasons for drops that one agent may name.
const DROP_REASONS_MAX: usize = 32;

/// The read model.
#[derive(Debug, Default)]
pub struct Fleet {
    state: Mutex<State>,
}

/// What is saved with the aggregate.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    #[serde(with = "rows::by_value")]
    agents: BTreeMap<(Team, AgentId), Agent>,
    #[serde(with = "rows::by_value")]
    sessions: BTreeMap<SessionKey, Session>,
    runs: VecDeque<Run>,
}

/// Names a session: its own name is unique only in its tool and project on its machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SessionKey {
    team: Team,
    agent: AgentId,
    tool: String,
    project: String,
    session: String,
}

/// Which rows are asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this team alone.
    pub team: Option<Team>,
    /// Of this project alone.
    pub project: Option<String>,
    /// After this row.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

impl Fleet {
    /// Nobody is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was saved. All agents count as away until they come.
    pub fn restore(saved: &[u8]) -> Result<Self, serde_json::Error> {
        let mut state: State = serde_json::from_slice(saved)?;
        for agent in state.agents.values_mut() {
            agent.connected = false;
        }
        Ok(Self { state: Mutex::new(state) })
    }

    /// Takes over what was saved.
    pub fn replace_with(&self, other: Fleet) {
        *self.state.lock() = other.state.into_inner();
    }

    /// What to save.
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.state.lock()).expect("rows are numbers and texts, which always serialise")
    }

    /// An agent's stream was welcomed.
    pub fn connected(&self, key: &StreamKey, peer: SocketAddr, hello: &v1::Hello, now: WallTime) {
        let mut state = self.state.lock();
        let agent = state.agent(key);
        agent.connected = true;
        agent.connected_us = now.0;
        agent.heard_us = now.0;
        agent.address = peer.ip().to_string();
        agent.host = bounded(&hello.host);
        agent.user = bounded(&hello.user);
        agent.os = bounded(&hello.os);
        agent.version = bounded(&hello.agent_version);
        if agent.epoch != key.epoch.get() {
            // Numbers begin anew.
            agent.aggregated_seq = 0;
        }
        agent.epoch = key.epoch.get();
        agent.instance = hello.instance;
        agent.last_seq = hello.last_seq;
        agent.labels = Labels::said(&hello.labels).as_map().clone();
        agent.configuration.hello(hello.takes_configuration);
    }

    /// A configuration is sent to an agent.
    pub fn offered(&self, key: &StreamKey, offer: &Offer) {
        self.state.lock().agent(key).configuration.offered(offer);
    }

    /// An agent said what became of its configuration.
    pub fn reported(&self, key: &StreamKey, report: &Report, now: WallTime) {
        self.state.lock().agent(key).configuration.reported(report, now);
    }

    /// How many connected agents are in each state of their configuration.
    pub fn configuration_counts(&self) -> [(ConfigurationState, usize); ConfigurationState::ALL.len()] {
        let state = self.state.lock();
        let mut counts = ConfigurationState::ALL.map(|state| (state, 0));
        for agent in state.agents.values().filter(|agent| agent.connected) {
            counts[agent.configuration.state as usize].1 += 1;
        }
        counts
    }

    /// An agent's stream ended. Does nothing when another stream of it began meanwhile.
    pub fn disconnected(&self, key: &StreamKey, instance: Instance, now: WallTime, is_current: bool) {
        let mut state = self.state.lock();
        let agent = state.agent(key);
        if is_current && agent.instance == instance.0 && agent.epoch == key.epoch.get() {
            agent.connected = false;
            agent.heard_us = now.0;
        }
    }

    /// An agent said how it is.
    pub fn heartbeat(&self, key: &StreamKey, heartbeat: &v1::Heartbeat, now: WallTime) {
        let mut state = self.state.lock();
        let agent = state.agent(key);
        agent.heard_us = now.0;
        agent.clock_ahead_us =
            i64::try_from(i128::from(heartbeat.wall_time_us) - i128::from(now.0)).unwrap_or(0);
        agent.spool_bytes = heartbeat.spool_bytes;
        agent.spool_events = heartbeat.spool_events;
        agent.events_spooled = heartbeat.events_spooled;
        agent.memory_bytes = heartbeat.memory_bytes;
        agent.last_seq = agent.last_seq.max(heartbeat.last_seq);
        let dropped = heartbeat.dropped.iter().take(DROP_REASONS_MAX);
        agent.dropped = dropped.map(|d| (bounded(&d.reason), d.events)).collect();
    }

    /// How many agents are connected, and how many are known.
    pub fn agent_counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.agents.values().filter(|agent| agent.connected).count(), state.agents.len())
    }

    /// Agents by team and id.
    pub fn agents(&self, selection: &Selection) -> Page<Agent> {
        let state = self.state.lock();
        let rows = state.agents.values().filter(|agent| selection.takes_team(&agent.team));
        let cursor = |agent: &Agent| Cursor::text(&[agent.team.as_str(), &agent.agent.to_string()]);
        let mut page = Page::of(rows, selection, cursor);
        for agent in &mut page.rows {
            agent.lag_events = agent.last_seq.saturating_sub(agent.aggregated_seq);
        }
        page
    }

    /// Sessions by team, agent, tool, project and name.
    pub fn sessions(&self, selection: &Selection) -> Page<Session> {
        let state = self.state.lock();
        let rows = state.sessions.values().filter(|session| {
            selection.takes_team(&session.source.team) && selection.takes_project(&session.source.project)
        });
        let connected = |session: &Session| {
            state.agents.get(&session.key().agent_key()).is_some_and(|agent| agent.connected)
        };
        let mut page = Page::of(rows, selection, |session| session.key().cursor());
        for session in &mut page.rows {
            session.agent_connected = connected(session);
        }
        page
    }

    /// Runs, the newest first.
    pub fn runs(&self, selection: &Selection) -> Page<Run> {
        let state = self.state.lock();
        let rows = state.runs.iter().rev().filter(|run| {
            selection.takes_team(&run.source.team) && selection.takes_project(&run.source.project)
        });
        Page::of(rows, selection, Run::cursor)
    }
}

impl Selection {
    fn takes_team(&self, team: &Team) -> bool {
        self.team.as_ref().is_none_or(|wanted| wanted == team)
    }

    fn takes_project(&self, project: &str) -> bool {
        self.project.as_deref().is_none_or(|wanted| wanted == project)
    }
}

impl State {
    /// The agent's row, made if there is none; the one not heard for longest makes room.
    fn agent(&mut self, key: &StreamKey) -> &mut Agent {
        let id = (key.team.clone(), key.agent);
        if !self.agents.contains_key(&id) && self.agents.len() >= AGENTS_MAX {
            let away = self.agents.iter().filter(|(_, agent)| !agent.connected);
            if let Some(oldest) = away.min_by_key(|(_, agent)| agent.heard_us).map(|(id, _)| id.clone()) {
                self.agents.remove(&oldest);
            }
        }
        self.agents.entry(id).or_insert_with(|| Agent::unheard(key))
    }
}

fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
