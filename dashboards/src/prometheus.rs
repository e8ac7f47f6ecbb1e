//! Scrape configurations, recording rules and alerts for Prometheus and Alertmanager.
//!
//! A rule is described together with a case in which it speaks and one in which it does not ([`rule`]); from both come
//! the files of rules and what `promtool test rules` runs. Alerts keep the names that the guides gave them; where a
//! guide's expression cannot work, `docs/guides-differences.md` says why. Each alert has a section of its name in
//! `docs/alerting.md`.

mod alertmanager;
mod burn;
mod devloop;
mod loki_mode;
mod rule;
mod scrape;
mod service;
mod yaml;

use crate::GeneratedFile;
use crate::names::Recorded;
use rule::RuleFile;

/// Every file for Prometheus.
pub fn files() -> Vec<GeneratedFile> {
    let mut files = scrape::files();
    files.push(GeneratedFile::new("prometheus/alertmanager.yml", alertmanager::CONFIGURATION));
    for rules in rule_files() {
        files.push(GeneratedFile::new(format!("prometheus/rules/{}.yml", rules.name), yaml::rules(&rules)));
        let path = format!("prometheus/tests/{}.test.yml", rules.name);
        files.push(GeneratedFile::new(path, yaml::cases(&rules)));
    }
    files
}

fn rule_files() -> Vec<RuleFile> {
    vec![devloop::file(), loki_mode::file(), service::file()]
}

/// The series that the recording rules make. Dashboards and alerts may name them.
pub fn recorded() -> &'static [Recorded] {
    &RECORDED
}

const PROJECT: &[&str] = &["environment", "team", "project"];
const PROJECT_AGENT: &[&str] = &["environment", "team", "project", "agent"];

static RECORDED: [Recorded; 23] = {
    let mut all =
        [Recorded { name: "muster_slo:availability:ratio_30d", labels: &["job", "instance", "environment"] };
            23];
    let by_project = [
        "devloop_slo:agent_response_time:p95_1h",
        "devloop_slo:agent_response_time:p95_5m",
        "devloop_slo:success_rate:5m",
        "devloop_slo:success_rate:30m",
        "project:devloop_agent_runs:increase1h",
        "project:devloop_agent_runs:increase1d",
    ];
    let mut next = 1;
    while next <= by_project.len() {
        all[next] = Recorded { name: by_project[next - 1], labels: PROJECT };
        next += 1;
    }
    all[next] = Recorded { name: "devloop_agent_success_rate:5m", labels: PROJECT_AGENT };
    all[next + 1] = Recorded { name: "devloop_agent_latency:p95_5m", labels: PROJECT_AGENT };
    next += 2;
    let mut window = 0;
    while window < burn::FAILED.len() {
        all[next] = Recorded { name: burn::FAILED[window].1, labels: PROJECT };
        all[next + 1] = Recorded { name: burn::SLOW[window].1, labels: PROJECT };
        next += 2;
        window += 1;
    }
    all
};

#[cfg(test)]
mod tests;
