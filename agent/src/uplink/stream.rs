//! One stream from hello to its end.

use std::time::Duration;

use muster::batch::SealedBatch;
use muster::ids::Seq;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::codec::CompressionEncoding;

use super::asking::Asking;
use super::channel::{ChannelError, Connection};
use super::session::{self, Decision, NewEpochReason, Opening, Session};
use super::{
    Backoff, CollectorSaid, End, SharedSpool, StreamError, Uplink, UplinkStatus, channel, hello, stopped,
};
use crate::enrol::Situation;
use crate::remote_configuration::Issuer;
use crate::spool::BatchReader;

/// A collector answers a hello from memory; it may first probe another stream of the same agent for a few seconds.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// Messages between us and the connection; the window of [`Session`] is what bounds memory.
const OUTBOX_MESSAGES: usize = 32;
/// An unanswered batch for so long means that the collector is stuck in a way that keepalive does not show.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream that is left for a new certificate waits this long for what is in flight; the next one asks for the rest.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A collector that was told goodbye closes at once.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a stream and carries batches until it ends.
pub(super) async fn run(
    uplink: &mut Uplink,
    backoff: &mut Backoff,
    shutdown: &mut watch::Receiver<bool>,
) -> End {
    uplink.certificate.mark_unchanged();
    let opened = tokio::select! {
        opened = open(uplink) => opened,
        () = stopped(shutdown) => return End::Shutdown,
    };
    let (spool, status) = (&uplink.spool, &uplink.status);
    let Opened { outbox, mut inbound, welcome, serial } = match opened {
        Ok(opened) => opened,
        Err(Refusal::Pause(pause)) => return End::Retry(pause),
        Err(Refusal::Fenced(verdict)) => return take_new_epoch(spool, Seq::ZERO, &verdict.recent).await,
        Err(Refusal::Error(error)) => return End::Lost(error),
    };
    backoff.reset();
    status.send_modify(|s| {
        s.connected = true;
        s.connects += 1;
        s.team.clone_from(&welcome.team);
        s.last_error = None;
    });
    let issuer = Issuer { server: uplink.server.address.to_string(), team: welcome.team.clone() };
    let asking = Asking::new(uplink.configuration.clone(), issuer);
    let begun = begin(spool, &welcome, asking).await;
    let carrier = match begun {
        Ok(Begun::Carry(carrier)) => *carrier,
        Ok(Begun::NewEpoch) => return End::NewEpoch,
        Err(error) => return End::Lost(error),
    };
    let credential = Credential { serial, certificate: &mut uplink.certificate };
    let end = carrier.carry(spool, &outbox, &mut inbound, status, credential, shutdown).await;
    let farewell = match end {
        Ok(End::Shutdown) => "agent stops",
        Ok(End::NewCertificate) => "agent comes back with a new certificate",
        _ => return end.unwrap_or_else(End::Lost),
    };
    let goodbye = v1::Goodbye { retry_after_ms: 0, reason: farewell.to_owned() };
    // The collector notices a closed stream anyway.
    let _ = outbox.try_send(v1::AgentMessage { kind: Some(Up::Goodbye(goodbye)) });
    if matches!(end, Ok(End::NewCertificate)) {
        drop(outbox);
        // Until the collector has closed its side, so that the goodbye is not overtaken by the connection's end.
        let _ = timeout(FAREWELL_TIMEOUT, async { while let Ok(Some(_)) = inbound.message().await {} }).await;
    }
    end.unwrap_or_else(End::Lost)
}

/// A stream that was welcomed.
struct Opened {
    outbox: mpsc::Sender<v1::AgentMessage>,
    inbound: Streaming<v1::CollectorMessage>,
    welcome: v1::Welcome,
    serial: Option<String>,
}

/// The certificate that a stream was opened with, and what is known of the one on the disk.
struct Credential<'a> {
    serial: Option<String>,
    certificate: &'a mut watch::Receiver<Situation>,
}

impl Credential<'_> {
    /// Returns when the next stream should show another certificate. Only what is told after the connection was begun
    /// counts: it was made with what the disk had, which may be newer than what was told before.
    async fn replaced(&mut self) {
        while self.certificate.changed().await.is_ok() {
            let now =
                self.certificate.borrow_and_update().stored.as_ref().map(|stored| stored.serial.clone());
            if now.is_some() && now != self.serial {
                return;
            }
        }
        // Nobody follows the files any more.
        std::future::pending::<()>().await;
    }
}

enum Refusal {
    Pause(Duration),
    Fenced(v1::Verdict),
    Error(StreamError),
}

impl<E: Into<StreamError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Error(error.into())
    }
}

