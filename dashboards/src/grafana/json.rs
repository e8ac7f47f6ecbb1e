//! The description as the JSON that Grafana imports: classic dashboards, schema version 42.

use serde_json::{Map, Value, json};

use super::model::{
    Color, Dashboard, GRID_WIDTH, Mapping, Panel, PanelKind, Query, Thresholds, Unit, Variable,
};
use super::{TAG, expand};

/// The version of classic dashboards that Grafana 12 and 13 write. Older versions read it too.
const SCHEMA_VERSION: u32 = 42;
/// The panels' version whose options these are, so that Grafana does not migrate them.
const PLUGIN_VERSION: &str = "13.2.2";

/// The file's content.
pub(super) fn render(dashboard: &Dashboard) -> String {
    let variables: Vec<_> = std::iter::once(datasource_variable())
        .chain(
            dashboard
                .variables
                .iter()
                .enumerate()
                .map(|(index, v)| variable(v, &dashboard.variables[..index])),
        )
        .collect();
    let tags: Vec<_> = std::iter::once(TAG).chain(dashboard.tags.iter().copied()).collect();
    let page = json!({
        "annotations": { "list": [] },
        "description": dashboard.description,
        "editable": true,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": null,
        "links": [links_to_others()],
        "panels": panels(dashboard),
        "refresh": dashboard.refresh,
        "schemaVersion": SCHEMA_VERSION,
        "tags": tags,
        "templating": { "list": variables },
        "time": { "from": dashboard.from, "to": "now" },
        "timepicker": { "refresh_intervals": ["5s", "15s", "1m", "5m", "1h"] },
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
        "version": 1,
    });
    format!("{page:#}\n")
}

