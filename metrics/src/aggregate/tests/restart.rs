//! Snapshots (reliability.md row C4), and random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use v1::RunStatus::{Failure, Success};

fn restarted(bed: &Bed) -> Bed {
    let config = bed.aggregate.store.config.clone();
    let aggregate = Aggregate::restore(config, &bed.aggregate.snapshot()).expect("own snapshot");
    // A new process: its clock begins at zero.
    Bed { aggregate, seconds: 0 }
}

/// Restarted, and the agents whose gauges were on the page have come back.
fn reconnected(bed: &Bed) -> Bed {
    let mut again = restarted(bed);
    let owners = &bed.aggregate.store.owners;
    for (index, known) in owners.agents.iter().enumerate() {
        if owners.is_known(index as u32) && !known.silent {
            again.aggregate.heard(&team(), known.id, again.now());
        }
    }
    again
}

fn rich() -> Bed {
    let mut bed = Bed::new(AggregateConfig { series_per_family_max: 6, ..AggregateConfig::collector() });
    for number in 0..4 {
        let mut said = Said::by("devloop", &format!("p\"{number}\n"));
        let names = vec![said.text("event_latency_histogram")];
        said = said
            .run("linter", Success, Some(12))
            .run("black", Failure, Some(90_000))
            .queue("linter", number)
            .fact(Kind::ToolSettings(v1::ToolSettings { disabled_metrics: names, sample_rate: 0.5 }))
            .fact(Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(5) }))
            .then_by("loki", "shop")
            .fact(Kind::CostTotal(v1::CostTotal { cost_usd: 0.1 + 0.2 }));
        bed.hear_from(agent(number as u8), &said.batch());
        bed.pass(100);
    }
    bed.hear_from(agent(2), &Said::by("loki", "shop").fact(Kind::SourceEnded(v1::SourceEnded {})).batch());
    bed
}

#[test]
fn a_restart_shows_the_same_page_to_the_byte_when_the_agents_are_back() {
    let bed = rich();
    let again = reconnected(&bed);
    assert_eq!(again.page(), bed.page());
    assert_eq!(again.open_metrics(), bed.open_metrics());
    assert_eq!(again.aggregate.snapshot(), reconnected(&again).aggregate.snapshot());
    let (mut before, mut after) = (bed.aggregate.stats(), again.aggregate.stats());
    assert!(before.overflowed > 0);
    (before.bytes_estimate, after.bytes_estimate) = (0, 0);
    assert_eq!(before, after);
}

#[test]
fn ages_go_on_where_they_were_although_the_clock_begins_anew() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("devloop", "shop").run("linter", Success, None));
    bed.pass(20 * 3600);
    let mut again = restarted(&bed);
    again.pass(0);
    again.pass(4 * 3600);
    assert!(again.page().contains("devloop_agent_runs_total{"), "24 h of 24");
    again.pass(1);
    assert!(
        !again.page().contains("devloop_agent_runs_total{"),
        "20 h before the restart, 4 h and 1 s after it"
    );
}

#[test]
fn after_a_restart_the_gauges_of_an_agent_that_is_not_heard_again_stay_off_the_page_and_come_back_when_it_is()
{
    let cost = |project: &str, cost_usd| {
        Said::by("loki", project).fact(Kind::CostTotal(v1::CostTotal { cost_usd })).batch()
    };
    let mut bed = Bed::collector();
    bed.hear_from(agent(1), &cost("shop", 1.0));
    bed.hear_from(agent(2), &cost("till", 2.0));
    let gauges = |bed: &Bed| {
        ["shop", "till"].map(|project| {
            bed.value(&format!(
                r#"loki_cost_usd{{team="core",user="dana",host="laptop-17",project="{project}"}}"#
            ))
        })
    };
    assert_eq!(gauges(&bed), [Some("1".to_owned()), Some("2".to_owned())]);
    let mut again = restarted(&bed);
    assert_eq!(gauges(&again), [None, None], "nobody knows how long the collector was down");
    again.aggregate.heard(&team(), agent(2), again.now());
    assert_eq!(gauges(&again), [None, Some("2".to_owned())]);
    again.pass(60);
    assert_eq!(gauges(&again), [None, Some("2".to_owned())]);
    again.aggregate.heard(&team(), agent(1), again.now());
    assert_eq!(gauges(&again), [Some("1".to_owned()), Some("2".to_owned())]);
}

#[test]
fn after_a_restart_an_agents_own_page_keeps_its_gauges() {
    let mut bed = Bed::agent();
    bed.hear(Said::by("loki", "shop").fact(Kind::CostTotal(v1::CostTotal { cost_usd: 1.0 })));
    let mut again = restarted(&bed);
    assert_eq!(again.page(), bed.page());
    again.pass(3600);
    assert_eq!(again.value("loki_cost_usd").as_deref(), Some("1"));
}

#[test]
fn a_restored_counter_goes_on_counting() {
    let bed = rich();
    let mut again = restarted(&bed);
    let runs = r#"devloop_agent_runs_total{team="core",user="dana",host="laptop-17",project="p\"0\n",agent="linter",status="success"}"#;
    assert_eq!(again.value(runs).as_deref(), Some("1"));
    again.hear(Said::by("devloop", "p\"0\n").run("linter", Success, None));
    assert_eq!(again.value(runs).as_deref(), Some("2"));
}

