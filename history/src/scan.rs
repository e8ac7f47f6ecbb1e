//! Files and the journal's rest as one sequence of rows.
//!
//! A scan sees one moment: every record that was durable when it began, each once, whatever is flushed, compacted or
//! dropped while it runs ([`cut`]). It leaves out folders by team and day, row groups and pages by their statistics, and
//! rows by the columns that the filter names before it reads any other ([`part`]). One file is open at a time; sorted or
//! not, it needs the same memory for ten rows and for ten million ([`order`]).
//!
//! | failure | what happens |
//! |---|---|
//! | a file is damaged, cut short or gone | it is set aside, the rest is served, and [`Scan::notices`] names it |
//! | a record of the journal is damaged or no batch | the rest is served, and a notice says so |
//! | the store or the journal cannot be read | an error; the rows so far are not all |
//!
//! It blocks: run it in a thread of its own.

mod cut;
mod order;
mod part;
#[cfg(test)]
mod tests;
mod wanted;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::vec;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use journal::{GapReason, Position, ReadError};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::dataset::DataSet;
use crate::query::Query;
use crate::reader::History;
use crate::store::FileEntry;
use cut::Rest;
use order::{BATCH_ROWS, Direction, Ordered};
use part::{Part, PartError, PartRows};
use wanted::Span;

pub(crate) use cut::Cut;
pub use cut::TAIL_BYTES_MAX;
pub(crate) use wanted::Wanted;

/// Most notices of one scan; more are the same again.
pub const NOTICES_MAX: usize = 100;

/// Why there are no rows, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The data set cannot answer what was asked.
    #[error("{data_set} have no column {column}: leave it out, or ask another data set")]
    NoColumn {
        /// What was asked.
        data_set: DataSet,
        /// What it has not.
        column: &'static str,
    },
    /// The range has no moment in it.
    #[error("the range of time is empty: its start is not before its end")]
    EmptyRange,
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Journal(#[source] ReadError),
    /// Too much is in no file yet.
    #[error(
        "the rows that are in no file yet take {bytes} bytes, more than {bytes_max}: the history's store is behind; ask for \
         less, or see why it is"
    )]
    TailTooLong {
        /// How much.
        bytes: usize,
        /// How much may be.
        bytes_max: usize,
    },
    /// The store cannot be read.
    #[error("{path} of the history cannot be read: {source}")]
    Store {
        /// The file.
        path: Path,
        /// What was heard.
        source: object_store::Error,
    },
    /// Rows do not fit the tables.
    #[error("rows of the history do not fit together: {0}")]
    Rows(#[from] ArrowError),
}

/// What the reader of an answer must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A file could not be read to its end.
    FileSetAside {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Records of the journal are gone.
    RecordsMissing {
        /// First one.
        from: Position,
        /// Last one.
        to: Position,
        /// Why.
        reason: GapReason,
    },
    /// So many records of the journal are no batches.
    RecordsUnreadable(u64),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::FileSetAside { path, why } => {
                write!(f, "{path} could not be read and was set aside ({why}); rows of it are missing here")
            }
            Notice::RecordsMissing { from, to, reason } => {
                write!(
                    f,
                    "records {from} to {to} of the journal are gone ({}); rows of them are missing here",
                    reason.as_str()
                )
            }
            Notice::RecordsUnreadable(count) => {
                write!(f, "{count} records of the journal are no batches; they have no rows")
            }
        }
    }
}

/// Rows of one data set. Ends after an error.
pub struct Scan {
    reading: Reading,
    schema: SchemaRef,
    state: State,
}

enum State {
    /// As they lie: files, then what is in none.
    Lying {
        files: vec::IntoIter<Arc<FileEntry>>,
        part: Option<PartRows>,
        tail: vec::IntoIter<Rest>,
    },
    /// By time.
    Ordered(Box<Ordered>),
    Ended,
}

/// What all ways to read a scan's files share.
struct Reading {
    history: History,
    objects: Arc<dyn ObjectStore>,
    wanted: Arc<Wanted>,
    cut: Arc<Cut>,
    notices: Vec<Notice>,
    /// Files that were set aside by this scan.
    bad: Vec<Path>,
}

impl Scan {
    pub(crate) fn new(history: &History, query: &Query) -> Result<Self, ScanError> {
        let wanted = Wanted::new(query)?;
        if !query.is_sorted {
            let cut = Arc::new(Cut::take(history, std::slice::from_ref(&wanted))?);
            return Ok(Self::lying(history, wanted, cut));
        }
        let keyed = wanted.ordered();
        let cut = Arc::new(Cut::take(history, std::slice::from_ref(&keyed))?);
        let reading = Reading::new(history, keyed, cut);
        Self::ordered(reading, wanted.schema, Direction::Forward, order::WINDOW_ROWS)
    }

