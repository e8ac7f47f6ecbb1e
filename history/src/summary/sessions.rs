//! Different sessions. A session is what a tool in a project of an agent calls one.

use std::collections::hash_map::Entry;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use rustc_hash::FxHashMap;

use super::SessionFigures;
use crate::cells::Words;

/// Most different sessions, and most pairs of a session and a group, that are told apart: about 100 bytes each.
pub const SESSIONS_MAX: usize = 500_000;
/// Most bytes of different texts that name sessions.
const TEXT_BYTES_MAX: usize = 64 << 20;
/// What a text costs besides its bytes.
const TEXT_BYTES_EACH: usize = 32;
/// What names a session.
const KEY: [&str; 5] = ["team", "agent_id", "tool", "project", "session"];
/// All groups together.
const TOTAL: usize = usize::MAX;

/// Sessions seen.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    texts: FxHashMap<Box<str>, u32>,
    text_bytes: usize,
    numbers: FxHashMap<[u32; KEY.len()], u32>,
    /// Whether it began in the range, by group and session.
    seen: FxHashMap<(usize, u32), bool>,
    /// Whether there were more than can be told apart.
    pub(super) is_full: bool,
}

impl Sessions {
    /// Counts the sessions of rows, whose groups are given, that `is_in` says are of the range.
    pub(super) fn take(&mut self, batch: &RecordBatch, groups: &[usize], is_in: impl Fn(i64) -> bool) {
        let words = KEY.map(|name| Words::of(batch, name));
        let started = batch.column_by_name("started_time");
        let started = started.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        for (row, time) in crate::cells::times(batch).iter().enumerate() {
            if !is_in(*time) {
                continue;
            }
            let Some(session) = self.number(&words, row) else { continue };
            let is_started =
                started.is_some_and(|started| started.is_valid(row) && is_in(started.value(row)));
            self.see(TOTAL, session, is_started);
            self.see(groups[row], session, is_started);
        }
    }

    /// How many there were in a group.
    pub(super) fn by_group(&self) -> FxHashMap<usize, SessionFigures> {
        let mut figures: FxHashMap<usize, SessionFigures> = FxHashMap::default();
        for ((group, _), is_started) in &self.seen {
            let figures = figures.entry(*group).or_default();
            figures.seen += 1;
            figures.started += u64::from(*is_started);
        }
        figures
    }

    /// How many there were in several groups together.
    pub(super) fn together(&self, groups: &[usize]) -> SessionFigures {
        let mut all: FxHashMap<u32, bool> = FxHashMap::default();
        for ((_, session), is_started) in self.seen.iter().filter(|((group, _), _)| groups.contains(group)) {
            *all.entry(*session).or_default() |= *is_started;
        }
        let started = all.values().filter(|is_started| **is_started).count() as u64;
        SessionFigures { seen: all.len() as u64, started }
    }

    /// How many there were.
    pub(super) fn total(&self) -> SessionFigures {
        self.together(&[TOTAL])
    }

    fn see(&mut self, group: usize, session: u32, is_started: bool) {
        let room = self.seen.len() < 2 * SESSIONS_MAX;
        match self.seen.entry((group, session)) {
            Entry::Occupied(mut seen) => *seen.get_mut() |= is_started,
            Entry::Vacant(seen) if room => {
                seen.insert(is_started);
            }
            Entry::Vacant(_) => self.is_full = true,
        }
    }

    fn number(&mut self, words: &[Option<Words<'_>>; KEY.len()], row: usize) -> Option<u32> {
        let mut key = [0; KEY.len()];
        for (number, words) in key.iter_mut().zip(words) {
            // 0 is null.
            let Some(text) = words.as_ref().and_then(|words| words.get(row)) else { continue };
            *number = match self.texts.get(text) {
                Some(number) => *number,
                None if self.text_bytes + text.len() + TEXT_BYTES_EACH > TEXT_BYTES_MAX => {
                    self.is_full = true;
                    return None;
                }
                None => {
                    self.text_bytes += text.len() + TEXT_BYTES_EACH;
                    let next = self.texts.len() as u32 + 1;
                    self.texts.insert(text.into(), next);
                    next
                }
            };
        }
        let (next, room) = (self.numbers.len() as u32, self.numbers.len() < SESSIONS_MAX);
        match self.numbers.entry(key) {
            Entry::Occupied(number) => Some(*number.get()),
            Entry::Vacant(number) if room => Some(*number.insert(next)),
            Entry::Vacant(_) => {
                self.is_full = true;
                None
            }
        }
    }
}
