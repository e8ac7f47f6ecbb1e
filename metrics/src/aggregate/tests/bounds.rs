//! Bounds and hostile input (reliability.md row C1, C5).

use super::*;
use v1::RunStatus::Success;

fn limited(series_per_family_max: usize) -> Bed {
    Bed::new(AggregateConfig { series_per_family_max, ..AggregateConfig::collector() })
}

#[test]
fn a_hundred_thousand_label_values_make_no_more_than_the_cap_and_every_event_counts() {
    const VALUES: u64 = 120_000;
    const CAP: usize = 500;
    let mut bed = limited(CAP);
    let mut bytes_at_cap = 0;
    for start in (0..VALUES).step_by(2_000) {
        let mut said = Said::by("claude", "shop");
        for value in start..start + 2_000 {
            let name = said.text(&format!("{value}-{}", "x\"\n\\\0".repeat(400)));
            said = said.fact(Kind::LogRecord(v1::LogRecord { name, ..Default::default() }));
        }
        bed.hear(said);
        if bytes_at_cap == 0 {
            bytes_at_cap = bed.aggregate.stats().bytes_estimate;
        }
    }
    let stats = bed.aggregate.stats();
    let family = stats.series_by_family.iter().find(|(name, _)| *name == "muster_tool_events_total");
    assert_eq!(family, Some(&("muster_tool_events_total", CAP + 1)));
    assert_eq!(stats.overflowed, VALUES - CAP as u64);
    assert!(stats.bytes_estimate <= bytes_at_cap * 2, "{} then {}", bytes_at_cap, stats.bytes_estimate);
    let page = bed.page();
    let total: u64 = page
        .lines()
        .filter(|line| line.starts_with("muster_tool_events_total{"))
        .map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("number"))
        .sum();
    assert_eq!(total, VALUES, "every event is in exactly one series");
    let overflow = r#"{team="core",user="__overflow__",host="__overflow__",project="__overflow__",tool="__overflow__",event="__overflow__"}"#;
    assert_eq!(
        value_on(&page, &format!("muster_tool_events_total{overflow}")),
        Some((VALUES - CAP as u64).to_string())
    );
    let counted = r#"muster_series_overflow_total{team="core",user="",host="",project="",family="muster_tool_events_total",reason="series_per_family_max"}"#;
    assert_eq!(value_on(&page, counted), Some((VALUES - CAP as u64).to_string()));
}

