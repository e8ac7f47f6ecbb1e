//! The collector's own figures: plain counters that any part may count with, read by [`crate::telemetry`].
//!
//! Counting is one atomic addition. Labels are closed enums, so a figure can neither be misspelt nor grow.

mod otlp;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};

pub use otlp::OtlpFigures;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// All of them, in the order of their index.
    const ALL: &'static [Self];
    /// The value as it stands on the page.
    fn name(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$($name::$variant,)+];
            fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use label;

label! {
    /// A listener.
    Door {
        /// Agents.
        Grpc = "grpc",
        /// Pages.
        Http = "http",
        /// OTLP/HTTP.
        Otlp = "otlp",
    }
}
label! {
    /// Why a connection ended before it was of use.
    Refusal {
        /// Too many from its address.
        PerIp = "per_ip",
        /// The TLS handshake failed.
        Handshake = "handshake",
        /// The TLS handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// No request in time.
        FirstRequestTimeout = "first_request_timeout",
        /// No request for long.
        Idle = "idle",
    }
}
label! {
    /// What became of a batch.
    BatchOutcome {
        /// Durable now.
        Appended = "appended",
        /// Durable before.
        Duplicate = "duplicate",
        /// Something is missing before it.
        Gap = "gap",
        /// Its stream belongs to another agent.
        Fenced = "fenced",
        /// Can never be accepted.
        Rejected = "rejected",
        /// The journal had no room, or a quota is used up; the agent sends it again.
        Throttled = "throttled",
        /// Sent behind a gap or a throttle; the agent sends it again.
        Discarded = "discarded",
        /// The journal is poisoned; the agent sends it again.
        Unavailable = "unavailable",
    }
}
label! {
    /// Why a credential was refused. The peer is never told which.
    CredentialRefusal {
        /// None was given where one is needed.
        Missing = "missing",
        /// Not a token.
        Malformed = "malformed",
        /// No such token, or another secret.
        Unknown = "unknown",
        /// Revoked.
        Revoked = "revoked",
        /// Too many refusals of late.
        Limited = "limited",
        /// An operator's, where something is sent.
        Operator = "operator",
        /// It has ended by itself.
        Expired = "expired",
        /// Of a role that may not do this.
        Role = "role",
        /// A certificate of an agent that has another one now.
        Replaced = "replaced",
    }
}
label! {
    /// Why a stream was refused or ended by us.
    StreamEnd {
        /// Too many streams in all.
        StreamsMax = "streams_max",
        /// Too many streams of the team.
        TeamStreamsMax = "team_streams_max",
        /// Too many streams of the agent.
        AgentStreamsMax = "agent_streams_max",
        /// Too many new streams of the team a second.
        TeamQuota = "team_quota",
        /// Too many new streams of the agent a second.
        AgentQuota = "agent_quota",
        /// No Hello in time.
        HelloTimeout = "hello_timeout",
        /// Against the protocol.
        Protocol = "protocol",
        /// A message over the limit.
        Oversize = "oversize",
        /// Its credential was revoked.
        Revoked = "revoked",
        /// It says that it is another agent than its credential's.
        Identity = "identity",
        /// The same agent came back on another stream.
        Replaced = "replaced",
        /// A second agent with the same identity.
        Fenced = "fenced",
        /// Nothing heard for long.
        Silent = "silent",
        /// It does not read what we say.
        NotReading = "not_reading",
        /// The journal is poisoned.
        Unavailable = "unavailable",
    }
}
label! {
    /// What became of a request for a certificate.
    Enrolment {
        /// An agent enrolled.
        Enrolled = "enrolled",
        /// An agent renewed its certificate.
        Renewed = "renewed",
        /// Its credential was not accepted, or it was revoked.
        Refused = "refused",
        /// The request was not valid.
        Invalid = "invalid",
        /// Too many at once, or of one address.
        Limited = "limited",
        /// It could not be kept or issued.
        Failed = "failed",
    }
}
label! {
    /// A change of configuration while running.
    Reload {
        /// The file was valid and is in use.
        ConfigApplied = "config_applied",
        /// The file was invalid; the old one stays.
        ConfigRefused = "config_refused",
        /// The certificate was valid and is in use.
        TlsApplied = "tls_applied",
        /// The certificate was invalid; the old one stays.
        TlsRefused = "tls_refused",
        /// The authority is another, and is in use.
        AuthorityApplied = "authority_applied",
        /// The authority cannot be read; the one before stays.
        AuthorityRefused = "authority_refused",
        /// The authorities of those who read the pages with a certificate were valid and are in use.
        HttpClientCaApplied = "http_client_ca_applied",
        /// They were invalid; the old ones stay.
        HttpClientCaRefused = "http_client_ca_refused",
        /// The token file was read again.
        TokensApplied = "tokens_applied",
        /// The token file cannot be read; the old tokens stay.
        TokensRefused = "tokens_refused",
        /// The file of agents was read again.
        AgentsApplied = "agents_applied",
        /// The file of agents cannot be read; the old agents stay.
        AgentsRefused = "agents_refused",
    }
}
label! {
    /// What an agent says of its configuration.
    ConfigurationAnswer {
        /// Its own file alone is in force.
        Own = "own",
        /// An offer is in force.
        Applied = "applied",
        /// It refused an offer.
        Rejected = "rejected",
        /// What it says cannot be understood.
        Invalid = "invalid",
    }
}
label! {
    /// Why a journal record was passed over by a reader.
    PassedOver {
        /// Its bytes are no batch.
        Malformed = "malformed",
        /// Handling it panicked.
        Panicked = "panicked",
    }
}

