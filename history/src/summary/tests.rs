mod duckdb;

use std::collections::BTreeMap;

use journal::stream::StreamItem;
use metrics::{Aggregate, AggregateConfig, Applied, SeriesValue};
use muster::clock::Monotonic;

use super::answer::{summarise, summarise_between};
use super::*;
use crate::dataset::DataSet;
use crate::reader::fake::{Fake, HOUR_US, START};

fn asked(range: TimeRange, by: Option<By>) -> SummaryAsked {
    SummaryAsked { range, filter: Filter::default(), by, compare: false }
}

fn everything() -> TimeRange {
    TimeRange { from: WallTime(0), to: WallTime(START.0 + 1_000 * HOUR_US) }
}

/// Sums of counters by family and the value of one label.
fn counters(fake: &Fake) -> impl Fn(&str, &str) -> u64 {
    let mut aggregate = Aggregate::new(AggregateConfig::collector());
    for item in fake.log.items() {
        let StreamItem::Batch(entry) = item else { continue };
        let batch = muster::batch::decode(&entry.bytes).unwrap();
        let at = Applied { wall: entry.appended_wall, monotonic: Monotonic::default() };
        aggregate.apply(&entry.key.team, entry.key.agent, &batch, at);
    }
    let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
    aggregate.for_each_series(START, |series| {
        let units = match series.value {
            SeriesValue::Counter { units, .. } => units,
            _ => return,
        };
        for (_, value) in series.labels() {
            *sums.entry((series.family.name.to_owned(), value.to_owned())).or_default() += units;
        }
        *sums.entry((series.family.name.to_owned(), "*".to_owned())).or_default() += units;
    });
    move |family, label| sums.get(&(family.to_owned(), label.to_owned())).copied().unwrap_or(0)
}

#[test]
fn the_figures_are_what_the_counters_grew_by() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(21), 150, 30, 2);
    let of = counters(&fake);
    let total = fake.history.summary(&asked(everything(), None)).unwrap().total;
    let runs = &total.runs;
    for (status, count) in [
        ("*", runs.total),
        ("success", runs.success),
        ("failure", runs.failure),
        ("error", runs.error),
        ("skipped", runs.skipped),
        ("unknown", runs.unknown),
    ] {
        assert!(count > 0);
        assert_eq!(count, of("muster_runs_total", status), "{status}");
    }
    let succeeded = (runs.success + runs.skipped) as f64;
    assert_eq!(runs.success_rate, Some(succeeded / runs.total as f64));
    let findings = total.findings.unwrap();
    let found = |state| of("muster_findings_total", state);
    assert_eq!((findings.found, findings.fixed), (found("found"), found("fixed")));
    assert_eq!(findings.dismissed, found("dismissed"));
    assert_eq!(findings.autofixed, of("muster_findings_autofixed_total", "*"));
    let pushes = total.pushes.unwrap();
    assert_eq!(pushes.checked + pushes.commits_checked, {
        of("muster_pushes_checked_total", "pre_push") + of("muster_pushes_checked_total", "pre_commit")
    });
    let prevented = of("muster_bad_pushes_prevented_total", "*");
    assert_eq!(
        pushes.prevented_ci_failures,
        prevented - of("muster_bad_pushes_prevented_total", "pre_commit")
    );
    let saved = total.time_saved.unwrap();
    let saved_of = |label| of("muster_time_saved_seconds_total", label);
    assert_eq!((saved.developer_us, saved.build_us), (saved_of("developer"), saved_of("build")));
    assert_eq!((saved.other_us, saved.modelled_us), (saved_of("unknown"), saved_of("true")));
    let usage = total.usage.unwrap();
    assert_eq!(usage.tokens(), of("muster_usage_tokens_total", "*"));
    assert_eq!(usage.input_tokens, of("muster_usage_tokens_total", "input"));
    assert_eq!(usage.reported_cost_microusd, of("muster_usage_cost_usd_total", "reported"));
    assert_eq!(usage.computed_cost_microusd, of("muster_usage_cost_usd_total", "computed"));
    assert_eq!(usage.cost_unknown, of("muster_usage_cost_unknown_total", "*"));
    assert!(usage.cost_unknown > 0 && saved.modelled_us > 0 && prevented > 0 && findings.autofixed > 0);
}

#[test]
fn groups_add_up_to_the_total_and_values_that_are_hunted_give_the_same_answer() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(22), 80, 60, 2);
    let range = TimeRange { from: WallTime(START.0 + HOUR_US), to: WallTime(START.0 + 50 * HOUR_US) };
    for by in By::ALL {
        let asked = SummaryAsked { compare: true, ..asked(range, Some(by)) };
        let summary = fake.history.summary(&asked).unwrap();
        // Nothing is counted one by one: every quantile is hunted.
        assert_eq!(summarise(&fake.history, &asked, 0).unwrap(), summary, "{by}");
        let sum =
            |of: fn(&Figures) -> u64| summary.groups.iter().map(|group| of(&group.figures)).sum::<u64>();
        assert!(summary.groups.len() > 1, "{by}");
        assert_eq!(sum(|figures| figures.runs.total), summary.total.runs.total, "{by}");
        assert_eq!(
            sum(|figures| figures.usage.map_or(0, |usage| usage.cost_microusd())),
            summary.total.usage.unwrap().cost_microusd(),
            "{by}"
        );
        let group = &summary.groups[0].figures;
        assert_eq!(group.sessions.is_none(), matches!(by, By::Agent | By::Model), "{by}");
        assert_eq!(group.findings.is_none(), by == By::Model, "{by}");
        let points = &summary.series.points;
        assert_eq!(points.iter().map(|point| point.runs).sum::<u64>(), summary.total.runs.total, "{by}");
        assert_eq!(summary.series.step_seconds, 86_400);
        assert_eq!(points.len(), 3);
    }
}

