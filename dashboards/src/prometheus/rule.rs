//! What a recording rule and an alert are here: the rule, and at least one case in which it speaks and one in which it
//! does not.
//!
//! A rule cannot be written down without its two cases, so none can be without a test.

/// Series that a case is given: a selector and values as `promtool` reads them, a minute apart.
pub(super) type Given = Vec<(String, &'static str)>;
/// Labels, in any order.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// A file of rules.
#[derive(Debug, Clone)]
pub(super) struct RuleFile {
    /// Its name, without `.yml`.
    pub(super) name: &'static str,
    /// What it is about, in a line.
    pub(super) about: &'static str,
    /// Its groups.
    pub(super) groups: Vec<Group>,
}

/// Rules that are evaluated one after the other.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Unique in its file.
    pub(super) name: &'static str,
    /// How often. Below the five minutes after which Prometheus forgets a sample.
    pub(super) interval: &'static str,
    /// In the order of evaluation.
    pub(super) rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    /// Gives a name to what an expression answers.
    Record(Record),
    /// Tells somebody.
    Alert(Alert),
}

/// A recording rule.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// What it makes; one of [`super::recorded`].
    pub(super) name: &'static str,
    /// PromQL.
    pub(super) expr: String,
    /// What gives a value ...
    pub(super) given: Given,
    /// ... when ...
    pub(super) at: &'static str,
    /// ... and the labels and the value, to the fourth decimal.
    pub(super) gives: (Labels, &'static str),
    /// What gives none at the same time.
    pub(super) quiet: Given,
}

/// An alert.
#[derive(Debug, Clone)]
pub(super) struct Alert {
    /// As the guide has it, if it does.
    pub(super) name: &'static str,
    /// Who has to be told.
    pub(super) severity: Severity,
    /// How long the expression must hold; empty: not at all.
    pub(super) hold: &'static str,
    /// PromQL.
    pub(super) expr: String,
    /// Labels besides the severity.
    pub(super) labels: Vec<(&'static str, String)>,
    /// One line for a phone.
    pub(super) summary: &'static str,
    /// What is the matter, with the numbers.
    pub(super) description: String,
    /// What makes it fire.
    pub(super) fires: Firing,
    /// What leaves it quiet at the same time.
    pub(super) quiet: Given,
    /// More of either kind, for expressions with several ways: with a value it fires.
    pub(super) more: Vec<(Given, Option<&'static str>)>,
}

impl Rule {
    /// An alert that fires for this too, with the same labels and this `$value`.
    pub(super) fn and_for(self, given: Given, value: &'static str) -> Self {
        self.with_case(given, Some(value))
    }

    /// An alert that is quiet for this too.
    pub(super) fn but_not_for(self, given: Given) -> Self {
        self.with_case(given, None)
    }

    fn with_case(mut self, given: Given, value: Option<&'static str>) -> Self {
        if let Rule::Alert(alert) = &mut self {
            alert.more.push((given, value));
        }
        self
    }
}

/// A case in which an alert fires.
#[derive(Debug, Clone)]
pub(super) struct Firing {
    /// The series.
    pub(super) given: Given,
    /// When.
    pub(super) at: &'static str,
    /// Labels of the alert, without its name and its own labels.
    pub(super) labels: Labels,
    /// What `$value` reads in its texts.
    pub(super) value: &'static str,
}

/// The guide's three degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Page on-call.
    Critical,
    /// A ticket.
    Warning,
    /// For the log.
    Info,
}

impl Severity {
    /// The value of the label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// A series of the catalogue as the collector's page has it, with more labels.
pub(super) fn of_project(name: &str, more: &str) -> String {
    of_project_in("production", name, more)
}

/// The same in an environment.
pub(super) fn of_project_in(environment: &str, name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        "{name}{{job=\"muster\",instance=\"collector:9464\",environment=\"{environment}\",team=\"core\",\
         user=\"dana\",host=\"laptop\",project=\"shop\"{comma}{more}}}"
    )
}

/// Its labels in an alert that keeps them all.
pub(super) fn project_labels() -> Labels {
    let mut labels = collector_labels();
    labels.extend([("team", "core"), ("user", "dana"), ("host", "laptop"), ("project", "shop")]);
    labels
}

/// Its labels where rules sum by project.
pub(super) fn summed_labels(environment: &'static str) -> Labels {
    vec![("environment", environment), ("team", "core"), ("project", "shop")]
}

/// An own figure of the collector.
pub(super) fn of_collector(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{name}{{job=\"muster\",instance=\"collector:9464\",environment=\"production\"{comma}{more}}}")
}

/// The labels of the collector's own figures.
pub(super) fn collector_labels() -> Labels {
    vec![("job", "muster"), ("instance", "collector:9464"), ("environment", "production")]
}

/// An own figure of an agent.
pub(super) fn of_agent(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!("{name}{{job=\"muster-agent\",instance=\"laptop:9465\",environment=\"production\"{comma}{more}}}")
}

/// The labels of an agent's own figures.
pub(super) fn agent_labels() -> Labels {
    vec![("job", "muster-agent"), ("instance", "laptop:9465"), ("environment", "production")]
}
