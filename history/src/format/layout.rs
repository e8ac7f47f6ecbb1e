//! Which columns are written, under which names.
//!
//! Runs have the columns that DevLoop's guide promises (`timestamp, agent, execution_time_ms, status, cpu_percent,
//! memory_mb`), and in full detail everything else after them; the guide's words stand there for `time`, `worker` and
//! `status`. The other data sets have all their columns by their own names always: no guide promises them.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use crate::dataset::{Column, DataSet, Values};

/// CPU of the worker at a run's end, in percent of a core: after the columns of runs, where readings were asked for.
pub const CPU_PERCENT: &str = "cpu_percent";
/// Memory of the worker at a run's end, in megabytes.
pub const MEMORY_MB: &str = "memory_mb";

/// How much of a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The guide's columns of runs; of the others all.
    Guide,
    /// All columns.
    Full,
}

/// What of which rows is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What the rows are.
    pub data_set: DataSet,
    /// How much of each.
    pub detail: Detail,
}

/// A column as it is written in a format of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its name there.
    pub(super) name: &'static str,
    /// The column it comes from.
    pub(super) from: &'static str,
    pub(super) content: Content,
    /// Whether batches may be without it; it is not known then.
    pub(super) is_optional: bool,
}

/// What is made of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Its values.
    Values(Values),
    /// Microseconds as milliseconds.
    Milliseconds,
}

impl Layout {
    /// The columns of the formats of text, in their order.
    pub(super) fn shown(self) -> Vec<Shown> {
        let own = |column: &'static Column| Shown {
            name: column.name,
            from: column.name,
            content: Content::Values(column.values),
            is_optional: false,
        };
        let team =
            Shown { name: "team", from: "team", content: Content::Values(Values::Word), is_optional: false };
        let mut all: Vec<Shown> = self.data_set.columns().map(own).collect();
        all.insert(1, team);
        if self.data_set != DataSet::Runs {
            return all;
        }
        let mut shown = GUIDE.to_vec();
        if self.detail == Detail::Full {
            // What a guide's column tells in full is not told twice; the exact microseconds are.
            let is_told = |column: &Shown| {
                GUIDE.iter().any(|told| told.from == column.from && told.content == column.content)
            };
            shown.extend(all.into_iter().filter(|column| !is_told(column)));
        }
        shown
    }

    /// The schema of the formats that have types: the rows' own, and in full detail of runs the readings after it.
    pub fn schema(self) -> SchemaRef {
        let rows = self.data_set.row_schema();
        if self.data_set != DataSet::Runs || self.detail == Detail::Guide {
            return rows;
        }
        let mut fields: Vec<_> = rows.fields().iter().cloned().collect();
        let reading = |name| Arc::new(Field::new(name, Values::Number.data_type(), true));
        fields.extend([reading(CPU_PERCENT), reading(MEMORY_MB)]);
        Arc::new(Schema::new_with_metadata(fields, rows.metadata().clone()))
    }
}

const fn guide(name: &'static str, from: &'static str, content: Content, is_optional: bool) -> Shown {
    Shown { name, from, content, is_optional }
}

/// DevLoop's guide, "Export as CSV".
const GUIDE: &[Shown] = &[
    guide("timestamp", "time", Content::Values(Values::Time), false),
    guide("agent", "worker", Content::Values(Values::Word), false),
    guide("execution_time_ms", "duration_us", Content::Milliseconds, false),
    guide("status", "status", Content::Values(Values::Word), false),
    guide(CPU_PERCENT, CPU_PERCENT, Content::Values(Values::Number), true),
    guide(MEMORY_MB, MEMORY_MB, Content::Values(Values::Number), true),
];
