//! Hands rows of the history to another system: all of them, in their order, each once as far as that system allows it.
//!
//! [`Delivery::run`] takes rows of a sorted scan one by one and gives them to a [`Destination`], which gathers them and
//! sends what it has gathered. After every taken request the place in the order is written down ([`state`]), so that a
//! delivery that was ended by whatever, be it `kill -9`, goes on after it.
//!
//! | what happens | what is done |
//! |---|---|
//! | the destination is away, overloaded or broken (no connection, 408, 429, 5xx) | again with growing waits, not before what `Retry-After` says, for [`Retries::give_up_after`] |
//! | it refuses (other 4xx) | the end, with its own words |
//! | a row that it has no words for, or that it would throw away | passed over, counted by reason and told |
//! | the end before the last row | an error that says how many rows were delivered, up to which one, and how to go on |
//! | going on | rows up to the written place are passed over; the last request may be sent twice, if its answer was lost |
//!
//! Rows that came into the range since, before the written place, are not seen by a delivery that goes on.
//! Memory is bounded by a batch of the scan and what a destination gathers.

pub mod datadog;
pub mod http;
pub mod influx;
pub mod otlp;
pub mod position;
pub mod s3;
pub mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use arrow_array::RecordBatch;
use history::dataset::DataSet;
use history::row::{Rows, UnexpectedColumn};
use tokio::runtime::Runtime;

pub use http::Retries;
use position::{Order, Place, Position};
use state::{StateError, StateFile};

