//! Two developers' machines and a collector, each with a network of its own: install, enrol, watch, lose the network,
//! revoke one. What the collector shows at the end is what the projects made true, to the unit.
//!
//! `MUSTER_TEST_ROOTS` names a folder with a file system for each machine that has the packages installed
//! (`tests/packages/developers.sh`); without it all run the program that was just built.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::clock::{Clock, SystemClock};
use server::demo::{Demo, Truth};
use support::namespaces::{COLLECTOR_FOR_ADA, COLLECTOR_FOR_BOB, Machine, Team};
use support::process::Process;
use support::scrape::Page;
use support::{pause, rounds, seeded, wait_until};

const START_MAX: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(60);
/// The network is away for this long; with `MUSTER_LONG` for a minute and more.
const OUTAGE_SECONDS: usize = 12;
/// Until a revoked agent's stream has ended.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// A program on one of the machines, with what it needs to be called again.
struct Place<'a> {
    machine: &'a Machine,
    home: PathBuf,
    program: PathBuf,
}

/// A developer at work.
struct Developer<'a> {
    place: Place<'a>,
    demo: Demo,
    agent: Option<Process>,
}

#[test]
fn two_developers_enrol_lose_the_network_and_one_is_revoked() {
    let roots = std::env::var_os("MUSTER_TEST_ROOTS").map(PathBuf::from);
    let Some(team) = Team::create(roots.as_deref()) else { return };
    let mut random = seeded("developers");
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let collector = Place::new(&team.collector, folder.path(), "collector");
    let config = collector_config(&collector);
    let mut serve = collector.command(&["serve", "--config"]);
    serve.arg(collector.inside(&config));
    let mut serve = Process::spawn("collector", serve);
    serve.wait_ready(START_MAX);

    let (token, fingerprint) = enrolment(&collector, &config);
    let mut developer = |name, machine| {
        let place = Place::new(machine, folder.path(), name);
        let demo = Demo::create(&place.home.join("code"), random.u64(..), clock.clone()).unwrap();
        Developer { place, demo, agent: None }
    };
    let mut ada = developer("ada", &team.ada);
    let mut bob = developer("bob", &team.bob);
    ada.join(COLLECTOR_FOR_ADA, &token, &fingerprint);
    bob.join(COLLECTOR_FOR_BOB, &token, &fingerprint);
    let mut story = clock.wall();
    let mut live = |developers: &mut [&mut Developer<'_>], seconds: usize| {
        for _ in 0..seconds * 10 {
            story.0 += 2_000_000;
            developers.iter_mut().for_each(|developer| developer.demo.tick(story).unwrap());
            pause(Duration::from_millis(100));
        }
    };

    live(&mut [&mut ada, &mut bob], 5);
    settle(&collector, &[("ada", &ada.demo.truth()), ("bob", &bob.demo.truth())]);

    team.cable_of_ada.pull();
    live(&mut [&mut ada, &mut bob], rounds(OUTAGE_SECONDS).min(90));
    // The collector goes on with the other one.
    settle(&collector, &[("bob", &bob.demo.truth())]);
    team.cable_of_ada.plug_in();
    settle(&collector, &[("ada", &ada.demo.truth()), ("bob", &bob.demo.truth())]);

    let at_revocation = bob.demo.truth();
    revoke(&collector, &config, "bob");
    live(&mut [&mut ada, &mut bob], 3);
    assert!(bob.demo.truth() != at_revocation, "bob's projects go on");
    settle(&collector, &[("ada", &ada.demo.truth()), ("bob", &at_revocation)]);
    assert!(!bob.agent.as_mut().unwrap().has_ended(), "a revoked agent goes on spooling on its own machine");
}

