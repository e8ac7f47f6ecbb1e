//! Why a request is not taken, and how that is said in both protocols.

use std::time::Duration;

/// Why a request is not taken. Its text is for the client's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The credential is not accepted; the client is not told why.
    #[error("credential not accepted")]
    Unauthenticated,
    /// It cannot be read, now or ever.
    #[error("{0}")]
    Invalid(String),
    /// It is larger than the limit, compressed or decompressed.
    #[error("request is larger than {bytes_max} bytes after decompression; send smaller batches")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It is of a type or an encoding that is not known here.
    #[error("{0}")]
    Unsupported(String),
    /// Its body took too long.
    #[error("request body took too long")]
    Slow,
    /// There is no room now.
    #[error("no room for this request now; retry later")]
    Overloaded {
        /// When there may be.
        retry_after: Duration,
    },
    /// Its sender sends more than it may.
    #[error("{quota} is used up for now; retry later")]
    Limited {
        /// Which quota, in words.
        quota: &'static str,
        /// When there is room in it again.
        retry_after: Duration,
    },
    /// Nothing can be taken now.
    #[error("nothing can be stored now; retry later")]
    Unavailable {
        /// When that may be over.
        retry_after: Duration,
    },
    /// A fault of ours.
    #[error("internal error")]
    Internal,
}