fn links_to_others() -> Value {
    json!({
        "asDropdown": true, "icon": "external link", "includeVars": true, "keepTime": true, "tags": [TAG],
        "targetBlank": false, "title": "Muster", "tooltip": "The other dashboards", "type": "dashboards", "url": "",
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn datasource_variable() -> Value {
    json!({
        "hide": 0, "includeAll": false, "label": "Data source", "multi": false, "name": "datasource", "options": [],
        "query": "prometheus", "refresh": 1, "regex": "", "skipUrlSync": false, "type": "datasource",
    })
}

/// Values depend on what was chosen before. "All" is any value or none, so that pages without the label are seen.
fn variable(variable: &Variable, before: &[Variable]) -> Value {
    let chosen: Vec<_> = before.iter().map(|v| format!("{}=~\"${}\"", v.name, v.name)).collect();
    let samples = match (chosen.is_empty(), variable.from.strip_suffix('}')) {
        (true, _) => variable.from.to_owned(),
        (false, Some(filtered)) => format!("{filtered},{}}}", chosen.join(",")),
        (false, None) => format!("{}{{{}}}", variable.from, chosen.join(",")),
    };
    let query = format!("label_values({samples},{})", variable.name);
    json!({
        "allValue": ".*",
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "datasource": datasource(),
        "hide": 0,
        "includeAll": true,
        "label": variable.label,
        "multi": true,
        "name": variable.name,
        "options": [],
        "query": { "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery" },
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        "sort": 1,
        "type": "query",
    })
}

/// Rows and panels with their places and ids.
fn panels(dashboard: &Dashboard) -> Vec<Value> {
    let (mut all, mut id, mut y) = (Vec::new(), 0, 0);
    for row in &dashboard.rows {
        id += 1;
        all.push(json!({
            "collapsed": false, "gridPos": { "h": 1, "w": GRID_WIDTH, "x": 0, "y": y }, "id": id, "panels": [],
            "title": row.title, "type": "row",
        }));
        y += 1;
        let (mut x, mut line_height) = (0, 0);
        for panel in &row.panels {
            if x + panel.width > GRID_WIDTH {
                (x, y, line_height) = (0, y + line_height, 0);
            }
            id += 1;
            let place = json!({ "h": panel.height, "w": panel.width, "x": x, "y": y });
            all.push(panel_json(panel, id, place));
            x += panel.width;
            line_height = line_height.max(panel.height);
        }
        y += line_height;
    }
    all
}

fn panel_json(panel: &Panel, id: u32, place: Value) -> Value {
    let targets: Vec<_> =
        panel.queries.iter().enumerate().map(|(i, query)| target(panel.kind, query, i)).collect();
    let mut json = json!({
        "datasource": datasource(),
        "description": panel.description,
        "fieldConfig": { "defaults": defaults(panel), "overrides": overrides(panel) },
        "gridPos": place,
        "id": id,
        "options": options(panel),
        "pluginVersion": PLUGIN_VERSION,
        "targets": targets,
        "title": panel.title,
        "type": plugin(panel.kind),
    });
    if let Some(step) = panel.step {
        json["interval"] = step.into();
    }
    if panel.kind == PanelKind::Table {
        json["transformations"] = one_table(panel);
    }
    json
}

fn plugin(kind: PanelKind) -> &'static str {
    match kind {
        PanelKind::Stat => "stat",
        PanelKind::Gauge => "gauge",
        PanelKind::Bars => "bargauge",
        PanelKind::Lines | PanelKind::StackedAreas | PanelKind::StackedBars => "timeseries",
        PanelKind::Pie => "piechart",
        PanelKind::Table => "table",
        PanelKind::Heatmap => "heatmap",
    }
}

fn target(kind: PanelKind, query: &Query, index: usize) -> Value {
    let is_instant = matches!(
        kind,
        // What is now: the last value of a range would be that of something that has ended since.
        PanelKind::Stat | PanelKind::Bars | PanelKind::Gauge | PanelKind::Pie | PanelKind::Table
    );
    let format = match kind {
        PanelKind::Table => "table",
        PanelKind::Heatmap => "heatmap",
        _ => "time_series",
    };
    json!({
        "datasource": datasource(),
        "editorMode": "code",
        "expr": expand(&query.expression),
        "format": format,
        "instant": is_instant,
        "legendFormat": query.legend,
        "range": !is_instant,
        "refId": ref_id(index),
    })
}

fn ref_id(index: usize) -> String {
    // A panel has far fewer queries than the alphabet has letters; a test says so.
    char::from(b'A' + index as u8).to_string()
}

fn defaults(panel: &Panel) -> Value {
    let mode = match (panel.kind, panel.thresholds.is_some() || !panel.mappings.is_empty()) {
        (PanelKind::Stat | PanelKind::Gauge | PanelKind::Bars | PanelKind::Table, true) => "thresholds",
        _ => "palette-classic",
    };
    let mut defaults = json!({
        "color": { "mode": mode },
        "custom": custom(panel),
        "mappings": mappings(panel.mappings),
        "thresholds": thresholds(panel.thresholds.unwrap_or(Thresholds { base: Color::Green, steps: &[] })),
        "unit": unit(panel.unit),
    });
    if let Some(decimals) = panel.decimals {
        defaults["decimals"] = decimals.into();
    }
    if let Some((min, max)) = panel.range {
        defaults["min"] = number(min);
        defaults["max"] = number(max);
    }
    if let Some(words) = panel.no_value {
        defaults["noValue"] = words.into();
    }
    if matches!(panel.kind, PanelKind::Stat | PanelKind::Gauge | PanelKind::Bars) {
        defaults.as_object_mut().expect("made above").remove("custom");
    }
    defaults
}

fn custom(panel: &Panel) -> Value {
    let hide = json!({ "legend": false, "tooltip": false, "viz": false });
    match panel.kind {
        PanelKind::Pie => json!({ "hideFrom": hide }),
        PanelKind::Heatmap => json!({ "hideFrom": hide, "scaleDistribution": { "type": "linear" } }),
        PanelKind::Table => json!({
            "align": "auto", "cellOptions": { "type": "auto" }, "filterable": true, "inspect": false,
        }),
        kind => {
            let is_stacked = matches!(kind, PanelKind::StackedAreas | PanelKind::StackedBars);
            let is_bars = kind == PanelKind::StackedBars;
            // Lines of thresholds over stacked areas would be read against the wrong heights.
            let line = if panel.thresholds.is_some() && !is_stacked { "dashed" } else { "off" };
            json!({
                "axisBorderShow": false, "axisCenteredZero": false, "axisColorMode": "text", "axisLabel": "",
                "axisPlacement": "auto", "axisSoftMin": 0, "barAlignment": 0, "drawStyle": if is_bars { "bars" } else { "line" },
                "fillOpacity": if is_bars { 80 } else if is_stacked { 40 } else { 8 },
                "gradientMode": "none", "hideFrom": hide, "insertNulls": false, "lineInterpolation": "linear",
                "lineWidth": 1, "pointSize": 4, "scaleDistribution": { "type": "linear" }, "showPoints": "auto",
                "spanNulls": false,
                "stacking": { "group": "A", "mode": if is_stacked { "normal" } else { "none" } },
                "thresholdsStyle": { "mode": line },
            })
        }
    }
}

fn options(panel: &Panel) -> Value {
    let last = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
    let legend = json!({ "calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true });
    match panel.kind {
        PanelKind::Stat => json!({
            "colorMode": if panel.mappings.is_empty() { "value" } else { "background" },
            "graphMode": "none",
            "justifyMode": "auto", "orientation": "auto", "percentChangeColorMode": "standard", "reduceOptions": last,
            "showPercentChange": false, "textMode": "auto", "wideLayout": true,
        }),
        PanelKind::Gauge => json!({
            "barShape": "flat", "barWidthFactor": 0.5, "effects": {}, "minVizHeight": 75, "minVizWidth": 75,
            "orientation": "auto", "reduceOptions": last, "segmentCount": 1, "segmentSpacing": 0.3, "shape": "gauge",
            "showThresholdLabels": false, "showThresholdMarkers": true, "sizing": "auto",
        }),
        PanelKind::Bars => json!({
            "displayMode": "basic",
            "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
            "maxVizHeight": 300, "minVizHeight": 16, "minVizWidth": 8, "namePlacement": "auto",
            "orientation": "horizontal", "reduceOptions": last, "showUnfilled": true, "sizing": "auto",
            "valueMode": "color",
        }),
        PanelKind::Pie => json!({
            "displayLabels": ["percent"],
            "legend": { "calcs": [], "displayMode": "table", "placement": "right", "showLegend": true, "values": ["value"] },
            "orientation": "auto", "pieType": "donut", "reduceOptions": last, "sort": "desc",
            "tooltip": { "mode": "single", "sort": "none" },
        }),
        PanelKind::Table => {
            json!({ "cellHeight": "sm", "enablePagination": false, "frameIndex": 0, "showHeader": true })
        }
        PanelKind::Heatmap => json!({
            "calculate": false, "cellGap": 1,
            "color": { "exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": false, "scale": "exponential",
                "scheme": "Oranges", "steps": 64 },
            "exemplars": { "color": "rgba(255,0,255,0.7)" }, "filterValues": { "le": 1e-9 },
            "legend": { "show": true }, "rowsFrame": { "layout": "auto" }, "showValue": "never",
            "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "reverse": false, "unit": unit(panel.unit) },
        }),
        _ => json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } }),
    }
}

fn overrides(panel: &Panel) -> Vec<Value> {
    let colors = panel.colors.iter().map(|(legend, color)| {
        by_name(
            legend,
            json!([{ "id": "color", "value": { "fixedColor": color_name(*color), "mode": "fixed" } }]),
        )
    });
    let columns = panel.queries.iter().filter(|_| panel.kind == PanelKind::Table).filter_map(|query| {
        let mut properties: Vec<_> =
            query.unit.map(|u| json!({ "id": "unit", "value": unit(u) })).into_iter().collect();
        if let Some(steps) = query.thresholds {
            properties.push(json!({ "id": "thresholds", "value": thresholds(steps) }));
            properties.push(json!({ "id": "custom.cellOptions", "value": { "type": "color-text" } }));
            properties.push(json!({ "id": "color", "value": { "mode": "thresholds" } }));
        }
        if !query.mappings.is_empty() {
            properties.push(json!({ "id": "mappings", "value": mappings(query.mappings) }));
            properties.push(json!({ "id": "custom.cellOptions", "value": { "type": "color-text" } }));
        }
        (!properties.is_empty()).then(|| by_name(query.legend, properties.into()))
    });
    colors.chain(columns).collect()
}

fn by_name(name: &str, properties: Value) -> Value {
    json!({ "matcher": { "id": "byName", "options": name }, "properties": properties })
}

/// Joins the answers by their labels, and calls each column as its query says.
fn one_table(panel: &Panel) -> Value {
    let names: Map<String, Value> = panel
        .queries
        .iter()
        .enumerate()
        .map(|(index, query)| {
            // Grafana tells the columns apart only where there is more than one.
            let value = if panel.queries.len() == 1 {
                "Value".to_owned()
            } else {
                format!("Value #{}", ref_id(index))
            };
            (value, query.legend.into())
        })
        .collect();
    json!([
        { "id": "merge", "options": {} },
        { "id": "organize", "options": { "excludeByName": { "Time": true }, "indexByName": {}, "renameByName": names } },
    ])
}

fn mappings(mappings: &[Mapping]) -> Value {
    if mappings.is_empty() {
        return json!([]);
    }
    let options: Map<String, Value> = mappings
        .iter()
        .enumerate()
        .map(|(index, mapping)| {
            let shown = json!({ "color": color_name(mapping.color), "index": index, "text": mapping.text });
            (mapping.value.to_string(), shown)
        })
        .collect();
    json!([{ "options": options, "type": "value" }])
}

fn thresholds(thresholds: Thresholds) -> Value {
    let base = json!({ "color": color_name(thresholds.base), "value": null });
    let steps = thresholds
        .steps
        .iter()
        .map(|(from, color)| json!({ "color": color_name(*color), "value": number(*from) }));
    json!({ "mode": "absolute", "steps": std::iter::once(base).chain(steps).collect::<Vec<_>>() })
}

/// Whole numbers without a point, as people would write them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::Number => "none",
        Unit::Percent => "percent",
        Unit::Share => "percentunit",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::Duration => "dtdurations",
        Unit::Hours => "h",
        Unit::Bytes => "bytes",
        Unit::Mebibytes => "mbytes",
        Unit::Gibibytes => "gbytes",
        Unit::BytesPerSecond => "binBps",
        Unit::Usd => "currencyUSD",
        Unit::PerSecond => "eps",
        Unit::PerMinute => "epm",
    }
}

fn color_name(color: Color) -> &'static str {
    match color {
        Color::Green => "green",
        Color::Yellow => "yellow",
        Color::Orange => "orange",
        Color::Red => "red",
        Color::DarkRed => "dark-red",
        Color::Blue => "blue",
        Color::Gray => "#808080",
    }
}
