//! The overview and what becomes of it against the catalogue: every name with the type that its function takes, every
//! attribute as the exporter sends it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::GeneratedFile;
use crate::names::{COLLECTOR_FIGURES, DESTINATION_FIGURES, FigureKind, OTLP_TEAM_FIGURES, figure_kind};

/// A name in a query, with the type that it must have where that shows, and the attributes of the query.
struct Asked {
    query: String,
    names: Vec<(String, Option<FigureKind>)>,
    attributes: Vec<String>,
}

#[test]
fn questions_are_asked_of_families_that_can_answer_them() {
    for panel in sections().iter().flat_map(|section| &section.panels) {
        let wanted = match panel.question {
            Question::Growth { .. } | Question::Share { .. } => FigureKind::Counter,
            Question::P95 { .. } => FigureKind::Histogram,
            _ => FigureKind::Gauge,
        };
        let filters = match panel.question {
            Question::Growth { only, .. } => only.to_vec(),
            Question::Share { part, whole, .. } => vec![part, whole],
            _ => Vec::new(),
        };
        for name in panel.question.families() {
            let family = family(name);
            assert_eq!(figure_kind(family.kind), wanted, "{}: {name}", panel.title);
            let labels: Vec<_> = family.labels.iter().map(|label| label.name).collect();
            let chosen = CHOICES.iter().map(|(_, dimension)| dimension);
            for dimension in panel.by.iter().chain(chosen) {
                let Dimension::Label(label) = dimension else { continue };
                assert!(labels.contains(label), "{}: {name} has no {label}", panel.title);
            }
            for filter in &filters {
                assert!(labels.contains(&filter.label), "{}: {name} has no {}", panel.title, filter.label);
            }
        }
        assert!(panel.description.ends_with('.'), "{}", panel.title);
    }
}

#[test]
fn titles_are_unique() {
    let sections = sections();
    let titles: Vec<_> =
        sections.iter().flat_map(|section| &section.panels).map(|panel| panel.title).collect();
    assert_eq!(titles.iter().collect::<BTreeSet<_>>().len(), titles.len());
}

#[test]
fn every_destination_shows_every_panel() {
    let panels = sections().iter().map(|section| section.panels.len()).sum::<usize>();
    assert_eq!(newrelic().len(), panels + CHOICES.len());
    assert_eq!(elastic().len(), panels);
    // Datadog cannot be asked when a machine was heard last.
    let own = datadog().iter().filter(|asked| asked.query.contains(":muster.")).count();
    assert!(own > 0 && titles_of_datadog() == panels - 1 + own, "{own}");
}

