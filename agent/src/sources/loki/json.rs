//! Reading JSON as leniently as Loki Mode's own reader does, without ever building a tree of a large file.
//!
//! Python, jq, bash and language models write these files. What Python's `json` takes is taken (`NaN`, `Infinity`,
//! numbers of any size, lone surrogates), and so are the known faults of the writers: a byte order mark, invalid UTF-8,
//! leading zeros, a trailing point, raw line ends and single backslashes inside a string. A value that is no finite
//! number reads as `null`: a number is true or absent. Nesting deeper than serde_json's limit is an error.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Longest text of a field that is kept: words of state are far shorter.
const TEXT_BYTES_MAX: usize = 1024;

/// Parses `bytes`, mending what can be mended. `None`: it is no JSON of this shape.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice(bytes)
        .ok()
        .or_else(|| serde_json::from_str(&mend(&String::from_utf8_lossy(bytes))).ok())
}

/// A value of any type that is kept when it is a scalar.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Loose {
    /// Absent, `null`, or no finite number.
    #[default]
    Null,
    /// A truth value.
    Truth(bool),
    /// An integer.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text, cut at 1 KiB.
    Text(String),
    /// A list or an object; its content is passed over.
    Nested,
}

impl Loose {
    /// As Python's `float()` reads it; `None` when that fails or is not finite.
    pub(super) fn as_float(&self) -> Option<f64> {
        let value = match self {
            Loose::Truth(truth) => f64::from(u8::from(*truth)),
            Loose::Integer(n) => *n as f64,
            Loose::Number(n) => *n,
            Loose::Text(text) => text.trim().parse().ok()?,
            Loose::Null | Loose::Nested => return None,
        };
        value.is_finite().then_some(value)
    }

    /// A number alone, no text: what Python can divide.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Loose::Text(_) => None,
            other => other.as_float(),
        }
    }

    /// A count: a whole number that is not negative, also written as a text or as `7.0`.
    pub(super) fn as_count(&self) -> Option<u64> {
        match self {
            Loose::Integer(n) => u64::try_from(*n).ok(),
            Loose::Number(n) if *n >= 0.0 && n.fract() == 0.0 && *n < 9e15 => Some(*n as u64),
            Loose::Text(text) => python_int(text).and_then(|n| u64::try_from(n).ok()),
            _ => None,
        }
    }

    /// The text, "" when it is none.
    pub(super) fn as_text(&self) -> &str {
        match self {
            Loose::Text(text) => text,
            _ => "",
        }
    }
}

/// What Python's `int()` takes from a text: blanks around it, a sign, single underscores between digits.
pub(super) fn python_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let plain = digits.split('_').all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()));
    if !plain {
        return None;
    }
    let value: i64 = digits.replace('_', "").parse().ok()?;
    Some(if negative { -value } else { value })
}

/// The length of a list, object or text as Python's `len()` gives it; `None` for anything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Length(pub Option<u64>);

/// A list's elements; `None` when the value is no list.
#[derive(Debug, Clone)]
pub(super) struct List<T>(pub Option<Vec<T>>);

/// An object of a known shape; `None` when the value is no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object<T>(pub Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Answers what a visitor has no method for with one value.
macro_rules! scalars_are {
    ($value:expr; $($method:ident($type:ty)),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok($value) })*
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok($value) }
        fn visit_none<E>(self) -> Result<Self::Value, E> { Ok($value) }
    };
}

