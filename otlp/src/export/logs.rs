//! Events as log records.

use bytes::Bytes;
use muster::batch::{BatchView, EventView, SourceView};
use muster::clock::WallTime;
use muster::ids::{Seq, StreamKey};
use muster::v1;
use muster::v1::event::Kind;
use prost::Message;

use super::attributes::Attributes;
use super::events::{self, Title};
use super::identity::Identity;
use super::{EventFacts, Exported, keys, resource};
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::common::{AnyValue, any_value::Value};
use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};

/// The events of a batch that [`muster::batch::decode`] returned as log records, in their order within each source.
/// `appended` is when the collector journaled the batch; `wanted` is asked once for each event.
pub fn logs(
    key: &StreamKey,
    appended: WallTime,
    batch: &v1::Batch,
    wanted: impl FnMut(&EventFacts<'_>) -> bool,
) -> Exported {
    numbered_logs(key, appended, batch, &[], wanted)
}

/// As [`logs`], of events whose numbers do not follow each other: `seqs` has one for each event. Events past its end have
/// the batch's.
pub fn numbered_logs(
    key: &StreamKey,
    appended: WallTime,
    batch: &v1::Batch,
    seqs: &[Seq],
    mut wanted: impl FnMut(&EventFacts<'_>) -> bool,
) -> Exported {
    let view = BatchView::new(batch);
    let mut exported = Exported::default();
    let mut records: Vec<Vec<LogRecord>> = (0..view.source_count()).map(|_| Vec::new()).collect();
    let maker = Maker { identity: Identity { key }, view, appended };
    for (place, mut event) in view.events().enumerate() {
        event.seq = seqs.get(place).copied().unwrap_or(event.seq);
        let Some(source) = view.source(event.source) else { continue };
        let Some(kind) = event.kind else {
            exported.unknown += 1;
            continue;
        };
        let Some(title) = events::title(kind) else { continue };
        if wanted(&title.facts(key, &source)) {
            records[event.source].push(maker.record(&event, kind, title, &source));
            exported.items += 1;
        } else {
            exported.unwanted += 1;
        }
    }
    let resource_logs = records.into_iter().enumerate().filter(|(_, records)| !records.is_empty());
    let resource_logs = resource_logs.filter_map(|(index, log_records)| {
        let source = view.source(index)?;
        let scope_logs =
            vec![ScopeLogs { scope: Some(resource::scope()), log_records, ..Default::default() }];
        let resource = Some(resource::of_source(key.team.as_str(), &source));
        Some(ResourceLogs { resource, scope_logs, ..Default::default() })
    });
    let request = ExportLogsServiceRequest { resource_logs: resource_logs.collect() };
    exported.request = Bytes::from(request.encode_to_vec());
    exported
}

struct Maker<'a> {
    identity: Identity<'a>,
    view: BatchView<'a>,
    appended: WallTime,
}

impl Maker<'_> {
    fn record(&self, event: &EventView<'_>, kind: &Kind, title: Title, source: &SourceView<'_>) -> LogRecord {
        let mut attributes = Attributes::default();
        attributes.text(keys::ITEM_ID, &self.identity.item(event.seq));
        if event.weight > 1 {
            attributes.integer(keys::WEIGHT, event.weight);
        }
        events::describe(kind, &self.view, &mut attributes);
        let (trace_id, span_id) = self.place(event, kind, source);
        LogRecord {
            time_unix_nano: nanoseconds(event.time),
            observed_time_unix_nano: nanoseconds(self.appended),
            severity_number: title.severity.number(),
            severity_text: title.severity.text().to_owned(),
            // Most log views show the body alone.
            body: Some(AnyValue { value: Some(Value::StringValue(title.name.to_owned())) }),
            attributes: attributes.into_vec(),
            trace_id,
            span_id,
            event_name: title.name.to_owned(),
            ..Default::default()
        }
    }

    /// The span that the record belongs to: the run's, else the session's; empty when there is none.
    fn place(&self, event: &EventView<'_>, kind: &Kind, source: &SourceView<'_>) -> (Vec<u8>, Vec<u8>) {
        let session = events::session_of(kind, &self.view);
        let run_id = match kind {
            Kind::RunFinished(run) => Some(run.run_id),
            Kind::RunStarted(run) if run.run_id != 0 => Some(run.run_id),
            _ => None,
        };
        if let Some(run_id) = run_id {
            let run = self.identity.run(source, session, run_id, event.seq);
            return (run.trace.to_vec(), run.span.to_vec());
        }
        let session = self.identity.session(source, session);
        session.map_or_else(Default::default, |session| (session.trace.to_vec(), session.span.to_vec()))
    }
}

impl Title {
    pub(super) fn facts<'a>(&self, key: &'a StreamKey, source: &SourceView<'a>) -> EventFacts<'a> {
        EventFacts {
            team: key.team.as_str(),
            tool: source.tool,
            project: source.project,
            name: self.name,
            severity: self.severity,
        }
    }
}

/// OTLP's times. A time that nanoseconds cannot hold is one that no clock had: it stays at the end of time.
pub(super) fn nanoseconds(time: WallTime) -> u64 {
    time.0.saturating_mul(1000)
}
