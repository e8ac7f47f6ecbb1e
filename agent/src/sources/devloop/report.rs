//! What the readers of one step share: the facts under construction, the sample rate, the moment, and the counts of
//! what could not be read.

use muster::clock::WallTime;
use muster::v1::event::Kind;
use muster::v1::{Attribute, LogRecord, LogSeverity, SourceHealth, attribute};

use super::sampling::Sampling;
use super::times;
use crate::facts::Facts;

/// One step's report in the making.
pub(super) struct Report<'a> {
    /// Where facts go.
    pub facts: &'a mut Facts,
    /// What of the numerous facts is kept.
    pub sampling: Sampling,
    /// The moment of the step.
    pub now: WallTime,
    /// What could not be read so far.
    pub health: &'a mut Health,
}

/// What a [`SourceHealth`] event will say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sources) struct Health {
    /// Newest time in the tool's own data.
    pub newest_data_time: WallTime,
    /// Records that are not what they should be.
    pub parse_errors: u64,
    /// Slow rescans.
    pub rescans: u64,
    /// Records left out on purpose: too large, or of an age at which they may have been counted.
    pub records_skipped: u64,
    /// Files that could not be read.
    pub read_errors: u64,
    said_newest_data_time: WallTime,
}

/// A value of an attribute of a log record.
pub(super) enum Detail<'a> {
    Word(&'a str),
    Integer(i64),
    Truth(bool),
}

impl Report<'_> {
    /// The time of a fact, from what the tool states; notes how new the tool's data is.
    pub(super) fn time(&mut self, stated: Option<WallTime>) -> WallTime {
        let time = times::believable(stated, self.now);
        if stated == Some(time) {
            self.health.newest_data_time = self.health.newest_data_time.max(time);
        }
        time
    }

    /// States a fact that has a name and no kind of its own.
    pub(super) fn log(
        &mut self,
        time: WallTime,
        name: &str,
        severity: LogSeverity,
        details: &[(&str, Detail<'_>)],
    ) {
        let mut attributes = Vec::with_capacity(details.len());
        for (key, detail) in details {
            let value = match detail {
                Detail::Word(word) => attribute::Value::Text(self.facts.word(word)),
                Detail::Integer(integer) => attribute::Value::Integer(*integer),
                Detail::Truth(truth) => attribute::Value::Truth(*truth),
            };
            attributes.push(Attribute { key: self.facts.word(key), value: Some(value) });
        }
        let name = self.facts.word(name);
        let record = LogRecord { name, severity: severity.into(), attributes, session: 0 };
        self.facts.push(time, Kind::LogRecord(record));
    }
}

impl Health {
    /// The event that says it, if there is anything new; then counts from zero again.
    pub(in crate::sources) fn take_event(&mut self) -> Option<SourceHealth> {
        // A rescan alone is no news: it waits for something that is.
        let counted = self.parse_errors + self.records_skipped + self.read_errors > 0;
        if !counted && self.newest_data_time == self.said_newest_data_time {
            return None;
        }
        self.said_newest_data_time = self.newest_data_time;
        Some(SourceHealth {
            newest_data_time_us: self.newest_data_time.0,
            parse_errors: std::mem::take(&mut self.parse_errors),
            rescans: std::mem::take(&mut self.rescans),
            records_skipped: std::mem::take(&mut self.records_skipped),
            read_errors: std::mem::take(&mut self.read_errors),
        })
    }
}