/// Where rows go. Rows come in the order of a sorted scan.
pub trait Destination {
    /// What it is and where, for messages. Never a secret.
    fn describe(&self) -> String;
    /// Whether what is gathered is to be sent before this row is taken.
    fn is_due_before(&self, rows: &Rows<'_>, row: usize) -> bool;
    /// Takes a row.
    fn take(&mut self, rows: &Rows<'_>, row: usize) -> Result<(), PassedOver>;
    /// Takes note of a row that was delivered before.
    fn pass_over(&mut self, rows: &Rows<'_>, row: usize);
    /// Sends everything that is gathered.
    fn send(&mut self) -> impl Future<Output = Result<(), Refusal>>;
    /// What the operator should know at the end, beside errors.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why a row is not delivered, in few words: they are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassedOver(pub &'static str);

/// Why a destination has not taken what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was tried again and again.
    #[error("does not take it now: {why}; gave up after {attempts} attempts in {seconds} s")]
    Away {
        /// What the last attempt came to.
        why: String,
        /// How many there were.
        attempts: u32,
        /// In which time.
        seconds: u64,
    },
    /// It will never take it.
    #[error("refuses: {why}")]
    Refused {
        /// In its words.
        why: String,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Rows that the destination took, with those of the deliveries that this one goes on from.
    pub rows: u64,
    /// Rows that were not for it, by reason.
    pub passed_over: BTreeMap<PassedOver, u64>,
    /// Up to which row.
    pub position: Option<Position>,
    /// What the destination wants to be known.
    pub warnings: Vec<String>,
}

impl Delivered {
    /// Adds what an earlier part of the same delivery has to tell.
    pub fn add_told(&mut self, earlier: Delivered) {
        for (why, count) in earlier.passed_over {
            *self.passed_over.entry(why).or_default() += count;
        }
        self.warnings.splice(..0, earlier.warnings);
    }
}

/// A delivery that did not come to its end.
#[derive(Debug)]
pub struct Stopped {
    /// Why.
    pub cause: Cause,
    /// To where.
    pub destination: String,
    /// What was done before.
    pub delivered: Delivered,
    /// Whether where it stopped is written down.
    pub can_resume: bool,
}

/// Why a delivery stopped.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The destination.
    #[error(transparent)]
    Destination(#[from] Refusal),
    /// The rows could not be read.
    #[error("cannot read on: {0}")]
    Rows(String),
    /// They are not what they should be.
    #[error(transparent)]
    Columns(#[from] UnexpectedColumn),
    /// The place could not be written down.
    #[error(transparent)]
    State(#[from] StateError),
}

/// One delivery.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// What kind of rows.
    pub data_set: DataSet,
    /// Where to go on; the rows begin at the time of that position.
    pub from: Option<Position>,
    /// Where the place is written down; `None`: nowhere.
    pub state: Option<&'a StateFile>,
}

impl Delivery<'_> {
    /// Delivers the rows. `progress` hears after every request how many rows were delivered and up to which time (in
    /// microseconds since the epoch).
    pub fn run<D: Destination>(
        &self,
        runtime: &Runtime,
        destination: &mut D,
        rows: impl Iterator<Item = Result<RecordBatch, String>>,
        progress: impl FnMut(u64, i64),
    ) -> Result<Delivered, Box<Stopped>> {
        let delivered = Delivered {
            rows: self.from.as_ref().map_or(0, |from| from.rows),
            position: self.from.clone(),
            ..Delivered::default()
        };
        let mut run = Run {
            delivery: self,
            runtime,
            destination,
            progress,
            delivered,
            place: Place::default(),
            gathered: 0,
            passed_over: BTreeMap::new(),
        };
        let ended = run.all(rows);
        run.delivered.warnings = run.destination.warnings();
        let Err(cause) = ended else { return Ok(run.delivered) };
        Err(Box::new(Stopped {
            cause,
            destination: run.destination.describe(),
            can_resume: self.state.is_some() && run.delivered.position.is_some(),
            delivered: run.delivered,
        }))
    }
}

/// A delivery at work.
struct Run<'a, D, P> {
    delivery: &'a Delivery<'a>,
    runtime: &'a Runtime,
    destination: &'a mut D,
    progress: P,
    delivered: Delivered,
    place: Place,
    /// Rows that the destination has taken and not sent.
    gathered: u64,
    /// Rows since the last place that was written down that were not for it: whoever goes on meets them again.
    passed_over: BTreeMap<PassedOver, u64>,
}

impl<D: Destination, P: FnMut(u64, i64)> Run<'_, D, P> {
    fn all(&mut self, batches: impl Iterator<Item = Result<RecordBatch, String>>) -> Result<(), Cause> {
        let mut order = Order::after(self.delivery.from.as_ref());
        let mut last = None;
        for batch in batches {
            let batch = batch.map_err(Cause::Rows)?;
            let rows = Rows::new(self.delivery.data_set, &batch)?;
            for row in 0..rows.len() {
                if order.is_done(&rows, row) {
                    self.destination.pass_over(&rows, row);
                    continue;
                }
                if self.gathered > 0 && self.destination.is_due_before(&rows, row) {
                    // The row before this one, which may be of the batch before.
                    let at = if row == 0 { last.take() } else { Some(self.place.at(&rows, row - 1)) };
                    self.send(at)?;
                }
                match self.destination.take(&rows, row) {
                    Ok(()) => self.gathered += 1,
                    Err(why) => *self.passed_over.entry(why).or_default() += 1,
                }
            }
            if !rows.is_empty() {
                let at = self.place.at(&rows, rows.len() - 1);
                self.place.leave(&at);
                last = Some(at);
            }
        }
        self.send(last)
    }

    /// Sends what is gathered; `at` is the last row of it.
    fn send(&mut self, at: Option<Place>) -> Result<(), Cause> {
        if self.gathered > 0 {
            self.runtime.block_on(self.destination.send())?;
        }
        for (why, count) in std::mem::take(&mut self.passed_over) {
            *self.delivered.passed_over.entry(why).or_default() += count;
        }
        if self.gathered == 0 {
            return Ok(());
        }
        self.delivered.rows += std::mem::take(&mut self.gathered);
        if let Some(at) = at {
            let position = at.with_rows(self.delivered.rows);
            if let Some(state) = self.delivery.state {
                state.write(&position)?;
            }
            (self.progress)(position.rows, position.key.time_us);
            self.delivered.position = Some(position);
        }
        Ok(())
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Destination(refusal) => write!(f, "{} {refusal}", self.destination)?,
            other => write!(f, "{other}")?,
        }
        match &self.delivered.position {
            Some(position) => write!(f, "\ndelivered before that: {} rows, up to {position}", position.rows)?,
            None => write!(f, "\nnothing was delivered")?,
        }
        if self.can_resume {
            write!(f, "\ngo on after it with the same command and --resume")?;
        }
        Ok(())
    }
}

impl std::error::Error for Stopped {}
