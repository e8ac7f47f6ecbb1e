//! OTLP's messages as one table, read by both directions: JSON name, field number, kind and presence of every field.
//!
//! The table follows opentelemetry-proto 1.10. A test holds it against the generated structs, field by field.

use crate::Signal;

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its fields, in the order in which they are written.
    pub fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Name in JSON, lowerCamelCase.
    pub name: &'static str,
    /// Number in protobuf.
    pub number: u32,
    /// What a value of it is.
    pub kind: Kind,
    /// How often it is there, and whether its default is told from its absence.
    pub presence: Presence,
}

/// What a value is, in JSON and on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    /// An open enum: its number.
    Enum,
    Int32,
    Uint32,
    Sint32,
    Fixed32,
    Int64,
    Uint64,
    Fixed64,
    Sfixed64,
    Double,
    String,
    /// Base64 in JSON.
    Bytes,
    /// A trace id: 32 hexadecimal digits in JSON.
    TraceId,
    /// A span id: 16 hexadecimal digits in JSON.
    SpanId,
    Message(&'static Message),
}

/// Whether and how often a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Once; its default is the same as its absence, and is not written.
    Implicit,
    /// Once; written whenever it is set.
    Explicit,
    /// One of several (no OTLP message has more than one such group); written whenever it is set.
    Oneof,
    /// Any number of times; scalars packed.
    Repeated,
}

impl Message {
    /// Index and field of a JSON name.
    pub fn by_name(&'static self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }

    /// Index and field of a protobuf number.
    pub fn by_number(&'static self, number: u32) -> Option<(usize, &'static Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.number == number)
    }
}

impl Field {
    /// Whether several values share one length-delimited field.
    pub fn is_packed(&self) -> bool {
        self.presence == Presence::Repeated
            && !matches!(
                self.kind,
                Kind::String | Kind::Bytes | Kind::TraceId | Kind::SpanId | Kind::Message(_)
            )
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    // A message is there or not; a scalar's default says the same as its absence.
    let presence = if matches!(kind, Kind::Message(_)) { Presence::Explicit } else { Presence::Implicit };
    Field { name, number, kind, presence }
}

const fn optional(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Explicit }
}

const fn either(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Oneof }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, presence: Presence::Repeated }
}

const fn attributes(number: u32) -> Field {
    many("attributes", number, Kind::Message(&KEY_VALUE))
}

/// The request of a signal.
pub(super) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
        Signal::Traces => &TRACES_REQUEST,
    }
}

