//! The loop: read, fold, save, wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use journal::Position;
use journal::stream::{OtlpEntry, StreamEntry, StreamItem};
use metrics::Applied;
use muster::batch::{self, BatchView, SourceView};
use muster::clock::{Monotonic, WallTime};
use muster::ids::Team;
use muster::v1;
use muster::v1::event::Kind;
use otlp::Signal;
use otlp::series::Origin;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{SNAPSHOT_BYTES, Settings, Source, View, snapshot};
use crate::figures::PassedOver;
use crate::stop::stopped;

/// Longest sleep: silent agents' gauges end, and idle counters go, on this timer and not on a scrape.
const TICK: Duration = Duration::from_secs(10);
/// Before a read that failed is tried again.
const READ_RETRY: Duration = Duration::from_secs(1);
/// Records between looks at the clock and the stop.
const RECORDS_A_ROUND: usize = 256;
/// Longest reading on when the collector stops. The next start replays the rest.
const FINISH_MAX: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    settings: Settings,
    source: Source,
    view: Arc<View>,
    stop: watch::Receiver<bool>,
    /// What is no later was there before the start: who sent it need not be there now.
    replay_end: Position,
    position: Position,
    saved: Position,
    saved_at: Monotonic,
    bytes_since_saved: u64,
    ticked_at: Monotonic,
    /// When it saw that the collector stops.
    stopped_at: Option<Monotonic>,
}

/// Why a record, or a payload in it, has no effect.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Batch(#[from] batch::BatchError),
    #[error("the OTLP payload is no request: {0}")]
    Payload(#[from] prost::DecodeError),
    #[error("the OTLP payload is of no signal")]
    Signal,
}

/// How a round of reading ended.
enum Round {
    /// There may be more.
    More,
    /// At the durable end.
    End,
    /// The journal could not be read.
    Failed,
}

impl Reader {
    pub(super) fn new(
        settings: Settings,
        source: Source,
        view: Arc<View>,
        replay_end: Position,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (position, now) = (view.position(), source.clock.monotonic());
        Self {
            settings,
            source,
            view,
            stop,
            replay_end,
            position,
            saved: position,
            saved_at: now,
            bytes_since_saved: 0,
            ticked_at: now,
            stopped_at: None,
        }
    }

    pub(super) fn run(mut self, runtime: &Runtime) {
        let mut items = self.source.log.read(self.position);
        loop {
            let round = self.round(items.as_mut());
            self.keep_time();
            match round {
                Round::More if self.has_finished_enough() => break,
                Round::More => {}
                Round::End if *self.stop.borrow() => break,
                Round::End => {
                    self.view.is_caught_up.store(true, Ordering::Release);
                    self.wait(runtime);
                }
                Round::Failed if *self.stop.borrow() => break,
                Round::Failed => runtime.block_on(sleep(READ_RETRY)),
            }
        }
        self.save();
    }

    fn round(&mut self, items: &mut dyn Iterator<Item = Result<StreamItem, journal::ReadError>>) -> Round {
        for _ in 0..RECORDS_A_ROUND {
            match items.next() {
                None => return Round::End,
                Some(Ok(item)) => self.take(item),
                Some(Err(error)) => {
                    tracing::error!(%error, "cannot read the journal; trying again");
                    return Round::Failed;
                }
            }
        }
        Round::More
    }

    fn take(&mut self, item: StreamItem) {
        match item {
            StreamItem::Batch(entry) => {
                self.bytes_since_saved += entry.bytes.len() as u64;
                self.position = entry.position;
                self.guarded(entry.position, || self.fold(&entry));
            }
            StreamItem::Gap { from, to, reason } => {
                let records = to.0 - from.0 + 1;
                self.source.figures.records_missing.add(records);
                tracing::error!(%from, %to, reason = reason.as_str(), "journal records are missing");
                self.position = to;
            }
            StreamItem::Otlp(entry) => {
                self.bytes_since_saved += entry.bytes.len() as u64;
                self.position = entry.position;
                self.guarded(entry.position, || self.fold_otlp(&entry));
            }
            StreamItem::Other { position, .. } => self.position = position,
        }
        self.view.position.store(self.position.0, Ordering::Release);
    }

