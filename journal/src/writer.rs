//! The one thread that writes: takes what is queued, writes it, syncs once, tells all of it.
//!
//! States: *open*; *disk full* (nothing is written until an append or a look at the health found room); *poisoned*
//! (the thread has ended). A failure is told to everything that was queued before the next append is taken, so that
//! nothing that was queued after a failed record can become durable without it.

mod files;
mod frames;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use muster::clock::WallTime;

use crate::config::SyncMode;
use crate::error::{AppendError, Cause, is_no_room};
use crate::failpoint::failpoint;
use crate::format::{FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES};
use crate::fs::{File, write_full};
use crate::queue::{Condition, Unit};
use crate::record::{Entry, Position};
use crate::segments::{Segment, segment_path};
use crate::shared::Shared;

use files::create_segment;
pub(crate) use files::{make_reserve, new_segment_file};
use frames::{Piece, encode, seal_head};

/// The thread has no recursion and no large values on its stack.
const STACK_BYTES: usize = 256 << 10;
/// The buffer for heads and small payloads is given back when a group made it larger than this.
const ARENA_BYTES_KEPT: usize = 256 << 10;

/// Name of the file that is given up when the disk is full.
pub(crate) const RESERVE_NAME: &str = "reserve";

pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Active,
    /// The position of the next record.
    next: u64,
    arena: Vec<u8>,
    /// Off once the file system said that it cannot.
    can_allocate: bool,
    /// Whether a reserve could not be made for another reason than want of room; not tried again in this life.
    is_reserve_hopeless: bool,
}

/// The segment that is written.
pub(crate) struct Active {
    pub(crate) file: Box<dyn File>,
    pub(crate) first: u64,
    /// Where the durable frames end and the next group begins.
    pub(crate) end: u64,
    /// Size of the file.
    pub(crate) allocated: u64,
    /// Where its head ends, and the records that it begins with.
    pub(crate) head_end: u64,
}