impl From<tonic::Status> for StreamError {
    fn from(status: tonic::Status) -> Self {
        StreamError::Status(Box::new(status))
    }
}

async fn open(uplink: &Uplink) -> Result<Opened, Refusal> {
    let connection = channel::connect(&uplink.server, uplink.clock.wall()).await?;
    let ends = connection.shown.as_ref().map(|shown| shown.not_after);
    let opened = open_on(connection, uplink).await;
    match (opened, ends) {
        // With TLS 1.3 a certificate is refused after the handshake, and not always with a reason.
        (Err(Refusal::Error(_)), Some(ends)) if uplink.clock.wall() >= ends => {
            Err(ChannelError::CertificateEnded(ends).into())
        }
        (opened, _) => opened,
    }
}

async fn open_on(connection: Connection, uplink: &Uplink) -> Result<Opened, Refusal> {
    let serial = connection.shown.map(|shown| shown.serial);
    let mut client = CollectorClient::new(connection.channel)
        .send_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(muster::limits::MESSAGE_BYTES_MAX);
    let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES);
    let first = v1::AgentMessage { kind: Some(Up::Hello(hello(uplink).await)) };
    outbox.try_send(first).map_err(|_| StreamError::Closed)?;
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(value) = connection.authorization {
        request.metadata_mut().insert("authorization", value);
    }
    let answered = timeout(WELCOME_TIMEOUT, async {
        let mut inbound = client.stream(request).await?.into_inner();
        let message = inbound.message().await?;
        Ok::<_, tonic::Status>((inbound, message))
    });
    let (inbound, message) = answered.await.map_err(|_| StreamError::Silent(WELCOME_TIMEOUT))??;
    let message = message.and_then(|m| m.kind);
    if let Some(Down::Welcome(welcome)) = &message {
        let said = CollectorSaid::of(welcome);
        uplink.status.send_modify(|s| s.collector = Some(said));
    }
    match message {
        Some(Down::Welcome(welcome)) if welcome.protocol_version == muster::limits::PROTOCOL_VERSION => {
            Ok(Opened { outbox, inbound, welcome, serial })
        }
        Some(Down::Welcome(welcome)) => {
            let ours = muster::limits::PROTOCOL_VERSION;
            Err(StreamError::Protocol { ours, theirs: welcome.protocol_version }.into())
        }
        Some(Down::Verdict(verdict)) => Err(Refusal::Fenced(verdict)),
        Some(Down::Throttle(throttle)) => Err(Refusal::Pause(Duration::from_millis(throttle.retry_after_ms))),
        Some(Down::Goodbye(goodbye)) => Err(Refusal::Pause(Duration::from_millis(goodbye.retry_after_ms))),
        _ => Err(StreamError::Closed.into()),
    }
}

enum Begun {
    Carry(Box<Carrier>),
    NewEpoch,
}

async fn begin(spool: &SharedSpool, welcome: &v1::Welcome, asking: Asking) -> Result<Begun, StreamError> {
    let mut spool = spool.lock().await;
    match session::open(welcome, &*spool) {
        Opening::After(seq) => {
            spool.acknowledge(seq)?;
            Ok(Begun::Carry(Box::new(Carrier {
                session: Session::new(seq, welcome.batches_in_flight_max),
                reader: spool.batches_after(seq),
                subscription: spool.subscribe(),
                waiting: None,
                heartbeat_every: Duration::from_millis(
                    u64::from(welcome.heartbeat_interval_ms).clamp(1_000, 300_000),
                ),
                paused_until: None,
                verdict_due: None,
                leave_by: None,
                asking,
            })))
        }
        Opening::NewEpoch { keep_after, reason } => {
            leave_epoch(&mut spool, keep_after, Seq(welcome.high_water_mark), reason)?;
            Ok(Begun::NewEpoch)
        }
    }
}

/// Takes a new epoch, and counts what is left behind once that is done. `mark` is what the collector has.
fn leave_epoch(
    spool: &mut crate::spool::Spool,
    keep_after: Seq,
    mark: Seq,
    reason: NewEpochReason,
) -> Result<(), StreamError> {
    let (what, events) = match reason {
        NewEpochReason::HistoryGone { .. } => ("history_gone", spool.history_gone_since(mark)),
        NewEpochReason::Rejected { events } => ("rejected", events),
        // The copy counts what is missing.
        NewEpochReason::Cloned | NewEpochReason::SpoolDamaged => ("", 0),
    };
    tracing::warn!(?reason, "leaving the epoch");
    spool.new_epoch(keep_after)?;
    if events > 0 {
        spool.count_drop(what, events);
    }
    Ok(())
}

