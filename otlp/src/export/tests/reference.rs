//! The page says what the code does.

use std::collections::BTreeSet;

use super::super::keys;
use super::super::reference::{EVENTS, reference_page};
use super::logs::records;
use super::{assert_is_file, attributes, batch, full};

#[test]
fn the_reference_page_is_what_the_code_says() {
    assert_is_file("../docs/otlp-export.md", &reference_page());
}

#[test]
fn the_page_lists_each_event_with_the_attributes_that_a_full_one_has() {
    let batch = batch("loki", full);
    let records = records(&batch);
    assert_eq!(records.len(), EVENTS.len());
    for (record, event) in records.iter().zip(EVENTS) {
        assert_eq!(record.event_name, event.name);
        let attributes = attributes(&record.attributes);
        let told = attributes
            .keys()
            .copied()
            .filter(|key| *key != keys::ITEM_ID.name && !key.starts_with(keys::LOG_ATTRIBUTE_PREFIX));
        let listed = event.attributes.iter().map(|key| key.name);
        assert_eq!(told.collect::<BTreeSet<_>>(), listed.collect(), "{}", event.name);
    }
}

#[test]
fn every_attribute_is_listed_once() {
    let names: BTreeSet<_> = keys::ALL.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), keys::ALL.len());
}
