//! Bounds of the collector, each with its reason, and what the operator may set.
//!
//! `fleet` picks a preset ([`Fleet`]), single values override it, `[server.limits.team.NAME]` overrides it for one team.
//! Without `fleet` the bounds on numbers are those of the largest, and there are no quotas of rates
//! (docs/adr/0005-no-quotas-of-rates-unless-a-fleet-is-named.md).

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::aggregate::TeamSeriesMax;
use muster::ids::Team;

use super::ConfigError;
use super::raw::within;

/// Connections of agents in all: a quarter of a million descriptors is usual, 10,000 agents at 30 KiB are 300 MiB.
pub const CONNECTIONS_MAX_DEFAULT: usize = 10_000;
/// Connections from one address: a whole office behind one NAT, and no single machine can take all.
pub const CONNECTIONS_PER_IP_MAX_DEFAULT: usize = 2_500;
/// Connections to the pages: a few scrapers and people.
pub const HTTP_CONNECTIONS_MAX_DEFAULT: usize = 256;
/// Streams in all; one an agent.
pub const STREAMS_MAX_DEFAULT: usize = 10_000;
/// Streams of one team, so that one team cannot take all.
pub const STREAMS_PER_TEAM_MAX_DEFAULT: usize = 5_000;
/// Series of one family in one team (design.md section 6): past it there is one overflow series and a counter.
pub const SERIES_PER_FAMILY_MAX_DEFAULT: usize = metrics::aggregate::SERIES_PER_FAMILY_MAX;
/// Series of one team in all families, of each of its events and of its OTLP metrics: a page that is scraped in seconds.
pub const TEAM_SERIES_MAX_DEFAULT: usize = metrics::aggregate::TEAM_SERIES_MAX;
/// `agent_series_max` without a preset.
pub const AGENT_SERIES_MAX_DEFAULT: usize = metrics::aggregate::AGENT_SERIES_MAX;
/// Open streams of one agent: it has one, and clones of its folder have one each.
pub const AGENT_STREAMS_MAX_DEFAULT: usize = 16;
/// How often the aggregate is saved: what a restart replays at most, besides the bytes bound.
pub const SNAPSHOT_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
/// Connections to OTLP/HTTP: tools keep one each, and their agents take most of what they send.
pub const OTLP_CONNECTIONS_MAX_DEFAULT: usize = 2_000;
/// Bytes of an OTLP request, compressed or not: what OTLP recommends since 1.11.0.
pub const OTLP_REQUEST_BYTES_MAX_DEFAULT: usize = otlp::receive::REQUEST_BYTES_MAX_DEFAULT;
/// Bytes that all OTLP requests under way may hold: four of the largest, or thousands of usual ones.
pub const OTLP_MEMORY_BYTES_MAX_DEFAULT: usize = 256 << 20;

/// Smallest and largest of any bound on connections and streams.
pub(super) const COUNT_RANGE: std::ops::RangeInclusive<usize> = 1..=1_000_000;
/// Smallest and largest snapshot interval in seconds.
pub(super) const SNAPSHOT_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 1..=3_600;
/// Smallest and largest bound of an OTLP request; gRPC's messages end at 4 GiB, the journal's memory far below.
pub(super) const OTLP_REQUEST_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 30;
/// Smallest and largest bound of what OTLP requests may hold.
pub(super) const OTLP_MEMORY_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1 << 10..=64 << 30;

/// Smallest and largest quota a second.
const RATE_RANGE: std::ops::RangeInclusive<u64> = 1..=1 << 40;
/// Most `[server.limits.team.NAME]` sections: more teams than one collector has.
const TEAMS_MAX: usize = 10_000;

/// Presets by the number of agents. `docs/limits.md` has them as a table, with the reason of each number; a test holds the
/// page against this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fleet {
    /// One team of up to ten developers.
    Ten,
    /// Some teams, a thousand developers.
    Thousand,
    /// A large organisation.
    TenThousand,
}

/// Quotas a second; `None`: not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Bytes of batches and OTLP requests, as they are journaled.
    pub bytes: Option<u64>,
    /// Events, and items of OTLP.
    pub events: Option<u64>,
    /// New streams.
    pub streams: Option<u64>,
}

/// What one team has instead of what all have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TeamLimits {
    /// Its quotas; what is not set is everybody's.
    pub rates: Rates,
    /// Its open streams.
    pub streams_max: Option<usize>,
    /// Its series in all families.
    pub series_max: Option<usize>,
}

