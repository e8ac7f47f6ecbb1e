//! Makes requests of journal records: chosen, stamped, put together, split, written.
//!
//! A function of the records and of what is kept between them: the same records give the same requests. What is kept is
//! what [`Preparer::snapshot`] gives. Small payloads of one signal are put together to one request; every log record
//! keeps an id of its own (`muster.item.id`), made from its place in the journal or from the event that carried it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use journal::stream::{OtlpEntry, StreamEntry, StreamItem};
use muster::batch::{self, BatchView};
use muster::clock::WallTime;
use muster::v1::event::Kind;
use muster::v1::{self, OtlpSignal};
use otlp::Signal;
use otlp::adapt::Adapter;
use otlp::export::{self, EventFacts};
use otlp::wire::{self, Stamp, WireError};

use super::encode::{Outgoing, Unfit};
use super::figures::{DestinationFigures, reason};
use super::filter::Origin;
use super::kept;
use super::lane::Lane;
use super::own_metrics::{OwnMetrics, Said};
use super::window::Range;
use crate::config::destination::Destination;

/// Names the team of everything that goes out; from the credential, whatever a payload says.
pub(super) const TEAM_ATTRIBUTE: &str = "muster.team";
/// Payloads are put together to about this much: larger requests gain little and cost memory and time to repeat.
pub(super) const MERGED_BYTES: usize = 1 << 20;
/// A payload of this size is one of a busy sender, and a whole request's room is made at once.
const LARGE_BYTES: usize = 16 << 10;

/// What a range of the journal comes to.
pub(super) struct Preparer {
    destination: Arc<Destination>,
    lane: Arc<Lane>,
    figures: Arc<DestinationFigures>,
    /// Tells positions of this journal from those of another.
    journal_id: String,
    attributes: Stamp,
    adapter: Adapter,
    /// Muster's own metrics, where they are wanted.
    metrics: Option<OwnMetrics>,
    gathered: [Gathered; 3],
    /// What is read was read before.
    is_replay: bool,
}

/// Payloads of one signal, one after the other: together they are one request.
#[derive(Debug, Default)]
struct Gathered {
    request: BytesMut,
    items: u64,
}

impl Preparer {
    pub(super) fn new(destination: Arc<Destination>, lane: Arc<Lane>, journal_id: [u8; 16]) -> Self {
        let mut attributes = Stamp::new();
        for (key, value) in &destination.resource_attributes {
            attributes.set(key, value);
        }
        // Half of the id is enough to tell journals apart, and shorter on every record.
        let journal_id = journal_id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let figures = lane.figures.clone();
        let adapter = Adapter::new(destination.profile.0.into());
        let metrics = destination.wants(Signal::Metrics).then(|| OwnMetrics::new(&destination));
        let gathered = Default::default();
        Self {
            destination,
            lane,
            figures,
            journal_id,
            attributes,
            adapter,
            metrics,
            gathered,
            is_replay: false,
        }
    }

    /// Takes a record.
    pub(super) fn take(&mut self, item: &StreamItem) {
        match item {
            StreamItem::Otlp(entry) => {
                self.pass_time(entry.appended_wall);
                self.take_otlp(entry);
            }
            StreamItem::Batch(entry) => {
                self.pass_time(entry.appended_wall);
                self.take_batch(entry);
            }
            StreamItem::Gap { .. } | StreamItem::Other { .. } => {}
        }
    }

    /// Says Muster's own metrics when a record comes after the time for it: a function of the journal.
    fn pass_time(&mut self, wall: WallTime) {
        if let Some(said) = self.metrics.as_mut().and_then(|metrics| metrics.pass_time(wall)) {
            self.add_said(&said);
        }
    }

    /// Says them when no record has come for long. True if there was something to say.
    pub(super) fn pass_idle_time(&mut self, now: WallTime) -> bool {
        let said = self.metrics.as_mut().and_then(|metrics| metrics.pass_idle_time(now));
        said.inspect(|said| self.add_said(said)).is_some()
    }

    fn add_said(&mut self, said: &Said) {
        let stamp = self.attributes.clone();
        self.add_own(Signal::Metrics, &said.request, &stamp, said.time);
    }

    /// What is kept between records; `None` if nothing ever is.
    pub(super) fn snapshot(&self) -> Option<Vec<u8>> {
        let metrics = self.metrics.as_ref()?;
        Some(kept::encode(&self.adapter.snapshot(), &metrics.snapshot()))
    }

    /// Goes on where a snapshot was taken. What cannot be used begins anew, and is told.
    pub(super) fn restore(&mut self, state: &[u8]) {
        let Some((adapter, metrics)) = kept::decode(state) else {
            tracing::warn!(destination = %self.destination.name, "state of a destination is damaged; it begins anew");
            return;
        };
        match Adapter::restore(self.destination.profile.0.into(), adapter) {
            Ok(restored) => self.adapter = restored,
            Err(error) => tracing::warn!(destination = %self.destination.name, %error, "series begin anew"),
        }
        if let Some(own) = &mut self.metrics
            && let Err(error) = own.restore(metrics)
        {
            tracing::warn!(destination = %self.destination.name, error, "Muster's own metrics begin anew");
        }
    }

