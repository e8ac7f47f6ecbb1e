//! Opens the folder and repairs what a crash left. `format.rs` says what is concluded from which bytes.

mod segments;
mod tail;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muster::clock::Clock;

use crate::config::Config;
use crate::cursor::{self, CursorMark, Loaded};
use crate::error::OpenError;
use crate::format::{FORMAT_VERSION, JournalId, SEGMENT_HEAD_BYTES};
use crate::fs::{DirLock, FileSystem, PathKind};
use crate::quarantine::Quarantine;
use crate::record::Position;
use crate::segments::{Segment, Segments, segment_path};
use crate::shared::Shared;
use crate::writer::{Active, RESERVE_NAME, Writer, make_reserve, new_segment_file};

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the folder had no log.
    pub is_new: bool,
    /// Last position that is durable.
    pub last: Position,
    /// Bytes past it that were cut off: a group that a crash interrupted, never acknowledged.
    pub torn_bytes: u64,
    /// Whole records among them.
    pub torn_records: u64,
    /// Records found damaged, now set aside. Only the last segment is looked through.
    pub quarantined_records: u64,
    /// Files that were not what their name says, now `*.seg.corrupt`.
    pub quarantined_segments: u64,
    /// Positions that no segment has, both ends included.
    pub missing: Vec<(Position, Position)>,
    /// Cursors of which a slot was damaged.
    pub cursors_damaged: Vec<String>,
    /// Whether cursors were past the end of the log (an older copy was restored, or its end was lost), so that the log
    /// goes on after them.
    pub skipped_to: Option<Position>,
}

impl Recovery {
    /// Whether something is gone that had been durable, as far as one can tell. A group that a crash interrupted had not.
    pub fn is_damaged(&self) -> bool {
        self.quarantined_records > 0
            || self.quarantined_segments > 0
            || !self.missing.is_empty()
            || !self.cursors_damaged.is_empty()
            || self.skipped_to.is_some()
    }
}

pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) recovery: Recovery,
}

/// What the folder has, before anything is changed.
struct Survey {
    lock: Box<dyn DirLock>,
    names: Vec<String>,
    found: Vec<segments::Found>,
    cursors: BTreeMap<String, Loaded>,
}

pub(crate) fn open(
    config: Config,
    fs: Arc<dyn FileSystem>,
    clock: Arc<dyn Clock>,
) -> Result<Opened, OpenError> {
    let survey = survey(&config, &*fs)?;
    let mut recovery = Recovery::default();
    let mut quarantine = Quarantine::load(&*fs, &config.dir, &survey.names);
    let cursors = take_cursors(survey.cursors, &mut recovery);
    let floor = cursors.values().map(|mark| mark.position).max().unwrap_or(0);

    let sorted =
        segments::sort_out(&*fs, &config.dir, survey.found).map_err(io_error("set a segment aside"))?;
    quarantine.segments += sorted.set_aside;
    recovery.quarantined_segments = sorted.set_aside;
    recovery.is_new = sorted.list.is_empty() && survey.names.is_empty();
    let journal_id = match sorted.journal_id {
        Some(id) => id,
        None => new_journal_id().map_err(io_error("get random bytes"))?,
    };
    let mut list = sorted.list;
    let mut active = None;
    if let Some(last) = list.last_mut() {
        let repaired = tail::repair(&config, &*fs, journal_id, last, &mut quarantine, &mut recovery);
        active = Some(repaired.map_err(io_error("repair the last segment"))?);
    }
    let last_position = list.last().map_or(0, |segment| segment.last);
    let active = match active {
        Some(active) if last_position >= floor => active,
        _ => {
            // A cursor past the end has read records that are gone. Their numbers must not mean others.
            let first = last_position.max(floor) + 1;
            if floor > last_position {
                recovery.skipped_to = Some(Position(first));
            }
            let made = begin(&config, &*fs, &*clock, journal_id, first);
            let (segment, active) = made.map_err(io_error("begin a segment"))?;
            list.push(segment);
            active
        }
    };
    let durable = active_last(&list);
    recovery.last = Position(durable);
    let segments = Segments { list };
    recovery.missing = segments.missing().map(|(from, to)| (Position(from), Position(to))).collect();
    let damaged = recovery.cursors_damaged.len() as u64;
    let lock = survey.lock;
    let shared =
        Arc::new(Shared::new(config, fs, clock, journal_id, durable, segments, cursors, quarantine, lock));
    shared.counters.cursors_damaged.store(damaged, Ordering::Relaxed);
    prepare_reserve(&shared, &survey.names);
    let writer = Writer::new(shared.clone(), active, durable + 1);
    Ok(Opened { shared, writer, recovery })
}

