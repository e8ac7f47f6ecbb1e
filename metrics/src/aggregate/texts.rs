//! Label values, each kept once, in the escaped form in which pages show them.
//!
//! A text lives as long as a series or origin refers to it. The words of the catalogue have fixed ids and never die.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::catalogue::{WORDS, word};

/// A label value. Ids below [`WORDS`]' length are its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TextId(pub(super) u32);

impl TextId {
    pub(super) const EMPTY: TextId = TextId(word::EMPTY.0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    fn is_word(self) -> bool {
        self.index() < WORDS.len()
    }
}

#[derive(Debug)]
pub(super) struct Texts {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Seeded at random: label values come from outside.
    hasher: DefaultHashBuilder,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    references: u32,
}

impl Texts {
    pub(super) fn new() -> Self {
        let mut texts = Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            bytes: 0,
        };
        for word in WORDS {
            texts.intern(word);
        }
        texts
    }

    pub(super) fn get(&self, id: TextId) -> &str {
        &self.entries[id.index()].text
    }

    pub(super) fn find(&self, text: &str) -> Option<TextId> {
        let hash = self.hasher.hash_one(text);
        self.index.find(hash, |&id| *self.entries[id as usize].text == *text).map(|&id| TextId(id))
    }

    /// The id of `text`, which is new and without references when nobody had it. The caller retains it at once.
    pub(super) fn intern(&mut self, text: &str) -> TextId {
        if let Some(id) = self.find(text) {
            return id;
        }
        let entry = Entry { text: text.into(), references: 0 };
        self.bytes += text.len();
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        let rehash = |&id: &u32| hasher.hash_one(&*entries[id as usize].text);
        self.index.insert_unique(hasher.hash_one(text), id, rehash);
        TextId(id)
    }

    pub(super) fn retain(&mut self, id: TextId) {
        if !id.is_word() {
            self.entries[id.index()].references += 1;
        }
    }

    /// Gives one reference back; the last one frees the text.
    pub(super) fn release(&mut self, id: TextId) {
        if id.is_word() {
            return;
        }
        let entry = &mut self.entries[id.index()];
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        self.bytes -= text.len();
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(&*text), |&other| other == id.0) {
            found.remove();
        }
        self.free.push(id.0);
    }

    /// Frees the texts that were interned and never retained.
    pub(super) fn sweep(&mut self) {
        for id in (WORDS.len() as u32..self.entries.len() as u32).map(TextId) {
            let entry = &mut self.entries[id.index()];
            if entry.references == 0 && !entry.text.is_empty() {
                entry.references = 1;
                self.release(id);
            }
        }
    }

    /// How many ids there are, used and free.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes_estimate(&self) -> usize {
        // An allocation of its own for each text has about 16 bytes of overhead.
        self.bytes
            + self.entries.capacity() * size_of::<Entry>()
            + self.entries.len() * 16
            + self.index.capacity() * 5
    }
}