/// Why a group was not written.
enum Failure {
    NoRoom,
    Broken(Cause),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, active: Active, next: u64) -> Self {
        Self { shared, active, next, arena: Vec::new(), can_allocate: true, is_reserve_hopeless: false }
    }

    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        let builder = std::thread::Builder::new().name("journal-writer".to_owned()).stack_size(STACK_BYTES);
        builder.spawn(move || self.run())
    }

    fn run(mut self) {
        while let Some(units) = self.take_group() {
            if let Err(cause) = self.write_all(units) {
                return self.shared.poison(&cause);
            }
        }
        // Not synced: every group is already. If the seal is lost to a power cut, the next opening finds the last group
        // without proof, and writes it again.
        if let Err(error) = self.write_seal() {
            tracing::warn!(%error, "cannot seal the journal");
        }
    }

    /// Waits for work, gathers, and takes all of it. None once the log is closed and nothing waits.
    fn take_group(&mut self) -> Option<Vec<Unit>> {
        let shared = &self.shared;
        let mut queue = shared.queue.lock();
        let durable = Ok(shared.durable.position());
        queue.answer_probes(&durable);
        while queue.units.is_empty() {
            queue.answer_probes(&durable);
            if queue.is_closing {
                return None;
            }
            shared.work.wait(&mut queue);
        }
        let interval = shared.config.commit_interval;
        if !interval.is_zero() && !queue.is_closing && queue.bytes < shared.config.queue_bytes_max / 2 {
            let deadline = shared.clock.monotonic().0 + interval;
            // A wake-up is a new unit, not the end of the gathering. The bound on rounds is for clocks that stand.
            for _ in 0..1024 {
                let left = deadline.saturating_sub(shared.clock.monotonic().0);
                if left.is_zero() || queue.is_closing || shared.work.wait_for(&mut queue, left).timed_out() {
                    break;
                }
            }
        }
        Some(queue.units.drain(..).collect())
    }

    /// Writes units in groups, one a segment; tells each group when it is durable. When this returns every unit has been
    /// told; if it returns a cause, nothing may be written any more.
    fn write_all(&mut self, units: Vec<Unit>) -> Result<(), Cause> {
        let mut rest = units;
        while !rest.is_empty() {
            let written =
                self.prepare(&rest).and_then(|count| self.write_group(&rest[..count]).map(|()| count));
            match written {
                Ok(count) => drop(rest.drain(..count)),
                Err(failure) => return self.fail(rest, failure),
            }
        }
        if self.shared.queue.lock().units.is_empty() {
            // Proof that the group is synced. Without it recovery is only more careful, so a failure costs nothing.
            let _ = self.write_seal();
        }
        Ok(())
    }

    /// Sees to the reserve and to a segment with room. How many of the units go into it.
    fn prepare(&mut self, units: &[Unit]) -> Result<usize, Failure> {
        self.see_to_reserve()?;
        let is_fresh = self.active.end <= self.active.head_end;
        if !is_fresh && self.active.end + units[0].records.frame_bytes() > self.active_bytes_max() {
            self.rotate()?;
        }
        let bytes_max = self.active_bytes_max();
        let mut end = self.active.end;
        let fits = units.iter().take_while(|unit| {
            end += unit.records.frame_bytes();
            end <= bytes_max
        });
        Ok(fits.count().max(1))
    }

    /// Makes the reserve again after it was given up.
    fn see_to_reserve(&mut self) -> Result<(), Failure> {
        let has_reserve = self.shared.counters.has_reserve.load(Ordering::Relaxed);
        if has_reserve || self.shared.config.reserve_bytes == 0 || self.is_reserve_hopeless {
            return Ok(());
        }
        match make_reserve(&self.shared) {
            Ok(()) => Ok(()),
            Err(error) if is_no_room(&error) => Err(Failure::NoRoom),
            Err(error) => {
                tracing::warn!(%error, "cannot make the reserve file; going on without");
                self.is_reserve_hopeless = true;
                Ok(())
            }
        }
    }

    /// Where the active segment ends at the latest. Half of it is for records, however much it begins with.
    fn active_bytes_max(&self) -> u64 {
        let bytes_max = self.shared.config.segment_bytes_max;
        bytes_max.max(self.active.head_end + bytes_max / 2)
    }

    fn write_group(&mut self, group: &[Unit]) -> Result<(), Failure> {
        let wall = self.shared.clock.wall();
        let salt = self.shared.salt(self.active.first);
        let records = group.iter().flat_map(|unit| {
            let records = unit.records.as_slice();
            records.iter().enumerate().map(|(i, record)| (record, i + 1 < records.len()))
        });
        let (pieces, count, bytes) = encode(&mut self.arena, salt, self.next, wall, records);
        self.write_pieces(&pieces, bytes)?;
        failpoint("before-sync");
        self.sync("sync")?;
        failpoint("after-sync-before-ack");
        self.keep_tail(group, wall);
        self.publish(count, bytes, wall);
        let mut last = self.next - 1 - count;
        let mut queue_bytes = 0;
        for unit in group {
            last += unit.records.as_slice().len() as u64;
            queue_bytes += unit.records.queue_bytes();
            unit.complete(&Ok(Position(last)));
        }
        let mut queue = self.shared.queue.lock();
        queue.bytes = queue.bytes.saturating_sub(queue_bytes);
        Ok(())
    }

    /// Writes the pieces at the durable end, where nobody reads yet.
    fn write_pieces(&mut self, pieces: &[Piece], bytes: u64) -> Result<(), Failure> {
        self.allocate_ahead(bytes);
        let mut slices = Piece::slices(pieces, &self.arena);
        let written = write_full(&*self.active.file, &mut slices, self.active.end);
        written.map_err(|error| self.failure("write", &error))?;
        self.active.allocated = self.active.allocated.max(self.active.end + bytes);
        failpoint("after-write");
        if self.arena.capacity() > ARENA_BYTES_KEPT {
            self.arena = Vec::new();
        }
        Ok(())
    }

    fn sync(&mut self, what: &'static str) -> Result<(), Failure> {
        if self.shared.config.sync == SyncMode::Never {
            return Ok(());
        }
        let path = segment_path(&self.shared.config.dir, self.active.first);
        self.active.file.sync_data().map_err(|error| Failure::Broken(Cause::new(what, &path, &error)))?;
        self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        // A file without a name is gone after a restart, however well it is synced.
        match self.active.file.is_linked() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let gone =
                    io::Error::new(io::ErrorKind::NotFound, "the file was deleted while it was written");
                Err(Failure::Broken(Cause::new("keep", &path, &gone)))
            }
            Err(error) => Err(Failure::Broken(Cause::new("look at", &path, &error))),
        }
    }

    /// Keeps the group in memory for readers that keep up.
    fn keep_tail(&self, group: &[Unit], wall: WallTime) {
        let mut tail = self.shared.tail.lock();
        if !tail.is_kept() {
            return;
        }
        for (position, record) in (self.next..).zip(group.iter().flat_map(|unit| unit.records.as_slice())) {
            tail.push(Entry {
                position: Position(position),
                appended_wall: wall,
                kind: record.kind,
                meta: record.meta.clone(),
                payload: record.payload.clone(),
            });
        }
    }

    /// Lets readers see the group: first where it ends, then that it is durable.
    fn publish(&mut self, count: u64, bytes: u64, wall: WallTime) {
        let segment_bytes_max = self.shared.config.segment_bytes_max;
        let mut segments = self.shared.segments.lock();
        if let Some(segment) = segments.list.last_mut() {
            segment.mark(self.next, self.active.end, segment_bytes_max);
            segment.last = self.next + count - 1;
            segment.end = self.active.end + bytes;
            segment.last_wall_us = segment.last_wall_us.max(wall.0);
        }
        drop(segments);
        self.active.end += bytes;
        self.next += count;
        self.shared.counters.records_appended.fetch_add(count, Ordering::Relaxed);
        self.shared.counters.bytes_appended.fetch_add(bytes, Ordering::Relaxed);
        self.shared.durable.advance(self.next - 1);
    }

    /// Closes the active segment and begins the next.
    fn rotate(&mut self) -> Result<(), Failure> {
        let old_path = segment_path(&self.shared.config.dir, self.active.first);
        if !matches!(self.shared.is_dir_current(), Ok(true)) {
            let moved = io::Error::new(io::ErrorKind::NotFound, "the folder was moved, deleted or replaced");
            return Err(Failure::Broken(Cause::new("begin a segment in", &self.shared.config.dir, &moved)));
        }
        // The records are synced already; this only saves later openings work.
        let sealed_end = self.active.end + FRAME_HEAD_BYTES as u64;
        let tidied = self.write_seal().and_then(|()| self.active.file.truncate(sealed_end));
        if let Err(error) = tidied {
            tracing::warn!(path = %old_path.display(), %error, "cannot seal a full segment");
        } else {
            self.active.allocated = sealed_end;
        }
        self.sync("sync")?;
        failpoint("mid-rotate");
        let head_records = self.shared.segment_head.lock().as_ref().map(|make| make()).unwrap_or_default();
        let wall = self.shared.clock.wall();
        let made = create_segment(&self.shared, self.next, wall, &head_records, &mut self.arena);
        let (active, head_bytes) = made.map_err(|(path, error)| self.segment_failure(&path, &error))?;
        self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        let mut segment = Segment::new(self.next, SEGMENT_HEAD_BYTES as u64, wall.0);
        segment.mark(self.next, SEGMENT_HEAD_BYTES as u64, self.shared.config.segment_bytes_max);
        let mut segments = self.shared.segments.lock();
        if let Some(closed) = segments.list.last_mut() {
            closed.closed_at = Some(self.shared.clock.monotonic().0);
        }
        segments.list.push(segment);
        drop(segments);
        self.active = active;
        if !head_records.is_empty() {
            self.publish(head_records.len() as u64, head_bytes, wall);
        }
        crate::retention::apply(&self.shared);
        Ok(())
    }

    /// Says on disk, unsynced, that everything before is synced, if it is. The next group overwrites it.
    fn write_seal(&mut self) -> io::Result<()> {
        if self.shared.config.sync == SyncMode::Never {
            return Ok(());
        }
        let mut seal = Vec::with_capacity(FRAME_HEAD_BYTES);
        let salt = self.shared.salt(self.active.first);
        seal_head(self.next - 1, self.shared.clock.wall()).encode(salt, &[], &mut seal);
        write_full(&*self.active.file, &mut [IoSlice::new(&seal)], self.active.end)?;
        self.active.allocated = self.active.allocated.max(self.active.end + seal.len() as u64);
        Ok(())
    }

    /// Allocates the next piece of the segment if the group goes past what is allocated. Only an optimisation.
    fn allocate_ahead(&mut self, bytes: u64) {
        let config = &self.shared.config;
        let needed = self.active.end + bytes;
        if needed <= self.active.allocated || config.preallocate_bytes == 0 || !self.can_allocate {
            return;
        }
        let wanted = (needed + config.preallocate_bytes).min(config.segment_bytes_max.max(needed));
        let (from, len) = (self.active.allocated, wanted - self.active.allocated);
        match self.active.file.allocate(from, len) {
            Ok(()) => self.active.allocated = wanted,
            Err(error) => self.can_allocate = error.kind() != io::ErrorKind::Unsupported,
        }
    }

    fn failure(&self, what: &'static str, error: &io::Error) -> Failure {
        if is_no_room(error) {
            return Failure::NoRoom;
        }
        Failure::Broken(Cause::new(what, &segment_path(&self.shared.config.dir, self.active.first), error))
    }

    /// A segment could not be begun. What there is of it is taken away, or it would be found half made.
    fn segment_failure(&self, path: &std::path::Path, error: &io::Error) -> Failure {
        if !is_no_room(error) {
            return Failure::Broken(Cause::new("begin", path, error));
        }
        match self.shared.fs.unlink(path) {
            Err(left) if left.kind() != io::ErrorKind::NotFound => {
                Failure::Broken(Cause::new("take back", path, &left))
            }
            _ => Failure::NoRoom,
        }
    }

    /// Refuses new appends, tidies up, tells all that were queued, and only then lets appends look for room again: so
    /// nothing that comes after a failed record is written without it.
    fn fail(&mut self, units: Vec<Unit>, failure: Failure) -> Result<(), Cause> {
        self.shared.queue.lock().condition = Condition::DiskFull { is_settled: false };
        let tidied = match failure {
            Failure::NoRoom => self.give_way(),
            Failure::Broken(cause) => Err(cause),
        };
        let error = match &tidied {
            Ok(()) => AppendError::DiskFull,
            Err(cause) => AppendError::Poisoned(cause.clone()),
        };
        let mut queue = self.shared.queue.lock();
        if let Err(cause) = &tidied {
            queue.condition = Condition::Poisoned(cause.clone());
        }
        let queued = std::mem::take(&mut queue.units);
        queue.bytes = 0;
        drop(queue);
        for unit in units.into_iter().chain(queued) {
            unit.complete(&Err(error.clone()));
        }
        if tidied.is_ok() {
            self.shared.queue.lock().condition = Condition::DiskFull { is_settled: true };
        }
        tidied
    }

    /// Cuts back what was written of the failed group, and gives the reserve up.
    fn give_way(&mut self) -> Result<(), Cause> {
        let path = segment_path(&self.shared.config.dir, self.active.first);
        self.active.file.truncate(self.active.end).map_err(|error| Cause::new("cut back", &path, &error))?;
        self.active.allocated = self.active.end;
        if self.shared.counters.has_reserve.swap(false, Ordering::Relaxed) {
            let reserve = self.shared.config.dir.join(RESERVE_NAME);
            if let Err(error) = self.shared.fs.unlink(&reserve) {
                tracing::warn!(path = %reserve.display(), %error, "cannot give the reserve up");
            }
        }
        // Only proof that the last group is synced: recovery manages without.
        let _ = self.write_seal();
        self.shared.counters.disk_full_events.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(dir = %self.shared.config.dir.display(), "disk is full; appends are refused until there is room");
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panicked = io::Error::other("it panicked");
            self.shared.poison(&Cause::new("run the writer of", &self.shared.config.dir, &panicked));
        }
    }
}
