//! The collector.

use super::super::rule::{Given, collector_labels, of_collector, of_project};
use super::{Plain, Record, Rule, Severity};

const UP: &str = "up";

pub(super) fn availability() -> Vec<Rule> {
    let up = |values| vec![(of_collector(UP, ""), values)];
    vec![
        Rule::Record(Record {
            name: "muster_slo:availability:ratio_30d",
            expr: "avg_over_time(up{job=\"muster\"}[30d])".to_owned(),
            given: up("1x8 0x1"),
            at: "9m",
            gives: (collector_labels(), "0.9"),
            quiet: vec![(of_collector("muster_server_streams", ""), "1x10")],
        }),
        Plain {
            name: "MusterAvailabilitySLOViolation",
            severity: Severity::Warning,
            hold: "15m",
            // Known for six hours: before, a scrape or two that failed would be below the level.
            expr: "muster_slo:availability:ratio_30d < 0.999\nand\nup{job=\"muster\"} offset 6h",
            summary: "The collector was there for {{ $value | humanizePercentage }} of 30 days",
            description: "Prometheus reached {{ $labels.instance }} in {{ $value | humanizePercentage }} of its scrapes of the \
                          last 30 days. The service level is 99.9%. Agents spool what they could not send: figures came late, \
                          and nothing is lost by it. Where Prometheus keeps less than 30 days (--storage.tsdb.retention.time), it is \
                          about those that it keeps.",
            given: up("1x299 0x49 1x100"),
            at: "400m",
            labels: collector_labels(),
            value: "87.53%",
            quiet: up("1x500"),
        }
        .rule()
        .but_not_for(up("_x200 1x8 0 1x300")),
    ]
}

pub(super) fn alerts() -> Vec<Rule> {
    vec![
        down(),
        missing(),
        restarting(),
        disk_full(),
        degraded(),
        lagging(),
        snapshots(),
        capped(),
        capped_otlp(),
        waiting(),
        credentials(),
        refused(),
        changed(),
    ]
}

fn one(name: &str, more: &str, values: &'static str) -> Given {
    vec![(of_collector(name, more), values)]
}

fn down() -> Rule {
    Plain {
        name: "MusterCollectorDown",
        severity: Severity::Critical,
        hold: "5m",
        expr: "up{job=\"muster\"} == 0",
        summary: "Prometheus cannot scrape the collector {{ $labels.instance }}",
        description: "No scrape of {{ $labels.instance }} has succeeded for 5 minutes. Agents spool and send when it is back.",
        given: one(UP, "", "1x5 0x20"),
        at: "15m",
        labels: collector_labels(),
        value: "0",
        quiet: one(UP, "", "1x13 0x2 1x10"),
    }
    .rule()
}

fn missing() -> Rule {
    Plain {
        name: "MusterCollectorMissing",
        severity: Severity::Critical,
        hold: "10m",
        expr: "absent(up{job=\"muster\"})",
        summary: "Prometheus has no collector to scrape",
        description: "No target has the job muster: the scrape configuration is gone, or service discovery finds nothing.",
        given: vec![("up{job=\"node\",instance=\"collector:9100\"}".to_owned(), "1x20")],
        at: "15m",
        labels: vec![("job", "muster")],
        value: "1",
        quiet: one(UP, "", "0x20"),
    }
    .rule()
}

fn restarting() -> Rule {
    let bytes = "muster_server_accepted_bytes_total";
    Plain {
        name: "MusterCollectorRestarting",
        severity: Severity::Critical,
        hold: "",
        // A fall of the counter is a start between two scrapes; `up` shows the starts that took longer.
        expr: "resets(muster_server_accepted_bytes_total[30m]) >= 2\nor\nchanges(up{job=\"muster\"}[30m]) >= 4",
        summary: "The collector {{ $labels.instance }} starts again and again",
        description: "The collector has begun anew at least twice within 30 minutes. A collector whose journal cannot be \
                      written to ends, for whoever started it to start it anew. Agents spool.",
        given: one(bytes, "", "0+9x4 0+9x4 0+9x10"),
        at: "12m",
        labels: collector_labels(),
        value: "",
        // One start is an update.
        quiet: one(bytes, "", "0+9x6 0+9x20"),
    }
    .rule()
    .and_for(one(UP, "", "1x3 0x1 1x3 0x1 1x10"), "")
    .but_not_for(one(UP, "", "1x5 0x2 1x20"))
}