#[test]
fn one_teams_flood_leaves_another_its_room() {
    let mut bed = limited(3);
    let at = Applied { wall: NOON, monotonic: bed.now() };
    for worker in ["a", "b", "c", "d", "e"] {
        bed.hear(Said::by("devloop", "shop").run(worker, Success, None));
    }
    let other: Team = "web".parse().expect("valid");
    bed.aggregate.apply(&other, agent(9), &Said::by("devloop", "site").run("z", Success, None).batch(), at);
    let page = bed.page();
    assert!(page.contains(
        r#"devloop_agent_runs_total{team="web",user="dana",host="laptop-17",project="site",agent="z""#
    ));
    assert!(!page.contains(r#"agent="d""#));
}

/// Sum of a counter's samples on the page, of one team.
fn sum(page: &str, counter: &str, team: &str) -> u64 {
    let start = format!("{counter}{{team=\"{team}\",");
    let samples = page.lines().filter(|line| line.starts_with(&start));
    samples.map(|line| line.rsplit(' ').next().expect("value").parse::<u64>().expect("number")).sum()
}

#[test]
fn a_team_with_all_its_series_loses_no_count_and_leaves_others_their_room() {
    const CORE_MAX: usize = 40;
    let team_series_max = TeamSeriesMax { all: 1_000, own: [("core".to_owned(), CORE_MAX)].into() };
    let mut bed = Bed::new(AggregateConfig { team_series_max, ..AggregateConfig::collector() });
    let web: Team = "web".parse().expect("valid");
    for number in 0..100 {
        let said = || Said::by("devloop", &format!("p{number}")).run("linter", Success, Some(number));
        bed.hear(said());
        let at = Applied { wall: NOON, monotonic: bed.now() };
        bed.aggregate.apply(&web, agent(9), &said().batch(), at);
    }
    let page = bed.page();
    for (team, overflowed) in [("core", true), ("web", false)] {
        assert_eq!(sum(&page, "devloop_agent_runs_total", team), 100, "{team}: every run is in one series");
        assert_eq!(sum(&page, "muster_events_applied_total", team), 100);
        let durations = "devloop_agent_execution_duration_ms";
        assert_eq!(sum(&page, &format!("{durations}_count"), team), 100);
        assert_eq!(sum(&page, &format!("{durations}_sum"), team), (0..100).sum::<u64>());
        let has_overflow = page.contains(&format!("_total{{team=\"{team}\",user=\"__overflow__\""));
        assert_eq!(has_overflow, overflowed, "{team}");
    }
    let families = bed.aggregate.stats().series_by_family.len();
    let of_core = bed.aggregate.store.origins.teams()[0].series_in_all;
    assert!((CORE_MAX..=CORE_MAX + 2 * families).contains(&of_core), "{of_core} series");
    assert!(page.contains(r#"family="devloop_agent_runs_total",reason="team_series_max"}"#), "{page}");
    assert!(!page.contains(r#"reason="series_per_family_max""#));

    let bytes = bed.aggregate.snapshot();
    let config = bed.aggregate.store.config.clone();
    bed.aggregate = Aggregate::restore(config, &bytes).expect("its own snapshot");
    bed.hear(Said::by("devloop", "after the restart").run("linter", Success, None));
    let page = bed.page();
    assert_eq!(sum(&page, "devloop_agent_runs_total", "core"), 101);
    assert!(!page.contains("after the restart"), "the bound is there after a restart");
}

#[test]
fn an_agent_with_all_its_series_loses_no_count_and_leaves_others_of_its_team_their_room() {
    const MAX: usize = 30;
    let mut bed = Bed::new(AggregateConfig { agent_series_max: MAX, ..AggregateConfig::collector() });
    let hear = |bed: &mut Bed, host: &str, project: &str| {
        let source = SourceIdentity { host: host.to_owned(), ..identity("devloop", project) };
        bed.hear(Said::by_source(&source).run("linter", Success, Some(1)));
    };
    (0..100).for_each(|number| hear(&mut bed, "noisy", &format!("p{number}")));
    hear(&mut bed, "quiet", "shop");
    let page = bed.page();
    assert_eq!(sum(&page, "devloop_agent_runs_total", "core"), 101);
    assert_eq!(sum(&page, "muster_events_applied_total", "core"), 101);
    assert!(
        page.contains(r#"devloop_agent_runs_total{team="core",user="dana",host="quiet",project="shop""#),
        "{page}"
    );
    let of_noisy =
        page.lines().filter(|line| line.contains(r#"host="noisy""#) && !line.contains("le=")).count();
    assert!(of_noisy > 0 && of_noisy <= 2 * MAX, "{of_noisy} lines");
    assert!(page.contains(r#"family="devloop_agent_runs_total",reason="agent_series_max"}"#), "{page}");

    let bytes = bed.aggregate.snapshot();
    let config = bed.aggregate.store.config.clone();
    bed.aggregate = Aggregate::restore(config, &bytes).expect("its own snapshot");
    hear(&mut bed, "noisy", "after the restart");
    hear(&mut bed, "quiet", "as ever");
    let page = bed.page();
    assert_eq!(sum(&page, "devloop_agent_runs_total", "core"), 103);
    assert!(
        !page.contains("after the restart") && page.contains("as ever"),
        "the bound is there after a restart"
    );
}

#[test]
fn a_gauge_without_room_is_left_out_and_counted() {
    let mut bed = limited(1);
    bed.hear(Said::by("devloop", "shop").queue("a", 1).queue("b", 2).queue("a", 3));
    let page = bed.page();
    assert!(page.contains(r#"agent="a"} 3"#), "a known series is still updated");
    assert!(!page.contains(r#"agent="b""#));
    assert!(!page.contains(r#"devloop_agent_queue_depth{team="core",user="__overflow__""#));
    assert!(page.contains(r#"family="devloop_agent_queue_depth",reason="series_per_family_max"} 1"#));
}

#[test]
fn removed_series_make_room_for_new_ones() {
    let mut bed = limited(2);
    bed.hear(Said::by("devloop", "shop").run("a", Success, None).run("b", Success, None));
    bed.hear(Said::by("devloop", "shop").fact(Kind::SourceEnded(v1::SourceEnded {})));
    bed.pass(25 * 3600);
    bed.hear(Said::by("devloop", "shop").run("c", Success, None).run("d", Success, None));
    assert!(bed.page().contains(r#"agent="d""#));
    assert_eq!(bed.aggregate.stats().overflowed, 0);
}

#[test]
fn a_hostile_label_breaks_neither_the_line_nor_the_page() {
    let hostile = "q\" b\\ n\n r\r z\0 p\u{2028} e\u{85} }{ é";
    let mut bed = Bed::collector();
    bed.hear(Said::by("devloop", hostile).queue(hostile, 1));
    let page = bed.page();
    let expected = "q\\\" b\\\\ n\\n r\u{fffd} z\u{fffd} p\u{fffd} e\u{fffd} }{ é";
    assert!(page.contains(&format!("project=\"{expected}\",agent=\"{expected}\"}} 1\n")), "{page}");
    assert!(!page.contains(['\r', '\0', '\u{2028}', '\u{85}']));
    for line in page.lines() {
        assert!(
            line.starts_with('#') || line.starts_with("devloop_") || line.starts_with("muster_"),
            "{line}"
        );
    }
}

#[test]
fn a_long_label_is_cut_between_characters() {
    let mut bed = Bed::agent();
    bed.hear(Said::by("devloop", "shop").queue(&"ü".repeat(2000), 1));
    let page = bed.page();
    let line = page.lines().find(|line| line.starts_with("devloop_agent_queue_depth{")).expect("there");
    assert_eq!(line.matches('ü').count(), 64);
}

#[test]
fn a_future_or_absurd_time_becomes_no_later_than_now() {
    let mut bed = Bed::collector();
    let batch = Said::by("loki", "shop")
        .at(WallTime(u64::MAX))
        .fact(Kind::LinesRecorded(v1::LinesRecorded { count: 1 }))
        .batch();
    let at = Applied { wall: NOON, monotonic: bed.now() };
    bed.aggregate.apply(&team(), agent(1), &batch, at);
    assert!(bed.open_metrics().contains(
        "loki_events_created{team=\"core\",user=\"dana\",host=\"laptop-17\",project=\"shop\"} 1771588800\n"
    ));
}

#[test]
fn with_one_project_an_agents_page_has_no_scope_labels_and_with_two_it_has_the_project() {
    let mut bed = Bed::agent();
    let cost = |cost_usd| Kind::CostTotal(v1::CostTotal { cost_usd });
    let machine = |bytes| {
        let scope = v1::ResourceScope::Machine.into();
        Kind::ResourceSample(v1::ResourceSample { scope, memory_bytes: Some(bytes), ..Default::default() })
    };
    bed.hear(Said::by("loki", "shop").fact(cost(1.5)).then_by("host", "").fact(machine(7)));
    assert_eq!(bed.value("loki_cost_usd").as_deref(), Some("1.5"));
    let memory = r#"tool="host",scope="machine",agent=""}"#;
    assert_eq!(bed.value(&format!("muster_process_memory_bytes{{{memory}")).as_deref(), Some("7"));
    bed.hear(Said::by("loki", "site").fact(cost(2.0)));
    assert_eq!(bed.value(r#"loki_cost_usd{project="shop"}"#).as_deref(), Some("1.5"));
    assert_eq!(bed.value(r#"loki_cost_usd{project="site"}"#).as_deref(), Some("2"));
    assert_eq!(
        bed.value(&format!("muster_process_memory_bytes{{project=\"\",{memory}")).as_deref(),
        Some("7")
    );
}

#[test]
fn a_day_without_a_scrape_and_weeks_of_changing_projects_cost_no_more_memory() {
    const HOUR: u64 = 3600;
    let mut bed = Bed::collector();
    let mut bytes_after_two_days = 0;
    for hour in 0..20 * 24 {
        let project = format!("project-{hour}");
        let said =
            Said::by("devloop", &project).queue("linter", hour).run(&format!("w{hour}"), Success, Some(1));
        bed.hear(said);
        bed.hear(Said::by("devloop", &project).fact(Kind::SourceEnded(v1::SourceEnded {})));
        bed.pass(HOUR);
        match hour {
            48 => bytes_after_two_days = bed.aggregate.stats().bytes_estimate,
            49.. => {
                let bytes = bed.aggregate.stats().bytes_estimate;
                assert!(bytes <= bytes_after_two_days * 11 / 10, "{bytes} in hour {hour}");
            }
            _ => {}
        }
    }
}
