//! Many sorted inputs as one, in constant memory: a batch of each input that has been opened and one in the making.
//!
//! The order is (time, team, agent_id, epoch, seq), nulls first; a column that the rows do not have is passed over. Rows
//! that are equal in all of them come in the order of their inputs. Inputs mostly lie one after the other, so the unit of
//! work is a run of rows of one input, and an output batch that is one run costs nothing.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;

/// Rows of a batch that is read or merged.
pub const BATCH_ROWS: usize = 8192;
/// Most batches that one output batch is made of: bounds what an output batch keeps alive.
const PARTS_MAX: usize = 256;

/// Words that rows are ordered by, after their time.
const WORDS: [&str; 3] = ["team", "agent_id", "epoch"];

/// A sorted input.
#[derive(Debug)]
pub struct MergeInput<I> {
    /// No row of it is earlier, in microseconds since the epoch: it is asked for its first batch only when the merge
    /// has come so far. `None`: at once.
    pub time_us_min: Option<i64>,
    /// Its batches.
    pub batches: I,
}

/// The merged rows, as batches of about [`BATCH_ROWS`] rows. After an error there is nothing more.
pub struct Merge<I> {
    inputs: Vec<Option<I>>,
    heads: BinaryHeap<Reverse<Head>>,
    parts: Parts,
    is_over: bool,
}

/// Merges inputs of the data set's file schema (or of any one schema with the columns of the order) by (time, agent_id,
/// epoch, seq).
pub fn merge<I, E>(inputs: Vec<MergeInput<I>>) -> Merge<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: From<ArrowError>,
{
    let heads = inputs
        .iter()
        .enumerate()
        .map(|(input, MergeInput { time_us_min, .. })| {
            Reverse(Head { time_us: time_us_min.unwrap_or(i64::MIN), input, place: None })
        })
        .collect();
    let inputs = inputs.into_iter().map(|input| Some(input.batches)).collect();
    Merge { inputs, heads, parts: Parts::default(), is_over: false }
}

impl<I> From<I> for MergeInput<I> {
    fn from(batches: I) -> Self {
        Self { time_us_min: None, batches }
    }
}

impl<I, E> Iterator for Merge<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: From<ArrowError>,
{
    type Item = Result<RecordBatch, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        while !self.parts.is_full() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    self.is_over = true;
                    break;
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        let batch = self.parts.take()?;
        self.is_over |= batch.is_err();
        Some(batch.map_err(E::from))
    }
}

impl<I, E> Merge<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: From<ArrowError>,
{
    /// Takes the next run of rows, or opens the input whose turn it is. `false`: there are no more.
    fn step(&mut self) -> Result<bool, E> {
        let Some(Reverse(head)) = self.heads.pop() else { return Ok(false) };
        let Some((rows, from)) = head.place else {
            self.refill(head.input)?;
            return Ok(true);
        };
        let room = self.parts.room();
        let next = self.heads.peek().map(|Reverse(next)| next);
        let mut to = from + 1;
        while to < rows.len()
            && to - from < room
            && next.is_none_or(|next| rows.comes_before(to, head.input, next))
        {
            to += 1;
        }
        self.parts.push(&rows, head.input, from..to);
        if to < rows.len() {
            self.heads.push(Reverse(Head::at(rows, to, head.input)));
        } else {
            self.refill(head.input)?;
        }
        Ok(true)
    }

    fn refill(&mut self, input: usize) -> Result<(), E> {
        let Some(batches) = &mut self.inputs[input] else { return Ok(()) };
        for batch in batches {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let rows = Arc::new(Rows::new(batch)?);
                self.heads.push(Reverse(Head::at(rows, 0, input)));
                return Ok(());
            }
        }
        // What is drained lets go of its file.
        self.inputs[input] = None;
        Ok(())
    }
}

/// The next row of an input, or the promise that it has none before `time_us`.
struct Head {
    time_us: i64,
    input: usize,
    place: Option<(Arc<Rows>, usize)>,
}

impl Head {
    fn at(rows: Arc<Rows>, row: usize, input: usize) -> Self {
        Self { time_us: rows.times_us.value(row), input, place: Some((rows, row)) }
    }
}

