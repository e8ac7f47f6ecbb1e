//! What the formats of text have in common: rows one after the other, each of them cells with fixed bytes around them.
//! Text is gathered before it is written.

use std::io::Write;
use std::marker::PhantomData;

use arrow_array::RecordBatch;

use super::FormatError;
use super::cells::{Cells, Dialect};
use super::layout::{Layout, Shown};
use super::timestamp::Timestamps;

/// Text that is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// What stands around rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Before the first row, and before each other.
    pub(super) first: &'static [u8],
    pub(super) next: &'static [u8],
    /// After each row.
    pub(super) row_end: &'static [u8],
    /// After the last row, and where there is none.
    pub(super) end: &'static [u8],
    pub(super) empty_end: &'static [u8],
}

/// Rows as text in the words of `D`.
pub(super) struct TextWriter<W, D> {
    layout: Layout,
    /// Each with what stands before its cell.
    shown: Vec<(Shown, Vec<u8>)>,
    frame: Frame,
    is_empty: bool,
    times: Timestamps,
    buffer: Vec<u8>,
    out: W,
    dialect: PhantomData<D>,
}

impl<W: Write, D: Dialect> TextWriter<W, D> {
    /// Writes `head`. `before` says what stands before the cell of a column, by its place in the row.
    pub(super) fn new(
        (layout, frame): (Layout, Frame),
        head: &[u8],
        before: impl Fn(usize, &Shown) -> Vec<u8>,
        mut out: W,
    ) -> Result<Self, FormatError> {
        out.write_all(head)?;
        let shown = layout.shown().into_iter().enumerate();
        let shown = shown.map(|(place, column)| {
            let before = before(place, &column);
            (column, before)
        });
        Ok(Self {
            layout,
            shown: shown.collect(),
            frame,
            is_empty: true,
            times: Timestamps::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            out,
            dialect: PhantomData,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        let mut columns = Vec::with_capacity(self.shown.len());
        for (shown, before) in &self.shown {
            columns.push((before, Cells::of::<D>(self.layout.data_set, shown, batch)?));
        }
        for row in 0..batch.num_rows() {
            self.buffer.extend_from_slice(if self.is_empty { self.frame.first } else { self.frame.next });
            self.is_empty = false;
            for (before, cells) in &columns {
                self.buffer.extend_from_slice(before);
                cells.write::<D>(row, &mut self.times, &mut self.buffer);
            }
            self.buffer.extend_from_slice(self.frame.row_end);
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
        self.out.write_all(if self.is_empty { self.frame.empty_end } else { self.frame.end })?;
        self.out.flush()?;
        Ok(self.out)
    }
}
