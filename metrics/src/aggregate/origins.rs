//! Where series come from: teams, and the scope labels (team, user, host, project) that a source's series share.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::LabelScope;
use super::texts::{TextId, Texts};
use crate::catalogue::{FAMILIES_MAX, FamilyId, FamilySet, word};

/// Number of an origin.
pub(super) type OriginId = u32;
/// Number of a team.
pub(super) type TeamId = u32;

/// Team, user, host, project.
pub(super) type OriginKey = [TextId; 4];
/// Team, user, host: who watches, as the labels of a page tell agents apart.
type AgentKey = [TextId; 3];

const PROJECT: usize = 3;

#[derive(Debug)]
pub(super) struct Origin {
    pub(super) key: OriginKey,
    pub(super) team: TeamId,
    /// The scope labels as pages show them, without braces.
    pub(super) labels: Box<str>,
    /// Families that its tool's settings take off the page.
    pub(super) disabled: FamilySet,
    /// When an agent that watches it was last heard.
    pub(super) alive_at: u32,
    /// Whether it is a watched project, and not the machine or the aggregation itself.
    pub(super) is_project: bool,
    references: u32,
}

#[derive(Debug)]
pub(super) struct Team {
    pub(super) name: TextId,
    /// Series it has in each family.
    series: [u32; FAMILIES_MAX],
    /// Series it has in all.
    pub(super) series_in_all: usize,
    series_max: usize,
}

/// Which bound leaves no room for a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The team's series of the family.
    Family,
    /// The agent's series in all.
    Agent,
    /// The team's series in all.
    Team,
    /// Sources that own gauges.
    Sources,
}

impl Full {
    /// The reason as pages show it: where it can be set, the setting's name.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Family => "series_per_family_max",
            Self::Agent => "agent_series_max",
            Self::Team => "team_series_max",
            Self::Sources => "sources_max",
        }
    }
}

#[derive(Debug)]
pub(super) struct Origins {
    scope: LabelScope,
    slots: Vec<Option<Origin>>,
    free: Vec<OriginId>,
    index: FxHashMap<OriginKey, OriginId>,
    teams: Vec<Team>,
    team_index: FxHashMap<TextId, TeamId>,
    /// Series of each agent that has some.
    agent_series: FxHashMap<AgentKey, usize>,
    agent_series_max: usize,
}

impl Origins {
    pub(super) fn new(scope: LabelScope, agent_series_max: usize) -> Self {
        Self {
            agent_series: FxHashMap::default(),
            agent_series_max,
            scope,
            slots: Vec::new(),
            free: Vec::new(),
            index: FxHashMap::default(),
            teams: Vec::new(),
            team_index: FxHashMap::default(),
        }
    }

    /// The team of that name. Teams come from credentials, so there are few, and they stay.
    pub(super) fn team(
        &mut self,
        name: &str,
        series_max: impl FnOnce(&str) -> usize,
        texts: &mut Texts,
    ) -> TeamId {
        let text = texts.intern(name);
        if let Some(&team) = self.team_index.get(&text) {
            return team;
        }
        texts.retain(text);
        let team = self.teams.len() as TeamId;
        let series_max = series_max(name);
        self.teams.push(Team { name: text, series: [0; FAMILIES_MAX], series_in_all: 0, series_max });
        self.team_index.insert(text, team);
        team
    }

    pub(super) fn teams(&self) -> &[Team] {
        &self.teams
    }

    /// Notes that there is one more series of this origin.
    pub(super) fn count_series(&mut self, origin: OriginId, family: FamilyId) {
        let Origin { team, key, .. } = *self.get(origin);
        let team = &mut self.teams[team as usize];
        team.series[family.index()] += 1;
        team.series_in_all += 1;
        if let Some(agent) = agent_of(&key) {
            *self.agent_series.entry(agent).or_default() += 1;
        }
    }

    /// Notes that a series of this origin has gone.
    pub(super) fn discount_series(&mut self, origin: OriginId, family: FamilyId) {
        let Origin { team, key, .. } = *self.get(origin);
        let team = &mut self.teams[team as usize];
        team.series[family.index()] -= 1;
        team.series_in_all -= 1;
        if let Some(agent) = agent_of(&key)
            && let Entry::Occupied(mut series) = self.agent_series.entry(agent)
        {
            *series.get_mut() -= 1;
            if *series.get() == 0 {
                series.remove();
            }
        }
    }

    /// Which bound the next series of the family would break, if any. `who`: user and host, unless they are new.
    pub(super) fn full(
        &self,
        team: TeamId,
        who: Option<[TextId; 2]>,
        family: FamilyId,
        per_family_max: usize,
    ) -> Option<Full> {
        let team = &self.teams[team as usize];
        let of_agent = who.and_then(|[user, host]| self.agent_series.get(&[team.name, user, host]));
        if team.series[family.index()] as usize >= per_family_max {
            Some(Full::Family)
        } else if of_agent.is_some_and(|series| *series >= self.agent_series_max) {
            Some(Full::Agent)
        } else if team.series_in_all >= team.series_max {
            Some(Full::Team)
        } else {
            None
        }
    }

