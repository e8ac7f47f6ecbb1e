//! A database that a test writes as DevLoop does.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::Project;

/// The writer's side of events.db.
pub(super) struct Database {
    pub connection: Connection,
    sequence: i64,
    /// Number in the id of the next event.
    pub next_id: u64,
    /// Seconds since the epoch of the next event.
    pub clock_s: f64,
    legacy: bool,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT NOT NULL, timestamp REAL NOT NULL,
        source TEXT NOT NULL, payload TEXT NOT NULL, priority INTEGER NOT NULL,
        sequence INTEGER UNIQUE NOT NULL, created_at REAL NOT NULL);
    CREATE TABLE IF NOT EXISTS replay_state (agent_name TEXT PRIMARY KEY, last_processed_sequence INTEGER NOT NULL,
        last_processed_timestamp REAL NOT NULL, updated_at REAL NOT NULL);";
const LEGACY_SCHEMA: &str = "
    CREATE TABLE events (id TEXT PRIMARY KEY, type TEXT NOT NULL, timestamp REAL NOT NULL,
        source TEXT NOT NULL, payload TEXT NOT NULL, priority INTEGER NOT NULL, created_at REAL NOT NULL);";

impl Database {
    pub(super) fn create(project: &Project) -> Self {
        Self::with_schema(project, SCHEMA, false)
    }

    /// As DevLoop wrote it before it had sequences.
    pub(super) fn create_legacy(project: &Project) -> Self {
        Self::with_schema(project, LEGACY_SCHEMA, true)
    }

    fn with_schema(project: &Project, schema: &str, legacy: bool) -> Self {
        let connection = Connection::open(project.state().join("events.db")).expect("open");
        connection.execute_batch(schema).expect("schema");
        // A test's commits need not survive a power cut.
        connection.pragma_update(None, "synchronous", "OFF").expect("pragma");
        Self { connection, sequence: 0, next_id: 1, clock_s: 1_773_133_200.0, legacy }
    }

    /// DevLoop starts anew: its sequence numbers begin at one, and stored rows with the same ones go.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// A new event; answers its id.
    pub(super) fn event(&mut self, kind: &str, payload: &Value) -> String {
        let id = format!("00000000-0000-4000-8000-{:012x}", self.next_id);
        self.next_id += 1;
        self.clock_s += 1.0;
        self.store(&id, kind, payload, self.clock_s - 1.0);
        id
    }

    /// Stores an event, or stores it again.
    pub(super) fn store(&mut self, id: &str, kind: &str, payload: &Value, made_s: f64) {
        self.sequence += 1;
        let payload = payload.to_string();
        let stored_s = self.clock_s;
        if self.legacy {
            let sql = "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, 'x', ?4, 1, ?5)";
            self.connection.execute(sql, params![id, kind, made_s, payload, stored_s]).expect("insert");
        } else {
            let sql = "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3, 'x', ?4, 1, ?5, ?6)";
            let row = params![id, kind, made_s, payload, self.sequence, stored_s];
            self.connection.execute(sql, row).expect("insert");
        }
    }

    pub(super) fn run(&mut self, worker: &str, success: bool) -> String {
        self.event(&format!("agent:{worker}:completed"), &run(worker, success))
    }

    /// `worker` has handled all events up to now.
    pub(super) fn handled(&mut self, worker: &str) {
        let sql = "INSERT OR REPLACE INTO replay_state VALUES (?1, ?2, 0, 0)";
        self.connection.execute(sql, params![worker, self.sequence]).expect("insert");
    }

    /// Many runs in one transaction; every `failing`-th fails.
    pub(super) fn runs(&mut self, worker: &str, count: usize, failing: usize) {
        self.connection.execute_batch("BEGIN").expect("begin");
        for n in 1..=count {
            self.run(worker, n % failing != 0);
        }
        self.connection.execute_batch("COMMIT").expect("commit");
    }
}

/// A run's payload.
pub(super) fn run(worker: &str, success: bool) -> Value {
    json!({"agent_name": worker, "success": success, "duration": 0.25, "message": "looked", "error": null,
           "data": {"file": "/somewhere/a.py", "issues": [{"code": "F401"}], "issue_count": 1}})
}
