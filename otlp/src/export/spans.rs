//! Sessions and runs as spans: a session is a trace and its root span, a run is a span in it.
//!
//! A span is sent whole, when its end is known: a run with its `RunFinished`, a session with the `SessionState` that has
//! its end. The parent of a run's span is known before it is sent, since ids come from names and not from chance.
//!
//! | | start | end |
//! |---|---|---|
//! | run | end less its duration | time of the event |
//! | run whose duration is not known | its end, with `muster.duration.known` = false | time of the event |
//! | session | `started_time_us` | `ended_time_us` |
//! | session whose start is not known, or is after its end | its end, with `muster.duration.known` = false | `ended_time_us` |

use bytes::Bytes;
use muster::batch::{BatchView, EventView, SourceView};
use muster::clock::WallTime;
use muster::ids::{Seq, StreamKey};
use muster::v1;
use muster::v1::event::Kind;
use prost::Message;

use super::attributes::Attributes;
use super::events;
use super::identity::Identity;
use super::logs::nanoseconds;
use super::{EventFacts, Exported, keys, resource, words};
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::trace::span::SpanKind;
use crate::proto::trace::status::StatusCode;
use crate::proto::trace::{ResourceSpans, ScopeSpans, Span, Status};

/// The runs and sessions that end in a batch that [`muster::batch::decode`] returned, as spans. `wanted` is asked once
/// for each event that ends one, with the same facts as in [`logs`](super::logs()).
pub fn spans(
    key: &StreamKey,
    batch: &v1::Batch,
    wanted: impl FnMut(&EventFacts<'_>) -> bool,
) -> Exported {
    numbered_spans(key, batch, &[], wanted)
}

/// As [`spans`], of events whose numbers do not follow each other, as in
/// [`numbered_logs`](super::numbered_logs).
pub fn numbered_spans(
    key: &StreamKey,
    batch: &v1::Batch,
    seqs: &[Seq],
    mut wanted: impl FnMut(&EventFacts<'_>) -> bool,
) -> Exported {
    let view = BatchView::new(batch);
    let mut exported = Exported::default();
    let mut spans: Vec<Vec<Span>> = (0..view.source_count()).map(|_| Vec::new()).collect();
    let maker = Maker { identity: Identity { key }, view };
    for (place, mut event) in view.events().enumerate() {
        event.seq = seqs.get(place).copied().unwrap_or(event.seq);
        let Some(source) = view.source(event.source) else { continue };
        let Some(kind) = event.kind else {
            exported.unknown += 1;
            continue;
        };
        let Some(title) = events::title(kind).filter(|_| is_end(kind, &view)) else { continue };
        if !wanted(&title.facts(key, &source)) {
            exported.unwanted += 1;
        } else if let Some(span) = maker.span(&event, kind, &source) {
            spans[event.source].push(span);
            exported.items += 1;
        }
    }
    let resource_spans = spans.into_iter().enumerate().filter(|(_, spans)| !spans.is_empty());
    let resource_spans = resource_spans.filter_map(|(index, spans)| {
        let source = view.source(index)?;
        let scope_spans = vec![ScopeSpans { scope: Some(resource::scope()), spans, ..Default::default() }];
        let resource = Some(resource::of_source(key.team.as_str(), &source));
        Some(ResourceSpans { resource, scope_spans, ..Default::default() })
    });
    let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
    exported.request = Bytes::from(request.encode_to_vec());
    exported
}

/// Whether the event ends a run, or a session that has a name.
fn is_end(kind: &Kind, view: &BatchView<'_>) -> bool {
    match kind {
        Kind::RunFinished(_) => true,
        Kind::SessionState(session) => {
            session.ended_time_us.is_some() && !view.text(session.session).is_empty()
        }
        _ => false,
    }
}

struct Maker<'a> {
    identity: Identity<'a>,
    view: BatchView<'a>,
}

/// From when to when; `is_known` is false when the start is not known and stands at the end.
#[derive(Debug, Clone, Copy)]
struct Interval {
    start: WallTime,
    end: WallTime,
    is_known: bool,
}

impl Maker<'_> {
    fn span(&self, event: &EventView<'_>, kind: &Kind, source: &SourceView<'_>) -> Option<Span> {
        match kind {
            Kind::RunFinished(run) => Some(self.run(event, kind, run, source)),
            Kind::SessionState(session) => self.session(event, kind, session, source),
            _ => None,
        }
    }

    fn run(
        &self,
        event: &EventView<'_>,
        kind: &Kind,
        run: &v1::RunFinished,
        source: &SourceView<'_>,
    ) -> Span {
        let session = self.view.text(run.session);
        let identity = self.identity.run(source, session, run.run_id, event.seq);
        let name = match self.view.text(run.worker) {
            "" => "run".to_owned(),
            worker => format!("run {worker}"),
        };
        let interval = Interval::of_duration(event.time, run.duration_us);
        let status = match run.status() {
            v1::RunStatus::Success | v1::RunStatus::Skipped => Some(StatusCode::Ok),
            v1::RunStatus::Failure | v1::RunStatus::Error => Some(StatusCode::Error),
            v1::RunStatus::Unspecified => None,
        };
        let status = status.map(|code| (code, words::run_status(run.status)));
        Span {
            trace_id: identity.trace.to_vec(),
            span_id: identity.span.to_vec(),
            parent_span_id: identity.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
            ..self.complete(name, interval, status, event, kind)
        }
    }

    fn session(
        &self,
        event: &EventView<'_>,
        kind: &Kind,
        session: &v1::SessionState,
        source: &SourceView<'_>,
    ) -> Option<Span> {
        let identity = self.identity.session(source, self.view.text(session.session))?;
        let ended = WallTime(session.ended_time_us?);
        let interval = Interval::of_start(session.started_time_us.map(WallTime), ended);
        let status = session.exit_code.map(|code| match code {
            0 => (StatusCode::Ok, ""),
            _ => (StatusCode::Error, "exit_code"),
        });
        Some(Span {
            trace_id: identity.trace.to_vec(),
            span_id: identity.span.to_vec(),
            ..self.complete("session".to_owned(), interval, status, event, kind)
        })
    }

    /// Everything but the ids.
    fn complete(
        &self,
        name: String,
        interval: Interval,
        status: Option<(StatusCode, &'static str)>,
        event: &EventView<'_>,
        kind: &Kind,
    ) -> Span {
        let mut attributes = Attributes::default();
        attributes.text(keys::ITEM_ID, &self.identity.item(event.seq));
        if event.weight > 1 {
            attributes.integer(keys::WEIGHT, event.weight);
        }
        if !interval.is_known {
            attributes.truth(keys::DURATION_KNOWN, false);
        }
        events::describe(kind, &self.view, &mut attributes);
        if let Some((StatusCode::Error, word)) = status {
            attributes.text(keys::ERROR_TYPE, word);
        }
        Span {
            name,
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanoseconds(interval.start),
            end_time_unix_nano: nanoseconds(interval.end),
            attributes: attributes.into_vec(),
            status: status.map(|(code, word)| Status {
                code: code.into(),
                // Only an error may have a description.
                message: if code == StatusCode::Error { word.to_owned() } else { String::new() },
            }),
            ..Default::default()
        }
    }
}

impl Interval {
    fn of_duration(end: WallTime, duration_us: Option<u64>) -> Self {
        match duration_us {
            Some(duration_us) => {
                Self { start: WallTime(end.0.saturating_sub(duration_us)), end, is_known: true }
            }
            None => Self { start: end, end, is_known: false },
        }
    }

    fn of_start(start: Option<WallTime>, end: WallTime) -> Self {
        match start {
            Some(start) if start <= end => Self { start, end, is_known: true },
            _ => Self { start: end, end, is_known: false },
        }
    }
}