label! {
    /// Why an entry is not in the audit log.
    AuditDrop {
        /// Too many waited for the disk.
        QueueFull = "queue_full",
        /// The file could not be written.
        WriteFailed = "write_failed",
    }
}

label! {
    /// Why items of an OTLP request were not taken while the rest of it was.
    OtlpRejection {
        /// Larger than a record of the journal.
        Oversize = "oversize",
    }
}

/// One counter a label value.
#[derive(Debug)]
pub struct Counts<L> {
    values: Vec<AtomicU64>,
    label: PhantomData<L>,
}

impl<L: Label> Counts<L> {
    /// Counts `by` more.
    pub fn add(&self, label: L, by: u64) {
        self.values[label.index()].fetch_add(by, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn value(&self, label: L) -> u64 {
        self.values[label.index()].load(Ordering::Relaxed)
    }

    /// All values with their labels.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        L::ALL.iter().map(|label| (label.name(), self.value(*label)))
    }
}

impl<L: Label> Default for Counts<L> {
    fn default() -> Self {
        Self { values: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), label: PhantomData }
    }
}

/// One of something a label value, where figures have several labels.
#[derive(Debug)]
pub struct By<L, T> {
    values: Vec<T>,
    label: PhantomData<L>,
}

impl<L: Label, T> By<L, T> {
    /// The one of `label`.
    pub fn of(&self, label: L) -> &T {
        &self.values[label.index()]
    }

    /// All with their labels.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> + '_ {
        L::ALL.iter().map(|label| (label.name(), self.of(*label)))
    }
}

