//! Bounds of the collector, each with its reason, and what the operator may set.

use std::time::Duration;

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
    /// Series of one family in one team.
    pub series_per_family_max: usize,
    /// How often the aggregate is saved.
    pub snapshot_interval: Duration,
    /// Connections to OTLP/HTTP.
    pub otlp_connections_max: usize,
    /// Bytes of an OTLP request, compressed or not.
    pub otlp_request_bytes_max: usize,
    /// Bytes that all OTLP requests under way may hold.
    pub otlp_memory_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX_DEFAULT,
            connections_per_ip_max: CONNECTIONS_PER_IP_MAX_DEFAULT,
            http_connections_max: HTTP_CONNECTIONS_MAX_DEFAULT,
            streams_max: STREAMS_MAX_DEFAULT,
            streams_per_team_max: STREAMS_PER_TEAM_MAX_DEFAULT,
            series_per_family_max: SERIES_PER_FAMILY_MAX_DEFAULT,
            snapshot_interval: SNAPSHOT_INTERVAL_DEFAULT,
            otlp_connections_max: OTLP_CONNECTIONS_MAX_DEFAULT,
            otlp_request_bytes_max: OTLP_REQUEST_BYTES_MAX_DEFAULT,
            otlp_memory_bytes_max: OTLP_MEMORY_BYTES_MAX_DEFAULT,
        }
    }
}
