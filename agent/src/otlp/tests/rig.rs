//! An intake with a spool, and what came to lie in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster::batch::{self, BatchView};
use muster::clock::{Clock, ManualClock, WallTime};
use muster::ids::Seq;
use muster::v1::event::Kind;
use otlp::Signal;
use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, KeyValue};
use otlp::receive::{Accepted, Budget, Intake, Payload, Refusal, Tally};
use otlp::wire;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::endpoint::Page;
use crate::facts::{ContentField, Privacy};
use crate::figures::RuntimeCounters;
use crate::otlp::intake::{Inner, SpoolIntake};
use crate::otlp::origin::Origins;
use crate::otlp::pseudonyms::Pseudonyms;
use crate::otlp::{BUDGET_BYTES, OtlpCounters};
use crate::project::Machine;
use crate::remote_configuration::{Own, RemoteConfiguration, Settings};
use crate::spool::{Spool, SpoolConfig};

pub const NOON: WallTime = WallTime(1_771_588_800_000_000);

pub struct Rig {
    pub page: Arc<Page>,
    pub intake: SpoolIntake,
    pub counters: Arc<OtlpCounters>,
    pub settings: watch::Sender<Arc<Settings>>,
}

/// A payload as it lies in the spool.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    pub seq: u64,
    pub tool: String,
    pub project: String,
    pub signal: Signal,
    pub items: u32,
    pub request: Bytes,
}

impl Rig {
    pub fn new(state_dir: &Path) -> Self {
        Self::with(SpoolConfig::new(state_dir), &[])
    }

    pub fn with(config: SpoolConfig, fields: &[ContentField]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOON));
        let pseudonyms = Pseudonyms::load(&config.state_dir).expect("random numbers");
        let spool = Spool::open(config, clock.clone()).expect("opens");
        let (agent_id, state_dir) = (spool.identity().agent_id, spool.state_dir().to_owned());
        let counters = Arc::new(OtlpCounters::default());
        let page = Arc::new(Page {
            local: Default::default(),
            aggregate: Mutex::new(metrics::Aggregate::new(metrics::AggregateConfig::agent())),
            spool: Arc::new(tokio::sync::Mutex::new(spool)),
            uplink: watch::channel(Default::default()).1,
            certificate: watch::channel(Default::default()).1,
            counters: Mutex::new(RuntimeCounters::default()),
            clock,
            otlp: Some(counters.clone()),
            configuration: Arc::new(RemoteConfiguration::load(own(fields), agent_id, state_dir)),
        });
        let machine = Machine { user: "dana".to_owned(), host: "laptop".to_owned() };
        let settings = watch::Sender::new(Arc::new(own(fields).settings));
        let intake = SpoolIntake::new(Inner {
            page: page.clone(),
            agent_id,
            settings: settings.subscribe(),
            origins: Arc::new(Origins::new(machine, Some("shop".to_owned()))),
            pseudonyms,
            budget: Budget::new(BUDGET_BYTES),
            counters: counters.clone(),
        });
        Self { page, intake, counters, settings }
    }

    pub async fn take(&self, signal: Signal, request: impl prost::Message) -> Result<Accepted, Refusal> {
        let request = Bytes::from(request.encode_to_vec());
        let counted = wire::check(signal, &request).expect("a request");
        let tally = Tally { resources: counted.resources, items: counted.items };
        self.intake.take(&(), Payload { signal, request, tally }).await
    }

    pub async fn spooled(&self) -> Vec<Spooled> {
        spooled(&*self.page.spool.lock().await)
    }
}

fn own(fields: &[ContentField]) -> Own {
    let settings = Settings::own(Privacy::including(fields.iter().copied()), Duration::from_secs(60));
    Own { settings, takes_offers: false, labels: Default::default() }
}

/// Every payload in a spool.
pub fn spooled(spool: &Spool) -> Vec<Spooled> {
    let mut reader = spool.batches_after(Seq::ZERO);
    let mut payloads = Vec::new();
    while let Some(sealed) = reader.next_batch().expect("readable") {
        let decoded = batch::decode(&sealed.bytes).expect("own batch");
        let view = BatchView::new(&decoded);
        for event in view.events() {
            let Some(Kind::OtlpPayload(otlp)) = event.kind else { continue };
            let signal = Signal::try_from(otlp.signal()).expect("a signal");
            let source = view.source(event.source).expect("a source");
            payloads.push(Spooled {
                seq: event.seq.0,
                tool: source.tool.to_owned(),
                project: source.project.to_owned(),
                signal,
                items: otlp.item_count,
                request: otlp.payload.clone(),
            });
        }
    }
    payloads
}

/// Every file below a folder, one after the other.
pub fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => bytes.extend(bytes_below(&path)),
            false => bytes.extend(std::fs::read(&path).expect("a file")),
        }
    }
    bytes
}

pub fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// The value of an attribute, as text.
pub fn value_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        other => Some(format!("{other:?}")),
    }
}
