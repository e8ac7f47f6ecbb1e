//! A stream's beginning: hello, claim, welcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use journal::stream::Mark;
use muster::ids::{AgentId, Epoch, Instance, StreamKey};
use muster::limits::{
    BATCH_BYTES_MAX, BATCHES_IN_FLIGHT_MAX, HEARTBEAT_INTERVAL_MS, PROTOCOL_VERSION, RECENT_BATCHES_MAX,
};
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use opentelemetry::KeyValue;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::Shared;
use super::admission::{Full, Place};
use super::configuration::Configuration;
use super::session::{self, Outbox, Session};
use crate::audit::{Entry, What, Who};
use crate::credentials::Caller;
use crate::figures::{BatchOutcome, StreamEnd};
use crate::quota::{UsedUp, Wanted};
use crate::telemetry;

/// From the request to its first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a stream from its hello to its end.
pub(super) async fn begin(
    shared: Arc<Shared>,
    caller: Caller,
    peer: SocketAddr,
    place: &mut Place,
    mut inbound: Streaming<v1::AgentMessage>,
    outbox: mpsc::Sender<Result<super::ToAgent, Status>>,
) {
    let outbox = Outbox(outbox);
    let first = tokio::select! {
        first = timeout(HELLO_TIMEOUT, inbound.message()) => first,
        () = outbox.closed() => return,
    };
    let hello = match first {
        Ok(Ok(Some(v1::AgentMessage { kind: Some(Up::Hello(hello)) }))) => hello,
        Ok(Ok(None)) => return,
        Ok(Ok(Some(_))) => {
            let status = Status::invalid_argument("the first message of a stream must be a Hello");
            return outbox.end(&shared, StreamEnd::Protocol, status).await;
        }
        Ok(Err(status)) => {
            let (end, status) = session::restate(status);
            return outbox.end(&shared, end, status).await;
        }
        Err(_) => {
            let status = Status::deadline_exceeded("no Hello within 10 s");
            return outbox.end(&shared, StreamEnd::HelloTimeout, status).await;
        }
    };
    let key = match key_of(&caller, &hello) {
        Ok(key) => key,
        Err(problem) => {
            return outbox.end(&shared, StreamEnd::Protocol, Status::invalid_argument(problem)).await;
        }
    };
    if let Err(impostor) = identify(&shared, &caller, &key) {
        return refuse(&shared, &caller, &key, peer, impostor, &outbox).await;
    }
    if let Err((end, retry_after, reason)) = admit(&shared, &key, place) {
        let goodbye = v1::Goodbye { retry_after_ms: session::spread(retry_after), reason: reason.clone() };
        // A peer that has gone learns it when it comes back.
        let _ = outbox.send(Down::Goodbye(goodbye)).await;
        return outbox.end(&shared, end, Status::resource_exhausted(reason)).await;
    }
    let instance = Instance(hello.instance);
    let Ok(claim) = shared.registry.claim(&key, instance).await else {
        return fence(&shared, &key, peer, &outbox).await;
    };
    tracing::info!(team = %key.team, agent = %key.agent, epoch = %key.epoch, %peer, host = hello.host, "agent connected");
    let _span = telemetry::span(
        "agent stream",
        vec![
            KeyValue::new("muster.team", key.team.to_string()),
            KeyValue::new("muster.agent", key.agent.to_string()),
        ],
    );
    let mark = shared.log.high_water_mark(&key);
    let missing = hello.first_seq.saturating_sub(mark.durable.0.saturating_add(1));
    if missing > 0 {
        shared.figures.events_missing.add(missing);
        tracing::warn!(team = %key.team, agent = %key.agent, from = mark.durable.0 + 1, events = missing,
            "the agent no longer has events that were never durable here");
    }
    if outbox.send(Down::Welcome(welcome(&key, mark))).await.is_err() {
        return;
    }
    shared.view.fleet.connected(&key, peer, &hello, shared.clock.wall());
    let configuration = Configuration::of(&shared, &key, peer.ip(), &hello);
    // Not kept for as long as the stream lasts.
    drop(hello);
    let session = Session::new(shared.clone(), caller, key.clone(), claim, inbound, outbox, configuration);
    let is_current = Box::new(session).run().await;
    shared.view.fleet.disconnected(&key, instance, shared.clock.wall(), is_current);
    tracing::info!(team = %key.team, agent = %key.agent, %peer, "agent disconnected");
}

