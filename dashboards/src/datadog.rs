//! Datadog: the overview against the names that its OTLP profiles deliver, and the Agent's OpenMetrics check.
//!
//! Over OTLP a delta sum becomes a `count` and is asked with `.as_count()`, a gauge stays one, and a histogram becomes a
//! `distribution`. Attributes become tags of the same name, and `host.name` the tag `host`. The collector's own figures
//! are not sent over OTLP: the section on the service asks for those that the check ([`openmetrics`]) delivers.
//!
//! The file is what "Import dashboard JSON" and `POST /api/v1/dashboard` take.

mod openmetrics;
#[cfg(test)]
mod tests;
mod widget;

use serde_json::{Value, json};

use crate::GeneratedFile;
use crate::overview::{self, DESCRIPTION, Dimension, Filter, HEARTBEAT, Panel, Question, Show, TITLE, Unit};
use widget::{Ask, Request};

/// Every file for Datadog.
pub fn files() -> Vec<GeneratedFile> {
    vec![
        GeneratedFile::new("datadog/muster-overview.json", format!("{:#}\n", dashboard())),
        GeneratedFile::new("datadog/openmetrics.d/conf.yaml", openmetrics::configuration()),
    ]
}

fn dashboard() -> Value {
    let mut groups: Vec<_> = overview::sections()
        .iter()
        .map(|section| widget::group(section.title, section.panels.iter().filter_map(picture).collect()))
        .collect();
    groups.push(widget::group("The service itself (OpenMetrics check)", service()));
    json!({
        "title": TITLE,
        "description": DESCRIPTION,
        "layout_type": "ordered",
        "reflow_type": "auto",
        "template_variables": overview::CHOICES.map(|(name, dimension)| {
            json!({ "name": name, "prefix": tag(dimension), "available_values": [], "defaults": ["*"] })
        }),
        "widgets": groups,
    })
}

fn picture(panel: &Panel) -> Option<Value> {
    Some(widget::picture(panel.title, panel.description, panel.show, request(panel)?))
}

/// The panel's question in Datadog's query language; `None` where it cannot be asked.
fn request(panel: &Panel) -> Option<Request> {
    let by = panel.by;
    let one =
        |ask: Ask| Request { asks: vec![ask], formulas: vec![("q1".to_owned(), String::new(), panel.unit)] };
    Some(match panel.question {
        // A series of each machine; where a machine is silent it has no point.
        Question::Machines => Request {
            asks: vec![Ask::last(query("max", HEARTBEAT, &[], &[Dimension::Host]))],
            formulas: vec![("count_not_null(q1)".to_owned(), String::new(), panel.unit)],
        },
        // Times of points cannot be asked for. Agents that are away are in the section on the service.
        Question::LastHeard => return None,
        Question::Growth { family, only } => one(Ask::sum(counted(family, only, by))),
        Question::Share { family, part, whole } => Request {
            asks: vec![Ask::sum(counted(family, &[part], by)), Ask::sum(counted(family, &[whole], by))],
            formulas: vec![("100 * default_zero(q1) / q2".to_owned(), String::new(), panel.unit)],
        },
        Question::Sum { family } => one(Ask::last(query("sum", family, &[], by))),
        Question::Largest { family } => one(Ask::last(query("max", family, &[], by))),
        Question::P95 { family } => {
            one(Ask { aggregator: "percentile", query: query("p95", family, &[], by) })
        }
        Question::Readings(columns) => Request {
            asks: columns.iter().map(|(_, family)| Ask::last(query("max", family, &[], by))).collect(),
            formulas: columns
                .iter()
                .enumerate()
                .map(|(n, (title, _))| (format!("q{}", n + 1), (*title).to_owned(), Unit::Count))
                .collect(),
        },
    })
}

/// What the collector says of itself. There only where the check reads its page on loopback or with an operator's token.
fn service() -> Vec<Value> {
    let one = |unit, query: &str| Request {
        asks: vec![if query.contains(".as_count()") {
            Ask::sum(query.to_owned())
        } else {
            Ask::last(query.to_owned())
        }],
        formulas: vec![("q1".to_owned(), String::new(), unit)],
    };
    let lines =
        |title, description, unit, query| widget::picture(title, description, Show::Lines, one(unit, query));
    let bars =
        |title, description, query| widget::picture(title, description, Show::Bars, one(Unit::Count, query));
    vec![
        lines(
            "Agents",
            "Agents that have a stream to the collector (connected), and those that had one and do not now (away).",
            Unit::Count,
            "sum:muster.server_agents{*} by {state}",
        ),
        lines(
            "Destinations behind",
            "How long the oldest record has waited for each destination. Above a minute it does not keep up or is down.",
            Unit::Seconds,
            "max:muster.destination_oldest_age_seconds{*} by {destination}",
        ),
        lines(
            "Records queued for destinations",
            "Records that wait in the journal for each destination.",
            Unit::Count,
            "sum:muster.destination_queued_records{*} by {destination}",
        ),
        bars(
            "Dropped on the way out",
            "Items that were not delivered, by destination and reason. Stays empty while nothing is wrong.",
            "sum:muster.destination_dropped_items.count{*} by {destination,reason}.as_count()",
        ),
        bars(
            "Events lost on the way in",
            "Events that agents had promised and could not send. Stays at 0 while nothing is wrong.",
            "sum:muster.server_events_missing.count{*}.as_count()",
        ),
    ]
}

fn counted(family: &str, only: &[Filter], by: &[Dimension]) -> String {
    format!("{}.as_count()", query("sum", family, only, by))
}

fn query(space: &str, family: &str, only: &[Filter], by: &[Dimension]) -> String {
    let chosen = overview::CHOICES.map(|(name, _)| format!("${name}"));
    let only = only
        .iter()
        .map(|filter| format!("{}{}:{}", if filter.is { "" } else { "!" }, filter.label, filter.value));
    let filter = chosen.into_iter().chain(only).collect::<Vec<_>>().join(",");
    let by: Vec<_> = by.iter().map(|dimension| tag(*dimension)).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {{{}}}", by.join(",")) };
    format!("{space}:{family}{{{filter}}}{by}")
}

fn tag(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Host => "host",
        other => other.attribute().0,
    }
}
