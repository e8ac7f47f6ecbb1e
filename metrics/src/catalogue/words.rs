//! What rules make of the wire's numbers besides the words that Muster has for them everywhere ([`muster::words`]).

use muster::v1;
use muster::words::{Word, word};

pub(super) fn truth(truth: bool) -> Word {
    if truth { word::TRUE } else { word::FALSE }
}

/// `loki_session_status`: 0 stopped, 1 running, 2 paused. `None` for what is not known.
pub(super) fn session_status(status: i32) -> Option<f64> {
    match v1::SessionStatus::try_from(status) {
        Ok(v1::SessionStatus::Stopped) => Some(0.0),
        Ok(v1::SessionStatus::Running) => Some(1.0),
        Ok(v1::SessionStatus::Paused) => Some(2.0),
        Ok(v1::SessionStatus::Unspecified) | Err(_) => None,
    }
}

/// Wire counts where 0 and 1 both mean one.
pub(super) fn at_least_one(count: u32) -> u64 {
    u64::from(count.max(1))
}