#[test]
fn the_time_before_is_of_the_same_length_and_is_what_its_own_summary_says() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(23), 60, 40, 1);
    let [a, b, c] = [4, 16, 28].map(|hours| WallTime(START.0 + hours * HOUR_US));
    let compared = SummaryAsked { compare: true, ..asked(TimeRange { from: b, to: c }, None) };
    let compared = fake.history.summary(&compared).unwrap();
    let before = fake.history.summary(&asked(TimeRange { from: a, to: b }, None)).unwrap();
    let compared_before = compared.before.clone().unwrap();
    assert!(before.total.runs.total > 0);
    assert_eq!((compared_before.from, &compared_before.total), (a, &before.total));
    let alone = fake.history.summary(&asked(TimeRange { from: b, to: c }, None)).unwrap();
    assert_eq!(alone.total, compared.total);
    assert_eq!((alone.series.step_seconds, alone.series.points.len()), (3_600, 12));
}

#[test]
fn a_question_of_status_or_worker_leaves_out_what_has_neither() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(24), 40, 20, 1);
    let of =
        |filter| fake.history.summary(&SummaryAsked { filter, ..asked(everything(), None) }).unwrap().total;
    let failures = of(Filter { status: Some("failure".to_owned()), ..Filter::default() });
    assert!(failures.runs.total > 0 && failures.runs.total == failures.runs.failure);
    assert_eq!(failures.runs.success_rate, Some(0.0));
    assert!(failures.findings.is_none() && failures.sessions.is_none() && failures.usage.is_none());
    let linter = of(Filter { worker: Some("linter".to_owned()), ..Filter::default() });
    assert!(linter.findings.is_some() && linter.usage.is_some() && linter.sessions.is_none());
    let nobody = of(Filter { project: Some("nothing".to_owned()), ..Filter::default() });
    assert_eq!((nobody.runs.total, nobody.runs.success_rate, nobody.runs.duration), (0, None, None));
}

#[test]
fn groups_past_the_bound_are_added_up_as_others() {
    let fake = Fake::new();
    let rng = &mut fastrand::Rng::with_seed(25);
    crate::reader::fake::append_projects(rng, &fake.log, 250);
    let summary = fake.history.summary(&asked(everything(), Some(By::Project))).unwrap();
    let others = summary.others.clone().unwrap();
    assert_eq!((summary.groups.len(), others.groups), (GROUPS_SHOWN_MAX, 150));
    let shown: u64 = summary.groups.iter().map(|group| group.figures.runs.total).sum();
    assert_eq!(shown + others.figures.runs.total, summary.total.runs.total);
    assert!(summary.groups.windows(2).all(|pair| pair[0].figures.runs.total >= pair[1].figures.runs.total));
    assert_eq!(summarise(&fake.history, &asked(everything(), Some(By::Project)), 0).unwrap(), summary);
}

#[test]
fn a_summary_is_read_back_from_its_json_and_names_are_those_of_the_command() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(26), 20, 10, 1);
    let asked =
        SummaryAsked { compare: true, ..asked(TimeRange { from: START, ..everything() }, Some(By::Agent)) };
    let summary = fake.history.summary(&asked).unwrap();
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!((json["from"].as_str(), json["by"].as_str()), (Some("2026-11-20T00:00:00Z"), Some("agent")));
    assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);
    assert_eq!(By::ALL.map(|by| by.name().parse()), By::ALL.map(Ok));
    assert!("worker".parse::<By>().unwrap_err().to_string().contains("agent"));
}

#[test]
fn a_file_that_breaks_between_two_passes_is_in_no_figure() {
    let whole = |fake: &Fake| fake.history.summary(&asked(everything(), Some(By::Project))).unwrap();
    for seed in 0..6 {
        let fake = Fake::with_events(&mut fastrand::Rng::with_seed(seed), 80, 30, 3);
        let before = whole(&fake);
        let files = fake.files.files();
        let runs: Vec<_> = files.iter().filter(|file| file.partition.data_set == DataSet::Runs).collect();
        let victim = runs[seed as usize % runs.len()];
        let mut is_broken = false;
        let counted = summarise_between(&fake.history, &asked(everything(), Some(By::Project)), 50, || {
            if !std::mem::replace(&mut is_broken, true) {
                fake.files.damage(victim, |mut bytes| {
                    bytes.truncate(bytes.len() / 2);
                    bytes
                });
            }
        })
        .unwrap();
        assert_eq!(fake.files.aside(), [victim.path.to_string()]);
        assert!(
            counted.notices.len() == 1 && counted.notices[0].contains(victim.path.as_ref()),
            "{:?}",
            counted.notices
        );
        // What is counted from what is left is the same, and less than it was.
        assert_eq!(Summary { notices: Vec::new(), ..counted.clone() }, whole(&fake), "seed {seed}");
        assert!(counted.total.runs.total < before.total.runs.total);
    }
}
