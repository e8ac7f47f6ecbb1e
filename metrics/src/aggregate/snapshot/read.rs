//! Reading.

use muster::ids::AgentId;

use super::bytes::Reader;
use super::{MAGIC, SnapshotError, VERSION};
use crate::aggregate::origins::{OriginId, TeamId};
use crate::aggregate::owners::{Agent, AgentIndex, NOBODY, OWNERS_MAX, OwnerId};
use crate::aggregate::table::{LABELS_MAX, Series, SeriesKey};
use crate::aggregate::texts::TextId;
use crate::aggregate::{AggregateConfig, LabelScope, Store, stride};
use crate::catalogue::{FamilyId, FamilySet, find};
use crate::exposition::LABEL_BYTES_MAX;

/// The store that `bytes` hold.
pub(in crate::aggregate) fn read(config: AggregateConfig, bytes: &[u8]) -> Result<Store, SnapshotError> {
    let mut reader = Reader(checked(bytes)?);
    if (reader.u8()? == 1) != (config.scope == LabelScope::Agent) {
        return Err(SnapshotError::Scope);
    }
    let mut restored = Restored {
        store: Store::new(config),
        texts: Vec::new(),
        origins: Vec::new(),
        agents: Vec::new(),
        owners: Vec::new(),
    };
    restored.store.timeline.now = reader.u32()?;
    let totals = &mut restored.store.totals;
    for total in [&mut totals.overflowed, &mut totals.events_applied, &mut totals.unknown_events] {
        *total = reader.u64()?;
    }
    restored.texts(&mut reader)?;
    restored.origins(&mut reader)?;
    restored.owners(&mut reader)?;
    for _ in 0..reader.count(13)? {
        restored.family(&mut reader)?;
    }
    if !reader.0.is_empty() {
        return Err(SnapshotError::Inconsistent("something comes after the last family"));
    }
    // Texts that only families passed over referred to have no other use.
    restored.store.texts.sweep();
    Ok(restored.store)
}

/// What stands between version and checksum, when both are right.
fn checked(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let content = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Foreign)?;
    let (content, stored) = content.split_last_chunk().ok_or(SnapshotError::Foreign)?;
    let stored = u32::from_le_bytes(*stored);
    let computed = crc32c::crc32c(&bytes[..bytes.len() - size_of::<u32>()]);
    let mut reader = Reader(content);
    let found = reader.u16()?;
    if found != VERSION {
        return Err(SnapshotError::Version { found });
    }
    if stored != computed {
        return Err(SnapshotError::Checksum { stored, computed });
    }
    Ok(reader.0)
}

struct Restored {
    store: Store,
    texts: Vec<TextId>,
    origins: Vec<OriginId>,
    agents: Vec<AgentIndex>,
    owners: Vec<OwnerId>,
}

impl Restored {
    fn texts(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        for _ in 0..reader.count(4)? {
            let text = reader.text()?;
            if text.len() > 3 * LABEL_BYTES_MAX {
                return Err(SnapshotError::Inconsistent("text is too long"));
            }
            self.texts.push(self.store.texts.intern(text));
        }
        Ok(())
    }

    fn text(&self, reader: &mut Reader<'_>) -> Result<TextId, SnapshotError> {
        number(reader, &self.texts, "text outside the table")
    }

    fn team(&mut self, name: TextId) -> TeamId {
        let name = self.store.texts.get(name).to_owned();
        self.store.team(&name)
    }

    fn origins(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        for _ in 0..reader.count(25)? {
            let [team, user, host, project] =
                [self.text(reader)?, self.text(reader)?, self.text(reader)?, self.text(reader)?];
            let team = self.team(team);
            let store = &mut self.store;
            let key = store.origins.key(team, user, host, project);
            let id = store.origins.intern(team, key, &mut store.texts);
            let origin = store.origins.get_mut(id);
            origin.is_project = reader.u8()? != 0;
            origin.alive_at = reader.u32()?;
            let mut disabled = FamilySet::default();
            for _ in 0..reader.count(4)? {
                find(reader.text()?).into_iter().for_each(|family| disabled.insert(family));
            }
            origin.disabled = disabled;
            self.origins.push(id);
        }
        Ok(())
    }

    fn owners(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        for _ in 0..reader.count(25)? {
            let name = self.text(reader)?;
            let (team, id) = (self.team(name), AgentId::from_bytes(reader.take()?));
            let (heard_at, silent) = (reader.u32()?, reader.u8()? != 0);
            let agent = Agent { team, id, heard_at, silent, gone: false };
            self.agents.push(self.store.owners.add_agent(agent));
        }
        let count = reader.count(12)?;
        if count > OWNERS_MAX {
            return Err(SnapshotError::Inconsistent("more owners than there may be"));
        }
        for _ in 0..count {
            let agent = number(reader, &self.agents, "agent outside the table")?;
            let origin = number(reader, &self.origins, "origin outside the table")?;
            let tool = self.text(reader)?;
            let store = &mut self.store;
            let owner = store.owners.own((agent, origin, tool), &mut store.texts, &mut store.origins);
            self.owners.push(owner);
        }
        Ok(())
    }

    fn family(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let name = reader.text()?;
        let (found_stride, labels) = (reader.u32()? as usize, usize::from(reader.u8()?));
        let id =
            find(name).filter(|id| stride(id.family()) == found_stride && id.family().labels.len() == labels);
        let series_bytes =
            labels.checked_mul(4).zip(found_stride.checked_mul(8)).and_then(|(a, b)| a.checked_add(b));
        let series_bytes = series_bytes.and_then(|bytes| bytes.checked_add(28));
        if id.is_none() {
            tracing::warn!(
                family = name,
                "a family of the snapshot is not as this version has it, its series begin anew"
            );
        }
        let series_bytes = series_bytes.ok_or(SnapshotError::Inconsistent("cut short"))?;
        for _ in 0..reader.count(series_bytes)? {
            let (series, rest) = reader.0.split_at(series_bytes);
            reader.0 = rest;
            if let Some(id) = id {
                self.series(id, labels, &mut Reader(series))?;
            }
        }
        Ok(())
    }

    fn series(
        &mut self,
        id: FamilyId,
        label_count: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        let origin = number(reader, &self.origins, "origin outside the table")?;
        let mut labels = [TextId::EMPTY; LABELS_MAX];
        for label in &mut labels[..label_count] {
            *label = self.text(reader)?;
        }
        let (value, created_us, touched_at) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let owner = match reader.u32()? {
            NOBODY => NOBODY,
            owner => *self
                .owners
                .get(owner as usize)
                .ok_or(SnapshotError::Inconsistent("owner outside the table"))?,
        };
        let key = SeriesKey { origin, labels };
        if self.store.tables[id.index()].find(&key).is_some() {
            return Err(SnapshotError::Inconsistent("series twice"));
        }
        let slot = self.store.insert(id, Series { key, value, created_us, touched_at, owner });
        for number in self.store.tables[id.index()].buckets_mut(slot) {
            *number = reader.u64()?;
        }
        Ok(())
    }
}

/// Reads a number and answers what it stands for.
fn number<T: Copy>(reader: &mut Reader<'_>, table: &[T], what: &'static str) -> Result<T, SnapshotError> {
    table.get(reader.u32()? as usize).copied().ok_or(SnapshotError::Inconsistent(what))
}
