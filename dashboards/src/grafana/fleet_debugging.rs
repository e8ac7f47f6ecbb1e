//! Tier 4: what is wrong? For those who look for it.

use super::model::{Color, Dashboard, Mapping, Panel, PanelKind, Row, Thresholds, Unit};
use super::{FLEET_SCOPE, expressions, palette};

const SOUND: &str = "stays empty while nothing is wrong";
const NO_DESTINATION: &str = "no destination is configured";
const NOT_SCRAPED: &str = "only where the agents' own pages are scraped besides the collector's";

const UP: &[Mapping] = &[
    Mapping { value: 0, text: "Down", color: Color::Red },
    Mapping { value: 1, text: "Up", color: Color::Green },
];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "muster-debugging",
        title: "Muster 4: Debugging",
        description: "What is wrong? Errors, sources, the collector and the agents in detail. Prometheus keeps no log lines: \
                      a destination that takes logs has the events behind these numbers.",
        tags: &["fleet"],
        refresh: "5s",
        from: "now-1h",
        variables: FLEET_SCOPE,
        rows: vec![
            Row::new("Errors", [errors(), events_by_name()]),
            Row::new("Sources", [sources(), applied(), reading(), unknown()]),
            Row::new("Collector: agents", [batches(), accepted(), acks(), streams(), refused(), missing()]),
            Row::new(
                "Collector: journal",
                [journal(), journal_rate(), lag(), damage(), housekeeping(), series()],
            ),
            Row::new("Collector: OTLP", [otlp_requests(), otlp_items(), otlp_memory()]),
            Row::new("Collector: destinations", [destinations(), delivered(), dropped(), conservation()]),
            Row::new("Agents", [agent_queue(), agent_spool(), agent_drops()]),
        ],
    }
}

fn errors() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Runs that failed",
        Unit::PerMinute,
        "By tool, agent and how they ended, a minute.",
    )
    .query(
        "{{tool}} {{agent}} {{status}}",
        "sum by (tool, agent, status) (rate(muster_runs_total{@tool, status=~\"failure|error\"}[5m])) * 60",
    )
}

fn events_by_name() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Other events of tools",
        Unit::PerMinute,
        "The ten most frequent by name, a minute: what a tool logs and has no figure of its own.",
    )
    .query(
        "{{tool}} {{event}}",
        "topk(10, sum by (tool, event) (rate(muster_tool_events_total{@tool}[5m])) * 60)",
    )
}

fn sources() -> Panel {
    let by = "by (user, host, project, tool)";
    let sum = |family: &str| format!("sum {by} ({family}{{@tool}})");
    Panel::new(
        PanelKind::Table,
        "Sources",
        Unit::Number,
        "What is read where. Old data under a live session means that the tool hangs or that its files cannot be read.",
    )
    .column("State", Unit::Number, format!("max {by} (muster_session_status{{@tool}})"))
    .column_mappings(palette::SESSION)
    .column("Data age", Unit::Seconds, format!("max {by} (muster_source_data_age_seconds{{@tool}})"))
    .column_thresholds(Thresholds::up(&[(300.0, Color::Yellow), (1_800.0, Color::Red)]))
    .column("Events", Unit::Count, sum("muster_events_applied_total"))
    .column("Parse errors", Unit::Number, sum("muster_source_parse_errors_total"))
    .column_thresholds(palette::NONE_WANTED)
    .column("Read errors", Unit::Number, sum("muster_source_read_errors_total"))
    .column_thresholds(palette::NONE_WANTED)
    .column("Skipped", Unit::Number, sum("muster_source_records_skipped_total"))
    .column_thresholds(palette::NONE_WANTED)
    .column("Rescans", Unit::Number, sum("muster_source_rescans_total"))
    .size(24, 10)
}

fn applied() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Events counted",
        Unit::PerSecond,
        "Events a second that became numbers, by tool.",
    )
    .query("{{tool}}", "sum by (tool) (rate(muster_events_applied_total{@tool}[5m]))")
    .query(
        "{{tool}} over OTLP: {{signal}}",
        "sum by (tool, signal) (rate(muster_otlp_items_total{@tool}[5m]))",
    )
    .query_empty_by_nature("no tool sends OTLP")
    .size(8, 8)
}

fn reading() -> Panel {
    let increase = |family: &str| format!("sum by (tool) (increase({family}{{@tool}}[5m]))");
    Panel::new(
        PanelKind::Lines,
        "Trouble with reading",
        Unit::Number,
        "In the 5 minutes before each point: records that could not be understood, files that could not be read, records \
         passed over for their size, and times that everything was read anew since notifications were lost.",
    )
    .query("{{tool}} parse errors", increase("muster_source_parse_errors_total"))
    .query("{{tool}} read errors", increase("muster_source_read_errors_total"))
    .query("{{tool}} skipped", increase("muster_source_records_skipped_total"))
    .query("{{tool}} rescans", increase("muster_source_rescans_total"))
    .empty_by_nature(SOUND)
    .size(8, 8)
}

