//! CSV as RFC 4180 has it: a header, CRLF, quotes where they are needed and doubled inside.

use std::io::Write;

use super::FormatError;
use super::cells::Dialect;
use super::layout::Layout;
use super::text::{Frame, TextWriter};

/// The words of CSV.
pub(super) struct Csv;

const FRAME: Frame = Frame { first: b"", next: b"", row_end: b"\r\n", end: b"", empty_end: b"" };

/// Writes the header.
pub(super) fn writer<W: Write>(layout: Layout, out: W) -> Result<TextWriter<W, Csv>, FormatError> {
    let names: Vec<_> = layout.shown().iter().map(|column| column.name).collect();
    let head = format!("{}\r\n", names.join(","));
    let comma = |place, _: &_| if place == 0 { Vec::new() } else { b",".to_vec() };
    TextWriter::new((layout, FRAME), head.as_bytes(), comma, out)
}

impl Dialect for Csv {
    const NULL: &'static [u8] = b"";
    const AROUND_TIME: &'static [u8] = b"";

    fn text(text: &str, out: &mut Vec<u8>) {
        // An empty text is told from one that is not known.
        let needs_quotes =
            text.is_empty() || text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
        if !needs_quotes {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        out.push(b'"');
        for byte in text.bytes() {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}
