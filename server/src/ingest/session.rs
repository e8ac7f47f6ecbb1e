//! A welcomed stream: batches up, verdicts down, until either side ends it.

use std::sync::Arc;
use std::time::Duration;

use journal::AppendError;
use journal::stream::{Outcome, StreamError};
use muster::ids::StreamKey;
use muster::limits::HEARTBEAT_INTERVAL_MS;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome as Word;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status, Streaming};

use super::Shared;
use super::configuration::{self, Configuration};
use super::hello::fenced;
use super::in_flight::{Answer, Fate, InFlight, Taken};
use super::judge::{Judgement, judge};
use super::registry::{Claim, Command};
use crate::credentials::Caller;
use crate::figures::{BatchOutcome, StreamEnd};
use crate::quota::Wanted;

/// An agent that says nothing for four heartbeats has gone.
const SILENCE_MAX: Duration = Duration::from_millis(4 * HEARTBEAT_INTERVAL_MS as u64);
/// An agent that does not read for so long has gone; its connection's keepalive says the same.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// What is in flight has this long when the collector stops (the whole stop has 10 s).
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);
/// A full queue empties with the next syncs.
const FULL_RETRY: Duration = Duration::from_millis(200);
/// A full disk needs somebody, or a retention run.
const DISK_FULL_RETRY: Duration = Duration::from_secs(5);
/// When there are too many streams: agents go when developers do.
pub(super) const ADMISSION_RETRY: Duration = Duration::from_secs(30);
/// Agents of a collector that stops come back over this span, so that they do not come together.
const STOP_RETRY: Duration = Duration::from_secs(2);

/// The stream's way down.
#[derive(Debug, Clone)]
pub(super) struct Outbox(pub(super) mpsc::Sender<Result<super::ToAgent, Status>>);

/// Why nothing can be said any more.
#[derive(Debug)]
pub(super) enum Gone {
    /// The peer has gone.
    Closed,
    /// The peer does not read.
    NotReading,
}

pub(super) struct Session {
    shared: Arc<Shared>,
    caller: Caller,
    key: StreamKey,
    claim: Claim,
    inbound: Streaming<v1::AgentMessage>,
    outbox: Outbox,
    in_flight: InFlight,
    /// Raised whenever the agent was told to go back: what was taken before is not answered any more.
    round: u64,
    /// Set after the agent was told to go back: batches that begin later are dropped until it has.
    resume_at: Option<u64>,
    /// Who waits for an answer to a probe.
    probes: Vec<oneshot::Sender<()>>,
    nonce: u64,
    silent_at: Instant,
    /// `None`: the agent takes none.
    configuration: Option<Configuration>,
}

/// Whether the session goes on.
type Flow = Result<(), End>;

