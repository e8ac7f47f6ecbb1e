//! What has been read, as bytes: protobuf, so that fields can be added. At most about 90 KiB.
//!
//! | part | bound |
//! |---|---|
//! | ids of counted rows | 4,096 of 8 bytes: 32 KiB ([`super::seen`] has the reason) |
//! | standing issues | 1,024 files of at most 40 bytes |
//! | keys of metrics.jsonl, ids of fixes | 256 and 512 of 8 bytes |

use muster::clock::WallTime;
use prost::Message;

use super::active::{ActiveIssues, Verdict};
use super::context::Tier;
use super::cursor::DatabaseCursor;
use super::performance::PerformanceCursor;
use super::seen::{Block, RowId, SeenRows};
use super::stamp::Identity;
use super::tail::TailCursor;

/// Raised when an older position would be misread.
const VERSION: u32 = 1;

/// Everything that a restart must know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub database: DatabaseCursor,
    pub runs: RunsFrom,
    pub lines: LineCursor,
    pub feedback: LineCursor,
    pub performance: PerformanceCursor,
    pub active: ActiveIssues,
    /// Automatic fixes that were counted.
    pub fixes: Vec<u64>,
    /// What each tier of the context was last said to hold.
    pub tiers_said: [Tier; 4],
}

/// Where runs are counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RunsFrom {
    /// A database has been there: it alone tells of runs, even while it cannot be read.
    pub database: bool,
    /// Runs up to this time were counted from lines before there was a database.
    pub lines_through: Option<WallTime>,
}

/// How far a file of lines has been read, and the newest time in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LineCursor {
    pub tail: TailCursor,
    pub newest: WallTime,
    /// The file was rewritten: lines up to this time come again.
    pub counted_through: Option<WallTime>,
}

impl Position {
    /// The position as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let database = &self.database;
        let blocks = database
            .seen
            .blocks()
            .map(|block| BlockRecord { ids: block.ids.clone(), newest_us: block.newest.0 });
        let mut active: Vec<ActiveRecord> = self
            .active
            .entries()
            .map(|(key, verdict)| ActiveRecord {
                key,
                time_us: verdict.time.0,
                counts: verdict.counts.to_vec(),
            })
            .collect();
        // In one order, so that equal positions are equal bytes.
        active.sort_by_key(|record| record.key);
        let record = Record {
            version: VERSION,
            has_database: database.file.is_some(),
            device: database.file.unwrap_or_default().device,
            inode: database.file.unwrap_or_default().inode,
            rowid: database.rowid,
            row_id: database.id.map(|id| id.0),
            history_end: database.history_end,
            search_end: database.search_end,
            blocks: blocks.collect(),
            forgotten_through_us: database.seen.forgotten_through().0,
            runs_from_database: self.runs.database,
            runs_from_lines_through_us: self.runs.lines_through.map(|time| time.0),
            lines: Some(self.lines.record()),
            feedback: Some(self.feedback.record()),
            performance: Some(PerformanceRecord {
                tail: Some(LineCursor { tail: self.performance.tail, ..LineCursor::default() }.record()),
                newest_end_us: self.performance.newest_end.0,
                keys: self.performance.keys.clone(),
                catching_up: self.performance.catching_up,
                disk_bytes: self.performance.disk_bytes,
                disk_bytes_unsaid: self.performance.disk_bytes_unsaid,
            }),
            active,
            fixes: self.fixes.clone(),
            tiers: self.tiers_said.iter().map(TierRecord::of).collect(),
        };
        record.encode_to_vec()
    }

    /// Reads a position; `None` when it is damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let record = Record::decode(bytes).ok().filter(|record| record.version == VERSION)?;
        let blocks = record.blocks.into_iter().map(|b| Block { ids: b.ids, newest: WallTime(b.newest_us) });
        let performance = record.performance.unwrap_or_default();
        let active = record.active.into_iter().filter_map(|record| {
            let counts = record.counts.try_into().ok()?;
            Some((record.key, Verdict { counts, time: WallTime(record.time_us) }))
        });
        Some(Self {
            database: DatabaseCursor {
                file: record.has_database.then_some(Identity { device: record.device, inode: record.inode }),
                rowid: record.rowid,
                id: record.row_id.map(RowId),
                history_end: record.history_end,
                search_end: record.search_end,
                seen: SeenRows::restored(blocks.collect(), WallTime(record.forgotten_through_us)),
            },
            runs: RunsFrom {
                database: record.runs_from_database,
                lines_through: record.runs_from_lines_through_us.map(WallTime),
            },
            lines: LineCursor::of(record.lines.unwrap_or_default()),
            feedback: LineCursor::of(record.feedback.unwrap_or_default()),
            performance: PerformanceCursor {
                tail: LineCursor::of(performance.tail.unwrap_or_default()).tail,
                newest_end: WallTime(performance.newest_end_us),
                keys: performance.keys,
                catching_up: performance.catching_up,
                disk_bytes: performance.disk_bytes,
                disk_bytes_unsaid: performance.disk_bytes_unsaid,
            },
            active: ActiveIssues::restored(active),
            fixes: record.fixes,
            tiers_said: std::array::from_fn(|n| {
                record.tiers.get(n).and_then(TierRecord::tier).unwrap_or_default()
            }),
        })
    }
}

