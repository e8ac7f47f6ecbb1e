//! What leaves the page, when, and what comes back.

use super::*;
use v1::RunStatus::Success;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

fn cost(cost_usd: f64) -> Kind {
    Kind::CostTotal(v1::CostTotal { cost_usd })
}

fn lines(count: u64) -> Kind {
    Kind::LinesRecorded(v1::LinesRecorded { count })
}

const LABELS: &str = r#"{team="core",user="dana",host="laptop-17",project="shop"}"#;

fn gauge(bed: &Bed) -> Option<String> {
    bed.value(&format!("loki_cost_usd{LABELS}"))
}

fn counter(bed: &Bed) -> Option<String> {
    bed.value(&format!("loki_events_total{LABELS}"))
}

#[test]
fn gauges_of_a_silent_agent_leave_and_come_back_when_it_is_heard() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(cost(2.5)).fact(lines(3)));
    bed.pass(5 * MINUTE);
    assert_eq!(gauge(&bed).as_deref(), Some("2.5"));
    bed.pass(MINUTE);
    assert_eq!(gauge(&bed), None);
    assert_eq!(counter(&bed).as_deref(), Some("3"), "counters stay");
    bed.aggregate.heard(&team(), agent(1), bed.now());
    assert_eq!(gauge(&bed).as_deref(), Some("2.5"));
}

#[test]
fn a_scrape_expires_nothing() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(cost(2.5)));
    bed.seconds += 48 * HOUR;
    assert_eq!(gauge(&bed).as_deref(), Some("2.5"), "only the timer does");
}

#[test]
fn gauges_end_with_their_source_and_do_not_come_back_with_a_new_one() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(cost(2.5)).fact(lines(3)));
    bed.hear(Said::by("loki", "shop").fact(Kind::SourceEnded(v1::SourceEnded {})));
    assert_eq!((gauge(&bed), counter(&bed).as_deref()), (None, Some("3")));
    bed.hear(Said::by("loki", "shop").fact(lines(1)));
    assert_eq!((gauge(&bed), counter(&bed).as_deref()), (None, Some("4")));
    bed.pass(MINUTE);
    assert_eq!(gauge(&bed), None);
    bed.hear(Said::by("loki", "shop").fact(cost(1.0)));
    assert_eq!(gauge(&bed).as_deref(), Some("1"));
}

#[test]
fn the_end_of_one_tool_leaves_the_other_of_the_same_project() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(cost(2.5)).then_by("devloop", "shop").queue("linter", 4));
    bed.hear(Said::by("devloop", "shop").fact(Kind::SourceEnded(v1::SourceEnded {})));
    assert_eq!(gauge(&bed).as_deref(), Some("2.5"));
    assert!(!bed.page().contains("devloop_agent_queue_depth"));
    assert!(!bed.page().contains("devloop_event_queue_size"));
}

#[test]
fn a_stopped_session_stays_on_the_page_as_zero() {
    let mut bed = Bed::collector();
    let status = v1::SessionStatus::Stopped.into();
    bed.hear(Said::by("loki", "shop").fact(Kind::ToolState(v1::ToolState { status, ..Default::default() })));
    bed.pass(MINUTE);
    assert_eq!(bed.value(&format!("loki_session_status{LABELS}")).as_deref(), Some("0"));
}

#[test]
fn counters_of_an_ended_source_stay_a_day() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(lines(3)).fact(Kind::SourceEnded(v1::SourceEnded {})));
    bed.pass(24 * HOUR);
    assert_eq!(counter(&bed).as_deref(), Some("3"));
    bed.pass(1);
    assert_eq!(counter(&bed), None);
    assert_eq!(bed.aggregate.stats().series, 0);
}

#[test]
fn counters_of_a_quiet_source_stay_while_its_agent_is_there() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("loki", "shop").fact(lines(3)));
    for _ in 0..72 {
        bed.pass(HOUR);
        bed.aggregate.heard(&team(), agent(1), bed.now());
    }
    bed.pass(1);
    assert_eq!(counter(&bed).as_deref(), Some("3"));
    bed.pass(24 * HOUR + 1);
    assert_eq!(counter(&bed), None);
}

#[test]
fn nothing_remains_of_a_fleet_that_has_gone() {
    let mut bed = Bed::collector();
    let empty = bed.aggregate.snapshot().len();
    for number in 0..50 {
        let said = Said::by("devloop", &format!("project-{number}"));
        bed.hear_from(agent(number), &said.queue("linter", 1).run("linter", Success, Some(3)).batch());
    }
    assert!(bed.aggregate.stats().series > 200);
    bed.pass(24 * HOUR + 1);
    bed.pass(1);
    assert_eq!(bed.aggregate.stats().series, 0);
    // The team's name is all that stays: a length and "core".
    assert_eq!(bed.aggregate.snapshot().len(), empty + 8);
}

#[test]
fn an_agents_own_page_never_falls_silent() {
    let mut bed = Bed::agent();
    bed.hear(Said::by("loki", "shop").fact(cost(2.5)));
    bed.pass(12 * HOUR);
    assert_eq!(bed.value("loki_cost_usd").as_deref(), Some("2.5"));
}

#[test]
fn a_replayed_batch_counts_and_its_gauges_wait_until_its_agent_is_heard() {
    let mut bed = Bed::collector();
    let at = Applied { wall: NOON, monotonic: bed.now() };
    let batch = Said::by("loki", "shop").fact(cost(2.5)).fact(lines(3)).batch();
    bed.aggregate.replay(&team(), agent(1), &batch, at);
    assert_eq!((gauge(&bed), counter(&bed).as_deref()), (None, Some("3")));
    bed.aggregate.heard(&team(), agent(1), bed.now());
    assert_eq!(gauge(&bed).as_deref(), Some("2.5"));
}

#[test]
fn two_agents_with_the_same_labels_add_up_and_the_last_owns_the_gauge() {
    let mut bed = Bed::collector();
    let said = |cost_usd| Said::by("loki", "shop").fact(cost(cost_usd)).fact(lines(3)).batch();
    bed.hear_from(agent(1), &said(1.0));
    bed.hear_from(agent(2), &said(2.0));
    assert_eq!((gauge(&bed).as_deref(), counter(&bed).as_deref()), (Some("2"), Some("6")));
    let ended = Said::by("loki", "shop").fact(Kind::SourceEnded(v1::SourceEnded {})).batch();
    bed.hear_from(agent(1), &ended);
    assert_eq!(gauge(&bed).as_deref(), Some("2"), "the first no longer owns it");
    bed.hear_from(agent(1), &said(3.0));
    bed.hear_from(agent(2), &ended);
    assert_eq!(gauge(&bed).as_deref(), Some("3"));
    assert_eq!(counter(&bed).as_deref(), Some("9"));
}
