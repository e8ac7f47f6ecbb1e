//! Makes requests of journal records: chosen, stamped, put together, split, written.
//!
//! A function of the records and of what is kept between them: the same records give the same requests. What is kept is
//! what [`Preparer::snapshot`] gives. Small payloads of one signal are put together to one request; every log record
//! keeps an id of its own (`muster.item.id`), made from its place in the journal or from the event that carried it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use journal::stream::{OtlpEntry, StreamItem};
use otlp::Signal;
use otlp::wire::{self, Stamp};

use super::encode::{Outgoing, Unfit};
use super::figures::{DestinationFigures, reason};
use super::filter::Origin;
use super::lane::Lane;
use super::window::Range;
use crate::config::destination::Destination;

/// Names the team of everything that goes out; from the credential, whatever a payload says.
const TEAM_ATTRIBUTE: &str = "muster.team";
/// Payloads are put together to about this much: larger requests gain little and cost memory and time to repeat.
pub(super) const MERGED_BYTES: usize = 1 << 20;

/// What a range of the journal comes to.
pub(super) struct Preparer {
    destination: Arc<Destination>,
    lane: Arc<Lane>,
    figures: Arc<DestinationFigures>,
    /// Tells positions of this journal from those of another.
    journal_id: String,
    attributes: Stamp,
    gathered: [Gathered; 3],
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
        Self { destination, lane, figures, journal_id, attributes, gathered: Default::default() }
    }

    /// Takes a record.
    pub(super) fn take(&mut self, item: &StreamItem) {
        if let StreamItem::Otlp(entry) = item {
            self.take_otlp(entry);
        }
    }

    /// Whether enough is gathered for a request.
    pub(super) fn is_full(&self) -> bool {
        Signal::ALL
            .into_iter()
            .any(|signal| self.gathered[signal as usize].request.len() >= self.merged_bytes(signal))
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
        let payload = Payload { signal, items: u64::from(entry.items), request: &entry.bytes };
        self.carry(&payload, &origin, &id);
    }

    /// Passes a payload on as it came, stamped.
    fn carry(&mut self, payload: &Payload<'_>, origin: &Origin<'_>, id: &str) {
        let Payload { signal, items, request } = *payload;
        let filter = &self.destination.filter;
        if !self.destination.wants(signal) || !filter.wants_payload(origin.team) {
            self.figures.filtered.add(signal, items);
            return;
        }
        let mut stamp = self.attributes.clone();
        stamp.set(TEAM_ATTRIBUTE, origin.team).record_ids(id);
        let gathered = &mut self.gathered[signal as usize].request;
        let start = gathered.len();
        let stamped = filter
            .select(signal, request, origin)
            .and_then(|selected| wire::stamp(signal, &selected, &stamp, gathered));
        match stamped {
            Ok(tally) => {
                self.figures.accepted.add(signal, tally.items);
                self.figures.filtered.add(signal, items.saturating_sub(tally.items));
                self.gathered[signal as usize].items += tally.items;
            }
            Err(error) => {
                gathered.truncate(start);
                self.figures.accepted.add(signal, items);
                let why = format!("payload is no OTLP: {error}");
                let unfit = Unfit { items, request: request.clone(), why };
                self.lane.give_up_unfit(Range::default(), signal, &unfit, reason::MALFORMED);
            }
        }
    }
}

/// A payload that came over OTLP.
struct Payload<'a> {
    signal: Signal,
    items: u64,
    request: &'a Bytes,
}
