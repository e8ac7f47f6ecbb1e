//! Reading a request's body: within its limit, its time and its room.
//!
//! A body of one piece is used as it came; several pieces are put together, since many small ones would each keep the
//! connection's buffer that they are in.

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::{Limits, Refusal, Room};

/// What a refused request may still send, so that its client reads the answer instead of a connection that broke.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// The first size of what is put together.
const FIRST_BYTES: usize = 16 << 10;

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Reading<B> {
    body: B,
    limits: Limits,
    ends_at: Instant,
    has_begun: bool,
}

/// The pieces of a body that have come.
#[derive(Debug)]
pub(super) struct Pieces {
    first: Bytes,
    all: Vec<u8>,
    bytes_max: usize,
    room: Room,
}

impl<B> Reading<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(super) fn new(body: B, limits: &Limits) -> Self {
        let ends_at = Instant::now() + limits.body_timeout;
        Self { body, limits: limits.clone(), ends_at, has_begun: false }
    }

    /// The next piece that is not empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        self.has_begun = true;
        loop {
            let silence_ends_at = Instant::now() + self.limits.body_silence_max;
            let frame = match timeout_at(silence_ends_at.min(self.ends_at), self.body.frame()).await {
                Err(_) => return Err(Refusal::Slow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Refusal::Invalid(format!("request body broke off: {error}")));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// Whether the body has ended, as far as is known without reading on.
    pub(super) fn is_at_end(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Whether any of it was asked for; a client that waits for "100 Continue" sends nothing before.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Reads on and forgets what comes, within bounds.
    pub(super) async fn drain(&mut self) {
        let mut bytes = 0;
        while let Ok(Some(data)) = self.next().await {
            bytes += data.len();
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    }
}

impl Pieces {
    /// None yet, in room for what is expected.
    pub(super) fn new(bytes_max: usize, room: Room) -> Self {
        Self { first: Bytes::new(), all: Vec::new(), bytes_max, room }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// One more, if the limit and the room allow.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Refusal> {
        let bytes = self.len() + piece.len();
        if bytes > self.bytes_max {
            return Err(Refusal::TooLarge { bytes_max: self.bytes_max });
        }
        if self.len() == 0 {
            self.room.grow_to(bytes)?;
            self.first = piece;
            return Ok(());
        }
        if self.all.capacity() < bytes {
            // What was expected is had at once; without an expectation it doubles.
            let wanted = bytes.max(2 * self.all.capacity()).max(FIRST_BYTES).min(self.bytes_max);
            let wanted = wanted.max(self.room.bytes().min(self.bytes_max));
            self.room.grow_to(wanted)?;
            self.all.reserve_exact(wanted - self.all.len());
        }
        if !self.first.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    /// The first `at` bytes, if they have come.
    pub(super) fn head<const N: usize>(&self) -> Option<[u8; N]> {
        let bytes = if self.first.is_empty() { &self.all[..] } else { &self.first[..] };
        bytes.first_chunk().copied()
    }

    /// Room for so many in all, since they will come.
    pub(super) fn expect(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.room.grow_to(bytes.min(self.bytes_max))
    }

    pub(super) fn finish(self) -> (Bytes, Room) {
        let bytes = if self.first.is_empty() { Bytes::from(self.all) } else { self.first };
        (bytes, self.room)
    }
}
