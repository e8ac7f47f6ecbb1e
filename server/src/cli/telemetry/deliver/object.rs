//! A file of rows as one object in an S3-compatible store.

use history::format::{Format, FormatError, Layout, RowWriter};

use super::super::super::Failure;
use super::super::export::tell;
use super::super::progress::Progress;
use super::super::rows::RowSource;
use super::{DeliverJob, variable};
use crate::delivery::s3::{S3Error, S3Target, Upload};

/// Writes all rows to the object. Without the last of them nothing is there.
pub(super) fn run(job: DeliverJob, format: Format, rows: RowSource) -> Result<(), Failure> {
    let DeliverJob { detail, asked, is_forced, flags, .. } = job;
    if flags.resume {
        let words =
            "an object is whole or not there, so there is nothing to resume: export again without --resume";
        return Err(Failure::Usage(words.to_owned()));
    }
    let destination = flags.destination.as_deref().unwrap_or_default();
    let target = S3Target::new(destination, (asked.data_set, asked.range, format), variable);
    let target = target.map_err(|error| Failure::Usage(error.to_string()))?.at(flags.url);
    let place = target.place();
    let upload = Upload::begin(target, is_forced).map_err(Failure::other)?;
    let broken = |error: FormatError| unfinished(&error);
    let layout = Layout { data_set: asked.data_set, detail };
    let mut progress = Progress::new(asked.range, false);
    let mut writer = RowWriter::new(format, layout, upload).map_err(broken)?;
    for batch in rows {
        let batch = batch?;
        writer.write(&batch).map_err(broken)?;
        progress.note(&batch);
    }
    let bytes = writer.finish().map_err(broken)?.finish().map_err(|error| match error {
        S3Error::Exists(_) => Failure::other(error),
        other => unfinished(&other),
    })?;
    let row_count = progress.finish();
    tell(&format!("{row_count} rows of {} written to {place} ({bytes} bytes)", asked.data_set));
    Ok(())
}

/// There is nothing to resume; the whole object is to be written again.
fn unfinished(error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!(
        "{error}\nnothing was left there: an object is whole or not there; when that is mended, the same command writes it from \
         its beginning"
    ))
}
