//! Attributes of a record, span, point or resource.

use super::keys::{Key, Type};
use crate::proto::common::any_value::Value;
use crate::proto::common::{AnyValue, ArrayValue, KeyValue};

/// A list of attributes whose keys are unique: the first one of a key stays.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// A text; "" is not known and so is no attribute.
    pub(super) fn text(&mut self, key: Key, text: &str) {
        debug_assert_eq!(key.of, Type::Text, "{}", key.name);
        if !text.is_empty() {
            self.push(key.name, Value::StringValue(text.to_owned()));
        }
    }

    /// An integer.
    pub(super) fn integer(&mut self, key: Key, number: u64) {
        self.signed(key, i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// An integer, if it is known.
    pub(super) fn integer_if(&mut self, key: Key, number: Option<u64>) {
        if let Some(number) = number {
            self.integer(key, number);
        }
    }

    /// An integer that is not known when it is 0.
    pub(super) fn positive(&mut self, key: Key, number: u64) {
        self.integer_if(key, Some(number).filter(|number| *number > 0));
    }

    /// An integer that may be negative.
    pub(super) fn signed(&mut self, key: Key, number: i64) {
        debug_assert_eq!(key.of, Type::Integer, "{}", key.name);
        self.push(key.name, Value::IntValue(number));
    }

    /// A number, if it is known. One that is none (NaN, infinite) is not known.
    pub(super) fn number_if(&mut self, key: Key, number: Option<f64>) {
        debug_assert_eq!(key.of, Type::Number, "{}", key.name);
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.push(key.name, Value::DoubleValue(number));
        }
    }

    /// A truth value.
    pub(super) fn truth(&mut self, key: Key, truth: bool) {
        debug_assert_eq!(key.of, Type::Truth, "{}", key.name);
        self.push(key.name, Value::BoolValue(truth));
    }

    /// A list of texts; an empty one is no attribute.
    pub(super) fn texts<'a>(&mut self, key: Key, texts: impl Iterator<Item = &'a str>) {
        debug_assert_eq!(key.of, Type::Texts, "{}", key.name);
        let values: Vec<_> = texts.map(|text| any_value(Value::StringValue(text.to_owned()))).collect();
        if !values.is_empty() {
            self.push(key.name, Value::ArrayValue(ArrayValue { values }));
        }
    }

    /// An attribute whose key somebody else chose. One that is there already stays as it is.
    pub(super) fn foreign(&mut self, key: String, value: Value) {
        if !self.0.iter().any(|attribute| attribute.key == key) {
            self.0.push(KeyValue { key, value: Some(any_value(value)), ..Default::default() });
        }
    }

    pub(super) fn into_vec(self) -> Vec<KeyValue> {
        self.0
    }

    fn push(&mut self, key: &str, value: Value) {
        debug_assert!(self.0.iter().all(|attribute| attribute.key != key), "{key} twice");
        self.0.push(KeyValue { key: key.to_owned(), value: Some(any_value(value)), ..Default::default() });
    }
}

fn any_value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
