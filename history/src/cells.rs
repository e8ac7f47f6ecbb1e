//! The cells of a batch by column. A batch is looked at once for each text of its dictionaries, not for each row.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, DictionaryArray, PrimitiveArray, RecordBatch, StringArray};

/// A column of texts.
pub(crate) struct Words<'a> {
    keys: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
}

/// What each text of a column means to its reader.
pub(crate) struct Meanings<'a, T> {
    keys: &'a DictionaryArray<Int32Type>,
    of_values: Vec<T>,
    of_null: T,
}

/// A column of integers or times.
pub(crate) struct Integers<'a> {
    values: Option<&'a PrimitiveArray<Int64Type>>,
}

/// The times of a batch.
pub(crate) fn times(batch: &RecordBatch) -> &[i64] {
    let times = batch.column_by_name("time").and_then(|column| column.as_primitive_opt());
    times.map_or(&[], |times: &PrimitiveArray<TimestampMicrosecondType>| times.values())
}

impl<'a> Words<'a> {
    /// The column; `None`: the batch has no such.
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Option<Self> {
        let keys = batch.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        Some(Self { keys, values: keys.values().as_string_opt::<i32>()? })
    }

    /// The text of a row.
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        let key = self.keys.key(row)?;
        self.values.is_valid(key).then(|| self.values.value(key))
    }

    /// Looks up what each text means.
    pub(crate) fn meanings<T>(&self, mut meaning: impl FnMut(Option<&'a str>) -> T) -> Meanings<'a, T> {
        let values = self.values;
        let text = |value: usize| values.is_valid(value).then(|| values.value(value));
        let of_values = (0..values.len()).map(|value| meaning(text(value))).collect();
        Meanings { keys: self.keys, of_values, of_null: meaning(None) }
    }
}

impl<T: Copy> Meanings<'_, T> {
    pub(crate) fn get(&self, row: usize) -> T {
        self.keys.key(row).map_or(self.of_null, |key| self.of_values[key])
    }
}

impl<'a> Integers<'a> {
    /// The column; all null where the batch has no such.
    pub(crate) fn of(batch: &'a RecordBatch, name: &str) -> Self {
        Self { values: batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()) }
    }

    /// The number of a row; a negative one is none.
    pub(crate) fn get(&self, row: usize) -> Option<u64> {
        let values = self.values.filter(|values| values.is_valid(row))?;
        u64::try_from(values.value(row)).ok()
    }

    /// The number of a row, 0 if there is none.
    pub(crate) fn or_zero(&self, row: usize) -> u64 {
        self.get(row).unwrap_or(0)
    }

    /// How many events a row stands for.
    pub(crate) fn weight(&self, row: usize) -> u64 {
        self.get(row).unwrap_or(1)
    }
}