fn unknown() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Events not counted one by one",
        Unit::Number,
        "In the 5 minutes before each point: events of a kind that this version does not know (the collector is older than \
         an agent), events that others stand for since their tool is sampled, and facts without room for a series.",
    )
    .query("{{tool}} unknown", "sum by (tool) (increase(muster_unknown_events_total{@tool}[5m]))")
    .query("{{tool}} extrapolated", "sum by (tool) (increase(muster_events_extrapolated_total{@tool}[5m]))")
    .query("{{family}} overflow", "sum by (family) (increase(muster_series_overflow_total{@}[5m]))")
    .empty_by_nature(SOUND)
    .size(8, 8)
}

fn batches() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Batches by outcome",
        Unit::PerSecond,
        "appended is the rule; duplicate follows a cut connection; throttled, discarded and unavailable come again; \
         rejected is a fault of an agent.",
    )
    .query("{{outcome}}", "sum by (outcome) (rate(muster_server_batches_total[5m]))")
    .size(8, 8)
}

fn accepted() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Accepted",
        Unit::PerSecond,
        "Events a second that became durable for the first time.",
    )
    .query("events", "sum(rate(muster_server_events_accepted_total[5m]))")
    .size(8, 8)
}

fn acks() -> Panel {
    let quantile = |q| expressions::quantile(q, "", "muster_server_ack", "", "5m");
    Panel::new(
        PanelKind::Lines,
        "Time to acknowledge",
        Unit::Seconds,
        "From a batch's arrival to its durable acknowledgement. Slow disks show here first.",
    )
    .query("P50", quantile("0.5"))
    .query("P99", quantile("0.99"))
    .thresholds(Thresholds::up(&[(0.25, Color::Yellow), (1.0, Color::Red)]))
    .size(8, 8)
}

fn streams() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Streams",
        Unit::Number,
        "Open streams of agents, and those ended by the collector, by reason.",
    )
    .query("open", "sum(muster_server_streams)")
    .query("ended: {{reason}}", "sum by (reason) (increase(muster_server_streams_ended_total[5m])) > 0")
    .query_empty_by_nature(SOUND)
    .size(8, 8)
}

fn refused() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Refused",
        Unit::Number,
        "Connections and credentials refused in the 5 minutes before each point, by reason. 1 under paused: nothing is \
         accepted for want of descriptors. Agents under configuration: they refuse the one that they are offered.",
    )
    .query("connection: {{reason}}", "sum by (reason) (increase(muster_server_connections_refused_total[5m])) > 0")
    .query("credential: {{reason}}", "sum by (reason) (increase(muster_server_credentials_refused_total[5m])) > 0")
    .query("paused: {{door}}", "max by (door) (muster_server_accept_paused) > 0")
    .query(
        "configuration: {{state}}",
        "sum by (state) (muster_server_agent_configurations{state=\"rejected\"}) > 0",
    )
    .empty_by_nature(SOUND)
    .size(8, 8)
}

fn missing() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Events lost before they came",
        Unit::Number,
        "Events that agents could no longer send when they connected: their spool was full for too long, or was deleted.",
    )
    .query("events", "sum(muster_server_events_missing_total)")
    .thresholds(palette::NONE_ALLOWED)
    .size(8, 8)
}

fn journal() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Journal size",
        Unit::Bytes,
        "Bytes of the journal on disk, and those that wait for the disk.",
    )
    .query("on disk", "sum(muster_server_journal_bytes)")
    .query("waiting", "sum(muster_server_journal_queued_bytes)")
    .size(8, 8)
}

fn journal_rate() -> Panel {
    Panel::new(PanelKind::Lines, "Journal writes", Unit::BytesPerSecond, "Bytes a second made durable.")
        .query("appended", "sum(rate(muster_server_journal_appended_bytes_total[5m]))")
        .size(8, 8)
}

fn lag() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Records not yet counted",
        Unit::Number,
        "Durable records that the numbers on these pages do not include yet. More than a few means that the collector has \
         too little CPU.",
    )
    .query("records", "sum(muster_server_aggregate_lag_records)")
    .thresholds(Thresholds::up(&[(1_000.0, Color::Yellow), (100_000.0, Color::Red)]))
    .size(8, 8)
}

fn damage() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Journal damage",
        Unit::Number,
        "Records that are damaged, that no segment has, that retention deleted unread, that a reader passed over; and how \
         often the disk was full. All are 0 on a sound disk.",
    )
    .query("damaged", "sum(muster_server_journal_quarantined_records)")
    .query("missing", "sum(muster_server_journal_missing_records) + sum(muster_server_records_missing_total)")
    .query("deleted unread", "sum(muster_server_journal_dropped_records_total)")
    .query("passed over", "sum(muster_server_records_passed_over_total)")
    .query("disk full", "sum(muster_server_journal_disk_full_total)")
    .thresholds(palette::NONE_ALLOWED)
    .size(8, 8)
}

