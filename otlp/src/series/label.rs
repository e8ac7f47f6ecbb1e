//! Labels from attributes (contracts/otlp.md section 3.1).
//!
//! - A name keeps ASCII letters, digits and `_`; runs of anything else become one `_`; one that would begin with a digit
//!   or `_` gets `key` before it, since such names are reserved.
//! - A name that is ours (`team`, `user`, `host`, `project`, `job`, `instance`), the scope's or the format's (`le`,
//!   `quantile`) becomes `exported_...`, as Prometheus does it, whether ours is there or not: a label means one thing.
//! - Attributes that get one name share a label: their values in the order of their keys, joined with `;`.
//! - A value that is no text reads as JSON. An empty value is no label.
//! - Session, conversation, run, request and message ids are never labels (design.md section 6): they are left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use metrics::exposition::{LABEL_BYTES_MAX, label_value};

use crate::proto::common::any_value::Value;
use crate::proto::common::{AnyValue, KeyValue};

/// Most labels of a series beside its target's.
pub(super) const LABELS_MAX: usize = 64;
/// How deep a value is shown. What is deeper is `null`: nesting must not cost the stack.
const DEPTH_MAX: usize = 8;

/// Labels that attributes may not set.
const OURS: [&str; 11] = [
    "team",
    "user",
    "host",
    "project",
    "job",
    "instance",
    "le",
    "quantile",
    SCOPE_NAME,
    SCOPE_VERSION,
    SCOPE_SCHEMA_URL,
];
pub(super) const SCOPE_NAME: &str = "otel_scope_name";
pub(super) const SCOPE_VERSION: &str = "otel_scope_version";
pub(super) const SCOPE_SCHEMA_URL: &str = "otel_scope_schema_url";

/// Ids of something that happens once, by their letters and digits alone in lower case.
const IDS: [&str; 26] = [
    "callid",
    "chatsessionid",
    "clientrequestid",
    "conversationid",
    "eventid",
    "eventsequence",
    "genaiconversationid",
    "genairesponseid",
    "genaitoolcallid",
    "interactionid",
    "messageid",
    "messageuuid",
    "promptid",
    "requestid",
    "responseid",
    "runid",
    "sessionid",
    "sessionuuid",
    "spanid",
    "taskid",
    "threadid",
    "toolcallid",
    "tooluseid",
    "traceid",
    "turnid",
    "workflowrunid",
];

/// Whether an attribute is the id of something that happens once.
pub(super) fn is_id(key: &str) -> bool {
    // No id's name is longer; a long key is not copied.
    if key.len() > 64 {
        return false;
    }
    let letters = key.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let letters: Vec<u8> = letters.collect();
    IDS.iter().any(|id| id.as_bytes() == letters)
}

/// A label's name from an attribute's key.
pub(super) fn name(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.ends_with('_') {
            name.push('_');
        }
        if name.len() >= LABEL_BYTES_MAX {
            break;
        }
    }
    match name.as_bytes().first() {
        Some(first) if first.is_ascii_digit() => name.insert_str(0, "key_"),
        Some(b'_') | None => name.insert_str(0, "key"),
        Some(_) => {}
    }
    name
}

/// Labels in the order of their names, each with the values that share it, by their keys.
#[derive(Debug, Default, Clone)]
pub(super) struct Labels(BTreeMap<String, BTreeMap<String, String>>);

impl Labels {
    /// Adds an attribute of a point under the rules above.
    pub(super) fn add_attribute(&mut self, attribute: &KeyValue) {
        let label = name(&attribute.key);
        let label = if OURS.contains(&label.as_str()) { format!("exported_{label}") } else { label };
        self.add(label, &attribute.key, text(attribute.value.as_ref()));
    }

    /// Adds a label of ours.
    pub(super) fn add(&mut self, label: String, key: &str, value: String) {
        if !value.is_empty() {
            self.0.entry(label).or_default().insert(key.to_owned(), value);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What stands between the braces, after what is there already.
    pub(super) fn write(&self, out: &mut String) {
        for (label, values) in &self.0 {
            let mut values = values.values();
            let first = values.next().map_or("", String::as_str);
            if values.len() == 0 {
                push(label, first, out);
            } else {
                let rest: Vec<&str> = values.map(String::as_str).collect();
                push(label, &format!("{first};{}", rest.join(";")), out);
            }
        }
    }
}

/// Writes one label; nothing for an empty value.
pub(super) fn push(label: &str, value: &str, out: &mut String) {
    if value.is_empty() {
        return;
    }
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(label);
    out.push_str("=\"");
    out.push_str(&label_value(value));
    out.push('"');
}

/// A value as a label shows it.
pub(super) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => {
            // What is cut off later is not copied either.
            text[..text.floor_char_boundary(LABEL_BYTES_MAX + 1)].to_owned()
        }
        Some(Value::BytesValue(bytes)) => BASE64.encode(&bytes[..bytes.len().min(LABEL_BYTES_MAX)]),
        Some(other) => {
            let mut out = String::new();
            json(other, 0, &mut out);
            out
        }
    }
}

