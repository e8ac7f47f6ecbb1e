//! The rows of one folder while they are made, and how they become a sorted batch.
//!
//! A row is pushed in the order of its record. Who and where is one number, a text is one number, so that a row of a run
//! takes about 70 bytes and no allocation of its own. The sort is stable: rows of equal (time, agent, epoch, seq) stay as
//! they were pushed.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, NullBufferBuilder};

use super::attributes::Attributes;
use super::origins::{OriginId, Origins};
use super::texts::{TextId, Texts};
use crate::dataset::{DataSet, Values};

/// What every row has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) time_us: i64,
    pub(super) origin: OriginId,
    /// `None`: it came without a number.
    pub(super) seq: Option<i64>,
    pub(super) weight: u32,
}

/// A value of a column of the data set's own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    /// [`TextId::NONE`] is null.
    Word(TextId),
    Integer(Option<i64>),
    Time(Option<i64>),
    /// NaN and infinity are null.
    Number(Option<f64>),
    Truth(bool),
    /// The attributes at hand, or null.
    Attributes(bool),
}

#[derive(Debug)]
pub(super) struct Rows {
    times_us: Vec<i64>,
    origins: Vec<OriginId>,
    /// 0: none, since events are numbered from 1.
    seqs: Vec<i64>,
    weights: Vec<u32>,
    own: Vec<Cells>,
    row_bytes: usize,
    text_bytes: usize,
}

#[derive(Debug)]
enum Cells {
    Words(Vec<TextId>),
    Integers(Vec<i64>, NullBufferBuilder),
    Times(Vec<i64>, NullBufferBuilder),
    /// NaN is null.
    Numbers(Vec<f64>),
    Truths(Vec<bool>),
    Texts(Vec<Option<Box<str>>>),
}

const HEAD_BYTES: usize = size_of::<i64>() * 2 + size_of::<u32>() * 2;

impl Rows {
    pub(super) fn new(data_set: DataSet) -> Self {
        let own: Vec<Cells> = data_set.own_columns().iter().map(|column| Cells::new(column.values)).collect();
        Self {
            times_us: Vec::new(),
            origins: Vec::new(),
            seqs: Vec::new(),
            weights: Vec::new(),
            row_bytes: HEAD_BYTES + own.iter().map(Cells::value_bytes).sum::<usize>(),
            own,
            text_bytes: 0,
        }
    }

    /// Takes a row; `cells` stand as the data set's own columns do.
    pub(super) fn push(&mut self, head: Head, cells: &[Cell], attributes: &Attributes) {
        debug_assert_eq!(cells.len(), self.own.len(), "a row has every column of its own");
        self.times_us.push(head.time_us);
        self.origins.push(head.origin);
        self.seqs.push(head.seq.unwrap_or(0));
        self.weights.push(head.weight);
        for (column, cell) in self.own.iter_mut().zip(cells) {
            if let Cell::Attributes(true) = cell {
                self.text_bytes += attributes.text().len();
            }
            column.push(*cell, attributes);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.times_us.len() * self.row_bytes + self.text_bytes
    }

    /// The rows as a batch of the data set's file schema.
    pub(super) fn finish(self, data_set: DataSet, sorter: &mut Sorter) -> RecordBatch {
        let order = sorter.order(&self);
        let sorted = |values: &[i64]| order.iter().map(|&row| values[row as usize]).collect::<Vec<_>>();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(4 + super::origins::TEXTS + self.own.len());
        columns.push(Arc::new(TimestampMicrosecondArray::from(sorted(&self.times_us)).with_timezone("UTC")));
        let of_origin = |sorter: &mut Sorter, text: usize| -> ArrayRef {
            let values = order.iter().map(|&row| self.origins[row as usize]);
            sorter.origin_words(values, text)
        };
        columns.push(of_origin(sorter, 0));
        columns.push(of_origin(sorter, 1));
        let seqs = sorted(&self.seqs);
        let numbered = NullBuffer::from_iter(seqs.iter().map(|&seq| seq != 0));
        columns.push(Arc::new(Int64Array::new(
            seqs.into(),
            Some(numbered).filter(|nulls| nulls.null_count() > 0),
        )));
        columns.push(Arc::new(Int64Array::from_iter_values(
            order.iter().map(|&row| i64::from(self.weights[row as usize])),
        )));
        for text in 2..super::origins::TEXTS {
            columns.push(of_origin(sorter, text));
        }
        columns.extend(self.own.into_iter().map(|cells| cells.finish(&order, sorter)));
        RecordBatch::try_new(data_set.file_schema(), columns)
            .expect("the columns are made from the table that the schema is made from")
    }
}

impl Cells {
    fn new(values: Values) -> Self {
        match values {
            Values::Word => Cells::Words(Vec::new()),
            Values::Integer => Cells::Integers(Vec::new(), NullBufferBuilder::new(0)),
            Values::Time => Cells::Times(Vec::new(), NullBufferBuilder::new(0)),
            Values::Number => Cells::Numbers(Vec::new()),
            Values::Truth => Cells::Truths(Vec::new()),
            Values::Text => Cells::Texts(Vec::new()),
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Cells::Words(_) => size_of::<TextId>(),
            Cells::Integers(..) | Cells::Times(..) | Cells::Numbers(_) => size_of::<i64>(),
            Cells::Truths(_) => size_of::<bool>(),
            Cells::Texts(_) => size_of::<Option<Box<str>>>(),
        }
    }

