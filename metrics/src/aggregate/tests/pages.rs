//! Requests: filters, parts, order.

use super::*;
use v1::RunStatus::{Failure, Success};

fn two_teams() -> Bed {
    let mut bed = Bed::collector();
    let at = Applied { wall: NOON, monotonic: bed.now() };
    for (team, project) in [("web", "site"), ("core", "shop"), ("core", "auth")] {
        let batch = Said::by("devloop", project)
            .run("linter", Failure, Some(7))
            .run("black", Success, Some(9))
            .batch();
        bed.aggregate.apply(&team.parse().expect("valid"), agent(1), &batch, at);
    }
    bed
}

fn origins(page: &str) -> Vec<String> {
    let mut origins: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("devloop_agent_runs_total"))
        .map(|line| {
            let after =
                |key: &str| line.split(key).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("-");
            format!("{}/{}", after("team=\""), after("project=\""))
        })
        .collect();
    origins.dedup();
    origins
}

#[test]
fn team_project_and_name_filters_show_what_they_name() {
    let bed = two_teams();
    assert_eq!(origins(&bed.page()), ["core/auth", "core/shop", "web/site"], "sorted, whatever came first");
    let of = |team: Option<&str>, project: Option<&str>| PageRequest {
        team: team.map(|team| vec![team.to_owned()]),
        project: project.map(|project| vec![project.to_owned()]),
        ..Default::default()
    };
    assert_eq!(origins(&bed.page_of(&of(Some("web"), None))), ["web/site"]);
    assert_eq!(origins(&bed.page_of(&of(None, Some("shop")))), ["core/shop"]);
    assert_eq!(origins(&bed.page_of(&of(Some("web"), Some("shop")))), Vec::<String>::new());
    assert_eq!(bed.page_of(&of(Some("nobody"), None)), "");
    let empty = PageRequest { format: Format::OpenMetrics100, ..of(Some("nobody"), None) };
    assert_eq!(bed.page_of(&empty), "# EOF\n");
}

#[test]
fn a_name_is_that_of_a_family_or_of_one_of_its_samples_and_nothing_like_it() {
    let bed = two_teams();
    let families = |name: &str| {
        let request = PageRequest { names: vec![name.to_owned()], ..Default::default() };
        let page = bed.page_of(&request);
        page.lines().filter(|line| line.starts_with("# TYPE")).count()
    };
    assert_eq!(families("devloop_agent_runs_total"), 1);
    assert_eq!(families("devloop_agent_runs"), 1, "the name that OpenMetrics gives it");
    assert_eq!(families("devloop_agent_execution_duration_ms_bucket"), 1);
    assert_eq!(families("devloop_agent_execution_duration_ms"), 1);
    assert_eq!(families("devloop_agent"), 0);
    assert_eq!(families("devloop_agent_last_run_ms_sum"), 0);
}

#[test]
fn a_page_in_parts_is_the_page() {
    let bed = two_teams();
    let request = PageRequest::default();
    let (mut parts, mut out, mut next) = (0, Vec::new(), Some(PageCursor::default()));
    while let Some(cursor) = next {
        let mut part = Vec::new();
        next = bed.aggregate.render_part(&request, WallTime(NOON.0 + 60_000_000), cursor, 1, &mut part);
        out.append(&mut part);
        parts += 1;
    }
    assert!(parts > 3);
    assert_eq!(String::from_utf8(out).expect("UTF-8"), bed.page());
}

#[test]
fn the_order_of_a_page_is_that_of_the_labels_however_the_series_came() {
    let mut forward = Bed::collector();
    let mut backward = Bed::collector();
    // Enough for new series to be merged into the order several times.
    let workers: Vec<_> = (0..6_000).map(|number| format!("w{number}")).collect();
    let hear = |bed: &mut Bed, workers: &mut dyn Iterator<Item = &String>| {
        let workers: Vec<_> = workers.collect();
        for chunk in workers.chunks(500) {
            let said = chunk.iter().fold(Said::by("claude", "shop"), |said, worker| said.queue(worker, 1));
            bed.hear(said);
        }
    };
    hear(&mut forward, &mut workers.iter());
    hear(&mut backward, &mut workers.iter().rev());
    assert_eq!(forward.page(), backward.page());
    let page = forward.page();
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("muster_queue_depth{")).collect();
    assert!(lines.is_sorted() && lines.len() == 6_000);
    backward.pass(1);
    assert_eq!(forward.page(), backward.page());
}

#[test]
fn closed_lists_are_sorted_as_the_guide_writes_them() {
    let mut bed = Bed::agent();
    bed.hear(Said::by("devloop", "shop").fact(Kind::ActiveFindings(v1::ActiveFindings {
        critical: 1,
        high: 2,
        medium: 3,
        low: 4,
    })));
    let page = bed.page();
    let values: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("devloop_active_issues{"))
        .map(|l| l.rsplit(' ').next())
        .collect();
    assert_eq!(values, [Some("1"), Some("2"), Some("3"), Some("4")]);
}

#[test]
fn what_a_page_escapes_a_walk_gives_back() {
    for text in ["", "plain", "a\"b", "back\\slash", "line\nfeed", "\\n", "\\\"\n\\", "é \u{1f980}"] {
        assert_eq!(unescaped(&crate::exposition::label_value(text)), text);
    }
    // Not what a page has, and no reason to stop.
    assert_eq!(unescaped("open\\"), "open\\");
}

#[test]
fn a_walk_sees_what_the_page_sees() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("devloop", "shop").run("linter", v1::RunStatus::Success, Some(20)).queue("linter", 4));
    bed.hear(Said::by("devloop", "bank").queue("tester", 5).queue("linter", 6));
    let walk = |bed: &Bed| {
        let mut shown = std::collections::BTreeMap::new();
        bed.aggregate.for_each_series(WallTime(NOON.0 + 60_000_000), |series| {
            if series.is_visible {
                *shown.entry(series.family.name).or_insert(0) += 1;
            }
        });
        shown
    };
    for _ in 0..2 {
        let page = bed.page();
        for (family, count) in walk(&bed) {
            let samples = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
            let counts = page.lines().filter(|line| line.starts_with(&format!("{family}_count{{")));
            assert_eq!(samples.count() + counts.count(), count, "{family}");
        }
        assert_eq!(walk(&bed).contains_key("devloop_event_queue_size"), page.contains("event_queue_size{"));
        // The agent falls silent, and its gauges leave both.
        bed.pass(400);
    }
    assert!(!walk(&bed).contains_key("devloop_event_queue_size"));
}

#[test]
fn expiry_leaves_what_was_updated_since_the_mark() {
    let mut bed = Bed::collector();
    bed.hear(Said::by("devloop", "shop").run("linter", v1::RunStatus::Success, Some(20)));
    let mark = bed.aggregate.mark();
    bed.seconds += 100_000;
    bed.aggregate.expire_before(bed.now(), mark);
    assert_ne!(bed.aggregate.stats().series, 0);
    bed.seconds += 10;
    bed.aggregate.expire_before(bed.now(), bed.aggregate.mark());
    assert_eq!(bed.aggregate.stats().series, 0);
}
