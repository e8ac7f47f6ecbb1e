//! JSON (RFC 8259): one array of objects, or an object a line (NDJSON). Keys come in the order of the columns; what is not
//! known is there, as `null`.

use std::io::Write;

use super::FormatError;
use super::cells::Dialect;
use super::layout::{Layout, Shown};
use super::text::{Frame, TextWriter};

/// The words of JSON.
pub(super) struct Json;

const ARRAY: Frame = Frame { first: b"\n", next: b",\n", row_end: b"}", end: b"\n]\n", empty_end: b"]\n" };
const LINES: Frame = Frame { first: b"", next: b"", row_end: b"}\n", end: b"", empty_end: b"" };

/// One array; writes its `[`.
pub(super) fn array<W: Write>(layout: Layout, out: W) -> Result<TextWriter<W, Json>, FormatError> {
    TextWriter::new((layout, ARRAY), b"[", key, out)
}

/// An object a line.
pub(super) fn lines<W: Write>(layout: Layout, out: W) -> Result<TextWriter<W, Json>, FormatError> {
    TextWriter::new((layout, LINES), b"", key, out)
}

/// `{"timestamp":`, `,"agent":`
fn key(place: usize, shown: &Shown) -> Vec<u8> {
    let mut text = vec![if place == 0 { b'{' } else { b',' }];
    Json::text(shown.name, &mut text);
    text.push(b':');
    text
}

impl Dialect for Json {
    const NULL: &'static [u8] = b"null";
    const AROUND_TIME: &'static [u8] = b"\"";

    fn text(text: &str, out: &mut Vec<u8>) {
        serde_json::to_writer(out, text).expect("text is JSON, and writing to memory cannot fail");
    }
}
