//! The overview for Kibana, against the names that the profiles `elastic` and `elasticsearch` deliver.
//!
//! Elasticsearch keeps OTLP metrics in time series data streams: a metric is the field `metrics.NAME`, an attribute of
//! the data point `attributes.KEY`, one of the resource `resource.attributes.KEY`. Sums are cumulative and of a counter
//! type, which only functions of the source command `TS` read; histograms are deltas, which add up.
//!
//! The file holds saved objects, one a line: a dashboard whose panels have their ES|QL in them. Kibana narrows every
//! query to the time that is chosen for the dashboard.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::GeneratedFile;
use crate::overview::{
    self, DESCRIPTION, Dimension, Filter, HEARD_MINUTES, HEARTBEAT, Panel, Question, ROWS_MAX, Show, TITLE,
    Unit,
};

/// Columns of Kibana's grid.
const GRID_WIDTH: u32 = 48;
/// Data streams of OTLP metrics, whatever dataset and namespace they were given.
const STREAMS: &str = "metrics-*.otel-*";
const TIME: &str = "@timestamp";
const BUCKET: &str = "TBUCKET(10 minutes)";

/// Every file for Elastic.
pub fn files() -> Vec<GeneratedFile> {
    vec![GeneratedFile::new("elastic/muster-overview.ndjson", format!("{}\n", dashboard()))]
}

fn dashboard() -> Value {
    let mut panels = Vec::new();
    let mut row = 0;
    for section in overview::sections() {
        let (mut column, mut line_height) = (0, 0);
        for panel in &section.panels {
            let (width, height) = match panel.show {
                Show::Number => (8, 8),
                Show::List => (20, 8),
                Show::Lines | Show::Bars => (24, 10),
                Show::Table => (GRID_WIDTH, 10),
            };
            if column + width > GRID_WIDTH {
                (column, row, line_height) = (0, row + line_height, 0);
            }
            panels.push(lens(panel, json!({ "x": column, "y": row, "w": width, "h": height })));
            (column, line_height) = (column + width, line_height.max(height));
        }
        row += line_height;
    }
    // Kibana keeps structures within a saved object as text.
    json!({
        "id": "muster-overview",
        "type": "dashboard",
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": "10.2.0",
        "managed": false,
        "references": [],
        "attributes": {
            "title": TITLE,
            "description": DESCRIPTION,
            "version": 3,
            "timeRestore": true,
            "timeFrom": "now-24h",
            "timeTo": "now",
            "refreshInterval": { "pause": false, "value": 60_000 },
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": json!({ "filter": [], "query": { "query": "", "language": "kuery" } }).to_string(),
            },
            "optionsJSON": json!({
                "useMargins": true, "syncColors": false, "syncCursor": true, "syncTooltips": false,
                "hidePanelTitles": false,
            })
            .to_string(),
            "panelsJSON": Value::from(panels).to_string(),
        },
    })
}

/// A column of an answer.
struct Column {
    name: String,
    label: String,
    kind: &'static str,
    unit: Option<Unit>,
}

fn lens(panel: &Panel, mut place: Value) -> Value {
    let id = slug(panel.title);
    place["i"] = json!(id);
    let columns = columns(panel);
    let (kind, visualization) = visualization(panel, &columns);
    let query = json!({ "esql": esql(panel) });
    let layer = json!({
        "index": STREAMS,
        "query": query,
        "timeField": TIME,
        "columns": columns.iter().map(column).collect::<Vec<_>>(),
    });
    json!({
        "type": "lens",
        "panelIndex": id,
        "gridData": place,
        "title": panel.title,
        "embeddableConfig": {
            "description": panel.description,
            "enhancements": {},
            "query": query,
            "filters": [],
            "attributes": {
                "title": panel.title,
                "description": panel.description,
                "type": "lens",
                "visualizationType": kind,
                "references": [],
                "state": {
                    "datasourceStates": {
                        "textBased": {
                            "layers": { "layer": layer },
                            "indexPatternRefs": [{ "id": STREAMS, "title": STREAMS, "timeField": TIME }],
                        },
                    },
                    "filters": [],
                    "query": query,
                    "visualization": visualization,
                    "adHocDataViews": {
                        STREAMS: { "id": STREAMS, "title": STREAMS, "name": STREAMS, "timeFieldName": TIME, "type": "esql" },
                    },
                },
            },
        },
    })
}

