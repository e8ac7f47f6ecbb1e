//! Whole payloads in, pages out.

mod bounds;
mod conflicts;
mod payload;
mod replay;
mod temporality;

use std::time::Duration;

use metrics::{Format, PageRequest};
use muster::clock::{Monotonic, WallTime};
use muster::ids::Team;

use super::*;
use payload::{Resource, delta, gauge, resource};

pub(super) const NOON_US: u64 = 1_771_588_800_000_000;

/// A series store with a clock beside it.
pub(super) struct Bench {
    pub(super) series: ForeignSeries,
    pub(super) config: ForeignConfig,
    seconds: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(ForeignConfig::default())
    }

    pub(super) fn with(config: ForeignConfig) -> Self {
        Self { series: ForeignSeries::new(config.clone()), config, seconds: 0 }
    }

    pub(super) fn send(&mut self, resource: Resource) {
        self.send_as("core", resource);
    }

    pub(super) fn send_as(&mut self, team: &str, resource: Resource) {
        let team: Team = team.parse().expect("a team");
        let at = Applied {
            wall: WallTime(NOON_US + self.seconds * 1_000_000),
            monotonic: Monotonic(Duration::from_secs(self.seconds)),
        };
        self.series.apply(&Origin::of_team(&team), &resource.request(), at).expect("a request");
    }

    pub(super) fn sleep(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.series.expire(Monotonic(Duration::from_secs(self.seconds)));
    }

    pub(super) fn restart(&mut self) {
        let bytes = self.series.snapshot();
        self.series = ForeignSeries::restore(self.config.clone(), &bytes).expect("its own snapshot");
        assert_eq!(self.series.snapshot(), bytes);
    }

    pub(super) fn page(&self, format: Format) -> String {
        self.page_of(&PageRequest { format, ..Default::default() })
    }

    pub(super) fn page_of(&self, request: &PageRequest) -> String {
        let mut page = Vec::new();
        self.series.render(request, [], &mut page);
        String::from_utf8(page).expect("text")
    }

    /// Samples in text 0.0.4 of families that are not our figures, without the team, which is the same for all.
    pub(super) fn samples(&self) -> Vec<String> {
        let page = self.page(Format::Text004);
        let lines = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("muster_otlp_"));
        lines.map(|line| line.replace("team=\"core\",", "").replace("{team=\"core\"}", "")).collect()
    }

    pub(super) fn dropped(&self, reason: Dropped) -> u64 {
        let stats = self.series.stats();
        stats.dropped.iter().find(|(other, _)| *other == reason).map_or(0, |(_, points)| *points)
    }
}

#[test]
fn a_payload_of_claude_code_is_on_the_page_as_its_dashboards_have_it() {
    let mut bench = Bench::new();
    let claude =
        resource(&[("service.name", "claude-code"), ("service.version", "2.1.0"), ("user.name", "dana")]);
    let point = delta(0.25).attributes(&[("session.id", "s1"), ("model", "opus"), ("user.email", "d@x")]);
    bench.send(claude.scope("com.anthropic.claude_code", "2.1.0").sum(
        "claude_code.cost.usage",
        "USD",
        vec![point.clone(), point.attribute("session.id", "s2")],
    ));
    let scope = "otel_scope_name=\"com.anthropic.claude_code\",otel_scope_version=\"2.1.0\"";
    let target = "team=\"core\",user=\"dana\",job=\"claude-code\"";
    let labels = format!("{target},model=\"opus\",{scope},user_email=\"d@x\"");
    let page = bench.page(Format::OpenMetrics100);
    let expected = format!(
        "# TYPE claude_code_cost_usage_USD counter\n\
         # UNIT claude_code_cost_usage_USD USD\n\
         claude_code_cost_usage_USD_total{{{labels}}} 0.5\n\
         claude_code_cost_usage_USD_created{{{labels}}} 1771588740\n\
         # HELP target What is known of who sends over OTLP\n\
         # TYPE target info\n\
         target_info{{{target},service_version=\"2.1.0\"}} 1\n"
    );
    assert!(page.starts_with(&expected), "{page}");
    let page = bench.page(Format::Text004);
    let expected = format!(
        "# TYPE claude_code_cost_usage_USD_total counter\n\
         claude_code_cost_usage_USD_total{{{labels}}} 0.5\n\
         # HELP target_info What is known of who sends over OTLP\n\
         # TYPE target_info gauge\n"
    );
    assert!(page.starts_with(&expected), "{page}");
}

