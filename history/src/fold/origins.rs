//! Who and where: what the rows of a source share, kept once.

use rustc_hash::FxHashMap;

use super::texts::TextId;

/// The number of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OriginId(pub(super) u32);

impl OriginId {
    /// Of what came straight to the collector.
    pub(super) const NOBODY: OriginId = OriginId(0);
}

/// Texts of an origin: agent_id and epoch, then tool to tool_version, as the columns stand in the tables.
pub(super) const TEXTS: usize = 10;

#[derive(Debug)]
pub(super) struct Origins {
    origins: Vec<[TextId; TEXTS]>,
    /// Keys are numbers of ours, so a fast hash will do.
    numbers: FxHashMap<[TextId; TEXTS], OriginId>,
}

impl Default for Origins {
    fn default() -> Self {
        let nobody = [TextId::NONE; TEXTS];
        Self { origins: vec![nobody], numbers: FxHashMap::from_iter([(nobody, OriginId::NOBODY)]) }
    }
}

impl Origins {
    pub(super) fn intern(&mut self, stream: [TextId; 2], source: [TextId; TEXTS - 2]) -> OriginId {
        let mut key = [TextId::NONE; TEXTS];
        key[..2].copy_from_slice(&stream);
        key[2..].copy_from_slice(&source);
        *self.numbers.entry(key).or_insert_with(|| {
            self.origins.push(key);
            OriginId(self.origins.len() as u32 - 1)
        })
    }

    pub(super) fn get(&self, id: OriginId) -> &[TextId; TEXTS] {
        &self.origins[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.origins.len() * size_of::<[TextId; TEXTS]>() * 3
    }
}