async fn take_new_epoch(spool: &SharedSpool, acked: Seq, recent: &[v1::BatchMark]) -> End {
    let mut spool = spool.lock().await;
    let keep_after = session::fork_point(recent, &*spool).max(acked);
    tracing::warn!("another agent is live under this agent's id; taking a new epoch");
    match spool.new_epoch(keep_after) {
        Ok(()) => End::NewEpoch,
        Err(error) => End::Lost(error.into()),
    }
}

/// A welcomed stream.
struct Carrier {
    session: Session,
    reader: BatchReader,
    subscription: journal::Subscription,
    /// Read from the spool and not sent, since the window is closed.
    waiting: Option<SealedBatch>,
    heartbeat_every: Duration,
    paused_until: Option<Instant>,
    verdict_due: Option<Instant>,
    /// Nothing more is sent; the stream ends when all is answered, and at this time at the latest.
    leave_by: Option<Instant>,
    asking: Asking,
}

enum Progress {
    Continue,
    End(End),
}

impl Carrier {
    async fn carry(
        mut self,
        spool: &SharedSpool,
        outbox: &mpsc::Sender<v1::AgentMessage>,
        inbound: &mut Streaming<v1::CollectorMessage>,
        status: &watch::Sender<UplinkStatus>,
        mut credential: Credential<'_>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<End, StreamError> {
        send(outbox, Up::Heartbeat(heartbeat(spool).await)).await?;
        let mut heartbeat_due = Instant::now() + self.heartbeat_every;
        loop {
            if self.leave_by.is_some_and(|by| self.session.in_flight() == 0 || Instant::now() >= by) {
                return Ok(End::NewCertificate);
            }
            if self.paused_until.is_none()
                && self.leave_by.is_none()
                && let Progress::End(end) = self.fill_window(spool, outbox).await?
            {
                return Ok(end);
            }
            let wake_at = [Some(heartbeat_due), self.paused_until, self.verdict_due, self.leave_by]
                .into_iter()
                .flatten()
                .min();
            let leaving = self.leave_by.is_some();
            let drained =
                self.waiting.is_none() && self.paused_until.is_none() && self.session.may_send() && !leaving;
            tokio::select! {
                message = inbound.message() => {
                    let message = message?.ok_or(StreamError::Closed)?;
                    if let Progress::End(end) = self.on_message(message, spool, outbox, status).await? {
                        return Ok(end);
                    }
                }
                _ = self.subscription.changed(), if drained => {}
                report = self.asking.report() => send(outbox, Up::ConfigurationReport(report)).await?,
                () = credential.replaced(), if !leaving => self.leave_by = Some(Instant::now() + LEAVE_TIMEOUT),
                () = sleep_until(wake_at.unwrap_or(heartbeat_due)) => {
                    let now = Instant::now();
                    if self.verdict_due.is_some_and(|due| now >= due) {
                        return Err(StreamError::Silent(VERDICT_TIMEOUT));
                    }
                    self.paused_until = self.paused_until.filter(|until| now < *until);
                    if now >= heartbeat_due {
                        send(outbox, Up::Heartbeat(heartbeat(spool).await)).await?;
                        heartbeat_due = now + self.heartbeat_every;
                    }
                }
                () = stopped(shutdown) => return Ok(End::Shutdown),
            }
        }
    }

    /// Sends as much as the window takes.
    async fn fill_window(
        &mut self,
        spool: &SharedSpool,
        outbox: &mpsc::Sender<v1::AgentMessage>,
    ) -> Result<Progress, StreamError> {
        while self.session.may_send() {
            let next = match self.waiting.take() {
                Some(batch) => Some(batch),
                None => self.reader.next_batch().map_err(crate::spool::SpoolError::from)?,
            };
            let Some(batch) = next else { return Ok(Progress::Continue) };
            if batch.seqs.first() != self.session.next_seq() {
                return self.on_hole(spool).await;
            }
            let (seqs, bytes) = (batch.seqs, batch.bytes.len());
            let sealed = v1::SealedBatch {
                first_seq: seqs.first().0,
                last_seq: seqs.last().0,
                batch: batch.bytes,
                crc32c: batch.crc32c,
            };
            send(outbox, Up::Batch(sealed)).await?;
            self.session.sent(seqs, bytes);
            self.verdict_due.get_or_insert_with(|| Instant::now() + VERDICT_TIMEOUT);
        }
        Ok(Progress::Continue)
    }

