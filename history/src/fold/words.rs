//! The words of the columns, as texts of a fold. They are those of the metrics' labels ([`muster::words`]).

use muster::v1;
use muster::words::{Word, word};

use super::texts::TextId;

impl From<Word> for TextId {
    fn from(word: Word) -> Self {
        Self(word.0)
    }
}

/// What a gate did. What would have failed in CI was prevented, whatever else is said of it.
pub(super) fn push_outcome(push: &v1::PushChecked) -> Word {
    match (push.prevented_bad_push, push.allowed) {
        (true, _) => word::PREVENTED,
        (false, true) => word::ALLOWED,
        (false, false) => word::STOPPED,
    }
}