    fn push(&mut self, cell: Cell, attributes: &Attributes) {
        match (self, cell) {
            (Cells::Words(words), Cell::Word(word)) => words.push(word),
            (Cells::Integers(values, known), Cell::Integer(value))
            | (Cells::Times(values, known), Cell::Time(value)) => {
                values.push(value.unwrap_or(0));
                known.append(value.is_some());
            }
            (Cells::Numbers(numbers), Cell::Number(number)) => {
                numbers.push(number.filter(|number| number.is_finite()).unwrap_or(f64::NAN));
            }
            (Cells::Truths(truths), Cell::Truth(truth)) => truths.push(truth),
            (Cells::Texts(texts), Cell::Attributes(is_there)) => {
                texts.push(is_there.then(|| attributes.text().into()));
            }
            (column, cell) => unreachable!("the tests push {cell:?} of every kind; {column:?} is its column"),
        }
    }

    fn finish(self, order: &[u32], sorter: &mut Sorter) -> ArrayRef {
        match self {
            Cells::Words(words) => sorter.words(order.iter().map(|&row| words[row as usize])),
            Cells::Integers(values, known) => {
                let (values, nulls) = gather(&values, known, order);
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            Cells::Times(values, known) => {
                let (values, nulls) = gather(&values, known, order);
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
            Cells::Numbers(numbers) => {
                let known = |row: &u32| Some(numbers[*row as usize]).filter(|number| !number.is_nan());
                Arc::new(order.iter().map(known).collect::<Float64Array>())
            }
            Cells::Truths(truths) => {
                let values = BooleanBuffer::from_iter(order.iter().map(|&row| truths[row as usize]));
                Arc::new(BooleanArray::new(values, None))
            }
            Cells::Texts(texts) => {
                Arc::new(order.iter().map(|&row| texts[row as usize].as_deref()).collect::<StringArray>())
            }
        }
    }
}

fn gather(values: &[i64], mut known: NullBufferBuilder, order: &[u32]) -> (Vec<i64>, Option<NullBuffer>) {
    let nulls = known.finish();
    let nulls =
        nulls.map(|nulls| NullBuffer::from_iter(order.iter().map(|&row| nulls.is_valid(row as usize))));
    (order.iter().map(|&row| values[row as usize]).collect(), nulls)
}

/// The texts of all folders, and the memory that sorting one needs.
pub(super) struct Sorter {
    texts: Texts,
    origins: Origins,
    /// The place of each text in the dictionary at hand, or -1.
    places: Vec<i32>,
    /// The texts of the dictionary at hand.
    used: Vec<TextId>,
    /// The rank of each origin's agent and epoch.
    ranks: Vec<u32>,
}

impl Sorter {
    pub(super) fn new(texts: Texts, origins: Origins) -> Self {
        let places = vec![-1; texts.len()];
        let stream = |origin: usize| {
            let [agent, epoch, ..] = *origins.get(OriginId(origin as u32));
            let text = |id: TextId| (id != TextId::NONE).then(|| texts.get(id));
            (text(agent), text(epoch))
        };
        let mut by_stream: Vec<usize> = (0..origins.len()).collect();
        by_stream.sort_by_key(|&origin| stream(origin));
        let mut ranks = vec![0; origins.len()];
        for pair in by_stream.windows(2) {
            ranks[pair[1]] = ranks[pair[0]] + u32::from(stream(pair[0]) != stream(pair[1]));
        }
        Self { texts, origins, places, used: Vec::new(), ranks }
    }

    /// The rows in the order of (time, agent, epoch, seq), as they were pushed where these are equal.
    fn order(&self, rows: &Rows) -> Vec<u32> {
        let key = |row: usize| (rows.times_us[row], self.ranks[rows.origins[row].0 as usize], rows.seqs[row]);
        let count = rows.times_us.len();
        if (1..count).all(|row| key(row - 1) <= key(row)) {
            return (0..count as u32).collect();
        }
        let mut keys: Vec<_> = (0..count).map(|row| (key(row), row as u32)).collect();
        keys.sort();
        keys.into_iter().map(|(_, row)| row).collect()
    }

    fn origin_words(&mut self, origins: impl Iterator<Item = OriginId>, text: usize) -> ArrayRef {
        let words: Vec<TextId> = origins.map(|origin| self.origins.get(origin)[text]).collect();
        self.words(words.into_iter())
    }

    /// A dictionary whose texts stand in the order of their first row.
    fn words(&mut self, words: impl Iterator<Item = TextId>) -> ArrayRef {
        let mut known = NullBufferBuilder::new(words.size_hint().0);
        let keys: Vec<i32> = words
            .map(|word| {
                known.append(word != TextId::NONE);
                if word == TextId::NONE { 0 } else { self.place(word) }
            })
            .collect();
        let texts = StringArray::from_iter_values(self.used.iter().map(|&word| self.texts.get(word)));
        for word in self.used.drain(..) {
            self.places[word.0 as usize] = -1;
        }
        let keys = Int32Array::new(keys.into(), known.finish());
        Arc::new(
            DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts))
                .expect("every key that is not null is the place of a text"),
        )
    }

    fn place(&mut self, word: TextId) -> i32 {
        let place = &mut self.places[word.0 as usize];
        if *place < 0 {
            *place = self.used.len() as i32;
            self.used.push(word);
        }
        *place
    }
}