/// Why a session ends.
enum End {
    /// The agent ended it, or has gone.
    Peer,
    /// We end it, with this status.
    Us(StreamEnd, Status),
    /// We end it without an error: the last message said all.
    Said(StreamEnd),
    /// The collector stops.
    Stop,
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Closed => End::Peer,
            Gone::NotReading => End::Said(StreamEnd::NotReading),
        }
    }
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        key: StreamKey,
        claim: Claim,
        inbound: Streaming<v1::AgentMessage>,
        outbox: Outbox,
        configuration: Option<Configuration>,
    ) -> Self {
        Self {
            shared,
            caller,
            key,
            claim,
            inbound,
            outbox,
            in_flight: InFlight::default(),
            round: 0,
            resume_at: None,
            probes: Vec::new(),
            nonce: 0,
            silent_at: Instant::now() + SILENCE_MAX,
            configuration,
        }
    }

    /// Runs to the end; whether the agent's key was still this stream's then. Boxed, since a future has its arguments twice.
    pub(super) async fn run(mut self: Box<Self>) -> bool {
        match self.carry().await {
            Ok(()) | Err(End::Peer) => {}
            Err(End::Us(end, status)) => self.outbox.end(&self.shared, end, status).await,
            Err(End::Said(end)) => self.shared.figures.streams_ended.add(end, 1),
            Err(End::Stop) => self.say_goodbye().await,
        }
        self.claim.is_current()
    }

    async fn carry(&mut self) -> Flow {
        let shared = self.shared.clone();
        let mut stop = shared.stop.clone();
        let mut credentials = shared.credentials.changes();
        // A change between the credential's check and this line woke nobody.
        self.check_credential()?;
        self.offer().await?;
        loop {
            // The window is the agent's: what is beyond it stays in the connection's buffers.
            let may_read = self.in_flight.has_room();
            tokio::select! {
                (taken, fate) = self.in_flight.next() => self.answer(taken, fate).await?,
                message = self.inbound.message(), if may_read => self.on_message(message).await?,
                command = self.claim.commands.recv() => self.on_command(command).await?,
                changed = credentials.changed() => {
                    if changed.is_ok() {
                        self.check_credential()?;
                    }
                }
                () = configuration::changed(&mut self.configuration) => self.offer().await?,
                () = crate::stop::stopped(&mut stop) => return Err(End::Stop),
                () = self.outbox.closed() => return Err(End::Peer),
                () = sleep_until(self.silent_at) => {
                    return Err(End::Us(StreamEnd::Silent, Status::deadline_exceeded("nothing heard for 60 s")));
                }
            }
        }
    }

    fn check_credential(&self) -> Flow {
        if self.shared.credentials.is_valid(&self.caller) {
            return Ok(());
        }
        let status = Status::unauthenticated(crate::credentials::NotAccepted.to_string());
        Err(End::Us(StreamEnd::Revoked, status))
    }

    async fn on_message(&mut self, message: Result<Option<v1::AgentMessage>, Status>) -> Flow {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Err(End::Peer),
            Err(status) if status.code() == Code::Cancelled => return Err(End::Peer),
            Err(status) => {
                let (end, status) = restate(status);
                return Err(End::Us(end, status));
            }
        };
        self.silent_at = Instant::now() + SILENCE_MAX;
        match message.kind {
            Some(Up::Batch(batch)) => self.take(batch),
            Some(Up::Heartbeat(heartbeat)) => {
                self.shared.view.heard.note(&self.key.team, self.key.agent);
                self.shared.view.fleet.heartbeat(&self.key, &heartbeat, self.shared.clock.wall());
                Ok(())
            }
            Some(Up::ProbeReply(reply)) => {
                if reply.nonce == self.nonce {
                    for waiter in self.probes.drain(..) {
                        // A newcomer that has gone needs no answer.
                        let _ = waiter.send(());
                    }
                }
                Ok(())
            }
            Some(Up::Goodbye(_)) => Err(End::Peer),
            Some(Up::Hello(_)) => {
                Err(End::Us(StreamEnd::Protocol, Status::invalid_argument("a second Hello on one stream")))
            }
            Some(Up::ConfigurationReport(report)) => {
                // Who takes none was offered none, and has nothing to say about it.
                if let Some(configuration) = &self.configuration {
                    configuration.take(&self.shared, &self.key, &report);
                }
                Ok(())
            }
            // A kind from a newer agent.
            None => Ok(()),
        }
    }

    /// Sends the agent its configuration, if it was not the last that was sent.
    async fn offer(&mut self) -> Flow {
        let Some(offer) = self.configuration.as_mut().and_then(Configuration::due) else { return Ok(()) };
        self.shared.figures.configurations_offered.add(1);
        self.shared.view.fleet.offered(&self.key, &offer);
        Ok(self.outbox.send(Down::ConfigurationOffer(offer.message())).await?)
    }

    /// Judges a batch and hands it to the log.
    fn take(&mut self, batch: v1::SealedBatch) -> Flow {
        if !self.claim.is_current() {
            return Err(self.replaced());
        }
        if let Some(resume_at) = self.resume_at {
            if batch.first_seq > resume_at {
                self.shared.figures.batches.add(BatchOutcome::Discarded, 1);
                return Ok(());
            }
            self.resume_at = None;
        }
        let (first_seq, last_seq, bytes) = (batch.first_seq, batch.last_seq, batch.batch.len());
        let answer = match judge(batch) {
            Judgement::Good(sealed) => {
                let (first, last) = (sealed.seqs.first().0, sealed.seqs.last().0);
                let wanted = Wanted { bytes: bytes as u64, events: last - first + 1, streams: 0 };
                match self.shared.quotas.take(&self.key.team, Some(self.key.agent), wanted) {
                    Ok(()) => match self.shared.log.append(&self.key, sealed) {
                        Ok(appending) => Answer::Log(appending),
                        Err(error) => Answer::Refused(error),
                    },
                    Err(used_up) => {
                        // What is behind it comes again with it, so it is not looked at.
                        self.resume_at = Some(first_seq);
                        Answer::Limited(used_up)
                    }
                }
            }
            Judgement::Damaged => self.on_damage(last_seq)?,
            Judgement::Never(reason) => Answer::Rejected(reason),
        };
        let arrived = self.shared.clock.monotonic();
        self.in_flight.push(Taken { first_seq, last_seq, bytes, arrived, round: self.round, answer });
        Ok(())
    }

    /// The way damages bytes once; a spool that is damaged sends the same again, and would for ever.
    fn on_damage(&self, last_seq: u64) -> Result<Answer, End> {
        let reason = "checksum does not match the batch's bytes";
        if self.shared.registry.is_second_damage(&self.key, last_seq) {
            return Ok(Answer::Rejected(reason.to_owned()));
        }
        tracing::warn!(team = %self.key.team, agent = %self.key.agent, last_seq, reason);
        Err(End::Us(StreamEnd::Protocol, Status::data_loss(reason)))
    }

    async fn answer(&mut self, taken: Taken, fate: Fate) -> Flow {
        let figures = &self.shared.figures;
        match fate {
            Fate::Outcome(Outcome::Appended { durable }) => {
                figures.batches.add(BatchOutcome::Appended, 1);
                figures.events_accepted.add(taken.events());
                figures.bytes_accepted.add(taken.bytes as u64);
                figures.record_ack(self.shared.clock.monotonic().0.saturating_sub(taken.arrived.0));
                self.say(Word::Appended, durable.0).await
            }
            Fate::Outcome(Outcome::Duplicate { durable }) => {
                figures.batches.add(BatchOutcome::Duplicate, 1);
                self.say(Word::Duplicate, durable.0).await
            }
            // The agent was told to go back after it had sent this one.
            _ if taken.round < self.round => {
                figures.batches.add(BatchOutcome::Discarded, 1);
                Ok(())
            }
            Fate::Outcome(Outcome::Gap { .. }) => {
                figures.batches.add(BatchOutcome::Gap, 1);
                let durable = self.shared.log.high_water_mark(&self.key).durable;
                self.go_back_to(durable.next().0);
                self.say(Word::Gap, durable.0).await
            }
            Fate::Outcome(Outcome::Fenced) => {
                figures.batches.add(BatchOutcome::Fenced, 1);
                let mark = self.shared.log.high_water_mark(&self.key);
                self.outbox.send(Down::Verdict(fenced(mark))).await?;
                Err(End::Said(StreamEnd::Fenced))
            }
            Fate::Rejected(reason) => self.reject(&taken, reason).await,
            Fate::Refused(error) => self.refuse(&taken, error).await,
            Fate::Limited(used_up) => self.throttle(&taken, used_up.retry_after, used_up.to_string()).await,
        }
    }

    async fn refuse(&mut self, taken: &Taken, error: StreamError) -> Flow {
        let retry = match error {
            StreamError::Append(AppendError::Full) => FULL_RETRY,
            StreamError::Append(AppendError::DiskFull) => DISK_FULL_RETRY,
            StreamError::Append(error @ (AppendError::TooLarge { .. } | AppendError::Empty)) => {
                return self.reject(taken, error.to_string()).await;
            }
            StreamError::TooManyStreams(_) => {
                return Err(End::Us(StreamEnd::StreamsMax, Status::resource_exhausted(error.to_string())));
            }
            StreamError::Append(error) => {
                self.shared.figures.batches.add(BatchOutcome::Unavailable, 1);
                super::tell_poisoned(&self.shared.poisoned, &error);
                let status = Status::unavailable("the journal cannot be written; come back later");
                return Err(End::Us(StreamEnd::Unavailable, status));
            }
        };
        self.throttle(taken, retry, error.to_string()).await
    }

    /// The agent sends this batch and those behind it again, later.
    async fn throttle(&mut self, taken: &Taken, retry: Duration, reason: String) -> Flow {
        self.shared.figures.batches.add(BatchOutcome::Throttled, 1);
        self.go_back_to(taken.first_seq);
        let throttle = v1::Throttle { retry_after_ms: spread(retry), reason };
        Ok(self.outbox.send(Down::Throttle(throttle)).await?)
    }

    async fn reject(&mut self, taken: &Taken, reason: String) -> Flow {
        tracing::warn!(team = %self.key.team, agent = %self.key.agent, last_seq = taken.last_seq, reason, "batch rejected");
        self.shared.figures.batches.add(BatchOutcome::Rejected, 1);
        let verdict = v1::Verdict {
            outcome: Word::Rejected.into(),
            durable_seq: self.shared.log.high_water_mark(&self.key).durable.0,
            rejected_last_seq: taken.last_seq,
            reason,
            ..Default::default()
        };
        Ok(self.outbox.send(Down::Verdict(verdict)).await?)
    }

    fn go_back_to(&mut self, first_seq: u64) {
        self.round += 1;
        self.resume_at = Some(first_seq);
    }

    async fn say(&self, outcome: Word, durable_seq: u64) -> Flow {
        let verdict = v1::Verdict { outcome: outcome.into(), durable_seq, ..Default::default() };
        Ok(self.outbox.send(Down::Verdict(verdict)).await?)
    }

    async fn on_command(&mut self, command: Option<Command>) -> Flow {
        match command {
            Some(Command::Probe(answer)) => {
                if self.probes.is_empty() {
                    self.nonce = random();
                }
                self.probes.push(answer);
                Ok(self.outbox.send(Down::Probe(v1::Probe { nonce: self.nonce })).await?)
            }
            Some(Command::Replace) | None => Err(self.replaced()),
        }
    }

    fn replaced(&self) -> End {
        End::Us(StreamEnd::Replaced, Status::aborted("the agent has another stream"))
    }

    /// Answers what is in flight, then tells when to come back.
    async fn say_goodbye(&mut self) {
        let drain = async {
            while !self.in_flight.is_empty() {
                let (taken, fate) = self.in_flight.next().await;
                if self.answer(taken, fate).await.is_err() {
                    break;
                }
            }
        };
        // What is not answered in time is known at the next start by its mark.
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
        let goodbye =
            v1::Goodbye { retry_after_ms: spread(STOP_RETRY), reason: "collector stops".to_owned() };
        let _ = self.outbox.send(Down::Goodbye(goodbye)).await;
    }
}

