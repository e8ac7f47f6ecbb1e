//! Families that others made, as text 0.0.4, on our page.
//!
//! A registry such as that of the service's own figures gives a whole page of text 0.0.4. [`merge_text`] adds its
//! families to a page in either format. What would make the page invalid is left out and counted: a family that the
//! catalogue has, a family twice, a line that cannot be read, a counter that is negative or no number.

use std::borrow::Cow;
use std::collections::HashSet;

use super::writer::{FamilyType, Metadata};
use super::{Format, number};
use crate::aggregate::is_own_name;

/// What was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeReport {
    /// Families added.
    pub families: usize,
    /// Families left out: the page has one of that name.
    pub families_dropped: usize,
    /// Samples left out: they cannot be read, or their family does not allow them.
    pub samples_dropped: usize,
}

/// Writes the families of `page`, a page of text 0.0.4, to the end of `out` in `format`; those that `wanted` says.
/// The page's end ([`Format::finish`]) comes after it. Timestamps are left out: a page says what is now.
pub fn merge_text(
    page: &str,
    format: Format,
    wanted: impl Fn(&Metadata<'_>) -> bool,
    out: &mut Vec<u8>,
) -> MergeReport {
    let mut report = MergeReport::default();
    let mut names_seen = HashSet::new();
    let families = families(page, &mut report);
    for family in &families {
        let metadata = family.metadata();
        if !wanted(&metadata) {
            continue;
        }
        if is_own_name(family.name) || !names_seen.insert(metadata.family_name(Format::OpenMetrics100)) {
            report.families_dropped += 1;
            continue;
        }
        let mut samples = Vec::new();
        for sample in &family.samples {
            if !sample.write(family, format, &mut samples) {
                report.samples_dropped += 1;
            }
        }
        if !samples.is_empty() {
            metadata.write(format, out);
            out.append(&mut samples);
            report.families += 1;
        }
    }
    report
}

struct ForeignFamily<'a> {
    name: &'a str,
    kind: FamilyType,
    help: String,
    samples: Vec<Sample<'a>>,
}

struct Sample<'a> {
    name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    value: &'a str,
}

/// Splits a page into families. A sample that belongs to no family that was announced makes one without a type.
fn families<'a>(page: &'a str, report: &mut MergeReport) -> Vec<ForeignFamily<'a>> {
    let mut families: Vec<ForeignFamily<'a>> = Vec::new();
    for line in page.split('\n').map(|line| line.trim_end_matches('\r')) {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, [' ', '\t']);
            let (what, name, rest) = (words.next(), words.next().unwrap_or(""), words.next().unwrap_or(""));
            if !matches!(what, Some("HELP" | "TYPE")) || !is_metric_name(name) {
                continue;
            }
            if families.last().is_none_or(|family| family.name != name || !family.samples.is_empty()) {
                families.push(ForeignFamily::new(name));
            }
            let Some(family) = families.last_mut() else { continue };
            match what {
                Some("HELP") => family.help = unescape_help(rest),
                _ => family.kind = family_type(rest.trim()),
            }
        } else if !line.trim().is_empty() {
            let Some(sample) = Sample::parse(line) else {
                report.samples_dropped += 1;
                continue;
            };
            if families.last().is_none_or(|family| !family.has(sample.name)) {
                families.push(ForeignFamily::new(sample.name));
            }
            if let Some(family) = families.last_mut() {
                family.samples.push(sample);
            }
        }
    }
    families
}

impl<'a> ForeignFamily<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, kind: FamilyType::Untyped, help: String::new(), samples: Vec::new() }
    }

    fn has(&self, sample: &str) -> bool {
        let Some(suffix) = sample.strip_prefix(self.name) else { return false };
        match self.kind {
            FamilyType::Histogram => matches!(suffix, "_bucket" | "_sum" | "_count"),
            FamilyType::Summary => matches!(suffix, "" | "_sum" | "_count"),
            FamilyType::Counter | FamilyType::Gauge | FamilyType::Untyped | FamilyType::Info => {
                suffix.is_empty()
            }
        }
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata { name: self.name, kind: self.kind, help: &self.help, unit: "" }
    }
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let name_end = line.find(['{', ' ', '\t'])?;
        let (name, rest) = line.split_at(name_end);
        if !is_metric_name(name) {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => {
                let end = labels_end(rest)?;
                (rest[..end].trim().trim_end_matches(','), &rest[end + 1..])
            }
            None => ("", rest),
        };
        let value = rest.split_ascii_whitespace().next()?;
        parse_value(value)?;
        Some(Self { name, labels, value })
    }

    fn write(&self, family: &ForeignFamily<'_>, format: Format, out: &mut Vec<u8>) -> bool {
        let Some(value) = parse_value(self.value) else { return false };
        let may_not_fall = family.kind == FamilyType::Counter || self.name != family.name;
        if may_not_fall && !self.name.ends_with("_sum") && (value.is_nan() || value < 0.0) {
            return false;
        }
        out.extend_from_slice(self.name.as_bytes());
        if !self.labels.is_empty() {
            let bound = match family.kind {
                FamilyType::Histogram if self.name.ends_with("_bucket") => Some("le"),
                FamilyType::Summary if self.name == family.name => Some("quantile"),
                _ => None,
            };
            let labels = match (format, bound) {
                (Format::OpenMetrics100, Some(label)) => canonical(self.labels, label),
                _ => Cow::Borrowed(self.labels),
            };
            out.push(b'{');
            out.extend_from_slice(labels.as_bytes());
            out.push(b'}');
        }
        out.push(b' ');
        if value.is_finite() {
            out.extend_from_slice(self.value.as_bytes());
        } else {
            out.extend_from_slice(
                if value.is_nan() {
                    "NaN"
                } else if value > 0.0 {
                    "+Inf"
                } else {
                    "-Inf"
                }
                .as_bytes(),
            );
        }
        out.push(b'\n');
        true
    }
}

/// Where the brace is that closes the labels; quotes and escapes are honoured.
fn labels_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// `labels` with the number of label `name` in OpenMetrics' canonical form.
fn canonical<'a>(labels: &'a str, name: &str) -> Cow<'a, str> {
    let begins = |at: usize| at == 0 || matches!(labels.as_bytes()[at - 1], b',' | b' ');
    let opening = format!("{name}=\"");
    let Some(start) = labels.match_indices(&opening).map(|(at, _)| at).find(|at| begins(*at)) else {
        return Cow::Borrowed(labels);
    };
    let from = start + opening.len();
    let Some(len) = labels[from..].find('"') else { return Cow::Borrowed(labels) };
    let Some(value) = parse_value(&labels[from..from + len]) else { return Cow::Borrowed(labels) };
    Cow::Owned(format!("{}{}{}", &labels[..from], number::canonical_float(value), &labels[from + len..]))
}

fn is_metric_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !name.is_empty() && name.bytes().all(valid) && !name.as_bytes()[0].is_ascii_digit()
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        number => number.parse().ok(),
    }
}

fn family_type(word: &str) -> FamilyType {
    match word {
        "counter" => FamilyType::Counter,
        "gauge" => FamilyType::Gauge,
        "histogram" => FamilyType::Histogram,
        "summary" => FamilyType::Summary,
        _ => FamilyType::Untyped,
    }
}

fn unescape_help(text: &str) -> String {
    let mut help = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => help.push('\n'),
                Some(other) => help.push(other),
                None => help.push('\\'),
            },
            (other, false) => help.push(other),
        }
    }
    help
}
