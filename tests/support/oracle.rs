//! Says after a test whether every event counts once.
//!
//! It knows what a fleet issued and what was acknowledged, reads a copy of the collector's journal with the crate
//! `journal`, and checks, to the unit (reliability.md section 2):
//!
//! - every acknowledged event is in the journal exactly once, and every stored event was issued, with its very content;
//! - the series of the page say the same, and so does the API;
//! - no agent saw a high-water mark go back, a batch split, or a batch refused;
//! - a fresh event passes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, StreamItem, StreamLog};
use journal::{Config, Journal, Position};
use muster::batch::{BatchView, decode};
use muster::clock::{Clock, SystemClock};
use muster::ids::{AgentId, Epoch, Seq};
use muster::v1::RunStatus;
use muster::v1::event::Kind;

use super::collector::Collector;
use super::copy_folder;
use super::fleet::{Fleet, FleetOptions};
use super::payload::{Issuer, Payload};
use super::scrape::Page;

/// One agent's events as the journal has them.
#[derive(Debug, Default)]
pub struct StoredStream {
    /// Last number; all from 1 on are there.
    pub last: u64,
    /// Runs by worker and status, as the page counts them.
    pub runs: BTreeMap<(&'static str, &'static str), u64>,
    pub duration_us: u64,
}

/// Everything that a journal holds.
#[derive(Debug, Default)]
pub struct Stored {
    pub streams: BTreeMap<(AgentId, Epoch), StoredStream>,
    /// Batches of nobody in the fleet.
    pub foreign: Vec<String>,
    /// Log records, spans and data points that came over OTLP.
    pub otlp_items: u64,
    /// What is wrong with it.
    pub faults: Vec<String>,
    /// Events that the check itself sent, after it had read the rest.
    pub fresh: u64,
}

impl Stored {
    /// Reads a copy of the journal under a collector's data directory. The collector may be running.
    pub fn read(data_dir: &Path, issuers: &[Issuer]) -> Self {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(&journal_dir(data_dir), copy.path());
        let (journal, _) =
            Journal::open(Config::new(copy.path()), Arc::new(RealFs), Arc::new(SystemClock::new()))
                .expect("a copy of the journal opens");
        let (log, _) = JournalStreamLog::open(Arc::new(journal)).expect("its streams are read");
        let by_key: BTreeMap<_, _> = issuers.iter().map(|i| ((i.agent, i.epoch), i)).collect();
        let mut stored = Self::default();
        for item in log.read(Position::ZERO) {
            match item.expect("the journal reads") {
                StreamItem::Batch(entry) => match by_key.get(&(entry.key.agent, entry.key.epoch)) {
                    Some(issuer) => {
                        stored.take(issuer, entry.seqs.first().0, entry.seqs.last().0, &entry.bytes)
                    }
                    None => stored.foreign.push(format!("{:?} {:?}", entry.key, entry.seqs)),
                },
                StreamItem::Gap { from, to, reason } => {
                    stored.faults.push(format!("positions {from} to {to} are missing: {reason:?}"));
                }
                StreamItem::Otlp(entry) => stored.otlp_items += u64::from(entry.items),
                StreamItem::Other { .. } => {}
            }
        }
        stored
    }

    fn take(&mut self, issuer: &Issuer, first: u64, last: u64, bytes: &[u8]) {
        let stream = self.streams.entry((issuer.agent, issuer.epoch)).or_default();
        if first != stream.last + 1 {
            self.faults.push(format!("{}: {first}..={last} stored after {}", issuer.project, stream.last));
        }
        stream.last = last;
        let Ok(batch) = decode(bytes) else {
            self.faults.push(format!("{}: {first}..={last} does not decode", issuer.project));
            return;
        };
        let view = BatchView::new(&batch);
        if view.events().count() as u64 != last - first + 1 {
            self.faults.push(format!(
                "{}: {first}..={last} has {} events",
                issuer.project,
                view.event_count()
            ));
        }
        for (seq, event) in (first..).map(Seq).zip(view.events()) {
            // By the journal's numbers: the batch must agree with them.
            let expected = issuer.payload(seq);
            let is_right = event.seq == seq
                && matches!(event.kind, Some(Kind::RunFinished(run))
                if view.text(run.worker) == expected.worker
                    && run.status() == expected.status
                    && run.duration_us == Some(expected.duration_us)
                    && run.run_id == expected.run_id);
            if !is_right {
                self.faults.push(format!("{} event {seq}: {:?}", issuer.project, event.kind));
            }
            stream.count(&expected);
        }
    }
}

