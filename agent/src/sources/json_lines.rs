//! A generic source: a file of JSON lines, read by a small table of `[[agent.source]]`.
//!
//! ```text
//! file ─> tail (whole lines) ─> Mapping (line in, statement out; pure) ─> facts
//! ```
//!
//! | found | done |
//! |---|---|
//! | a last line without its end | waits for it |
//! | the file was renamed to `NAME.1` and there is a new one | the rest of the old one, then the new one from its start |
//! | the file was replaced, truncated or rewritten | read from its start; with `time`, lines up to the newest that was counted are left out |
//! | a line that is no JSON object, or lacks what its kind needs | counted as a parse error in `SourceHealth`, and said by `preview` |
//! | a line over 4 MiB | passed over and counted |
//! | no file | waited for |
//!
//! Where it is, and the newest time that was counted, are in the spool's record with the events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster::clock::WallTime;
use muster::v1::SourceEnded;
use muster::v1::event::Kind;
use prost::Message;

use super::devloop::report::Health;
use super::devloop::tail::{Piece, Tail, TailCursor};
use super::devloop::times;
use super::{Moment, ProjectContext, Source, Step, Tool, ToolEnvironment, WatchedPath};
use crate::facts::{Facts, STEP_EVENTS_MAX};

mod mapping;
#[cfg(test)]
mod tests;

pub use mapping::{Field, Line, Mapping, TimeField, TimeFormat};

/// Before a source's name in what names its position.
pub const KEY_PREFIX: &str = "source:";
/// Most sources of a configuration.
pub const SOURCES_MAX: usize = 32;
/// How often a file is looked at that notifications say nothing of.
const INTERVAL: Duration = Duration::from_secs(30);
/// Lines of one step: a run that says what it used is two facts.
const LINES_A_STEP: usize = STEP_EVENTS_MAX / 2;

/// A checked `[[agent.source]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Names it among the sources, and its position.
    pub name: String,
    /// The file, absolute.
    pub path: PathBuf,
    /// The label `tool`.
    pub tool: String,
    /// The project's name, where the folder's is not the right one.
    pub project: Option<String>,
    /// What lines become.
    pub mapping: Mapping,
}

/// A configured source as a tool. It is configured and never found: [`Tool::is_in`] is asked of those in
/// [`super::TOOLS`] alone.
#[derive(Debug)]
pub struct JsonLines {
    config: Arc<SourceConfig>,
    key: &'static str,
}

impl JsonLines {
    /// Of a configuration, for as long as the process lives, as the configuration does: at most [`SOURCES_MAX`].
    pub fn of(config: SourceConfig) -> &'static Self {
        let key = String::leak(format!("{KEY_PREFIX}{}", config.name));
        Box::leak(Box::new(Self { config: Arc::new(config), key }))
    }

    /// The configuration.
    pub fn config(&self) -> &SourceConfig {
        &self.config
    }
}

impl Tool for JsonLines {
    fn name(&self) -> &'static str {
        self.key
    }

    fn is_in(&self, _: &Path) -> bool {
        false
    }

    fn open(&self, project: ProjectContext, _: &ToolEnvironment, position: Option<&[u8]>) -> Box<dyn Source> {
        let position = position.map(|bytes| Position::decode(bytes).ok().filter(|p| p.version == VERSION));
        if matches!(position, Some(None)) {
            tracing::warn!(source = %self.config.name, "position cannot be read: reading all anew");
        }
        Box::new(JsonLinesSource {
            config: self.config.clone(),
            project,
            cursor: position.flatten().map(Cursor::from).unwrap_or_default(),
            tail: Tail::default(),
            looks_closer: true,
            health: Health::default(),
        })
    }
}

struct JsonLinesSource {
    config: Arc<SourceConfig>,
    project: ProjectContext,
    cursor: Cursor,
    tail: Tail,
    /// The file may have more than its stamp shows.
    looks_closer: bool,
    health: Health,
}

/// How far the file has been read.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    tail: TailCursor,
    newest: WallTime,
    /// The file was rewritten: lines up to this time come again.
    counted_through: Option<WallTime>,
}

