//! Texts, each kept once.

use std::collections::HashMap;
use std::sync::Arc;

use muster::words::WORDS;

/// The number of a text, in the order of their first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TextId(pub(super) u32);

impl TextId {
    /// Not known: null in a column.
    pub(super) const NONE: TextId = TextId(u32::MAX);
}

#[derive(Debug)]
pub(super) struct Texts {
    texts: Vec<Arc<str>>,
    /// Hashed with a random seed: texts come from outside.
    numbers: HashMap<Arc<str>, TextId>,
    bytes: usize,
}

impl Default for Texts {
    /// With the words of ours, whose numbers are fixed.
    fn default() -> Self {
        let mut texts = Self { texts: Vec::new(), numbers: HashMap::new(), bytes: 0 };
        WORDS.iter().for_each(|word| {
            texts.add(word);
        });
        texts
    }
}

/// Two references, an allocation's overhead and the place in the map.
const TEXT_OVERHEAD_BYTES: usize = 72;

impl Texts {
    pub(super) fn get(&self, id: TextId) -> &str {
        &self.texts[id.0 as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.texts.len() * TEXT_OVERHEAD_BYTES
    }

    /// The number of `text`; "" is [`TextId::NONE`].
    pub(super) fn intern(&mut self, text: &str) -> TextId {
        if text.is_empty() {
            return TextId::NONE;
        }
        if let Some(&id) = self.numbers.get(text) {
            return id;
        }
        self.add(text)
    }

    /// A text that is not there. The empty one is among our words, and is never asked for.
    fn add(&mut self, text: &str) -> TextId {
        let (id, kept) = (TextId(self.texts.len() as u32), Arc::<str>::from(text));
        self.bytes += text.len();
        self.texts.push(kept.clone());
        self.numbers.insert(kept, id);
        id
    }
}
