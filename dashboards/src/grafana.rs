//! The Grafana dashboards: one module a dashboard, described with [`model`].
//!
//! The four of DevLoop's guide, the one of Loki Mode's guide, and four tiers for a fleet. They are provisioned as they
//! lie in `dashboards/grafana/`, or imported by hand: the data source is a variable.

pub mod model;

mod agent_performance;
mod expressions;
mod fleet_agents;
mod fleet_analytics;
mod fleet_debugging;
mod fleet_overview;
mod json;
mod loki_mode;
mod palette;
mod quality;
mod system_health;
mod value;

use crate::GeneratedFile;
use model::{Dashboard, Variable};

/// The tag of every dashboard; the links between them go by it.
pub const TAG: &str = "muster";

/// Every dashboard.
pub fn dashboards() -> Vec<Dashboard> {
    vec![
        agent_performance::dashboard(),
        system_health::dashboard(),
        quality::dashboard(),
        value::dashboard(),
        loki_mode::dashboard(),
        fleet_overview::dashboard(),
        fleet_agents::dashboard(),
        fleet_analytics::dashboard(),
        fleet_debugging::dashboard(),
    ]
}

/// Every file for Grafana.
pub fn files() -> Vec<GeneratedFile> {
    let dashboards = dashboards();
    let file = |d: &Dashboard| GeneratedFile::new(format!("grafana/{}.json", d.uid), json::render(d));
    let mut files: Vec<_> = dashboards.iter().map(file).collect();
    files.push(GeneratedFile::new("grafana/provisioning/dashboards.yml", PROVISION_DASHBOARDS));
    files.push(GeneratedFile::new("grafana/provisioning/datasources.yml", PROVISION_DATASOURCES));
    files
}

/// One question of one panel, as Grafana asks it.
#[derive(Debug, Clone)]
pub struct PanelQuery {
    /// The dashboard's uid.
    pub dashboard: &'static str,
    /// The panel's title.
    pub panel: &'static str,
    /// PromQL with Grafana's variables in it.
    pub expression: String,
    /// Name of the series.
    pub legend: &'static str,
    /// Why it answers nothing on a sound system; `None`: it must answer.
    pub empty_by_nature: Option<&'static str>,
}

impl PanelQuery {
    /// The expression for all teams, users, projects and tools over `range`, such as `5m`, with rates over `window`.
    pub fn for_all(&self, window: &str, range: &str) -> String {
        let expression = self.expression.replace("$__rate_interval", window).replace("$__range", range);
        ["$team", "$user", "$project", "$tool"].iter().fold(expression, |text, name| text.replace(name, ".*"))
    }
}

/// What all panels ask.
pub fn panel_queries() -> Vec<PanelQuery> {
    let mut all = Vec::new();
    for dashboard in dashboards() {
        for panel in dashboard.rows.into_iter().flat_map(|row| row.panels) {
            all.extend(panel.queries.iter().map(|query| PanelQuery {
                dashboard: dashboard.uid,
                panel: panel.title,
                expression: expand(&query.expression),
                legend: query.legend,
                empty_by_nature: query.empty_by_nature.or(panel.empty_by_nature),
            }));
        }
    }
    all
}

/// Panels that may be empty on a sound system, as a table in Markdown.
pub fn empty_by_nature_table() -> String {
    let mut table = String::from("| dashboard | panel | when |\n|---|---|---|\n");
    for dashboard in dashboards() {
        for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
            let rows = match panel.empty_by_nature {
                Some(reason) => vec![(panel.title.to_owned(), reason)],
                None => {
                    let some =
                        panel.queries.iter().filter_map(|query| Some((query.legend, query.empty_by_nature?)));
                    some.map(|(legend, reason)| (format!("{}: `{legend}`", panel.title), reason)).collect()
                }
            };
            for (what, reason) in rows {
                table.push_str(&format!("| {} | {what} | {reason} |\n", dashboard.title));
            }
        }
    }
    table
}

/// The questions that fill the variables: samples and the label asked for.
pub fn variable_queries() -> Vec<(&'static str, Variable)> {
    let dashboards = dashboards();
    dashboards.iter().flat_map(|d| d.variables.iter().map(|variable| (d.uid, *variable))).collect()
}

/// Puts the filters in the place of `@tool` and `@`.
fn expand(expression: &str) -> String {
    let filter = "team=~\"$team\",user=~\"$user\",project=~\"$project\"";
    expression.replace("@tool", &format!("{filter},tool=~\"$tool\"")).replace('@', filter)
}

/// The variables of dashboards about one tool, by the samples that it has. A page without these labels, such as an
/// agent's own, is seen under "All".
macro_rules! scope {
    ($from:literal $(, $more:expr)*) => {
        &[
            Variable { name: "team", label: "Team", from: $from },
            Variable { name: "user", label: "User", from: $from },
            Variable { name: "project", label: "Project", from: $from },
            $($more,)*
        ]
    };
}

const DEVLOOP_SCOPE: &[Variable] = scope!("muster_events_applied_total{tool=\"devloop\"}");
const LOKI_SCOPE: &[Variable] = scope!("muster_events_applied_total{tool=\"loki\"}");
const FLEET_SCOPE: &[Variable] = scope!(
    "muster_events_applied_total",
    Variable { name: "tool", label: "Tool", from: "muster_events_applied_total" }
);

const PROVISION_DASHBOARDS: &str = "# /etc/grafana/provisioning/dashboards/muster.yml
# Grafana reads the folder below anew every 30 seconds.
apiVersion: 1
providers:
  - name: muster
    folder: Muster
    type: file
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: /var/lib/grafana/dashboards/muster
";

const PROVISION_DATASOURCES: &str = "# /etc/grafana/provisioning/datasources/muster.yml
# timeInterval is the scrape interval: Grafana takes rates over at least four of them.
apiVersion: 1
datasources:
  - name: Prometheus
    type: prometheus
    access: proxy
    url: http://localhost:9090
    isDefault: true
    jsonData:
      httpMethod: POST
      timeInterval: 15s
";

#[cfg(test)]
mod tests;