    /// Counts nothing until [`Preparer::count_again`]: what is read only to bring the state up to the cursor was counted.
    pub(super) fn count_nothing(&mut self) {
        self.figures = Arc::default();
        self.is_replay = true;
    }

    /// Ends [`Preparer::count_nothing`], and forgets what was gathered meanwhile.
    pub(super) fn count_again(&mut self) {
        self.gathered = Default::default();
        self.figures = self.lane.figures.clone();
        self.is_replay = false;
    }

    /// Whether enough is gathered for a request.
    pub(super) fn is_full(&self) -> bool {
        Signal::ALL
            .into_iter()
            .any(|signal| self.gathered[signal as usize].request.len() >= self.merged_bytes(signal))
    }

    /// How much of each signal is gathered.
    pub(super) fn mark(&self) -> [(usize, u64); 3] {
        std::array::from_fn(|n| (self.gathered[n].request.len(), self.gathered[n].items))
    }

    /// Forgets what was gathered since a mark.
    pub(super) fn fall_back(&mut self, mark: [(usize, u64); 3]) {
        for (gathered, (len, items)) in self.gathered.iter_mut().zip(mark) {
            gathered.request.truncate(len);
            gathered.items = items;
        }
    }

    /// Whether a record would only be put together with what is gathered to be taken apart again.
    pub(super) fn is_crowded_by(&self, item: &StreamItem) -> bool {
        let StreamItem::Otlp(entry) = item else { return false };
        let Ok(signal) = Signal::try_from(entry.signal) else { return false };
        let gathered = self.gathered[signal as usize].request.len();
        let limit = self.destination.profile.limits.of(signal).target_bytes();
        // A sixteenth for what is stamped.
        gathered > 0 && gathered + entry.bytes.len() + entry.bytes.len() / 16 > limit
    }

    /// The requests of what was gathered. What fits into none is counted and kept as a dead letter.
    pub(super) fn finish(&mut self, range: Range) -> Vec<Outgoing> {
        let mut requests = Vec::new();
        for signal in Signal::ALL {
            let Some((request, items)) = self.take_gathered(signal) else { continue };
            let limit = self.destination.profile.limits.of(signal);
            let encoded = self.lane.encoding.encode(signal, items, request, &limit);
            for unfit in &encoded.unfit {
                self.lane.give_up_unfit(range, signal, unfit, reason::TOO_LARGE);
            }
            requests.extend(encoded.fit);
        }
        requests
    }

    /// Counts what was gathered as dropped, since the queue is over its bound.
    pub(super) fn drop_gathered(&mut self) {
        for signal in Signal::ALL {
            if let Some((_, items)) = self.take_gathered(signal) {
                self.figures.drop_items(signal, reason::QUEUE_FULL, items);
            }
        }
    }

    fn take_gathered(&mut self, signal: Signal) -> Option<(Bytes, u64)> {
        let Gathered { request, items } = std::mem::take(&mut self.gathered[signal as usize]);
        (items > 0).then(|| (request.freeze(), items))
    }

    fn merged_bytes(&self, signal: Signal) -> usize {
        self.destination.profile.limits.of(signal).target_bytes().min(MERGED_BYTES)
    }

    fn take_otlp(&mut self, entry: &OtlpEntry) {
        let Ok(signal) = Signal::try_from(entry.signal) else { return };
        let origin = Origin { team: entry.team.as_str(), project: "", tool: "" };
        let id = format!("{}-{}", self.journal_id, entry.position);
        let payload = Payload { signal, items: u64::from(entry.items), request: &entry.bytes, id: &id };
        self.carry(&payload, &origin, entry.appended_wall);
    }

    fn take_batch(&mut self, entry: &StreamEntry) {
        let items = entry.seqs.count();
        let batch = match batch::decode(&entry.bytes) {
            Ok(batch) => batch,
            Err(error) => {
                let why = format!("journal record is no batch: {error}");
                return self.refuse(Signal::Logs, items, &entry.bytes, why);
            }
        };
        if !self.destination.filter.wants_team(entry.key.team.as_str()) {
            self.figures.filtered.add(Signal::Logs, items);
            return;
        }
        self.tell_events(entry, &batch);
        self.carry_payloads(entry, &batch);
        if let Some(metrics) = &mut self.metrics {
            metrics.apply(&entry.key.team, entry.key.agent, &batch, entry.appended_wall);
        }
    }

