//! The check's configuration against the catalogue, and as YAML.

use std::collections::BTreeSet;

use super::openmetrics::{configuration, entries};
use crate::names::{self, SampleKind};

#[test]
fn every_metric_of_the_check_is_on_the_collectors_page_and_the_other_way_round() {
    let mut listed = BTreeSet::new();
    for namespace in ["loki", "devloop", "muster"] {
        for entry in entries(namespace) {
            // A counter is listed without `_total`, everything else as it is; a histogram by its family.
            let counter = names::find(&format!("{}_total", entry.exposed));
            let plain = names::find(&entry.exposed);
            let bucket = names::find(&format!("{}_bucket", entry.exposed));
            let kinds = [&counter, &plain, &bucket].map(|found| found.as_ref().map(|sample| sample.kind));
            let is_known = match kinds {
                [Some(SampleKind::Counter), None, None] => true,
                // Counters that the guide names without `_total`, and gauges.
                [None, Some(SampleKind::Counter | SampleKind::Gauge), None] => true,
                [None, None, Some(SampleKind::Bucket)] => true,
                _ => false,
            };
            assert!(is_known, "{}: {kinds:?}", entry.exposed);
            assert_eq!(entry.exposed, format!("{namespace}_{}", entry.sent));
            let name = if counter.is_some() { format!("{}_total", entry.exposed) } else { entry.exposed };
            assert!(listed.insert(name));
        }
    }
    let catalogue = metrics::catalogue::families().iter().map(|family| family.name);
    let own = [names::COLLECTOR_FIGURES, names::DESTINATION_FIGURES, names::OTLP_TEAM_FIGURES];
    let own = own.into_iter().flatten().map(|figure| figure.name);
    let wanted: BTreeSet<_> = catalogue.chain(own).map(str::to_owned).collect();
    assert_eq!(listed, wanted);
}

/// Guide of Loki Mode, "Datadog Integration": what it collects, and what it then looks for.
#[test]
fn what_the_guide_collects_is_collected_under_the_names_that_it_looks_for() {
    let entries = entries("loki");
    let sent: Vec<_> = entries.iter().map(|entry| entry.sent.as_str()).collect();
    for name in [
        "session_status",
        "iteration_current",
        "iteration_max",
        "tasks_total",
        "agents_active",
        "agents_total",
        "cost_usd",
        "events",
        "uptime_seconds",
    ] {
        assert!(sent.contains(&name), "{name} in {sent:?}");
    }
    let kind = names::find("loki_tasks_total").expect("in the catalogue").kind;
    assert_eq!(kind, SampleKind::Gauge, "a gauge keeps its _total");
}

#[test]
fn the_page_is_asked_for_the_families_that_are_listed() {
    let text = configuration();
    let asked = text.lines().filter_map(|line| line.trim().strip_prefix("name[]="));
    let asked: Vec<_> = asked.map(|line| line.trim_end_matches(['&', '\\', '"'])).collect();
    let total: usize = ["loki", "devloop", "muster"].iter().map(|prefix| entries(prefix).len()).sum();
    assert_eq!(asked.len(), total);
    for name in asked {
        assert!(
            [name.to_owned(), format!("{name}_bucket")].iter().any(|name| names::find(name).is_some()),
            "{name}"
        );
    }
    assert!(total <= 3 * 256, "the collector takes 256 filters a request");
}