/// Writes a value as JSON, as much of it as a label has room for.
fn json(value: &Value, depth: usize, out: &mut String) {
    if out.len() > LABEL_BYTES_MAX {
        return;
    }
    match value {
        Value::StringValue(text) => {
            let text = &text[..text.floor_char_boundary(LABEL_BYTES_MAX)];
            out.push_str(&serde_json::Value::from(text).to_string());
        }
        Value::BoolValue(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::IntValue(number) => out.push_str(&number.to_string()),
        Value::DoubleValue(number) => out.push_str(&double(*number)),
        Value::BytesValue(bytes) => {
            let bytes = &bytes[..bytes.len().min(LABEL_BYTES_MAX)];
            out.push_str(&serde_json::Value::from(BASE64.encode(bytes)).to_string());
        }
        Value::ArrayValue(array) if depth < DEPTH_MAX => {
            out.push('[');
            for (index, item) in array.values.iter().take(LABEL_BYTES_MAX).enumerate() {
                separator(index, out);
                item_json(Some(item), depth, out);
            }
            out.push(']');
        }
        Value::KvlistValue(list) if depth < DEPTH_MAX => {
            out.push('{');
            let mut entries: Vec<&KeyValue> = list.values.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            for (index, entry) in entries.into_iter().take(LABEL_BYTES_MAX).enumerate() {
                separator(index, out);
                let key = &entry.key[..entry.key.floor_char_boundary(LABEL_BYTES_MAX)];
                out.push_str(&serde_json::Value::from(key).to_string());
                out.push(':');
                item_json(entry.value.as_ref(), depth, out);
            }
            out.push('}');
        }
        Value::ArrayValue(_) | Value::KvlistValue(_) | Value::StringValueStrindex(_) => out.push_str("null"),
    }
}

fn item_json(item: Option<&AnyValue>, depth: usize, out: &mut String) {
    match item.and_then(|item| item.value.as_ref()) {
        Some(value) => json(value, depth + 1, out),
        None => out.push_str("null"),
    }
}

fn separator(index: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
}

/// The shortest text of a double; whole ones without a fraction, as everybody's translator has it.
fn double(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if number == 0.0 || (1e-6..1e21).contains(&number.abs()) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::{ArrayValue, KeyValueList};

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
    }

    fn string(key: &str, value: &str) -> KeyValue {
        attribute(key, Value::StringValue(value.to_owned()))
    }

    fn labels(attributes: &[KeyValue]) -> String {
        let mut labels = Labels::default();
        attributes.iter().for_each(|attribute| labels.add_attribute(attribute));
        let mut out = String::new();
        labels.write(&mut out);
        out
    }

    #[test]
    fn names_are_escaped_by_the_table() {
        for (key, expected) in [
            ("http.status_code", "http_status_code"),
            ("a..b--c", "a_b_c"),
            ("a__b", "a_b"),
            ("1st", "key_1st"),
            ("_private", "key_private"),
            ("__name__", "key_name_"),
            ("", "key"),
            (".", "key_"),
            ("größe", "gr_e"),
            ("le", "le"),
        ] {
            assert_eq!(name(key), expected, "{key}");
        }
    }

    #[test]
    fn attributes_that_get_one_name_share_a_label_in_the_order_of_their_keys() {
        assert_eq!(labels(&[string("a_b", "3"), string("a.b", "2"), string("a-b", "1")]), r#"a_b="1;2;3""#);
        assert_eq!(labels(&[string("a.b", "2"), string("a.b", "3")]), r#"a_b="3""#);
    }

    #[test]
    fn what_is_ours_is_exported_under_another_name() {
        let text = labels(&[string("team", "x"), string("le", "1"), string("otel.scope.name", "s")]);
        assert_eq!(text, r#"exported_le="1",exported_otel_scope_name="s",exported_team="x""#);
    }

    #[test]
    fn values_that_are_no_text_read_as_json() {
        let item = |value| AnyValue { value: Some(value) };
        let array = ArrayValue {
            values: vec![
                item(Value::StringValue("a\"b".into())),
                item(Value::IntValue(-3)),
                AnyValue::default(),
            ],
        };
        let list = KeyValueList { values: vec![attribute("b", Value::BoolValue(true)), string("a", "x")] };
        for (value, expected) in [
            (Value::BoolValue(false), "false"),
            (Value::IntValue(i64::MIN), "-9223372036854775808"),
            (Value::DoubleValue(1.0), "1"),
            (Value::DoubleValue(0.25), "0.25"),
            (Value::DoubleValue(1e300), "1e300"),
            (Value::DoubleValue(f64::NAN), "NaN"),
            (Value::BytesValue(b"hi!".to_vec()), "aGkh"),
            (Value::ArrayValue(array), r#"["a\"b",-3,null]"#),
            (Value::KvlistValue(list), r#"{"a":"x","b":true}"#),
        ] {
            assert_eq!(text(Some(&item(value))), expected);
        }
        assert_eq!(labels(&[string("empty", "")]), "");
    }

    #[test]
    fn a_value_nested_a_thousand_deep_is_a_short_label() {
        let nested = (0..1_000).fold(Value::IntValue(1), |value, _| {
            Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] })
        });
        assert_eq!(text(Some(&AnyValue { value: Some(nested) })), "[[[[[[[[null]]]]]]]]");
    }

    #[test]
    fn ids_of_what_happens_once_are_known_in_every_spelling() {
        for key in ["session.id", "sessionId", "session_id", "conversation.id", "gen_ai.conversation.id"] {
            assert!(is_id(key), "{key}");
        }
        for key in ["user.id", "user.account_uuid", "organization.id", "model", "service.instance.id", "id"] {
            assert!(!is_id(key), "{key}");
        }
    }
}
