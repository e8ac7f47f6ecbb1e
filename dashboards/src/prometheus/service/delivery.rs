//! Destinations, and the laws by which nothing is lost silently.

use super::super::rule::{Given, Labels, agent_labels, collector_labels, of_agent, of_collector};
use super::{Plain, Rule, Severity};

pub(super) fn destinations() -> Vec<Rule> {
    vec![down(), behind(), dropping(), unfit(), missed(), exporting()]
}

/// Spooled = acknowledged + queued + dropped at an agent; taken = counted at the collector; nothing pending at a
/// destination that has read all. Counters begin anew with their process and gauges do not: after a start a sum is off by
/// what was there before. So it is also compared with itself half an hour ago, unless a counter fell since.
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
                      its queue is full the oldest are dropped and counted.",
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
        // A reason that a later version adds counts as a loss until it is known.
        expr: DROPPED_LOST,
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
    .but_not_for(of_reasons(&["baseline", "merged", "no_value"]))
    .but_not_for(of_reasons(UNFIT))
}

/// What a destination's profile cannot take, and events that this version does not know.
const UNFIT: &[&str] = &["too_old", "too_new", "not_finite", "invalid", "out_of_order", "unknown_event"];

const DROPPED_LOST: &str = "increase(muster_destination_dropped_items_total{\n  reason!~\"baseline|merged|no_value|too_old|too_new|\
    not_finite|invalid|out_of_order|unknown_event\"\n}[15m]) > 0\nor\nmuster_destination_dropped_items_total{\n  \
    reason!~\"baseline|merged|no_value|too_old|too_new|not_finite|invalid|out_of_order|unknown_event\"\n} > 0\nunless\n\
    muster_destination_dropped_items_total offset 15m";

const DROPPED_UNFIT: &str = "increase(muster_destination_dropped_items_total{\n  reason=~\"too_old|too_new|not_finite|invalid|\
    out_of_order|unknown_event\"\n}[15m]) > 0\nor\nmuster_destination_dropped_items_total{\n  \
    reason=~\"too_old|too_new|not_finite|invalid|out_of_order|unknown_event\"\n} > 0\nunless\n\
    muster_destination_dropped_items_total offset 15m";

/// Items dropped all the time for these reasons.
fn of_reasons(reasons: &[&str]) -> Given {
    let one = |reason: &&str| {
        let labels = format!("signal=\"metrics\",reason=\"{reason}\"");
        of_destination("muster_destination_dropped_items_total", &labels, "_x20 9+1x30")
    };
    reasons.iter().map(one).collect()
}

fn unfit() -> Rule {
    let rule = Plain {
        name: "MusterDestinationUnfitItems",
        severity: Severity::Warning,
        hold: "",
        expr: DROPPED_UNFIT,
        summary: "{{ $labels.signal }} are not fit for {{ $labels.destination }} ({{ $labels.reason }})",
        description: "Within the last 15 minutes {{ $labels.signal }} were left out of what goes to {{ $labels.destination }}, \
                      which cannot take them: {{ $labels.reason }}. They are counted, and other destinations may have them.",
        given: of_reasons(&["too_old"]),
        at: "22m",
        labels: [destination_labels(), vec![("signal", "metrics"), ("reason", "too_old")]].concat(),
        value: "",
        quiet: of_reasons(&["baseline", "merged", "no_value"]),
    }
    .rule();
    rule.but_not_for(of_reasons(&[
        "queue_full",
        "rejected",
        "permanent",
        "too_large",
        "malformed",
        "panicked",
    ]))
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

/// What is missing, more than half an hour ago, and no process began anew in between.
const AGENT: &str = "(\n  muster_agent_events_spooled_total - muster_agent_events_acked_total - muster_agent_events_queued\n  - (\n    \
    sum without (reason) (muster_agent_events_dropped_total)\n    or\n    0 * muster_agent_events_spooled_total\n  )\n) > 0\nor\n(\n  \
    muster_agent_events_spooled_total - muster_agent_events_acked_total - muster_agent_events_queued\n  - (\n    \
    sum without (reason) (muster_agent_events_dropped_total)\n    or\n    0 * muster_agent_events_spooled_total\n  )\n  - (\n    \
    muster_agent_events_spooled_total offset 30m\n    - muster_agent_events_acked_total offset 30m\n    \
    - muster_agent_events_queued offset 30m\n  )\n  + (\n    \
    sum without (reason) (muster_agent_events_dropped_total offset 30m)\n    or\n    0 * muster_agent_events_spooled_total\n  )\n  > 0\n  \
    and\n  resets(muster_agent_steps_total[30m]) + resets(muster_agent_events_spooled_total[30m])\n    \
    + resets(muster_agent_events_acked_total[30m]) == 0\n)";

fn at_the_agent() -> Rule {
    let given = |[spooled, acked, queued]: [&'static str; 3]| -> Given {
        vec![
            (of_agent("muster_agent_events_spooled_total", ""), spooled),
            (of_agent("muster_agent_events_acked_total", ""), acked),
            (of_agent("muster_agent_events_queued", ""), queued),
            (of_agent("muster_agent_steps_total", ""), "0+10x20 0+10x80"),
        ]
    };
    let dropped = (of_agent("muster_agent_events_dropped_total", "reason=\"spool_full\""), "0+1x101");
    let and_dropped = |values| [given(values), vec![dropped.clone()]].concat();
    let spooled = "0+10x101";
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        // Nothing dropped yet is no series.
        expr: AGENT,
        summary: BROKEN,
        description: "The agent {{ $labels.instance }} spooled {{ $value }} events more than it has sent, keeps or has \
                      dropped. This is a defect of Muster.",
        given: and_dropped([spooled, "0+7x101", "0+1x101"]),
        at: "85m",
        labels: agent_labels(),
        value: "85",
        quiet: and_dropped([spooled, "0+7x101", "0+2x101"]),
    }
    .rule_in("agent")
    .and_for(given([spooled, "0+9x101", "0x101"]), "85")
    .but_not_for(given([spooled, "0+9x101", "0+1x101"]))
    // Begun anew with 500 that waited, of which none goes; then 30 are lost, which the sum alone would not show.
    .and_for(given(["0+10x20 0+10x80", "0x101", "500+10x20 500+10x40 900x2 910+10x36"]), "30")
    // The same without a loss, and one that ended as it began anew: 40 went out unseen.
    .but_not_for(given(["0+10x20 0+10x80", "0x101", "500+10x20 500+10x80"]))
    .but_not_for(given(["0+10x61 0+10x39", "0+9x61 0+10x39", "500+1x61 521x39"]))
}

