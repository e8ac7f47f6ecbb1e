//! OTLP's messages as tables: which field number holds what.
//!
//! These are the messages as prost decodes them from opentelemetry-proto 0.33 (proto 1.10, contracts/otlp.md
//! section 5.2). `LogRecord` 4 and others that are reserved stand in no table: they are fields nobody knows.

use crate::Signal;

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Not in the message: skipped.
    Unknown,
    /// bool, int32, int64, uint32, uint64, sint32, an enumeration: any integer is taken, and cut to size.
    Varint,
    /// fixed32.
    Fixed32,
    /// fixed64, sfixed64, double.
    Fixed64,
    /// UTF-8.
    Text,
    /// Any bytes.
    Bytes,
    /// Repeated integers, one a field or packed.
    Varints,
    /// Repeated numbers of 8 bytes, one a field or packed.
    Fixed64s,
    /// A message, once, in pieces, or repeated.
    Message(&'static Table),
    /// A KeyValue: most of any request, so the check has a short way for it.
    Attribute,
}

/// No message of OTLP has a field number beyond.
const NUMBER_MAX: usize = 16;

/// The fields of a message by their numbers.
pub(super) struct Table([Kind; NUMBER_MAX + 1]);

impl Table {
    /// What the field of this number holds.
    #[inline(always)]
    pub(super) fn kind(&self, number: u32) -> Kind {
        self.0.get(number as usize).copied().unwrap_or(Kind::Unknown)
    }
}

const fn table(fields: &[(usize, Kind)]) -> Table {
    let mut kinds = [Kind::Unknown; NUMBER_MAX + 1];
    let mut index = 0;
    while index < fields.len() {
        kinds[fields[index].0] = fields[index].1;
        index += 1;
    }
    Table(kinds)
}

/// The table of a signal's `Export*ServiceRequest`.
pub(super) fn request(signal: Signal) -> &'static Table {
    match signal {
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
        Signal::Traces => &TRACES,
    }
}

/// Numbers of the fields that the walks go down by, the same for all signals.
pub(super) mod number {
    /// Of a request: the `resource_*` entries.
    pub(crate) const ENTRIES: u32 = 1;
    /// Of an entry: the Resource.
    pub(crate) const RESOURCE: u32 = 1;
    /// Of a Resource: its attributes.
    pub(crate) const RESOURCE_ATTRIBUTES: u32 = 1;
    /// Of an entry: the `scope_*` groups.
    pub(crate) const SCOPES: u32 = 2;
    /// Of a scope's group: log records, spans or metrics.
    pub(crate) const RECORDS: u32 = 2;
    /// Of a log record: its attributes.
    pub(crate) const LOG_ATTRIBUTES: u32 = 6;
    /// Of a gauge, sum, histogram, exponential histogram or summary: the data points.
    pub(crate) const POINTS: u32 = 1;
    /// Of a KeyValue.
    pub(crate) const KEY: u32 = 1;
    /// Of a KeyValue.
    pub(crate) const VALUE: u32 = 2;
    /// Of an AnyValue: the string.
    pub(crate) const STRING: u32 = 1;

    /// Whether a field of a metric is one of the five that hold its data points.
    pub(crate) const fn is_metric_data(number: u32) -> bool {
        matches!(number, 5 | 7 | 9 | 10 | 11)
    }

    /// Whether a field of an AnyValue is one of the eight of which the last one counts.
    pub(crate) const fn is_any_value(number: u32) -> bool {
        matches!(number, 1..=8)
    }
}

use Kind::{Attribute, Bytes, Fixed32, Fixed64, Fixed64s, Message, Text, Varint, Varints};

static LOGS: Table = table(&[(1, Message(&RESOURCE_LOGS))]);
static RESOURCE_LOGS: Table = table(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_LOGS)), (3, Text)]);
static SCOPE_LOGS: Table = table(&[(1, Message(&SCOPE)), (2, Message(&LOG_RECORD)), (3, Text)]);
static LOG_RECORD: Table = table(&[
    (1, Fixed64),  // time_unix_nano
    (11, Fixed64), // observed_time_unix_nano
    (2, Varint),   // severity_number
    (3, Text),     // severity_text
    (5, Message(&ANY_VALUE)),
    (6, Attribute),
    (7, Varint),  // dropped_attributes_count
    (8, Fixed32), // flags
    (9, Bytes),   // trace_id
    (10, Bytes),  // span_id
    (12, Text),   // event_name
]);

