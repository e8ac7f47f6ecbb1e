//! Rows of another version of the tables, as today's tables have them.

use arrow_array::{ArrayRef, RecordBatch, new_null_array};

use super::FileError;
use crate::dataset::DataSet;

/// The batch in today's file schema. A column that it has not is null (an older file), one that is not known is left
/// out (a newer file), one of another Arrow type (a file that another program wrote anew) is cast.
pub fn adapt(batch: RecordBatch, data_set: DataSet) -> Result<RecordBatch, FileError> {
    let schema = data_set.file_schema();
    let is_todays = batch.num_columns() == schema.fields().len()
        && schema
            .fields()
            .iter()
            .zip(batch.schema_ref().fields())
            .all(|(ours, its)| ours.name() == its.name() && ours.data_type() == its.data_type());
    if is_todays {
        return Ok(RecordBatch::try_new(schema, batch.columns().to_vec())?);
    }
    let column = |column: &crate::dataset::Column| -> Result<ArrayRef, FileError> {
        let wanted = column.values.data_type();
        match batch.column_by_name(column.name) {
            Some(values) if *values.data_type() == wanted => Ok(values.clone()),
            Some(values) => Ok(arrow_cast::cast(values, &wanted)?),
            None if column.is_nullable => Ok(new_null_array(&wanted, batch.num_rows())),
            None => Err(FileError::NoColumn { data_set, column: column.name }),
        }
    };
    let columns = data_set.columns().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}
