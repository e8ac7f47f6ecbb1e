//! What is wrong with an expression, told without running it.
//!
//! Every name must be in [`names`], selected and grouped by labels that it has; `rate` and `increase` take counters
//! alone; `histogram_quantile` takes rates of buckets that still have `le`; the two sides of an operator must have the
//! labels that they are matched by. The labels of a result are followed through the expression, so that a legend can be
//! held against them.

use std::collections::BTreeSet;

use promql_parser::label::MatchOp;
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
    VectorSelector,
};

use crate::names::{self, SampleKind};

type Labels = BTreeSet<String>;

/// What an expression answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One number.
    Scalar,
    /// Series with these labels at most.
    Vector(Vector),
}

/// Series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vector {
    /// Labels that they may have.
    pub(crate) labels: Labels,
    /// Labels that a selector held to one value and that are still there.
    pinned: Labels,
    /// What the samples are, while they are as they were selected.
    raw: Option<SampleKind>,
    /// They are rates of buckets.
    is_bucket_rate: bool,
}

/// The labels that the expression's series have, or all that is wrong with it. Grafana's own variables must have been
/// replaced.
pub(crate) fn check(expression: &str) -> Result<Labels, Vec<String>> {
    let parsed = parser::parse(expression).map_err(|fault| vec![format!("cannot be parsed: {fault}")])?;
    let mut faults = Vec::new();
    let shape = shape(&parsed, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    match shape {
        Shape::Scalar => Ok(Labels::new()),
        Shape::Vector(vector) if vector.raw == Some(SampleKind::Bucket) => {
            Err(vec!["shows raw buckets".into()])
        }
        Shape::Vector(vector) => Ok(vector.labels),
    }
}

fn shape(expr: &Expr, faults: &mut Vec<String>) -> Shape {
    match expr {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Shape::Scalar,
        Expr::Paren(inner) => shape(&inner.expr, faults),
        Expr::Unary(inner) => shape(&inner.expr, faults),
        Expr::Subquery(inner) => shape(&inner.expr, faults),
        Expr::VectorSelector(selector) => Shape::Vector(select(selector, faults)),
        Expr::MatrixSelector(selector) => Shape::Vector(select(&selector.vs, faults)),
        Expr::Aggregate(aggregate) => aggregated(aggregate, faults),
        Expr::Call(call) => called(call, faults),
        Expr::Binary(binary) => combined(binary, faults),
        Expr::Extension(_) => unreachable!("the parser makes none"),
    }
}

fn select(selector: &VectorSelector, faults: &mut Vec<String>) -> Vector {
    let name = selector.name.as_deref().unwrap_or_default();
    let Some(sample) = names::find(name) else {
        faults.push(format!("nothing exposes {name:?}"));
        return Vector { labels: Labels::new(), pinned: Labels::new(), raw: None, is_bucket_rate: false };
    };
    let labels: Labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
    let matchers = selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten());
    let mut pinned = Labels::new();
    for matcher in matchers {
        if !labels.contains(&matcher.name) {
            faults.push(format!("{name} has no label {:?}", matcher.name));
        }
        if matches!(matcher.op, MatchOp::Equal) {
            pinned.insert(matcher.name.clone());
        }
    }
    Vector { labels, pinned, raw: Some(sample.kind), is_bucket_rate: false }
}

