//! Splitting a request into parts of bounded size.
//!
//! Entries that fit are put together as they stand: such a part is a slice of the request. An entry that is too
//! large for one part is taken apart, by scopes, then by records, a metric by its data points; each part of it
//! repeats what is around the items (its envelopes: Resource, scope, schema URLs; name, unit and temporality of a
//! metric). Order is kept. What holds no item is left out, unless it stands within a part.
//!
//! Envelopes of more than half the limit would multiply a request: what they hold is not taken apart, but is
//! `oversize` as a whole. So parts are at most a few times as large together as the request.

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::{Field, Reader};
use super::schema::number;
use super::write::{Frame, put_fields, varint_len};
use super::{WireError, count};
use crate::Signal;

/// A request made of some items of a larger one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The request.
    pub bytes: Bytes,
    /// Log records, data points or spans in it; never 0.
    pub items: u64,
}

/// A request in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// Parts within the limit, in order.
    pub parts: Vec<Part>,
    /// What fits into no part: single items with what is around them, or all that is within an envelope of more than
    /// half the limit.
    pub oversize: Vec<Part>,
}

/// Splits a request into parts of at most `bytes_max` bytes. A request without items has no parts.
pub fn split(signal: Signal, request: &Bytes, bytes_max: usize) -> Result<Split, WireError> {
    let mut run = Run { start: 0, end: 0, items: 0 };
    let mut splitter = Splitter::new(signal, bytes_max);
    let mut reader = Reader::new(request);
    while let Some(field) = reader.field()? {
        let items = match field.number() {
            number::ENTRIES => count::entry(signal, field.message()?)?,
            _ => 0,
        };
        if field.end() - run.start > bytes_max {
            run.finish(request, field.start(), &mut splitter.split.parts);
        }
        if field.whole().len() <= bytes_max {
            run.end = field.end();
            run.items += items;
        } else {
            run = Run { start: field.end(), end: field.end(), items: 0 };
            if items > 0 {
                splitter.place(Level::Entry, &field)?;
                splitter.flush();
            }
        }
    }
    run.finish(request, request.len(), &mut splitter.split.parts);
    Ok(splitter.split)
}

/// Top-level fields that stand one after the other and together make a part.
struct Run {
    start: usize,
    end: usize,
    items: u64,
}

impl Run {
    /// Ends the run; the next one begins at `next`.
    fn finish(&mut self, request: &Bytes, next: usize, parts: &mut Vec<Part>) {
        if self.items > 0 {
            parts.push(Part { bytes: request.slice(self.start..self.end), items: self.items });
        }
        *self = Self { start: next, end: next, items: 0 };
    }
}

/// What a field is in the tree.
#[derive(Clone, Copy)]
enum Level {
    Entry,
    Scope,
    Metric,
    /// A log record, a span or a data point.
    Item,
}

/// A message that is taken apart: what every part repeats of it.
struct Envelope {
    /// Number of the message in the one above.
    number: u32,
    /// Its fields but for those that are split.
    fields: BytesMut,
}

/// Takes an entry apart.
struct Splitter {
    signal: Signal,
    bytes_max: usize,
    split: Split,
    /// Messages that are being taken apart, the outermost first.
    envelopes: Vec<Envelope>,
    /// The part that is being written, with the first of the envelopes standing open in it.
    out: BytesMut,
    open: Vec<Frame>,
    items: u64,
}

impl Splitter {
    fn new(signal: Signal, bytes_max: usize) -> Self {
        Self {
            signal,
            bytes_max,
            split: Split::default(),
            envelopes: Vec::new(),
            out: BytesMut::new(),
            open: Vec::new(),
            items: 0,
        }
    }

    /// Puts a message into parts, whole if it fits into one, else taken apart.
    fn place(&mut self, level: Level, field: &Field<'_>) -> Result<(), WireError> {
        let items = self.count(level, field)?;
        let length = field.whole().len();
        if items == 0 {
            return Ok(());
        }
        if self.envelopes_len(0) + length <= self.bytes_max {
            if self.out.len() + self.envelopes_len(self.open.len()) + length > self.bytes_max {
                self.flush();
            }
            self.put(field, items);
            return Ok(());
        }
        match level {
            Level::Entry => self.take_apart(field, items, number::SCOPES, Level::Scope),
            Level::Scope => self.take_apart(field, items, number::RECORDS, self.record_level()),
            Level::Metric => self.take_metric_apart(field, items),
            Level::Item => {
                self.put_alone(field, items);
                Ok(())
            }
        }
    }

    fn record_level(&self) -> Level {
        match self.signal {
            Signal::Metrics => Level::Metric,
            Signal::Logs | Signal::Traces => Level::Item,
        }
    }