/// Bounds that the operator may set in `[server.limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections of agents in all.
    pub connections_max: usize,
    /// Connections of agents from one address.
    pub connections_per_ip_max: usize,
    /// Connections to the pages.
    pub http_connections_max: usize,
    /// Streams in all.
    pub streams_max: usize,
    /// Streams of one team.
    pub streams_per_team_max: usize,
    /// Streams of one agent.
    pub agent_streams_max: usize,
    /// Series of one family in one team.
    pub series_per_family_max: usize,
    /// Series of one team in all families.
    pub team_series_max: usize,
    /// Series of one agent in all families.
    pub agent_series_max: usize,
    /// How often the aggregate is saved.
    pub snapshot_interval: Duration,
    /// Connections to OTLP/HTTP.
    pub otlp_connections_max: usize,
    /// Bytes of an OTLP request, compressed or not.
    pub otlp_request_bytes_max: usize,
    /// Bytes that all OTLP requests under way may hold.
    pub otlp_memory_bytes_max: usize,
    /// What each team may send.
    pub team_rates: Rates,
    /// What each agent may send.
    pub agent_rates: Rates,
    /// What single teams have instead.
    pub teams: BTreeMap<Team, TeamLimits>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX_DEFAULT,
            connections_per_ip_max: CONNECTIONS_PER_IP_MAX_DEFAULT,
            http_connections_max: HTTP_CONNECTIONS_MAX_DEFAULT,
            streams_max: STREAMS_MAX_DEFAULT,
            streams_per_team_max: STREAMS_PER_TEAM_MAX_DEFAULT,
            agent_streams_max: AGENT_STREAMS_MAX_DEFAULT,
            series_per_family_max: SERIES_PER_FAMILY_MAX_DEFAULT,
            team_series_max: TEAM_SERIES_MAX_DEFAULT,
            agent_series_max: AGENT_SERIES_MAX_DEFAULT,
            snapshot_interval: SNAPSHOT_INTERVAL_DEFAULT,
            otlp_connections_max: OTLP_CONNECTIONS_MAX_DEFAULT,
            otlp_request_bytes_max: OTLP_REQUEST_BYTES_MAX_DEFAULT,
            otlp_memory_bytes_max: OTLP_MEMORY_BYTES_MAX_DEFAULT,
            team_rates: Rates::default(),
            agent_rates: Rates::default(),
            teams: BTreeMap::new(),
        }
    }
}

impl Fleet {
    fn of(agents: u64) -> Result<Self, ConfigError> {
        match agents {
            10 => Ok(Self::Ten),
            1_000 => Ok(Self::Thousand),
            10_000 => Ok(Self::TenThousand),
            other => {
                let problem = format!(
                    "{other} is not 10, 1000 or 10000: take the next larger and override single values"
                );
                Err(ConfigError::Invalid { setting: "server.limits.fleet", problem })
            }
        }
    }

    /// The bounds of this size.
    pub fn limits(self) -> Limits {
        let rates = |bytes, events, streams| Rates {
            bytes: Some(bytes),
            events: Some(events),
            streams: Some(streams),
        };
        // An agent's do not depend on how many there are: a day's spool (256 MiB) is there within three minutes, and a
        // hand that presses reconnect is not a storm.
        let agent_rates = rates(2 << 20, 20_000, 2);
        let sized = |connections_max, per_ip, streams_max, per_team, otlp, series, team_rates| Limits {
            team_series_max: series,
            agent_series_max: series / 4,
            connections_max,
            connections_per_ip_max: per_ip,
            streams_max,
            streams_per_team_max: per_team,
            otlp_connections_max: otlp,
            team_rates,
            agent_rates,
            ..Limits::default()
        };
        match self {
            Self::Ten => sized(200, 100, 100, 50, 100, 50_000, rates(8 << 20, 50_000, 10)),
            Self::Thousand => {
                sized(2_500, 1_000, 2_000, 1_000, 1_000, 100_000, rates(32 << 20, 150_000, 200))
            }
            Self::TenThousand => sized(
                CONNECTIONS_MAX_DEFAULT,
                CONNECTIONS_PER_IP_MAX_DEFAULT,
                STREAMS_MAX_DEFAULT,
                STREAMS_PER_TEAM_MAX_DEFAULT,
                OTLP_CONNECTIONS_MAX_DEFAULT,
                TEAM_SERIES_MAX_DEFAULT,
                rates(64 << 20, 300_000, 500),
            ),
        }
    }
}

impl Limits {
    /// Most series of each team.
    pub fn series_max(&self) -> TeamSeriesMax {
        let own = self.teams.iter().filter_map(|(team, own)| Some((team.to_string(), own.series_max?)));
        TeamSeriesMax { all: self.team_series_max, own: own.collect() }
    }
}

