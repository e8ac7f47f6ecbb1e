//! Any destination over OTLP: the same log records and spans that the forwarder sends.
//!
//! A row is made the event again that it came from ([`kinds`]) and told by [`otlp::export`], so that what is delivered
//! from the history and what was forwarded when it happened look the same and have the same `muster.item.id`. Runs are log records
//! and spans, sessions that ended too, events and usage log records; the destination's profile and settings say which
//! signals it gets.
//!
//! What the history does not keep is not there: the tool's own id of a run, so that a run's span id differs from the
//! forwarded one where the tool has such ids; the time of the append, so that no observed time is said; the content of OTLP that
//! tools sent. Readings of gauges (`samples`) are no events and are refused.

mod kinds;

use std::sync::Arc;

use history::dataset::DataSet;
use history::row::Rows;
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Clock, WallTime};
use muster::ids::{Seq, StreamKey};
use otlp::Signal;
use otlp::export::{EventFacts, numbered_logs, numbered_spans};

use super::http::Retries;
use super::{Destination, PassedOver, Refusal};
use crate::config;
use crate::forward::ClientError;
use crate::forward::direct::{Direct, NotTaken};

/// Rows of one request.
const ROWS_MAX: usize = 2_000;
/// Rejections that are told one by one.
const REJECTIONS_TOLD_MAX: usize = 5;

/// Why there can be no delivery.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// Of gauges.
    #[error(
        "samples are readings and no events, and cannot be sent over OTLP: use --format influx or datadog"
    )]
    Samples,
    /// It takes nothing of this.
    #[error("destination {0:?} takes neither logs nor traces")]
    Signals(String),
    /// Its credential, certificates or address.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A delivery over OTLP.
pub struct Otlp {
    direct: Direct,
    gathered: Vec<Gathered>,
    rows: usize,
    rejected: u64,
    rejections: Vec<String>,
}

/// Events of one agent.
struct Gathered {
    key: StreamKey,
    batch: BatchBuilder,
    seqs: Vec<Seq>,
}

impl Otlp {
    /// Reads the destination's files; connects to nothing yet.
    pub fn new(
        data_set: DataSet,
        destination: config::destination::Destination,
        retries: Retries,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OtlpError> {
        if data_set == DataSet::Samples {
            return Err(OtlpError::Samples);
        }
        if !destination.wants(Signal::Logs) && !destination.wants(Signal::Traces) {
            return Err(OtlpError::Signals(destination.name));
        }
        let direct = Direct::new(destination, clock, retries.give_up_after)?;
        Ok(Self { direct, gathered: Vec::new(), rows: 0, rejected: 0, rejections: Vec::new() })
    }

    async fn send_gathered(&mut self, gathered: &Gathered) -> Result<(), Refusal> {
        let Gathered { key, batch, seqs } = gathered;
        let filter = self.direct.destination().filter.clone();
        let wanted = |facts: &EventFacts<'_>| filter.wants_event(facts);
        for signal in [Signal::Logs, Signal::Traces] {
            if !self.direct.destination().wants(signal) {
                continue;
            }
            let exported = match signal {
                Signal::Logs => numbered_logs(key, WallTime(0), batch.as_batch(), seqs, wanted),
                _ => numbered_spans(key, batch.as_batch(), seqs, wanted),
            };
            if exported.items == 0 {
                continue;
            }
            let sent = self.direct.send(signal, &exported.request, key.team.as_str()).await?;
            for (items, why) in sent.rejected {
                self.rejected += items;
                if self.rejections.len() < REJECTIONS_TOLD_MAX && !self.rejections.contains(&why) {
                    self.rejections.push(why);
                }
            }
        }
        Ok(())
    }
}

impl Destination for Otlp {
    fn describe(&self) -> String {
        let destination = self.direct.destination();
        format!("{} at {}", destination.profile.title, destination.base_url)
    }

    fn is_due_before(&self, _rows: &Rows<'_>, _row: usize) -> bool {
        self.rows >= ROWS_MAX
    }

    fn take(&mut self, rows: &Rows<'_>, row: usize) -> Result<(), PassedOver> {
        let (key, seq) = stream_of(rows, row)?;
        let time = u64::try_from(rows.time_us(row)).map_err(|_| PassedOver("their time is before 1970"))?;
        let source = source_of(rows, row);
        let weight = rows.named("weight", row).integer().and_then(|weight| u32::try_from(weight).ok());
        let mut place = self.gathered.iter().rposition(|gathered| gathered.key == key);
        let index = place.and_then(|place| self.gathered[place].batch.source(&source));
        let index = match index {
            Some(index) => index,
            None => {
                // A new agent, or one whose batch has all the sources that it may have.
                self.gathered.push(Gathered { key, batch: BatchBuilder::new(), seqs: Vec::new() });
                place = Some(self.gathered.len() - 1);
                let last = &mut self.gathered[place.unwrap_or_default()];
                last.batch.source(&source).ok_or(PassedOver("they have no source"))?
            }
        };
        let Some(gathered) = place.map(|place| &mut self.gathered[place]) else { return Ok(()) };
        let kind = kinds::of_row(rows, row, &mut gathered.batch)?;
        gathered.batch.push_weighted(WallTime(time), index, weight.unwrap_or(1), kind);
        gathered.seqs.push(seq);
        self.rows += 1;
        Ok(())
    }

    fn pass_over(&mut self, _rows: &Rows<'_>, _row: usize) {}

    async fn send(&mut self) -> Result<(), Refusal> {
        self.rows = 0;
        for gathered in std::mem::take(&mut self.gathered) {
            self.send_gathered(&gathered).await?;
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        if self.rejected == 0 {
            return Vec::new();
        }
        vec![format!("{} items were not taken: {}", self.rejected, self.rejections.join("; "))]
    }
}

impl From<NotTaken> for Refusal {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Away { why, attempts, seconds } => Refusal::Away { why, attempts, seconds },
            NotTaken::Refused { why } => Refusal::Refused { why },
        }
    }
}

fn stream_of(rows: &Rows<'_>, row: usize) -> Result<(StreamKey, Seq), PassedOver> {
    const NO_AGENT: PassedOver =
        PassedOver("they came over OTLP, and the history does not keep what is in them");
    let key = rows.key(row);
    let (Some(agent), Some(epoch), Some(seq)) = (key.agent_id, key.epoch, key.seq) else {
        return Err(NO_AGENT);
    };
    let epoch = u64::from_str_radix(&epoch, 16).ok().and_then(|epoch| epoch.try_into().ok());
    let (Ok(team), Ok(agent), Some(epoch)) = (key.team.parse(), agent.parse(), epoch) else {
        return Err(PassedOver("their agent has no name as agents have"));
    };
    let seq = u64::try_from(seq).map_err(|_| PassedOver("their number is below 0"))?;
    Ok((StreamKey { team, agent, epoch }, Seq(seq)))
}

fn source_of(rows: &Rows<'_>, row: usize) -> SourceIdentity {
    let text = |name| rows.named(name, row).text().unwrap_or_default().to_owned();
    SourceIdentity {
        tool: text("tool"),
        project: text("project"),
        user: text("user"),
        host: text("host"),
        os: text("os"),
        repository: text("repository"),
        branch: text("branch"),
        tool_version: text("tool_version"),
    }
}