    /// The rows of `cut`, which was taken for `wanted`, as they lie.
    pub(crate) fn lying(history: &History, wanted: Wanted, cut: Arc<Cut>) -> Self {
        let schema = wanted.schema.clone();
        let cut = Arc::new(cut.of(&wanted));
        let (files, tail) = (cut.files.clone().into_iter(), cut.tail.clone().into_iter());
        let reading = Reading::new(history, wanted, cut);
        Self { reading, schema, state: State::Lying { files, part: None, tail } }
    }

    /// The rows of `cut`, which was taken for `wanted`, by time. `wanted` must have the columns that order.
    pub(crate) fn forward(history: &History, wanted: Wanted, cut: &Cut) -> Result<Self, ScanError> {
        let schema = wanted.schema.clone();
        let reading = Reading::new(history, wanted.clone(), Arc::new(cut.of(&wanted)));
        Self::ordered(reading, schema, Direction::Forward, order::WINDOW_ROWS)
    }

    /// The newest rows of `cut` first. `wanted` must have the columns that order.
    pub(crate) fn backward(
        history: &History,
        wanted: &Wanted,
        cut: &Cut,
        window_rows: u64,
    ) -> Result<Self, ScanError> {
        let keyed = wanted.ordered();
        let reading = Reading::new(history, keyed.clone(), Arc::new(cut.of(&keyed)));
        Self::ordered(reading, keyed.schema, Direction::Backward, window_rows)
    }

    fn ordered(
        mut reading: Reading,
        schema: SchemaRef,
        direction: Direction,
        window_rows: u64,
    ) -> Result<Self, ScanError> {
        let ordered = Ordered::new(&mut reading, &schema, direction, window_rows)?;
        Ok(Self { reading, schema, state: State::Ordered(Box::new(ordered)) })
    }

    /// The columns of its batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What is wrong with the answer so far. Complete once the scan has ended.
    pub fn notices(&self) -> &[Notice] {
        &self.reading.notices
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, ScanError> {
        let reading = &mut self.reading;
        match &mut self.state {
            State::Ended => Ok(None),
            State::Ordered(ordered) => ordered.next(reading),
            State::Lying { files, part, tail } => loop {
                if let Some(rows) = part {
                    if let Some(batch) = reading.next_of(rows)? {
                        return Ok(Some(batch));
                    }
                    *part = None;
                } else if let Some(entry) = files.next() {
                    let span = reading.wanted.span;
                    if let Some(opened) = reading.open(&entry)? {
                        *part = reading.rows(opened, span, BATCH_ROWS)?;
                    }
                } else {
                    return Ok(tail.next().map(|rest| rest.rows));
                }
            },
        }
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.state = State::Ended;
        }
        step.transpose()
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("wanted", &self.reading.wanted).finish_non_exhaustive()
    }
}

impl Reading {
    fn new(history: &History, wanted: Wanted, cut: Arc<Cut>) -> Self {
        let notices = cut.notices.clone();
        Self {
            history: history.clone(),
            objects: history.files.objects(),
            wanted: Arc::new(wanted),
            cut,
            notices,
            bad: Vec::new(),
        }
    }

    /// Reads a file's footer. `None`: it is passed over.
    fn open(&mut self, entry: &Arc<FileEntry>) -> Result<Option<Part>, ScanError> {
        if self.bad.contains(&entry.path) {
            return Ok(None);
        }
        let opened = guarded(|| Part::open(&self.history, &self.objects, entry));
        self.good(entry, opened)
    }

    /// The rows of a file in `span`.
    fn rows(&mut self, part: Part, span: Span, batch_rows: usize) -> Result<Option<PartRows>, ScanError> {
        let entry = part.entry().clone();
        let rows = guarded(|| part.rows(&self.wanted, span, batch_rows));
        Ok(self.good(&entry, rows)?.flatten())
    }

    /// The next rows of a file.
    fn next_of(&mut self, rows: &mut PartRows) -> Result<Option<RecordBatch>, ScanError> {
        let batch = guarded(|| rows.next(&self.history, &self.objects, &self.wanted));
        let entry = rows.entry().clone();
        Ok(self.good(&entry, batch)?.flatten())
    }

    /// Sets the file aside if it is damaged.
    fn good<T>(&mut self, entry: &FileEntry, got: Result<T, PartError>) -> Result<Option<T>, ScanError> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(PartError::Away(source)) => Err(ScanError::Store { path: entry.path.clone(), source }),
            Err(PartError::Damaged(why)) => {
                self.history.files.set_aside(entry, &why);
                if self.notices.len() < NOTICES_MAX {
                    self.notices.push(Notice::FileSetAside { path: entry.path.to_string(), why });
                }
                self.bad.push(entry.path.clone());
                Ok(None)
            }
        }
    }
}

/// A reader of damaged files may run into what it took for impossible: that is damage too.
fn guarded<T>(read: impl FnOnce() -> Result<T, PartError>) -> Result<T, PartError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(PartError::Damaged("its pages contradict themselves".to_owned())))
}
