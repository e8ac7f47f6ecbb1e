//! The overview for those that read OTLP, described once and written for each of them.
//!
//! A [`Panel`] asks a [`Question`] about families of the catalogue; how it is asked is the destination's own language
//! ([`crate::datadog`], [`crate::newrelic`], [`crate::elastic`]). What may be asked follows from the type of the family:
//! of a counter how much it grew, of a gauge its newest readings, of a histogram a quantile. The names are those that
//! the exporter sends (`docs/otlp-export.md`): families as in the catalogue, the labels of their scope as attributes of
//! the resource, their own labels as attributes of the data point.

#[cfg(test)]
mod tests;

use metrics::catalogue::{self, Family};

/// What the dashboard is called everywhere.
pub(crate) const TITLE: &str = "Muster: Overview";
/// What it is for.
pub(crate) const DESCRIPTION: &str =
    "Coding agents of the whole fleet: who is there, runs and how they end, findings, cost and tokens.";
/// A machine that has said nothing for so long is not counted as there. Agents say something every minute.
pub(crate) const HEARD_MINUTES: u32 = 10;
/// Every watched source has it while its agent is heard, whatever its tool is.
pub(crate) const HEARTBEAT: &str = "muster_source_data_age_seconds";
/// Rows that a table or a list has at most.
pub(crate) const ROWS_MAX: u32 = 100;

/// Panels under a common title.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) panels: Vec<Panel>,
}

/// One picture.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// What it says and what to do about it.
    pub(crate) description: &'static str,
    pub(crate) show: Show,
    pub(crate) unit: Unit,
    pub(crate) question: Question,
    pub(crate) by: &'static [Dimension],
}

/// How a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// One large number.
    Number,
    /// One number for each group, the largest first.
    List,
    /// Lines over time.
    Lines,
    /// Bars over time on top of each other.
    Bars,
    /// A column for each of several readings.
    Table,
}

/// What a number is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    /// 0 to 1, shown in percent.
    Share,
    Seconds,
    Usd,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question {
    /// How many machines were heard.
    Machines,
    /// When each machine was heard last.
    LastHeard,
    /// How much a counter grew.
    Growth { family: &'static str, only: &'static [Filter] },
    /// The share of one part of a counter's growth in another.
    Share { family: &'static str, part: Filter, whole: Filter },
    /// The newest readings of a gauge, added up.
    Sum { family: &'static str },
    /// The largest reading of a gauge.
    Largest { family: &'static str },
    /// 95 of 100 are not larger.
    P95 { family: &'static str },
    /// The newest readings of several gauges side by side: title and family.
    Readings(&'static [(&'static str, &'static str)]),
}

/// What an attribute of data points must be, or must not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) label: &'static str,
    pub(crate) is: bool,
    pub(crate) value: &'static str,
}

/// What numbers are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    Team,
    User,
    Host,
    Project,
    /// A label of the family's own.
    Label(&'static str),
}

impl Dimension {
    /// The attribute that carries it, and whether it is one of the resource.
    pub(crate) fn attribute(self) -> (&'static str, bool) {
        match self {
            Dimension::Team => ("muster.team", true),
            Dimension::User => ("user.name", true),
            Dimension::Host => ("host.name", true),
            Dimension::Project => ("muster.project", true),
            Dimension::Label(label) => (label, false),
        }
    }
}

#[cfg(test)]
impl Question {
    /// The families that it is about.
    fn families(self) -> Vec<&'static str> {
        match self {
            Question::Machines | Question::LastHeard => vec![HEARTBEAT],
            Question::Growth { family, .. }
            | Question::Share { family, .. }
            | Question::Sum { family }
            | Question::Largest { family }
            | Question::P95 { family } => vec![family],
            Question::Readings(columns) => columns.iter().map(|(_, family)| *family).collect(),
        }
    }
}

/// The family in the catalogue.
pub(crate) fn family(name: &str) -> &'static Family {
    catalogue::find(name).expect("a test looks every name up").family()
}

/// What can be chosen for the whole dashboard: name and dimension.
pub(crate) const CHOICES: [(&str, Dimension); 4] = [
    ("team", Dimension::Team),
    ("user", Dimension::User),
    ("project", Dimension::Project),
    ("tool", Dimension::Label("tool")),
];

const TOOL: &[Dimension] = &[Dimension::Label("tool")];
const SUCCESS: Filter = Filter { label: "status", is: true, value: "success" };
const DID_SOMETHING: Filter = Filter { label: "status", is: false, value: "skipped" };
const FOUND: &[Filter] = &[Filter { label: "state", is: true, value: "found" }];

const fn growth(family: &'static str) -> Question {
    Question::Growth { family, only: &[] }
}

/// The dashboard.
pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section { title: "Fleet", panels: fleet() },
        Section { title: "Runs", panels: runs() },
        Section { title: "Findings and pushes", panels: findings() },
        Section { title: "Cost and tokens", panels: cost() },
        Section { title: "Sessions", panels: sessions() },
    ]
}