impl Rates {
    /// These, and of `others` what is not set here.
    pub fn or(self, others: Self) -> Self {
        Self {
            bytes: self.bytes.or(others.bytes),
            events: self.events.or(others.events),
            streams: self.streams.or(others.streams),
        }
    }
}

/// `[server.limits]` as serde sees it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RawLimits {
    fleet: Option<u64>,
    connections_max: Option<usize>,
    connections_per_ip_max: Option<usize>,
    http_connections_max: Option<usize>,
    streams_max: Option<usize>,
    streams_per_team_max: Option<usize>,
    agent_streams_max: Option<usize>,
    series_per_family_max: Option<usize>,
    team_series_max: Option<usize>,
    agent_series_max: Option<usize>,
    snapshot_interval_seconds: Option<u64>,
    otlp_connections_max: Option<usize>,
    otlp_request_bytes_max: Option<usize>,
    otlp_memory_bytes_max: Option<usize>,
    team_bytes_per_second: Option<u64>,
    team_events_per_second: Option<u64>,
    team_streams_per_second: Option<u64>,
    agent_bytes_per_second: Option<u64>,
    agent_events_per_second: Option<u64>,
    agent_streams_per_second: Option<u64>,
    team: BTreeMap<String, RawTeamLimits>,
}

/// `[server.limits.team.NAME]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTeamLimits {
    bytes_per_second: Option<u64>,
    events_per_second: Option<u64>,
    streams_per_second: Option<u64>,
    streams_max: Option<usize>,
    series_max: Option<usize>,
}

impl RawLimits {
    pub(super) fn validate(self) -> Result<Limits, ConfigError> {
        let default = self.fleet.map(Fleet::of).transpose()?.map_or_else(Limits::default, Fleet::limits);
        macro_rules! count {
            ($key:ident) => {
                within(concat!("server.limits.", stringify!($key)), self.$key, default.$key, &COUNT_RANGE)?
            };
        }
        let snapshot_seconds = within(
            "server.limits.snapshot_interval_seconds",
            self.snapshot_interval_seconds,
            default.snapshot_interval.as_secs(),
            &SNAPSHOT_SECONDS_RANGE,
        )?;
        Ok(Limits {
            connections_max: count!(connections_max),
            connections_per_ip_max: count!(connections_per_ip_max),
            http_connections_max: count!(http_connections_max),
            streams_max: count!(streams_max),
            streams_per_team_max: count!(streams_per_team_max),
            agent_streams_max: count!(agent_streams_max),
            series_per_family_max: count!(series_per_family_max),
            team_series_max: count!(team_series_max),
            agent_series_max: count!(agent_series_max),
            snapshot_interval: Duration::from_secs(snapshot_seconds),
            otlp_connections_max: count!(otlp_connections_max),
            otlp_request_bytes_max: within(
                "server.limits.otlp_request_bytes_max",
                self.otlp_request_bytes_max,
                default.otlp_request_bytes_max,
                &OTLP_REQUEST_BYTES_RANGE,
            )?,
            otlp_memory_bytes_max: within(
                "server.limits.otlp_memory_bytes_max",
                self.otlp_memory_bytes_max,
                default.otlp_memory_bytes_max,
                &OTLP_MEMORY_BYTES_RANGE,
            )?,
            team_rates: Rates {
                bytes: rate("server.limits.team_bytes_per_second", self.team_bytes_per_second)?,
                events: rate("server.limits.team_events_per_second", self.team_events_per_second)?,
                streams: rate("server.limits.team_streams_per_second", self.team_streams_per_second)?,
            }
            .or(default.team_rates),
            agent_rates: Rates {
                bytes: rate("server.limits.agent_bytes_per_second", self.agent_bytes_per_second)?,
                events: rate("server.limits.agent_events_per_second", self.agent_events_per_second)?,
                streams: rate("server.limits.agent_streams_per_second", self.agent_streams_per_second)?,
            }
            .or(default.agent_rates),
            teams: teams(self.team)?,
        })
    }
}

fn teams(raw: BTreeMap<String, RawTeamLimits>) -> Result<BTreeMap<Team, TeamLimits>, ConfigError> {
    const SETTING: &str = "server.limits.team";
    let invalid = |problem| ConfigError::Invalid { setting: SETTING, problem };
    if raw.len() > TEAMS_MAX {
        return Err(invalid(format!("{} teams are more than {TEAMS_MAX}", raw.len())));
    }
    let one = |(name, raw): (String, RawTeamLimits)| {
        let team = Team::try_from(name).map_err(|error| invalid(error.to_string()))?;
        let rates = Rates {
            bytes: rate(SETTING, raw.bytes_per_second)?,
            events: rate(SETTING, raw.events_per_second)?,
            streams: rate(SETTING, raw.streams_per_second)?,
        };
        let (streams_max, series_max) = (count(SETTING, raw.streams_max)?, count(SETTING, raw.series_max)?);
        Ok((team, TeamLimits { rates, streams_max, series_max }))
    };
    raw.into_iter().map(one).collect()
}