    /// The key that a source of these texts has in this scope: an agent's own page knows one user and one host.
    pub(super) fn key(&self, team: TeamId, user: TextId, host: TextId, project: TextId) -> OriginKey {
        let team = self.teams[team as usize].name;
        match self.scope {
            LabelScope::Collector => [team, user, host, project],
            LabelScope::Agent => [team, TextId::EMPTY, TextId::EMPTY, project],
        }
    }

    /// The key of the series that take what has no room.
    pub(super) fn overflow_key(&self, team: TeamId) -> OriginKey {
        let overflow = TextId(word::OVERFLOW.0);
        self.key(team, overflow, overflow, overflow)
    }

    /// The key of what the aggregation says of itself.
    pub(super) fn own_key(&self, team: TeamId) -> OriginKey {
        self.key(team, TextId::EMPTY, TextId::EMPTY, TextId::EMPTY)
    }

    pub(super) fn find(&self, key: &OriginKey) -> Option<OriginId> {
        self.index.get(key).copied()
    }

    /// The origin of `key`, new and without references when there was none.
    pub(super) fn intern(&mut self, team: TeamId, key: OriginKey, texts: &mut Texts) -> OriginId {
        if let Some(id) = self.find(&key) {
            return id;
        }
        key.iter().for_each(|&text| texts.retain(text));
        let origin = Origin {
            key,
            team,
            labels: self.labels(&key, texts),
            disabled: FamilySet::default(),
            alive_at: 0,
            is_project: key[PROJECT].0 == word::OVERFLOW.0,
            references: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(origin);
                id
            }
            None => {
                self.slots.push(Some(origin));
                (self.slots.len() - 1) as OriginId
            }
        };
        self.index.insert(key, id);
        id
    }

    pub(super) fn get(&self, id: OriginId) -> &Origin {
        self.slots[id as usize].as_ref().expect("who refers to an origin holds a reference to it")
    }

    pub(super) fn get_mut(&mut self, id: OriginId) -> &mut Origin {
        self.slots[id as usize].as_mut().expect("who refers to an origin holds a reference to it")
    }

    pub(super) fn retain(&mut self, id: OriginId) {
        self.get_mut(id).references += 1;
    }

    pub(super) fn release(&mut self, id: OriginId) {
        self.get_mut(id).references -= 1;
    }

    /// Frees the origins that nobody refers to.
    pub(super) fn sweep(&mut self, texts: &mut Texts) {
        for (id, slot) in self.slots.iter_mut().enumerate() {
            if let Some(origin) = slot.take_if(|origin| origin.references == 0) {
                self.index.remove(&origin.key);
                origin.key.iter().for_each(|&text| texts.release(text));
                self.free.push(id as OriginId);
            }
        }
    }

    /// All origins with their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (OriginId, &Origin)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id as OriginId, slot.as_ref()?)))
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Sorts by team, user, host, project.
    pub(super) fn compare(&self, a: OriginId, b: OriginId, texts: &Texts) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        let (a, b) = (&self.get(a).key, &self.get(b).key);
        let unequal = a.iter().zip(b).find(|(a, b)| a != b);
        unequal.map_or(Ordering::Equal, |(&a, &b)| texts.get(a).cmp(texts.get(b)))
    }

    /// Whether pages name the project: always at the collector, with more than one project at the agent.
    pub(super) fn are_labelled(&self) -> bool {
        let mut projects =
            self.iter().filter(|(_, o)| o.is_project && o.references > 0).map(|(_, o)| o.key[PROJECT]);
        let first = projects.next();
        self.scope == LabelScope::Collector || projects.any(|project| Some(project) != first)
    }

    fn labels(&self, key: &OriginKey, texts: &Texts) -> Box<str> {
        let [team, user, host, project] = key.map(|text| texts.get(text));
        match self.scope {
            LabelScope::Collector => {
                format!("team=\"{team}\",user=\"{user}\",host=\"{host}\",project=\"{project}\"").into()
            }
            LabelScope::Agent => format!("project=\"{project}\"").into(),
        }
    }
}

/// `None` where neither user nor host is told: that is nobody in particular.
fn agent_of(&[team, user, host, _]: &OriginKey) -> Option<AgentKey> {
    let is_nobody = user == TextId::EMPTY && host == TextId::EMPTY;
    (!is_nobody).then_some([team, user, host])
}

impl Origin {
    pub(super) fn team_name<'t>(&self, texts: &'t Texts) -> &'t str {
        texts.get(self.key[0])
    }

    pub(super) fn project_name<'t>(&self, texts: &'t Texts) -> &'t str {
        texts.get(self.key[PROJECT])
    }
}
