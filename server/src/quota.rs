//! How much a team and an agent may send: bytes, events and new streams a second.
//!
//! ```text
//! batch, OTLP request, new stream ─> bucket of the team, bucket of the agent ─> both have room: taken from both
//!                                                                           └─> one is empty: from neither; come back then
//! ```
//!
//! Each quota is a bucket that holds [`BURST_SECONDS`] of its rate. What is larger than the bucket is taken when the bucket
//! is not empty, and leaves a debt: a batch is never too large to be sent at all. All buckets of one sender are looked at
//! before any is changed, so that what one refuses costs the others nothing (which is why this is not governor's: its
//! limiters take while they check).
//!
//! A refusal loses nothing: an agent is told Throttle and sends the same batch again, an OTLP client RESOURCE_EXHAUSTED or
//! 429 with a time, a new stream Goodbye with a time. Each is counted by team and reason (`muster_quota_refusals_total`).
//! A team at its quota costs the others a look at its bucket, and not a sync.
//!
//! Senders that were quiet for [`IDLE`] have full buckets and are forgotten; past [`SENDERS_MAX`] all are, which gives
//! each one burst anew.

mod bucket;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster::clock::{Clock, Monotonic};
use muster::ids::{AgentId, Team};
use parking_lot::Mutex;

use crate::config::{Limits, Rates};
pub use bucket::BURST_SECONDS;
use bucket::Bucket;

/// After so long a bucket is full whatever its rate and most debts; it is as good as a new one.
const IDLE: Duration = Duration::from_secs(60);
/// Teams and agents that are known at once: ten times the agents of the largest collector, 20 MiB.
pub const SENDERS_MAX: usize = 100_000;
/// Teams with a counter of their own; the refusals of more are counted together, as team `(others)`.
pub const TEAMS_COUNTED_MAX: usize = 256;
/// Longest time that a sender is told to stay away. It may come back sooner than it has room; it is told again.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Shortest: a round trip and a sync.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// All quotas and how far they are used.
#[derive(Debug)]
pub struct Quotas {
    rules: ArcSwap<Rules>,
    used: Mutex<Used>,
    refusals: Mutex<BTreeMap<(String, Reason), u64>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Rules {
    team: Rates,
    agent: Rates,
    teams: HashMap<Team, Rates>,
    /// Nothing is bounded, so nothing is looked at.
    is_open: bool,
}

#[derive(Debug, Default)]
struct Used {
    teams: HashMap<Team, Buckets>,
    agents: HashMap<(Team, AgentId), Buckets>,
    swept: Monotonic,
}

#[derive(Debug)]
struct Buckets {
    bytes: Bucket,
    events: Bucket,
    streams: Bucket,
    seen: Monotonic,
    /// Until when more was taken than there was.
    owes_until: Monotonic,
}

/// What a sender wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Bytes of a batch or request.
    pub bytes: u64,
    /// Events or OTLP items.
    pub events: u64,
    /// New streams.
    pub streams: u64,
}

/// Which quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The team's bytes a second.
    TeamBytes,
    /// The team's events a second.
    TeamEvents,
    /// The team's new streams a second.
    TeamStreams,
    /// The agent's bytes a second.
    AgentBytes,
    /// The agent's events a second.
    AgentEvents,
    /// The agent's new streams a second.
    AgentStreams,
}

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} is used up for now", reason.words())]
pub struct UsedUp {
    /// Which.
    pub reason: Reason,
    /// When there is room in it again.
    pub retry_after: Duration,
}

impl Reason {
    /// The value of the figure's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::TeamBytes => "team_bytes",
            Self::TeamEvents => "team_events",
            Self::TeamStreams => "team_streams",
            Self::AgentBytes => "agent_bytes",
            Self::AgentEvents => "agent_events",
            Self::AgentStreams => "agent_streams",
        }
    }

    /// For the sender's log.
    pub fn words(self) -> &'static str {
        match self {
            Self::TeamBytes => "the team's quota of bytes a second",
            Self::TeamEvents => "the team's quota of events a second",
            Self::TeamStreams => "the team's quota of new streams a second",
            Self::AgentBytes => "the agent's quota of bytes a second",
            Self::AgentEvents => "the agent's quota of events a second",
            Self::AgentStreams => "the agent's quota of new streams a second",
        }
    }
}

/// For the teams that have no counter of their own; no team can have this name.
const OTHERS: &str = "(others)";
const TEAM_REASONS: [Reason; 3] = [Reason::TeamBytes, Reason::TeamEvents, Reason::TeamStreams];
const AGENT_REASONS: [Reason; 3] = [Reason::AgentBytes, Reason::AgentEvents, Reason::AgentStreams];

