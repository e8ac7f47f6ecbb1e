//! The overview for New Relic, against the names that its OTLP profile delivers.
//!
//! Dimensional metrics: a delta sum arrives as `count`, a gauge as `gauge`, a histogram as `distribution`. Attributes of
//! the resource and of the data point lie side by side. Readings of one source are told apart from those of another by
//! `service.instance.id` and the family's own labels: they are the newest of each, and only then added up.
//!
//! The file is what "Import dashboard" and the field `dashboard` of NerdGraph's `dashboardCreate` take. Account ids are
//! 0: New Relic puts the account in that is chosen at the import.

use serde_json::{Value, json};

use crate::GeneratedFile;
use crate::overview::{
    self, DESCRIPTION, Dimension, Filter, HEARD_MINUTES, HEARTBEAT, Panel, Question, ROWS_MAX, Show, TITLE,
    Unit,
};

/// Columns of New Relic's grid.
const GRID_WIDTH: u32 = 12;

/// Every file for New Relic.
pub fn files() -> Vec<GeneratedFile> {
    let pages = overview::sections().into_iter().map(
        |section| json!({ "name": section.title, "description": null, "widgets": widgets(&section.panels) }),
    );
    let dashboard = json!({
        "name": TITLE,
        "description": DESCRIPTION,
        "permissions": "PUBLIC_READ_WRITE",
        "pages": pages.collect::<Vec<_>>(),
        "variables": overview::CHOICES.map(|(name, dimension)| variable(name, dimension)),
    });
    vec![GeneratedFile::new("newrelic/muster-overview.json", format!("{dashboard:#}\n"))]
}

fn widgets(panels: &[Panel]) -> Vec<Value> {
    let (mut column, mut row) = (1, 1);
    let place = |panel: &Panel| {
        let (width, height) = if panel.show == Show::Table { (GRID_WIDTH, 4) } else { (4, 3) };
        if column + width > GRID_WIDTH + 1 {
            (column, row) = (1, row + 4);
        }
        let layout = json!({ "column": column, "row": row, "width": width, "height": height });
        column += width;
        widget(panel, layout)
    };
    panels.iter().map(place).collect()
}

fn widget(panel: &Panel, layout: Value) -> Value {
    let id = match panel.show {
        Show::Number => "viz.billboard",
        Show::List => "viz.bar",
        Show::Lines => "viz.line",
        Show::Bars => "viz.stacked-bar",
        Show::Table => "viz.table",
    };
    let unit = match panel.unit {
        Unit::Count => "COUNT",
        Unit::Share => "PERCENTAGE",
        Unit::Seconds => "SECONDS",
        // No unit of New Relic's; the query calls its numbers so.
        Unit::Usd => "COUNT",
    };
    json!({
        "title": panel.title,
        "layout": layout,
        "linkedEntityGuids": null,
        "visualization": { "id": id },
        "rawConfiguration": {
            "facet": { "showOtherSeries": false },
            "legend": { "enabled": true },
            "nrqlQueries": [{ "accountIds": [0], "query": nrql(panel) }],
            "platformOptions": { "ignoreTimeRange": is_now(panel) },
            "units": { "unit": unit },
            "yAxisLeft": { "zero": true },
        },
    })
}

/// Whether the query says itself how far back it looks.
fn is_now(panel: &Panel) -> bool {
    !matches!(panel.show, Show::Lines | Show::Bars)
        && !matches!(panel.question, Question::Growth { .. } | Question::Share { .. } | Question::P95 { .. })
}