fn drain_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<u64, A::Error> {
    let mut count = 0;
    while seq.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn drain_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<u64, A::Error> {
    let mut count = 0;
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose::Null)
            }
            fn visit_none<E>(self) -> Result<Loose, E> {
                Ok(Loose::Null)
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Loose, E> {
                Ok(Loose::Truth(truth))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Loose, E> {
                Ok(Loose::Integer(n))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Loose, E> {
                Ok(i64::try_from(n).map_or(Loose::Number(n as f64), Loose::Integer))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Loose, E> {
                Ok(if n.is_finite() { Loose::Number(n) } else { Loose::Null })
            }
            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Loose, A::Error> {
                drain_seq(seq).map(|_| Loose::Nested)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Loose, A::Error> {
                drain_map(map).map(|_| Loose::Nested)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Measure;
        impl<'de> Visitor<'de> for Measure {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            scalars_are! { Length(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64) }
            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length(Some(text.chars().count() as u64)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Length, A::Error> {
                drain_seq(seq).map(|count| Length(Some(count)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Length, A::Error> {
                drain_map(map).map(|count| Length(Some(count)))
            }
        }
        deserializer.deserialize_any(Measure)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Shape<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            scalars_are! { Object(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Object<T>, A::Error> {
                drain_seq(seq).map(|_| Object(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|shape| Object(Some(shape)))
            }
        }
        deserializer.deserialize_any(Shape(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            scalars_are! { List(None); visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(List(Some(elements)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<List<T>, A::Error> {
                drain_map(map).map(|_| List(None))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

/// Rewrites the known faults so that a strict parser takes the text. What stays wrong stays wrong.
fn mend(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            rest = mend_string(rest, &mut out);
        } else if c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.') {
            let len = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
                .unwrap_or(rest.len());
            out.push_str(&mend_scalar(&rest[..len]));
            rest = &rest[len..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Copies one string from its opening quote to its closing one; answers what follows.
fn mend_string<'a>(text: &'a str, out: &mut String) -> &'a str {
    out.push('"');
    let mut rest = &text[1..];
    while let Some(c) = rest.chars().next() {
        match c {
            '"' => {
                out.push('"');
                return &rest[1..];
            }
            '\\' => rest = mend_escape(rest, out),
            c if u32::from(c) < 0x20 => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                rest = &rest[1..];
            }
            c => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    rest
}

fn mend_escape<'a>(text: &'a str, out: &mut String) -> &'a str {
    match text.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            out.push_str(&text[..2]);
            &text[2..]
        }
        Some(b'u') if code_unit(text).is_some() => {
            let paired = matches!(code_unit(text), Some(0xD800..=0xDBFF))
                && text.get(6..).and_then(code_unit).is_some_and(|low| (0xDC00..=0xDFFF).contains(&low));
            if paired {
                out.push_str(&text[..12]);
                return &text[12..];
            }
            let lone = matches!(code_unit(text), Some(0xD800..=0xDFFF));
            out.push_str(if lone { "\\ufffd" } else { &text[..6] });
            &text[6..]
        }
        _ => {
            out.push_str("\\\\");
            &text[1..]
        }
    }
}

/// The number of a `\uXXXX` at the start of `text`.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

fn mend_scalar(token: &str) -> Cow<'_, str> {
    if matches!(token, "NaN" | "Infinity" | "-Infinity") {
        return Cow::Borrowed("null");
    }
    let (sign, digits) = token.strip_prefix('-').map_or(("", token), |digits| ("-", digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Cow::Borrowed(token);
    }
    match token.parse::<f64>() {
        Ok(value) if !value.is_finite() => Cow::Borrowed("null"),
        Ok(_) => {
            let trimmed = digits.trim_start_matches('0');
            let zero = if trimmed.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
            let tail = if trimmed.ends_with('.') { "0" } else { "" };
            Cow::Owned(format!("{sign}{zero}{trimmed}{tail}"))
        }
        Err(_) => Cow::Borrowed(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_the_writers_get_wrong_is_read_all_the_same() {
        let cases = [
            ("{\"a\":NaN,\"b\":-Infinity,\"c\":1e999}", "{\"a\":null,\"b\":null,\"c\":null}"),
            ("{\"a\":0123}", "{\"a\":123}"),
            ("{\"a\":12.}", "{\"a\":12.0}"),
            ("{\"a\":-007,\"b\":00}", "{\"a\":-7,\"b\":0}"),
            ("{\"a\":\"x\ny\"}", "{\"a\":\"x\\ny\"}"),
            ("{\"a\":\"C:\\dir\"}", "{\"a\":\"C:\\\\dir\"}"),
            ("{\"a\":\"\\ud800 x\"}", "{\"a\":\"\u{fffd} x\"}"),
            ("\u{feff}{\"a\":NaN}", "{\"a\":null}"),
        ];
        for (given, meant) in cases {
            let meant: Value = serde_json::from_str(meant).unwrap();
            assert_eq!(parse::<Value>(given.as_bytes()), Some(meant), "{given}");
        }
        for wrong in ["", "{", "{\"a\": ,\"b\":1}", "{\"a\":\"b", "[1,2", "nonsense"] {
            assert_eq!(parse::<Value>(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse::<Loose>("9".repeat(4000).as_bytes()), Some(Loose::Null));
        assert_eq!(parse::<Value>("[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn texts_read_as_integers_only_where_python_would() {
        for (text, value) in [("42\n", 42), (" +5 ", 5), ("4_242", 4242), ("-1", -1), ("0", 0)] {
            assert_eq!(python_int(text), Some(value), "{text:?}");
        }
        for text in ["", "4__2", "_4", "4_", "4242 4243", "0x10", "1e3", "99999999999999999999", "--1"] {
            assert_eq!(python_int(text), None, "{text:?}");
        }
    }
}
