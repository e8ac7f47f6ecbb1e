//! The rows of `/api/v1`, as they are saved and as they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::ids::{AgentId, StreamKey, Team};
use serde::{Deserialize, Serialize};

use super::{Configuration, Selection, SessionKey};

/// An agent. Times are microseconds since the epoch; 0 is never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its team, from its credential.
    pub team: Team,
    /// Its id.
    pub agent: AgentId,
    /// Whether it has a stream now.
    pub connected: bool,
    /// The machine's name, as the agent says.
    pub host: String,
    /// The developer's login name, as the agent says.
    pub user: String,
    /// The operating system.
    pub os: String,
    /// The agent's version.
    pub version: String,
    /// Where its connection comes from.
    pub address: String,
    /// The life of its spool.
    #[serde(with = "hex")]
    pub epoch: u64,
    /// The life of its process.
    #[serde(with = "hex")]
    pub instance: u64,
    /// When its last stream began.
    pub connected_us: u64,
    /// When it was last heard.
    pub heard_us: u64,
    /// How far its clock is ahead of ours.
    pub clock_ahead_us: i64,
    /// Bytes in its spool.
    pub spool_bytes: u64,
    /// Events in its spool that were not acknowledged at its last heartbeat.
    pub spool_events: u64,
    /// Events it has spooled since its process started, at its last heartbeat.
    pub events_spooled: u64,
    /// The last number it has given to an event, as its last hello or heartbeat says.
    pub last_seq: u64,
    /// The last number of it that the aggregate has.
    pub aggregated_seq: u64,
    /// Events that it has told of and that are not here yet; what it dropped counts until something later comes.
    #[serde(default)]
    pub lag_events: u64,
    /// What it dropped, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Its resident memory.
    pub memory_bytes: u64,
    /// What its file calls it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What became of the configuration that it is offered.
    #[serde(default)]
    pub configuration: Configuration,
}

/// Who and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The team.
    pub team: Team,
    /// The agent that told it.
    pub agent: AgentId,
    /// The watched tool.
    pub tool: String,
    /// The project's name.
    pub project: String,
    /// The developer.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The repository's name.
    pub repository: String,
    /// The branch.
    pub branch: String,
}

/// One life of a tool in a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Who and where.
    #[serde(flatten)]
    pub source: Arc<Source>,
    /// The tool's own name for it.
    pub session: String,
    /// `running`, `paused`, `stopped` or `unknown` (its project is watched no more).
    pub status: String,
    /// The iteration it is in.
    pub iteration: u64,
    /// How many it may have; 0 is not known.
    pub iteration_max: u64,
    /// The phase it is in.
    pub phase: String,
    /// Whose model it runs on.
    pub provider: String,
    /// When it began.
    pub started_us: Option<u64>,
    /// When it ended.
    pub ended_us: Option<u64>,
    /// How it ended, in the tool's words of state.
    pub result: String,
    /// The tool's exit code.
    pub exit_code: Option<i64>,
    /// Time of the last event about it.
    pub updated_us: u64,
    /// Whether its agent has a stream now: if not, the status is what was last heard.
    #[serde(default)]
    pub agent_connected: bool,
}

/// One execution of a worker that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Who and where.
    #[serde(flatten)]
    pub source: Arc<Source>,
    /// Its place: journal position and index of the event in its batch.
    pub position: u64,
    /// See `position`.
    pub index: u32,
    /// The worker.
    pub worker: Arc<str>,
    /// `success`, `failure`, `error`, `skipped` or `unknown`.
    pub status: Status,
    /// When it ended.
    pub finished_us: u64,
    /// How long it took; absent where the tool does not tell.
    pub duration_us: Option<u64>,
    /// How long it waited.
    pub queued_us: Option<u64>,
    /// The session it belongs to.
    pub session: Arc<str>,
    /// The model it ran on.
    pub model: Arc<str>,
    /// The iteration it belongs to; 0 is none.
    pub iteration: u32,
    /// The tool re-ran an old cause after a restart.
    pub replayed: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It found all right.
    Success,
    /// It found something wrong.
    Failure,
    /// It broke.
    Error,
    /// It had nothing to do.
    Skipped,
    /// A newer agent's word.
    Unknown,
}

