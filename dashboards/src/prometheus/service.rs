//! What the service itself needs: the collector, its agents, its destinations, and whether nothing is lost on the way.

mod agents;
mod collector;
mod delivery;

use super::rule::{Alert, Firing, Given, Group, Labels, Record, Rule, RuleFile, Severity};

pub(super) fn file() -> RuleFile {
    RuleFile {
        name: "muster",
        about: "Muster itself: collector, agents, destinations, conservation.",
        groups: vec![
            Group { name: "muster.availability", interval: "2m", rules: collector::availability() },
            Group { name: "muster.collector", interval: "30s", rules: collector::alerts() },
            Group { name: "muster.agents", interval: "30s", rules: agents::alerts() },
            Group { name: "muster.destinations", interval: "30s", rules: delivery::destinations() },
            Group { name: "muster.conservation", interval: "30s", rules: delivery::conservation() },
        ],
    }
}

/// An alert without labels of its own.
struct Plain {
    name: &'static str,
    severity: Severity,
    hold: &'static str,
    expr: &'static str,
    summary: &'static str,
    description: &'static str,
    given: Given,
    at: &'static str,
    labels: Labels,
    value: &'static str,
    quiet: Given,
}

impl Plain {
    fn rule(self) -> Rule {
        let Plain { name, severity, hold, expr, summary, description, given, at, labels, value, quiet } =
            self;
        let fires = Firing { given, at, labels, value };
        let (expr, description) = (expr.to_owned(), description.to_owned());
        Rule::Alert(Alert {
            name,
            severity,
            hold,
            expr,
            labels: Vec::new(),
            summary,
            description,
            fires,
            quiet,
            more: Vec::new(),
        })
    }

    /// For a law that holds in several places.
    fn rule_in(self, place: &str) -> Rule {
        let Rule::Alert(mut alert) = self.rule() else { unreachable!("made as an alert") };
        alert.labels.push(("place", place.to_owned()));
        Rule::Alert(alert)
    }
}
