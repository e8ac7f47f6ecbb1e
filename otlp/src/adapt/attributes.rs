//! Attributes as a destination takes them. What it would cut or drop without a word is cut and dropped here, where it
//! is counted and where the names that matter stay.

use super::Counts;
use crate::profile::AttributeLimits;
use crate::proto::common::{AnyValue, KeyValue, any_value::Value};

/// Beginnings of names that say who and where: they stay when there are too many.
const FIRST_PREFIXES: [&str; 4] = ["muster.", "service.", "host.", "user."];

/// Beginnings of names in OpenTelemetry's semantic conventions: they stay before others.
const SEMCONV_PREFIXES: [&str; 36] = [
    "app.",
    "aws.",
    "azure.",
    "client.",
    "cloud.",
    "code.",
    "container.",
    "cpu.",
    "db.",
    "deployment.",
    "device.",
    "enduser.",
    "error.",
    "event.",
    "exception.",
    "faas.",
    "file.",
    "gcp.",
    "gen_ai.",
    "geo.",
    "graphql.",
    "http.",
    "k8s.",
    "log.",
    "messaging.",
    "network.",
    "os.",
    "otel.",
    "peer.",
    "process.",
    "rpc.",
    "server.",
    "session.",
    "telemetry.",
    "thread.",
    "url.",
];

/// Where a list of attributes is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// Most attributes there.
    pub max: Option<usize>,
    /// Whether it is in a request of logs.
    pub logs: bool,
    /// Name of the metric that it is a point of.
    pub metric: Option<&'a str>,
}

/// Makes a list fit, and says how many attributes went.
pub(super) fn fit(
    list: &mut Vec<KeyValue>,
    place: Place<'_>,
    limits: &AttributeLimits,
    counts: &mut Counts,
) -> u32 {
    if *limits == AttributeLimits::NONE {
        return 0;
    }
    let before = list.len();
    list.retain(|attribute| is_kept(attribute, place, limits));
    keep_first(list, place.max);
    let mut changed = rename_keys(list, place, limits);
    for attribute in &mut *list {
        let cut = attribute.value.as_mut().is_some_and(|value| cut_value(value, limits));
        changed += u64::from(cut);
    }
    let dropped = before - list.len();
    counts.attributes_dropped += dropped as u64;
    counts.attributes_changed += changed;
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

fn is_kept(attribute: &KeyValue, place: Place<'_>, limits: &AttributeLimits) -> bool {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        None => !limits.empty_dropped,
        Some(value) => place.logs || !limits.complex_on_logs_only || !is_complex(value),
    }
}

/// Maps, and arrays whose elements are not all of one simple kind.
fn is_complex(value: &Value) -> bool {
    let Value::ArrayValue(array) = value else { return matches!(value, Value::KvlistValue(_)) };
    let mut kinds = array.values.iter().map(|element| element.value.as_ref().map(std::mem::discriminant));
    let nested = |element: &AnyValue| {
        matches!(element.value, None | Some(Value::ArrayValue(_) | Value::KvlistValue(_)))
    };
    let first = kinds.next();
    array.values.iter().any(nested) || kinds.any(|kind| Some(kind) != first)
}

/// Cuts texts, arrays and bytes, inside arrays and maps too. Whether anything was cut.
fn cut_value(any: &mut AnyValue, limits: &AttributeLimits) -> bool {
    match &mut any.value {
        Some(Value::StringValue(text)) => limits.value_chars_max.is_some_and(|max| cut_text(text, max)),
        Some(Value::BytesValue(bytes)) => limits.bytes_max.is_some_and(|max| cut_list(bytes, max)),
        Some(Value::ArrayValue(array)) => {
            let mut cut = limits.array_max.is_some_and(|max| cut_list(&mut array.values, max));
            array.values.iter_mut().for_each(|element| cut |= cut_value(element, limits));
            cut
        }
        Some(Value::KvlistValue(map)) => {
            let mut cut = false;
            let values = map.values.iter_mut().filter_map(|entry| entry.value.as_mut());
            values.for_each(|value| cut |= cut_value(value, limits));
            cut
        }
        _ => false,
    }
}

fn cut_list<T>(list: &mut Vec<T>, max: usize) -> bool {
    let cut = list.len() > max;
    list.truncate(max);
    cut
}

fn cut_text(text: &mut String, chars_max: usize) -> bool {
    // A text has at least as many bytes as characters.
    if text.len() <= chars_max {
        return false;
    }
    let end = text.char_indices().nth(chars_max).map(|(byte, _)| byte);
    if let Some(end) = end {
        text.truncate(end);
    }
    end.is_some()
}

/// Cuts long keys, and gives an underscore to those that a data point may not have. A key that then meets another one
/// goes: the other was there under its own name. How many keys changed.
fn rename_keys(list: &mut Vec<KeyValue>, place: Place<'_>, limits: &AttributeLimits) -> u64 {
    let chars_max = limits.key_chars_max.unwrap_or(usize::MAX);
    let reserved = |key: &str| {
        let keys = limits.metric_keys_reserved;
        place.metric.is_some_and(|name| !keys.is_empty() && (name == key || keys.contains(&key)))
    };
    let mut changed = 0;
    let mut index = 0;
    while index < list.len() {
        let mut key = list[index].key.clone();
        let mut other = cut_text(&mut key, chars_max);
        if reserved(&key) {
            key.push('_');
            other = true;
        }
        if other && list.iter().any(|attribute| attribute.key == key) {
            list.remove(index);
            continue;
        }
        if other {
            list[index].key = key;
            changed += 1;
        }
        index += 1;
    }
    changed
}

/// Keeps the `max` attributes that matter most, in the order they are in.
fn keep_first(list: &mut Vec<KeyValue>, max: Option<usize>) {
    let Some(max) = max.filter(|max| list.len() > *max) else { return };
    let mut by_rank: Vec<usize> = (0..list.len()).collect();
    by_rank.sort_by_key(|index| rank(&list[*index].key));
    let mut kept = vec![false; list.len()];
    by_rank.iter().take(max).for_each(|index| kept[*index] = true);
    let mut kept = kept.iter();
    list.retain(|_| kept.next().copied().unwrap_or(false));
}

fn rank(key: &str) -> u8 {
    if FIRST_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        0
    } else if SEMCONV_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        1
    } else {
        2
    }
}
