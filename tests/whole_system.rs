//! The whole way of an event: two living demo projects under two real agents, one collector. The page must say what
//! the stories made true, and the figures of both sides must add up to the unit (reliability.md row C3).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use server::demo::{Demo, LokiTruth, Truth};
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};
use support::scrape::Page;
use support::{pause, seeded, wait_until};

const SETTLE: Duration = Duration::from_secs(60);

#[test]
fn two_agents_and_one_collector_show_what_four_projects_made_true() {
    let mut random = seeded("whole system");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let clock = Arc::new(SystemClock::new());
    let mut demos: Vec<_> = ["ada", "bob"]
        .map(|user| Demo::create(&folder.path().join(user), random.u64(..), clock.clone()).unwrap())
        .into();
    let agents: Vec<_> = ["ada", "bob"]
        .iter()
        .zip(&demos)
        .map(|(user, demo)| {
            Agent::spawn(&folder.path().join(format!("{user}-agent")), watching(&collector, user, demo))
        })
        .collect();
    let mut story = clock.wall();
    for _ in 0..200 {
        story.0 += 5_000_000;
        demos.iter_mut().for_each(|demo| demo.tick(story).unwrap());
        pause(Duration::from_millis(50));
    }
    let truths: Vec<Truth> = demos.iter().map(Demo::truth).collect();
    let mut faults = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < SETTLE {
        let page = collector.page();
        faults = ["ada", "bob"]
            .iter()
            .zip(&truths)
            .flat_map(|(user, truth)| compare(&page, user, truth))
            .collect();
        if faults.is_empty() {
            break;
        }
        pause(Duration::from_millis(200));
    }
    assert!(faults.is_empty(), "the page is not the truth:\n{}", faults.join("\n"));
    println!("{} runs, {} lines", truths[0].runs_total(), truths[0].loki["shopapi"].event_lines);
    figures_add_up(&collector, &agents);
}

/// Spooled is acknowledged, queued or dropped; acknowledged is accepted; accepted is aggregated or passed over.
#[track_caller]
fn figures_add_up(collector: &Collector, agents: &[Agent]) {
    wait_until("the figures of both sides to add up", SETTLE, || {
        let mut spooled = 0.0;
        for agent in agents {
            let page = agent.page();
            let figure = |name: &str| page.sum(name, &[]);
            let (acked, queued) =
                (figure("muster_agent_events_acked_total"), figure("muster_agent_events_queued"));
            let dropped = figure("muster_agent_events_dropped_total");
            if figure("muster_agent_events_spooled_total") != acked + queued + dropped || queued != 0.0 {
                return false;
            }
            spooled += acked;
        }
        let page = collector.page();
        let figure = |name: &str| page.sum(name, &[]);
        spooled == figure("muster_server_events_accepted_total")
            && spooled == figure("muster_server_events_aggregated_total")
            && figure("muster_server_records_passed_over_total") == 0.0
    });
}

/// What the page says and the truth does not.
fn compare(page: &Page, user: &str, truth: &Truth) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, loki) in &truth.loki {
        compare_loki(page, &format!("{user}-{name}"), loki, &mut faults);
    }
    let (project, devloop) = (format!("{user}-shopapi"), &truth.devloop);
    let mut expect = |name: &str, labels: &[(&str, &str)], value: u64| {
        let labels = [&[("project", project.as_str())], labels].concat();
        let shown = page.sum(name, &labels);
        if shown != value as f64 {
            faults.push(format!("{name}{labels:?} is {shown} and should be {value}"));
        }
    };
    for (worker, runs) in &devloop.runs {
        let runs_of = |status| [("agent", worker.as_str()), ("status", status)];
        expect("devloop_agent_runs_total", &runs_of("success"), runs.success + runs.skipped);
        expect("devloop_agent_runs_total", &runs_of("failure"), runs.failure);
        expect("devloop_agent_runs_total", &runs_of("error"), runs.error);
        expect("muster_runs_total", &runs_of("skipped"), runs.skipped);
    }
    expect("devloop_events_processed_total", &[], devloop.bus_rows);
    expect("devloop_files_changed_total", &[], devloop.file_events);
    expect("devloop_total_pushes", &[], devloop.pushes.passed + devloop.pushes.prevented);
    expect("devloop_successful_pushes", &[], devloop.pushes.passed);
    expect("devloop_issues_found_total", &[], devloop.issues.values().sum());
    faults
}

fn compare_loki(page: &Page, project: &str, truth: &LokiTruth, faults: &mut Vec<String>) {
    let mut expect = |name: &str, status: Option<&str>, value: f64| {
        let labels = [("project", project), ("status", status.unwrap_or_default())];
        let labels = if status.is_some() { &labels[..] } else { &labels[..1] };
        let shown = page.sum(name, labels);
        if (shown - value).abs() > 1e-6 {
            faults.push(format!("{name}{labels:?} is {shown} and should be {value}"));
        }
    };
    expect("loki_events_total", None, truth.event_lines as f64);
    expect("loki_iteration_current", None, truth.iteration as f64);
    if let Some(status) = truth.session_status {
        expect("loki_session_status", None, f64::from(status));
    }
    expect("loki_cost_usd", None, truth.cost_on_disk_microusd as f64 / 1e6);
    let tasks = &truth.tasks;
    for (status, count) in [
        ("pending", tasks.pending),
        ("in_progress", tasks.in_progress),
        ("completed", tasks.completed),
        ("failed", tasks.failed),
    ] {
        expect("loki_tasks_total", Some(status), count as f64);
    }
}

/// Both demos have the same folders; the configuration gives the projects names of their own.
fn watching(collector: &Collector, user: &str, demo: &Demo) -> AgentOptions {
    let name = |path: &Path| format!("{user}-{}", path.file_name().unwrap().to_string_lossy());
    let names = demo.projects().iter().map(|path| format!("{path:?} = {:?}\n", name(path)));
    AgentOptions {
        watch: demo.projects().to_vec(),
        server: Some(format!("http://{}", collector.grpc)),
        config: format!(
            "host_samples = false\nrescan_interval_seconds = 5\n[agent.projects]\n{}",
            names.collect::<String>()
        ),
        ..AgentOptions::default()
    }
}
