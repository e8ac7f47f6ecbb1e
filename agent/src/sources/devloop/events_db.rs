//! Reading events.db without ever disturbing DevLoop or writing into the project. The shell around [`super::cursor`].
//!
//! Each read opens the database read-only, reads a bounded number of rows in one transaction, and closes it: DevLoop's
//! own commit fails when somebody reads for more than five seconds (contracts/devloop.md section 0.8).
//!
//! | the file | what happens |
//! |---|---|
//! | absent, or without a byte | nothing; the cursor stays |
//! | as after the last read to its end | only its metadata is looked at |
//! | rollback journal mode | read in place |
//! | hot journal | recovered on a [`PrivateCopy`] |
//! | WAL mode | read from a [`PrivateCopy`], at most once in a time that grows with its size |
//! | locked | later; nothing is lost |
//! | too large to copy, malformed, no database | counted as a read error once for this state of the file; the last good values stay |
//! | old schema (no `sequence`) | read; there is no queue depth |

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use muster::clock::{Clock, Monotonic, SystemClock, WallTime};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::backlog::{self, Backlog};
use super::cursor::{DatabaseCursor, Landmark};
use super::private_copy::{COMPANIONS, COPY_BYTES_MAX, PrivateCopy, beside};
use super::rows::Row;
use super::seen::RowId;
use super::settings::Worker;
use super::stamp::{Identity, Stamp};
use super::times;
use crate::sources::Moment;

/// Most rows of one read: with their findings they stay under a step's facts.
const ROWS_MAX: usize = 300;
/// Payload bytes after which a read ends.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Largest payload that is taken as it is; of larger ones SQLite picks what is needed.
const ROW_PAYLOAD_BYTES_MAX: i64 = 1024 * 1024;
/// Largest payload of which anything is read.
const ROW_PAYLOAD_BYTES_GIVEN_UP: i64 = 64 * 1024 * 1024;
/// Longest id and event type.
const NAME_BYTES_MAX: i64 = 256;
/// Longest time inside one read transaction.
const TRANSACTION_TIME_MAX: Duration = Duration::from_millis(250);
/// How long SQLite waits for a lock by itself.
const BUSY_TIMEOUT: Duration = Duration::from_millis(20);
/// When a locked database is tried again.
const BUSY_RETRY: Duration = Duration::from_millis(250);
/// When a database that changed just now is looked at again.
const RACY_RETRY: Duration = Duration::from_millis(100);
/// A database in WAL mode is not copied more often than its size takes at this rate.
const COPY_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

/// The database of one project.
#[derive(Debug)]
pub(super) struct EventsDb {
    path: PathBuf,
    project: PathBuf,
    /// The state of the files that has been read to its end, or given up.
    done_with: Option<DatabaseStamp>,
    /// That state was read from a copy, which is not made again for it.
    done_from_copy: bool,
    copy: Option<(DatabaseStamp, PrivateCopy)>,
    copy_not_before: Monotonic,
}

/// The database's file and its companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DatabaseStamp {
    database: Stamp,
    companions: [Option<Stamp>; 2],
}

impl DatabaseStamp {
    fn is_racy(&self, now: WallTime) -> bool {
        let companions = self.companions.iter().flatten();
        std::iter::once(&self.database).chain(companions).any(|stamp| stamp.is_racy(now))
    }
}

/// What a look at the database gave.
#[derive(Debug)]
pub(super) enum Look {
    /// There is no database.
    Absent,
    /// Nothing new.
    Unchanged,
    /// Rows, not yet told apart by the cursor.
    Read(Reading),
    /// Not now.
    Later(Duration),
    /// It cannot be read as it is. Said once for each state of the file.
    Unreadable(ReadError),
}

