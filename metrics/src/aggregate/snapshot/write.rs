//! Writing.

use super::bytes::{put_count, put_text, put_u32, put_u64};
use super::{MAGIC, VERSION};
use crate::aggregate::owners::{NOBODY, OwnerState};
use crate::aggregate::texts::TextId;
use crate::aggregate::{LabelScope, Store};
use crate::catalogue::{FamilyId, family_ids};

/// Not in the snapshot.
const ABSENT: u32 = u32::MAX;

/// The snapshot of `store`.
pub(in crate::aggregate) fn write(store: &Store) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * store.tables.iter().map(|table| table.len()).sum::<usize>() + 4096);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.push(u8::from(store.config.scope == LabelScope::Agent));
    put_u32(store.timeline.now, &mut out);
    let totals = store.totals;
    for total in [totals.overflowed, totals.events_applied, totals.unknown_events] {
        put_u64(total, &mut out);
    }

    let mut numbers = Numbers::collect(store);
    numbers.write_texts(store, &mut out);
    write_origins(store, &mut numbers, &mut out);
    write_owners(store, &mut numbers, &mut out);
    put_count(family_ids().count(), &mut out);
    family_ids().for_each(|id| write_family(store, id, &numbers, &mut out));
    let crc = crc32c::crc32c(&out);
    put_u32(crc, &mut out);
    out
}

/// Numbers that ids have in the snapshot, which has no gaps.
struct Numbers {
    texts: Vec<u32>,
    origins: Vec<u32>,
    owners: Vec<u32>,
}

impl Numbers {
    /// Marks the texts in use.
    fn collect(store: &Store) -> Self {
        let mut texts = vec![ABSENT; store.texts.len()];
        let mut mark = |id: TextId| texts[id.index()] = 0;
        store.origins.teams().iter().for_each(|team| mark(team.name));
        store.origins.iter().for_each(|(_, origin)| origin.key.iter().for_each(|&text| mark(text)));
        store
            .owners
            .owners
            .iter()
            .filter(|owner| owner.state == OwnerState::Live)
            .for_each(|owner| mark(owner.tool));
        for id in family_ids() {
            let table = &store.tables[id.index()];
            store
                .order(id)
                .iter()
                .for_each(|&slot| table.get(slot).key.labels.iter().for_each(|&text| mark(text)));
        }
        let origins = vec![ABSENT; store.origins.len()];
        let owners = vec![ABSENT; store.owners.owners.len()];
        Self { texts, origins, owners }
    }

    fn write_texts(&mut self, store: &Store, out: &mut Vec<u8>) {
        put_count(self.texts.iter().filter(|number| **number != ABSENT).count(), out);
        let used = self.texts.iter_mut().enumerate().filter(|(_, number)| **number != ABSENT);
        for (next, (id, number)) in used.enumerate() {
            *number = next as u32;
            put_text(store.texts.get(TextId(id as u32)), out);
        }
    }

    fn text(&self, id: TextId) -> u32 {
        self.texts[id.index()]
    }
}

fn write_origins(store: &Store, numbers: &mut Numbers, out: &mut Vec<u8>) {
    put_count(store.origins.iter().count(), out);
    for (number, (id, origin)) in store.origins.iter().enumerate() {
        numbers.origins[id as usize] = number as u32;
        origin.key.iter().for_each(|&text| put_u32(numbers.text(text), out));
        out.push(u8::from(origin.is_project));
        put_u32(origin.alive_at, out);
        let disabled: Vec<_> = family_ids().filter(|&id| origin.disabled.contains(id)).collect();
        put_count(disabled.len(), out);
        disabled.iter().for_each(|id| put_text(id.family().name, out));
    }
}

fn write_owners(store: &Store, numbers: &mut Numbers, out: &mut Vec<u8>) {
    let owners = &store.owners;
    let mut agent_numbers = vec![ABSENT; owners.agents.len()];
    let known = || (0..owners.agents.len()).filter(|&index| owners.is_known(index as u32));
    put_count(known().count(), out);
    for (number, index) in known().enumerate() {
        agent_numbers[index] = number as u32;
        let agent = &owners.agents[index];
        put_u32(numbers.text(store.origins.teams()[agent.team as usize].name), out);
        out.extend_from_slice(agent.id.as_bytes());
        put_u32(agent.heard_at, out);
        out.push(u8::from(agent.silent));
    }
    let live = || owners.owners.iter().enumerate().filter(|(_, owner)| owner.state == OwnerState::Live);
    put_count(live().count(), out);
    for (number, (id, owner)) in live().enumerate() {
        numbers.owners[id] = number as u32;
        put_u32(agent_numbers[owner.agent as usize], out);
        put_u32(numbers.origins[owner.origin as usize], out);
        put_u32(numbers.text(owner.tool), out);
    }
}

fn write_family(store: &Store, id: FamilyId, numbers: &Numbers, out: &mut Vec<u8>) {
    let table = &store.tables[id.index()];
    let labels = id.family().labels.len();
    put_text(id.family().name, out);
    put_count(crate::aggregate::stride(id.family()), out);
    out.push(labels as u8);
    put_count(table.len(), out);
    for &slot in store.order(id).iter() {
        let series = table.get(slot);
        put_u32(numbers.origins[series.key.origin as usize], out);
        series.key.labels[..labels].iter().for_each(|&text| put_u32(numbers.text(text), out));
        put_u64(series.value, out);
        put_u64(series.created_us, out);
        put_u32(series.touched_at, out);
        // An ended owner's gauges are over: they come back as nobody's, which is never visible.
        let owner = numbers.owners.get(series.owner as usize).copied().unwrap_or(NOBODY);
        put_u32(owner, out);
        table.buckets(slot).iter().for_each(|&number| put_u64(number, out));
    }
}
