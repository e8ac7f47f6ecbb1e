//! The ids of the last requests, as they stand in the spool's records: what was already taken is not taken twice.

/// How many are known. A request is repeated within seconds or never.
pub const IDS_MAX: usize = 32;
/// How the spool's records name them.
pub const SPOOL_KEY: &str = "local";

/// The last ids, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentIds(Vec<u64>);

impl RecentIds {
    /// Reads what [`Self::encode`] wrote; bytes that are none are none.
    pub fn decode(bytes: &[u8]) -> Self {
        let ids = bytes.chunks_exact(8).map(|id| u64::from_le_bytes(std::array::from_fn(|n| id[n])));
        Self(ids.take(IDS_MAX).collect())
    }

    /// As bytes: at most 256.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|id| id.to_le_bytes()).collect()
    }

    /// Whether a request was taken.
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(&id)
    }

    /// With one more; the oldest leaves.
    pub fn with(mut self, id: u64) -> Self {
        if self.0.len() >= IDS_MAX {
            self.0.remove(0);
        }
        self.0.push(id);
        self
    }
}
