//! From a body as it came to a payload: decompressed, as protobuf, checked.

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::inflate::{Encoding, Stop, inflate};
use super::{Payload, Refusal, Room};
use crate::{Signal, json, wire};

/// Work on so many bytes is done where it is: a fraction of a millisecond. More goes to a blocking thread.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

/// A whole body.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) signal: Signal,
    pub(super) form: Form,
    pub(super) encoding: Encoding,
    pub(super) bytes: Bytes,
    /// Covers `bytes`.
    pub(super) room: Room,
}

/// Makes a payload of it. The room covers the payload, and is to be held as long as that.
pub(super) async fn prepare(
    mut whole: Whole,
    bytes_max: usize,
    heavy: &std::sync::Arc<Semaphore>,
) -> Result<(Payload, Room), Refusal> {
    if whole.bytes.len() <= INLINE_BYTES_MAX {
        let inline_max = bytes_max.min(INLINE_BYTES_MAX);
        match inflate(whole.encoding, &whole.bytes, inline_max, &mut whole.room) {
            Ok(bytes) => return finish(whole, bytes, bytes_max),
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::Over) if inline_max == bytes_max => return Err(Refusal::TooLarge { bytes_max }),
            Err(Stop::Over) => whole.room.shrink_to(whole.bytes.len()),
        }
    }
    // Never closed.
    let place = heavy.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?;
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        match inflate(whole.encoding, &whole.bytes, bytes_max, &mut whole.room) {
            Ok(bytes) => finish(whole, bytes, bytes_max),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Over) => Err(Refusal::TooLarge { bytes_max }),
        }
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "preparing an OTLP request failed");
        Err(Refusal::Internal)
    })
}

fn finish(whole: Whole, bytes: Bytes, bytes_max: usize) -> Result<(Payload, Room), Refusal> {
    let Whole { signal, form, bytes: body, mut room, .. } = whole;
    drop(body);
    let request = match form {
        Form::Protobuf => bytes,
        Form::Json => {
            // Protobuf is shorter than JSON but for rows of small numbers; its true size is covered once it is known.
            room.grow_to(2 * bytes.len())?;
            let request = json::decode(signal, &bytes).map_err(invalid)?;
            if request.len() > bytes_max {
                return Err(Refusal::TooLarge { bytes_max });
            }
            room.grow_to(request.len())?;
            request
        }
    };
    let tally = wire::check(signal, &request).map_err(invalid)?;
    room.shrink_to(request.len().max(1));
    Ok((Payload { signal, request, tally }, room))
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid(error.to_string())
}
