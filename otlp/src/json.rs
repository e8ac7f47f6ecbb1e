//! OTLP/JSON, read and written by the rules of OTLP and of proto3 JSON (contracts/otlp.md section 2.4).
//!
//! [`decode()`] turns a body into protobuf, [`encode()`] a protobuf request into a body, both in one pass over the bytes and
//! led by one table of OTLP's messages (`schema`): nothing is built between the two forms, so memory is the result's size.
//! The largest result is of numbers in an array, 4 bytes for each byte of text.
//!
//! What is read:
//! - Keys in lowerCamelCase; all others are unknown, and are ignored with all below them (but must be JSON). `null` is the
//!   same as no field. A known key twice, or two members of a oneof, is an error.
//! - Trace and span ids in hexadecimal of either case and of the right length, or empty; other bytes in base64, standard
//!   or URL-safe, padded or not.
//! - Integers as numbers or strings, also `1e3` and `5.0` (exactly), never with a fraction or out of range; enums the same,
//!   and never by name; doubles as numbers or strings, also `"NaN"`, `"Infinity"` and `"-Infinity"`.
//! - Messages nest 100 deep at most, as in prost, and so do unknown values.
//!
//! On failure nothing is returned but the error: a body is taken whole or not at all. [`JsonError`] names the place and
//! the rule, and repeats nothing of the body.
//!
//! What is written: defaults are left out, but whatever is told from its absence (`asInt` of 0, `sum` of 0) is there;
//! integers of 64 bits as strings, ids in lower-case hexadecimal, NaN and infinities as strings. What prost can decode is
//! read as prost reads it. A NaN is any NaN afterwards; all else comes back bit for bit.

mod decode;
mod encode;
mod error;
mod lexer;
pub mod response;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use encode::JsonEncodeError;
pub use error::{Found, JsonError, Reason};
pub use response::{
    PartialSuccess, Status, decode_response, decode_response_protobuf, encode_response,
    encode_response_protobuf,
};

use crate::Signal;

/// The protobuf request that the JSON `text` is.
///
/// # Errors
/// The text is not a request of `signal` by the rules above. It never will be: the sender must not repeat it.
pub fn decode(signal: Signal, text: &[u8]) -> Result<Bytes, JsonError> {
    // Keys and punctuation weigh more than tags: half is enough for most requests.
    let mut out = Vec::with_capacity(text.len() / 2);
    match decode::request(text, schema::request(signal), &mut out) {
        Ok(()) => {
            // It may wait in a queue whose budget counts what is used.
            out.shrink_to_fit();
            Ok(out.into())
        }
        Err(fault) => Err(fault.locate(text)),
    }
}

/// The JSON body of a protobuf request.
///
/// # Errors
/// The bytes are not a request of `signal`.
pub fn encode(signal: Signal, request: &[u8]) -> Result<Vec<u8>, JsonEncodeError> {
    let mut out = Vec::with_capacity(request.len().saturating_mul(2));
    encode::request(request, schema::request(signal), &mut out)?;
    Ok(out)
}