/// A row's place among its kind. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// Some rows and where to go on.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What to give as `after` to have the next ones; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Agent {
    pub(super) fn unheard(key: &StreamKey) -> Self {
        Self {
            team: key.team.clone(),
            agent: key.agent,
            connected: false,
            host: String::new(),
            user: String::new(),
            os: String::new(),
            version: String::new(),
            address: String::new(),
            epoch: key.epoch.get(),
            instance: 0,
            connected_us: 0,
            heard_us: 0,
            clock_ahead_us: 0,
            spool_bytes: 0,
            spool_events: 0,
            events_spooled: 0,
            last_seq: 0,
            aggregated_seq: 0,
            lag_events: 0,
            dropped: Vec::new(),
            memory_bytes: 0,
            labels: BTreeMap::new(),
            configuration: Configuration::default(),
        }
    }
}

impl Session {
    pub(super) fn key(&self) -> SessionKey {
        SessionKey { session: self.session.clone(), ..self.source.first_session() }
    }

    /// Whether it has not ended, as far as was told.
    pub(super) fn is_open(&self) -> bool {
        self.status != "stopped"
    }
}

impl Source {
    /// The key that is not after any session's of this source.
    pub(super) fn first_session(&self) -> SessionKey {
        SessionKey {
            team: self.team.clone(),
            agent: self.agent,
            tool: self.tool.clone(),
            project: self.project.clone(),
            session: String::new(),
        }
    }
}

impl SessionKey {
    pub(super) fn is_of_source_of(&self, other: &SessionKey) -> bool {
        (&self.team, self.agent, &self.tool, &self.project)
            == (&other.team, other.agent, &other.tool, &other.project)
    }

    pub(super) fn agent_key(&self) -> (Team, AgentId) {
        (self.team.clone(), self.agent)
    }

    pub(super) fn cursor(&self) -> Cursor {
        let agent = self.agent.to_string();
        Cursor::text(&[self.team.as_str(), &agent, &self.tool, &self.project, &self.session])
    }
}

impl Run {
    pub(super) fn cursor(&self) -> Cursor {
        // Runs go from the newest to the oldest, so their places do as well.
        let (position, index) = (u64::MAX - self.position, u32::MAX - self.index);
        Cursor(format!("{position:016x}{index:08x}"))
    }
}

impl Cursor {
    /// A cursor as a caller gave it back. Any text is one; rows that sort after it follow.
    pub fn given(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Parts as hexadecimal digits: safe in a URL, and sorted as the parts are.
    pub(super) fn text(parts: &[&str]) -> Self {
        let hex = |part: &&str| part.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        // A byte that no text has sorts a shorter part before a longer one with the same beginning.
        Self(parts.iter().map(hex).collect::<Vec<_>>().join("00"))
    }
}

impl<T: Clone> Page<T> {
    /// The rows after the selection's cursor. `rows` are in the order of their cursors.
    pub(super) fn of<'a>(
        rows: impl Iterator<Item = &'a T>,
        selection: &Selection,
        cursor: impl Fn(&T) -> Cursor,
    ) -> Self
    where
        T: 'a,
    {
        let mut page = Self { rows: Vec::new(), next: None };
        for row in rows {
            if selection.after.as_ref().is_some_and(|after| cursor(row).0 <= after.0) {
                continue;
            }
            if page.rows.len() >= selection.limit {
                page.next = page.rows.last().map(|last| cursor(last).0);
                break;
            }
            page.rows.push(row.clone());
        }
        page
    }
}

/// Maps are saved as lists of their values, which name their own keys.
pub(super) mod by_value {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::fleet) trait Keyed<K> {
        fn key_of(&self) -> K;
    }

    pub(in crate::fleet) fn serialize<K, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.values())
    }

    pub(in crate::fleet) fn deserialize<'de, K: Ord, V: Keyed<K> + Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        let values = Vec::<V>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|value| (value.key_of(), value)).collect())
    }
}

impl by_value::Keyed<(Team, AgentId)> for Agent {
    fn key_of(&self) -> (Team, AgentId) {
        (self.team.clone(), self.agent)
    }
}

impl by_value::Keyed<SessionKey> for Session {
    fn key_of(&self) -> SessionKey {
        self.key()
    }
}

/// 64-bit names as text: JSON's numbers do not hold them.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(D::Error::custom)
    }
}
