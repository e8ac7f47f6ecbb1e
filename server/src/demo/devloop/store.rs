//! `events.db`, contracts/devloop.md section 1.3: rollback journal, one commit an event, sequences from 1 in each process.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use rusqlite::{Connection, OptionalExtension, params};

use crate::demo::DemoError;

/// Python's `sqlite3` waits this long for a reader.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        id TEXT PRIMARY KEY,
        type TEXT NOT NULL,
        timestamp REAL NOT NULL,
        source TEXT NOT NULL,
        payload TEXT NOT NULL,
        priority INTEGER NOT NULL,
        sequence INTEGER UNIQUE NOT NULL,
        created_at REAL NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_events_type ON events(type);
    CREATE INDEX IF NOT EXISTS idx_events_timestamp ON events(timestamp);
    CREATE INDEX IF NOT EXISTS idx_events_source ON events(source);
    CREATE INDEX IF NOT EXISTS idx_events_sequence ON events(sequence);
    CREATE TABLE IF NOT EXISTS replay_state (
        agent_name TEXT PRIMARY KEY,
        last_processed_sequence INTEGER DEFAULT 0,
        last_processed_timestamp REAL DEFAULT 0,
        updated_at REAL NOT NULL
    );";

/// The event store of one DevLoop process.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    path: PathBuf,
    sequence: i64,
}

/// An event of the bus.
#[derive(Debug)]
pub(super) struct BusEvent {
    pub(super) id: String,
    pub(super) kind: String,
    /// Seconds since the epoch.
    pub(super) timestamp: f64,
    pub(super) source: String,
    pub(super) payload: String,
}

/// What storing an event did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    /// Rows that the event replaced: those with its sequence or its id.
    pub(super) replaced: u64,
}

impl Store {
    /// Opens or makes the database, as a process does when it starts. Sequences begin at 1.
    pub(super) fn open(path: PathBuf) -> Result<Self, DemoError> {
        let opened = Connection::open(&path).and_then(|database| {
            database.busy_timeout(BUSY_TIMEOUT)?;
            // No pragma of the real tool, and not to be seen in the file: an invented row is not worth a sync.
            database.pragma_update(None, "synchronous", "OFF")?;
            database.execute_batch(SCHEMA)?;
            Ok(database)
        });
        match opened {
            Ok(database) => Ok(Self { database, path, sequence: 0 }),
            Err(source) => Err(DemoError::Database { path, source }),
        }
    }

    /// Rows in the table.
    pub(super) fn rows(&self) -> Result<u64, DemoError> {
        let counted = self.database.query_row("SELECT COUNT(*) FROM events", [], |row| row.get::<_, i64>(0));
        counted.map(i64::unsigned_abs).map_err(|source| self.failed(source))
    }

    /// Stores an event under the next sequence.
    pub(super) fn store(&mut self, event: &BusEvent, created_at: f64) -> Result<Stored, DemoError> {
        let sequence = self.sequence + 1;
        let stored = self.insert(event, sequence, created_at).map_err(|source| self.failed(source))?;
        self.sequence = sequence;
        Ok(stored)
    }

    /// Notes that a worker has handled an event.
    pub(super) fn mark_processed(
        &self,
        worker: &str,
        sequence: i64,
        event_timestamp: f64,
        now: f64,
    ) -> Result<(), DemoError> {
        self.database
            .execute(
                "INSERT OR REPLACE INTO replay_state VALUES (?1, ?2, ?3, ?4)",
                params![worker, sequence, event_timestamp, now],
            )
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// The events that a starting process thinks it has missed: of all types, after the last processed sequence.
    pub(super) fn missed(&self) -> Result<Vec<BusEvent>, DemoError> {
        let read = || -> rusqlite::Result<Vec<BusEvent>> {
            let mut query = self.database.prepare(
                "SELECT id, type, timestamp, source, payload FROM events WHERE sequence > \
                 (SELECT COALESCE(MAX(last_processed_sequence), 0) FROM replay_state) ORDER BY sequence LIMIT 64",
            )?;
            let rows = query.query_map([], |row| {
                Ok(BusEvent {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    timestamp: row.get(2)?,
                    source: row.get(3)?,
                    payload: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|source| self.failed(source))
    }

    fn insert(&self, event: &BusEvent, sequence: i64, created_at: f64) -> rusqlite::Result<Stored> {
        let replaced = self
            .database
            .query_row(
                "SELECT COUNT(*) FROM events WHERE sequence = ?1 OR id = ?2",
                params![sequence, event.id],
                |row| row.get::<_, i64>(0),
            )
            .optional()?
            .unwrap_or(0)
            .unsigned_abs();
        self.database.execute(
            "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7)",
            params![event.id, event.kind, event.timestamp, event.source, event.payload, sequence, created_at],
        )?;
        Ok(Stored { sequence, replaced })
    }

    fn failed(&self, source: rusqlite::Error) -> DemoError {
        DemoError::Database { path: self.path.clone(), source }
    }
}

/// A random uuid of version 4, as text.
pub(super) fn uuid(rng: &mut Rng) -> String {
    let bits = (rng.u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_version_and_variant() {
        let mut rng = Rng::with_seed(7);
        for _ in 0..100 {
            let text = uuid(&mut rng);
            assert_eq!(text.len(), 36, "{text}");
            assert_eq!(text.as_bytes()[14], b'4', "{text}");
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        }
    }
}