#[test]
fn every_name_and_attribute_in_the_files_is_delivered_with_that_type() {
    let resource = resource_attributes();
    let mut faults = Vec::new();
    for (place, asked) in [("newrelic", newrelic()), ("elastic", elastic()), ("datadog", datadog())]
        .into_iter()
        .flat_map(|(place, all)| all.into_iter().map(move |asked| (place, asked)))
    {
        assert!(!asked.names.is_empty(), "{place}: no name was found in {}", asked.query);
        let mut known = resource.clone();
        for (name, kind) in &asked.names {
            match delivered(place, name) {
                None => faults.push(format!("{place}: nothing delivers {name}: {}", asked.query)),
                Some((is, labels)) => {
                    if kind.is_some_and(|kind| kind != is) {
                        faults.push(format!("{place}: {name} is a {is:?}: {}", asked.query));
                    }
                    known.extend(labels);
                }
            }
        }
        for attribute in asked.attributes.iter().filter(|attribute| !known.contains(*attribute)) {
            faults.push(format!("{place}: nothing delivers {attribute}: {}", asked.query));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reader_of_queries_sees_what_is_wrong() {
    let asked = nrql("SELECT sum(muster_sessions_live) FROM Metric FACET `nobody`");
    assert_eq!(asked.names, [("muster_sessions_live".to_owned(), Some(FigureKind::Counter))]);
    assert_eq!(asked.attributes, ["nobody"]);
    let asked = esql(
        "TS m | STATS v = SUM(INCREASE(metrics.muster_x_total)) BY attributes.a, resource.attributes.b.c",
    );
    assert_eq!(asked.names, [("muster_x_total".to_owned(), Some(FigureKind::Counter))]);
    assert_eq!(asked.attributes, ["b.c", "a"]);
    let asked = datadog_query("p95:muster_x{$team,!status:skipped} by {host,tool}");
    assert_eq!(asked.names, [("muster_x".to_owned(), Some(FigureKind::Histogram))]);
    assert_eq!(asked.attributes, ["status", "host.name", "tool"]);
}

/// Type and labels of a name at the destination.
fn delivered(place: &str, name: &str) -> Option<(FigureKind, Vec<String>)> {
    if let Some(id) = catalogue::find(name) {
        let family = id.family();
        let labels = family.labels.iter().map(|label| label.name.to_owned()).collect();
        return Some((figure_kind(family.kind), labels));
    }
    // The check's names: the collector's own figures, counters with `.count` in the place of `_total`.
    let own = name.strip_prefix("muster.").filter(|_| place == "datadog")?;
    let (stem, is_count) =
        own.strip_suffix(".count").map_or((own.to_owned(), false), |stem| (format!("{stem}_total"), true));
    let figures = [COLLECTOR_FIGURES, DESTINATION_FIGURES, OTLP_TEAM_FIGURES].into_iter().flatten();
    let figure = figures.into_iter().find(|figure| figure.name == format!("muster_{stem}"))?;
    ((figure.kind == FigureKind::Counter) == is_count)
        .then(|| (figure.kind, figure.labels.iter().map(|label| (*label).to_owned()).collect()))
}

/// The attributes of metrics' resources, from the exporter's reference page.
fn resource_attributes() -> BTreeSet<String> {
    let page = include_str!("../../../docs/otlp-export.md");
    let (_, table) = page.split_once("## Resources").expect("the page has the section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let all: BTreeSet<_> = rows.take(6).map(str::to_owned).collect();
    assert!(all.contains("muster.project") && all.contains("service.instance.id"), "{all:?}");
    all
}

fn newrelic() -> Vec<Asked> {
    let page = only_json(&crate::newrelic::files());
    let mut queries = Vec::new();
    collect(&page, "query", &mut queries);
    queries.iter().map(|query| nrql(query)).collect()
}

fn nrql(query: &str) -> Asked {
    let names = names_in(query).map(|(before, name, _)| {
        let kind = [
            ("sum(", FigureKind::Counter),
            ("latest(", FigureKind::Gauge),
            ("max(", FigureKind::Gauge),
            ("percentile(", FigureKind::Histogram),
        ];
        let kind = kind.into_iter().find(|(function, _)| before.ends_with(function)).map(|(_, kind)| kind);
        assert!(kind.is_some() || before.ends_with("metricName = '"), "{name} in {query}");
        (name.to_owned(), kind)
    });
    let names = names.collect();
    // Every other part between backticks is an attribute.
    let attributes = query.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Asked { query: query.to_owned(), names, attributes }
}

fn elastic() -> Vec<Asked> {
    let files = crate::elastic::files();
    let mut queries = Vec::new();
    for line in files[0].content.lines() {
        let object: Value = serde_json::from_str(line).expect("a saved object is a line of JSON");
        let panels = object["attributes"]["panelsJSON"].as_str().expect("panels are text");
        let panels: Vec<Value> = serde_json::from_str(panels).expect("and the text is JSON");
        for panel in &panels {
            let query = &panel["embeddableConfig"]["query"]["esql"];
            let attributes = &panel["embeddableConfig"]["attributes"];
            let state = &attributes["state"];
            let layer = &state["datasourceStates"]["textBased"]["layers"]["layer"];
            assert!(*query == state["query"]["esql"] && *query == layer["query"]["esql"]);
            queries.push(query.as_str().expect("a query").to_owned());
        }
    }
    queries.iter().map(|query| esql(query)).collect()
}

fn esql(query: &str) -> Asked {
    let names =
        names_in(query).filter(|(before, ..)| before.ends_with("metrics.")).map(|(before, name, after)| {
            let kind = [
                ("INCREASE(metrics.", FigureKind::Counter),
                ("LAST_OVER_TIME(metrics.", FigureKind::Gauge),
                ("PERCENTILE(metrics.", FigureKind::Histogram),
            ];
            let kind =
                kind.into_iter().find(|(function, _)| before.ends_with(function)).map(|(_, kind)| kind);
            assert!(kind.is_some() || after.starts_with(" IS NOT NULL"), "{name} in {query}");
            (name.to_owned(), kind)
        });
    let names = names.collect();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect()
    };
    let of_resource = query.split("resource.attributes.").skip(1).map(word);
    let rest = query.replace("resource.attributes.", "");
    let of_point = rest.split("attributes.").skip(1).map(word).collect::<Vec<_>>();
    Asked { query: query.to_owned(), names, attributes: of_resource.chain(of_point).collect() }
}

fn datadog() -> Vec<Asked> {
    let mut queries = Vec::new();
    collect(&only_json(&crate::datadog::files()), "query", &mut queries);
    queries.iter().map(|query| datadog_query(query)).collect()
}

fn titles_of_datadog() -> usize {
    let mut requests = Vec::new();
    collect(&only_json(&crate::datadog::files()), "response_format", &mut requests);
    requests.len()
}

/// `space:name{filter} by {tags}.as_count()`
fn datadog_query(query: &str) -> Asked {
    let (space, rest) = query.split_once(':').expect("an aggregation in space");
    let (name, rest) = rest.split_once('{').expect("a filter");
    let (filter, rest) = rest.split_once('}').expect("a filter that ends");
    let kind = match (space, rest.ends_with(".as_count()")) {
        ("p95", false) => FigureKind::Histogram,
        ("sum", true) => FigureKind::Counter,
        ("sum" | "max", false) => FigureKind::Gauge,
        other => panic!("{other:?} in {query}"),
    };
    let by = rest.strip_prefix(" by {").and_then(|by| by.split_once('}')).map_or("", |(by, _)| by);
    let known = CHOICES.map(|(name, _)| format!("${name}"));
    let filters = filter.split(',').filter(|part| *part != "*" && !known.iter().any(|choice| choice == part));
    let filters = filters.map(|part| part.trim_start_matches('!').split(':').next().unwrap_or_default());
    let tags = filters.chain(by.split(',').filter(|tag| !tag.is_empty()));
    let attributes = tags.map(|tag| if tag == "host" { "host.name" } else { tag }.to_owned()).collect();
    Asked { query: query.to_owned(), names: vec![(name.to_owned(), Some(kind))], attributes }
}

/// Names that look like ours: what is before, the name, what is after.
fn names_in(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = ["muster_", "loki_", "devloop_"].into_iter().flat_map(|prefix| text.match_indices(prefix));
    starts.filter(move |(start, _)| !text[..*start].ends_with(is_word)).map(move |(start, _)| {
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |length| start + length);
        (&text[..start], &text[start..end], &text[end..])
    })
}

fn only_json(files: &[GeneratedFile]) -> Value {
    let file = files.iter().find(|file| file.path.ends_with(".json")).expect("a dashboard");
    serde_json::from_str(&file.content).expect("JSON")
}

/// The texts under `key`, at any depth.
fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key
                    && let Some(text) = value.as_str()
                {
                    found.push(text.to_owned());
                }
                collect(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}
