//! The destinations at work, for those who show them. A reload changes the list while it is read: everybody asks anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::figures::Observed;

/// What is counted of each destination at work. Clones show the same list.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    /// Names as the configuration has them.
    order: Vec<String>,
    observed: BTreeMap<String, Observed>,
}

impl Live {
    /// All of them now, in the order of the configuration; last those that are not in it any more and still end.
    pub fn all(&self) -> Vec<Observed> {
        let list = self.0.lock();
        let mut all: Vec<_> = list.observed.values().cloned().collect();
        all.sort_by_key(|one| list.order.iter().position(|name| *name == one.name).unwrap_or(usize::MAX));
        all
    }

    /// From now on in this order.
    pub(super) fn order(&self, names: Vec<String>) {
        self.0.lock().order = names;
    }

    /// Shows one, in the place of the one that had its name.
    pub(super) fn put(&self, observed: Observed) {
        self.0.lock().observed.insert(observed.name.clone(), observed);
    }

    /// Shows one no more.
    pub(super) fn remove(&self, name: &str) {
        self.0.lock().observed.remove(name);
    }
}
