//! OTLP requests as bytes: checked, counted, stamped and split without decoding.
//!
//! A field that repeats may be written in any number of pieces, so an `Export*ServiceRequest` is a plain run of
//! `resource_*` fields: two requests of one signal, one after the other, are one request with both. Everything
//! here is a walk over that tree, which is the same for the three signals down to the items:
//!
//! ```text
//! request      1 resource_* entry, repeated
//!   entry      1 Resource, 2 scope_* group, repeated, 3 schema_url
//!     scope    1 InstrumentationScope, 2 log record | span | metric, repeated, 3 schema_url
//!       metric 5 gauge, 7 sum, 9 histogram, 10 exponential histogram, 11 summary: each has 1 data point, repeated
//! ```
//!
//! [`check()`] goes the whole depth and takes exactly what prost's decoder of `opentelemetry-proto` takes. The
//! others read no deeper than they must, and are meant for requests that `check` has passed: on other bytes they
//! fail or pass on what they did not look at, but never panic. Fields nobody knows are kept by all of them.

mod attribute;
mod check;
mod count;
mod reader;
mod resource;
mod schema;
mod split;
mod stamp;
mod write;

#[cfg(test)]
mod tests;

pub use check::check;
pub use resource::{Resource, Resources, resources};
pub use split::{Part, Split, split};
pub use stamp::{ITEM_ID, Stamp, stamp};

/// What a request holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// `resource_*` entries.
    pub resources: u32,
    /// Log records, data points or spans.
    pub items: u64,
}

/// Why bytes are not a request: what is wrong, and at which byte, counted from the request's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A variable-length integer that ends nowhere, or is over 64 bits.
    #[error("integer at byte {at} is cut short or over 64 bits")]
    Varint {
        /// Where the integer begins.
        at: usize,
    },
    /// A field number of 0 or over 2^29 - 1, or a wire type that does not exist.
    #[error("field key at byte {at} has an impossible number or wire type")]
    Key {
        /// Where the key begins.
        at: usize,
    },
    /// A field with another wire type than its message says.
    #[error("field {number} at byte {at} has the wrong wire type")]
    WireType {
        /// The field's number in its message.
        number: u32,
        /// Where the field's key begins, or, where the message is known by position only, its value.
        at: usize,
    },
    /// A value that is longer than what holds it.
    #[error("value at byte {at} reaches past the end of its message")]
    Truncated {
        /// Where the value or its length begins.
        at: usize,
    },
    /// A text that is not UTF-8.
    #[error("text at byte {at} is not UTF-8")]
    Text {
        /// Where the text begins.
        at: usize,
    },
    /// The end of a group that was not begun, or not by this number.
    #[error("group end at byte {at} belongs to no group")]
    GroupEnd {
        /// Where its key begins.
        at: usize,
    },
    /// Messages or groups nested beyond the limit that prost has.
    #[error("message at byte {at} is nested deeper than {limit} levels", limit = reader::DEPTH_MAX)]
    Depth {
        /// Where the message or field begins.
        at: usize,
    },
}