fn at_the_collector() -> Rule {
    let given = |[accepted, aggregated, lag]: [&'static str; 3]| -> Given {
        vec![
            (of_collector("muster_server_events_accepted_total", ""), accepted),
            (of_collector("muster_server_events_aggregated_total", ""), aggregated),
            (of_collector("muster_server_aggregate_lag_records", ""), lag),
        ]
    };
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        // After a start, what was read again is counted and was not taken.
        expr: "(\n  muster_server_events_accepted_total - muster_server_events_aggregated_total > 0\n  or\n  (\n    \
               muster_server_events_accepted_total - muster_server_events_aggregated_total\n    - (\n      \
               muster_server_events_accepted_total offset 30m - muster_server_events_aggregated_total offset 30m\n    )\n    > 0\n    and\n    \
               resets(muster_server_events_accepted_total[30m]) + resets(muster_server_events_aggregated_total[30m]) == 0\n  )\n)\n\
               and\nmuster_server_aggregate_lag_records == 0",
        summary: BROKEN,
        description: "The collector {{ $labels.instance }} took {{ $value }} events more than it has counted, and nothing \
                      waits to be counted. If MusterEventsLost does not say why, this is a defect of Muster.",
        given: given(["0+10x101", "0+9x101", "0x101"]),
        at: "85m",
        labels: collector_labels(),
        value: "85",
        // What is missing waits.
        quiet: given(["0+10x101", "0+9x101", "1x101"]),
    }
    .rule_in("collector")
    // Begun anew: 500 were read again, and 30 of what came an hour later are missing.
    .and_for(given(["0+10x20 0+10x80", "0+10x20 500+10x40 900x2 910+10x36", "0x101"]), "30")
    .but_not_for(given(["0+10x20 0+10x80", "0+10x20 500+10x80", "0x101"]))
}

fn at_a_destination() -> Rule {
    let given = |pending, queued| {
        vec![
            of_destination("muster_destination_pending_items", "signal=\"logs\"", pending),
            of_destination("muster_destination_queued_records", "", queued),
        ]
    };
    Plain {
        name: "MusterConservationBroken",
        severity: Severity::Critical,
        hold: "15m",
        // Pending is what was accepted and neither delivered nor dropped. While a record waits it may be there; when none
        // does, it is lost. Under load the queue is empty now and then, and then so is what is pending.
        expr: "min_over_time(muster_destination_pending_items[30m]) > 0\nand on (job, instance, environment, destination)\n\
               min_over_time(muster_destination_queued_records[30m]) == 0",
        summary: BROKEN,
        description: "{{ $value }} {{ $labels.signal }} for {{ $labels.destination }} were accepted and neither delivered nor \
                      dropped, though no record waits. This is a defect of Muster.",
        given: given("0x20 3x70", "0x90"),
        at: "85m",
        labels: [destination_labels(), vec![("signal", "logs")]].concat(),
        value: "3",
        // They wait.
        quiet: given("0x20 3x70", "0x20 1x70"),
    }
    .rule_in("destination")
    .and_for(given("3 9 3 9 3 9 3 9 3 9 3x80", "0 2 0 2 0 2 0 2 0 2 0x80"), "3")
    // Busy and sound.
    .but_not_for(given("0x50 7 0 7 7 0 7 0 7 7 0 7 0 7 7 0 7 0 7 7 0 7 0 7 7 0 7 0 7 7 0 7 0 7 7 0", "0x50 1 0 1 1 0 1 0 1 1 0 1 0 1 1 0 1 0 1 1 0 1 0 1 1 0 1 0 1 1 0 1 0 1 1 0"))
}