fn rate(setting: &'static str, value: Option<u64>) -> Result<Option<u64>, ConfigError> {
    value.map(|value| within(setting, Some(value), value, &RATE_RANGE)).transpose()
}

fn count(setting: &'static str, value: Option<usize>) -> Result<Option<usize>, ConfigError> {
    value.map(|value| within(setting, Some(value), value, &COUNT_RANGE)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn parse(text: &str) -> Result<Limits, String> {
        let config = Config::parse(text, &Overrides::default()).map_err(|error| error.to_string());
        config.map(|config| config.limits)
    }

    #[test]
    fn a_preset_is_taken_by_name_and_single_values_override_it() {
        assert_eq!(parse("").expect("valid"), Limits::default());
        assert_eq!(parse("[server.limits]\nfleet = 1000\n").expect("valid"), Fleet::Thousand.limits());
        let text = "[server.limits]\nfleet = 10\nstreams_max = 7\nagent_events_per_second = 3\nteam_series_max = 9\n\
                    [server.limits.team.\"eu.red\"]\nbytes_per_second = 5\nstreams_max = 2\nseries_max = 4\n";
        let limits = parse(text).expect("valid");
        assert_eq!((limits.streams_max, limits.agent_rates.events), (7, Some(3)));
        assert_eq!(limits.agent_rates.bytes, Fleet::Ten.limits().agent_rates.bytes);
        let own = limits.teams[&"eu.red".parse::<Team>().expect("team")];
        assert_eq!((own.rates.bytes, own.rates.events, own.streams_max), (Some(5), None, Some(2)));
        let (red, blue) = (limits.series_max().of("eu.red"), limits.series_max().of("blue"));
        assert_eq!((red, blue), (4, 9));
    }

    #[test]
    fn wrong_quotas_say_which_and_why() {
        for (text, words) in [
            ("[server.limits]\nfleet = 50\n", "10, 1000 or 10000"),
            ("[server.limits]\nteam_bytes_per_second = 0\n", "server.limits.team_bytes_per_second"),
            ("[server.limits.team.\"a b\"]\nstreams_max = 1\n", "team name"),
            ("[server.limits.team.red]\nbytes_per_secnd = 1\n", "bytes_per_second"),
            ("[server.limits]\nteam_series_max = 0\n", "server.limits.team_series_max"),
            ("[server.limits]\nteam_bytes_per_secnd = 1\n", "did you mean `team_bytes_per_second`"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn the_page_has_the_numbers_of_the_presets() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
        let page = std::fs::read_to_string(page).expect("docs/limits.md");
        let presets = [Fleet::Ten, Fleet::Thousand, Fleet::TenThousand].map(Fleet::limits);
        let row = |key: &str, pick: &dyn Fn(&Limits) -> u64| {
            let [ten, thousand, most] = presets.each_ref().map(pick);
            let row = format!("| `{key}` | {ten} | {thousand} | {most} |");
            assert!(page.contains(&row), "docs/limits.md needs the row {row}");
        };
        row("connections_max", &|l| l.connections_max as u64);
        row("connections_per_ip_max", &|l| l.connections_per_ip_max as u64);
        row("otlp_connections_max", &|l| l.otlp_connections_max as u64);
        row("streams_max", &|l| l.streams_max as u64);
        row("streams_per_team_max", &|l| l.streams_per_team_max as u64);
        row("series_per_family_max", &|l| l.series_per_family_max as u64);
        row("team_series_max", &|l| l.team_series_max as u64);
        row("agent_series_max", &|l| l.agent_series_max as u64);
        row("agent_streams_max", &|l| l.agent_streams_max as u64);
        row("team_bytes_per_second", &|l| l.team_rates.bytes.expect("set"));
        row("team_events_per_second", &|l| l.team_rates.events.expect("set"));
        row("team_streams_per_second", &|l| l.team_rates.streams.expect("set"));
        row("agent_bytes_per_second", &|l| l.agent_rates.bytes.expect("set"));
        row("agent_events_per_second", &|l| l.agent_rates.events.expect("set"));
        row("agent_streams_per_second", &|l| l.agent_rates.streams.expect("set"));
    }
}
