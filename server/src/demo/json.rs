//! JSON with its keys in the order of writing, in the three layouts of the watched tools.
//!
//! `serde_json` sorts keys and knows one compact layout; the tools write through Python's `json`, through `jq` and
//! through shell text. A reader under test must see their bytes, so the demo writes its own.

use std::borrow::Cow;

/// A JSON value whose objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// Finite by construction: the demo computes no others.
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(Cow<'static, str>, Json)>),
}

/// An object, keys in this order.
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {
        $crate::demo::json::Json::Object(vec![
            $((std::borrow::Cow::Borrowed($key), $crate::demo::json::Json::from($value))),*
        ])
    };
}
pub(super) use object;

/// How a writer lays out its text.
#[derive(Clone, Copy)]
struct Layout {
    between_items: &'static str,
    after_key: &'static str,
    indented: bool,
    ascii_only: bool,
}

impl Json {
    /// As the shell scripts write one line: `{"a":1}`.
    pub(super) fn compact(&self) -> String {
        self.laid_out(Layout { between_items: ",", after_key: ":", indented: false, ascii_only: false })
    }

    /// As Python's `json.dumps` writes one line: `{"a": 1}`, ASCII only.
    pub(super) fn line(&self) -> String {
        self.laid_out(Layout { between_items: ", ", after_key: ": ", indented: false, ascii_only: true })
    }

    /// As `json.dumps(indent=2)` and `jq` write a file, without a newline at the end.
    pub(super) fn pretty(&self) -> String {
        self.laid_out(Layout { between_items: ",", after_key: ": ", indented: true, ascii_only: true })
    }

    fn laid_out(&self, layout: Layout) -> String {
        let mut text = String::new();
        self.write(&mut text, layout, 0);
        text
    }

    fn write(&self, text: &mut String, layout: Layout, depth: usize) {
        match self {
            Json::Null => text.push_str("null"),
            Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Json::Integer(value) => text.push_str(&value.to_string()),
            // Debug keeps the `.0` of whole numbers, as Python does.
            Json::Float(value) => text.push_str(&format!("{value:?}")),
            Json::Text(value) => write_text(text, value, layout.ascii_only),
            Json::List(items) => write_items(text, layout, depth, ['[', ']'], items, |text, item| {
                item.write(text, layout, depth + 1);
            }),
            Json::Object(entries) => {
                write_items(text, layout, depth, ['{', '}'], entries, |text, (key, value)| {
                    write_text(text, key, layout.ascii_only);
                    text.push_str(layout.after_key);
                    value.write(text, layout, depth + 1);
                });
            }
        }
    }
}

fn write_items<T>(
    text: &mut String,
    layout: Layout,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut write_item: impl FnMut(&mut String, &T),
) {
    text.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(layout.between_items);
        }
        if layout.indented {
            break_line(text, depth + 1);
        }
        write_item(text, item);
    }
    if layout.indented && !items.is_empty() {
        break_line(text, depth);
    }
    text.push(close);
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    for _ in 0..depth {
        text.push_str("  ");
    }
}

fn write_text(text: &mut String, value: &str, ascii_only: bool) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if u32::from(control) < 0x20 => text.push_str(&format!("\\u{:04x}", u32::from(control))),
            wide if ascii_only && !wide.is_ascii() => {
                let mut units = [0; 2];
                for unit in wide.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Json::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Json::Text(value)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Self {
        Json::Integer(i64::from(value))
    }
}

impl From<u64> for Json {
    /// The demo's numbers are far below the limit; one above it would read as the limit.
    fn from(value: u64) -> Self {
        Json::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Self {
        Json::Integer(i64::from(value))
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Json::from(value as u64)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Json::Float(value)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    fn sample() -> Json {
        object! {
            "z": 1, "a": vec![Json::from(0.5), Json::from(2.0)], "empty": Vec::<Json>::new(),
            "text": "\u{2713} \"12\"\n", "none": Option::<u64>::None, "in": object! { "yes": true },
        }
    }

    #[test]
    fn every_layout_is_the_same_value_with_keys_in_the_order_of_writing() {
        let expected = serde_json::json!({
            "z": 1, "a": [0.5, 2.0], "empty": [], "text": "\u{2713} \"12\"\n", "none": null, "in": { "yes": true },
        });
        for text in [sample().compact(), sample().line(), sample().pretty()] {
            let parsed: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            assert_eq!(parsed, expected, "{text}");
            assert!(text.find("\"z\"") < text.find("\"a\""), "{text}");
        }
    }

    #[test]
    fn lines_have_the_spaces_and_escapes_of_python() {
        let text = sample().line();
        assert!(text.starts_with("{\"z\": 1, \"a\": [0.5, 2.0], \"empty\": []"), "{text}");
        assert!(text.contains("\\u2713"), "{text}");
        assert!(text.is_ascii());
    }
}
