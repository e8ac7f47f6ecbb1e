//! Who forwarded a request: each names the collector it comes from, so that one which comes back is refused at the door.
//!
//! Without it a destination that is this collector by another name, or behind a proxy, would get everything for ever. A hop
//! that makes requests anew (an OpenTelemetry Collector, another Muster) does not hand the name on: such a circle is not seen.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use journal::format::JournalId;

/// The header with the forwarder's name.
pub const FORWARDED_BY: HeaderName = HeaderName::from_static(otlp::receive::FORWARDED_BY);

/// A collector's name as a forwarder: its journal's id, which is random and says nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarder(HeaderValue);

impl Forwarder {
    /// The collector with that journal.
    pub fn of(journal: JournalId) -> Self {
        let name: String = journal.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(HeaderValue::try_from(name).expect("hexadecimal digits are allowed in a header"))
    }

    /// Puts its name on a request.
    pub fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(FORWARDED_BY, self.0.clone());
    }

    /// Whether it has sent a request with this head.
    pub fn has_sent(&self, headers: &HeaderMap) -> bool {
        headers.get_all(FORWARDED_BY).iter().any(|name| *name == self.0)
    }
}
