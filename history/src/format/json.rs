//! JSON (RFC 8259): one array of objects, or an object a line (NDJSON). Keys come in the order of the columns; what is not
//! known is there, as `null`.

use std::io::Write;

use arrow_array::RecordBatch;

use super::FormatError;
use super::cells::{Cells, Dialect};
use super::layout::{Layout, Shown};
use super::timestamp::Timestamps;

/// Text that is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// What stands around the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Array,
    Lines,
}

pub(super) struct JsonWriter<W> {
    layout: Layout,
    /// Each with what stands before its value: `{"timestamp":`, `,"agent":`.
    shown: Vec<(Shown, Vec<u8>)>,
    frame: Frame,
    is_empty: bool,
    times: Timestamps,
    buffer: Vec<u8>,
    out: W,
}

struct Json;

impl<W: Write> JsonWriter<W> {
    pub(super) fn new(layout: Layout, frame: Frame, mut out: W) -> Result<Self, FormatError> {
        let before = |(index, shown): (usize, Shown)| {
            let mut text = vec![if index == 0 { b'{' } else { b',' }];
            Json::text(shown.name, &mut text);
            text.push(b':');
            (shown, text)
        };
        let shown = layout.shown().into_iter().enumerate().map(before).collect();
        if frame == Frame::Array {
            out.write_all(b"[")?;
        }
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self { layout, shown, frame, is_empty: true, times: Timestamps::new(), buffer, out })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        let mut columns = Vec::with_capacity(self.shown.len());
        for (shown, before) in &self.shown {
            columns.push((before, Cells::of::<Json>(self.layout.data_set, shown, batch)?));
        }
        for row in 0..batch.num_rows() {
            if self.frame == Frame::Array {
                self.buffer.extend_from_slice(if self.is_empty { b"\n" } else { b",\n" });
            }
            self.is_empty = false;
            for (before, cells) in &columns {
                self.buffer.extend_from_slice(before);
                cells.write::<Json>(row, &mut self.times, &mut self.buffer);
            }
            self.buffer.push(b'}');
            if self.frame == Frame::Lines {
                self.buffer.push(b'\n');
            }
            if self.buffer.len() >= BUFFER_BYTES {
                self.out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(super) fn out_mut(&mut self) -> &mut W {
        &mut self.out
    }

    pub(super) fn finish(mut self) -> Result<W, FormatError> {
        if self.frame == Frame::Array {
            self.out.write_all(if self.is_empty { b"]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl Dialect for Json {
    const NULL: &'static [u8] = b"null";
    const AROUND_TIME: &'static [u8] = b"\"";

    fn text(text: &str, out: &mut Vec<u8>) {
        serde_json::to_writer(out, text).expect("text is JSON, and writing to memory cannot fail");
    }
}
