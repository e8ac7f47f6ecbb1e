//! What a log event carries, as a JSON object.
//!
//! A key that comes twice has its first value. A reference to a text is small and the text may be long, so what one
//! record may become is bounded: an object at [`OBJECT_BYTES_MAX`], all objects of a record at [`RECORD_BYTES_MAX`].

use std::collections::HashSet;

use muster::v1;
use muster::v1::attribute::Value;

/// Longest object, but for the mark of the cut.
const OBJECT_BYTES_MAX: usize = 16 << 10;
/// Most bytes of objects of one record: four times the largest batch.
const RECORD_BYTES_MAX: usize = 4 * muster::limits::BATCH_BYTES_MAX;
/// Ends an object of which something was left out.
const CUT: &str = "\"muster.cut\":true";

/// The object at hand.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    object: Vec<u8>,
    record_bytes: usize,
}

impl Attributes {
    /// Begins a record.
    pub(super) fn start(&mut self) {
        self.record_bytes = 0;
    }

    /// The object at hand.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.object).unwrap_or("{}")
    }

    /// The attributes of a log event; whether there are some.
    pub(super) fn log(&mut self, batch: &v1::Batch, attributes: &[v1::Attribute]) -> bool {
        let text = |index: u32| batch.strings.get(index as usize).map_or("", String::as_str);
        self.object(attributes.iter().map(|attribute| {
            let value = match attribute.value {
                Some(Value::Text(index)) => Json::Text(text(index)),
                Some(Value::Integer(number)) => Json::Integer(number),
                Some(Value::Number(number)) => Json::Number(number),
                Some(Value::Truth(truth)) => Json::Truth(truth),
                None => Json::Null,
            };
            (text(attribute.key), value)
        }))
    }

    /// The settings of a tool; whether there are some.
    pub(super) fn settings(&mut self, batch: &v1::Batch, settings: &v1::ToolSettings) -> bool {
        let text = |index: u32| batch.strings.get(index as usize).map_or("", String::as_str);
        let rate =
            (settings.sample_rate > 0.0).then_some(("sample_rate", Json::Number(settings.sample_rate)));
        let names = settings.disabled_metrics.iter().map(|&name| text(name));
        self.object(rate.into_iter().chain(names.map(|name| (name, Json::Disabled))))
    }

    fn object<'a>(&mut self, members: impl Iterator<Item = (&'a str, Json<'a>)>) -> bool {
        self.object.clear();
        let bytes_max = OBJECT_BYTES_MAX.min(RECORD_BYTES_MAX.saturating_sub(self.record_bytes));
        let mut seen = HashSet::new();
        for (key, value) in members.filter(|(key, _)| seen.insert(*key)) {
            let before = self.object.len();
            self.object.push(if before == 0 { b'{' } else { b',' });
            put_text(&mut self.object, key);
            self.object.push(b':');
            value.put(&mut self.object);
            if self.object.len() >= bytes_max {
                self.object.truncate(before);
                self.object.push(if before == 0 { b'{' } else { b',' });
                self.object.extend_from_slice(CUT.as_bytes());
                break;
            }
        }
        if self.object.is_empty() {
            return false;
        }
        self.object.push(b'}');
        self.record_bytes += self.object.len();
        true
    }
}

enum Json<'a> {
    Text(&'a str),
    Integer(i64),
    Number(f64),
    Truth(bool),
    Null,
    Disabled,
}

impl Json<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Json::Text(text) => put_text(out, text),
            Json::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Json::Number(number) if number.is_finite() => {
                out.extend_from_slice(
                    serde_json::Number::from_f64(number)
                        .map_or_else(|| "null".to_owned(), |number| number.to_string())
                        .as_bytes(),
                );
            }
            Json::Truth(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
            Json::Number(_) | Json::Null => out.extend_from_slice(b"null"),
            Json::Disabled => out.extend_from_slice(b"\"disabled\""),
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a vector takes every text");
}
