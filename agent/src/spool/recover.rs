//! Opening a spool: from the newest checkpoint on, positions and numbers are read back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use journal::fs::{DirLock, FileSystem, RealFs};
use journal::{Journal, Position, ReadError, ReadItem};
use muster::clock::Clock;
use muster::ids::Seq;

use super::{
    Acked, Drops, Identity, KIND_CHECKPOINT, KIND_STEP, Reading, SEGMENT_BYTES_MAX, Spool, SpoolConfig,
    SpoolError, Unacked, journal_config, record, spool_dir,
};

/// Opens the spool that the identity names, or a new one.
pub(super) fn open(
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
    reading: Reading,
) -> Result<Spool, SpoolError> {
    let state_dir = &config.state_dir;
    make_private(state_dir).map_err(|source| SpoolError::Folder { path: state_dir.clone(), source })?;
    let lock = lock(state_dir)?;
    let identity = match Identity::load(&config.state_dir)? {
        Some(identity) if spool_dir(&config.state_dir, identity).is_dir() => identity,
        // The numbers of the lost spool are not known, so they cannot be gone on with.
        Some(identity) => {
            let identity = identity.next_epoch()?;
            tracing::warn!(epoch = %identity.epoch, "the spool's folder is gone; starting a new epoch");
            start(&config, identity)?
        }
        None => start(&config, Identity::new_random()?)?,
    };
    let mut spool = open_epoch(config, clock, identity, reading)?;
    spool.lock = Some(lock);
    remove_other_epochs(&spool.config.state_dir, identity);
    Ok(spool)
}

/// Locks the state directory, so that identity and epochs change under one hand alone.
fn lock(state_dir: &Path) -> Result<Box<dyn DirLock>, SpoolError> {
    RealFs.lock(state_dir).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => journal::OpenError::Locked(state_dir.to_owned()).into(),
        _ => SpoolError::Folder { path: state_dir.to_owned(), source },
    })
}

/// The folders are there before the identity names them; with it, they need not be synced again.
fn start(config: &SpoolConfig, identity: Identity) -> Result<Identity, SpoolError> {
    make_folder(&config.state_dir)?;
    make_folder(&spool_dir(&config.state_dir, identity))?;
    identity.store(&config.state_dir)?;
    Ok(identity)
}

/// Opens the journal of one epoch and reads its state.
pub(super) fn open_epoch(
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
    identity: Identity,
    reading: Reading,
) -> Result<Spool, SpoolError> {
    let (journal, recovery) =
        Journal::open(journal_config(&config, identity), Arc::new(RealFs), clock.clone())?;
    if recovery.quarantined_records > 0 {
        tracing::warn!(
            records = recovery.quarantined_records,
            "damaged records were set aside when the spool was opened"
        );
    }
    let uplink_cursor = journal.cursor("uplink")?;
    let positions_cursor = journal.cursor("positions")?;
    let state = read_state(&journal, positions_cursor.position(), uplink_cursor.position(), reading)?;
    let acked =
        Acked { seq: state.acked_seq, position: uplink_cursor.position(), cursor_seq: state.acked_seq };
    let mut spool = Spool {
        first_seq: first_seq(&journal, state.last_seq)?,
        segment_first: journal.segment_firsts().last().copied().unwrap_or(Position::ZERO),
        journal: Arc::new(journal),
        config,
        clock,
        identity,
        lock: None,
        reading,
        uplink_cursor,
        positions_cursor,
        positions: state.positions,
        last_seq: state.last_seq,
        acked,
        trail: Default::default(),
        unacked_bytes: 0,
        drops: Drops::default(),
        drops_counted_to: Seq::ZERO,
        events_spooled: 0,
    };
    for unacked in state.trail {
        spool.note_unacked(unacked);
    }
    if reading == Reading::FromCheckpoint {
        let after =
            spool.journal.segment_firsts().iter().filter(|first| **first > spool.acked.position).count();
        spool.unacked_bytes = spool.unacked_bytes.max(after.saturating_sub(1) as u64 * SEGMENT_BYTES_MAX);
    }
    Ok(spool)
}

#[derive(Default)]
struct State {
    positions: BTreeMap<String, bytes::Bytes>,
    last_seq: Seq,
    acked_seq: Seq,
    trail: Vec<Unacked>,
}

