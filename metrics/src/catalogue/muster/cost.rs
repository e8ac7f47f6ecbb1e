//! Tokens, cost, budgets, time saved.
//!
//! A piece of work has one cost: what the tool reported, else what its tokens cost by the tool's price list, else it is
//! not known and counted as such. The two never meet in one series.

use muster::v1;
use muster::words::{Word, time_saved_kind, word};

use super::EVERY;
use crate::aggregate::Label;
use crate::catalogue::words::truth;
use crate::catalogue::{Family, GAUGE, MILLIONTHS, Rule, TOOL, text_label, word_label};

/// The one signal that a piece of work's cost is counted from, in micro-USD. A negative cost is none.
fn cost(usage: &v1::Usage) -> Option<(Word, u64)> {
    let known = |microusd: Option<i64>| microusd.and_then(|cost| u64::try_from(cost).ok());
    let reported = known(usage.reported_cost_microusd).map(|cost| (word::REPORTED, cost));
    reported.or_else(|| known(usage.computed_cost_microusd).map(|cost| (word::COMPUTED, cost)))
}

pub(in crate::catalogue) const FAMILIES: &[Family] = &[
    Family {
        name: "muster_usage_tokens_total",
        help: "Tokens by model and kind; the kinds do not overlap",
        labels: &[TOOL, text_label("model"), word_label("kind")],
        rules: &[Rule::Usage(|usage, fact| {
            let kinds = [
                (word::INPUT, usage.input_tokens),
                (word::OUTPUT, usage.output_tokens),
                (word::CACHE_READ, usage.cache_read_tokens),
                (word::CACHE_WRITE, usage.cache_write_tokens),
                (word::REASONING, usage.reasoning_tokens),
            ];
            for (kind, tokens) in kinds {
                if tokens > 0 {
                    fact.add([Label::Tool, Label::Text(usage.model), kind.into()], tokens);
                }
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_usage_cost_usd_total",
        kind: MILLIONTHS,
        unit: "usd",
        help: "Cost by model; source says whether the tool reported it or its tokens were priced, never both for one piece of work",
        labels: &[TOOL, text_label("model"), word_label("source")],
        rules: &[Rule::Usage(|usage, fact| {
            if let Some((source, microusd)) = cost(usage) {
                fact.add([Label::Tool, Label::Text(usage.model), source.into()], microusd);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_usage_cost_unknown_total",
        help: "Pieces of work whose cost nobody knows",
        labels: &[TOOL, text_label("model")],
        rules: &[Rule::Usage(|usage, fact| {
            if cost(usage).is_none() {
                fact.add([Label::Tool, Label::Text(usage.model)], 1);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_cost_usd",
        kind: GAUGE,
        unit: "usd",
        help: "The tool's own running total, which may fall when the tool starts over",
        rules: &[Rule::CostTotal(|cost, fact| fact.set([Label::Tool], cost.cost_usd))],
        ..EVERY
    },
    Family {
        name: "muster_budget_limit_usd",
        kind: GAUGE,
        unit: "usd",
        help: "Budget that the tool was given",
        rules: &[Rule::BudgetState(|budget, fact| match budget.limit_usd {
            Some(limit_usd) => fact.set([Label::Tool], limit_usd),
            None => fact.unset([Label::Tool]),
        })],
        ..EVERY
    },
    Family {
        name: "muster_budget_used_usd",
        kind: GAUGE,
        unit: "usd",
        help: "How much of the budget is used",
        rules: &[Rule::BudgetState(|budget, fact| match budget.used_usd {
            Some(used_usd) => fact.set([Label::Tool], used_usd),
            None => fact.unset([Label::Tool]),
        })],
        ..EVERY
    },
    Family {
        name: "muster_budget_exceeded",
        kind: GAUGE,
        help: "1 when the tool says that its budget is used up, else 0",
        rules: &[Rule::BudgetState(|budget, fact| {
            fact.set([Label::Tool], f64::from(u8::from(budget.exceeded)));
        })],
        ..EVERY
    },
    Family {
        name: "muster_time_saved_seconds_total",
        kind: MILLIONTHS,
        unit: "seconds",
        help: "Time saved; modelled: by a constant for each prevented failure, not measured",
        labels: &[TOOL, word_label("kind"), word_label("modelled")],
        rules: &[Rule::TimeSaved(|saved, fact| {
            let labels = [Label::Tool, time_saved_kind(saved.kind).into(), truth(saved.modelled).into()];
            fact.add(labels, saved.saved_us);
        })],
        ..EVERY
    },
];