static LOGS_REQUEST: Message = Message { fields: &[many("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))] };

static METRICS_REQUEST: Message =
    Message { fields: &[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))] };

static TRACES_REQUEST: Message =
    Message { fields: &[many("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))] };

static RESOURCE_LOGS: Message = Message {
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static SCOPE_LOGS: Message = Message {
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("logRecords", 2, Kind::Message(&LOG_RECORD)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static LOG_RECORD: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("severityNumber", 2, Kind::Enum),
        one("severityText", 3, Kind::String),
        one("eventName", 12, Kind::String),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        attributes(6),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::TraceId),
        one("spanId", 10, Kind::SpanId),
    ],
};

static RESOURCE_SPANS: Message = Message {
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static SCOPE_SPANS: Message = Message {
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("spans", 2, Kind::Message(&SPAN)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static SPAN: Message = Message {
    fields: &[
        one("traceId", 1, Kind::TraceId),
        one("spanId", 2, Kind::SpanId),
        one("traceState", 3, Kind::String),
        one("parentSpanId", 4, Kind::SpanId),
        one("flags", 16, Kind::Fixed32),
        one("name", 5, Kind::String),
        one("kind", 6, Kind::Enum),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        attributes(9),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&SPAN_EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&SPAN_LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        one("status", 15, Kind::Message(&SPAN_STATUS)),
    ],
};

static SPAN_EVENT: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::String),
        attributes(3),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static SPAN_LINK: Message = Message {
    fields: &[
        one("traceId", 1, Kind::TraceId),
        one("spanId", 2, Kind::SpanId),
        one("traceState", 3, Kind::String),
        attributes(4),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};

static SPAN_STATUS: Message =
    Message { fields: &[one("message", 2, Kind::String), one("code", 3, Kind::Enum)] };

static RESOURCE_METRICS: Message = Message {
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static SCOPE_METRICS: Message = Message {
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Kind::String),
    ],
};

static METRIC: Message = Message {
    fields: &[
        one("name", 1, Kind::String),
        one("description", 2, Kind::String),
        one("unit", 3, Kind::String),
        either("gauge", 5, Kind::Message(&GAUGE)),
        either("sum", 7, Kind::Message(&SUM)),
        either("histogram", 9, Kind::Message(&HISTOGRAM)),
        either("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        either("summary", 11, Kind::Message(&SUMMARY)),
        many("metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message { fields: &[many("dataPoints", 1, Kind::Message(&NUMBER_POINT))] };

static SUM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
        one("isMonotonic", 3, Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Message(&EXPONENTIAL_HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static SUMMARY: Message = Message { fields: &[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))] };

static NUMBER_POINT: Message = Message {
    fields: &[
        attributes(7),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        either("asDouble", 4, Kind::Double),
        either("asInt", 6, Kind::Sfixed64),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        one("flags", 8, Kind::Uint32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    fields: &[
        attributes(9),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        optional("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        one("flags", 10, Kind::Uint32),
        optional("min", 11, Kind::Double),
        optional("max", 12, Kind::Double),
    ],
};

static EXPONENTIAL_HISTOGRAM_POINT: Message = Message {
    fields: &[
        attributes(1),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        optional("sum", 5, Kind::Double),
        one("scale", 6, Kind::Sint32),
        one("zeroCount", 7, Kind::Fixed64),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Uint32),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        optional("min", 12, Kind::Double),
        optional("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ],
};

static BUCKETS: Message =
    Message { fields: &[one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)] };

static SUMMARY_POINT: Message = Message {
    fields: &[
        attributes(7),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&VALUE_AT_QUANTILE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static VALUE_AT_QUANTILE: Message =
    Message { fields: &[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)] };

static EXEMPLAR: Message = Message {
    fields: &[
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
        one("timeUnixNano", 2, Kind::Fixed64),
        either("asDouble", 3, Kind::Double),
        either("asInt", 6, Kind::Sfixed64),
        one("spanId", 4, Kind::SpanId),
        one("traceId", 5, Kind::TraceId),
    ],
};

static RESOURCE: Message = Message {
    fields: &[
        attributes(1),
        one("droppedAttributesCount", 2, Kind::Uint32),
        many("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    fields: &[
        one("schemaUrl", 1, Kind::String),
        one("type", 2, Kind::String),
        many("idKeys", 3, Kind::String),
        many("descriptionKeys", 4, Kind::String),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        one("name", 1, Kind::String),
        one("version", 2, Kind::String),
        attributes(3),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static KEY_VALUE: Message = Message {
    fields: &[
        one("key", 1, Kind::String),
        one("value", 2, Kind::Message(&ANY_VALUE)),
        one("keyStrindex", 3, Kind::Int32),
    ],
};

static ANY_VALUE: Message = Message {
    fields: &[
        either("stringValue", 1, Kind::String),
        either("boolValue", 2, Kind::Bool),
        either("intValue", 3, Kind::Int64),
        either("doubleValue", 4, Kind::Double),
        either("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        either("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        either("bytesValue", 7, Kind::Bytes),
        either("stringValueStrindex", 8, Kind::Int32),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[many("values", 1, Kind::Message(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[many("values", 1, Kind::Message(&KEY_VALUE))] };

/// The response to a signal's export.
pub(super) fn response(signal: Signal) -> &'static Message {
    match signal {
        Signal::Logs => &LOGS_RESPONSE,
        Signal::Metrics => &METRICS_RESPONSE,
        Signal::Traces => &TRACES_RESPONSE,
    }
}

static LOGS_RESPONSE: Message =
    Message { fields: &[one("partialSuccess", 1, Kind::Message(&LOGS_PARTIAL_SUCCESS))] };

static METRICS_RESPONSE: Message =
    Message { fields: &[one("partialSuccess", 1, Kind::Message(&METRICS_PARTIAL_SUCCESS))] };

static TRACES_RESPONSE: Message =
    Message { fields: &[one("partialSuccess", 1, Kind::Message(&TRACES_PARTIAL_SUCCESS))] };

static LOGS_PARTIAL_SUCCESS: Message =
    Message { fields: &[one("rejectedLogRecords", 1, Kind::Int64), one("errorMessage", 2, Kind::String)] };

static METRICS_PARTIAL_SUCCESS: Message =
    Message { fields: &[one("rejectedDataPoints", 1, Kind::Int64), one("errorMessage", 2, Kind::String)] };

static TRACES_PARTIAL_SUCCESS: Message =
    Message { fields: &[one("rejectedSpans", 1, Kind::Int64), one("errorMessage", 2, Kind::String)] };

/// `google.rpc.Status` as its JSON is laid out: an `Any` has its type and its message's fields side by side there, so
/// the numbers in a detail are ours.
pub(super) static STATUS: Message = Message {
    fields: &[
        one("code", 1, Kind::Int32),
        one("message", 2, Kind::String),
        many("details", 3, Kind::Message(&STATUS_DETAIL)),
    ],
};

static STATUS_DETAIL: Message =
    Message { fields: &[one("@type", 1, Kind::String), one("retryDelay", 2, Kind::String)] };