impl Quotas {
    /// Quotas as configured; all buckets are full.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            rules: ArcSwap::from_pointee(Rules::of(limits)),
            used: Mutex::default(),
            refusals: Mutex::default(),
            clock,
        })
    }

    /// Changes the rates; what was used stays used.
    pub fn set(&self, limits: &Limits) {
        self.rules.store(Arc::new(Rules::of(limits)));
    }

    /// Takes what is wanted from the team's quotas and the agent's, or says when to come back.
    pub fn take(&self, team: &Team, agent: Option<AgentId>, wanted: Wanted) -> Result<(), UsedUp> {
        let rules = self.rules.load();
        if rules.is_open {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let taken = self.used.lock().take(&rules, (team, agent), wanted, now);
        taken.inspect_err(|used_up| self.count(team, used_up.reason))
    }

    /// As [`Quotas::take`], of the agent's quotas alone: the team's were taken before it was known which agent it is.
    pub fn take_agent(&self, team: &Team, agent: AgentId, wanted: Wanted) -> Result<(), UsedUp> {
        let rules = self.rules.load();
        if rules.agent == Rates::default() {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let taken = self.used.lock().take_agent(rules.agent, (team, agent), wanted, now);
        taken.inspect_err(|used_up| self.count(team, used_up.reason))
    }

    /// Refusals so far, by team and reason.
    pub fn refusals(&self) -> Vec<(String, &'static str, u64)> {
        let mut refusals = self.refusals.lock().clone();
        // There from the start at 0, so that a rate of them can be had.
        for reason in TEAM_REASONS.into_iter().chain(AGENT_REASONS) {
            refusals.entry((OTHERS.to_owned(), reason)).or_default();
        }
        refusals.into_iter().map(|((team, reason), count)| (team, reason.name(), count)).collect()
    }

    fn count(&self, team: &Team, reason: Reason) {
        let mut refusals = self.refusals.lock();
        let key = (team.to_string(), reason);
        let is_full = refusals.len() >= TEAMS_COUNTED_MAX * (TEAM_REASONS.len() + AGENT_REASONS.len());
        let key = if is_full && !refusals.contains_key(&key) { (OTHERS.to_owned(), reason) } else { key };
        *refusals.entry(key).or_default() += 1;
    }
}

impl Rules {
    fn of(limits: &Limits) -> Self {
        let teams = limits.teams.iter().map(|(team, own)| (team.clone(), own.rates.or(limits.team_rates)));
        let teams: HashMap<Team, Rates> = teams.collect();
        let all = teams.values().chain([&limits.team_rates, &limits.agent_rates]);
        let is_open = all.copied().all(|rates| rates == Rates::default());
        Self { team: limits.team_rates, agent: limits.agent_rates, teams, is_open }
    }
}

impl Used {
    fn take(
        &mut self,
        rules: &Rules,
        (team, agent): (&Team, Option<AgentId>),
        wanted: Wanted,
        now: Monotonic,
    ) -> Result<(), UsedUp> {
        self.forget_idle(now);
        let team_rates = rules.teams.get(team).copied().unwrap_or(rules.team);
        if !self.teams.contains_key(team) {
            self.teams.insert(team.clone(), Buckets::full(team_rates, now));
        }
        let of_team = self.teams.get_mut(team);
        let of_agent = agent.map(|agent| {
            let full = || Buckets::full(rules.agent, now);
            self.agents.entry((team.clone(), agent)).or_insert_with(full)
        });
        let team_side = of_team.map(|buckets| (buckets, team_rates, TEAM_REASONS));
        let agent_side = of_agent.map(|buckets| (buckets, rules.agent, AGENT_REASONS));
        let mut sides: Vec<_> = team_side.into_iter().chain(agent_side).collect();
        for (buckets, rates, reasons) in &mut sides {
            buckets.check(*rates, *reasons, wanted, now)?;
        }
        for (buckets, rates, _) in sides {
            buckets.take(rates, wanted, now);
        }
        Ok(())
    }

    fn take_agent(
        &mut self,
        rates: Rates,
        (team, agent): (&Team, AgentId),
        wanted: Wanted,
        now: Monotonic,
    ) -> Result<(), UsedUp> {
        self.forget_idle(now);
        let full = || Buckets::full(rates, now);
        let buckets = self.agents.entry((team.clone(), agent)).or_insert_with(full);
        buckets.check(rates, AGENT_REASONS, wanted, now)?;
        buckets.take(rates, wanted, now);
        Ok(())
    }

    fn forget_idle(&mut self, now: Monotonic) {
        let is_full = self.teams.len() + self.agents.len() >= SENDERS_MAX;
        if !is_full && now.0.saturating_sub(self.swept.0) < IDLE {
            return;
        }
        self.swept = now;
        let is_live =
            |buckets: &Buckets| now.0.saturating_sub(buckets.seen.0) < IDLE || buckets.owes_until > now;
        self.teams.retain(|_, buckets| is_live(buckets));
        self.agents.retain(|_, buckets| is_live(buckets));
        if self.teams.len() + self.agents.len() >= SENDERS_MAX {
            self.teams.clear();
            self.agents.clear();
        }
    }
}

impl Buckets {
    fn full(rates: Rates, now: Monotonic) -> Self {
        Self {
            bytes: Bucket::full(rates.bytes, now),
            events: Bucket::full(rates.events, now),
            streams: Bucket::full(rates.streams, now),
            seen: now,
            owes_until: now,
        }
    }

    /// Whether there is room in all that is wanted.
    fn check(
        &mut self,
        rates: Rates,
        reasons: [Reason; 3],
        wanted: Wanted,
        now: Monotonic,
    ) -> Result<(), UsedUp> {
        self.seen = now;
        let buckets = [
            (&mut self.bytes, rates.bytes, wanted.bytes),
            (&mut self.events, rates.events, wanted.events),
            (&mut self.streams, rates.streams, wanted.streams),
        ];
        for ((bucket, rate, wanted), reason) in buckets.into_iter().zip(reasons) {
            if let Some(wait) = bucket.wait(rate, now).filter(|_| wanted > 0) {
                return Err(UsedUp { reason, retry_after: wait.clamp(RETRY_MIN, RETRY_MAX) });
            }
        }
        Ok(())
    }

    fn take(&mut self, rates: Rates, wanted: Wanted, now: Monotonic) {
        self.bytes.take(wanted.bytes);
        self.events.take(wanted.events);
        self.streams.take(wanted.streams);
        let buckets = [
            (&mut self.bytes, rates.bytes),
            (&mut self.events, rates.events),
            (&mut self.streams, rates.streams),
        ];
        let waits = buckets.into_iter().filter_map(|(bucket, rate)| bucket.wait(rate, now));
        self.owes_until = Monotonic(now.0.saturating_add(waits.max().unwrap_or_default()));
    }
}
