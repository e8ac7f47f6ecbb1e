//! Reading.

use std::sync::Arc;

use super::{MAGIC, SnapshotError, VERSION};
use crate::series::amount::Amount;
use crate::series::distribution::Distribution;
use crate::series::identity::StreamId;
use crate::series::store::{Family, Kind, Last, Series, Stream, Summary, Target, TeamStore, Value};
use crate::series::{ForeignConfig, ForeignSeries};

const CUT_SHORT: SnapshotError = SnapshotError::Inconsistent("cut short");

/// What `bytes` hold.
pub(in crate::series) fn read(config: ForeignConfig, bytes: &[u8]) -> Result<ForeignSeries, SnapshotError> {
    let mut input = Input(checked(bytes)?);
    let mut all = ForeignSeries::new(config);
    all.timeline.now = input.u32()?;
    all.turn = input.u64()?;
    all.families_made = input.u64()?;
    for _ in 0..input.count(44)? {
        let name = input.text()?.to_owned();
        let mut team = TeamStore::default();
        for items in &mut team.items {
            *items = input.u64()?;
        }
        for reason in 0..input.count(8)? {
            let points = input.u64()?;
            // Reasons are only ever added at the end.
            *team.dropped.get_mut(reason).ok_or(SnapshotError::Inconsistent("unknown reason"))? = points;
        }
        input.team(&mut team)?;
        if all.teams.insert(name, team).is_some() {
            return Err(SnapshotError::Inconsistent("team twice"));
        }
    }
    if input.0.is_empty() {
        Ok(all)
    } else {
        Err(SnapshotError::Inconsistent("something comes after the last team"))
    }
}