#[test]
fn what_the_agent_says_wins_over_the_resource_and_over_attributes() {
    let mut series = ForeignSeries::new(ForeignConfig::default());
    let team: Team = "core".parse().expect("a team");
    let origin = Origin { team: &team, user: "dana", host: "", project: "shop" };
    let request = resource(&[("user.name", "mallory"), ("host.name", "laptop")]).gauge(
        "load",
        "1",
        vec![gauge(0.5).attributes(&[("team", "x"), ("project", "y"), ("user", "z")])],
    );
    let at = Applied { wall: WallTime(NOON_US), monotonic: Monotonic(Duration::ZERO) };
    series.apply(&origin, &request.request(), at).expect("a request");
    let mut page = Vec::new();
    series.render(&PageRequest::default(), [], &mut page);
    let page = String::from_utf8(page).expect("text");
    let expected = "load_ratio{team=\"core\",user=\"dana\",host=\"laptop\",project=\"shop\",\
                    exported_project=\"y\",exported_team=\"x\",exported_user=\"z\"} 0.5\n";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn pages_are_of_the_teams_projects_and_names_that_are_asked_for() {
    let mut bench = Bench::new();
    let load =
        |project, value| resource(&[("muster.project", project)]).gauge("load", "", vec![gauge(value)]);
    bench.send_as("red", load("shop", 1.0));
    bench.send_as("blue", load("shop", 2.0));
    bench.send_as("red", load("site", 3.0));
    bench.send_as("red", resource(&[]).gauge("heat", "", vec![gauge(4.0)]));
    let shown = |request: &PageRequest| {
        let page = bench.page_of(request);
        let samples = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("muster_otlp_"));
        samples.map(|line| line.rsplit(' ').next().unwrap_or("").to_owned()).collect::<Vec<_>>().join(" ")
    };
    let list = |text: &str| Some(vec![text.to_owned()]);
    assert_eq!(shown(&PageRequest::default()), "4 2 1 3");
    assert_eq!(shown(&PageRequest { team: list("red"), ..Default::default() }), "4 1 3");
    assert_eq!(shown(&PageRequest { project: list("shop"), ..Default::default() }), "2 1");
    assert_eq!(shown(&PageRequest { names: vec!["heat".to_owned()], ..Default::default() }), "4");
    let blue = bench.page_of(&PageRequest { team: list("blue"), ..Default::default() });
    assert!(!blue.contains("red"), "{blue}");
}

#[test]
fn a_page_in_parts_is_the_same_page() {
    let mut bench = Bench::new();
    for name in ["a", "b", "c", "d", "e"] {
        bench.send(resource(&[("service.name", "x"), ("os", "y")]).gauge(name, "", vec![gauge(1.0)]));
    }
    let request = PageRequest::default();
    let mut page = Vec::new();
    let mut next = Some(PageCursor::new([]));
    while let Some(cursor) = next {
        let part_end = page.len() + 1;
        next = bench.series.render_part(&request, cursor, part_end, &mut page);
    }
    assert_eq!(String::from_utf8(page).expect("text"), bench.page(Format::Text004));
}

#[test]
fn a_request_that_is_none_changes_nothing() {
    let mut bench = Bench::new();
    let team = Team::default_team();
    let before = bench.series.snapshot();
    let at = Applied { wall: WallTime(NOON_US), monotonic: Monotonic(Duration::ZERO) };
    assert!(bench.series.apply(&Origin::of_team(&team), b"\xff\xff\xff", at).is_err());
    assert_eq!(bench.series.snapshot(), before);
}