impl LineCursor {
    fn record(&self) -> LineRecord {
        LineRecord {
            offset: self.tail.offset,
            anchor: self.tail.anchor,
            inside_long_line: self.tail.inside_long_line,
            newest_us: self.newest.0,
            counted_through_us: self.counted_through.map(|time| time.0),
        }
    }

    fn of(record: LineRecord) -> Self {
        Self {
            tail: TailCursor {
                offset: record.offset,
                anchor: record.anchor,
                inside_long_line: record.inside_long_line,
            },
            newest: WallTime(record.newest_us),
            counted_through: record.counted_through_us.map(WallTime),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bool, tag = "2")]
    has_database: bool,
    #[prost(uint64, tag = "3")]
    device: u64,
    #[prost(uint64, tag = "4")]
    inode: u64,
    #[prost(int64, tag = "5")]
    rowid: i64,
    #[prost(fixed64, optional, tag = "6")]
    row_id: Option<u64>,
    #[prost(int64, tag = "7")]
    history_end: i64,
    #[prost(int64, tag = "8")]
    search_end: i64,
    #[prost(message, repeated, tag = "9")]
    blocks: Vec<BlockRecord>,
    #[prost(uint64, tag = "10")]
    forgotten_through_us: u64,
    #[prost(bool, tag = "11")]
    runs_from_database: bool,
    #[prost(uint64, optional, tag = "12")]
    runs_from_lines_through_us: Option<u64>,
    #[prost(message, optional, tag = "13")]
    lines: Option<LineRecord>,
    #[prost(message, optional, tag = "14")]
    feedback: Option<LineRecord>,
    #[prost(message, optional, tag = "15")]
    performance: Option<PerformanceRecord>,
    #[prost(message, repeated, tag = "16")]
    active: Vec<ActiveRecord>,
    #[prost(fixed64, repeated, tag = "17")]
    fixes: Vec<u64>,
    #[prost(message, repeated, tag = "18")]
    tiers: Vec<TierRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct TierRecord {
    #[prost(uint64, tag = "1")]
    listed: u64,
    #[prost(uint64, repeated, tag = "2")]
    distinct: Vec<u64>,
}

impl TierRecord {
    fn of(tier: &Tier) -> Self {
        Self { listed: tier.listed, distinct: tier.distinct.to_vec() }
    }

    fn tier(&self) -> Option<Tier> {
        Some(Tier { listed: self.listed, distinct: self.distinct.clone().try_into().ok()? })
    }
}

#[derive(Clone, PartialEq, Message)]
struct BlockRecord {
    #[prost(fixed64, repeated, tag = "1")]
    ids: Vec<u64>,
    #[prost(uint64, tag = "2")]
    newest_us: u64,
}

#[derive(Clone, PartialEq, Message)]
struct LineRecord {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(fixed64, tag = "2")]
    anchor: u64,
    #[prost(bool, tag = "3")]
    inside_long_line: bool,
    #[prost(uint64, tag = "4")]
    newest_us: u64,
    #[prost(uint64, optional, tag = "5")]
    counted_through_us: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct PerformanceRecord {
    #[prost(message, optional, tag = "1")]
    tail: Option<LineRecord>,
    #[prost(uint64, tag = "2")]
    newest_end_us: u64,
    #[prost(fixed64, repeated, tag = "3")]
    keys: Vec<u64>,
    #[prost(bool, tag = "4")]
    catching_up: bool,
    #[prost(uint64, optional, tag = "5")]
    disk_bytes: Option<u64>,
    #[prost(uint64, tag = "6")]
    disk_bytes_unsaid: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ActiveRecord {
    #[prost(fixed64, tag = "1")]
    key: u64,
    #[prost(uint64, tag = "2")]
    time_us: u64,
    #[prost(uint32, repeated, tag = "3")]
    counts: Vec<u32>,
}