    /// Muster's own events as log records and spans.
    fn tell_events(&mut self, entry: &StreamEntry, batch: &v1::Batch) {
        let destination = self.destination.clone();
        let wants = |facts: &EventFacts<'_>| destination.filter.wants_event(facts);
        let mut stamp = self.attributes.clone();
        stamp.set(TEAM_ATTRIBUTE, entry.key.team.as_str());
        if destination.wants(Signal::Logs) {
            let exported = export::logs(&entry.key, entry.appended_wall, batch, wants);
            self.figures.filtered.add(Signal::Logs, exported.unwanted);
            // Of a newer agent: they stay in the journal, and go nowhere from here.
            self.figures.accepted.add(Signal::Logs, exported.unknown);
            self.figures.drop_items(Signal::Logs, reason::UNKNOWN_EVENT, exported.unknown);
            self.add_own(Signal::Logs, &exported.request, &stamp, entry.appended_wall);
        }
        if destination.wants(Signal::Traces) {
            let exported = export::spans(&entry.key, batch, wants);
            self.figures.filtered.add(Signal::Traces, exported.unwanted);
            self.add_own(Signal::Traces, &exported.request, &stamp, entry.appended_wall);
        }
    }

    fn add_own(&mut self, signal: Signal, request: &Bytes, stamp: &Stamp, at: WallTime) {
        if request.is_empty() {
            return;
        }
        match self.add(signal, request, stamp, at) {
            Ok(items) => self.figures.accepted.add(signal, items),
            // What we have written ourselves a moment ago.
            Err(error) => tracing::error!(%signal, %error, "an export of our own cannot be read"),
        }
    }

    /// What agents took over OTLP, as it came.
    fn carry_payloads(&mut self, entry: &StreamEntry, batch: &v1::Batch) {
        let view = BatchView::new(batch);
        for event in view.events() {
            let Some(Kind::OtlpPayload(payload)) = event.kind else { continue };
            let (Ok(signal), Some(source)) =
                (OtlpSignal::try_from(payload.signal), view.source(event.source))
            else {
                continue;
            };
            let Ok(signal) = Signal::try_from(signal) else { continue };
            let origin = Origin { team: entry.key.team.as_str(), project: source.project, tool: source.tool };
            let id = format!("{}-{}-{}", entry.key.agent, entry.key.epoch, event.seq);
            let payload =
                Payload { signal, items: u64::from(payload.item_count), request: &payload.payload, id: &id };
            self.carry(&payload, &origin, entry.appended_wall);
        }
    }

    /// Passes a payload on as it came, stamped.
    fn carry(&mut self, payload: &Payload<'_>, origin: &Origin<'_>, at: WallTime) {
        let Payload { signal, items, request, id } = *payload;
        let filter = &self.destination.filter;
        if !self.destination.wants(signal) || !filter.wants_payload(origin.team) {
            self.figures.filtered.add(signal, items);
            return;
        }
        let mut stamp = self.attributes.clone();
        stamp.set(TEAM_ATTRIBUTE, origin.team).record_ids(id);
        let added = filter
            .select(signal, request, origin)
            .and_then(|selected| self.add(signal, &selected, &stamp, at));
        match added {
            Ok(added) => {
                self.figures.accepted.add(signal, added);
                self.figures.filtered.add(signal, items.saturating_sub(added));
            }
            Err(error) => self.refuse(signal, items, request, format!("payload is no OTLP: {error}")),
        }
    }

    /// Stamps a request, makes it fit, and puts it to what is gathered. Says how many items came in.
    fn add(
        &mut self,
        signal: Signal,
        request: &Bytes,
        stamp: &Stamp,
        at: WallTime,
    ) -> Result<u64, WireError> {
        let merged_bytes = self.merged_bytes(signal);
        let gathered = &mut self.gathered[signal as usize];
        if self.adapter.is_identity(signal) {
            if gathered.request.is_empty() && request.len() >= LARGE_BYTES {
                // More of this size will follow: not to be moved each time the room is too small.
                gathered.request.reserve(merged_bytes + request.len() + request.len() / 4);
            }
            let start = gathered.request.len();
            let stamped = wire::stamp(signal, request, stamp, &mut gathered.request);
            let tally = stamped.inspect_err(|_| gathered.request.truncate(start))?;
            gathered.items += tally.items;
            return Ok(tally.items);
        }
        let mut stamped = BytesMut::with_capacity(request.len() + request.len() / 16);
        let tally = wire::stamp(signal, request, stamp, &mut stamped)?;
        let adapted = self.adapter.adapt(signal, &stamped.freeze(), at);
        for (reason, items) in &adapted.dropped {
            self.figures.drop_items(signal, reason.name(), *items);
        }
        gathered.request.extend_from_slice(&adapted.bytes);
        gathered.items += adapted.items;
        Ok(tally.items)
    }

    fn refuse(&self, signal: Signal, items: u64, request: &Bytes, why: String) {
        // It was told when it was read the first time.
        if self.is_replay {
            return;
        }
        self.figures.accepted.add(signal, items);
        let unfit = Unfit { items, request: request.clone(), why };
        self.lane.give_up_unfit(Range::default(), signal, &unfit, reason::MALFORMED);
    }
}

/// A payload that came over OTLP.
struct Payload<'a> {
    signal: Signal,
    items: u64,
    request: &'a Bytes,
    /// What the ids of its log records begin with.
    id: &'a str,
}
