//! Who did what, and what was refused: an append-only log of its own, for whoever must answer for the collector.
//!
//! `<data_dir>/audit.jsonl` has one JSON object a line ([`Entry`] says what is in it), is its owner's alone (0600), and is
//! never changed: at [`FILE_BYTES_MAX`] it becomes `audit.jsonl.1` and so on up to [`FILES_MAX`] files, and the oldest goes.
//! No line has a secret: a token stands there by its id. Commands (`muster token`, `muster agents`) append from their own
//! process ([`append_from_command`]); a lock file keeps lines whole and the turn of the files in one hand.
//!
//! ```text
//! record ─> queue (bounded) ─> thread: line, append, sync
//! record_often ─> one line at once, the rest of the minute as one line with a count ─┘
//! record_durably ─> append, sync, and only then goes on
//! ```
//!
//! | what happens | what is done |
//! |---|---|
//! | the queue is full | the entry is dropped, counted (`muster_audit_dropped_total`), and a line says later how many were |
//! | the disk is full or refuses | the same: **the act goes on**. A full disk must not keep an operator from revoking a token, nor a team's history from who may read it; that lines are missing is in the figures, in the log, and in the next line that can be written |
//! | an enrolment cannot be written | **it is refused** (`record_durably`): it makes a new identity, which nobody would know where from, and waits without harm until the disk has room |
//! | a power loss in the middle of a line | the torn end stays alone in its line and is passed over by who reads |
//! | a guesser with wrong credentials | a line for each address, token id and reason at once, then one a minute with a count; past [`REPEATS_MAX`] of these a minute there is one for each address, and past [`WHO_MAX`] of those one for all others, with their number (`muster_audit_merged_total`) |

mod entry;
mod file;
mod repeats;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use muster::clock::Clock;
use parking_lot::Mutex;

pub use entry::{Entry, What, Who};
pub use file::{FILE_BYTES_MAX, FILE_NAME, FILES_MAX, Follower, lines};
pub use repeats::{REPEATS_MAX, WHO_MAX};

use crate::figures::{AuditDrop, Figures};
use file::AuditFile;
use repeats::{Note, Repeats};

/// Entries that wait for the disk: a second of the busiest collector. More are dropped and counted.
const QUEUE_ENTRIES_MAX: usize = 1_024;
/// How an export ended, in the log's words: as it should have.
pub(crate) const END_WHOLE: &str = "all rows were sent";
/// Or otherwise.
pub(crate) const END_CUT: &str = "cut: the reader went, or the rows failed";
/// How often the thread looks for minutes that are over.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The collector's hand on its audit log. Shared by all parts.
#[derive(Debug)]
pub struct AuditLog {
    file: Arc<AuditFile>,
    queue: SyncSender<Told>,
    repeats: Arc<Mutex<Repeats>>,
    clock: Arc<dyn Clock>,
    figures: Arc<Figures>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Told {
    Line(String),
    Finish,
}

impl AuditLog {
    /// The log in `data_dir`, and a thread that writes it.
    ///
    /// # Errors
    /// No thread can be had. A file that cannot be written is no error here: what is recorded is counted as dropped.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>, figures: Arc<Figures>) -> io::Result<Arc<Self>> {
        let (queue, told) = sync_channel(QUEUE_ENTRIES_MAX);
        let file = Arc::new(AuditFile::new(data_dir));
        let repeats = Arc::new(Mutex::new(Repeats::default()));
        let writer = Writer {
            file: file.clone(),
            repeats: repeats.clone(),
            clock: clock.clone(),
            figures: figures.clone(),
            unsaid: 0,
        };
        let thread =
            std::thread::Builder::new().name("muster-audit".to_owned()).spawn(move || writer.run(&told))?;
        Ok(Arc::new(Self { file, queue, repeats, clock, figures, thread: Mutex::new(Some(thread)) }))
    }

    /// Writes an entry soon. Never blocks, never fails: what finds no room is counted.
    pub fn record(&self, entry: &Entry) {
        self.tell(entry.line(self.clock.wall()));
    }

