//! From a request to batches for the spool: split, cleaned, stamped, one event a resource.
//!
//! A request is taken apart before it is decoded, so that a large one costs the memory of a piece of it. A request of
//! usual size is one batch, and so one record of the spool: it is there as a whole or not at all.

use bytes::Bytes;
use muster::clock::WallTime;
use muster::limits::{BATCH_BYTES_MAX, SOURCES_MAX};
use muster::v1::event::Kind;
use muster::v1::{OtlpPayload, OtlpSignal};
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::resource::Resource;
use otlp::wire::{self, WireError};
use prost::{DecodeError, Message};

use super::clean::{self, Counted};
use super::origin::{Origin, Origins};
use super::texts::Texts;
use crate::facts::{Facts, Privacy};

/// Size that the payload of an event does not exceed but for a single item that is larger.
const EVENT_BYTES: usize = 1 << 20;
/// Largest single item after cleaning. A larger one is rejected.
const ITEM_BYTES_MAX: usize = 3 << 20;
/// What an event is reckoned to take in a batch beside its payload: its frame and its source's names.
const EVENT_OVERHEAD_BYTES: usize = 1024;
/// Most events in a batch, each perhaps of its own source.
const EVENTS_MAX: usize = SOURCES_MAX;
/// What is left free in a batch.
const SPARE_BYTES: usize = 64 << 10;

/// A request that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// It is no OTLP.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It is no OTLP, as the decoder has it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Batches under construction from one request.
#[derive(Debug)]
pub struct Preparation<'a> {
    signal: Signal,
    received: WallTime,
    privacy: &'a Privacy,
    origins: &'a Origins,
    texts: Texts<'a>,
    batches: Vec<Facts>,
    /// Bytes that the last batch is reckoned to have.
    batch_bytes: usize,
    items: u64,
    rejected: u64,
}

/// What a request became.
#[derive(Debug)]
pub struct Prepared {
    /// To be spooled, in order.
    pub batches: Vec<Facts>,
    /// Items in them.
    pub items: u64,
    /// Items left out: too large, or of a metric whose name may not leave.
    pub rejected: u64,
    /// Texts replaced.
    pub redacted: u64,
}

/// Pieces of a request that can be decoded one by one.
pub fn pieces(signal: Signal, request: &Bytes) -> Result<Vec<Bytes>, WireError> {
    let split = wire::split(signal, request, EVENT_BYTES)?;
    Ok(split.parts.into_iter().chain(split.oversize).map(|part| part.bytes).collect())
}

impl<'a> Preparation<'a> {
    /// Of a request of `signal` that came at `received`.
    pub fn new(
        signal: Signal,
        received: WallTime,
        privacy: &'a Privacy,
        origins: &'a Origins,
        texts: Texts<'a>,
    ) -> Self {
        let batches = Vec::new();
        Self { signal, received, privacy, origins, texts, batches, batch_bytes: 0, items: 0, rejected: 0 }
    }

    /// Adds a piece, cleaned.
    pub fn add(&mut self, piece: &Bytes) -> Result<(), PrepareError> {
        match self.signal {
            Signal::Logs => {
                for mut entry in ExportLogsServiceRequest::decode(&piece[..])?.resource_logs {
                    let counted = clean::logs(&mut self.texts, &mut entry);
                    let origin = self.stamp(entry.resource.as_mut());
                    let request = ExportLogsServiceRequest { resource_logs: vec![entry] };
                    self.push(&origin, counted, request.encode_to_vec())?;
                }
            }
            Signal::Metrics => {
                for mut entry in ExportMetricsServiceRequest::decode(&piece[..])?.resource_metrics {
                    let counted = clean::metrics(&mut self.texts, &mut entry);
                    let origin = self.stamp(entry.resource.as_mut());
                    let request = ExportMetricsServiceRequest { resource_metrics: vec![entry] };
                    self.push(&origin, counted, request.encode_to_vec())?;
                }
            }
            Signal::Traces => {
                for mut entry in ExportTraceServiceRequest::decode(&piece[..])?.resource_spans {
                    let counted = clean::spans(&mut self.texts, &mut entry);
                    let origin = self.stamp(entry.resource.as_mut());
                    let request = ExportTraceServiceRequest { resource_spans: vec![entry] };
                    self.push(&origin, counted, request.encode_to_vec())?;
                }
            }
        }
        Ok(())
    }

    /// What was made of the pieces.
    pub fn finish(self) -> Prepared {
        let Self { batches, items, rejected, texts, .. } = self;
        Prepared { batches, items, rejected, redacted: texts.redacted() }
    }

    fn stamp(&self, resource: Option<&mut Resource>) -> Origin {
        let mut none = Resource::default();
        let resource = resource.unwrap_or(&mut none);
        let origin = self.origins.of(resource);
        self.origins.stamp(resource, &origin, self.privacy);
        origin
    }

    /// Adds a cleaned request of one resource, taken apart again if cleaning has made it too large.
    fn push(&mut self, origin: &Origin, counted: Counted, request: Vec<u8>) -> Result<(), PrepareError> {
        self.rejected += counted.rejected;
        if counted.items == 0 {
            return Ok(());
        }
        if request.len() <= EVENT_BYTES {
            self.push_event(origin, counted.items, request.into());
            return Ok(());
        }
        let split = wire::split(self.signal, &request.into(), EVENT_BYTES)?;
        for part in split.parts.into_iter().chain(split.oversize) {
            if part.bytes.len() <= ITEM_BYTES_MAX {
                self.push_event(origin, part.items, part.bytes);
            } else {
                self.rejected += part.items;
            }
        }
        Ok(())
    }

    fn push_event(&mut self, origin: &Origin, items: u64, payload: Bytes) {
        let bytes = payload.len() + EVENT_OVERHEAD_BYTES;
        let is_full = self.batches.last().is_none_or(|batch| {
            batch.len() >= EVENTS_MAX || self.batch_bytes + bytes > BATCH_BYTES_MAX - SPARE_BYTES
        });
        if is_full {
            self.batches.push(Facts::new(self.privacy.clone()));
            self.batch_bytes = 0;
        }
        let Some(batch) = self.batches.last_mut() else { return };
        self.batch_bytes += bytes;
        self.items += items;
        batch.speak_for(&origin.tool, &origin.tool_version, &origin.project);
        // A payload of a few MiB has fewer items than that.
        let item_count = u32::try_from(items).unwrap_or(u32::MAX);
        let signal = OtlpSignal::from(self.signal).into();
        batch.push(self.received, Kind::OtlpPayload(OtlpPayload { signal, payload, item_count }));
    }
}