fn column(column: &Column) -> Value {
    let format = match column.unit {
        None => Value::Null,
        Some(Unit::Share) => json!({ "id": "percent", "params": { "decimals": 1 } }),
        Some(Unit::Usd) => json!({ "id": "number", "params": { "decimals": 2, "suffix": " USD" } }),
        Some(Unit::Seconds) => json!({ "id": "number", "params": { "decimals": 1, "suffix": " s" } }),
        Some(Unit::Count) => json!({ "id": "number", "params": { "decimals": 0 } }),
    };
    let mut value = json!({
        "columnId": column.name,
        "fieldName": column.name,
        "label": column.label,
        "customLabel": true,
        "meta": { "type": column.kind },
    });
    if !format.is_null() {
        value["params"] = json!({ "format": format });
    }
    value
}

/// Groups first, then the time of a bucket, then numbers.
fn columns(panel: &Panel) -> Vec<Column> {
    let group = |dimension: &Dimension| {
        let (label, _) = dimension.attribute();
        Column { name: field(*dimension), label: label.to_owned(), kind: "string", unit: None }
    };
    let number = |name: &str, unit| Column {
        name: name.to_owned(),
        label: name.replace('_', " "),
        kind: "number",
        unit: Some(unit),
    };
    let time = |name: &str| Column {
        name: name.to_owned(),
        label: name.replace('_', " "),
        kind: "date",
        unit: None,
    };
    let mut columns: Vec<_> = panel.by.iter().map(group).collect();
    if is_over_time(panel) {
        columns.push(time("time"));
    }
    match panel.question {
        Question::LastHeard => columns.push(time("last_heard")),
        Question::Readings(readings) => {
            columns.extend(readings.iter().map(|(title, _)| number(title, Unit::Count)));
        }
        _ => columns.push(number("value", panel.unit)),
    }
    columns
}

fn visualization(panel: &Panel, columns: &[Column]) -> (&'static str, Value) {
    let ids: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    match panel.show {
        Show::Number => (
            "lnsMetric",
            json!({ "layerId": "layer", "layerType": "data", "metricAccessor": "value", "showBar": false }),
        ),
        Show::Lines | Show::Bars => {
            let kind = if panel.show == Show::Lines { "line" } else { "bar_stacked" };
            let mut layer = json!({
                "layerId": "layer", "layerType": "data", "seriesType": kind, "xAccessor": "time", "accessors": ["value"],
            });
            if !panel.by.is_empty() {
                layer["splitAccessor"] = json!(ids[0]);
            }
            (
                "lnsXY",
                json!({
                    "legend": { "isVisible": true, "position": "right" },
                    "preferredSeriesType": kind,
                    "valueLabels": "hide",
                    "layers": [layer],
                }),
            )
        }
        Show::List | Show::Table => {
            let columns: Vec<_> = ids.iter().map(|id| json!({ "columnId": id })).collect();
            ("lnsDatatable", json!({ "layerId": "layer", "layerType": "data", "columns": columns }))
        }
    }
}

fn is_over_time(panel: &Panel) -> bool {
    matches!(panel.show, Show::Lines | Show::Bars)
}

