//! Groups by their names, each with a number.

use arrow_array::RecordBatch;
use rustc_hash::FxHashMap;

use super::By;
use crate::cells::{Words, times};
use crate::dataset::DataSet;

/// Most groups that are counted apart; those that come later are the last group, without a name.
pub(super) const GROUPS_MAX: usize = 2_000;
/// Microseconds of a UTC day.
const DAY_US: i64 = 86_400_000_000;

/// Names and numbers.
#[derive(Debug)]
pub(super) struct Groups {
    by: Option<By>,
    numbers: FxHashMap<Option<Box<str>>, usize>,
    pub(super) names: Vec<Option<Box<str>>>,
    /// Whether there were more than [`GROUPS_MAX`].
    pub(super) is_full: bool,
}

/// Rows of a data set that the question does not part, and the groups past the bound.
pub(super) const UNGROUPED: usize = 0;
pub(super) const OVERFLOW: usize = 1;
/// The number of the first group with a name.
pub(super) const NAMED: usize = 2;

impl Groups {
    pub(super) fn new(by: Option<By>) -> Self {
        Self { by, numbers: FxHashMap::default(), names: vec![None; NAMED], is_full: false }
    }

    /// The group of each row.
    pub(super) fn of_rows(&mut self, data_set: DataSet, batch: &RecordBatch) -> Vec<usize> {
        let rows = batch.num_rows();
        let Some(by) = self.by else { return vec![UNGROUPED; rows] };
        if by == By::Day {
            return self.of_days(times(batch));
        }
        let Some(words) = column(by, data_set).and_then(|name| Words::of(batch, name)) else {
            return vec![UNGROUPED; rows];
        };
        // Only names that a row has are groups: a dictionary may have more.
        let mut known: Vec<Option<usize>> = Vec::new();
        let places = {
            let mut next = 0;
            words.meanings(|_| {
                next += 1;
                next - 1
            })
        };
        (0..rows)
            .map(|row| {
                let place = places.get(row);
                if known.len() <= place {
                    known.resize(place + 1, None);
                }
                *known[place].get_or_insert_with(|| self.number(words.get(row)))
            })
            .collect()
    }

    fn of_days(&mut self, times: &[i64]) -> Vec<usize> {
        let mut last: Option<(i64, usize)> = None;
        let number = |time: &i64| {
            let day = time.div_euclid(DAY_US);
            match last {
                Some((known, number)) if known == day => number,
                _ => {
                    let number = self.number(Some(&date(day)));
                    last = Some((day, number));
                    number
                }
            }
        };
        times.iter().map(number).collect()
    }

    fn number(&mut self, name: Option<&str>) -> usize {
        let name: Option<Box<str>> = name.map(Into::into);
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        if self.names.len() >= NAMED + GROUPS_MAX {
            self.is_full = true;
            return OVERFLOW;
        }
        let number = self.names.len();
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

/// The column of a data set that a question parts it by; `None`: it has none, and its rows count in the total alone.
pub(super) fn column(by: By, data_set: DataSet) -> Option<&'static str> {
    let name = match by {
        By::Team => return Some("team"),
        By::Day => return Some("time"),
        By::User => "user",
        By::Project => "project",
        By::Tool => "tool",
        By::Agent => "worker",
        By::Model => "model",
    };
    data_set.column_index(name).map(|_| name)
}

fn date(day: i64) -> String {
    let time = jiff::Timestamp::from_second(day.saturating_mul(86_400));
    time.map_or_else(|_| day.to_string(), |time| time.strftime("%Y-%m-%d").to_string())
}
