//! Writing one family.

use super::Format;
use super::escape::push_help;
use super::number::{
    canonical_float, push_any_float, push_float, push_integer, push_millionths, push_scaled,
    push_scaled_canonical,
};
use crate::catalogue::{Bounds, Family, MetricKind};

/// A family's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Name of its samples, without `_bucket`, `_sum` and `_count`; a counter's with `_total` if it has it.
    pub name: &'a str,
    /// Its type.
    pub kind: FamilyType,
    /// Its help, unescaped. Empty: no HELP line.
    pub help: &'a str,
    /// Its unit, "" for none.
    pub unit: &'a str,
}

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyType {
    /// Only grows.
    Counter,
    /// Reads what is now.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
    /// Labels of a target; its sample ends in `_info` and is 1.
    Info,
    /// Not told.
    Untyped,
}

/// The value of a sample of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Integer(i128),
    /// Any number, or none.
    Float(f64),
}

/// Writes a family's metadata before its first sample, and its samples.
#[derive(Debug)]
pub struct FamilyWriter<'a> {
    format: Format,
    metadata: Metadata<'a>,
    begun: bool,
    out: &'a mut Vec<u8>,
}

impl Family {
    /// What HELP, TYPE and UNIT say.
    pub fn metadata(&self) -> Metadata<'static> {
        let kind = match self.kind {
            MetricKind::Counter(_) => FamilyType::Counter,
            MetricKind::Gauge(_) => FamilyType::Gauge,
            MetricKind::Histogram(_) => FamilyType::Histogram,
        };
        Metadata { name: self.name, kind, help: self.help, unit: self.unit }
    }
}

impl<'a> Metadata<'a> {
    /// The name that TYPE and HELP give the family.
    pub fn family_name(&self, format: Format) -> &'a str {
        match (format, self.kind) {
            (Format::OpenMetrics100, FamilyType::Counter) => {
                self.name.strip_suffix("_total").unwrap_or(self.name)
            }
            (Format::OpenMetrics100, FamilyType::Info) => {
                self.name.strip_suffix("_info").unwrap_or(self.name)
            }
            _ => self.name,
        }
    }

    /// The word that TYPE gives the family.
    pub fn type_word(&self, format: Format) -> &'static str {
        match (self.kind, format) {
            (FamilyType::Counter, Format::OpenMetrics100) if !self.name.ends_with("_total") => "unknown",
            (FamilyType::Counter, _) => "counter",
            (FamilyType::Gauge, _) => "gauge",
            (FamilyType::Histogram, _) => "histogram",
            (FamilyType::Summary, _) => "summary",
            // Text 0.0.4 has no such type.
            (FamilyType::Info, Format::Text004) => "gauge",
            (FamilyType::Info, Format::OpenMetrics100) => "info",
            (FamilyType::Untyped, Format::Text004) => "untyped",
            (FamilyType::Untyped, Format::OpenMetrics100) => "unknown",
        }
    }

    /// Whether `name` names the family or one of its samples, in either format.
    pub fn is_named(&self, name: &str) -> bool {
        let Some(suffix) = name.strip_prefix(self.family_name(Format::OpenMetrics100)) else { return false };
        match self.kind {
            FamilyType::Counter if self.name.ends_with("_total") => {
                matches!(suffix, "" | "_total" | "_created")
            }
            FamilyType::Histogram => matches!(suffix, "" | "_bucket" | "_sum" | "_count" | "_created"),
            FamilyType::Summary => matches!(suffix, "" | "_sum" | "_count" | "_created"),
            FamilyType::Info => matches!(suffix, "" | "_info"),
            FamilyType::Counter | FamilyType::Gauge | FamilyType::Untyped => suffix.is_empty(),
        }
    }

    /// Writes HELP, TYPE and, in OpenMetrics, UNIT.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        let name = self.family_name(format);
        if !self.help.is_empty() {
            out.extend_from_slice(b"# HELP ");
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            push_help(self.help, format == Format::OpenMetrics100, out);
            out.push(b'\n');
        }
        out.extend_from_slice(b"# TYPE ");
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.type_word(format).as_bytes());
        out.push(b'\n');
        let has_unit =
            !self.unit.is_empty() && name.strip_suffix(self.unit).is_some_and(|before| before.ends_with('_'));
        if format == Format::OpenMetrics100 && has_unit {
            out.extend_from_slice(b"# UNIT ");
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            out.extend_from_slice(self.unit.as_bytes());
            out.push(b'\n');
        }
    }
}

impl<'a> FamilyWriter<'a> {
    /// A writer to the end of `out`.
    pub fn new(format: Format, metadata: Metadata<'a>, out: &'a mut Vec<u8>) -> Self {
        Self { format, metadata, begun: false, out }
    }