fn aggregated(aggregate: &AggregateExpr, faults: &mut Vec<String>) -> Shape {
    if let Some(param) = &aggregate.param {
        shape(param, faults);
    }
    let Shape::Vector(mut vector) = shape(&aggregate.expr, faults) else {
        faults.push(format!("{} of a scalar", aggregate.op));
        return Shape::Scalar;
    };
    let op = aggregate.op.to_string();
    if matches!(op.as_str(), "topk" | "bottomk") {
        return Shape::Vector(vector);
    }
    let given = aggregate.modifier.as_ref().map(LabelModifier::labels);
    for label in given.iter().flat_map(|labels| &labels.labels) {
        if !vector.labels.contains(label) {
            faults.push(format!("{op} groups by {label:?}, which is not there"));
        }
    }
    if vector.raw == Some(SampleKind::Counter) {
        // Right as a number, but its rate would be wrong: a part that starts anew looks like a fall of the whole.
        vector.raw = None;
    }
    let listed: Labels = given.iter().flat_map(|labels| labels.labels.iter().cloned()).collect();
    let keep = |labels: &Labels| -> Labels {
        match &aggregate.modifier {
            Some(LabelModifier::Exclude(_)) => labels.difference(&listed).cloned().collect(),
            _ => labels.intersection(&listed).cloned().collect(),
        }
    };
    (vector.labels, vector.pinned) = (keep(&vector.labels), keep(&vector.pinned));
    Shape::Vector(vector)
}

fn called(call: &Call, faults: &mut Vec<String>) -> Shape {
    let name = call.func.name;
    let mut shapes: Vec<_> = call.args.args.iter().map(|argument| shape(argument, faults)).collect();
    if matches!(name, "vector" | "time" | "scalar") {
        let empty = Vector { labels: Labels::new(), pinned: Labels::new(), raw: None, is_bucket_rate: false };
        return if name == "vector" { Shape::Vector(empty) } else { Shape::Scalar };
    }
    let Some(index) = shapes.iter().position(|shape| matches!(shape, Shape::Vector(_))) else {
        return Shape::Scalar;
    };
    let Shape::Vector(mut vector) = shapes.swap_remove(index) else { unreachable!("just found") };
    let grows = matches!(vector.raw, Some(SampleKind::Counter | SampleKind::Bucket));
    match name {
        "rate" | "increase" | "irate" | "resets" if !grows => {
            faults.push(format!("{name} of what is no counter"))
        }
        "rate" | "increase" => vector.is_bucket_rate = vector.raw == Some(SampleKind::Bucket),
        "delta" | "idelta" | "deriv" | "predict_linear" if grows => {
            faults.push(format!("{name} of a counter"))
        }
        "histogram_quantile" => {
            if !vector.is_bucket_rate || !vector.labels.remove("le") {
                faults.push("histogram_quantile of what are no rates of buckets by le".into());
            }
            vector.is_bucket_rate = false;
        }
        "label_replace" => {
            if let Some(Expr::StringLiteral(label)) = call.args.args.get(1).map(|argument| &**argument) {
                vector.labels.insert(label.val.clone());
            }
        }
        "absent" | "absent_over_time" => vector.labels.retain(|label| vector.pinned.contains(label)),
        _ => {}
    }
    vector.raw = None;
    Shape::Vector(vector)
}

fn combined(binary: &BinaryExpr, faults: &mut Vec<String>) -> Shape {
    let (left, right) = (shape(&binary.lhs, faults), shape(&binary.rhs, faults));
    let (mut left, right) = match (left, right) {
        (Shape::Scalar, Shape::Scalar) => return Shape::Scalar,
        (Shape::Vector(vector), Shape::Scalar) | (Shape::Scalar, Shape::Vector(vector)) => {
            return Shape::Vector(Vector { raw: None, ..vector });
        }
        (Shape::Vector(left), Shape::Vector(right)) => (left, right),
    };
    let op = binary.op.to_string();
    let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
    let side = |labels: &Labels| -> Labels {
        match matching {
            Some(LabelModifier::Include(on)) => {
                on.labels.iter().filter(|l| labels.contains(*l)).cloned().collect()
            }
            Some(LabelModifier::Exclude(off)) => {
                labels.iter().filter(|l| !off.labels.contains(l)).cloned().collect()
            }
            None => labels.clone(),
        }
    };
    let given = matching.map(|labels| labels.labels().labels.clone()).unwrap_or_default();
    for label in given.iter().filter(|label| !left.labels.contains(*label) && !right.labels.contains(*label))
    {
        faults.push(format!("{op} is matched by {label:?}, which neither side has"));
    }
    if op == "or" {
        left.labels.extend(right.labels);
        return Shape::Vector(Vector { raw: None, ..left });
    }
    let (left_match, right_match) = (side(&left.labels), side(&right.labels));
    if left_match != right_match {
        faults.push(format!("{op} never matches: {left_match:?} against {right_match:?}"));
    }
    // The guide's success rate: the numerator meets nothing but itself.
    let held: Labels = side(&left.pinned).symmetric_difference(&side(&right.pinned)).cloned().collect();
    if op == "/" && !held.is_empty() {
        faults.push(format!("{op} compares one value of {held:?} with all: each meets itself or nothing"));
    }
    Shape::Vector(Vector { labels: result(binary.modifier.as_ref(), &left, &right), raw: None, ..left })
}