fn read_state(
    journal: &Journal,
    checkpoint: Position,
    acked: Position,
    reading: Reading,
) -> Result<State, ReadError> {
    let mut state = State::default();
    let from = match reading {
        // Normally the checkpoint is the older of the two by at most one segment.
        Reading::All => checkpoint.min(acked),
        Reading::FromCheckpoint => checkpoint,
    };
    let mut reader = journal.reader(from);
    while let Some(item) = reader.read()? {
        let ReadItem::Entry(entry) = item else { continue };
        let Ok(read) = record::decode(&entry.meta, &entry.payload) else { continue };
        match entry.kind {
            KIND_CHECKPOINT => state.positions = read.positions.into_iter().collect(),
            KIND_STEP => state.positions.extend(read.positions),
            _ => continue,
        }
        state.last_seq = state.last_seq.max(read.last_seq);
        if let Some(batch) = read.batch {
            if entry.position <= acked {
                state.acked_seq = batch.seqs.last();
            } else {
                state.trail.push(Unacked {
                    last_seq: batch.seqs.last(),
                    position: entry.position,
                    bytes: batch.bytes.len() as u64,
                    spooled: entry.appended_wall,
                });
            }
        }
    }
    // Who only appends asks for no acknowledged number.
    if state.acked_seq == Seq::ZERO && reading == Reading::All {
        state.acked_seq = last_seq_up_to(journal, acked)?;
    }
    Ok(state)
}

/// The last event at or before `position`; 0 when that is not kept any more or there is none.
fn last_seq_up_to(journal: &Journal, position: Position) -> Result<Seq, ReadError> {
    let mut last = Seq::ZERO;
    let mut reader = journal.reader(Position::ZERO).skip_payloads();
    while let Some(item) = reader.read()? {
        let ReadItem::Entry(entry) = item else { continue };
        if entry.position > position {
            break;
        }
        if let Ok(meta) = record::decode_meta(&entry.meta) {
            last = last.max(meta.last_seq);
        }
    }
    Ok(last)
}

/// The first event that is still in the journal; one past the last when none is.
pub(super) fn first_seq(journal: &Journal, last_seq: Seq) -> Result<Seq, ReadError> {
    let mut reader = journal.reader(Position::ZERO).skip_payloads();
    while let Some(item) = reader.read()? {
        if let ReadItem::Entry(entry) = item
            && let Ok(meta) = record::decode_meta(&entry.meta)
            && let Some(seqs) = meta.seqs
        {
            return Ok(seqs.first());
        }
    }
    Ok(last_seq.next())
}

/// Looks through the metas that are kept. Called once a stream begins, not for each batch.
pub(super) fn checksum_of_batch_ending_at(journal: &Journal, last_seq: Seq) -> Option<u32> {
    if last_seq == Seq::ZERO {
        return None;
    }
    let mut reader = journal.reader(Position::ZERO).skip_payloads();
    while let Ok(Some(item)) = reader.read() {
        let ReadItem::Entry(entry) = item else { continue };
        let Ok(meta) = record::decode_meta(&entry.meta) else { continue };
        match meta.seqs {
            Some(seqs) if seqs.last() == last_seq => return Some(meta.crc32c),
            Some(seqs) if seqs.last() > last_seq => return None,
            _ => {}
        }
    }
    None
}

/// What a crash while switching epochs left behind. The identity is the truth.
fn remove_other_epochs(state_dir: &Path, identity: Identity) {
    let Ok(entries) = std::fs::read_dir(state_dir.join("spool")) else { return };
    let current = spool_dir(state_dir, identity);
    for entry in entries.flatten() {
        if entry.path() != current
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove the spool of an old epoch");
        }
    }
}

/// Makes a folder that an identity is about to name: its name must be as durable as that.
pub(super) fn make_folder(path: &Path) -> Result<(), SpoolError> {
    let folder_error = |source: io::Error| SpoolError::Folder { path: path.to_owned(), source };
    make_private(path).map_err(folder_error)?;
    for folder in path.ancestors().skip(1).take(2).filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(folder_error)?;
    }
    Ok(())
}

/// What was observed on a developer's machine is nobody else's to read.
fn make_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