fn active_last(list: &[Segment]) -> u64 {
    list.last().map_or(0, |segment| segment.last)
}

/// Locks the folder and reads what decides whether it may be opened.
fn survey(config: &Config, fs: &dyn FileSystem) -> Result<Survey, OpenError> {
    let dir = &config.dir;
    match fs.kind(dir).map_err(io_error("look at the folder"))? {
        PathKind::Folder => {}
        PathKind::Other => return Err(OpenError::NotADirectory(dir.clone())),
        PathKind::Missing => fs.create_dir(dir).map_err(io_error("make the folder"))?,
    }
    let lock = fs.lock(dir).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(dir.clone()),
        _ => OpenError::Io { what: "lock the folder", source },
    })?;
    let names = fs.list(dir).map_err(io_error("list the folder"))?;
    let found = segments::find(fs, dir, &names).map_err(io_error("read the head of a segment"))?;
    if let Some((path, version)) =
        found.iter().find_map(|f| f.newer_version().map(|v| (segment_path(dir, f.first), v)))
    {
        return Err(OpenError::NewerVersion { path, version, supported: FORMAT_VERSION });
    }
    let cursors = cursor::load_all(fs, dir, &names).map_err(io_error("read a cursor"))?;
    for (name, loaded) in &cursors {
        if let Loaded::Newer(version) = *loaded {
            let path = dir.join(format!("{name}.cursor"));
            return Err(OpenError::NewerVersion { path, version, supported: FORMAT_VERSION });
        }
    }
    Ok(Survey { lock, names, found, cursors })
}

fn take_cursors(loaded: BTreeMap<String, Loaded>, recovery: &mut Recovery) -> BTreeMap<String, CursorMark> {
    let mut cursors = BTreeMap::new();
    for (name, loaded) in loaded {
        match loaded {
            Loaded::Good(mark) => _ = cursors.insert(name, mark),
            Loaded::Damaged(mark) => {
                tracing::warn!(name, position = mark.position, "cursor is damaged and may have fallen back");
                recovery.cursors_damaged.push(name.clone());
                cursors.insert(name, mark);
            }
            Loaded::Newer(_) => {}
        }
    }
    cursors
}

/// Makes the segment that begins at `first`, durable.
fn begin(
    config: &Config,
    fs: &dyn FileSystem,
    clock: &dyn Clock,
    journal_id: JournalId,
    first: u64,
) -> io::Result<(Segment, Active)> {
    let wall = clock.wall();
    let path = segment_path(&config.dir, first);
    let file = new_segment_file(fs, &path, journal_id, first, wall)?;
    file.sync_data()?;
    fs.sync_dir(&config.dir)?;
    let end = SEGMENT_HEAD_BYTES as u64;
    Ok((Segment::new(first, end, wall.0), Active { file, first, end, allocated: end, head_end: end }))
}

fn prepare_reserve(shared: &Shared, names: &[String]) {
    let path = shared.config.dir.join(RESERVE_NAME);
    let wanted = shared.config.reserve_bytes;
    let there = names.iter().any(|name| name == RESERVE_NAME);
    let len =
        there.then(|| shared.fs.open(&path, crate::fs::OpenMode::Read).and_then(|f| f.len()).ok()).flatten();
    if wanted > 0 && len == Some(wanted) {
        shared.counters.has_reserve.store(true, Ordering::Relaxed);
        return;
    }
    if there && let Err(error) = shared.fs.unlink(&path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a reserve of the wrong size");
    }
    if wanted > 0
        && let Err(error) = make_reserve(shared)
    {
        // It opens all the same: reading must work on a full disk. The first append tries again.
        tracing::warn!(path = %path.display(), %error, "cannot make the reserve file");
    }
}

fn new_journal_id() -> io::Result<JournalId> {
    let mut id = JournalId::default();
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

/// A name that nothing has: where a wrong segment goes.
fn free_name(dir: &Path, fs: &dyn FileSystem, first: u64) -> io::Result<std::path::PathBuf> {
    let path = dir.join(format!("{first:020}.seg.corrupt"));
    match fs.kind(&path)? {
        PathKind::Missing => Ok(path),
        _ => {
            let mut tag = [0; 4];
            getrandom::fill(&mut tag).map_err(io::Error::other)?;
            Ok(dir.join(format!("{first:020}.{:08x}.seg.corrupt", u32::from_le_bytes(tag))))
        }
    }
}