static TRACES: Table = table(&[(1, Message(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Table = table(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_SPANS)), (3, Text)]);
static SCOPE_SPANS: Table = table(&[(1, Message(&SCOPE)), (2, Message(&SPAN)), (3, Text)]);
static SPAN: Table = table(&[
    (1, Bytes),    // trace_id
    (2, Bytes),    // span_id
    (3, Text),     // trace_state
    (4, Bytes),    // parent_span_id
    (16, Fixed32), // flags
    (5, Text),     // name
    (6, Varint),   // kind
    (7, Fixed64),  // start_time_unix_nano
    (8, Fixed64),  // end_time_unix_nano
    (9, Attribute),
    (10, Varint), // dropped_attributes_count
    (11, Message(&SPAN_EVENT)),
    (12, Varint), // dropped_events_count
    (13, Message(&SPAN_LINK)),
    (14, Varint), // dropped_links_count
    (15, Message(&SPAN_STATUS)),
]);
static SPAN_EVENT: Table = table(&[(1, Fixed64), (2, Text), (3, Attribute), (4, Varint)]);
static SPAN_LINK: Table =
    table(&[(1, Bytes), (2, Bytes), (3, Text), (4, Attribute), (5, Varint), (6, Fixed32)]);
static SPAN_STATUS: Table = table(&[(2, Text), (3, Varint)]);

static METRICS: Table = table(&[(1, Message(&RESOURCE_METRICS))]);
static RESOURCE_METRICS: Table = table(&[(1, Message(&RESOURCE)), (2, Message(&SCOPE_METRICS)), (3, Text)]);
static SCOPE_METRICS: Table = table(&[(1, Message(&SCOPE)), (2, Message(&METRIC)), (3, Text)]);
static METRIC: Table = table(&[
    (1, Text), // name
    (2, Text), // description
    (3, Text), // unit
    (5, Message(&GAUGE)),
    (7, Message(&SUM)),
    (9, Message(&HISTOGRAM)),
    (10, Message(&EXPONENTIAL_HISTOGRAM)),
    (11, Message(&SUMMARY)),
    (12, Attribute), // metadata
]);
static GAUGE: Table = table(&[(1, Message(&NUMBER_POINT))]);
static SUM: Table = table(&[(1, Message(&NUMBER_POINT)), (2, Varint), (3, Varint)]);
static HISTOGRAM: Table = table(&[(1, Message(&HISTOGRAM_POINT)), (2, Varint)]);
static EXPONENTIAL_HISTOGRAM: Table = table(&[(1, Message(&EXPONENTIAL_POINT)), (2, Varint)]);
static SUMMARY: Table = table(&[(1, Message(&SUMMARY_POINT))]);
static NUMBER_POINT: Table = table(&[
    (7, Attribute),
    (2, Fixed64), // start_time_unix_nano
    (3, Fixed64), // time_unix_nano
    (4, Fixed64), // as_double
    (6, Fixed64), // as_int
    (5, Message(&EXEMPLAR)),
    (8, Varint), // flags
]);
static HISTOGRAM_POINT: Table = table(&[
    (9, Attribute),
    (2, Fixed64),  // start_time_unix_nano
    (3, Fixed64),  // time_unix_nano
    (4, Fixed64),  // count
    (5, Fixed64),  // sum
    (6, Fixed64s), // bucket_counts
    (7, Fixed64s), // explicit_bounds
    (8, Message(&EXEMPLAR)),
    (10, Varint),  // flags
    (11, Fixed64), // min
    (12, Fixed64), // max
]);
static EXPONENTIAL_POINT: Table = table(&[
    (1, Attribute),
    (2, Fixed64), // start_time_unix_nano
    (3, Fixed64), // time_unix_nano
    (4, Fixed64), // count
    (5, Fixed64), // sum
    (6, Varint),  // scale
    (7, Fixed64), // zero_count
    (8, Message(&BUCKETS)),
    (9, Message(&BUCKETS)),
    (10, Varint), // flags
    (11, Message(&EXEMPLAR)),
    (12, Fixed64), // min
    (13, Fixed64), // max
    (14, Fixed64), // zero_threshold
]);
static BUCKETS: Table = table(&[(1, Varint), (2, Varints)]);
static SUMMARY_POINT: Table = table(&[
    (7, Attribute),
    (2, Fixed64), // start_time_unix_nano
    (3, Fixed64), // time_unix_nano
    (4, Fixed64), // count
    (5, Fixed64), // sum
    (6, Message(&QUANTILE)),
    (8, Varint), // flags
]);
static QUANTILE: Table = table(&[(1, Fixed64), (2, Fixed64)]);
static EXEMPLAR: Table = table(&[
    (7, Attribute), // filtered_attributes
    (2, Fixed64),   // time_unix_nano
    (3, Fixed64),   // as_double
    (6, Fixed64),   // as_int
    (4, Bytes),     // span_id
    (5, Bytes),     // trace_id
]);

static RESOURCE: Table = table(&[(1, Attribute), (2, Varint), (3, Message(&ENTITY_REF))]);
static ENTITY_REF: Table = table(&[(1, Text), (2, Text), (3, Text), (4, Text)]);
static SCOPE: Table = table(&[(1, Text), (2, Text), (3, Attribute), (4, Varint)]);
/// A KeyValue.
pub(super) static KEY_VALUE: Table = table(&[(1, Text), (2, Message(&ANY_VALUE)), (3, Varint)]);
static ANY_VALUE: Table = table(&[
    (1, Text),
    (2, Varint),  // bool
    (3, Varint),  // int64
    (4, Fixed64), // double
    (5, Message(&ARRAY)),
    (6, Message(&KEY_VALUE_LIST)),
    (7, Bytes),
    (8, Varint), // index into a table of strings: profiles only
]);
static ARRAY: Table = table(&[(1, Message(&ANY_VALUE))]);
static KEY_VALUE_LIST: Table = table(&[(1, Attribute)]);