/// Whether the agent may have one more stream now; else why not and when to come back.
fn admit(shared: &Shared, key: &StreamKey, place: &mut Place) -> Result<(), (StreamEnd, Duration, String)> {
    let full = |full: Full| (full.end(), session::ADMISSION_RETRY, full.to_string());
    place.take_agents(key.agent).map_err(full)?;
    let stream = Wanted { streams: 1, ..Wanted::default() };
    let used_up = |used_up: UsedUp| (StreamEnd::AgentQuota, used_up.retry_after, used_up.to_string());
    shared.quotas.take_agent(&key.team, key.agent, stream).map_err(used_up)
}

fn key_of(caller: &Caller, hello: &v1::Hello) -> Result<StreamKey, String> {
    if hello.protocol_version == 0 {
        return Err("protocol version 0 is not valid".to_owned());
    }
    let agent = AgentId::try_from(&hello.agent_id[..]).map_err(|error| error.to_string())?;
    let epoch = Epoch::try_from(hello.epoch).map_err(|error| error.to_string())?;
    Ok(StreamKey { team: caller.team.clone(), agent, epoch })
}

/// Why a hello is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Impostor {
    /// Its certificate is another agent's.
    #[error("the certificate is of another agent")]
    OfAnother,
    /// It shows no certificate, and the agent has one.
    #[error(
        "an agent of this id has enrolled, and speaks by its certificate alone; start with an empty state directory, or enrol \
         this one"
    )]
    Enrolled,
}

/// Whether the caller may speak for the agent of `key`. Who shows no certificate may speak for every agent of its team that
/// has none: a team's token says nothing of the machine.
fn identify(shared: &Shared, caller: &Caller, key: &StreamKey) -> Result<(), Impostor> {
    match caller.agent {
        Some(agent) if agent != key.agent => Err(Impostor::OfAnother),
        None if shared.credentials.is_enrolled(&key.team, key.agent) => Err(Impostor::Enrolled),
        _ => Ok(()),
    }
}

async fn refuse(
    shared: &Shared,
    caller: &Caller,
    key: &StreamKey,
    peer: SocketAddr,
    impostor: Impostor,
    outbox: &Outbox,
) {
    tracing::warn!(team = %key.team, agent = ?caller.agent, said = %key.agent, %peer, reason = %impostor,
        "an agent says that it is one that it is not");
    if let Some(audit) = shared.credentials.audit() {
        let entry = Entry::new(What::IdentityRefused, Who::Peer(peer.ip())).team(&key.team);
        let entry = caller.agent.into_iter().fold(entry, Entry::agent);
        let entry = caller.token.iter().fold(entry, Entry::token);
        let reason = match impostor {
            Impostor::OfAnother => "the hello named another agent",
            Impostor::Enrolled => "the hello named an agent that has enrolled, without its certificate",
        };
        audit.record_often(entry.refused(reason).with("said", key.agent.to_string()));
    }
    let status = Status::permission_denied(impostor.to_string());
    outbox.end(shared, StreamEnd::Identity, status).await;
}

/// A second live process under one identity: it takes a new epoch, and sends in it what is not known here.
async fn fence(shared: &Shared, key: &StreamKey, peer: SocketAddr, outbox: &Outbox) {
    tracing::warn!(team = %key.team, agent = %key.agent, %peer,
        "two live agents have the same identity (a cloned state directory?); the newcomer takes a new epoch");
    shared.figures.streams_ended.add(StreamEnd::Fenced, 1);
    shared.figures.batches.add(BatchOutcome::Fenced, 1);
    // A peer that has gone learns it when it comes back.
    let _ = outbox.send(Down::Verdict(fenced(shared.log.high_water_mark(key)))).await;
}

pub(super) fn fenced(mark: Mark) -> v1::Verdict {
    v1::Verdict {
        outcome: v1::verdict::Outcome::Fenced.into(),
        durable_seq: mark.durable.0,
        recent: marks(&mark),
        ..Default::default()
    }
}

fn welcome(key: &StreamKey, mark: Mark) -> v1::Welcome {
    v1::Welcome {
        protocol_version: PROTOCOL_VERSION,
        high_water_mark: mark.durable.0,
        recent: marks(&mark),
        batch_bytes_max: BATCH_BYTES_MAX as u64,
        batches_in_flight_max: BATCHES_IN_FLIGHT_MAX,
        heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
        team: key.team.as_str().to_owned(),
        collector_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn marks(mark: &Mark) -> Vec<v1::BatchMark> {
    let newest = mark.recent.len().saturating_sub(RECENT_BATCHES_MAX);
    mark.recent[newest..].iter().map(|&(last, crc32c)| v1::BatchMark { last_seq: last.0, crc32c }).collect()
}