    /// A damaged record left a hole in the numbers. What was sent before it is waited for, since only then is it known
    /// where the new epoch must begin.
    async fn on_hole(&mut self, spool: &SharedSpool) -> Result<Progress, StreamError> {
        if self.session.in_flight() > 0 {
            let after = Seq(self.session.next_seq().0 - 1);
            self.reader = spool.lock().await.batches_after(after);
            return Ok(Progress::Continue);
        }
        let keep_after = Seq(self.session.next_seq().0 - 1);
        let mut spool = spool.lock().await;
        leave_epoch(&mut spool, keep_after, keep_after, NewEpochReason::SpoolDamaged)?;
        Ok(Progress::End(End::NewEpoch))
    }

    async fn on_message(
        &mut self,
        message: v1::CollectorMessage,
        spool: &SharedSpool,
        outbox: &mpsc::Sender<v1::AgentMessage>,
        status: &watch::Sender<UplinkStatus>,
    ) -> Result<Progress, StreamError> {
        match message.kind {
            Some(Down::Verdict(verdict)) => self.on_verdict(&verdict, spool, status).await,
            Some(Down::Throttle(throttle)) => {
                let decision = self.session.on_throttle();
                self.paused_until =
                    Some(Instant::now() + Duration::from_millis(throttle.retry_after_ms.min(300_000)));
                self.act(decision, spool, status).await
            }
            Some(Down::Goodbye(goodbye)) => {
                Ok(Progress::End(End::Retry(Duration::from_millis(goodbye.retry_after_ms.max(100)))))
            }
            Some(Down::Probe(probe)) => {
                send(outbox, Up::ProbeReply(v1::ProbeReply { nonce: probe.nonce })).await?;
                Ok(Progress::Continue)
            }
            Some(Down::ConfigurationOffer(offer)) => {
                self.asking.offered(offer);
                Ok(Progress::Continue)
            }
            // A second welcome or a kind from a newer collector changes nothing.
            Some(Down::Welcome(_)) | None => Ok(Progress::Continue),
        }
    }

    async fn on_verdict(
        &mut self,
        verdict: &v1::Verdict,
        spool: &SharedSpool,
        status: &watch::Sender<UplinkStatus>,
    ) -> Result<Progress, StreamError> {
        if verdict.outcome() == v1::verdict::Outcome::Rejected {
            tracing::error!(last_seq = verdict.rejected_last_seq, reason = %verdict.reason, "the collector rejected a batch");
        }
        let decision = self.session.on_verdict(verdict, &*spool.lock().await);
        self.act(decision, spool, status).await
    }

    async fn act(
        &mut self,
        decision: Decision,
        spool: &SharedSpool,
        status: &watch::Sender<UplinkStatus>,
    ) -> Result<Progress, StreamError> {
        let mut spool = spool.lock().await;
        match decision {
            Decision::Nothing => {}
            Decision::Acked(seq) => {
                let before = spool.acked_seq();
                spool.acknowledge(seq)?;
                status.send_modify(|s| s.events_acked += seq.0.saturating_sub(before.0));
            }
            Decision::Rewind(seq) => {
                self.waiting = None;
                self.reader = spool.batches_after(seq);
            }
            Decision::NewEpoch { keep_after, reason } => {
                leave_epoch(&mut spool, keep_after, keep_after, reason)?;
                return Ok(Progress::End(End::NewEpoch));
            }
        }
        let busy = self.session.in_flight() > 0;
        self.verdict_due = busy.then(|| Instant::now() + VERDICT_TIMEOUT);
        Ok(Progress::Continue)
    }
}

async fn send(outbox: &mpsc::Sender<v1::AgentMessage>, kind: Up) -> Result<(), StreamError> {
    outbox.send(v1::AgentMessage { kind: Some(kind) }).await.map_err(|_| StreamError::Closed)
}

async fn heartbeat(spool: &SharedSpool) -> v1::Heartbeat {
    let mut spool = spool.lock().await;
    if let Err(error) = spool.save_acked() {
        tracing::warn!(%error, "cannot store how far the collector has acknowledged");
    }
    let stats = spool.journal_stats();
    v1::Heartbeat {
        wall_time_us: spool.wall().0,
        spool_bytes: stats.bytes,
        spool_events: spool.events_queued(),
        oldest_unacked_time_us: spool.oldest_unacked().map_or(0, |time| time.0),
        events_spooled: spool.events_spooled(),
        dropped: spool
            .drops()
            .iter()
            .map(|(reason, events)| v1::Dropped { reason: reason.to_owned(), events })
            .collect(),
        last_seq: spool.last_seq().0,
        memory_bytes: crate::processes::own_usage().map_or(0, |usage| usage.resident_bytes),
    }
}