impl<'a> Place<'a> {
    fn new(machine: &'a Machine, folder: &Path, name: &str) -> Self {
        let home = machine.home_of(name, folder);
        std::fs::create_dir_all(&home).unwrap();
        let program = match (machine.is_packaged(), name) {
            (false, _) => env!("CARGO_BIN_EXE_muster"),
            (true, "collector") => "/usr/bin/muster",
            (true, _) => "/usr/bin/muster-agent",
        };
        Self { machine, home, program: PathBuf::from(program) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.command(&self.program, &self.home);
        // The slim program of the agent's package is `muster agent`.
        let skipped = usize::from(self.program.ends_with("muster-agent"));
        command.args(&arguments[skipped..]).current_dir(&self.home);
        command
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.machine.inside(path)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("ip runs");
        assert!(output.status.success(), "muster {arguments:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Developer<'_> {
    /// Enrols, and lets the agent watch the developer's projects.
    #[track_caller]
    fn join(&mut self, collector: &str, token: &str, fingerprint: &str) {
        let token_file = self.place.home.join("enrol.token");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&token_file).unwrap();
        writeln!(file, "{token}").unwrap();
        let server = format!("https://{collector}:4317");
        let token_file = self.place.inside(&token_file);
        let token_file = token_file.to_str().unwrap();
        let name = self.name();
        self.place.run(&[
            "agent",
            "enroll",
            "--server",
            &server,
            "--enroll-token-file",
            token_file,
            "--ca-fingerprint",
            fingerprint,
            "--name",
            &name,
        ]);
        let mut run = self.place.command(&["agent", "run", "--config"]);
        run.arg(self.place.inside(&self.config(&server)));
        let mut agent = Process::spawn("agent", run);
        agent.wait_ready(START_MAX);
        self.agent = Some(agent);
    }

    fn name(&self) -> String {
        self.place.home.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn config(&self, server: &str) -> PathBuf {
        let projects: Vec<PathBuf> =
            self.demo.projects().iter().map(|path| self.place.inside(path)).collect();
        let named = |path: &PathBuf| {
            format!("{path:?} = {:?}\n", format!("{}-{}", self.name(), path.file_name().unwrap().display()))
        };
        let names: String = projects.iter().map(named).collect();
        let config = format!(
            "[agent]\nserver = {server:?}\nwatch = {projects:?}\nhost_samples = false\nrescan_interval_seconds = 5\n[agent.projects]\n{names}",
        );
        let path = self.place.home.join("muster.toml");
        std::fs::write(&path, config).unwrap();
        path
    }
}

fn collector_config(collector: &Place<'_>) -> PathBuf {
    let path = collector.home.join("muster.toml");
    let data_dir = collector.inside(&collector.home.join("data"));
    let config = format!(
        "[server]\ngrpc_listen = \"0.0.0.0:4317\"\nhttp_listen = \"127.0.0.1:9464\"\notlp_http_listen = \"off\"\n\
         data_dir = {data_dir:?}\n[server.tls]\nnames = [\"{COLLECTOR_FOR_ADA}\", \"{COLLECTOR_FOR_BOB}\"]\n"
    );
    std::fs::write(&path, config).unwrap();
    path
}

/// A token for both, and the fingerprint by which they know the collector.
fn enrolment(collector: &Place<'_>, config: &Path) -> (String, String) {
    let config = collector.inside(config);
    let config = config.to_str().unwrap();
    let create = ["token", "create", "--config", config, "--team", "shop", "--enroll", "--uses", "2"];
    let token = collector.run(&create).trim().to_owned();
    let shown = collector.run(&["authority", "show", "--json", "--config", config]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    (token, shown["fingerprint"].as_str().unwrap().to_owned())
}

fn revoke(collector: &Place<'_>, config: &Path, name: &str) {
    let begun = Instant::now();
    collector.run(&["agents", "revoke", name, "--config", collector.inside(config).to_str().unwrap()]);
    wait_until("the revoked agent's stream to end", REVOKED_WITHIN, || {
        page(collector).is_some_and(|page| page.sum("muster_server_streams", &[]) == 1.0)
    });
    println!("revoked within {:?}", begun.elapsed());
}

fn page(collector: &Place<'_>) -> Option<Page> {
    let output = collector.command(&["metrics", "--host", "127.0.0.1", "--port", "9464"]).output().unwrap();
    output.status.success().then(|| Page::parse(&String::from_utf8(output.stdout).unwrap()))
}

/// Waits until the page says what is true of these developers.
#[track_caller]
fn settle(collector: &Place<'_>, truths: &[(&str, &Truth)]) {
    let mut faults = Vec::new();
    let settled = wait_for_truth(collector, truths, &mut faults);
    assert!(settled, "the page is not the truth:\n{}", faults.join("\n"));
}

fn wait_for_truth(collector: &Place<'_>, truths: &[(&str, &Truth)], faults: &mut Vec<String>) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < SETTLE {
        if let Some(page) = page(collector) {
            *faults = truths.iter().flat_map(|(name, truth)| compare(&page, name, truth)).collect();
            if faults.is_empty() {
                return true;
            }
        }
        pause(Duration::from_millis(300));
    }
    false
}

fn compare(page: &Page, developer: &str, truth: &Truth) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |name: &str, labels: &[(&str, &str)], value: f64| {
        let shown = page.sum(name, labels);
        if (shown - value).abs() > 1e-6 {
            faults.push(format!("{name}{labels:?} is {shown} and should be {value}"));
        }
    };
    for (project, loki) in &truth.loki {
        let project = format!("{developer}-{project}");
        let of = [("project", project.as_str())];
        expect("loki_events_total", &of, loki.event_lines as f64);
        expect("loki_cost_usd", &of, loki.cost_on_disk_microusd as f64 / 1e6);
    }
    let project = format!("{developer}-shopapi");
    for (worker, runs) in &truth.devloop.runs {
        let of = |status| [("project", project.as_str()), ("agent", worker.as_str()), ("status", status)];
        expect("devloop_agent_runs_total", &of("success"), (runs.success + runs.skipped) as f64);
        expect("devloop_agent_runs_total", &of("failure"), runs.failure as f64);
        expect("devloop_agent_runs_total", &of("error"), runs.error as f64);
    }
    expect("devloop_events_processed_total", &[("project", &project)], truth.devloop.bus_rows as f64);
    faults
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
