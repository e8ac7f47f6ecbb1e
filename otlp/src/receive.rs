//! The receiving side of OTLP/gRPC and OTLP/HTTP, over hyper's requests; what is done with a payload is an [`Intake`]'s.
//!
//! ```text
//! request ─> caller ─> room for the body ─> body ─> decompressed ─> protobuf ─> checked ─> Intake::take ─> answer
//! ```
//!
//! An OK or 200 is said when [`Intake::take`] has come true, and never before. What else is said, by the rules of OTLP
//! (contracts/otlp.md sections 2.2 and 5.4), so that a client repeats what can succeed later and drops what cannot:
//!
//! | what comes | gRPC | HTTP |
//! |---|---|---|
//! | a credential that is not accepted | UNAUTHENTICATED | 401 |
//! | a request that cannot be read | INVALID_ARGUMENT | 400 |
//! | a request over the limit, before or after decompression | RESOURCE_EXHAUSTED, no RetryInfo | 413 |
//! | an encoding or a type that is not known | UNIMPLEMENTED | 415 |
//! | a body that takes too long | DEADLINE_EXCEEDED | 503, Retry-After |
//! | no room now | UNAVAILABLE with RetryInfo | 503, Retry-After |
//! | a single item that is too large | OK, partial success | 200, partial success |
//!
//! All bytes that a request makes us hold are in a [`Room`], taken from a [`Budget`] before they are allocated. What
//! takes long (large bodies to decompress, check or convert) runs on blocking threads, as many at once as there are
//! processors.

mod answer;
mod body;
mod budget;
mod collect;
mod grpc;
mod http;
mod inflate;
mod prepare;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use bytes::Bytes;
use tokio::sync::Semaphore;

pub use body::Body;
pub use budget::{Budget, Room};
pub use refusal::Refusal;

use crate::Signal;
pub use crate::wire::Tally;

/// A header that a collector of Muster puts on what it forwards: its name. Nobody else sends it.
pub const FORWARDED_BY: &str = "muster-forwarded-by";
/// Largest request, compressed or not, unless told otherwise: what OTLP recommends since 1.11.0.
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 64 << 20;
/// From the end of a request's head to the end of its body.
const BODY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Longest silence within a body.
const BODY_SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// Who takes the payloads: the collector's journal, or an agent's spool.
pub trait Intake: Clone + Send + Sync + 'static {
    /// Who sends, as far as [`Intake::take`] wants to know it.
    type Caller: Send + Sync;

    /// Who sends this request, by its head (and by what the connection put into its extensions).
    fn authenticate(&self, head: &Parts) -> Result<Self::Caller, Refusal>;

    /// Room for `bytes` of a request; [`Room::grow`] takes more of the same budget.
    fn reserve(&self, bytes: usize) -> Result<Room, Refusal>;

    /// Takes a payload; durable when it comes true. Payloads without items do not come here.
    fn take(
        &self,
        caller: &Self::Caller,
        payload: Payload,
    ) -> impl Future<Output = Result<Accepted, Refusal>> + Send;

    /// Told once a request what became of it.
    fn finished(&self, _signal: Signal, _transport: Transport, _outcome: Outcome) {}
}

/// A request that can be taken.
#[derive(Debug, Clone)]
pub struct Payload {
    /// What it holds.
    pub signal: Signal,
    /// An `Export*ServiceRequest` in protobuf, checked to its whole depth.
    pub request: Bytes,
    /// What was counted in it.
    pub tally: Tally,
}

/// What became of a payload that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items of it that never can be taken, and are not to be sent again.
    pub rejected: u64,
    /// Why, for people; also a warning when nothing was rejected.
    pub message: String,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was taken.
    Accepted,
    /// A part of it was rejected.
    Partial,
    /// See [`Refusal::Unauthenticated`].
    Unauthenticated,
    /// See [`Refusal::Invalid`].
    Invalid,
    /// See [`Refusal::TooLarge`].
    TooLarge,
    /// See [`Refusal::Unsupported`].
    Unsupported,
    /// See [`Refusal::Slow`].
    Slow,
    /// See [`Refusal::Overloaded`].
    Overloaded,
    /// See [`Refusal::Limited`].
    Limited,
    /// See [`Refusal::Unavailable`].
    Unavailable,
    /// See [`Refusal::Internal`].
    Internal,
}

/// Bounds of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request, as they come and after decompression.
    pub request_bytes_max: usize,
    /// From the end of a request's head to the end of its body.
    pub body_timeout: Duration,
    /// Longest silence within a body.
    pub body_silence_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX_DEFAULT,
            body_timeout: BODY_TIMEOUT_DEFAULT,
            body_silence_max: BODY_SILENCE_MAX_DEFAULT,
        }
    }
}

/// OTLP's two protocols before an [`Intake`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door<I> {
    intake: I,
    limits: Limits,
    /// Large bodies that are worked on at once.
    heavy: Arc<Semaphore>,
}

impl<I: Intake> Door<I> {
    /// A door that hands what comes to `intake`.
    pub fn new(intake: I, limits: Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { intake, limits, heavy: Arc::new(Semaphore::new(processors)) }
    }

    /// Answers a request to one of OTLP/gRPC's methods ([`Signal::of_grpc_path`]).
    pub async fn grpc<B>(&self, signal: Signal, request: ::http::Request<B>) -> ::http::Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        grpc::answer(self, signal, request).await
    }

    /// Answers a request to OTLP/HTTP's port, whatever its path and method.
    pub async fn http<B>(&self, request: ::http::Request<B>) -> ::http::Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        http::answer(self, request).await
    }
}

impl<I: Intake> Door<I> {
    /// Hands a payload in; its room is held until it is durable or refused.
    async fn hand_in(
        &self,
        caller: &I::Caller,
        (payload, _room): (Payload, Room),
    ) -> Result<Accepted, Refusal> {
        if payload.tally.items == 0 {
            return Ok(Accepted::default());
        }
        self.intake.take(caller, payload).await
    }
}

impl Outcome {
    fn of(result: &Result<Accepted, Refusal>) -> Self {
        match result {
            Ok(accepted) if accepted.rejected == 0 => Self::Accepted,
            Ok(_) => Self::Partial,
            Err(Refusal::Unauthenticated) => Self::Unauthenticated,
            Err(Refusal::Invalid(_)) => Self::Invalid,
            Err(Refusal::TooLarge { .. }) => Self::TooLarge,
            Err(Refusal::Unsupported(_)) => Self::Unsupported,
            Err(Refusal::Slow) => Self::Slow,
            Err(Refusal::Overloaded { .. }) => Self::Overloaded,
            Err(Refusal::Limited { .. }) => Self::Limited,
            Err(Refusal::Unavailable { .. }) => Self::Unavailable,
            Err(Refusal::Internal) => Self::Internal,
        }
    }
}
