//! Counting items: a walk that reads no deeper than the items stand.

use super::reader::Reader;
use super::schema::number;
use super::{Tally, WireError};
use crate::Signal;

/// Counts the entries and items of a request.
pub(super) fn request(signal: Signal, request: &[u8]) -> Result<Tally, WireError> {
    let mut tally = Tally::default();
    let mut reader = Reader::new(request);
    while let Some(field) = reader.field()? {
        if field.number() == number::ENTRIES {
            tally.resources = tally.resources.saturating_add(1);
            tally.items += entry(signal, field.message()?)?;
        }
    }
    Ok(tally)
}

/// Counts the items of a `resource_*` entry.
pub(super) fn entry(signal: Signal, mut entry: Reader<'_>) -> Result<u64, WireError> {
    let mut items = 0;
    while let Some(field) = entry.field()? {
        if field.number() == number::SCOPES {
            items += scope(signal, field.message()?)?;
        }
    }
    Ok(items)
}

/// Counts the items of a scope's group.
pub(super) fn scope(signal: Signal, mut scope: Reader<'_>) -> Result<u64, WireError> {
    let mut items = 0;
    while let Some(field) = scope.field()? {
        if field.number() == number::RECORDS {
            items += match signal {
                Signal::Metrics => metric(field.message()?)?,
                Signal::Logs | Signal::Traces => 1,
            };
        }
    }
    Ok(items)
}

/// Counts the data points of a metric. Its data is one of five kinds: pieces of one kind add up, but one of
/// another kind takes the place of what came before (protobuf's rule for `oneof`).
pub(super) fn metric(mut metric: Reader<'_>) -> Result<u64, WireError> {
    let mut kind = None;
    let mut points = 0;
    while let Some(field) = metric.field()? {
        if !number::is_metric_data(field.number()) {
            continue;
        }
        if kind != Some(field.number()) {
            kind = Some(field.number());
            points = 0;
        }
        let mut data = field.message()?;
        while let Some(point) = data.field()? {
            points += u64::from(point.number() == number::POINTS);
        }
    }
    Ok(points)
}