impl StoredStream {
    fn count(&mut self, payload: &Payload) {
        let status = match payload.status {
            RunStatus::Failure => "failure",
            RunStatus::Error => "error",
            _ => "success",
        };
        *self.runs.entry((payload.worker, status)).or_default() += 1;
        self.duration_us += payload.duration_us;
    }
}

/// Checks everything at quiescence: the fleet is drained, the collector is up, and nobody else has spoken to it.
#[track_caller]
pub fn check(collector: &Collector, fleet: &Fleet) -> Stored {
    let stored = check_fleet_among_others(collector, fleet);
    assert!(stored.foreign.is_empty(), "stored and never issued: {:?}", stored.foreign);
    stored
}

/// As [`check`], where agents outside the fleet have spoken to the collector too.
#[track_caller]
pub fn check_fleet_among_others(collector: &Collector, fleet: &Fleet) -> Stored {
    let issuers: Vec<_> = fleet.ledgers().map(|l| l.issuer.clone()).collect();
    let mut stored = Stored::read(&collector.data_dir(), &issuers);
    let mut faults = stored.faults.clone();
    for ledger in fleet.ledgers() {
        let last = stored.streams.get(&(ledger.issuer.agent, ledger.issuer.epoch)).map_or(0, |s| s.last);
        if last < ledger.acked || last > ledger.issued {
            faults.push(format!(
                "{}: {last} stored, {} acknowledged, {} issued",
                ledger.issuer.project, ledger.acked, ledger.issued
            ));
        }
        faults.extend(ledger.violations.iter().map(|v| format!("{}: {v}", ledger.issuer.project)));
    }
    assert!(faults.is_empty(), "{} faults, the first are:\n{}", faults.len(), first_lines(&faults));
    check_series(collector, &issuers, &stored);
    check_api(collector, &issuers, &stored);
    stored.fresh = check_fresh_event(collector, fleet);
    stored
}

/// The page's counters are the journal's events. Aggregation may be a moment behind the ack, so it gets a deadline.
#[track_caller]
fn check_series(collector: &Collector, issuers: &[Issuer], stored: &Stored) {
    let total: u64 = stored.streams.values().map(|s| s.last).sum();
    let page = collector.wait_page("every stored event in the series", Duration::from_secs(60), |page| {
        ours(page, issuers) >= total as f64
    });
    let (pages, none) = (page.by("project"), Page::default());
    let mut faults = Vec::new();
    for issuer in issuers {
        let Some(stream) = stored.streams.get(&(issuer.agent, issuer.epoch)) else { continue };
        let page = pages.get(issuer.project.as_str()).unwrap_or(&none);
        let project = ("project", issuer.project.as_str());
        for (&(worker, status), &count) in &stream.runs {
            let shown =
                page.sum("devloop_agent_runs_total", &[project, ("agent", worker), ("status", status)]);
            if shown != count as f64 {
                faults.push(format!(
                    "{}: {count} runs of {worker} {status} stored, {shown} shown",
                    issuer.project
                ));
            }
        }
        let runs = page.sum("devloop_agent_runs_total", &[project]);
        let timed = page.sum("devloop_agent_execution_duration_ms_count", &[project]);
        if runs != stream.last as f64 || timed != stream.last as f64 {
            faults.push(format!("{}: {} stored, {runs} counted, {timed} timed", issuer.project, stream.last));
        }
        let shown_ms = page.sum("devloop_agent_execution_duration_ms_sum", &[project]);
        if (shown_ms - stream.duration_us as f64 / 1e3).abs() > 1e-6 * shown_ms.max(1.0) {
            faults.push(format!("{}: {} us stored, {shown_ms} ms shown", issuer.project, stream.duration_us));
        }
    }
    assert!(faults.is_empty(), "the series are not the journal:\n{}", first_lines(&faults));
}

