//! What is told of a run: a start, an end with what it used, and a log with what has no other place.

use std::thread::JoinHandle;
use std::time::Duration;

use muster::clock::WallTime;
use serde_json::{Map, Value, json};

use super::ci::Ci;
use super::trace::TraceParent;
use super::{End, Ended, Used};
use crate::config::LocalConfig;
use crate::local::protocol::{Event, Request};
use crate::local::{self, DeliveryError};

/// The label `tool` of runs of `exec`.
pub const TOOL: &str = "exec";
/// How long a command that ended waits for its telemetry at most, its start's included.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// One run's telemetry.
#[derive(Debug)]
pub struct Report {
    /// Where it goes.
    pub config: LocalConfig,
    /// The run's name.
    pub worker: String,
    /// The project's name, where the folder's is not the right one.
    pub project: Option<String>,
    /// Where the command runs.
    pub folder: String,
    /// What CI says.
    pub ci: Option<Ci>,
    /// The span that the command was given as its parent, and the span above it.
    pub span: Option<(TraceParent, TraceParent)>,
    run_id: String,
    started: Option<JoinHandle<Result<(), DeliveryError>>>,
}

impl Report {
    /// Of a run in `folder`.
    pub fn new(config: LocalConfig, worker: String, folder: String) -> Result<Self, DeliveryError> {
        let run_id = local::new_request_id()?;
        Ok(Self { config, worker, project: None, folder, ci: None, span: None, run_id, started: None })
    }

    /// Tells the start, beside the command.
    pub fn start(&mut self, time: WallTime) {
        let config = self.config.clone();
        let request = self.request(vec![self.started_event(time)]);
        self.started = Some(std::thread::spawn(move || {
            local::deliver_within(&config, &request?, DELIVERY_TIMEOUT).map(drop)
        }));
    }

    /// Tells the end, and the start if that was not told.
    pub fn end(mut self, ended: &Ended) -> Result<(), DeliveryError> {
        let mut events = Vec::with_capacity(3);
        match self.started.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => {}
            // What kept it away may be over.
            Some(_) | None => events.push(self.started_event(ended.started)),
        }
        let end = WallTime(ended.started.0 + micros(ended.duration));
        events.push(Event { kind: "run".into(), time_us: end.0, fields: self.run_fields(ended) });
        events.push(Event { kind: "log".into(), time_us: end.0, fields: self.log_fields(ended) });
        local::deliver_within(&self.config, &self.request(events)?, DELIVERY_TIMEOUT).map(drop)
    }

    fn request(&self, events: Vec<Event>) -> Result<Request, DeliveryError> {
        let ci = self.ci.clone().unwrap_or_default();
        Ok(Request {
            id: local::new_request_id()?,
            tool: TOOL.into(),
            tool_version: String::new(),
            project: self.project.clone(),
            folder: self.folder.clone(),
            repository: ci.repository,
            branch: ci.branch,
            events,
        })
    }

    fn started_event(&self, time: WallTime) -> Event {
        let fields = json!({"worker": self.worker, "event": "started", "run_id": self.run_id});
        Event { kind: "run".into(), time_us: time.0, fields: object(fields) }
    }

    fn run_fields(&self, ended: &Ended) -> Map<String, Value> {
        let status = match ended.end {
            End::Exited(0) => "success",
            End::Exited(_) => "failure",
            End::Signaled(_) | End::NotStarted(_) => "error",
        };
        let mut fields = object(json!({"worker": self.worker, "status": status, "run_id": self.run_id}));
        if !matches!(ended.end, End::NotStarted(_)) {
            fields.insert("duration".into(), format!("{}us", micros(ended.duration)).into());
        }
        let Used { cpu, memory_bytes, io_bytes, processes } = ended.used;
        fields.extend(cpu.map(|cpu| ("cpu".to_owned(), format!("{}us", micros(cpu)).into())));
        fields.extend(memory_bytes.map(|bytes| ("memory_bytes".to_owned(), bytes.into())));
        fields.extend(io_bytes.map(|bytes| ("io_bytes".to_owned(), bytes.into())));
        fields.extend((processes > 0).then(|| ("processes".to_owned(), processes.into())));
        fields
    }

    /// How it ended, and where it ran.
    fn log_fields(&self, ended: &Ended) -> Map<String, Value> {
        let mut attributes = object(json!({"worker": self.worker}));
        let severity = match &ended.end {
            End::Exited(code) => {
                attributes.insert("exit_code".into(), (*code).into());
                if *code == 0 { "info" } else { "warn" }
            }
            End::Signaled(signal) => {
                attributes.insert("signal".into(), (*signal).into());
                "warn"
            }
            End::NotStarted(error) => {
                attributes.insert("not_started".into(), error.kind().to_string().into());
                "error"
            }
        };
        for (name, value) in self.ci.iter().flat_map(|ci| &ci.attributes) {
            attributes.insert((*name).to_owned(), value.clone().into());
        }
        if let Some((own, parent)) = &self.span {
            attributes.insert("trace_id".into(), own.trace_id.clone().into());
            attributes.insert("span_id".into(), own.span_id.clone().into());
            attributes.insert("parent_span_id".into(), parent.span_id.clone().into());
        }
        object(json!({"name": "exec.finished", "severity": severity, "attributes": attributes}))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