fn disk_full() -> Rule {
    let full = "muster_server_journal_disk_full_total";
    Plain {
        name: "MusterJournalDiskFull",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_server_journal_disk_full_total[15m]) > 0",
        summary: "The disk of the collector {{ $labels.instance }} was full",
        description: "The journal had no room within the last 15 minutes. While that lasts agents are told to wait and spool.",
        given: one(full, "", "0x5 1x10"),
        at: "10m",
        labels: collector_labels(),
        value: "",
        quiet: one(full, "", "4x20"),
    }
    .rule()
}

fn degraded() -> Rule {
    let quarantined = "muster_server_journal_quarantined_records";
    Plain {
        name: "MusterJournalDegraded",
        severity: Severity::Warning,
        hold: "",
        expr: "muster_server_journal_quarantined_records > 0\nor\nmuster_server_journal_missing_records > 0",
        summary: "Records of the journal of {{ $labels.instance }} are damaged or missing",
        description: "{{ $value }} records of the journal are damaged and set aside, or are missing between its first and \
                      its last. The rest works.",
        given: one(quarantined, "", "0x5 2x10"),
        at: "10m",
        labels: collector_labels(),
        value: "2",
        quiet: vec![
            (of_collector(quarantined, ""), "0x20"),
            (of_collector("muster_server_journal_missing_records", ""), "0x20"),
        ],
    }
    .rule()
    .and_for(one("muster_server_journal_missing_records", "", "0x5 2x10"), "2")
}

fn lagging() -> Rule {
    let lag = "muster_server_aggregate_lag_records";
    Plain {
        name: "MusterAggregateLagging",
        severity: Severity::Warning,
        hold: "10m",
        expr: "muster_server_aggregate_lag_records > 10000",
        summary: "The figures of {{ $labels.instance }} are late ({{ $value }} records)",
        description: "{{ $value }} records are durable and not yet counted: the figures on the page are older than they look.",
        given: one(lag, "", "20000x30"),
        at: "15m",
        labels: collector_labels(),
        value: "20000",
        quiet: one(lag, "", "0x5 20000x5 0x20"),
    }
    .rule()
    .but_not_for(one(lag, "", "10000x30"))
}

fn snapshots() -> Rule {
    let snapshots = "muster_server_snapshots_total";
    Plain {
        name: "MusterSnapshotsFailing",
        severity: Severity::Warning,
        hold: "",
        expr: "increase(muster_server_snapshots_total{result=\"failed\"}[15m]) > 0",
        summary: "The collector {{ $labels.instance }} cannot save its figures",
        description: "A snapshot of the series could not be written in the last 15 minutes. A restart takes longer by what \
                      it has to read again, and the journal keeps what it could else delete.",
        given: one(snapshots, "result=\"failed\"", "0x5 1+1x10"),
        at: "10m",
        labels: [collector_labels(), vec![("result", "failed")]].concat(),
        value: "",
        quiet: vec![
            (of_collector(snapshots, "result=\"failed\""), "1x20"),
            (of_collector(snapshots, "result=\"written\""), "0+2x20"),
        ],
    }
    .rule()
}

fn capped() -> Rule {
    let overflow = "muster_series_overflow_total";
    let family = "family=\"muster_runs_total\",reason=\"team_series_max\"";
    Plain {
        name: "MusterSeriesCapped",
        severity: Severity::Warning,
        hold: "",
        // The second part sees the first fact, before there is anything to take an increase of.
        expr: "sum by (environment, team, family, reason) (increase(muster_series_overflow_total[15m])) > 0\nor\n\
               sum by (environment, team, family, reason) (muster_series_overflow_total) > 0\n\
               unless\nsum by (environment, team, family, reason) (muster_series_overflow_total offset 15m)",
        summary: "No room for new series of {{ $labels.family }} in team {{ $labels.team }} ({{ $labels.reason }})",
        description: "New facts for {{ $labels.family }} have no series of their own: they are counted in the series of team \
                      {{ $labels.team }} with the labels __overflow__. The bound is {{ $labels.reason }}: with \
                      agent_series_max it is one machine's, with the others the team's.",
        given: vec![(of_project(overflow, family), "_x20 4x10")],
        at: "22m",
        labels: vec![
            ("environment", "production"),
            ("team", "core"),
            ("family", "muster_runs_total"),
            ("reason", "team_series_max"),
        ],
        value: "",
        quiet: vec![(of_project(overflow, family), "4x30")],
    }
    .rule()
    .and_for(vec![(of_project(overflow, family), "4+1x30")], "")
}

