//! Destinations, and the laws by which nothing is lost silently.

use super::super::rule::{Labels, agent_labels, collector_labels, of_agent, of_collector};
use super::{Plain, Rule, Severity};

pub(super) fn destinations() -> Vec<Rule> {
    vec![down(), behind(), dropping(), missed(), exporting()]
}

/// Spooled = acknowledged + queued + dropped at an agent; taken = counted at the collector; accepted = delivered +
/// dropped + pending at a destination.
pub(super) fn conservation() -> Vec<Rule> {
    vec![lost(), at_the_agent(), at_the_collector(), at_a_destination()]
}

fn of_destination(name: &str, more: &str, values: &'static str) -> (String, &'static str) {
    let comma = if more.is_empty() { "" } else { "," };
    (of_collector(name, &format!("destination=\"elastic\"{comma}{more}")), values)
}

fn destination_labels() -> Labels {
    [collector_labels(), vec![("destination", "elastic")]].concat()
}

fn down() -> Rule {
    Plain {
        name: "MusterDestinationDown",
        severity: Severity::Warning,
        hold: "10m",
        expr: "muster_destination_up == 0",
        summary: "{{ $labels.destination }} takes nothing",
        description: "Every attempt to send to {{ $labels.destination }} has failed for 10 minutes. What is for it waits in \
                      the journal; other destinations are not held up.",
        given: vec![of_destination("muster_destination_up", "", "1x5 0x20")],
        at: "20m",
        labels: destination_labels(),
        value: "0",
        quiet: vec![of_destination("muster_destination_up", "", "1x5 0x5 1x20")],
    }
    .rule()
}

fn behind() -> Rule {
    let age = "muster_destination_oldest_age_seconds";
    Plain {
        name: "MusterDestinationBehind",
        severity: Severity::Warning,
        hold: "10m",
        expr: "muster_destination_oldest_age_seconds > 600",
        summary: "{{ $labels.destination }} is {{ $value | humanizeDuration }} behind",
        description: "The oldest record that waits for {{ $labels.destination }} is {{ $value | humanizeDuration }} old. When \
                      its queue is full it drops the oldest or blocks, as queue_full says.",
        given: vec![of_destination(age, "", "0+60x40")],
        at: "30m",
        labels: destination_labels(),
        value: "30m 0s",
        quiet: vec![of_destination(age, "", "0+60x5 20x40")],
    }
    .rule()
    .but_not_for(vec![of_destination(age, "", "600x40")])
}

fn dropping() -> Rule {
    let dropped = "muster_destination_dropped_items_total";
    let labels = "signal=\"logs\",reason=\"queue_full\"";
    Plain {
        name: "MusterDestinationDropping",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_destination_dropped_items_total[15m]) > 0\nor\nmuster_destination_dropped_items_total > 0\n\
               unless\nmuster_destination_dropped_items_total offset 15m",
        summary: "{{ $labels.signal }} for {{ $labels.destination }} are dropped ({{ $labels.reason }})",
        description: "Within the last 15 minutes {{ $labels.signal }} for {{ $labels.destination }} were dropped for the reason \
                      {{ $labels.reason }}. They are counted, and will not come by themselves.",
        given: vec![of_destination(dropped, labels, "_x20 9x10")],
        at: "22m",
        labels: [destination_labels(), vec![("signal", "logs"), ("reason", "queue_full")]].concat(),
        value: "",
        quiet: vec![of_destination(dropped, labels, "9x30")],
    }
    .rule()
    .and_for(vec![of_destination(dropped, labels, "9+1x30")], "")
}

fn missed() -> Rule {
    let missing = "muster_destination_missing_records_total";
    Plain {
        name: "MusterDestinationMissedRecords",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_destination_missing_records_total[15m]) > 0",
        summary: "Records were gone before {{ $labels.destination }} got them",
        description: "Within the last 15 minutes records of the journal were deleted or damaged that {{ $labels.destination }} \
                      had not got.",
        given: vec![of_destination(missing, "", "0x5 6x10")],
        at: "10m",
        labels: destination_labels(),
        value: "",
        quiet: vec![of_destination(missing, "", "6x20")],
    }
    .rule()
}

fn exporting() -> Rule {
    let delivered = "muster_destination_delivered_items_total";
    Plain {
        name: "MusterExportSuccessful",
        severity: Severity::Info,
        hold: "",
        expr: "sum without (signal) (increase(muster_destination_delivered_items_total[15m])) > 0",
        summary: "{{ $labels.destination }} takes what is sent",
        description: "{{ $labels.destination }} has taken items within the last 15 minutes. Fires as long as all is well.",
        given: vec![of_destination(delivered, "signal=\"metrics\"", "0+5x20")],
        at: "15m",
        labels: destination_labels(),
        value: "",
        quiet: vec![of_destination(delivered, "signal=\"metrics\"", "5x20")],
    }
    .rule()
}