    /// A counter. `labels` is what stands between the braces, escaped; empty for none.
    pub fn counter(&mut self, labels: &str, value: u64, created_us: u64) {
        self.sample("", labels);
        push_integer(value, self.out);
        self.out.push(b'\n');
        self.created(labels, created_us);
    }

    /// A counter that is kept in millionths.
    pub fn counter_millionths(&mut self, labels: &str, millionths: u64, created_us: u64) {
        self.sample("", labels);
        push_millionths(millionths, self.out);
        self.out.push(b'\n');
        self.created(labels, created_us);
    }

    /// A gauge. A number that is none is left out.
    pub fn gauge(&mut self, labels: &str, value: f64) {
        if value.is_finite() {
            self.sample("", labels);
            push_float(value, self.out);
            self.out.push(b'\n');
        }
    }

    /// A gauge in millionths.
    pub fn gauge_millionths(&mut self, labels: &str, millionths: u64) {
        self.sample("", labels);
        push_millionths(millionths, self.out);
        self.out.push(b'\n');
    }

    /// A histogram: in `buckets` the count of each bound (not cumulative), the count above all, the sum in microseconds.
    pub fn histogram(&mut self, labels: &str, bounds: &Bounds, buckets: &[u64], created_us: u64) {
        let mut count = 0_u64;
        for (index, in_bucket) in buckets.iter().take(bounds.upper_us.len() + 1).enumerate() {
            count = count.saturating_add(*in_bucket);
            self.bucket(labels, bounds.upper_us.get(index).copied(), bounds.unit_us);
            push_integer(count, self.out);
            self.out.push(b'\n');
        }
        self.sample("_sum", labels);
        push_scaled(buckets.last().copied().unwrap_or(0), bounds.unit_us, self.out);
        self.out.push(b'\n');
        self.sample("_count", labels);
        push_integer(count, self.out);
        self.out.push(b'\n');
        self.created(labels, created_us);
    }

    /// Any sample: `suffix` after the family's name, and after `labels` the bound that its kind needs (`le`, `quantile`).
    pub fn number(&mut self, suffix: &str, labels: &str, bound: Option<(&str, f64)>, number: Number) {
        self.name(suffix);
        match bound {
            None => self.labels(labels),
            Some((name, bound)) => {
                self.out.push(b'{');
                self.out.extend_from_slice(labels.as_bytes());
                if !labels.is_empty() {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"=\"");
                match self.format {
                    Format::Text004 => push_any_float(bound, self.out),
                    Format::OpenMetrics100 => self.out.extend_from_slice(canonical_float(bound).as_bytes()),
                }
                self.out.extend_from_slice(b"\"} ");
            }
        }
        match number {
            Number::Integer(number) => {
                self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes())
            }
            Number::Float(number) => push_any_float(number, self.out),
        }
        self.out.push(b'\n');
    }

    /// When a counter, histogram or summary began, in microseconds since the epoch; written in OpenMetrics alone.
    pub fn created(&mut self, labels: &str, created_us: u64) {
        if self.format == Format::OpenMetrics100 && self.metadata.type_word(self.format) != "unknown" {
            let name = self.metadata.family_name(self.format);
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"_created");
            self.labels(labels);
            push_millionths(created_us, self.out);
            self.out.push(b'\n');
        }
    }

    fn bucket(&mut self, labels: &str, upper_us: Option<u64>, unit_us: u64) {
        self.name("_bucket");
        self.out.push(b'{');
        self.out.extend_from_slice(labels.as_bytes());
        if !labels.is_empty() {
            self.out.push(b',');
        }
        self.out.extend_from_slice(b"le=\"");
        match (upper_us, self.format) {
            (None, _) => self.out.extend_from_slice(b"+Inf"),
            (Some(upper), Format::Text004) => push_scaled(upper, unit_us, self.out),
            (Some(upper), Format::OpenMetrics100) => push_scaled_canonical(upper, unit_us, self.out),
        }
        self.out.extend_from_slice(b"\"} ");
    }

    fn sample(&mut self, suffix: &str, labels: &str) {
        self.name(suffix);
        self.labels(labels);
    }

    fn name(&mut self, suffix: &str) {
        if !self.begun {
            self.begun = true;
            self.metadata.write(self.format, self.out);
        }
        self.out.extend_from_slice(self.metadata.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
    }

    fn labels(&mut self, labels: &str) {
        if !labels.is_empty() {
            self.out.push(b'{');
            self.out.extend_from_slice(labels.as_bytes());
            self.out.push(b'}');
        }
        self.out.push(b' ');
    }
}