impl<L: Label, T: Default> Default for By<L, T> {
    fn default() -> Self {
        Self { values: L::ALL.iter().map(|_| T::default()).collect(), label: PhantomData }
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// Moves it.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, to: i64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// What it is.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter without labels.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts `by` more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All figures.
#[derive(Debug)]
pub struct Figures {
    /// Open connections to agents.
    pub grpc_connections: Level,
    /// Open connections to the pages.
    pub http_connections: Level,
    /// Open connections to OTLP/HTTP.
    pub otlp_connections: Level,
    /// Connections accepted.
    pub connections_accepted: Counts<Door>,
    /// Connections ended before they were of use.
    pub connections_refused: Counts<Refusal>,
    /// 1 while connections to agents are not accepted, since none can be had.
    pub grpc_accept_paused: Level,
    /// 1 while connections to the pages are not accepted.
    pub http_accept_paused: Level,
    /// 1 while connections to OTLP/HTTP are not accepted.
    pub otlp_accept_paused: Level,
    /// Open streams.
    pub streams: Level,
    /// Streams refused or ended by us.
    pub streams_ended: Counts<StreamEnd>,
    /// Batches by what became of them.
    pub batches: Counts<BatchOutcome>,
    /// Events acknowledged as durable for the first time since the start.
    pub events_accepted: Count,
    /// Bytes of batches acknowledged as durable for the first time since the start.
    pub bytes_accepted: Count,
    /// Events that agents cannot send any more, told by their hellos.
    pub events_missing: Count,
    /// Requests for certificates.
    pub enrolments: Counts<Enrolment>,
    /// Refused credentials.
    pub credentials_refused: Counts<CredentialRefusal>,
    /// Events that the aggregate has taken since the start, replay included.
    pub events_aggregated: Count,
    /// Journal records that a reader passed over.
    pub records_passed_over: Counts<PassedOver>,
    /// Journal positions that are not there any more.
    pub records_missing: Count,
    /// Records that are durable and not yet in the aggregate.
    pub aggregate_lag_records: Level,
    /// Snapshots of the aggregate written.
    pub snapshots_written: Count,
    /// Snapshots of the aggregate that could not be written.
    pub snapshots_failed: Count,
    /// Changes of configuration.
    pub reloads: Counts<Reload>,
    /// Configurations offered to agents.
    pub configurations_offered: Count,
    /// What agents said of their configuration.
    pub configuration_answers: Counts<ConfigurationAnswer>,
    /// Lines written to the audit log.
    pub audit_lines: Count,
    /// Entries of which the audit log has a number alone.
    pub audit_merged: Count,
    /// Entries that are not in the audit log.
    pub audit_dropped: Counts<AuditDrop>,
    /// What came over OTLP to the collector itself.
    pub otlp: OtlpFigures,
    ack_seconds: Histogram<f64>,
}

/// From a sync on a fast disk to a stall that a person would notice.
const ACK_SECONDS_BOUNDS: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Figures {
    /// Figures at zero whose histogram is recorded with `meter`.
    pub fn new(meter: &Meter) -> Self {
        let ack_seconds = meter
            .f64_histogram("muster_server_ack")
            .with_description("Time from a batch's arrival to its durable acknowledgement")
            .with_unit("s")
            .with_boundaries(ACK_SECONDS_BOUNDS.to_vec())
            .build();
        Self {
            grpc_connections: Level::default(),
            http_connections: Level::default(),
            otlp_connections: Level::default(),
            connections_accepted: Counts::default(),
            connections_refused: Counts::default(),
            grpc_accept_paused: Level::default(),
            http_accept_paused: Level::default(),
            otlp_accept_paused: Level::default(),
            streams: Level::default(),
            streams_ended: Counts::default(),
            batches: Counts::default(),
            events_accepted: Count::default(),
            bytes_accepted: Count::default(),
            events_missing: Count::default(),
            enrolments: Counts::default(),
            credentials_refused: Counts::default(),
            events_aggregated: Count::default(),
            records_passed_over: Counts::default(),
            records_missing: Count::default(),
            aggregate_lag_records: Level::default(),
            snapshots_written: Count::default(),
            snapshots_failed: Count::default(),
            reloads: Counts::default(),
            configurations_offered: Count::default(),
            configuration_answers: Counts::default(),
            audit_lines: Count::default(),
            audit_merged: Count::default(),
            audit_dropped: Counts::default(),
            otlp: OtlpFigures::default(),
            ack_seconds,
        }
    }

    /// How long an acknowledgement took.
    pub fn record_ack(&self, took: Duration) {
        self.ack_seconds.record(took.as_secs_f64(), &[]);
    }

    /// Open connections at a door.
    pub fn connections(&self, door: Door) -> &Level {
        match door {
            Door::Grpc => &self.grpc_connections,
            Door::Http => &self.http_connections,
            Door::Otlp => &self.otlp_connections,
        }
    }

    /// Whether a door is closed for want of room.
    pub fn accept_paused(&self, door: Door) -> &Level {
        match door {
            Door::Grpc => &self.grpc_accept_paused,
            Door::Http => &self.http_accept_paused,
            Door::Otlp => &self.otlp_accept_paused,
        }
    }
}