fn lost() -> Rule {
    let one =
        |name: &str, more: &str| vec![(of_collector(&format!("muster_server_{name}"), more), "0x5 40x10")];
    Plain {
        name: "MusterEventsLost",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_server_events_missing_total[15m]) > 0\nor\n\
               increase(muster_server_records_missing_total[15m]) > 0\nor\n\
               increase(muster_server_journal_dropped_records_total[15m]) > 0\nor\n\
               sum without (reason) (increase(muster_server_records_passed_over_total[15m])) > 0",
        summary: "Events on their way through {{ $labels.instance }} are lost",
        description: "Within the last 15 minutes agents could not send what they had promised, or records of the journal were \
                      gone, deleted before they were read, or passed over.",
        given: vec![(of_collector("muster_server_events_missing_total", ""), "0x5 40x10")],
        at: "10m",
        labels: collector_labels(),
        value: "",
        quiet: vec![
            (of_collector("muster_server_events_missing_total", ""), "40x20"),
            (of_collector("muster_server_records_passed_over_total", "reason=\"malformed\""), "0x20"),
        ],
    }
    .rule()
    .and_for(one("records_missing_total", ""), "")
    .and_for(one("journal_dropped_records_total", ""), "")
    .and_for(one("records_passed_over_total", "reason=\"panicked\""), "")
    .but_not_for(vec![
        (of_collector("muster_server_records_missing_total", ""), "40x20"),
        (of_collector("muster_server_journal_dropped_records_total", ""), "40x20"),
    ])
}

const BROKEN: &str = "Muster's books do not balance, by {{ $value }}";

fn at_the_agent() -> Rule {
    let given = |acked, queued| {
        vec![
            (of_agent("muster_agent_events_spooled_total", ""), "0+10x40"),
            (of_agent("muster_agent_events_acked_total", ""), acked),
            (of_agent("muster_agent_events_queued", ""), queued),
            (of_agent("muster_agent_events_dropped_total", "reason=\"spool_full\""), "0+1x40"),
        ]
    };
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        // Nothing dropped yet is no series.
        expr: "muster_agent_events_spooled_total\n- muster_agent_events_acked_total\n- muster_agent_events_queued\n- (\n  \
               sum without (reason) (muster_agent_events_dropped_total)\n  or\n  0 * muster_agent_events_spooled_total\n)\n> 0",
        summary: BROKEN,
        description: "The agent {{ $labels.instance }} spooled {{ $value }} events more than it has sent, keeps or has \
                      dropped. This is a defect of Muster.",
        given: given("0+7x40", "0+1x40"),
        at: "30m",
        labels: agent_labels(),
        value: "30",
        quiet: given("0+7x40", "0+2x40"),
    }
    .rule_in("agent")
    .and_for(given("0+9x40", "0x40").into_iter().take(3).collect(), "30")
    .but_not_for(given("0+9x40", "0+1x40").into_iter().take(3).collect())
}

fn at_the_collector() -> Rule {
    let given = |aggregated, lag| {
        vec![
            (of_collector("muster_server_events_accepted_total", ""), "0+10x40"),
            (of_collector("muster_server_events_aggregated_total", ""), aggregated),
            (of_collector("muster_server_aggregate_lag_records", ""), lag),
        ]
    };
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        expr: "muster_server_events_accepted_total - muster_server_events_aggregated_total > 0\nand\n\
               muster_server_aggregate_lag_records == 0",
        summary: BROKEN,
        description: "The collector {{ $labels.instance }} took {{ $value }} events more than it has counted, and nothing \
                      waits to be counted. If MusterEventsLost does not say why, this is a defect of Muster.",
        given: given("0+9x40", "0x40"),
        at: "30m",
        labels: collector_labels(),
        value: "30",
        // What is missing waits.
        quiet: given("0+9x40", "1x40"),
    }
    .rule_in("collector")
}

fn at_a_destination() -> Rule {
    let given = |delivered, pending| {
        let of = |name: &str, more: &str, values| {
            of_destination(&format!("muster_destination_{name}"), &format!("signal=\"logs\"{more}"), values)
        };
        vec![
            of("accepted_items_total", "", "0+10x40"),
            of("delivered_items_total", "", delivered),
            of("pending_items", "", pending),
            of("dropped_items_total", ",reason=\"rejected\"", "0+1x40"),
        ]
    };
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        // What is pending is the difference itself, unless more went out than came in.
        expr: "muster_destination_accepted_items_total\n- muster_destination_delivered_items_total\n\
               - muster_destination_pending_items\n- (\n  sum without (reason) (muster_destination_dropped_items_total)\n  \
               or\n  0 * muster_destination_accepted_items_total\n)\n!= 0",
        summary: BROKEN,
        description: "Of {{ $labels.signal }} for {{ $labels.destination }}, what was accepted and what was delivered, was dropped or \
                      is on its way differ by {{ $value }}. This is a defect of Muster.",
        given: given("0+10x40", "0x40"),
        at: "30m",
        labels: [destination_labels(), vec![("signal", "logs")]].concat(),
        value: "-30",
        quiet: given("0+7x40", "0+2x40"),
    }
    .rule_in("destination")
}
