//! Sends requests to a destination one after the other, each until it is taken or refused: for who waits for the end.
//!
//! The rules are the forwarder's: what the destination's profile wants of a payload, its limits, what its answers mean and how
//! long to wait. Nothing is queued or kept: a request that is not taken in time is an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use muster::clock::{Clock, WallTime};
use otlp::Signal;
use otlp::adapt::Adapter;
use otlp::wire::{self, Stamp};

use super::answer::Verdict;
use super::client::{Client, ClientError};
use super::cut::halves;
use super::encode::Outgoing;
use super::prepare::TEAM_ATTRIBUTE;
use super::retry::wait;
use crate::config::destination::Destination;

/// A destination that is sent to directly.
#[derive(Debug)]
pub(crate) struct Direct {
    client: Client,
    destination: Arc<Destination>,
    adapter: Adapter,
    attributes: Stamp,
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    give_up_after: Duration,
}

/// What became of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    /// Items that were taken.
    pub(crate) items: u64,
    /// Items that the profile or the destination itself does not take, with why.
    pub(crate) rejected: Vec<(u64, String)>,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It was tried again and again.
    Away { why: String, attempts: u32, seconds: u64 },
    /// It never will be.
    Refused { why: String },
}

impl Direct {
    /// Reads the destination's files; connects to nothing yet.
    pub(crate) fn new(
        destination: Destination,
        clock: Arc<dyn Clock>,
        give_up_after: Duration,
    ) -> Result<Self, ClientError> {
        let mut attributes = Stamp::new();
        for (key, value) in &destination.resource_attributes {
            attributes.set(key, value);
        }
        Ok(Self {
            client: Client::new(&destination, None, clock.clone())?,
            adapter: Adapter::new(destination.profile.0.into()),
            destination: Arc::new(destination),
            attributes,
            random: fastrand::Rng::with_seed(clock.wall().0),
            clock,
            give_up_after,
        })
    }

    /// Where it sends to.
    pub(crate) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Sends a request of a team, in as many parts as the destination wants.
    pub(crate) async fn send(
        &mut self,
        signal: Signal,
        request: &Bytes,
        team: &str,
    ) -> Result<Sent, NotTaken> {
        let mut sent = Sent::default();
        let (items, request) = self.prepare(signal, request, team, &mut sent)?;
        if items == 0 {
            return Ok(sent);
        }
        let limit = self.destination.profile.limits.of(signal);
        let encoded = self.destination.encoding().encode(signal, items, request, &limit);
        sent.rejected.extend(encoded.unfit.into_iter().map(|unfit| (unfit.items, unfit.why)));
        let mut waiting: Vec<_> = encoded.fit.into_iter().rev().collect();
        while let Some(outgoing) = waiting.pop() {
            match self.send_one(&outgoing).await? {
                Verdict::Delivered { rejected, message } => {
                    sent.items += outgoing.items.saturating_sub(rejected);
                    if rejected > 0 {
                        sent.rejected.push((rejected, message));
                    }
                }
                Verdict::TooLarge { why } => {
                    let Some(parts) = halves(signal, outgoing.items, &outgoing.request) else {
                        sent.rejected.push((outgoing.items, why));
                        continue;
                    };
                    for (request, items) in parts.into_iter().rev() {
                        let written = self.destination.encoding().write(signal, items, request);
                        waiting.push(written.map_err(|why| NotTaken::Refused { why })?);
                    }
                }
                Verdict::Retry { why, .. } | Verdict::Refused { why } | Verdict::Permanent { why } => {
                    return Err(NotTaken::Refused { why });
                }
            }
        }
        Ok(sent)
    }

    /// Stamped and adapted to the destination.
    fn prepare(
        &mut self,
        signal: Signal,
        request: &Bytes,
        team: &str,
        sent: &mut Sent,
    ) -> Result<(u64, Bytes), NotTaken> {
        let mut stamp = self.attributes.clone();
        stamp.set(TEAM_ATTRIBUTE, team);
        let mut stamped = BytesMut::with_capacity(request.len() + request.len() / 16);
        let tally = wire::stamp(signal, request, &stamp, &mut stamped)
            .map_err(|error| NotTaken::Refused { why: error.to_string() })?;
        if self.adapter.is_identity(signal) {
            return Ok((tally.items, stamped.freeze()));
        }
        let now: WallTime = self.clock.wall();
        let adapted = self.adapter.adapt(signal, &stamped.freeze(), now);
        let dropped = adapted.dropped.iter().map(|(reason, items)| (*items, reason.name().to_owned()));
        sent.rejected.extend(dropped);
        Ok((adapted.items, adapted.bytes))
    }

    /// Until it is taken, refused or given up. Never a [`Verdict::Retry`].
    async fn send_one(&mut self, outgoing: &Outgoing) -> Result<Verdict, NotTaken> {
        let began = self.clock.monotonic();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (after, why) = match self.client.send(outgoing).await {
                Verdict::Retry { after, why } => (after, why),
                verdict => return Ok(verdict),
            };
            let wait = wait(attempts, after, &mut self.random);
            let waited = self.clock.monotonic().0.saturating_sub(began.0);
            if waited + wait > self.give_up_after {
                return Err(NotTaken::Away { why, attempts, seconds: waited.as_secs() });
            }
            tokio::time::sleep(wait).await;
        }
    }
}
