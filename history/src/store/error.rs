//! What can go wrong with the store, and what it means for its writer.

use std::io;

use journal::Position;

use crate::partition::JournalRange;

/// Why the store did not do as asked. What was committed before stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error(
        "history {place}: no room on the disk to {what}: make room; what is not written yet stays in the journal"
    )]
    Full {
        /// Where.
        place: String,
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be reached.
    #[error("history {place}: cannot {what}: {source}")]
    Away {
        /// Where.
        place: String,
        /// What was tried.
        what: String,
        /// What was heard.
        source: object_store::Error,
    },
    /// It may not be used.
    #[error("history {place}: not permitted to {what}: {source}; check the credentials and what they may do")]
    Denied {
        /// Where.
        place: String,
        /// What was tried.
        what: String,
        /// What was heard.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is not there.
    #[error("history {place}: there is no such bucket: make it, or correct history.place")]
    NoBucket {
        /// Where.
        place: String,
    },
    /// The disk failed.
    #[error("history {place}: cannot {what}: {source}")]
    Io {
        /// Where.
        place: String,
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The journal is older than the history.
    #[error(
        "history {place} has rows up to journal record {cursor}, but the journal ends at {durable}: the journal was \
         restored from an older backup. Nothing is written to it any more: move this history away, or give another \
         history.place, and the records that the journal still has are written there"
    )]
    JournalBehind {
        /// Where.
        place: String,
        /// How far the history is.
        cursor: Position,
        /// How far the journal is.
        durable: Position,
    },
    /// The journal has another record where the history's last one was.
    #[error(
        "history {place} was written from another journal with the same id (record {position} is another one): the \
         journal was restored from an older backup and went on. Nothing is written to this history any more: move it \
         away, or give another history.place"
    )]
    OtherJournal {
        /// Where.
        place: String,
        /// The record that differs.
        position: Position,
    },
    /// An earlier write of other records has begun: its range must be ended first.
    #[error("the range after {} up to {} was begun, and must be written as it was", .0.after, .0.to)]
    Planned(JournalRange),
    /// The range does not begin where the committed ones end.
    #[error("the range after {} does not follow the history's end at {cursor}", range.after)]
    NotNext {
        /// What was to be committed.
        range: JournalRange,
        /// How far the history is.
        cursor: Position,
    },
    /// There are too many files.
    #[error("history {place} has {files} files, and no more are written: shorten history.retention_days")]
    TooManyFiles {
        /// Where.
        place: String,
        /// How many.
        files: usize,
    },
    /// What is to be merged cannot be read or written as rows.
    #[error("history {place}: cannot merge files of {partition}: {problem}")]
    Rows {
        /// Where.
        place: String,
        /// The folder.
        partition: String,
        /// What is wrong.
        problem: String,
    },
    /// It was opened for reading alone.
    #[error("history {0} was opened for reading")]
    ReadOnly(String),
}

/// Why the store failed, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureReason {
    /// No room.
    Full,
    /// Not reached.
    Away,
    /// Not permitted.
    Denied,
    /// The journal does not go with it.
    Journal,
    /// The disk.
    Io,
    /// Anything else.
    Other,
}

impl FailureReason {
    /// All of them, in the order of their index.
    pub const ALL: [FailureReason; 6] = [
        FailureReason::Full,
        FailureReason::Away,
        FailureReason::Denied,
        FailureReason::Journal,
        FailureReason::Io,
        FailureReason::Other,
    ];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            FailureReason::Full => "disk_full",
            FailureReason::Away => "away",
            FailureReason::Denied => "denied",
            FailureReason::Journal => "journal",
            FailureReason::Io => "io",
            FailureReason::Other => "other",
        }
    }
}

impl StoreError {
    /// As what it is counted.
    pub fn reason(&self) -> FailureReason {
        match self {
            StoreError::Full { .. } => FailureReason::Full,
            StoreError::Away { .. } => FailureReason::Away,
            StoreError::Denied { .. } | StoreError::NoBucket { .. } => FailureReason::Denied,
            StoreError::JournalBehind { .. } | StoreError::OtherJournal { .. } => FailureReason::Journal,
            StoreError::Io { .. } => FailureReason::Io,
            _ => FailureReason::Other,
        }
    }

    /// Whether trying again cannot help before an operator has done something.
    pub fn is_final(&self) -> bool {
        self.reason() == FailureReason::Journal
    }
}

/// Of the local disk.
pub(super) fn of_io(place: &str, what: impl Into<String>, source: io::Error) -> StoreError {
    let (place, what) = (place.to_owned(), what.into());
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { place, what, source },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Denied { place, what, source: Box::new(source) }
        }
        _ => StoreError::Io { place, what, source },
    }
}

/// Of an object store.
pub(super) fn of_objects(place: &str, what: impl Into<String>, source: object_store::Error) -> StoreError {
    use object_store::Error;
    let (place, what) = (place.to_owned(), what.into());
    match source {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            StoreError::Denied { place, what, source: Box::new(source) }
        }
        Error::NotFound { ref source, .. } if source.to_string().contains("NoSuchBucket") => {
            StoreError::NoBucket { place }
        }
        // A listing that was refused comes without its kind.
        source if source.to_string().contains("403 Forbidden") => {
            StoreError::Denied { place, what, source: Box::new(source) }
        }
        source => StoreError::Away { place, what, source },
    }
}