fn housekeeping() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Snapshots and reloads",
        Unit::Number,
        "In the 5 minutes before each point. A refused reload leaves the old configuration, certificate or tokens in use.",
    )
    .query("snapshot {{result}}", "sum by (result) (increase(muster_server_snapshots_total[5m]))")
    .query("reload {{result}}", "sum by (result) (increase(muster_server_reloads_total[5m])) > 0")
    .query_empty_by_nature("nothing was reloaded")
    .size(8, 8)
}

fn series() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Series",
        Unit::Count,
        "Series that the collector keeps for all teams together.",
    )
    .query("series", "sum(muster_server_series)")
    .size(8, 8)
}

fn otlp_requests() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "OTLP requests",
        Unit::PerSecond,
        "By outcome. overloaded and unavailable are sent again; invalid and unsupported are faults of the sender.",
    )
    .query(
        "{{transport}} {{signal}} {{outcome}}",
        "sum by (transport, signal, outcome) (rate(muster_otlp_requests_total[5m]))",
    )
    .size(8, 8)
}

fn otlp_items() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "OTLP items",
        Unit::PerSecond,
        "Log records, data points and spans that became durable, and those left out of requests that were taken.",
    )
    .query("{{signal}}", "sum by (signal) (rate(muster_otlp_items_accepted_total[5m]))")
    .query("{{signal}} left out: {{reason}}", "sum by (signal, reason) (rate(muster_otlp_items_rejected_total[5m]))")
    .size(8, 8)
}

fn otlp_memory() -> Panel {
    Panel::new(PanelKind::Lines, "OTLP memory", Unit::Bytes, "Bytes that OTLP requests under way hold.")
        .query("bytes", "sum(muster_otlp_memory_bytes)")
        .size(8, 8)
}

fn destinations() -> Panel {
    let sum = |name: &str| format!("sum by (destination) (muster_destination_{name})");
    Panel::new(
        PanelKind::Table,
        "Destinations",
        Unit::Number,
        "Where telemetry is forwarded to: whether the last request was taken, what waits and for how long. \
         `muster destination list` says why one is down.",
    )
    .column("Up", Unit::Number, "min by (destination) (muster_destination_up)")
    .column_mappings(UP)
    .column("Records waiting", Unit::Count, sum("queued_records"))
    .column("Bytes waiting", Unit::Bytes, sum("queued_bytes"))
    .column("Oldest waits", Unit::Seconds, "max by (destination) (muster_destination_oldest_age_seconds)")
    .column_thresholds(palette::BEHIND)
    .column("Delivered", Unit::Count, sum("delivered_items_total"))
    .column("Filtered", Unit::Count, sum("filtered_items_total"))
    .column(
        "Lost",
        Unit::Count,
        "sum by (destination) (muster_destination_dropped_items_total{reason!~\"baseline|merged|no_value\"})",
    )
    .column_thresholds(palette::NONE_ALLOWED)
    .empty_by_nature(NO_DESTINATION)
    .size(24, 7)
}

fn delivered() -> Panel {
    Panel::new(PanelKind::Lines, "Requests to destinations", Unit::PerSecond, "By destination and outcome.")
        .query(
            "{{destination}} {{outcome}}",
            "sum by (destination, outcome) (rate(muster_destination_requests_total[5m]))",
        )
        .empty_by_nature(NO_DESTINATION)
        .size(8, 8)
}

fn dropped() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Dropped on the way out",
        Unit::Number,
        "Items that a destination will not get, in the 5 minutes before each point, by reason. Refused requests are kept as \
         dead letters. baseline, merged and no_value are no loss: what they said is in other points.",
    )
    .query(
        "{{destination}} {{signal}} {{reason}}",
        "sum by (destination, signal, reason) (increase(muster_destination_dropped_items_total[5m]))",
    )
    .empty_by_nature(SOUND)
    .size(8, 8)
}

fn conservation() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Items on their way",
        Unit::Number,
        "Accepted for a destination and neither delivered nor dropped. It follows what waits and comes back to 0: what stays \
         while no record waits is lost by a defect of Muster.",
    )
    .query("{{destination}} {{signal}}", "sum by (destination, signal) (muster_destination_pending_items)")
    .empty_by_nature(NO_DESTINATION)
    .size(8, 8)
}

fn agent_queue() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Events in spools",
        Unit::Count,
        "Events that each agent could not send yet.",
    )
    .query("{{instance}}", "sum by (instance) (muster_agent_events_queued)")
    .empty_by_nature(NOT_SCRAPED)
    .size(8, 8)
}

fn agent_spool() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Spool size",
        Unit::Bytes,
        "Bytes of each agent's spool, acknowledged ones included.",
    )
    .query("{{instance}}", "sum by (instance) (muster_agent_spool_bytes)")
    .empty_by_nature(NOT_SCRAPED)
    .size(8, 8)
}

fn agent_drops() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Dropped by agents",
        Unit::Number,
        "Events dropped in the 5 minutes before each point, by reason.",
    )
    .query(
        "{{instance}} {{reason}}",
        "sum by (instance, reason) (increase(muster_agent_events_dropped_total[5m]))",
    )
    .empty_by_nature(NOT_SCRAPED)
    .size(8, 8)
}
