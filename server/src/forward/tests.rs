//! Forwarding against sinks that answer what a test tells them to.

mod answers;
mod flow;
mod own;
mod reload;
mod sink;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::Journal;
use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, OtlpPart, StreamLog};
use muster::clock::{Clock, SystemClock};
use muster::ids::Team;
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::common::{AnyValue, KeyValue, any_value::Value};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::resource::Resource;
use prost::Message;

use super::client::Client;
use super::dead_letter::DeadLetters;
use super::figures::Observed;
use super::*;
use crate::config::{Config, Overrides};

/// Longer than anything that a test waits for without saying so.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// A journal and what reads it.
struct Bench {
    source: Source,
    log: Arc<JournalStreamLog>,
    _folder: Option<tempfile::TempDir>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let bench = Self::at(folder.path());
        Self { _folder: Some(folder), ..bench }
    }

    fn at(folder: &Path) -> Self {
        Self::with(folder, |config| config)
    }

    /// With a journal of another configuration.
    fn with(folder: &Path, change: impl FnOnce(journal::Config) -> journal::Config) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let config = change(journal::Config {
            preallocate_bytes: 0,
            reserve_bytes: 0,
            segment_bytes_max: 16 << 20,
            ..journal::Config::new(folder.join("journal"))
        });
        let (journal, _) = Journal::open(config, Arc::new(RealFs), clock.clone()).expect("opens");
        let journal = Arc::new(journal);
        let (log, _) = JournalStreamLog::open(journal.clone()).expect("opens");
        let log = Arc::new(log);
        let source = Source { journal, log: log.clone(), clock, data_dir: folder.to_owned() };
        Self { source, log, _folder: None }
    }

    fn start(&self, destinations: &[Destination]) -> Forwarding {
        Forwarding::start(destinations, &self.source).expect("starts")
    }

    /// Appends a payload of log records with these bodies.
    fn append(&self, bodies: &[&str]) {
        self.append_as("default", logs(bodies, "shop", 9), bodies.len());
    }

    fn append_as(&self, team: &str, request: Bytes, items: usize) {
        self.append_signal(team, Signal::Logs, request, items);
    }

    fn append_signal(&self, team: &str, signal: Signal, request: Bytes, items: usize) {
        let part = OtlpPart { signal: signal.into(), items: items as u32, bytes: request };
        let team: Team = team.parse().expect("team");
        self.log.append_otlp(&team, vec![part]).expect("room").wait().expect("durable");
    }
}

/// A request of one resource with one record for each body.
fn logs(bodies: &[&str], project: &str, severity: i32) -> Bytes {
    let text = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    let log_records = bodies
        .iter()
        .map(|body| LogRecord { severity_number: severity, body: text(body), ..Default::default() })
        .collect();
    let attribute =
        |key: &str, value: &str| KeyValue { key: key.to_owned(), value: text(value), ..Default::default() };
    let attributes = vec![attribute("service.name", "claude"), attribute("muster.project", project)];
    let resource = Some(Resource { attributes, ..Default::default() });
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec().into()
}

/// Destinations of a configuration's text.
fn destinations(text: &str) -> Vec<Destination> {
    Config::parse(text, &Overrides::default()).expect("valid configuration").destinations
}

/// One destination of the profile `otlp`.
fn otlp(name: &str, sink: &sink::Sink, transport: &str, more: &str) -> Destination {
    let text = format!(
        "[[destination]]\nname = \"{name}\"\nprofile = \"otlp\"\nendpoint = \"http://{}\"\n\
         transport = \"{transport}\"\n{more}",
        sink.address
    );
    destinations(&text).remove(0)
}

/// Waits until it is true.
async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let waited = async {
        while !is_true() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits until the destination has nothing to do any more.
async fn at_rest(observed: &Observed) {
    eventually("the queue is empty", || observed.queued_records() == 0).await;
}

/// Nothing is lost without a trace. What is said in idle time belongs to no record: it may be on its way when the queue is
/// empty.
async fn assert_conserved(observed: &Observed) {
    let pending = || Signal::ALL.map(|signal| observed.figures.pending(signal));
    eventually("every item is accounted for", || pending() == [0; 3]).await;
}