fn capped_otlp() -> Rule {
    let dropped = "muster_otlp_points_dropped_total";
    Plain {
        name: "MusterOtlpPointsDropped",
        severity: Severity::Warning,
        hold: "",
        expr: "sum by (environment, team, reason) (\n  increase(muster_otlp_points_dropped_total{reason!~\"duplicate|out_of_order\"}[15m])\n) > 0",
        summary: "Data points of team {{ $labels.team }} from OTLP are in no series of their own ({{ $labels.reason }})",
        description: "In the last 15 minutes data points that came over OTLP from team {{ $labels.team }} could not be shown \
                      on the page, for the reason {{ $labels.reason }}. Destinations get them all the same.",
        given: vec![(of_collector(dropped, "team=\"core\",reason=\"series_max\""), "0x5 0+7x10")],
        at: "10m",
        labels: vec![("environment", "production"), ("team", "core"), ("reason", "series_max")],
        value: "",
        quiet: vec![(of_collector(dropped, "team=\"core\",reason=\"duplicate\""), "0x5 0+7x10")],
    }
    .rule()
    .but_not_for(vec![(of_collector(dropped, "team=\"core\",reason=\"series_max\""), "7x20")])
}

fn waiting() -> Rule {
    let paused = "muster_server_accept_paused";
    Plain {
        name: "MusterConnectionsWaiting",
        severity: Severity::Warning,
        hold: "5m",
        expr: "muster_server_accept_paused > 0",
        summary: "Connections to {{ $labels.instance }} wait ({{ $labels.door }})",
        description: "The collector has taken no new connection at {{ $labels.door }} for 5 minutes: no permit or no file \
                      descriptor is free.",
        given: one(paused, "door=\"grpc\"", "0x5 1x10"),
        at: "12m",
        labels: [collector_labels(), vec![("door", "grpc")]].concat(),
        value: "1",
        quiet: one(paused, "door=\"grpc\"", "0x5 1x3 0x10"),
    }
    .rule()
}

fn credentials() -> Rule {
    let refused = "muster_server_credentials_refused_total";
    Plain {
        name: "MusterCredentialsRefused",
        severity: Severity::Warning,
        hold: "15m",
        expr: "sum without (reason) (increase(muster_server_credentials_refused_total[15m])) > 10",
        summary: "{{ $labels.instance }} refuses credentials",
        description: "More than 10 credentials were refused in each of the last 15-minute spans: an agent has an old token, or \
                      somebody is guessing.",
        given: one(refused, "reason=\"revoked\"", "0+4x60"),
        at: "40m",
        labels: collector_labels(),
        value: "",
        quiet: one(refused, "reason=\"revoked\"", "0x10 8x50"),
    }
    .rule()
    .but_not_for(one(refused, "reason=\"revoked\"", "0+0.6x60"))
}

fn refused() -> Rule {
    let reloads = "muster_server_reloads_total";
    Plain {
        name: "MusterConfigurationRefused",
        severity: Severity::Warning,
        hold: "",
        expr: "increase(muster_server_reloads_total{result=~\".*_refused\"}[15m]) > 0",
        summary: "{{ $labels.instance }} refused a change ({{ $labels.result }})",
        description: "A changed configuration, certificate or token file could not be used; the old one stays in use. A \
                      certificate that cannot be replaced runs out.",
        given: one(reloads, "result=\"tls_refused\"", "0x5 1x10"),
        at: "10m",
        labels: [collector_labels(), vec![("result", "tls_refused")]].concat(),
        value: "",
        quiet: one(reloads, "result=\"tls_applied\"", "0x5 1x10"),
    }
    .rule()
    .but_not_for(one(reloads, "result=\"tls_refused\"", "1x20"))
}

fn changed() -> Rule {
    let reloads = "muster_server_reloads_total";
    Plain {
        name: "MusterConfigurationChanged",
        severity: Severity::Info,
        hold: "",
        expr: "increase(muster_server_reloads_total{result=~\".*_applied\"}[15m]) > 0",
        summary: "{{ $labels.instance }} took over a change ({{ $labels.result }})",
        description: "A changed configuration, certificate or token file is in use.",
        given: one(reloads, "result=\"config_applied\"", "0x5 1x10"),
        at: "10m",
        labels: [collector_labels(), vec![("result", "config_applied")]].concat(),
        value: "",
        quiet: one(reloads, "result=\"config_applied\"", "1x20"),
    }
    .rule()
}
