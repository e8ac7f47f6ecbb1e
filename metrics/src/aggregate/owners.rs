//! Who owns gauges: a source (tool and origin) of an agent, as long as it has not ended and its agent is heard.
//!
//! An owner that ended never comes back: if the source does, it is a new owner, so old readings stay gone.

use muster::ids::AgentId;
use rustc_hash::FxHashMap;

use super::origins::{OriginId, Origins, TeamId};
use super::texts::{TextId, Texts};

/// Number of an agent.
pub(super) type AgentIndex = u32;
/// Number of an owner.
pub(super) type OwnerId = u32;

/// The owner of counters and histograms: nobody.
pub(super) const NOBODY: OwnerId = u32::MAX;

/// Most sources that may own gauges at once: far above a large fleet, and 32 bytes each.
pub(super) const OWNERS_MAX: usize = 1 << 18;

/// Most agents that are remembered at once. Who comes when there are so many gets counters and no gauges.
pub(super) const AGENTS_MAX: usize = 1 << 17;

#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) team: TeamId,
    pub(super) id: AgentId,
    pub(super) heard_at: u32,
    pub(super) silent: bool,
    pub(super) gone: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) agent: AgentIndex,
    pub(super) origin: OriginId,
    pub(super) tool: TextId,
    pub(super) state: OwnerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    Live,
    /// Its gauges are off the page and wait for removal.
    Ended,
    Free,
}

#[derive(Debug, Default)]
pub(super) struct Owners {
    pub(super) agents: Vec<Agent>,
    agent_index: FxHashMap<(TeamId, AgentId), AgentIndex>,
    pub(super) owners: Vec<Owner>,
    owner_index: FxHashMap<(AgentIndex, OriginId, TextId), OwnerId>,
    free: Vec<OwnerId>,
    free_agents: Vec<AgentIndex>,
}

impl Owners {
    /// Notes that the agent is there. `None` when there are [`AGENTS_MAX`] others.
    pub(super) fn heard(&mut self, team: TeamId, id: AgentId, now: u32) -> Option<AgentIndex> {
        let index = self.known_or_silent(team, id, now)?;
        let agent = &mut self.agents[index as usize];
        (agent.heard_at, agent.silent) = (now, false);
        Some(index)
    }

    /// The agent as it is; one that was never heard is silent. `None` when there are [`AGENTS_MAX`] others.
    pub(super) fn known_or_silent(&mut self, team: TeamId, id: AgentId, now: u32) -> Option<AgentIndex> {
        if let Some(&index) = self.agent_index.get(&(team, id)) {
            return Some(index);
        }
        if self.agent_index.len() >= AGENTS_MAX {
            return None;
        }
        Some(self.add_agent(Agent { team, id, heard_at: now, silent: true, gone: false }))
    }

    pub(super) fn add_agent(&mut self, agent: Agent) -> AgentIndex {
        let key = (agent.team, agent.id);
        let index = match self.free_agents.pop() {
            Some(index) => {
                self.agents[index as usize] = agent;
                index
            }
            None => {
                self.agents.push(agent);
                (self.agents.len() - 1) as AgentIndex
            }
        };
        self.agent_index.insert(key, index);
        index
    }

    pub(super) fn find(&self, agent: AgentIndex, origin: OriginId, tool: TextId) -> Option<OwnerId> {
        self.owner_index.get(&(agent, origin, tool)).copied()
    }

    /// Whether there are [`OWNERS_MAX`].
    pub(super) fn is_full(&self) -> bool {
        self.owners.len() - self.free.len() >= OWNERS_MAX
    }

    /// A new live owner; that agent, origin and tool have none.
    pub(super) fn own(
        &mut self,
        (agent, origin, tool): (AgentIndex, OriginId, TextId),
        texts: &mut Texts,
        origins: &mut Origins,
    ) -> OwnerId {
        texts.retain(tool);
        origins.retain(origin);
        let owner = self.add_owner(Owner { agent, origin, tool, state: OwnerState::Live });
        self.owner_index.insert((agent, origin, tool), owner);
        owner
    }

    fn add_owner(&mut self, owner: Owner) -> OwnerId {
        match self.free.pop() {
            Some(id) => {
                self.owners[id as usize] = owner;
                id
            }
            None => {
                self.owners.push(owner);
                (self.owners.len() - 1) as OwnerId
            }
        }
    }

    /// Takes the owner's gauges off the page for good.
    pub(super) fn end(&mut self, id: OwnerId) {
        let owner = &mut self.owners[id as usize];
        if owner.state == OwnerState::Live {
            owner.state = OwnerState::Ended;
            self.owner_index.remove(&(owner.agent, owner.origin, owner.tool));
        }
    }

    /// Whether gauges of `id` are on the page.
    pub(super) fn is_visible(&self, id: OwnerId) -> bool {
        let Some(owner) = self.owners.get(id as usize) else { return false };
        owner.state == OwnerState::Live && !self.agents[owner.agent as usize].silent
    }

    /// Marks agents silent and ends the owners of those that have been gone for `gone_after`.
    pub(super) fn age(&mut self, now: u32, silent_after: u64, gone_after: u64) {
        for agent in &mut self.agents {
            let unheard = u64::from(now.saturating_sub(agent.heard_at));
            agent.silent |= unheard > silent_after;
            agent.gone |= unheard > gone_after;
        }
        for id in 0..self.owners.len() as OwnerId {
            let owner = &self.owners[id as usize];
            if owner.state == OwnerState::Live && self.agents[owner.agent as usize].gone {
                self.end(id);
            }
        }
    }

    /// Frees what has ended. No series may refer to an ended owner any more.
    pub(super) fn sweep(&mut self, texts: &mut Texts, origins: &mut Origins) {
        for (id, owner) in self.owners.iter_mut().enumerate() {
            if owner.state == OwnerState::Ended {
                owner.state = OwnerState::Free;
                texts.release(owner.tool);
                origins.release(owner.origin);
                self.free.push(id as OwnerId);
            }
        }
        for index in 0..self.agents.len() as AgentIndex {
            if self.agents[index as usize].gone && self.is_known(index) {
                let agent = &self.agents[index as usize];
                self.agent_index.remove(&(agent.team, agent.id));
                self.free_agents.push(index);
            }
        }
    }

    /// Whether the agent is one of now, and not a freed place.
    pub(super) fn is_known(&self, index: AgentIndex) -> bool {
        let agent = &self.agents[index as usize];
        self.agent_index.get(&(agent.team, agent.id)) == Some(&index)
    }
}
