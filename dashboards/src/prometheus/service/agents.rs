//! The agents: as the collector sees them, and as their own pages tell where these are scraped.

use super::super::rule::{
    Given, Labels, agent_labels, collector_labels, of_agent, of_collector, of_project, project_labels,
};
use super::{Plain, Rule, Severity};

pub(super) fn alerts() -> Vec<Rule> {
    vec![
        gone(),
        team_silent(),
        many_gone(),
        disconnected(),
        spool_filling(),
        spool_refusing(),
        dropping(),
        unreadable(),
        offer_rejected(),
        budget_exceeded(),
    ]
}

fn of_page(name: &str, values: &'static str) -> (String, &'static str) {
    (of_agent(name, ""), values)
}

fn gone() -> Rule {
    let age = of_project("muster_source_data_age_seconds", "tool=\"loki\"");
    Plain {
        name: "MusterAgentGone",
        severity: Severity::Info,
        hold: "10m",
        expr: "group by (environment, team, user, host) (present_over_time(muster_source_data_age_seconds[1h]))\n\
               unless\ngroup by (environment, team, user, host) (muster_source_data_age_seconds)\n\
               and on (environment)\ngroup by (environment) (up{job=\"muster\"} == 1)",
        summary: "The agent of {{ $labels.user }} on {{ $labels.host }} is gone",
        description: "It was heard within the last hour and has been silent for 15 minutes. A laptop that was closed looks \
                      the same.",
        given: vec![(age.clone(), "5x10 stale"), (of_collector("up", ""), "1x40")],
        at: "25m",
        labels: vec![("environment", "production"), ("team", "core"), ("user", "dana"), ("host", "laptop")],
        value: "1",
        // It is the collector that is gone.
        quiet: vec![(age, "5x10 stale"), (of_collector("up", ""), "1x10 0x30")],
    }
    .rule()
    .but_not_for(vec![(of_project("muster_source_data_age_seconds", "tool=\"loki\""), "5x40"), (of_collector("up", ""), "1x40")])
}

fn team_silent() -> Rule {
    let age = |user: &str, values| {
        let series = of_project("muster_source_data_age_seconds", "tool=\"loki\"");
        (series.replace("\"dana\"", &format!("\"{user}\"")), values)
    };
    let up = |values| (of_collector("up", ""), values);
    Plain {
        name: "MusterTeamSilent",
        severity: Severity::Warning,
        hold: "10m",
        expr: "group by (environment, team) (present_over_time(muster_source_data_age_seconds[1h]))\n\
               unless\ngroup by (environment, team) (muster_source_data_age_seconds)\n\
               and on (environment)\ngroup by (environment) (up{job=\"muster\"} == 1)",
        summary: "No agent of team {{ $labels.team }} is heard any more",
        description: "The last agent of team {{ $labels.team }} in {{ $labels.environment }} went silent within the last hour. \
                      At the end of a day that is no fault.",
        given: vec![age("dana", "5x10 stale"), age("kim", "5x5 stale"), up("1x40")],
        at: "25m",
        labels: vec![("environment", "production"), ("team", "core")],
        value: "1",
        // One is left.
        quiet: vec![age("dana", "5x10 stale"), age("kim", "5x40"), up("1x40")],
    }
    .rule()
    .but_not_for(vec![age("dana", "5x10 stale"), up("1x10 0x30")])
}

fn many_gone() -> Rule {
    let connected = of_collector("muster_server_agents", "state=\"connected\"");
    Plain {
        name: "MusterAgentsGone",
        severity: Severity::Critical,
        hold: "5m",
        expr: "muster_server_agents{state=\"connected\"}\n< 0.5 * max_over_time(muster_server_agents{state=\"connected\"}[30m])\n\
               and\nmax_over_time(muster_server_agents{state=\"connected\"}[30m]) >= 5",
        summary: "Half of the agents of {{ $labels.instance }} went away within 30 minutes",
        description: "{{ $value }} agents are connected, less than half of what there were half an hour ago. A network, a \
                      certificate or a revoked token is likelier than so many closed laptops.",
        given: vec![(connected.clone(), "20x10 3x20")],
        at: "20m",
        labels: [collector_labels(), vec![("state", "connected")]].concat(),
        value: "3",
        // Four of four is lunch.
        quiet: vec![(connected, "4x10 0x20")],
    }
    .rule()
    .but_not_for(vec![(of_collector("muster_server_agents", "state=\"connected\""), "20x10 12x20")])
    .and_for(vec![(of_collector("muster_server_agents", "state=\"connected\""), "6x10 2x20")], "2")
}

fn disconnected() -> Rule {
    let name = "muster_agent_connected";
    Plain {
        name: "MusterAgentDisconnected",
        severity: Severity::Warning,
        hold: "15m",
        expr: "muster_agent_connected == 0",
        summary: "The agent {{ $labels.instance }} does not reach its collector",
        description: "No stream to the collector has been open for 15 minutes. The agent spools.",
        given: vec![of_page(name, "0x30")],
        at: "20m",
        labels: agent_labels(),
        value: "0",
        quiet: vec![of_page(name, "0x10 1 0x20")],
    }
    .rule()
}

