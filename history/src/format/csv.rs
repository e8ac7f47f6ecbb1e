//! CSV as RFC 4180 has it: a header, CRLF, quotes where they are needed and doubled inside.

use std::io::Write;

use arrow_array::RecordBatch;

use super::FormatError;
use super::cells::{Cells, Dialect};
use super::layout::{Layout, Shown};
use super::timestamp::Timestamps;

/// Text that is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct CsvWriter<W> {
    layout: Layout,
    shown: Vec<Shown>,
    times: Timestamps,
    buffer: Vec<u8>,
    out: W,
}

struct Csv;

impl<W: Write> CsvWriter<W> {
    pub(super) fn new(layout: Layout, mut out: W) -> Result<Self, FormatError> {
        let shown = layout.shown();
        let names: Vec<_> = shown.iter().map(|column| column.name).collect();
        out.write_all(format!("{}\r\n", names.join(",")).as_bytes())?;
        Ok(Self { layout, shown, times: Timestamps::new(), buffer: Vec::with_capacity(BUFFER_BYTES), out })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        let of = |shown| Cells::of::<Csv>(self.layout.data_set, shown, batch);
        let columns = self.shown.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            for (index, cells) in columns.iter().enumerate() {
                if index > 0 {
                    self.buffer.push(b',');
                }
                cells.write::<Csv>(row, &mut self.times, &mut self.buffer);
            }
            self.buffer.extend_from_slice(b"\r\n");
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
        self.out.flush()?;
        Ok(self.out)
    }
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