/// The labels of what an operator gives.
fn result(modifier: Option<&BinModifier>, left: &Vector, right: &Vector) -> Labels {
    let Some(modifier) = modifier else { return left.labels.clone() };
    match (&modifier.card, &modifier.matching) {
        (VectorMatchCardinality::ManyToOne(more), _) => {
            left.labels.iter().chain(&more.labels).cloned().collect()
        }
        (VectorMatchCardinality::OneToMany(more), _) => {
            right.labels.iter().chain(&more.labels).cloned().collect()
        }
        (VectorMatchCardinality::ManyToMany, _) | (_, None) => left.labels.clone(),
        (_, Some(LabelModifier::Include(on))) => on.labels.iter().cloned().collect(),
        (_, Some(LabelModifier::Exclude(off))) => {
            left.labels.iter().filter(|label| !off.labels.contains(label)).cloned().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guides_have_wrong_is_found() {
        for (expression, fault) in [
            (
                "rate(devloop_agent_runs_total{status=\"success\"}[5m]) / rate(devloop_agent_runs_total[5m])",
                "meets itself",
            ),
            ("devloop_issues_autofixed_total / devloop_issues_found_total", "never matches"),
            ("histogram_quantile(0.95, devloop_agent_execution_duration_ms)", "nothing exposes"),
            (
                "histogram_quantile(0.95, sum(rate(devloop_event_latency_ms_bucket[5m])))",
                "no rates of buckets",
            ),
            ("(total_time - downtime) / total_time", "nothing exposes"),
            ("rate(loki_cost_usd[1h]) * 3600", "no counter"),
            ("rate(loki_tasks_total{status=\"completed\"}[10m])", "no counter"),
            ("loki_tasks_total{status=\"failed\"} / sum(loki_tasks_total)", "never matches"),
            ("sum by (agent) (loki_cost_usd)", "not there"),
            ("loki_cost_usd{tool=\"loki\"}", "no label"),
            ("delta(loki_events_total[5m])", "of a counter"),
            ("rate(sum(loki_events_total)[5m:])", "no counter"),
            ("loki_cost_usd +", "cannot be parsed"),
        ] {
            let faults = check(expression).expect_err(expression).join("; ");
            assert!(faults.contains(fault), "{expression}: {faults}");
        }
    }

    #[test]
    fn labels_are_followed_through_an_expression() {
        for (expression, labels) in [
            (
                "histogram_quantile(0.95, sum by (agent, le) (rate(devloop_agent_execution_duration_ms_bucket[5m])))",
                "agent",
            ),
            (
                "sum by (team) (rate(devloop_agent_runs_total{status=\"success\"}[5m])) / sum by (team) (rate(devloop_agent_runs_total[5m]))",
                "team",
            ),
            ("sum(loki_cost_usd)", ""),
            ("topk(5, sum by (user, team) (muster_cost_usd))", "team user"),
            ("1 - scalar(sum(up))", ""),
            (
                "sum by (user) (loki_cost_usd) * on (user) group_left (team) sum by (user, team) (loki_agents_total)",
                "team user",
            ),
            (
                "sum without (agent, job, instance, environment, host, user, project, team) (devloop_agent_queue_depth)",
                "",
            ),
        ] {
            let found = check(expression).expect(expression);
            assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), labels, "{expression}");
        }
    }
}
