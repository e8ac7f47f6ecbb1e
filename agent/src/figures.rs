//! The agent's own figures: what it spooled, what arrived, what it costs.
//!
//! Conservation is one of them: `spooled = acknowledged + queued + dropped`, by the numbers of the spool
//! (reliability.md §0 rule 7).

use std::fmt::Write;
use std::time::Duration;

mod certificate;

pub use certificate::CertificateFigures;

use crate::processes::OwnUsage;
use crate::remote_configuration::Standing;
use crate::spool::Spool;
use crate::uplink::UplinkStatus;

/// Counters of the runtime since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuntimeCounters {
    /// Projects watched now.
    pub projects: u64,
    /// Sources read now.
    pub sources: u64,
    /// Steps taken.
    pub steps: u64,
    /// Panics of sources, each contained.
    pub source_panics: u64,
    /// Steps whose record the spool refused.
    pub spool_refusals: u64,
    /// Notifications that were lost and made up for by looking at everything.
    pub rescans_forced: u64,
}

/// Everything that the page and `status` say about the agent itself.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Events spooled by this process.
    pub events_spooled: u64,
    /// Events acknowledged to this process.
    pub events_acked: u64,
    /// Events not acknowledged.
    pub events_queued: u64,
    /// Events dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// How long the oldest of them has waited.
    pub oldest_unacked: Option<Duration>,
    /// Bytes of the spool, kept ones included.
    pub spool_bytes: u64,
    /// Damaged records set aside.
    pub spool_quarantined: u64,
    /// Whether the spool takes nothing now, and why.
    pub spool_trouble: Option<&'static str>,
    /// The uplink.
    pub uplink: UplinkStatus,
    /// The runtime.
    pub runtime: RuntimeCounters,
    /// What the process uses.
    pub usage: Option<OwnUsage>,
    /// The agent's certificate, if it is enrolled.
    pub certificate: Option<CertificateFigures>,
    /// What the collector asked for, and what is in force.
    pub configuration: Standing,
}

impl Figures {
    /// Reads the spool's and the uplink's figures.
    pub fn gather(
        spool: &Spool,
        uplink: UplinkStatus,
        runtime: RuntimeCounters,
        usage: Option<OwnUsage>,
    ) -> Self {
        let stats = spool.journal_stats();
        let spool_trouble = match () {
            () if stats.is_poisoned => Some("a write failed; restart the agent"),
            () if stats.is_disk_full => Some("the disk is full"),
            () if spool.is_full() => Some("the spool is full; sources wait"),
            () => None,
        };
        Self {
            events_spooled: spool.events_spooled(),
            events_acked: uplink.events_acked,
            events_queued: spool.events_queued(),
            oldest_unacked: spool.oldest_unacked().map(|time| spool.wall().since(time)),
            dropped: spool.drops().iter().collect(),
            spool_bytes: stats.bytes,
            spool_quarantined: stats.quarantined_records,
            spool_trouble,
            uplink,
            runtime,
            usage,
            certificate: None,
            configuration: Standing::default(),
        }
    }

    /// The figures as Prometheus text 0.0.4.
    pub fn to_text(&self) -> String {
        let mut page = String::with_capacity(2048);
        let mut family = |name: &str, kind: &str, help: &str, value: f64| {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let counter = "counter";
        let gauge = "gauge";
        family(
            "muster_agent_events_spooled_total",
            counter,
            "Events made durable in the spool.",
            self.events_spooled as f64,
        );
        family(
            "muster_agent_events_acked_total",
            counter,
            "Events that the collector made durable.",
            self.events_acked as f64,
        );
        family(
            "muster_agent_events_queued",
            gauge,
            "Events in the spool that are not acknowledged.",
            self.events_queued as f64,
        );
        family(
            "muster_agent_spool_bytes",
            gauge,
            "Bytes of the spool, kept acknowledged ones included.",
            self.spool_bytes as f64,
        );
        family(
            "muster_agent_spool_quarantined_records_total",
            counter,
            "Damaged spool records set aside.",
            self.spool_quarantined as f64,
        );
        family(
            "muster_agent_connected",
            gauge,
            "Whether a stream to the collector is open.",
            f64::from(u8::from(self.uplink.connected)),
        );
        family(
            "muster_agent_connects_total",
            counter,
            "Streams opened to the collector.",
            self.uplink.connects as f64,
        );
        family(
            "muster_agent_new_epochs_total",
            counter,
            "Epochs taken after the first of this process.",
            self.uplink.new_epochs as f64,
        );
        family("muster_agent_projects", gauge, "Projects watched.", self.runtime.projects as f64);
        family("muster_agent_sources", gauge, "Sources read.", self.runtime.sources as f64);
        family("muster_agent_steps_total", counter, "Steps taken by sources.", self.runtime.steps as f64);
        family(
            "muster_agent_source_panics_total",
            counter,
            "Panics of sources, each contained.",
            self.runtime.source_panics as f64,
        );
        family(
            "muster_agent_spool_refusals_total",
            counter,
            "Steps that the spool refused; they are read again.",
            self.runtime.spool_refusals as f64,
        );
        family(
            "muster_agent_rescans_forced_total",
            counter,
            "Lost notifications made up for by looking at everything.",
            self.runtime.rescans_forced as f64,
        );
        if let Some(usage) = self.usage {
            family(
                "muster_agent_memory_bytes",
                gauge,
                "Resident memory of the agent.",
                usage.resident_bytes as f64,
            );
            family(
                "muster_agent_cpu_seconds_total",
                counter,
                "CPU time of the agent.",
                usage.cpu.as_secs_f64(),
            );
        }
        let _ = writeln!(
            page,
            "# HELP muster_agent_events_dropped_total Events dropped, by reason.\n# TYPE muster_agent_events_dropped_total counter"
        );
        for (reason, events) in &self.dropped {
            let _ = writeln!(page, "muster_agent_events_dropped_total{{reason=\"{reason}\"}} {events}");
        }
        if let Some(certificate) = &self.certificate {
            certificate.write_text(&mut page);
        }
        self.configuration.write_text(&mut page);
        page
    }
}

impl Figures {
    /// The figures for `status`, for people's and programs' eyes alike.
    pub fn to_json(&self) -> serde_json::Value {
        let dropped: serde_json::Map<_, _> =
            self.dropped.iter().map(|(reason, events)| ((*reason).to_owned(), (*events).into())).collect();
        serde_json::json!({
            "connected": self.uplink.connected,
            "team": self.uplink.team,
            "last_error": self.uplink.last_error,
            "collector": self.uplink.collector.as_ref().map(|said| {
                serde_json::json!({ "version": said.version, "protocol": said.protocol })
            }),
            "projects": self.runtime.projects,
            "sources": self.runtime.sources,
            "events": {
                "spooled": self.events_spooled,
                "acked": self.events_acked,
                "queued": self.events_queued,
                "dropped": dropped,
            },
            "spool": { "bytes": self.spool_bytes, "quarantined": self.spool_quarantined, "trouble": self.spool_trouble },
            "source_panics": self.runtime.source_panics,
            "memory_bytes": self.usage.map(|u| u.resident_bytes),
            "version": env!("CARGO_PKG_VERSION"),
            "oldest_unacked_seconds": self.oldest_unacked.map(|age| age.as_secs()),
            "certificate": self.certificate.as_ref().map(CertificateFigures::to_json),
            "remote_configuration": self.configuration.to_json(),
        })
    }
}