fn spool_filling() -> Rule {
    let given = |bytes, queued| {
        vec![of_page("muster_agent_spool_bytes", bytes), of_page("muster_agent_events_queued", queued)]
    };
    Plain {
        name: "MusterSpoolFilling",
        severity: Severity::Warning,
        hold: "10m",
        // 80 % of agent.spool.bytes_max as it comes, 1 GiB; or growing beyond it within 4 h, from what is kept anyway on.
        expr: "(\n  muster_agent_spool_bytes > 858993459\n  or\n  predict_linear(muster_agent_spool_bytes[1h], 4 * 3600) > 1073741824\n  \
               and\n  muster_agent_spool_bytes > 268435456\n)\nand\nmuster_agent_events_queued > 0",
        summary: "The spool of {{ $labels.instance }} fills up",
        description: "Events wait in the spool of {{ $labels.instance }} and it is at 80 % of 1 GiB, or will be full within 4 \
                      hours. When it is full, sources wait or the oldest events are dropped, as full_policy says.",
        given: given("0+10000000x60", "0+1000x60"),
        at: "50m",
        labels: agent_labels(),
        value: "",
        // Large because acknowledged events are kept.
        quiet: given("900000000x60", "0x60"),
    }
    .rule()
    .and_for(given("900000000x60", "5x60"), "")
    // It grows, and is small.
    .but_not_for(given("0+5000000x60", "0+1000x60"))
    // It would be full in twelve hours; it stands.
    .but_not_for(given("300000000+1000000x60", "5x60"))
    .but_not_for(given("500000000x60", "5x60"))
}

fn spool_refusing() -> Rule {
    let name = "muster_agent_spool_refusals_total";
    Plain {
        name: "MusterSpoolRefusing",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_agent_spool_refusals_total[10m]) > 0",
        summary: "The spool of {{ $labels.instance }} takes nothing",
        description: "The spool is full, its disk is full, or a write failed. Sources wait: what tools overwrite meanwhile is \
                      not seen.",
        given: vec![of_page(name, "0x5 0+1x10")],
        at: "12m",
        labels: agent_labels(),
        value: "",
        quiet: vec![of_page(name, "9x20")],
    }
    .rule()
}

fn dropping() -> Rule {
    let dropped = of_agent("muster_agent_events_dropped_total", "reason=\"spool_full\"");
    Plain {
        name: "MusterAgentDropsEvents",
        severity: Severity::Critical,
        hold: "",
        expr: "increase(muster_agent_events_dropped_total[15m]) > 0\nor\nmuster_agent_events_dropped_total > 0\nunless\n\
               muster_agent_events_dropped_total offset 15m",
        summary: "The agent {{ $labels.instance }} drops events ({{ $labels.reason }})",
        description: "Events of the last 15 minutes are lost, for the reason {{ $labels.reason }}. They are counted, and they \
                      will not come.",
        given: vec![(dropped.clone(), "_x20 17x10")],
        at: "22m",
        labels: [agent_labels(), vec![("reason", "spool_full")]].concat(),
        value: "",
        quiet: vec![(dropped, "17x30")],
    }
    .rule()
    .and_for(vec![(of_agent("muster_agent_events_dropped_total", "reason=\"spool_full\""), "17+1x30")], "")
}

fn unreadable() -> Rule {
    let of_tool = |values| -> Given {
        vec![(of_project("muster_source_parse_errors_total", "tool=\"devloop\""), values)]
    };
    Plain {
        name: "MusterSourceUnreadable",
        severity: Severity::Warning,
        hold: "15m",
        expr: "increase(muster_source_parse_errors_total[15m]) > 0",
        summary: "Records of {{ $labels.tool }} in {{ $labels.project }} cannot be understood",
        description: "For half an hour the agent on {{ $labels.host }} has met records of {{ $labels.tool }} that it cannot \
                      parse. Figures of this project are too low.",
        given: of_tool("0+1x60"),
        at: "30m",
        labels: with_tool("devloop"),
        value: "",
        quiet: of_tool("0x10 1x50"),
    }
    .rule()
}

fn offer_rejected() -> Rule {
    let rejected = |values| {
        vec![(of_collector("muster_server_agent_configurations", "state=\"rejected\""), values)]
    };
    Plain {
        name: "MusterAgentsRejectConfiguration",
        severity: Severity::Warning,
        hold: "10m",
        expr: "muster_server_agent_configurations{state=\"rejected\"} > 0",
        summary: "Agents refuse the configuration that {{ $labels.instance }} offers",
        description: "{{ $value }} connected agents refused what they were offered and go on with what they had.",
        given: rejected("0x5 2x20"),
        at: "20m",
        labels: [collector_labels(), vec![("state", "rejected")]].concat(),
        value: "2",
        // Tried again, and taken.
        quiet: rejected("0x5 2x5 0x20"),
    }
    .rule()
}

fn budget_exceeded() -> Rule {
    let exceeded = |values| vec![(of_project("muster_budget_exceeded", "tool=\"loki\""), values)];
    Plain {
        name: "MusterBudgetExceeded",
        severity: Severity::Warning,
        hold: "",
        expr: "muster_budget_exceeded == 1",
        summary: "{{ $labels.tool }} in {{ $labels.project }} has used up its budget",
        description: "{{ $labels.tool }} of {{ $labels.user }} on {{ $labels.host }} says that its budget is used up.",
        given: exceeded("0x5 1x10"),
        at: "10m",
        labels: with_tool("loki"),
        value: "1",
        quiet: exceeded("0x20"),
    }
    .rule()
}

fn with_tool(tool: &'static str) -> Labels {
    [project_labels(), vec![("tool", tool)]].concat()
}