/// One bounded read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// In the order of their numbers.
    pub rows: Vec<Row>,
    /// The table goes on.
    pub more: bool,
    /// The table was searched from its start.
    pub searched: bool,
    /// What waits for each worker, when the table was read to its end and tells.
    pub backlog: Option<Backlog>,
    /// Look again then, though nothing may have changed.
    pub again_in: Option<Duration>,
}

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// Somebody writes: try again soon.
    #[error("database is locked")]
    Busy,
    /// It must be recovered first.
    #[error("database needs recovery")]
    NeedsRecovery,
    /// It would have to be copied, and is too large.
    #[error(
        "database and its journal have {0} bytes, more than {COPY_BYTES_MAX} that may be copied for recovery"
    )]
    TooLarge(u64),
    /// The file cannot be read.
    #[error("database file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Malformed, no database, or another schema.
    #[error("database cannot be read: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl EventsDb {
    /// The database at `path` in `project`.
    pub(super) fn new(path: PathBuf, project: PathBuf) -> Self {
        Self {
            path,
            project,
            done_with: None,
            done_from_copy: false,
            copy: None,
            copy_not_before: Monotonic::default(),
        }
    }

    /// Reads the next rows after `cursor`.
    pub(super) fn look(
        &mut self,
        cursor: &mut DatabaseCursor,
        workers: &[Worker],
        moment: &Moment<'_>,
    ) -> Look {
        let stamp = match self.stamp() {
            Ok(Some(stamp)) => stamp,
            Ok(None) => return Look::Absent,
            Err(error) => return Look::Unreadable(error.into()),
        };
        let looked_at = self.done_with == Some(stamp);
        if stamp.database.bytes == 0 || looked_at && (!moment.rescan || self.done_from_copy) {
            return Look::Unchanged;
        }
        let mut read = match self.is_in_wal_mode() {
            Ok(false) => self.read_in_place(stamp, cursor, workers),
            Ok(true) => Err(ReadError::NeedsRecovery),
            Err(error) => Err(error.into()),
        };
        let by_copy = matches!(read, Err(ReadError::NeedsRecovery));
        if by_copy {
            if let Some(wait) = self.copy_wait(stamp, moment) {
                return Look::Later(wait);
            }
            read = self.read_from_copy(stamp, cursor, workers, moment);
        }
        // A copy that failed for want of space, say, is tried again on the next rescan.
        self.done_from_copy = by_copy && !matches!(read, Err(ReadError::Io(_)));
        self.conclude(read, stamp, looked_at, moment)
    }

    fn conclude(
        &mut self,
        read: Result<Reading, ReadError>,
        stamp: DatabaseStamp,
        looked_at: bool,
        moment: &Moment<'_>,
    ) -> Look {
        match read {
            Ok(mut reading) => {
                if !reading.more {
                    self.copy = None;
                    let racy = stamp.is_racy(moment.wall);
                    self.done_with = (!racy).then_some(stamp);
                    reading.again_in = racy.then_some(RACY_RETRY);
                }
                Look::Read(reading)
            }
            Err(ReadError::Busy) => Look::Later(BUSY_RETRY),
            Err(_) if looked_at => Look::Unchanged,
            Err(error) => {
                self.copy = None;
                self.done_with = Some(stamp);
                Look::Unreadable(error)
            }
        }
    }

    fn stamp(&self) -> io::Result<Option<DatabaseStamp>> {
        let Some(database) = Stamp::of(&self.path)? else { return Ok(None) };
        let [journal, wal] = COMPANIONS.map(|ending| Stamp::of(&beside(&self.path, ending)));
        Ok(Some(DatabaseStamp { database, companions: [journal?, wal?] }))
    }

    /// Whether the header says WAL mode. The file is not opened through SQLite for this: that would already create
    /// files beside it.
    fn is_in_wal_mode(&self) -> io::Result<bool> {
        let mut header = [0u8; 20];
        let mut file = File::open(&self.path)?;
        match file.read_exact(&mut header) {
            Ok(()) => Ok(header.starts_with(b"SQLite format 3\0") && (header[18] == 2 || header[19] == 2)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_in_place(
        &self,
        stamp: DatabaseStamp,
        cursor: &mut DatabaseCursor,
        workers: &[Worker],
    ) -> Result<Reading, ReadError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        read(&connection, stamp.database.identity, cursor, workers)
    }

    /// How long to wait before the next copy; `None` when there is one of this state, or it is time.
    fn copy_wait(&self, stamp: DatabaseStamp, moment: &Moment<'_>) -> Option<Duration> {
        let is_copied = self.copy.as_ref().is_some_and(|(of, _)| *of == stamp);
        let wait = self.copy_not_before.0.saturating_sub(moment.monotonic.0);
        (!is_copied && !wait.is_zero()).then_some(wait)
    }

    fn read_from_copy(
        &mut self,
        stamp: DatabaseStamp,
        cursor: &mut DatabaseCursor,
        workers: &[Worker],
        moment: &Moment<'_>,
    ) -> Result<Reading, ReadError> {
        if self.copy.as_ref().is_none_or(|(of, _)| *of != stamp) {
            self.copy = None;
            let companions = stamp.companions.iter().flatten().map(|stamp| stamp.bytes).sum::<u64>();
            let bytes = stamp.database.bytes.saturating_add(companions);
            if bytes > COPY_BYTES_MAX {
                return Err(ReadError::TooLarge(bytes));
            }
            let pause = Duration::from_millis(1_000 + bytes * 1_000 / COPY_BYTES_PER_SECOND);
            self.copy_not_before = Monotonic(moment.monotonic.0 + pause);
            let copy = PrivateCopy::of(&self.path, &self.project)?;
            // Copied while somebody wrote: pieces of two states, which may even look whole.
            if self.stamp()? != Some(stamp) {
                return Err(ReadError::Busy);
            }
            self.copy = Some((stamp, copy));
        }
        let Some((_, copy)) = &self.copy else { return Err(ReadError::Busy) };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(copy.database(), flags)?;
        read(&connection, stamp.database.identity, cursor, workers)
    }
}

/// Reads rows and backlog in one transaction that ends here, whatever happens. The cursor moves only when all went well.
fn read(
    connection: &Connection,
    file: Identity,
    cursor: &mut DatabaseCursor,
    workers: &[Worker],
) -> Result<Reading, ReadError> {
    let clock = SystemClock::new();
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let transaction = connection.unchecked_transaction()?;
    let schema = Schema::of(&transaction)?;
    if !schema.has_events {
        return Ok(Reading::default());
    }
    let mut settled = cursor.clone();
    let searched = settled.settle(landmark(&transaction, &schema, file, cursor.rowid)?);
    let (rows, more) = select_rows(&transaction, &schema, settled.rowid, &clock)?;
    let backlog = match schema.has_sequence && !more {
        true => match backlog::read(&transaction, workers) {
            // Values of other types than DevLoop's: rows are still worth reading.
            Err(error) if error.sqlite_error_code().is_none() => None,
            backlog => backlog?,
        },
        false => None,
    };
    *cursor = settled;
    Ok(Reading { rows, more, searched, backlog, again_in: None })
}

/// Which columns the table has: before version 0.8 it had no `sequence`.
struct Schema {
    has_events: bool,
    has_created_at: bool,
    has_sequence: bool,
}

impl Schema {
    fn of(connection: &Connection) -> Result<Self, rusqlite::Error> {
        // A view of that name could be made to run for ever.
        let columns = "SELECT column.name FROM sqlite_schema AS entry, pragma_table_info('events') AS column
            WHERE entry.name = 'events' AND entry.type = 'table' LIMIT 256";
        let mut statement = connection.prepare(columns)?;
        let columns =
            statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        Ok(Self {
            has_events: !columns.is_empty(),
            has_created_at: has("created_at"),
            has_sequence: has("sequence"),
        })
    }

    fn select(&self) -> String {
        let created_at = if self.has_created_at { "created_at" } else { "NULL" };
        format!(
            "SELECT rowid, CASE WHEN octet_length(id) <= {NAME_BYTES_MAX} THEN id END,
                CASE WHEN octet_length(type) <= {NAME_BYTES_MAX} THEN type END, timestamp, {created_at},
                CASE WHEN octet_length(payload) <= ?2 THEN payload
                     WHEN octet_length(payload) <= ?3 AND typeof(payload) = 'text' AND json_valid(payload) THEN
                        json_object(
                            'agent_name', payload ->> '$.agent_name', 'success', payload -> '$.success',
                            'duration', payload ->> '$.duration', 'path', payload ->> '$.path',
                            'message', substr(payload ->> '$.message', 1, 256),
                            'error', substr(payload ->> '$.error', 1, 256),
                            'data', json_object(
                                'file', payload ->> '$.data.file', 'failed', payload ->> '$.data.failed',
                                'issue_count', payload ->> '$.data.issue_count',
                                'issues_found', payload ->> '$.data.issues_found'))
                END
             FROM events WHERE rowid > ?1 ORDER BY rowid"
        )
    }
}

fn landmark(
    connection: &Connection,
    schema: &Schema,
    file: Identity,
    rowid: i64,
) -> Result<Landmark, rusqlite::Error> {
    let rowid_max =
        connection.query_row("SELECT max(rowid) FROM events", [], |row| row.get::<_, Option<i64>>(0))?;
    let mut at_cursor = connection.prepare(&schema.select().replace("rowid > ?1", "rowid = ?1"))?;
    let id_at_cursor = at_cursor.query_row((rowid, 0, 0), |row| Ok(read_row(row)?.id)).optional()?;
    Ok(Landmark { file, rowid_max: rowid_max.unwrap_or(0), id_at_cursor })
}

fn select_rows(
    connection: &Connection,
    schema: &Schema,
    after: i64,
    clock: &SystemClock,
) -> Result<(Vec<Row>, bool), rusqlite::Error> {
    let mut statement = connection.prepare(&schema.select())?;
    let mut selected = statement.query((after, ROW_PAYLOAD_BYTES_MAX, ROW_PAYLOAD_BYTES_GIVEN_UP))?;
    let (mut rows, mut payload_bytes) = (Vec::new(), 0);
    while let Some(row) = selected.next()? {
        let row = read_row(row)?;
        payload_bytes += row.payload.as_ref().map_or(0, Vec::len);
        rows.push(row);
        let is_full = rows.len() >= ROWS_MAX || payload_bytes >= PAYLOAD_BYTES_MAX;
        if is_full || clock.monotonic().0 > TRANSACTION_TIME_MAX {
            return Ok((rows, true));
        }
    }
    Ok((rows, false))
}

/// A row as it is, whatever types its values have: SQLite does not enforce them.
fn read_row(row: &rusqlite::Row<'_>) -> Result<Row, rusqlite::Error> {
    let time = |column: usize| match row.get_ref(column) {
        Ok(ValueRef::Real(seconds)) => times::from_epoch_seconds(seconds),
        Ok(ValueRef::Integer(seconds)) => times::from_epoch_seconds(seconds as f64),
        _ => None,
    };
    let bytes = |column: usize| match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => Some(bytes),
        _ => None,
    };
    let rowid = row.get::<_, i64>(0)?;
    let kind = String::from_utf8_lossy(bytes(2).unwrap_or_default()).into_owned();
    let id = match bytes(1) {
        Some(id) => RowId::of(id),
        // A row without an id is known by what it has.
        None => RowId::of(format!("{rowid} {kind} {:?}", time(3)).as_bytes()),
    };
    Ok(Row { rowid, id, kind, made: time(3), stored: time(4), payload: bytes(5).map(<[u8]>::to_vec) })
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            // A hot journal that a read-only connection may not roll back.
            Some(ErrorCode::ReadOnly) => Self::NeedsRecovery,
            _ => Self::Sqlite(error),
        }
    }
}
