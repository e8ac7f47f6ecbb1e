//! A payload into the journal.

use std::time::Duration;

use journal::AppendError;
use journal::stream::OtlpPart;
use muster::ids::Team;
use muster::limits::BATCH_BYTES_MAX;
use otlp::Signal;
use otlp::receive::{Accepted, Payload, Refusal};
use otlp::wire::{self, Part, Split};

use super::{Shared, later};
use crate::figures::OtlpRejection;
use crate::ingest::tell_poisoned;

/// Parts that are appended together: half of what may wait for the journal's disk.
pub const GROUP_BYTES_MAX: usize = 16 << 20;
/// A full queue empties with the next syncs.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// A full disk needs somebody, or a retention run.
const DISK_FULL_RETRY: Duration = Duration::from_secs(5);
/// A poisoned journal is opened anew by whoever supervises us.
const POISONED_RETRY: Duration = Duration::from_secs(2);
/// How often a group that has others before it in the journal is offered to a full queue, and how long between.
const GROUP_OFFERS_MAX: u32 = 100;
const GROUP_OFFER_INTERVAL: Duration = Duration::from_millis(50);

/// Comes true when all of it is durable.
pub(super) async fn store(shared: &Shared, team: &Team, payload: Payload) -> Result<Accepted, Refusal> {
    let signal = payload.signal;
    // The parts of a payload that is cut are copies.
    let must_cut = payload.request.len() > BATCH_BYTES_MAX;
    let _room = must_cut.then(|| shared.budget.reserve(payload.request.len())).transpose()?;
    let Split { parts, oversize } = if must_cut { cut(payload).await? } else { whole(payload) };
    let (mut items, mut bytes) = (0, 0);
    for (place, group) in groups(parts).into_iter().enumerate() {
        items += group.iter().map(|part| part.items).sum::<u64>();
        bytes += group.iter().map(|part| part.bytes.len() as u64).sum::<u64>();
        append(shared, team, signal, group, place == 0).await?;
    }
    let figures = &shared.figures.otlp;
    figures.items_accepted.add(signal, items);
    figures.bytes_accepted.add(signal, bytes);
    let rejected: u64 = oversize.iter().map(|part| part.items).sum();
    if rejected == 0 {
        return Ok(Accepted::default());
    }
    figures.items_rejected.of(signal).add(OtlpRejection::Oversize, rejected);
    let what = signal.items_name();
    let message =
        format!("{rejected} {what} are larger than {BATCH_BYTES_MAX} bytes each and were not taken");
    Ok(Accepted { rejected, message })
}

fn whole(payload: Payload) -> Split {
    let part = Part { bytes: payload.request, items: payload.tally.items };
    Split { parts: vec![part], oversize: Vec::new() }
}

async fn cut(payload: Payload) -> Result<Split, Refusal> {
    let cut = move || wire::split(payload.signal, &payload.request, BATCH_BYTES_MAX);
    match tokio::task::spawn_blocking(cut).await {
        Ok(Ok(split)) => Ok(split),
        Ok(Err(error)) => {
            tracing::error!(%error, "an OTLP request that was checked cannot be cut");
            Err(Refusal::Internal)
        }
        Err(error) => {
            tracing::error!(%error, "cutting an OTLP request failed");
            Err(Refusal::Internal)
        }
    }
}

/// In order, as many to a group as fit; a part alone always does.
fn groups(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let (mut groups, mut bytes) = (Vec::<Vec<Part>>::new(), 0);
    for part in parts {
        let len = part.bytes.len();
        match groups.last_mut() {
            Some(group) if bytes + len <= GROUP_BYTES_MAX => {
                bytes += len;
                group.push(part);
            }
            _ => {
                bytes = len;
                groups.push(vec![part]);
            }
        }
    }
    groups
}

/// Appends a group. The first is refused when the queue is full; those after it wait a little, since a client that is
/// refused sends again what is in the journal already.
async fn append(
    shared: &Shared,
    team: &Team,
    signal: Signal,
    group: Vec<Part>,
    is_first: bool,
) -> Result<(), Refusal> {
    let part = |part: Part| OtlpPart {
        signal: signal.into(),
        items: u32::try_from(part.items).unwrap_or(u32::MAX),
        bytes: part.bytes,
    };
    let group: Vec<OtlpPart> = group.into_iter().map(part).collect();
    let mut offers = 0;
    let pending = loop {
        offers += 1;
        match shared.log.append_otlp(team, group.clone()) {
            Ok(pending) => break pending,
            Err(AppendError::Full) if !is_first && offers < GROUP_OFFERS_MAX => {
                tokio::time::sleep(GROUP_OFFER_INTERVAL).await;
            }
            Err(error) => return Err(refusal(shared, &error)),
        }
    };
    drop(group);
    pending.await.map(drop).map_err(|error| refusal(shared, &error))
}

fn refusal(shared: &Shared, error: &AppendError) -> Refusal {
    match error {
        AppendError::Full => Refusal::Overloaded { retry_after: later(FULL_RETRY) },
        AppendError::DiskFull => Refusal::Overloaded { retry_after: later(DISK_FULL_RETRY) },
        AppendError::TooLarge { .. } | AppendError::Empty => {
            tracing::error!(%error, "the journal refused an OTLP payload");
            Refusal::Internal
        }
        AppendError::Poisoned(_) | AppendError::Closed => {
            tell_poisoned(&shared.poisoned, error);
            Refusal::Unavailable { retry_after: later(POISONED_RETRY) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_the_order_and_their_bound() {
        let part = |bytes: usize| Part { bytes: vec![0; bytes].into(), items: bytes as u64 };
        let sizes = [4 << 20, 4 << 20, 4 << 20, 4 << 20, 1, 16 << 20, 17 << 20, 2];
        let groups = groups(sizes.into_iter().map(part).collect());
        let lens: Vec<usize> = groups.iter().map(Vec::len).collect();
        assert_eq!(lens, [4, 1, 1, 1, 1]);
        assert_eq!(groups.iter().flatten().map(|part| part.bytes.len()).collect::<Vec<_>>(), sizes);
    }
}