fn ours(page: &Page, issuers: &[Issuer]) -> f64 {
    let projects: BTreeSet<_> = issuers.iter().map(|issuer| issuer.project.as_str()).collect();
    let runs = page.matching("devloop_agent_runs_total", &[]);
    let is_ours = |project: &String| projects.contains(project.as_str());
    runs.filter(|run| run.labels.get("project").is_some_and(is_ours)).map(|run| run.value).sum()
}

/// The API tells the same mark for every agent, and the newest runs with their content.
#[track_caller]
fn check_api(collector: &Collector, issuers: &[Issuer], stored: &Stored) {
    let agents = collector.rows("/api/v1/agents");
    for issuer in issuers {
        let Some(stream) = stored.streams.get(&(issuer.agent, issuer.epoch)) else { continue };
        let id = issuer.agent.to_string();
        let found: Vec<_> = agents.iter().filter(|a| a["agent"] == id.as_str()).collect();
        assert_eq!(found.len(), 1, "agent {id} in {agents:?}");
        assert_eq!(found[0]["aggregated_seq"], stream.last, "{}", found[0]);
    }
    for issuer in issuers {
        let stored_last = stored_last(stored, issuer);
        let mut seq = stored_last.0;
        for run in collector.get(&format!("/api/v1/runs?limit=20&project={}", issuer.project)).json()["rows"]
            .as_array()
            .expect("rows")
        {
            let expected = issuer.payload(Seq(seq));
            assert_eq!(run["worker"], expected.worker, "run {seq} of {}: {run}", issuer.project);
            assert_eq!(run["duration_us"], expected.duration_us, "run {seq} of {}: {run}", issuer.project);
            seq -= 1;
        }
    }
}

/// A new agent's first event is acknowledged and shown, and so are those that follow it until that is seen. How many.
#[track_caller]
fn check_fresh_event(collector: &Collector, before: &Fleet) -> u64 {
    let mut random = fastrand::Rng::new();
    let tls = before.tls.clone();
    let options = FleetOptions { batch_events: 1..=1, tls, ..FleetOptions::new(1, collector.grpc) };
    let options = FleetOptions { project_prefix: format!("fresh{:x}-", random.u32(..)), ..options };
    let fleet = Fleet::start(options, SystemClock::new().wall(), &mut random);
    super::wait_until("a fresh event to be acknowledged", Duration::from_secs(10), || fleet.acked() > 0);
    fleet.drain(Duration::from_secs(10));
    let issuers: Vec<_> = fleet.ledgers().map(|l| l.issuer.clone()).collect();
    let acked = fleet.acked();
    collector
        .wait_page("the fresh events", Duration::from_secs(10), |page| ours(page, &issuers) == acked as f64);
    acked
}

/// The folder under the data directory that has segments.
pub fn journal_dir(data_dir: &Path) -> PathBuf {
    let has_segments = |dir: &Path| {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        names.map(|e| e.path()).any(|p| p.extension().is_some_and(|e| e == "seg"))
    };
    let folders = std::fs::read_dir(data_dir).expect("a data directory").flatten().map(|e| e.path());
    let mut found: Vec<_> = folders.filter(|f| f.is_dir() && has_segments(f)).collect();
    assert_eq!(found.len(), 1, "one journal under {}", data_dir.display());
    found.remove(0)
}

/// The last number of an issuer that is stored.
pub fn stored_last(stored: &Stored, issuer: &Issuer) -> Seq {
    Seq(stored.streams.get(&(issuer.agent, issuer.epoch)).map_or(0, |s| s.last))
}

fn first_lines(faults: &[String]) -> String {
    faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
}