    /// As [`AuditLog::record`], for what a peer can do as often as it likes: the first is written soon, equal ones within
    /// a minute are counted and are one line at its end.
    pub fn record_often(&self, entry: Entry) {
        let note = self.repeats.lock().note(entry, self.clock.monotonic());
        match note {
            Note::Write(first) => self.record(&first),
            Note::Counted => {}
            Note::Merged => self.figures.audit_merged.add(1),
        }
    }

    /// Writes an entry and waits until it is durable. Blocks for a sync of the disk.
    ///
    /// # Errors
    /// It could not be written: what it is about must not happen.
    pub fn record_durably(&self, entry: &Entry) -> io::Result<()> {
        let written = self.file.append(entry.line(self.clock.wall()).as_bytes());
        match &written {
            Ok(()) => self.figures.audit_lines.add(1),
            Err(_) => self.figures.audit_dropped.add(AuditDrop::WriteFailed, 1),
        }
        written
    }

    /// Writes what waits and ends the thread. Blocks. What is recorded afterwards is counted as dropped.
    pub fn finish(&self) {
        // The thread reads until it is told, so there will be room.
        let _ = self.queue.send(Told::Finish);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's thread panicked");
        }
    }

    fn tell(&self, line: String) {
        match self.queue.try_send(Told::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.figures.audit_dropped.add(AuditDrop::QueueFull, 1);
            }
        }
    }
}

/// Appends from a process that is not the collector, and waits until it is durable.
///
/// # Errors
/// It could not be written; a command tells it on standard error, and what it did stays done.
pub fn append_from_command(data_dir: &Path, entry: &Entry, clock: &dyn Clock) -> io::Result<()> {
    AuditFile::new(data_dir).append(entry.line(clock.wall()).as_bytes())
}

struct Writer {
    file: Arc<AuditFile>,
    repeats: Arc<Mutex<Repeats>>,
    clock: Arc<dyn Clock>,
    figures: Arc<Figures>,
    /// Lines that were dropped since the last that was written.
    unsaid: u64,
}

impl Writer {
    fn run(mut self, told: &Receiver<Told>) {
        let mut dropped_seen = 0;
        loop {
            let (mut text, mut count, mut is_over) = (String::new(), 0, false);
            match told.recv_timeout(LOOK_INTERVAL) {
                Ok(first) => {
                    let more = std::iter::once(first).chain(std::iter::from_fn(|| told.try_recv().ok()));
                    // Bounded: who records meanwhile is written with the next.
                    for one in more.take(QUEUE_ENTRIES_MAX) {
                        match one {
                            Told::Line(line) => {
                                text.push_str(&line);
                                count += 1;
                            }
                            Told::Finish => is_over = true,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            for entry in self.repeats.lock().over(self.clock.monotonic(), is_over) {
                text.push_str(&entry.line(self.clock.wall()));
                count += 1;
            }
            let dropped = self.figures.audit_dropped.value(AuditDrop::QueueFull);
            self.unsaid += dropped - std::mem::replace(&mut dropped_seen, dropped);
            self.write(text, count);
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, mut text: String, mut count: u64) {
        if text.is_empty() && self.unsaid == 0 {
            return;
        }
        if self.unsaid > 0 {
            let entry = Entry::new(What::LinesDropped, Who::Collector).with("count", self.unsaid);
            text.push_str(&entry.line(self.clock.wall()));
        }
        match self.file.append(text.as_bytes()) {
            Ok(()) => {
                count += u64::from(self.unsaid > 0);
                self.figures.audit_lines.add(count);
                self.unsaid = 0;
            }
            Err(error) => {
                if count > 0 {
                    tracing::error!(%error, lines = count, "the audit log cannot be written; lines are dropped");
                    self.figures.audit_dropped.add(AuditDrop::WriteFailed, count);
                }
                self.unsaid += count;
            }
        }
    }
}