impl Outbox {
    pub(super) async fn send(&self, kind: Down) -> Result<(), Gone> {
        let message = Ok(Box::new(v1::CollectorMessage { kind: Some(kind) }));
        match self.0.send_timeout(message, SEND_TIMEOUT).await {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Closed(_)) => Err(Gone::Closed),
            Err(SendTimeoutError::Timeout(_)) => Err(Gone::NotReading),
        }
    }

    /// Ends the stream with a status.
    pub(super) async fn end(&self, shared: &Shared, end: StreamEnd, status: Status) {
        shared.figures.streams_ended.add(end, 1);
        // A peer that has gone or does not read needs none.
        let _ = self.0.send_timeout(Err(status), SEND_TIMEOUT).await;
    }

    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// tonic says OUT_OF_RANGE to a message over the limit, which the OTLP rules call retryable; it never gets smaller
/// (contracts/otlp.md section 5.4).
pub(super) fn restate(status: Status) -> (StreamEnd, Status) {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            (StreamEnd::Oversize, Status::resource_exhausted("message is larger than the limit"))
        }
        Code::Internal | Code::InvalidArgument => {
            (StreamEnd::Protocol, Status::invalid_argument("message cannot be read"))
        }
        _ => (StreamEnd::Protocol, status),
    }
}

/// A time of at least `least` and at most twice as long, in milliseconds, so that agents do not come back together.
pub(crate) fn spread(least: Duration) -> u64 {
    let least_ms = least.as_millis() as u64;
    least_ms + random() % (least_ms + 1)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without the system's randomness probes and delays are guessable, which harms nobody.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
