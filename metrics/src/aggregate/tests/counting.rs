//! Counting: what events do to series.

use super::*;
use v1::RunStatus::{Error, Failure, Skipped, Success};

#[test]
fn runs_count_by_status_and_a_run_that_did_nothing_is_a_success_in_the_guides_family_alone() {
    let mut bed = Bed::agent();
    bed.hear(
        Said::by("devloop", "shop")
            .run("linter", Success, Some(120))
            .run("linter", Skipped, Some(8))
            .run("linter", Failure, Some(300))
            .run("linter", Error, None),
    );
    let value = |sample: &str| bed.value(sample).unwrap_or_default();
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="success"}"#), "2");
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="failure"}"#), "1");
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="error"}"#), "1");
    assert_eq!(value(r#"muster_runs_total{tool="devloop",agent="linter",status="success"}"#), "1");
    assert_eq!(value(r#"muster_runs_total{tool="devloop",agent="linter",status="skipped"}"#), "1");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_bucket{agent="linter",le="100"}"#), "1");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_bucket{agent="linter",le="+Inf"}"#), "3");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_sum{agent="linter"}"#), "428");
    assert_eq!(value(r#"devloop_agent_last_run_ms{agent="linter"}"#), "300");
    assert_eq!(value(r#"muster_run_duration_seconds_sum{tool="devloop",agent="linter"}"#), "0.428");
}

#[test]
fn the_nine_series_of_loki_mode_read_as_its_own_endpoint_has_them() {
    let mut bed = Bed::agent();
    bed.hear(
        Said::by("loki", "shop")
            .fact(Kind::ToolState(v1::ToolState {
                status: v1::SessionStatus::Running.into(),
                iteration: 7,
                iteration_max: 40,
                started_time_us: Some(NOON.0 + 60_000_000 - 5_395_000_000),
                sessions_live: 1,
                phase: 0,
            }))
            .fact(Kind::TaskCounts(v1::TaskCounts {
                pending: 3,
                in_progress: 1,
                completed: 5,
                failed: 1,
                review: 2,
            }))
            .fact(Kind::WorkerCounts(v1::WorkerCounts { active: 2, registered: 4 }))
            .fact(Kind::CostTotal(v1::CostTotal { cost_usd: 2.4012 }))
            .fact(Kind::LinesRecorded(v1::LinesRecorded { count: 20 })),
    );
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/loki/running/expected_metrics.txt");
    let real = std::fs::read_to_string(fixture).expect("the fixture is in the repository");
    let real = real.replace("loki_uptime_seconds 5400.0", "loki_uptime_seconds 5395");
    let real: Vec<_> = real.lines().filter(|line| !line.is_empty()).collect();
    let page = bed.page();
    let ours: Vec<_> = page.lines().filter(|line| line.contains("loki_")).collect();
    assert_eq!(ours, real);
}

#[test]
fn uptime_is_zero_when_nothing_runs_and_never_negative() {
    let mut bed = Bed::agent();
    let state = |started_time_us| {
        let status = v1::SessionStatus::Running.into();
        Kind::ToolState(v1::ToolState { status, started_time_us, ..Default::default() })
    };
    bed.hear(Said::by("loki", "shop").fact(state(Some(NOON.0 + 3_600_000_000))));
    assert_eq!(bed.value("loki_uptime_seconds").as_deref(), Some("0"));
    bed.hear(Said::by("loki", "shop").fact(state(Some(NOON.0))));
    assert_eq!(bed.value("loki_uptime_seconds").as_deref(), Some("60"));
    // Running, and nobody tells since when: the guide's series reads 0, ours is absent.
    bed.hear(Said::by("loki", "shop").fact(state(None)));
    assert_eq!(bed.value("loki_uptime_seconds").as_deref(), Some("0"));
    assert_eq!(bed.value(r#"muster_session_uptime_seconds{tool="loki"}"#), None);
}

#[test]
fn a_stated_zero_makes_a_series_and_silence_makes_none() {
    let mut bed = Bed::agent();
    bed.hear(Said::by("loki", "shop").fact(Kind::LinesRecorded(v1::LinesRecorded { count: 0 })));
    assert_eq!(bed.value("loki_events_total").as_deref(), Some("0"));
    assert!(!bed.page().contains("loki_cost_usd"));
    assert!(!bed.page().contains("devloop_"));
}

#[test]
fn a_check_before_a_commit_is_no_push() {
    let mut bed = Bed::agent();
    let checked = |gate: v1::PushGate, allowed, prevented_bad_push| {
        Kind::PushChecked(v1::PushChecked { gate: gate.into(), allowed, prevented_bad_push, reason: 0 })
    };
    bed.hear(Said::by("devloop", "shop").fact(checked(v1::PushGate::PreCommit, true, false)));
    assert_eq!(bed.value("devloop_total_pushes"), None);
    bed.hear(
        Said::by("devloop", "shop")
            .fact(checked(v1::PushGate::PrePush, true, false))
            .fact(checked(v1::PushGate::PrePush, false, true))
            .fact(checked(v1::PushGate::PrePush, false, false)),
    );
    assert_eq!(bed.value("devloop_total_pushes").as_deref(), Some("3"));
    assert_eq!(bed.value("devloop_successful_pushes").as_deref(), Some("1"));
    assert_eq!(bed.value("devloop_ci_failures_prevented").as_deref(), Some("1"));
    let blocked = r#"muster_pushes_checked_total{tool="devloop",gate="pre_push",result="blocked"}"#;
    assert_eq!(bed.value(blocked).as_deref(), Some("2"));
    let commits = r#"muster_pushes_checked_total{tool="devloop",gate="pre_commit",result="allowed"}"#;
    assert_eq!(bed.value(commits).as_deref(), Some("1"));
}

#[test]
fn a_piece_of_work_costs_once_and_an_unknown_cost_is_not_zero() {
    let mut bed = Bed::agent();
    let usage = |model, reported, computed| {
        Kind::Usage(v1::Usage {
            model,
            input_tokens: 1000,
            reported_cost_microusd: reported,
            computed_cost_microusd: computed,
            ..Default::default()
        })
    };
    let mut said = Said::by("claude", "shop");
    let opus = said.text("opus");
    bed.hear(
        said.fact(usage(opus, Some(1_250_000), Some(9_000_000)))
            .fact(usage(opus, None, Some(500)))
            .fact(usage(opus, Some(-4), None))
            .fact(usage(opus, None, None)),
    );
    let cost = |source| {
        bed.value(&format!(
            "muster_usage_cost_usd_total{{tool=\"claude\",model=\"opus\",source=\"{source}\"}}"
        ))
    };
    assert_eq!(cost("reported").as_deref(), Some("1.25"));
    assert_eq!(cost("computed").as_deref(), Some("0.0005"));
    let unknown = r#"muster_usage_cost_unknown_total{tool="claude",model="opus"}"#;
    assert_eq!(bed.value(unknown).as_deref(), Some("2"));
    let input = r#"muster_usage_tokens_total{tool="claude",model="opus",kind="input"}"#;
    assert_eq!(bed.value(input).as_deref(), Some("4000"));
    assert!(!bed.page().contains(r#"kind="output""#), "no output tokens were stated");
}

#[test]
fn the_event_queue_is_the_sum_of_the_queues_of_its_project() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("devloop", "a").queue("linter", 3).queue("formatter", 2));
    bed.hear(Said::by("devloop", "b").queue("linter", 7));
    let size = |project| {
        let labels = format!(r#"team="core",user="dana",host="laptop-17",project="{project}""#);
        bed.value(&format!("devloop_event_queue_size{{{labels}}}"))
    };
    assert_eq!(size("a").as_deref(), Some("5"));
    assert_eq!(size("b").as_deref(), Some("7"));
}

#[test]
fn weights_scale_counters_and_histograms_and_say_so() {
    let mut bed = Bed::agent();
    let mut said = Said::by("devloop", "shop");
    let worker = said.text("linter");
    let run = Kind::RunFinished(v1::RunFinished {
        worker,
        status: Success.into(),
        duration_us: Some(40_000),
        ..Default::default()
    });
    bed.hear(
        said.weighted(10, run.clone())
            .fact(run)
            .weighted(10, Kind::QueueDepth(v1::QueueDepth { worker, depth: 3 }))
            .fact(Kind::ToolSettings(v1::ToolSettings { disabled_metrics: vec![], sample_rate: 0.1 })),
    );
    let value = |sample: &str| bed.value(sample).unwrap_or_default();
    assert_eq!(value(r#"devloop_agent_runs_total{agent="linter",status="success"}"#), "11");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_bucket{agent="linter",le="50"}"#), "11");
    assert_eq!(value(r#"devloop_agent_execution_duration_ms_sum{agent="linter"}"#), "440");
    assert_eq!(value(r#"devloop_agent_queue_depth{agent="linter"}"#), "3", "a reading is not a count");
    assert_eq!(value(r#"muster_sample_rate{tool="devloop"}"#), "0.1");
    assert_eq!(value(r#"muster_events_extrapolated_total{tool="devloop"}"#), "18");
    assert_eq!(value(r#"muster_events_applied_total{tool="devloop"}"#), "4");
}

#[test]
fn an_event_of_an_unknown_kind_is_counted_and_passed_over() {
    let mut bed = Bed::agent();
    let mut batch = Said::by("devloop", "shop").run("linter", Success, None).batch();
    batch.events.push(v1::Event::default());
    bed.hear_from(agent(1), &batch);
    assert_eq!(bed.value(r#"muster_unknown_events_total{tool="devloop"}"#).as_deref(), Some("1"));
    assert_eq!(bed.value(r#"muster_events_applied_total{tool="devloop"}"#).as_deref(), Some("1"));
    let stats = bed.aggregate.stats();
    assert_eq!((stats.events_applied, stats.unknown_events), (1, 1));
}

#[test]
fn a_reading_that_is_no_number_is_no_reading() {
    let mut bed = Bed::agent();
    for cost_usd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        bed.hear(Said::by("loki", "shop").fact(Kind::CostTotal(v1::CostTotal { cost_usd })));
        assert_eq!(bed.value("loki_cost_usd"), None, "{cost_usd}");
    }
    bed.hear(Said::by("loki", "shop").fact(Kind::CostTotal(v1::CostTotal { cost_usd: 1e-5 })));
    bed.hear(Said::by("loki", "shop").fact(Kind::CostTotal(v1::CostTotal { cost_usd: f64::NAN })));
    assert_eq!(bed.value("loki_cost_usd").as_deref(), Some("0.00001"), "the last good value stays");
}

#[test]
fn counters_saturate_and_never_wrap() {
    let mut bed = Bed::agent();
    for _ in 0..2 {
        let lines = Kind::LinesRecorded(v1::LinesRecorded { count: u64::MAX - 1 });
        bed.hear(Said::by("loki", "shop").weighted(3, lines));
    }
    assert_eq!(bed.value("loki_events_total"), Some(u64::MAX.to_string()));
}

#[test]
fn a_status_of_a_newer_agent_counts_as_unknown() {
    let mut bed = Bed::agent();
    let run = v1::RunFinished { status: 99, ..Default::default() };
    bed.hear(Said::by("devloop", "shop").fact(Kind::RunFinished(run)));
    let sample = r#"muster_runs_total{tool="devloop",agent="",status="unknown"}"#;
    assert_eq!(bed.value(sample).as_deref(), Some("1"));
}

#[test]
fn disabled_metrics_leave_the_page_for_their_project_alone() {
    let mut bed = Bed::collector();
    let latency = Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(20_000) });
    let mut said = Said::by("devloop", "quiet");
    let disabled_metrics = vec![said.text("event_latency_histogram"), said.text("devloop_agent_runs_total")];
    bed.hear(
        said.fact(Kind::ToolSettings(v1::ToolSettings { disabled_metrics, sample_rate: 0.0 }))
            .fact(latency.clone())
            .run("linter", Success, None)
            .then_by("devloop", "loud")
            .fact(latency)
            .run("linter", Success, None),
    );
    let page = bed.page();
    let shown = |family: &str, project: &str| {
        page.lines().any(|l| l.starts_with(family) && l.contains(&format!("project=\"{project}\"")))
    };
    for family in ["devloop_event_latency_ms", "devloop_agent_runs_total"] {
        assert!(!shown(family, "quiet"), "{family}");
        assert!(shown(family, "loud"), "{family}");
    }
    assert!(shown("devloop_events_processed_total", "quiet"));
    assert!(shown("muster_runs_total", "quiet"), "only the guide's families can be disabled");
    bed.hear(Said::by("devloop", "quiet").fact(Kind::ToolSettings(v1::ToolSettings::default())));
    assert!(
        bed.page()
            .contains(r#"devloop_agent_runs_total{team="core",user="dana",host="laptop-17",project="quiet""#)
    );
}

#[test]
fn an_event_whose_text_or_source_is_outside_the_tables_harms_nothing() {
    let mut bed = Bed::agent();
    let mut batch = Said::by("devloop", "shop").queue("linter", 1).batch();
    batch.strings.clear();
    batch.events.push(v1::Event { source: 77, ..batch.events[0].clone() });
    bed.hear_from(agent(1), &batch);
    assert_eq!(bed.value(r#"muster_queue_depth{tool="",agent=""}"#).as_deref(), Some("1"));
}