    /// One record must cost one record, whatever is in it.
    fn guarded(&self, position: Position, fold: impl FnOnce() -> Result<(), Unreadable>) {
        let why = match catch_unwind(AssertUnwindSafe(fold)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(%position, %error, "journal record cannot be read; passed over");
                PassedOver::Malformed
            }
            Err(_) => {
                tracing::error!(%position, "journal record made its reader panic; passed over");
                PassedOver::Panicked
            }
        };
        self.source.figures.records_passed_over.add(why, 1);
    }

    fn fold(&self, entry: &StreamEntry) -> Result<(), Unreadable> {
        let batch = batch::decode(&entry.bytes)?;
        let at = self.applied(entry.appended_wall);
        let (team, agent) = (&entry.key.team, entry.key.agent);
        if entry.position <= self.replay_end {
            self.view.aggregate.write().replay(team, agent, &batch, at);
        } else {
            self.view.aggregate.write().apply(team, agent, &batch, at);
        }
        self.view.fleet.apply(entry, &batch);
        self.source.figures.events_aggregated.add(batch.events.len() as u64);
        self.fold_payloads(team, &batch, at)
    }

    /// The OTLP payloads of an agent's batch. One that cannot be read costs none of the others.
    fn fold_payloads(&self, team: &Team, batch: &v1::Batch, at: Applied) -> Result<(), Unreadable> {
        let view = BatchView::new(batch);
        let mut folded = Ok(());
        for event in view.events() {
            let (Some(Kind::OtlpPayload(sent)), Some(source)) = (event.kind, view.source(event.source))
            else {
                continue;
            };
            let SourceView { user, host, project, .. } = source;
            let origin = Origin { team, user, host, project };
            folded =
                folded.and(self.fold_payload(&origin, sent.signal(), sent.item_count, &sent.payload, at));
        }
        folded
    }

    fn fold_otlp(&self, entry: &OtlpEntry) -> Result<(), Unreadable> {
        let origin = Origin::of_team(&entry.team);
        self.fold_payload(&origin, entry.signal, entry.items, &entry.bytes, self.applied(entry.appended_wall))
    }

    fn fold_payload(
        &self,
        origin: &Origin<'_>,
        signal: v1::OtlpSignal,
        items: u32,
        request: &[u8],
        at: Applied,
    ) -> Result<(), Unreadable> {
        match Signal::try_from(signal).map_err(|()| Unreadable::Signal)? {
            Signal::Metrics => self.view.foreign.write().apply(origin, request, at)?,
            other => self.view.foreign.write().count_items(origin.team, other, items.into()),
        }
        Ok(())
    }

    /// The time of the append, not of the reading: a replay folds to the same series.
    fn applied(&self, wall: WallTime) -> Applied {
        Applied { wall, monotonic: self.source.clock.monotonic() }
    }

    /// Whether the collector stops and has waited for this long enough.
    fn has_finished_enough(&mut self) -> bool {
        if !*self.stop.borrow() {
            return false;
        }
        let now = self.source.clock.monotonic();
        let stopped_at = *self.stopped_at.get_or_insert(now);
        now.0.saturating_sub(stopped_at.0) >= FINISH_MAX
    }

    /// Who was heard, and what is due by the clock: expiry, a snapshot.
    fn keep_time(&mut self) {
        let now = self.source.clock.monotonic();
        let heard = self.view.heard.take();
        if !heard.is_empty() {
            let mut aggregate = self.view.aggregate.write();
            heard.iter().for_each(|(team, agent)| aggregate.heard(team, *agent, now));
        }
        if now.0.saturating_sub(self.ticked_at.0) >= TICK {
            self.ticked_at = now;
            self.view.aggregate.write().expire(now);
            self.view.foreign.write().expire(now);
        }
        let is_old = now.0.saturating_sub(self.saved_at.0) >= self.settings.snapshot_interval;
        if self.position > self.saved && (is_old || self.bytes_since_saved >= SNAPSHOT_BYTES) {
            self.save();
        }
    }

    fn save(&mut self) {
        self.saved_at = self.source.clock.monotonic();
        self.bytes_since_saved = 0;
        let written = snapshot::write(&self.settings.data_dir, &self.view, self.position)
            .map_err(|error| error.to_string())
            .and_then(|()| self.source.cursor.advance(self.position).map_err(|error| error.to_string()));
        match written {
            Ok(()) => {
                self.saved = self.position;
                self.source.figures.snapshots_written.add(1);
            }
            Err(error) => {
                self.source.figures.snapshots_failed.add(1);
                tracing::warn!(error, "cannot save the aggregate; a restart would replay more");
            }
        }
    }

    fn wait(&mut self, runtime: &Runtime) {
        runtime.block_on(async {
            tokio::select! {
                more = self.source.wake.changed() => {
                    if more.is_none() {
                        // Poisoned: the collector stops. Not to spin until it says so.
                        sleep(READ_RETRY).await;
                    }
                }
                () = self.view.heard.noted() => {}
                () = sleep(TICK) => {}
                () = stopped(&mut self.stop) => {}
            }
        });
    }
}
