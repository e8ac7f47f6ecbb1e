//! Rows of several data sets as lines of JSON: an object a line, each with its data set first.

use arrow_array::RecordBatch;

use super::{Detail, Format, FormatError, Layout, RowWriter};
use crate::dataset::DataSet;

/// Writes each row as `{"data_set":"runs",...}` with all its columns.
pub fn tagged_lines(rows: Vec<(DataSet, RecordBatch)>) -> Result<Vec<u8>, FormatError> {
    let mut lines = Vec::new();
    for (data_set, batch) in rows {
        let layout = Layout { data_set, detail: Detail::Full };
        let mut writer = RowWriter::new(Format::Ndjson, layout, Vec::new())?;
        writer.write(&batch)?;
        for line in writer.finish()?.split_inclusive(|byte| *byte == b'\n') {
            // Every line begins with a brace.
            lines.extend_from_slice(format!("{{\"data_set\":\"{data_set}\",").as_bytes());
            lines.extend_from_slice(&line[1..]);
        }
    }
    Ok(lines)
}