/// The panel's question in ES|QL.
fn esql(panel: &Panel) -> String {
    let mut groups: Vec<_> = panel.by.iter().map(|dimension| field(*dimension)).collect();
    if is_over_time(panel) {
        groups.push(format!("time = {BUCKET}"));
    }
    let by = if groups.is_empty() { String::new() } else { format!(" BY {}", groups.join(", ")) };
    let there = |family: &str| format!("WHERE metrics.{family} IS NOT NULL");
    let recent = if is_over_time(panel) {
        String::new()
    } else {
        format!("\n| WHERE {TIME} > NOW() - {HEARD_MINUTES} minutes")
    };
    let host = field(Dimension::Host);
    let mut query = match panel.question {
        Question::Machines => {
            // FROM has no TBUCKET before 9.2.1; BUCKET is everywhere.
            let by = by.replace(BUCKET, &format!("BUCKET({TIME}, {HEARD_MINUTES} minutes)"));
            format!(
                "FROM {STREAMS}\n| {}{recent}\n| STATS value = COUNT_DISTINCT({host}){by}",
                there(HEARTBEAT)
            )
        }
        Question::LastHeard => {
            format!(
                "FROM {STREAMS}\n| {}\n| STATS last_heard = MAX({TIME}){by}\n| SORT last_heard ASC",
                there(HEARTBEAT)
            )
        }
        Question::Growth { family, only } => {
            let only: String = only.iter().map(|filter| format!("\n| WHERE {}", condition(filter))).collect();
            format!(
                "TS {STREAMS}\n| {}{only}\n| STATS value = SUM(INCREASE(metrics.{family})){by}",
                there(family)
            )
        }
        Question::Share { family, part, whole } => share(family, &part, &whole, &groups),
        Question::Sum { family } => format!(
            "TS {STREAMS}\n| {}{recent}\n| STATS value = SUM(LAST_OVER_TIME(metrics.{family})){by}",
            there(family)
        ),
        Question::Largest { family } => format!(
            "TS {STREAMS}\n| {}{recent}\n| STATS value = MAX(LAST_OVER_TIME(metrics.{family})){by}",
            there(family)
        ),
        Question::P95 { family } => {
            let by = by.replace(BUCKET, &format!("BUCKET({TIME}, {HEARD_MINUTES} minutes)"));
            format!(
                "FROM {STREAMS}\n| {}\n| STATS value = PERCENTILE(metrics.{family}, 95){by}",
                there(family)
            )
        }
        Question::Readings(columns) => {
            let readings = columns
                .iter()
                .map(|(title, family)| format!("{title} = MAX(LAST_OVER_TIME(metrics.{family}))"));
            let any: Vec<_> =
                columns.iter().map(|(_, family)| format!("metrics.{family} IS NOT NULL")).collect();
            format!(
                "TS {STREAMS}\n| WHERE {}{recent}\n| STATS {}{by}",
                any.join(" OR "),
                readings.collect::<Vec<_>>().join(", ")
            )
        }
    };
    if panel.show == Show::List {
        query.push_str("\n| SORT value DESC");
    }
    if matches!(panel.show, Show::List | Show::Table) {
        let _ = write!(query, "\n| LIMIT {ROWS_MAX}");
    }
    query
}

/// First what each of the values grew by, then the parts of it.
fn share(family: &str, part: &Filter, whole: &Filter, groups: &[String]) -> String {
    let mut inner = groups.to_vec();
    inner.push(format!("attributes.{}", part.label));
    let by = if groups.is_empty() { String::new() } else { format!(" BY {}", groups.join(", ")) };
    format!(
        "TS {STREAMS}\n| WHERE metrics.{family} IS NOT NULL\n| STATS grown = SUM(INCREASE(metrics.{family})) BY {}\n\
         | STATS part = SUM(CASE({}, grown, 0.0)), whole = SUM(CASE({}, grown, 0.0)){by}\n| WHERE whole > 0\n\
         | EVAL value = part / whole\n| DROP part, whole",
        inner.join(", "),
        condition(part),
        condition(whole),
    )
}

fn condition(filter: &Filter) -> String {
    let sign = if filter.is { "==" } else { "!=" };
    format!("attributes.{} {sign} \"{}\"", filter.label, filter.value)
}

fn field(dimension: Dimension) -> String {
    match dimension.attribute() {
        (name, true) => format!("resource.attributes.{name}"),
        (name, false) => format!("attributes.{name}"),
    }
}

fn slug(title: &str) -> String {
    let plain = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