/// The panel's question in NRQL.
fn nrql(panel: &Panel) -> String {
    let chosen =
        overview::CHOICES.map(|(name, dimension)| format!("{} IN ({{{{{name}}}}})", quoted(dimension)));
    let chosen = format!("WHERE {}", chosen.join(" AND "));
    let facet = facet(panel.by);
    let heartbeat = format!("FROM Metric {chosen} AND metricName = '{HEARTBEAT}'");
    let host = quoted(Dimension::Host);
    let mut query = match panel.question {
        Question::Machines => format!("SELECT uniqueCount({host}) AS 'machines' {heartbeat}"),
        Question::LastHeard => {
            return format!(
                "SELECT latest(timestamp) AS 'last heard' {heartbeat} FACET {host} ORDER BY latest(timestamp) ASC \
                 LIMIT {ROWS_MAX} SINCE 7 days ago"
            );
        }
        Question::Growth { family, only } => {
            let only: String = only.iter().map(|filter| format!(" AND {}", condition(filter))).collect();
            format!("SELECT sum({family}){} FROM Metric {chosen}{only}{facet}", name(panel))
        }
        Question::Share { family, part, whole } => format!(
            "SELECT filter(sum({family}), WHERE {}) / filter(sum({family}), WHERE {}) * 100 AS '%' FROM Metric \
             {chosen}{facet}",
            condition(&part),
            condition(&whole)
        ),
        Question::Sum { family } => {
            let named = format!("sum(newest){}", name(panel));
            newest_added_up(family, &chosen, panel.by).replacen("sum(newest)", &named, 1)
        }
        Question::Largest { family } if panel.show == Show::Lines => {
            format!("SELECT max({family}) FROM Metric {chosen}{facet}")
        }
        // What was largest at some time in the window need not be any more.
        Question::Largest { family } => {
            newest_added_up(family, &chosen, panel.by).replacen("sum(newest)", "max(newest)", 1)
        }
        Question::P95 { family } => format!("SELECT percentile({family}, 95) FROM Metric {chosen}{facet}"),
        Question::Readings(columns) => {
            let columns = columns.iter().map(|(title, family)| format!("latest({family}) AS '{title}'"));
            format!("SELECT {} FROM Metric {chosen}{facet}", columns.collect::<Vec<_>>().join(", "))
        }
    };
    if !panel.by.is_empty() {
        query.push_str(&format!(" LIMIT {ROWS_MAX}"));
    }
    if is_now(panel) {
        query.push_str(&format!(" SINCE {HEARD_MINUTES} minutes ago"));
    } else if panel.show == Show::Lines && matches!(panel.question, Question::Machines) {
        query.push_str(&format!(" TIMESERIES {HEARD_MINUTES} minutes"));
    } else if matches!(panel.show, Show::Lines | Show::Bars) {
        query.push_str(" TIMESERIES AUTO");
    }
    query
}

/// What the numbers are called where the widget cannot say it.
fn name(panel: &Panel) -> &'static str {
    if panel.unit == Unit::Usd { " AS 'USD'" } else { "" }
}

/// The newest reading of each series, then the sum of these.
fn newest_added_up(family: &str, chosen: &str, by: &[Dimension]) -> String {
    let mut inner = vec!["`service.instance.id`".to_owned()];
    inner.extend(overview::family(family).labels.iter().map(|label| quoted(Dimension::Label(label.name))));
    let more = by.iter().map(|dimension| quoted(*dimension)).filter(|name| !inner.contains(name));
    let inner = inner.iter().cloned().chain(more).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT sum(newest) FROM (SELECT latest({family}) AS newest FROM Metric {chosen} FACET {inner} LIMIT MAX){}",
        facet(by)
    )
}

fn facet(by: &[Dimension]) -> String {
    let names: Vec<_> = by.iter().map(|dimension| quoted(*dimension)).collect();
    if names.is_empty() { String::new() } else { format!(" FACET {}", names.join(", ")) }
}

fn condition(filter: &Filter) -> String {
    let sign = if filter.is { "=" } else { "!=" };
    format!("{} {sign} '{}'", quoted(Dimension::Label(filter.label)), filter.value)
}

fn quoted(dimension: Dimension) -> String {
    format!("`{}`", dimension.attribute().0)
}

/// All values are chosen at first.
fn variable(name: &str, dimension: Dimension) -> Value {
    let attribute = quoted(dimension);
    json!({
        "name": name,
        "title": name,
        "type": "NRQL",
        "isMultiSelection": true,
        "items": null,
        "nrqlQuery": {
            "accountIds": [0],
            "query": format!("SELECT uniques({attribute}) FROM Metric WHERE metricName = '{HEARTBEAT}' SINCE 7 days ago"),
        },
        "defaultValues": [{ "value": { "string": "*" } }],
        "replacementStrategy": "STRING",
        "options": { "excluded": false, "ignoreTimeRange": true },
    })
}
