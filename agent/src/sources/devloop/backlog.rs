//! What waits for each worker, as far as the database tells.
//!
//! DevLoop keeps its queues in memory alone. A worker's backlog is estimated from events of the types that wake it and
//! that were stored after the last one it handled (`replay_state`). Sequence numbers start again with each DevLoop
//! process, so only rows up to the newest row's number are of its life; rows of an earlier life have higher ones.

use rusqlite::{Connection, OptionalExtension};

use super::settings::Worker;

/// Workers with what waits for each.
pub(super) type Backlog = Vec<(String, u64)>;

/// Most rows that are counted through: a depth over this reads as this.
const ROWS_MAX: i64 = 5_000;

/// The backlog of each enabled worker that has handled anything; `None` when the table does not tell.
pub(super) fn read(connection: &Connection, workers: &[Worker]) -> Result<Option<Backlog>, rusqlite::Error> {
    let handled = match handled(connection)? {
        Some(handled) => handled,
        None => return Ok(None),
    };
    let newest: Option<i64> = connection
        .query_row("SELECT sequence FROM events ORDER BY rowid DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let waiting: Vec<(&Worker, i64)> = workers
        .iter()
        .filter_map(|worker| Some((worker, handled.iter().find(|(name, _)| *name == worker.name)?.1)))
        .collect();
    let mut depths = vec![0u64; waiting.len()];
    if let (Some(newest), Some(first)) = (newest, waiting.iter().map(|&(_, sequence)| sequence).min()) {
        let mut statement = connection.prepare(
            "SELECT type, sequence FROM events WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3",
        )?;
        let mut rows = statement.query((first, newest, ROWS_MAX))?;
        while let Some(row) = rows.next()? {
            let (kind, sequence): (String, i64) = (row.get(0)?, row.get(1)?);
            for (depth, (worker, handled)) in depths.iter_mut().zip(&waiting) {
                *depth += u64::from(sequence > *handled && worker.triggers.iter().any(|t| wakes(t, &kind)));
            }
        }
    }
    Ok(Some(waiting.iter().zip(depths).map(|((worker, _), depth)| (worker.name.clone(), depth)).collect()))
}

/// The last event that each worker handled; `None` when there is no such table.
fn handled(connection: &Connection) -> Result<Option<Vec<(String, i64)>>, rusqlite::Error> {
    let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'replay_state'";
    if connection.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let mut statement =
        connection.prepare("SELECT agent_name, last_processed_sequence FROM replay_state LIMIT 256")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Whether an event of type `kind` wakes a worker with this trigger. A `*` works only at the end, as in DevLoop.
fn wakes(trigger: &str, kind: &str) -> bool {
    match trigger.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => trigger == kind,
    }
}
