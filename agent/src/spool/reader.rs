//! Reading what was spooled.

use journal::{ReadItem, Reader};
use muster::batch::SealedBatch;
use muster::ids::Seq;

use super::record::{self, KIND_STEP, SpoolRecord};

/// Reads sealed batches in order.
#[derive(Debug)]
pub struct BatchReader {
    reader: Reader,
    after: Seq,
}

impl BatchReader {
    /// Of the batches whose events come after `after`.
    pub(super) fn new(reader: Reader, after: Seq) -> Self {
        Self { reader, after }
    }

    /// The next batch after the last one; `None` at the end of what is durable for now.
    pub fn next_batch(&mut self) -> Result<Option<SealedBatch>, journal::ReadError> {
        while let Some(item) = self.reader.read()? {
            // A gap shows as a hole in the numbers, which the uplink checks.
            let ReadItem::Entry(entry) = item else { continue };
            if entry.kind != KIND_STEP {
                continue;
            }
            if let Ok(SpoolRecord { batch: Some(batch), .. }) = record::decode(&entry.meta, &entry.payload)
                && batch.seqs.last() > self.after
            {
                self.after = batch.seqs.last();
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}
