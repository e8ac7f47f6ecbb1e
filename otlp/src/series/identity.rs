//! Who a stream is: everything that tells it from another, as 128 bits of SHA-256.
//!
//! A stream is one writer's sequence of points: resource, scope, metric and all attributes, with those that are no
//! labels. Attributes are a set, so their order does not matter. Every text stands with its length, so that no two
//! different streams read the same.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::proto::common::KeyValue;

/// A stream.
pub(super) type StreamId = [u8; 16];

/// What is known of a stream so far.
#[derive(Debug, Clone)]
pub(super) struct Identity(Sha256);

impl Identity {
    /// A resource or the like, as `texts` and a set of attributes.
    pub(super) fn new(texts: &[&str], attributes: &[KeyValue]) -> Self {
        let mut identity = Self(Sha256::new());
        identity.add(texts, attributes);
        identity
    }

    /// Narrows it.
    pub(super) fn and(&self, texts: &[&str], attributes: &[KeyValue]) -> Self {
        let mut narrower = self.clone();
        narrower.add(texts, attributes);
        narrower
    }

    /// The stream of a point; `start` where a new start is a new stream.
    pub(super) fn stream(&self, attributes: &[KeyValue], start: u64) -> StreamId {
        let mut whole = self.clone();
        whole.add(&[], attributes);
        whole.0.update(start.to_le_bytes());
        let digest = whole.0.finalize();
        let mut id = StreamId::default();
        id.copy_from_slice(&digest[..16]);
        id
    }

    fn add(&mut self, texts: &[&str], attributes: &[KeyValue]) {
        for text in texts {
            self.length(text.len());
            self.0.update(text.as_bytes());
        }
        self.length(attributes.len());
        let mut sorted: Vec<&KeyValue> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        let mut encoded = Vec::new();
        for attribute in sorted {
            encoded.clear();
            // A Vec always has room.
            let _ = attribute.encode(&mut encoded);
            self.length(encoded.len());
            self.0.update(&encoded);
        }
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::AnyValue;
    use crate::proto::common::any_value::Value;

    fn attribute(key: &str, value: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
        KeyValue { key: key.to_owned(), value, ..Default::default() }
    }

    #[test]
    fn attributes_are_a_set_and_texts_have_ends() {
        let base = Identity::new(&["a", "b"], &[]);
        let (x, y) = (attribute("x", "1"), attribute("y", "2"));
        assert_eq!(base.stream(&[x.clone(), y.clone()], 7), base.stream(&[y.clone(), x.clone()], 7));
        let (x, y) = ([x], [y]);
        assert_ne!(base.stream(&x, 7), base.stream(&x, 8));
        assert_ne!(base.stream(&x, 7), base.stream(&y, 7));
        assert_ne!(Identity::new(&["ab", ""], &[]).stream(&[], 0), base.stream(&[], 0));
    }

    #[test]
    fn the_id_of_a_stream_is_the_same_in_every_version() {
        // Snapshots hold it: a change here needs another version of the snapshot.
        let id = Identity::new(&["team"], &[attribute("service.name", "x")]).stream(&[], 1);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6d068ab4f14dc844baf6826a603398bd");
    }
}
