//! DevLoop's guide, dashboard 2: how DevLoop itself fares.

use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};
use super::{DEVLOOP_SCOPE, expressions, palette};

/// 100 MB/s (guide of DevLoop, "Resource SLI").
const DISK: Thresholds = Thresholds::up(&[(100e6, Color::Red)]);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "devloop-system-health",
        title: "DevLoop: System Health",
        description: "What DevLoop uses of the machine, and whether it keeps up.",
        tags: &["devloop"],
        refresh: "15s",
        from: "now-6h",
        variables: DEVLOOP_SCOPE,
        rows: vec![
            Row::new("Resources", [cpu(), memory(), files(), agents(), disk()]),
            Row::new("Agents", [table()]),
            Row::new("Events", [events(), latency(), queue(), changes()]),
        ],
    }
}

fn cpu() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "CPU usage",
        Unit::Percent,
        "CPU of DevLoop's process as it measured it; 100 is one core. The newest number stays while DevLoop is idle.",
    )
    .query("{{user}} {{project}}", "max by (user, project) (devloop_system_cpu_percent{@})")
    .range(0.0, 100.0)
    .thresholds(palette::CPU)
}

fn memory() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "Memory usage",
        Unit::Gibibytes,
        "Memory of DevLoop's process as it measured it. Above 500 MB is a warning, above 1 GB critical.",
    )
    .query("{{user}} {{project}}", "max by (user, project) (devloop_system_memory_mb{@}) / 1024")
    .range(0.0, 2.0)
    .decimals(2)
    .thresholds(palette::MEMORY_GB)
}

fn files() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Watched files",
        Unit::Count,
        "Files that DevLoop watches, counted with its own rule of what to ignore.",
    )
    .query("Files", "sum(devloop_files_watched{@})")
    .size(6, 6)
}

fn agents() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Agents",
        Unit::Number,
        "Agents that have run, each counted once, whatever the number of their projects and statuses.",
    )
    .query("Agents", "count(count by (agent) (devloop_agent_runs_total{@}))")
    .size(6, 6)
}

fn disk() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Disk I/O",
        Unit::BytesPerSecond,
        "Bytes read and written a second. DevLoop measures the whole machine, not itself. The service level is below \
         100 MB/s.",
    )
    .query("{{user}} {{project}}", "sum by (user, project) (rate(devloop_disk_io_bytes{@}[5m]))")
    .thresholds(DISK)
    .empty_by_nature("DevLoop writes disk figures only where its performance monitor is on")
    .size(24, 7)
}

fn table() -> Panel {
    let all = "devloop_agent_runs_total{@}";
    let success = expressions::share("agent", "devloop_agent_runs_total{@, status=\"success\"}", all, "1d");
    Panel::new(
        PanelKind::Table,
        "Agent stats",
        Unit::Number,
        "Runs and success rate of each agent over the last day.",
    )
    .column("Runs", Unit::Number, "round(sum by (agent) (increase(devloop_agent_runs_total{@}[1d])))")
    .column("Success rate", Unit::Share, success)
    .column_thresholds(palette::SUCCESS)
    .column("Queue depth", Unit::Number, "max by (agent) (devloop_agent_queue_depth{@})")
    .column_thresholds(palette::QUEUE)
}

fn events() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Events processed",
        Unit::PerMinute,
        "Events on DevLoop's bus a minute. The guide's level of 100 a minute is more than one DevLoop can do, so no line is \
         drawn for it.",
    )
    .query("{{user}} {{project}}", "sum by (user, project) (rate(devloop_events_processed_total{@}[5m])) * 60")
}

fn latency() -> Panel {
    let quantile = |q| expressions::quantile(q, "", "devloop_event_latency_ms", "@", "5m");
    Panel::new(
        PanelKind::Lines,
        "Event latency",
        Unit::Milliseconds,
        "Time from an event to its being stored.",
    )
    .query("P50", quantile("0.5"))
    .query("P95", quantile("0.95"))
    .query("P99", quantile("0.99"))
    .thresholds(palette::P95_MS)
}

fn queue() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Event queue size",
        Unit::Number,
        "Events that wait for all agents together. Growing without end means that agents are slower than saves.",
    )
    .query("{{user}} {{project}}", "sum by (user, project) (devloop_event_queue_size{@})")
    .thresholds(palette::QUEUE)
}

fn changes() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "File changes",
        Unit::PerMinute,
        "File changes that DevLoop saw a minute, caches of tools and repeated saves included.",
    )
    .query("{{user}} {{project}}", "sum by (user, project) (rate(devloop_files_changed_total{@}[5m])) * 60")
}