fn fleet() -> Vec<Panel> {
    vec![
        Panel {
            title: "Machines",
            description: "Machines whose agent was heard within the last 10 minutes. A laptop that sleeps is not among them.",
            show: Show::Number,
            unit: Unit::Count,
            question: Question::Machines,
            by: &[],
        },
        Panel {
            title: "Live sessions",
            description: "Sessions alive, by tool.",
            show: Show::List,
            unit: Unit::Count,
            question: Question::Sum { family: "muster_sessions_live" },
            by: TOOL,
        },
        Panel {
            title: "Active workers",
            description: "Agents of the tools that are at work, by tool.",
            show: Show::List,
            unit: Unit::Count,
            question: Question::Sum { family: "muster_workers_active" },
            by: TOOL,
        },
        Panel {
            title: "Machines over time",
            description: "Machines that were heard. A step down that stays is an agent that is gone.",
            show: Show::Lines,
            unit: Unit::Count,
            question: Question::Machines,
            by: &[],
        },
        Panel {
            title: "Machines, last heard",
            description: "When each machine was heard last, the longest silence first: agents that are gone are at the top.",
            show: Show::Table,
            unit: Unit::Count,
            question: Question::LastHeard,
            by: &[Dimension::Host],
        },
        Panel {
            title: "Oldest data",
            description: "Age of the newest data in each tool's own files, where it is oldest. An idle tool ages too.",
            show: Show::List,
            unit: Unit::Seconds,
            question: Question::Largest { family: HEARTBEAT },
            by: &[Dimension::Label("tool"), Dimension::Project],
        },
    ]
}

fn runs() -> Vec<Panel> {
    let duration = "muster_run_duration_seconds";
    vec![
        Panel {
            title: "Success rate",
            description: "Share of runs that succeeded, of those that did something. Below 99 % is a warning, below 98 % critical.",
            show: Show::List,
            unit: Unit::Share,
            question: Question::Share { family: "muster_runs_total", part: SUCCESS, whole: DID_SOMETHING },
            by: TOOL,
        },
        Panel {
            title: "P95 of runs",
            description: "95 of 100 runs are faster than this, by tool.",
            show: Show::List,
            unit: Unit::Seconds,
            question: Question::P95 { family: duration },
            by: TOOL,
        },
        Panel {
            title: "Runs by status",
            description: "Runs that ended, by how they ended.",
            show: Show::Bars,
            unit: Unit::Count,
            question: growth("muster_runs_total"),
            by: &[Dimension::Label("status")],
        },
        Panel {
            title: "P95 of runs over time",
            description: "95 of 100 runs are faster than this, by tool.",
            show: Show::Lines,
            unit: Unit::Seconds,
            question: Question::P95 { family: duration },
            by: TOOL,
        },
        Panel {
            title: "Longest queue",
            description: "Causes that wait for the busiest worker of each tool.",
            show: Show::Lines,
            unit: Unit::Count,
            question: Question::Largest { family: "muster_queue_depth" },
            by: TOOL,
        },
    ]
}

fn findings() -> Vec<Panel> {
    const SEVERITY: &[Dimension] = &[Dimension::Label("severity")];
    vec![
        Panel {
            title: "Findings that stand",
            description: "Findings that stand now, by severity. Critical and high ones should not wait.",
            show: Show::List,
            unit: Unit::Count,
            question: Question::Sum { family: "muster_active_findings" },
            by: SEVERITY,
        },
        Panel {
            title: "Findings reported",
            description: "Findings that runs reported, by severity; the same one counts again when it is reported again.",
            show: Show::Bars,
            unit: Unit::Count,
            question: Question::Growth { family: "muster_findings_total", only: FOUND },
            by: SEVERITY,
        },
        Panel {
            title: "Pushes checked",
            description: "Pushes and commits that a gate checked, by result. Empty where no git hooks are installed.",
            show: Show::Bars,
            unit: Unit::Count,
            question: growth("muster_pushes_checked_total"),
            by: &[Dimension::Label("result")],
        },
    ]
}

fn cost() -> Vec<Panel> {
    const MODEL: Dimension = Dimension::Label("model");
    vec![
        Panel {
            title: "Known cost by model",
            description: "What tools reported, or what their tokens cost by price list (source); each piece of work once.",
            show: Show::List,
            unit: Unit::Usd,
            question: growth("muster_usage_cost_usd_total"),
            by: &[MODEL, Dimension::Label("source")],
        },
        Panel {
            title: "Work of unknown cost by model",
            description: "Pieces of work whose cost nobody told: the known cost is too low by theirs. Empty when all is known.",
            show: Show::List,
            unit: Unit::Count,
            question: growth("muster_usage_cost_unknown_total"),
            by: &[MODEL],
        },
        Panel {
            title: "Tokens by model and kind",
            description: "Tokens by model and kind; the kinds do not overlap.",
            show: Show::List,
            unit: Unit::Count,
            question: growth("muster_usage_tokens_total"),
            by: &[MODEL, Dimension::Label("kind")],
        },
        Panel {
            title: "Known cost over time",
            description: "What tools reported, or what their tokens cost by price list, by team.",
            show: Show::Bars,
            unit: Unit::Usd,
            question: growth("muster_usage_cost_usd_total"),
            by: &[Dimension::Team],
        },
        Panel {
            title: "Running totals of the tools",
            description: "The tools' own running totals, which fall when a tool starts over.",
            show: Show::List,
            unit: Unit::Usd,
            question: Question::Sum { family: "muster_cost_usd" },
            by: &[Dimension::Label("tool"), Dimension::Project],
        },
    ]
}

fn sessions() -> Vec<Panel> {
    vec![Panel {
        title: "Sessions",
        description: "Every project that is watched: state (0 stopped, 1 running, 2 paused), iteration, seconds since its \
                      session started, and age of its newest data.",
        show: Show::Table,
        unit: Unit::Count,
        question: Question::Readings(&[
            ("state", "muster_session_status"),
            ("iteration", "muster_session_iteration"),
            ("uptime_seconds", "muster_session_uptime_seconds"),
            ("data_age_seconds", HEARTBEAT),
        ]),
        by: &[Dimension::Team, Dimension::User, Dimension::Project, Dimension::Label("tool")],
    }]
}
