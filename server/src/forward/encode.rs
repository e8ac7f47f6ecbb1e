//! An `Export*ServiceRequest` as it travels: protobuf or JSON, compressed or not.
//!
//! Levels are the fastest ones: a collector forwards everything it gets, and the first level takes most of what there is
//! to take out of telemetry.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression as GzipLevel;
use flate2::write::GzEncoder;
use otlp::profile::{Compression, PayloadLimit, Transport};
use otlp::{Signal, json, wire};

use super::cut::halves;
use crate::config::destination::Destination;

const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How a destination's requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) transport: Transport,
    pub(super) compression: Compression,
}

impl Destination {
    /// How its requests are written.
    pub(super) fn encoding(&self) -> Encoding {
        Encoding { transport: self.transport, compression: self.compression }
    }
}

/// One request, made and not yet sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) signal: Signal,
    /// Log records, data points or spans in it.
    pub(super) items: u64,
    /// As protobuf.
    pub(super) request: Bytes,
    /// As it travels; without compression and JSON the same bytes.
    pub(super) body: Bytes,
}

/// A request that cannot be made fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) items: u64,
    pub(super) request: Bytes,
    pub(super) why: String,
}

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) fit: Vec<Outgoing>,
    pub(super) unfit: Vec<Unfit>,
}

impl Encoding {
    /// Splits a request to the destination's limits and writes its parts.
    pub(super) fn encode(self, signal: Signal, items: u64, request: Bytes, limit: &PayloadLimit) -> Encoded {
        let mut encoded = Encoded::default();
        self.encode_into(signal, items, request, limit.target_bytes(), limit, &mut encoded);
        encoded
    }

    fn encode_into(
        self,
        signal: Signal,
        items: u64,
        request: Bytes,
        bytes_max: usize,
        limit: &PayloadLimit,
        out: &mut Encoded,
    ) {
        if request.len() > bytes_max {
            return self.split_into(signal, items, request, bytes_max, limit, out);
        }
        let outgoing = match self.write(signal, items, request.clone()) {
            Ok(outgoing) => outgoing,
            Err(why) => return out.unfit.push(Unfit { items, request, why }),
        };
        let is_heavy = limit.compressed_bytes_max.is_some_and(|max| outgoing.body.len() > max);
        // JSON is longer than what it was made from.
        let is_long = self.transport == Transport::HttpJson
            && self.compression == Compression::None
            && outgoing.body.len() > limit.uncompressed_bytes_max;
        if !is_heavy && !is_long {
            return out.fit.push(outgoing);
        }
        let Some(parts) = halves(signal, items, &request) else {
            let why = format!("one item of {} bytes is over the destination's limit", outgoing.body.len());
            return out.unfit.push(Unfit { items, request, why });
        };
        for (request, items) in parts {
            let room = request.len();
            self.encode_into(signal, items, request, room, limit, out);
        }
    }

    fn split_into(
        self,
        signal: Signal,
        items: u64,
        request: Bytes,
        bytes_max: usize,
        limit: &PayloadLimit,
        out: &mut Encoded,
    ) {
        let split = match wire::split(signal, &request, bytes_max) {
            Ok(split) => split,
            Err(error) => {
                let why = format!("cannot be split: {error}");
                return out.unfit.push(Unfit { items, request, why });
            }
        };
        for part in split.parts {
            self.encode_into(signal, part.items, part.bytes, bytes_max, limit, out);
        }
        for part in split.oversize {
            if part.bytes.len() <= limit.uncompressed_bytes_max && part.bytes.len() < request.len() {
                // Over what requests are made for, and within what is taken: it goes alone.
                let room = part.bytes.len();
                self.encode_into(signal, part.items, part.bytes, room, limit, out);
            } else {
                let why = format!("one item of {} bytes is over the destination's limit", part.bytes.len());
                out.unfit.push(Unfit { items: part.items, request: part.bytes, why });
            }
        }
    }

    /// Writes a request as it is.
    pub(super) fn write(self, signal: Signal, items: u64, request: Bytes) -> Result<Outgoing, String> {
        let plain = match self.transport {
            Transport::Grpc | Transport::HttpProtobuf => request.clone(),
            Transport::HttpJson => json::encode(signal, &request)
                .map(Bytes::from)
                .map_err(|error| format!("cannot be written as JSON: {error}"))?,
        };
        let body = match self.compression {
            Compression::None => plain,
            Compression::Gzip => gzip(&plain)?,
            Compression::Zstd => zstd::bulk::compress(&plain, ZSTD_LEVEL)
                .map(Bytes::from)
                .map_err(|error| format!("cannot be compressed: {error}"))?,
        };
        Ok(Outgoing { signal, items, request, body })
    }
}

pub(crate) fn gzip(plain: &[u8]) -> Result<Bytes, String> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4 + 64), GzipLevel::new(GZIP_LEVEL));
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.map(Bytes::from).map_err(|error| format!("cannot be compressed: {error}"))
}

impl Outgoing {
    /// Bytes that it keeps in memory.
    pub(super) fn bytes_held(&self) -> usize {
        let is_one = self.request.as_ptr() == self.body.as_ptr();
        if is_one { self.body.len() } else { self.request.len() + self.body.len() }
    }
}
