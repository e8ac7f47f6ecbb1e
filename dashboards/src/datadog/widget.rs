//! Datadog's widgets: queries by name, and formulas over them.

use serde_json::{Value, json};

use crate::overview::{ROWS_MAX, Show, Unit};

/// One query and how its points over the chosen time become one number.
pub(super) struct Ask {
    pub(super) aggregator: &'static str,
    pub(super) query: String,
}

impl Ask {
    /// The newest point.
    pub(super) fn last(query: String) -> Self {
        Self { aggregator: "last", query }
    }

    /// All points together.
    pub(super) fn sum(query: String) -> Self {
        Self { aggregator: "sum", query }
    }
}

/// Queries, called q1, q2 and so on, and what is shown of them: formula, name and unit.
pub(super) struct Request {
    pub(super) asks: Vec<Ask>,
    pub(super) formulas: Vec<(String, String, Unit)>,
}

/// Widgets under a common title.
pub(super) fn group(title: &str, widgets: Vec<Value>) -> Value {
    json!({ "definition": { "type": "group", "layout_type": "ordered", "title": title, "widgets": widgets } })
}

/// One widget.
pub(super) fn picture(title: &str, description: &str, show: Show, request: Request) -> Value {
    let over_time = matches!(show, Show::Lines | Show::Bars);
    let queries: Vec<_> = request
        .asks
        .into_iter()
        .enumerate()
        .map(|(n, ask)| {
            let mut query =
                json!({ "data_source": "metrics", "name": format!("q{}", n + 1), "query": ask.query });
            if !over_time {
                query["aggregator"] = json!(ask.aggregator);
            }
            query
        })
        .collect();
    let formulas: Vec<_> =
        request.formulas.iter().enumerate().map(|(n, parts)| formula(n, parts, show)).collect();
    let mut request = json!({
        "formulas": formulas,
        "queries": queries,
        "response_format": if over_time { "timeseries" } else { "scalar" },
    });
    let (kind, more) = match show {
        Show::Number => ("query_value", json!({ "autoscale": true, "precision": 0 })),
        Show::List => ("toplist", json!({})),
        Show::Table => ("query_table", json!({})),
        Show::Lines | Show::Bars => {
            request["display_type"] = json!(if show == Show::Lines { "line" } else { "bars" });
            ("timeseries", json!({ "show_legend": true, "legend_layout": "auto" }))
        }
    };
    let mut definition =
        json!({ "type": kind, "title": title, "description": description, "requests": [request] });
    for (key, value) in more.as_object().into_iter().flatten() {
        definition[key] = value.clone();
    }
    json!({ "definition": definition })
}

fn formula(index: usize, (formula, name, unit): &(String, String, Unit), show: Show) -> Value {
    let mut value = json!({ "formula": formula });
    if !name.is_empty() {
        value["alias"] = json!(name);
    }
    if index == 0 && matches!(show, Show::List | Show::Table) {
        value["limit"] = json!({ "count": ROWS_MAX, "order": "desc" });
    }
    let unit = match unit {
        Unit::Count => return value,
        Unit::Share => "percent",
        Unit::Seconds => "second",
        Unit::Usd => "dollar",
    };
    value["number_format"] = json!({ "unit": { "type": "canonical_unit", "unit_name": unit } });
    value
}