impl Source for JsonLinesSource {
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        facts.speak_for(&self.config.tool, "", &self.project);
        let more = match self.next_piece(moment.rescan) {
            Ok(Some(piece)) => self.state(piece, moment, facts),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(source = %self.config.name, path = %self.config.path.display(), %error, "cannot be read");
                self.health.read_errors += 1;
                false
            }
        };
        if let Some(event) = self.health.take_event() {
            facts.push(moment.wall, Kind::SourceHealth(event));
        }
        Step { more, again_in: Some(INTERVAL) }
    }

    fn position(&self) -> Vec<u8> {
        Position::from(self.cursor).encode_to_vec()
    }

    fn watched_paths(&self) -> Vec<WatchedPath> {
        let folder = self.config.path.parent().filter(|folder| folder.is_dir());
        folder.map(|folder| WatchedPath(folder.to_owned())).into_iter().collect()
    }

    fn end(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        facts.speak_for(&self.config.tool, "", &self.project);
        facts.push(moment.wall, Kind::SourceEnded(SourceEnded {}));
    }
}

impl JsonLinesSource {
    /// The next whole lines: of the file that was rotated away, as long as it has some, else of the file.
    fn next_piece(&mut self, rescan: bool) -> std::io::Result<Option<Piece>> {
        let path = &self.config.path;
        let rotated = rotated(path);
        let cursor = &mut self.cursor.tail;
        let is_rotated =
            cursor.offset > 0 && !Tail::holds(path, cursor) && path.exists() && Tail::holds(&rotated, cursor);
        let look_closer = std::mem::take(&mut self.looks_closer) || rescan;
        if !is_rotated {
            let piece = self.tail.read(path, cursor, look_closer)?;
            if piece.as_ref().is_some_and(|piece| piece.rewritten) && self.cursor.newest > WallTime(0) {
                self.cursor.counted_through = Some(self.cursor.newest);
            }
            return Ok(piece);
        }
        let mut piece = Tail::default().read(&rotated, cursor, true)?.unwrap_or_default();
        if !piece.more {
            // A line without its end gets none any more.
            let bytes = std::fs::metadata(&rotated)?.len();
            self.health.records_skipped += u64::from(bytes > cursor.offset);
            *cursor = TailCursor::default();
            piece.more = true;
            self.looks_closer = true;
        }
        Ok(Some(piece))
    }

    /// States what lines say; answers whether there is more.
    fn state(&mut self, piece: Piece, moment: &Moment<'_>, facts: &mut Facts) -> bool {
        self.health.records_skipped += piece.skipped;
        let mut newest = self.cursor.newest;
        let mut lines = piece.bytes.split_inclusive(|&byte| byte == b'\n');
        let mut taken = 0;
        for line in lines.by_ref().take(LINES_A_STEP) {
            taken += line.len();
            match self.config.mapping.read(line) {
                Line::Blank | Line::PassedOver => {}
                Line::Wrong(_) => self.health.parse_errors += 1,
                Line::Statement(statement) => {
                    let time = times::believable(statement.time, moment.wall);
                    if statement.time.is_some() {
                        if self.cursor.counted_through.is_some_and(|through| time <= through) {
                            continue;
                        }
                        newest = newest.max(time.min(moment.wall));
                        self.health.newest_data_time = self.health.newest_data_time.max(newest);
                    }
                    statement.state(time, facts);
                }
            }
        }
        self.cursor.newest = newest;
        let is_left = self.give_back(piece.bytes.len() - taken);
        let more = piece.more || is_left;
        if !more {
            self.cursor.counted_through = None;
        }
        more
    }

    /// Sets the cursor back by the bytes of lines that are left for the next step.
    fn give_back(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        let cursor = TailCursor { offset: self.cursor.tail.offset - bytes as u64, ..self.cursor.tail };
        // If the file went away meanwhile, what comes in its place is read anew.
        self.cursor.tail = Tail::anchored(&self.config.path, cursor).unwrap_or_default();
        self.looks_closer = true;
        true
    }
}

/// Where rotation puts a file that it begins anew.
fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Raised when an older position would be misread.
const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Position {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(fixed64, tag = "3")]
    anchor: u64,
    #[prost(bool, tag = "4")]
    inside_long_line: bool,
    #[prost(uint64, tag = "5")]
    newest_us: u64,
    #[prost(uint64, optional, tag = "6")]
    counted_through_us: Option<u64>,
}

impl From<Cursor> for Position {
    fn from(cursor: Cursor) -> Self {
        Self {
            version: VERSION,
            offset: cursor.tail.offset,
            anchor: cursor.tail.anchor,
            inside_long_line: cursor.tail.inside_long_line,
            newest_us: cursor.newest.0,
            counted_through_us: cursor.counted_through.map(|time| time.0),
        }
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Self {
        let Position { offset, anchor, inside_long_line, .. } = position;
        Self {
            tail: TailCursor { offset, anchor, inside_long_line },
            newest: WallTime(position.newest_us),
            counted_through: position.counted_through_us.map(WallTime),
        }
    }
}