#[test]
fn any_damage_is_found_and_restores_nothing() {
    let bytes = rich().aggregate.snapshot();
    let restore = |bytes: &[u8]| Aggregate::restore(AggregateConfig::collector(), bytes);
    for at in (0..bytes.len()).step_by(7).chain([0, 8, 9, 10, bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(restore(&damaged).is_err(), "flip at {at}");
        assert!(restore(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(restore(b"").err(), Some(SnapshotError::Foreign));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(restore(&newer).err(), Some(SnapshotError::Version { found: 2 }));
    assert_eq!(Aggregate::restore(AggregateConfig::agent(), &bytes).err(), Some(SnapshotError::Scope));
}

#[test]
fn content_that_does_not_fit_is_an_error_even_under_a_right_checksum() {
    let bytes = rich().aggregate.snapshot();
    let mut survived = 0;
    for at in (11..bytes.len() - 4).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] = changed[at].wrapping_add(1 + (at % 250) as u8);
        let end = changed.len() - 4;
        let crc = crc32c::crc32c(&changed[..end]);
        changed[end..].copy_from_slice(&crc.to_le_bytes());
        // Either refused or a whole aggregate whose page can be made and which can go on.
        if let Ok(aggregate) = Aggregate::restore(AggregateConfig::collector(), &changed) {
            let mut bed = Bed { aggregate, seconds: 0 };
            bed.page();
            bed.hear(Said::by("devloop", "x").run("linter", Success, Some(1)));
            bed.pass(30 * 3600);
            bed.page();
            survived += 1;
        }
    }
    assert!(survived > 0, "numbers alone may change");
}

#[derive(Debug, Clone)]
enum Step {
    Run { agent: u8, project: u8, worker: u8, failed: bool, weight: u32 },
    Queue { agent: u8, project: u8, depth: u8 },
    End { agent: u8, project: u8 },
    Heard { agent: u8 },
    Pass { seconds: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3u8, 0..3u8, 0..5u8, any::<bool>(), 1..4u32).prop_map(|(agent, project, worker, failed, weight)| {
            Step::Run { agent, project, worker, failed, weight }
        }),
        2 => (0..3u8, 0..3u8, any::<u8>()).prop_map(|(agent, project, depth)| Step::Queue { agent, project, depth }),
        1 => (0..3u8, 0..3u8).prop_map(|(agent, project)| Step::End { agent, project }),
        1 => (0..3u8).prop_map(|agent| Step::Heard { agent }),
        2 => prop_oneof![1..600u32, 20_000..90_000u32].prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// Samples that may never fall, by name and labels.
fn counters(page: &str) -> BTreeMap<String, f64> {
    let families: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let histogram =
        |name: &str| name.contains("_bucket{") || name.contains("_count{") || name.contains("_sum{");
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| {
            histogram(line) || families.iter().any(|family| line.split('{').next() == Some(family))
        })
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| (series.to_owned(), value.parse().expect("number")))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever happens: a counter that is on two pages in a row has not fallen, and a restart changes no byte
    /// once the agents are back.
    #[test]
    fn counters_never_fall_and_restarts_are_invisible(steps in proptest::collection::vec(step(), 1..60), cap in 2..30usize) {
        let config = AggregateConfig { series_per_family_max: cap, ..AggregateConfig::collector() };
        let mut bed = Bed::new(config);
        let mut before = BTreeMap::new();
        for step in steps {
            match step {
                Step::Run { agent: who, project, worker, failed, weight } => {
                    let mut said = Said::by("devloop", &format!("p{project}"));
                    let worker = said.text(&format!("w{worker}"));
                    let status = if failed { Failure } else { Success }.into();
                    let duration_us = Some(u64::from(weight) * 30_000);
                    let run = v1::RunFinished { worker, status, duration_us, ..Default::default() };
                    bed.hear_from(agent(who), &said.weighted(weight, Kind::RunFinished(run)).batch());
                }
                Step::Queue { agent: who, project, depth } => {
                    let said = Said::by("devloop", &format!("p{project}")).queue("w0", u64::from(depth));
                    bed.hear_from(agent(who), &said.batch());
                }
                Step::End { agent: who, project } => {
                    let said = Said::by("devloop", &format!("p{project}")).fact(Kind::SourceEnded(v1::SourceEnded {}));
                    bed.hear_from(agent(who), &said.batch());
                }
                Step::Heard { agent: who } => bed.aggregate.heard(&team(), agent(who), bed.now()),
                Step::Pass { seconds } => bed.pass(u64::from(seconds)),
                Step::Restart => {
                    let again = reconnected(&bed);
                    prop_assert_eq!(again.open_metrics(), bed.open_metrics());
                    bed = again;
                }
            }
            let after = counters(&bed.page());
            for (series, value) in &after {
                let fell = before.get(series).is_some_and(|before| before > value);
                prop_assert!(!fell, "{} fell to {}", series, value);
            }
            before = after;
            for (name, series) in bed.aggregate.stats().series_by_family {
                prop_assert!(series <= cap + 1 || name == "muster_series_overflow_total", "{name} has {series}");
            }
        }
    }
}
