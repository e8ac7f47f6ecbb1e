//! Which stream a point belongs to: SHA-256, cut to 128 bits, over resource, scope, metric and attributes.
//!
//! Attributes count without regard to their order, since sources do not keep it; kinds of values do count. What is
//! hashed is what came in, before anything is cut. Every text is preceded by its length, so that no two things look alike.
//! The digests are in snapshots: a change here needs a new version there.

use sha2::{Digest, Sha256};

use crate::proto::common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use crate::proto::metrics::Metric;
use crate::proto::resource::Resource;

/// A stream, or what many streams have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct StreamId(pub u128);

impl StreamId {
    /// All streams of a resource.
    pub fn of_resource(resource: Option<&Resource>) -> Self {
        let mut hash = Sha256::new();
        attributes(&mut hash, resource.map_or(&[], |resource| &resource.attributes));
        finish(hash)
    }

    /// All streams of a scope in it.
    pub fn with_scope(self, scope: Option<&InstrumentationScope>) -> Self {
        let mut hash = self.begin();
        if let Some(scope) = scope {
            text(&mut hash, scope.name.as_bytes());
            text(&mut hash, scope.version.as_bytes());
            attributes(&mut hash, &scope.attributes);
        }
        finish(hash)
    }

    /// All streams of a metric in it. `kind` tells sums that rise from others, and kinds of histograms.
    pub fn with_metric(self, metric: &Metric, kind: u8) -> Self {
        let mut hash = self.begin();
        hash.update([kind]);
        text(&mut hash, metric.name.as_bytes());
        text(&mut hash, metric.unit.as_bytes());
        finish(hash)
    }

    /// One stream of it.
    pub fn with_point(self, point: &[KeyValue]) -> Self {
        let mut hash = self.begin();
        attributes(&mut hash, point);
        finish(hash)
    }

    fn begin(self) -> Sha256 {
        Sha256::new_with_prefix(self.0.to_le_bytes())
    }
}

fn finish(hash: Sha256) -> StreamId {
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    StreamId(u128::from_le_bytes(first))
}

fn text(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn attributes(hash: &mut Sha256, list: &[KeyValue]) {
    let mut sorted: Vec<_> = list.iter().collect();
    // Stable: of keys that are there twice the first stays first.
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    hash.update((sorted.len() as u64).to_le_bytes());
    for attribute in sorted {
        text(hash, attribute.key.as_bytes());
        value(hash, attribute.value.as_ref());
    }
}

fn value(hash: &mut Sha256, any: Option<&AnyValue>) {
    match any.and_then(|any| any.value.as_ref()) {
        None => hash.update([0]),
        Some(Value::StringValue(string)) => {
            hash.update([1]);
            text(hash, string.as_bytes());
        }
        Some(Value::BoolValue(bool)) => hash.update([2, u8::from(*bool)]),
        Some(Value::IntValue(int)) => {
            hash.update([3]);
            hash.update(int.to_le_bytes());
        }
        Some(Value::DoubleValue(double)) => {
            hash.update([4]);
            hash.update(double.to_bits().to_le_bytes());
        }
        Some(Value::ArrayValue(array)) => {
            hash.update([5]);
            hash.update((array.values.len() as u64).to_le_bytes());
            array.values.iter().for_each(|element| value(hash, Some(element)));
        }
        Some(Value::KvlistValue(map)) => {
            hash.update([6]);
            attributes(hash, &map.values);
        }
        Some(Value::BytesValue(bytes)) => {
            hash.update([7]);
            text(hash, bytes);
        }
        Some(Value::StringValueStrindex(index)) => {
            hash.update([8]);
            hash.update(index.to_le_bytes());
        }
    }
}