    fn count(&self, level: Level, field: &Field<'_>) -> Result<u64, WireError> {
        match level {
            Level::Entry => count::entry(self.signal, field.message()?),
            Level::Scope => count::scope(self.signal, field.message()?),
            Level::Metric => count::metric(field.message()?),
            Level::Item => Ok(1),
        }
    }

    /// Places the children of a message, the fields of number `children`, one by one.
    fn take_apart(
        &mut self,
        field: &Field<'_>,
        items: u64,
        children: u32,
        level: Level,
    ) -> Result<(), WireError> {
        let mut fields = BytesMut::new();
        put_fields(&mut fields, field.message()?, |inner| Ok(inner.number() == children))?;
        let depth = self.envelopes.len();
        self.envelopes.push(Envelope { number: field.number(), fields });
        if self.envelopes_are_too_large() {
            self.leave(depth);
            self.put_alone(field, items);
            return Ok(());
        }
        let mut reader = field.message()?;
        while let Some(inner) = reader.field()? {
            if inner.number() == children {
                self.place(level, &inner)?;
            }
        }
        self.leave(depth);
        Ok(())
    }

    /// Places the data points of a metric one by one, within two envelopes: the metric and its data.
    fn take_metric_apart(&mut self, field: &Field<'_>, items: u64) -> Result<(), WireError> {
        let Some((kind, data_at)) = metric_data(field.message()?)? else { return Ok(()) };
        let mut metric = BytesMut::new();
        let mut data = BytesMut::new();
        put_fields(&mut metric, field.message()?, |inner| Ok(number::is_metric_data(inner.number())))?;
        let mut reader = field.message()?;
        while let Some(inner) = reader.field()? {
            if number::is_metric_data(inner.number()) && inner.start() >= data_at {
                put_fields(&mut data, inner.message()?, |piece| Ok(piece.number() == number::POINTS))?;
            }
        }
        let depth = self.envelopes.len();
        self.envelopes.push(Envelope { number: field.number(), fields: metric });
        self.envelopes.push(Envelope { number: kind, fields: data });
        if self.envelopes_are_too_large() {
            self.leave(depth);
            self.put_alone(field, items);
            return Ok(());
        }
        let mut reader = field.message()?;
        while let Some(inner) = reader.field()? {
            if number::is_metric_data(inner.number()) && inner.start() >= data_at {
                let mut points = inner.message()?;
                while let Some(point) = points.field()? {
                    if point.number() == number::POINTS {
                        self.place(Level::Item, &point)?;
                    }
                }
            }
        }
        self.leave(depth);
        Ok(())
    }

    /// Writes a message into the part, opening the envelopes that are not in it yet.
    fn put(&mut self, field: &Field<'_>, items: u64) {
        for envelope in &self.envelopes[self.open.len()..] {
            self.open.push(Frame::open(&mut self.out, envelope.number, self.bytes_max));
            self.out.put_slice(&envelope.fields);
        }
        self.out.put_slice(field.whole());
        self.items += items;
    }

    /// Makes a request of one message, however large it is.
    fn put_alone(&mut self, field: &Field<'_>, items: u64) {
        self.flush();
        self.put(field, items);
        self.flush();
    }

    /// Ends the part that is being written. It is over the limit only if it holds one message that no part can hold;
    /// sizes are reckoned with the longest lengths before, so one that seemed too large may yet fit.
    fn flush(&mut self) {
        self.close(0);
        if self.items == 0 {
            return;
        }
        let part = Part { bytes: self.out.split().freeze(), items: std::mem::take(&mut self.items) };
        if part.bytes.len() <= self.bytes_max {
            self.split.parts.push(part);
        } else {
            self.split.oversize.push(part);
        }
    }

    /// Forgets the envelopes deeper than `depth`.
    fn leave(&mut self, depth: usize) {
        self.close(depth);
        self.envelopes.truncate(depth);
    }

    /// Closes what stands open in the part deeper than `depth`.
    fn close(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some(frame) = self.open.pop() {
                frame.close(&mut self.out);
            }
        }
    }

    /// Bytes that the envelopes from the one at `depth` on take at most.
    fn envelopes_len(&self, depth: usize) -> usize {
        let frame = 1 + varint_len(self.bytes_max as u64);
        self.envelopes[depth..].iter().map(|envelope| frame + envelope.fields.len()).sum()
    }

    fn envelopes_are_too_large(&self) -> bool {
        self.envelopes_len(0) > self.bytes_max / 2
    }
}

/// The field that holds a metric's data and where the first piece of it begins. What stands before is of another
/// kind and does not count (protobuf's rule for `oneof`).
fn metric_data(mut metric: Reader<'_>) -> Result<Option<(u32, usize)>, WireError> {
    let mut data = None;
    while let Some(field) = metric.field()? {
        let same = data.is_some_and(|(kind, _)| kind == field.number());
        if number::is_metric_data(field.number()) && !same {
            data = Some((field.number(), field.start()));
        }
    }
    Ok(data)
}
