//! Writing.

use std::collections::HashMap;

use super::{MAGIC, VERSION};
use crate::series::ForeignSeries;
use crate::series::amount::Amount;
use crate::series::distribution::Distribution;
use crate::series::identity::StreamId;
use crate::series::store::{Family, Kind, Last, Series, Slots, Stream, TeamStore, Value};

/// The snapshot of `all`.
pub(in crate::series) fn write(all: &ForeignSeries) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(4096));
    out.0.extend_from_slice(MAGIC);
    out.0.extend_from_slice(&VERSION.to_le_bytes());
    out.u32(all.timeline.now);
    out.u64(all.turn);
    out.u64(all.families_made);
    out.count(all.teams.len());
    for (name, team) in &all.teams {
        out.text(name);
        team.items.iter().for_each(|items| out.u64(*items));
        out.count(team.dropped.len());
        team.dropped.iter().for_each(|dropped| out.u64(*dropped));
        out.team(team);
    }
    let checksum = crc32c::crc32c(&out.0);
    out.u32(checksum);
    out.0
}

struct Out(Vec<u8>);

/// Numbers without gaps for the slots in use.
fn numbers<T>(slots: &Slots<T>) -> HashMap<u32, u32> {
    slots.iter().zip(0..).map(|((slot, _), number)| (slot, number)).collect()
}

impl Out {
    fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn f64(&mut self, number: f64) {
        self.u64(number.to_bits());
    }

    /// Counts of things in memory fit a u32: each has a u32 as its number.
    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn amount(&mut self, amount: Amount) {
        amount.parts().iter().for_each(|part| self.f64(*part));
    }

    fn distribution(&mut self, distribution: &Distribution) {
        self.count(distribution.bounds.len());
        distribution.bounds.iter().for_each(|bound| self.f64(*bound));
        distribution.counts.iter().for_each(|count| self.u64(*count));
        self.u8(u8::from(distribution.sum.is_some()));
        self.amount(distribution.sum.unwrap_or_default());
    }

    fn team(&mut self, team: &TeamStore) {
        let targets = numbers(&team.targets);
        self.count(targets.len());
        for (_, target) in team.targets.iter() {
            [&target.labels, &target.project, &target.info].iter().for_each(|text| self.text(text));
        }
        let families = numbers(&team.families);
        self.count(families.len());
        let mut series_of = HashMap::new();
        for (slot, family) in team.families.iter() {
            self.family(family, &targets);
            series_of.insert(slot, numbers(&family.series));
        }
        let mut streams: Vec<(&StreamId, &Stream)> = team.streams.iter().collect();
        streams.sort_unstable_by_key(|(id, _)| **id);
        self.count(streams.len());
        for (id, stream) in streams {
            self.0.extend_from_slice(id);
            // A stream never outlives its series.
            self.u32(families.get(&stream.family).copied().unwrap_or(u32::MAX));
            let series = series_of.get(&stream.family).and_then(|series| series.get(&stream.series));
            self.u32(series.copied().unwrap_or(u32::MAX));
            self.stream(stream);
        }
    }

    fn family(&mut self, family: &Family, targets: &HashMap<u32, u32>) {
        [&family.name, &family.unit, &family.help].iter().for_each(|text| self.text(text));
        self.u8(match family.kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Histogram => 2,
            Kind::Summary => 3,
        });
        self.u64(family.born);
        self.count(family.series.len());
        for (_, series) in family.series.iter() {
            self.series(series, targets.get(&series.target).copied().unwrap_or(u32::MAX));
        }
    }

    fn series(&mut self, series: &Series, target: u32) {
        self.text(&series.labels);
        self.u32(target);
        self.u64(series.created_us);
        self.u32(series.touched_at);
        self.u64(series.let_go_ns);
        match &series.value {
            Value::Counter(total) => self.amount(*total),
            Value::Gauge { value, writer } => {
                self.u8(u8::from(value.is_some()));
                self.amount(value.unwrap_or_default());
                self.0.extend_from_slice(writer);
            }
            Value::Histogram(distribution) => self.distribution(distribution),
            Value::Summary(summary) => {
                self.u64(summary.count);
                self.amount(summary.sum);
                self.count(summary.quantiles.len());
                for (quantile, value) in &summary.quantiles {
                    self.f64(*quantile);
                    self.f64(*value);
                }
            }
        }
    }

    fn stream(&mut self, stream: &Stream) {
        self.u64(stream.start);
        self.u64(stream.time);
        self.u32(stream.touched_at);
        self.u64(stream.turn);
        match &stream.last {
            Last::Nothing => self.u8(0),
            Last::Level(amount) => {
                self.u8(1);
                self.amount(*amount);
            }
            Last::Count(amount) => {
                self.u8(2);
                self.amount(*amount);
            }
            Last::Distribution(distribution) => {
                self.u8(3);
                self.distribution(distribution);
            }
            Last::Summary { count, sum } => {
                self.u8(4);
                self.u64(*count);
                self.amount(*sum);
            }
        }
    }
}