/// What stands between version and checksum, when both are right.
fn checked(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let content = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Foreign)?;
    let (content, stored) = content.split_last_chunk().ok_or(SnapshotError::Foreign)?;
    let stored = u32::from_le_bytes(*stored);
    let computed = crc32c::crc32c(&bytes[..bytes.len() - size_of::<u32>()]);
    if stored != computed {
        return Err(SnapshotError::Checksum { stored, computed });
    }
    let mut input = Input(content);
    let found = u16::from_le_bytes(input.take()?);
    if found == VERSION { Ok(input.0) } else { Err(SnapshotError::Version { found }) }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.take().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Result<f64, SnapshotError> {
        self.u64().map(f64::from_bits)
    }

    /// A count of things of at least `bytes_each` bytes: never more than there can be.
    fn count(&mut self, bytes_each: usize) -> Result<usize, SnapshotError> {
        let count = self.u32()? as usize;
        if count > self.0.len() / bytes_each { Err(CUT_SHORT) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<&'a str, SnapshotError> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or(CUT_SHORT)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| SnapshotError::Inconsistent("text is not UTF-8"))
    }

    fn amount(&mut self) -> Result<Amount, SnapshotError> {
        Ok(Amount::of_parts([self.f64()?, self.f64()?]))
    }

    /// An amount of a sum.
    fn sum(&mut self) -> Result<Amount, SnapshotError> {
        let amount = self.amount()?;
        if amount.is_finite() { Ok(amount) } else { Err(SnapshotError::Inconsistent("a sum is not finite")) }
    }

    fn distribution(&mut self) -> Result<Distribution, SnapshotError> {
        let count = self.count(16)?;
        let bounds = (0..count).map(|_| self.f64()).collect::<Result<Vec<_>, _>>()?;
        let counts = (0..=count).map(|_| self.u64()).collect::<Result<Vec<_>, _>>()?;
        let (has_sum, sum) = (self.u8()? != 0, self.sum()?);
        let is_ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_ascending || bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(SnapshotError::Inconsistent("bounds do not ascend"));
        }
        Ok(Distribution { bounds, counts, sum: has_sum.then_some(sum) })
    }

    fn team(&mut self, team: &mut TeamStore) -> Result<(), SnapshotError> {
        let mut targets = Vec::new();
        for _ in 0..self.count(12)? {
            let [labels, project, info] = [self.text()?, self.text()?, self.text()?].map(str::to_owned);
            if team.target(&labels).is_some() {
                return Err(SnapshotError::Inconsistent("target twice"));
            }
            targets.push(team.add_target(Target { labels, project, info, series: 0 }));
        }
        let mut families = Vec::new();
        for _ in 0..self.count(25)? {
            families.push(self.family(team, &targets)?);
        }
        for _ in 0..self.count(53)? {
            self.stream(team, &families)?;
        }
        Ok(())
    }

    /// A family, and the slots of its series by their numbers.
    fn family(&mut self, team: &mut TeamStore, targets: &[u32]) -> Result<(u32, Vec<u32>), SnapshotError> {
        let [name, unit, help] = [self.text()?, self.text()?, self.text()?].map(str::to_owned);
        let kind = match self.u8()? {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            3 => Kind::Summary,
            _ => return Err(SnapshotError::Inconsistent("unknown kind of family")),
        };
        let born = self.u64()?;
        if team.family(&name, kind) != Ok(None) {
            return Err(SnapshotError::Inconsistent("families with one name"));
        }
        let (series, by_labels) = Default::default();
        let id = team.add_family(Family { name, unit, help, kind, born, series, by_labels });
        let mut slots = Vec::new();
        for _ in 0..self.count(44)? {
            let series = self.series(kind, targets)?;
            let is_known = |family: &Family| family.by_labels.contains_key(&series.labels);
            if team.families.get(id).is_none_or(is_known) {
                return Err(SnapshotError::Inconsistent("series twice"));
            }
            slots.extend(team.add_series(id, series));
        }
        Ok((id, slots))
    }

    fn series(&mut self, kind: Kind, targets: &[u32]) -> Result<Series, SnapshotError> {
        let labels = Arc::from(self.text()?);
        let target = targets.get(self.u32()? as usize).copied();
        let target = target.ok_or(SnapshotError::Inconsistent("target outside the table"))?;
        let (created_us, touched_at, let_go_ns) = (self.u64()?, self.u32()?, self.u64()?);
        let value = match kind {
            Kind::Counter => Value::Counter(self.sum()?),
            Kind::Gauge => {
                let (is_shown, value) = (self.u8()? != 0, self.amount()?);
                Value::Gauge { value: is_shown.then_some(value), writer: self.take()? }
            }
            Kind::Histogram => Value::Histogram(self.distribution()?),
            Kind::Summary => {
                let (count, sum) = (self.u64()?, self.sum()?);
                let quantiles = (0..self.count(16)?)
                    .map(|_| Ok((self.f64()?, self.f64()?)))
                    .collect::<Result<Vec<_>, SnapshotError>>()?;
                Value::Summary(Summary { count, sum, quantiles })
            }
        };
        Ok(Series { labels, target, created_us, touched_at, streams: 0, let_go_ns, value })
    }

    fn stream(&mut self, team: &mut TeamStore, families: &[(u32, Vec<u32>)]) -> Result<(), SnapshotError> {
        let id: StreamId = self.take()?;
        let (family, series) = (self.u32()? as usize, self.u32()? as usize);
        let slots = families.get(family).and_then(|(family, slots)| Some((*family, *slots.get(series)?)));
        let (family, series) = slots.ok_or(SnapshotError::Inconsistent("series outside the table"))?;
        let (start, time, touched_at, turn) = (self.u64()?, self.u64()?, self.u32()?, self.u64()?);
        let last = match self.u8()? {
            0 => Last::Nothing,
            1 => Last::Level(self.sum()?),
            2 => Last::Count(self.sum()?),
            3 => Last::Distribution(Box::new(self.distribution()?)),
            4 => Last::Summary { count: self.u64()?, sum: self.sum()? },
            _ => return Err(SnapshotError::Inconsistent("unknown kind of stream")),
        };
        if let Some(fed) = team.series_mut(family, series) {
            fed.streams += 1;
        }
        let stream = Stream { family, series, start, time, touched_at, turn, last };
        if team.streams.insert(id, stream).is_some() {
            return Err(SnapshotError::Inconsistent("stream twice"));
        }
        Ok(())
    }
}
