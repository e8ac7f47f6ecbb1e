//! The configuration of the Datadog Agent's OpenMetrics check.
//!
//! One instance for each prefix, so that a team takes what it wants to pay for: every series is a custom metric there.
//! Facts of the check in its latest mode that this file rests on:
//!
//! - A counter is listed without `_total`, and is sent with `.count` at its end. A gauge is listed as it is called, also
//!   when that ends in `_total`.
//! - A histogram is listed by its family. As a distribution it has percentiles.
//! - Names are sent as `namespace.name`: `loki_session_status` is `loki.session_status`, as the guide has it, only if it
//!   is renamed.
//! - `host` is the tag of the Agent's own machine. The developer's machine is `machine`.

use std::fmt::Write;

use metrics::catalogue;

use crate::names::{COLLECTOR_FIGURES, DESTINATION_FIGURES, FigureKind, OTLP_TEAM_FIGURES, figure_kind};

const HEAD: &str = "\
# /etc/datadog-agent/conf.d/openmetrics.d/conf.yaml, for Agent 7.32 or newer.
# Made from dashboards/src/datadog/openmetrics.rs; docs/dashboards.md explains it.
#
# Each series is a custom metric: leave out the instances, and the lines, that you do not look at.
init_config:

instances:
";

/// One prefix of names.
struct Instance {
    namespace: &'static str,
    about: &'static str,
    tags: &'static [&'static str],
}

const INSTANCES: [Instance; 3] = [
    Instance {
        namespace: "loki",
        about: "Loki Mode's own names, sent as loki.session_status, loki.cost_usd, loki.events.count.",
        tags: &["env:production", "service:loki-mode"],
    },
    Instance {
        namespace: "devloop",
        about: "DevLoop's own names, sent as devloop.active_issues, devloop.agent_runs.count.",
        tags: &["env:production", "service:devloop"],
    },
    Instance {
        namespace: "muster",
        about: "All tools under one name, and the collector's own figures, sent as muster.runs.count,\n  # \
                muster.destination_up.",
        tags: &["env:production", "service:muster"],
    },
];

/// A line of `metrics`.
pub(super) struct Entry {
    /// Name on the page, without a counter's `_total`.
    pub(super) exposed: String,
    /// Name after the namespace.
    pub(super) sent: String,
}

/// The file.
pub(super) fn configuration() -> String {
    let mut out = HEAD.to_owned();
    for instance in INSTANCES {
        write_instance(&instance, &mut out);
    }
    out
}

fn write_instance(instance: &Instance, out: &mut String) {
    let entries = entries(instance.namespace);
    let names: Vec<_> =
        families(instance.namespace).map(|(name, _)| format!("      name[]={name}")).collect();
    let tags: String = instance.tags.iter().map(|tag| format!("      - {tag}\n")).collect();
    let metrics: String =
        entries.iter().map(|entry| format!("      - {}: {}\n", entry.exposed, entry.sent)).collect();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "  # {about}
  - openmetrics_endpoint: \"http://localhost:9464/metrics?\\\n{names}\"
    namespace: {namespace}
    # A collector on another address has TLS and wants a token (muster token create --operator). Give https and its name
    # above, and take the comments away here:
    # tls_ca_cert: /etc/datadog-agent/muster-ca.pem
    # auth_token:
    #   reader: {{ type: file, path: /etc/datadog-agent/muster-token }}
    #   writer: {{ type: header, name: Authorization, value: 'Bearer <TOKEN>' }}
    # The address as a tag would be longer than Datadog allows.
    tag_by_endpoint: false
    rename_labels:
      host: machine
    histogram_buckets_as_distributions: true
    tags:
{tags}    metrics:
{metrics}",
        about = instance.about,
        names = names.join("&\\\n"),
        namespace = instance.namespace,
    );
}

/// Every family and own figure of the collector's page with that prefix.
pub(super) fn entries(namespace: &str) -> Vec<Entry> {
    families(namespace)
        .map(|(name, kind)| {
            let exposed = match kind {
                FigureKind::Counter => name.strip_suffix("_total").unwrap_or(name),
                FigureKind::Gauge | FigureKind::Histogram => name,
            };
            let sent = exposed.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('_'));
            let sent = sent.expect("families are chosen by this prefix").to_owned();
            Entry { exposed: exposed.to_owned(), sent }
        })
        .collect()
}

fn families(namespace: &str) -> impl Iterator<Item = (&'static str, FigureKind)> {
    let prefix = format!("{namespace}_");
    let of_catalogue = catalogue::families().iter().map(|family| (family.name, figure_kind(family.kind)));
    let own = [COLLECTOR_FIGURES, DESTINATION_FIGURES, OTLP_TEAM_FIGURES].into_iter().flatten();
    let own = own.map(|figure| (figure.name, figure.kind));
    of_catalogue.chain(own).filter(move |(name, _)| name.starts_with(&prefix))
}
