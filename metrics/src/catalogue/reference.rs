//! The reference page of the catalogue, `docs/metrics.md`.

use std::fmt::Write;

use super::{Family, MetricKind, Reading, families};

/// The whole page as Markdown.
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    let groups = [
        ("loki_", "Loki Mode", LOKI_NOTE),
        ("devloop_", "DevLoop", DEVLOOP_NOTE),
        ("muster_", "All tools", MUSTER_NOTE),
    ];
    for (prefix, title, note) in groups {
        let _ = write!(page, "\n## {title}\n\n{note}\n\n");
        page.push_str("| name | type | unit | labels | what it says | from |\n|---|---|---|---|---|---|\n");
        families().iter().filter(|family| family.name.starts_with(prefix)).for_each(|f| row(f, &mut page));
    }
    page.push_str("\n## Histogram buckets\n\n| name | upper bounds |\n|---|---|\n");
    for family in families() {
        if let MetricKind::Histogram(bounds) = family.kind {
            let upper = bounds.upper_us.iter().map(|us| (*us as f64 / bounds.unit_us as f64).to_string());
            let _ = writeln!(page, "| `{}` | {}, +Inf |", family.name, upper.collect::<Vec<_>>().join(", "));
        }
    }
    page
}

fn row(family: &Family, page: &mut String) {
    let kind = match family.kind {
        MetricKind::Counter(_) => "counter",
        MetricKind::Gauge(_) => "gauge",
        MetricKind::Histogram(_) => "histogram",
    };
    let labels: Vec<_> = family.labels.iter().map(|label| format!("`{}`", label.name)).collect();
    let mut from: Vec<_> = family.rules.iter().map(|rule| format!("`{}`", rule.event_name())).collect();
    if let MetricKind::Gauge(Reading::SumOf(other)) = family.kind {
        from.push(format!("sum of `{other}`"));
    }
    if from.is_empty() {
        from.push("the aggregation itself".to_owned());
    }
    let _ = writeln!(
        page,
        "| `{}` | {kind} | {} | {} | {} | {} |",
        family.name,
        family.unit,
        labels.join(", "),
        family.help,
        from.join(", ")
    );
}

const HEAD: &str = "# Metrics

This page is generated from the catalogue in `metrics/src/catalogue/` (`MUSTER_BLESS=1 cargo test -p metrics` writes it).
The figures of the service itself (`muster_server_*`, `muster_destination_*`, `muster_otlp_*`, `muster_agent_*`) are in
[metrics-service.md](metrics-service.md).

- Labels: at the collector every family also has `team`, `user`, `host` and `project`, before its own. On an agent's own
  page there are none of these while one project is watched, and `project` with more.
- A number is true or absent: a family is on the page when a fact was stated. Gauges leave it when their source ends or
  when its agent has not been heard for 5 minutes; counters and histograms stay for 24 hours after their source was last there.
- Counters never fall while the collector lives and go on where they were after a restart. OpenMetrics pages give the
  time of a series' first event as `_created`.
- A team has a bounded number of series in each family and in all, and so has an agent. Past a bound, facts go to one series of the family
  whose labels are all `__overflow__` (gauges are left out), and `muster_series_overflow_total` counts them; its
  `reason` is the bound, `series_per_family_max`, `team_series_max` or `agent_series_max`.
- When a source is sampled, counters and histograms are scaled to what was not sent; `muster_sample_rate` and
  `muster_events_extrapolated_total` say so.
- In label values a line feed, quote and backslash are escaped, other control characters become U+FFFD, and values longer
  than 128 bytes are cut.
";

const LOKI_NOTE: &str = "Names, HELP, TYPE and labels as Loki Mode's own endpoint has them.";

const DEVLOOP_NOTE: &str = "Names, types, labels and units as DevLoop's guide has them. Counters without `_total` in
their name cannot be counters in OpenMetrics, so there they are typed `unknown` under the same sample name; the text
format types them `counter`. Names under `disabledMetrics` of `agents.json` take a family off the page for that project,
with or without `devloop_`, the unit and a suffix such as `_histogram`.";

const MUSTER_NOTE: &str =
    "The same facts for all tools under one name, in base units, and what the guides lack.";