impl Ord for Head {
    /// What is not open yet comes first among equals in time: it may have a row that does.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_row = || match (&self.place, &other.place) {
            (Some((rows, row)), Some((others, other))) => rows.compare_words(*row, others, *other),
            (mine, others) => mine.is_some().cmp(&others.is_some()),
        };
        self.time_us.cmp(&other.time_us).then_with(by_row).then_with(|| self.input.cmp(&other.input))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// A batch with the columns of the order at hand.
struct Rows {
    batch: RecordBatch,
    times_us: TimestampMicrosecondArray,
    words: [Option<Words>; WORDS.len()],
    seqs: Option<Int64Array>,
}

struct Words {
    keys: DictionaryArray<Int32Type>,
    texts: StringArray,
}

impl Rows {
    fn new(batch: RecordBatch) -> Result<Self, ArrowError> {
        let times_us = batch
            .column_by_name("time")
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
            .cloned()
            .ok_or_else(|| ArrowError::SchemaError("rows have no column time in microseconds".to_owned()))?;
        let words = WORDS.map(|name| {
            let keys = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?.clone();
            let texts = keys.values().as_string_opt::<i32>()?.clone();
            Some(Words { keys, texts })
        });
        let seqs =
            batch.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned();
        Ok(Self { batch, times_us, words, seqs })
    }

    fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether the row comes before the head of another input, or as the earlier input of two equals.
    fn comes_before(&self, row: usize, input: usize, next: &Head) -> bool {
        match self.times_us.value(row).cmp(&next.time_us) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => match &next.place {
                // It may have a row of the same time that comes first.
                None => false,
                Some((others, other)) => {
                    self.compare_words(row, others, *other).then_with(|| input.cmp(&next.input)).is_lt()
                }
            },
        }
    }

    fn compare_words(&self, row: usize, others: &Self, other: usize) -> Ordering {
        let by_words = (0..WORDS.len()).map(|word| self.word(word, row).cmp(&others.word(word, other)));
        by_words.fold(Ordering::Equal, Ordering::then).then_with(|| self.seq(row).cmp(&others.seq(other)))
    }

    fn word(&self, word: usize, row: usize) -> Option<&str> {
        self.words[word].as_ref()?.get(row)
    }

    fn seq(&self, row: usize) -> Option<i64> {
        let seqs = self.seqs.as_ref()?;
        seqs.is_valid(row).then(|| seqs.value(row))
    }
}

impl Words {
    fn get(&self, row: usize) -> Option<&str> {
        let key = self.keys.key(row)?;
        Some(self.texts.value(key))
    }
}

/// The output batch in the making: runs of rows of few batches.
#[derive(Default)]
struct Parts {
    /// Batches, with the input that they came from.
    batches: Vec<(usize, Arc<Rows>)>,
    /// Place of the batch of each input among them.
    of_input: rustc_hash::FxHashMap<usize, usize>,
    runs: Vec<(usize, std::ops::Range<usize>)>,
    rows: usize,
}

impl Parts {
    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.batches.len() >= PARTS_MAX
    }

    fn room(&self) -> usize {
        BATCH_ROWS - self.rows
    }

    fn push(&mut self, rows: &Arc<Rows>, input: usize, run: std::ops::Range<usize>) {
        self.rows += run.len();
        let known =
            self.of_input.get(&input).copied().filter(|&part| Arc::ptr_eq(&self.batches[part].1, rows));
        let part = known.unwrap_or_else(|| {
            self.batches.push((input, rows.clone()));
            self.of_input.insert(input, self.batches.len() - 1);
            self.batches.len() - 1
        });
        match self.runs.last_mut() {
            Some((last, range)) if *last == part && range.end == run.start => range.end = run.end,
            _ => self.runs.push((part, run)),
        }
    }

    /// The batch, and empty again. `None`: there are no rows.
    fn take(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let Self { batches, runs, .. } = std::mem::take(self);
        match &runs[..] {
            [] => None,
            [(part, run)] => Some(Ok(batches[*part].1.batch.slice(run.start, run.len()))),
            _ => {
                let parts: Vec<&RecordBatch> = batches.iter().map(|(_, rows)| &rows.batch).collect();
                let rows: Vec<(usize, usize)> =
                    runs.into_iter().flat_map(|(part, run)| run.map(move |row| (part, row))).collect();
                Some(interleave_record_batch(&parts, &rows))
            }
        }
    }
}
