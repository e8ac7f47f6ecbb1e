//! A real Prometheus scrapes a real collector that hears real agents, one beside the demo and one beside the fixtures, for
//! two minutes. The guides' PromQL, every panel of the shipped dashboards and every shipped rule run against it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use muster::v1;
use muster::v1::event::Kind;
use server::demo::Demo;
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};
use support::guides::{Expect, QUERIES};
use support::process::Process;
use support::python::tool;
use support::raw_agent::{Identity, RawAgent, event, run_finished};
use support::{copy_folder, fixture, http, pause, seeded, wait_for, wait_until};

const START_MAX: Duration = Duration::from_secs(30);
/// Time that Prometheus watches: its scrapes come every second, so that a rate over a minute has sixty of them.
const WATCHED: Duration = Duration::from_secs(120);
/// Time between two ticks of the demo, and between two messages of what it lacks.
const TICK: Duration = Duration::from_millis(300);
const TOLD_EVERY: u32 = 16;

/// State directories of the tools. They lie still; what they hold is there from the start.
const FIXTURES: &[&str] = &[
    "loki/running",
    "loki/paused",
    "loki/stopped",
    "loki/stale-after-exit",
    "loki/corrupt",
    "loki/multi-session",
    "devloop/healthy",
    "devloop/failing",
    "devloop/corrupt",
    "devloop/sqlite-wal",
    "devloop/hot-journal",
    "devloop/restart-replay/after",
];

#[test]
fn every_query_of_the_guides_every_panel_and_every_rule_answers_from_a_real_prometheus() {
    let Some(prometheus) = tool("MUSTER_TEST_PROMETHEUS") else { return };
    let mut random = seeded("prometheus");
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there: what the dashboards show of destinations is about one that is behind.
    let config =
        "[[destination]]\nname = \"nowhere\"\nprofile = \"otlp\"\nendpoint = \"http://127.0.0.1:9\"\n";
    let options = CollectorOptions { config: config.to_owned(), ..CollectorOptions::default() };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let clock = Arc::new(SystemClock::new());
    let mut demo = Demo::create(&folder.path().join("demo"), random.u64(..), clock.clone()).unwrap();
    let agent = |name: &str, watch: Vec<PathBuf>| {
        let server = Some(format!("http://{}", collector.grpc));
        Agent::spawn(&folder.path().join(name), AgentOptions { watch, server, ..AgentOptions::default() })
    };
    let agents = [
        agent("agent", demo.projects().to_vec()),
        agent("agent-of-fixtures", copies_of_fixtures(&folder.path().join("fixtures"))),
    ];
    let address = free_address();
    let pages = agents.each_ref().map(|agent| agent.metrics);
    let process = start_prometheus(&prometheus, folder.path(), address, collector.http, &pages);
    let mut teller = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    // The story goes on for all that time, some fifteen times as fast as it would by itself.
    let (mut story, end) = (clock.wall(), clock.monotonic().0 + WATCHED);
    for tick in 0.. {
        story.0 += 5_000_000;
        demo.tick(story).unwrap();
        if tick % TOLD_EVERY == 0 {
            tell_what_the_demo_lacks(&mut teller);
        }
        if clock.monotonic().0 >= end {
            break;
        }
        pause(TICK);
    }
    wait_until("scrapes of a minute and more", START_MAX, || {
        let count = "count_over_time(up{job=\"muster\"}[5m])";
        ask(address, count).is_ok_and(|answer| answer.iter().any(|v| v.1 >= 60.0))
    });
    let up = ask(address, "up").unwrap();
    assert_eq!(up.len(), 1 + agents.len());
    assert!(up.iter().all(|series| series.1 == 1.0), "a last scrape failed: {up:?}\n{}", process.log());
    let mut faults = missing_fixtures(address);
    for (query, expect) in QUERIES {
        let fault = match (ask(address, query), expect) {
            (Err(error), _) => Some(error),
            (Ok(answer), Expect::Series) if answer.is_empty() => Some("answers nothing".to_owned()),
            (Ok(answer), Expect::Nothing(why)) if !answer.is_empty() => {
                Some(format!("answers {} series, though {why}", answer.len()))
            }
            (Ok(_), _) => None,
        };
        faults.extend(fault.map(|fault| format!("{query}\n    {fault}")));
    }
    faults.extend(panel_faults(address));
    faults.extend(rule_faults(address));
    let names = ask(address, "group by (__name__) ({job=\"muster\"})").unwrap();
    assert!(faults.is_empty(), "{}\nknown names: {names:?}", faults.join("\n"));
}

#[test]
fn the_shipped_configuration_reads_a_collector_behind_tls_as_far_as_its_token_goes() {
    let Some(prometheus) = tool("MUSTER_TEST_PROMETHEUS") else { return };
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["collector.example.com".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = CollectorOptions {
        config: format!("[server.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n"),
        // An address that others can reach, so that a token is needed.
        environment: vec![("MUSTER_HTTP_LISTEN".to_owned(), "0.0.0.0:0".to_owned())],
        ..CollectorOptions::default()
    };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let shipped = dashboards::files();
    let shipped = shipped.iter().find(|file| file.path == "prometheus/prometheus-bearer.yml").unwrap();
    let name = "collector.example.com";
    let text =
        shipped.content.replace(&format!("'{name}:9464'"), &format!("'127.0.0.1:{}'", collector.http.port()));
    // The name is not in any DNS; the certificate is judged all the same.
    let text = text.replace("      ca_file:", &format!("      server_name: {name}\n      ca_file:"));
    let text = text.replace("scrape_interval: 15s", "scrape_interval: 1s\n  scrape_timeout: 1s");
    let running = [("operator", &["--operator"][..]), ("team", &["--team", "red"]), ("nobody", &[])].map(
        |(reader, scope)| {
            let home = folder.path().join(reader);
            std::fs::create_dir_all(home.join("secrets")).unwrap();
            let token = match scope {
                [] => b"mst_agt_none".to_vec(),
                scope => collector.command(&[&["token", "create"], scope].concat()).stdout,
            };
            std::fs::write(home.join("secrets/muster-token"), token.trim_ascii()).unwrap();
            std::fs::copy(&certificate, home.join("secrets/ca.pem")).unwrap();
            let address = free_address();
            (address, spawn_prometheus(&prometheus, &home, &text, address))
        },
    );
    let [operator, team, nobody] = running.each_ref().map(|(address, _)| *address);
    let reads = |address, query: &str, wanted: usize| {
        wait_until(&format!("{query} to answer"), START_MAX, || {
            ask(address, query).is_ok_and(|answer| answer.len() == wanted)
        });
    };
    reads(operator, "up{job=\"muster\"} == 1", 1);
    reads(operator, "muster_server_agents", 2);
    reads(team, "up{job=\"muster\"} == 1", 1);
    reads(team, "{__name__=~\"muster_server_.*\"}", 0);
    reads(nobody, "up{job=\"muster\"} == 0", 1);
}

#[test]
fn a_prometheus_reads_with_a_certificate_of_its_own_authority_until_its_name_is_taken_out() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let Some(prometheus) = tool("MUSTER_TEST_PROMETHEUS") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let (issuer, name) = (Issuer::new(params, key), "prometheus.monitoring.svc");
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let home = folder.path().join("prometheus");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(home.join("key.pem"), key.serialize_pem()).unwrap();
    let scrapers = folder.path().join("scrapers.pem");
    std::fs::write(&scrapers, authority.pem()).unwrap();

    let config = |name: &str| {
        format!(
            "http_client_ca_file = {scrapers:?}\n[[server.http_client]]\nname = {name:?}\noperator = true\n\
             [server.tls]\nnames = [\"localhost\"]\n"
        )
    };
    let options = CollectorOptions {
        config: config(name),
        environment: vec![("MUSTER_HTTP_LISTEN".to_owned(), "0.0.0.0:0".to_owned())],
        ..CollectorOptions::default()
    };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    std::fs::write(home.join("ca.pem"), collector.command(&["authority", "show", "--pem"]).stdout).unwrap();
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n  - job_name: muster\n    scheme: https\n    \
         tls_config: {{ ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem, server_name: localhost }}\n    \
         static_configs:\n      - targets: ['127.0.0.1:{}']\n",
        collector.http.port()
    );
    let address = free_address();
    let process = spawn_prometheus(&prometheus, &home, &text, address);
    let reads = |query: &str| {
        wait_until(&format!("{query} to answer\n{}", process.log()), START_MAX, || {
            ask(address, query).is_ok_and(|answer| !answer.is_empty())
        });
    };
    reads("up{job=\"muster\"} == 1");
    reads("muster_server_agents");
    let path = support::collector::config_path(&collector.folder);
    let without = std::fs::read_to_string(&path).unwrap().replace(name, "other.example");
    std::fs::write(&path, without).unwrap();
    collector.process.signal(rustix::process::Signal::HUP);
    reads("up{job=\"muster\"} == 0");
}

/// Each in a project of its own, named after it: SQLite changes some of them as they are read.
fn copies_of_fixtures(folder: &Path) -> Vec<PathBuf> {
    let copy = |name: &&str| {
        let project = folder.join(name.replace('/', "-"));
        copy_folder(&fixture(name), &project);
        project
    };
    FIXTURES.iter().map(copy).collect()
}

/// Fixtures of which nothing came to Prometheus.
fn missing_fixtures(address: SocketAddr) -> Vec<String> {
    let projects = ask(address, "group by (project) (muster_events_applied_total)").unwrap();
    let is_there = |name: &str| projects.iter().any(|(labels, _)| labels.contains(&format!("\"{name}\"")));
    let missing = FIXTURES.iter().map(|name| name.replace('/', "-")).filter(|name| !is_there(name));
    missing.map(|name| format!("nothing of the fixture {name} was counted: {projects:?}")).collect()
}

/// Rules that are not loaded, were not evaluated or failed, and recorded series without a value.
fn rule_faults(address: SocketAddr) -> Vec<String> {
    let answer = http::try_get(address, "/api/v1/rules", &[]).unwrap().json();
    let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules: Vec<_> =
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
    let mut faults: Vec<String> = rules
        .iter()
        .filter(|rule| rule["health"] != "ok" || rule["lastError"].as_str().is_some_and(|e| !e.is_empty()))
        .map(|rule| format!("rule {}: {} {}", rule["name"], rule["health"], rule["lastError"]))
        .collect();
    let is_rule = |line: &&str| line.trim().starts_with("- alert: ") || line.trim().starts_with("- record: ");
    let shipped = rule_files().iter().map(|(_, text)| text.lines().filter(is_rule).count()).sum::<usize>();
    if rules.len() != shipped {
        faults.push(format!("{} rules are loaded, {shipped} are shipped", rules.len()));
    }
    for recorded in dashboards::prometheus::recorded() {
        match ask(address, recorded.name) {
            Ok(answer) if answer.iter().any(|series| !series.1.is_nan()) => {}
            answer => faults.push(format!("nothing is recorded as {}: {answer:?}", recorded.name)),
        }
    }
    faults
}

/// The files of rules by their names, evaluated every few seconds instead of every half minute or more.
fn rule_files() -> Vec<(String, String)> {
    let quick = |line: &str| match line.trim_start().strip_prefix("interval: ") {
        Some(interval) => line.replace(interval, "5s"),
        None => line.to_owned(),
    };
    let files = dashboards::files().into_iter();
    let files = files.filter(|file| file.path.starts_with("prometheus/rules/"));
    files
        .map(|file| {
            let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
            (name, file.content.lines().map(|line| quick(line) + "\n").collect())
        })
        .collect()
}

/// What happens to nobody here: of the panels that are empty by nature, those about these stay so in this test. All
/// others must have data, since here every tool tells everything.
const QUIET: &[&str] = &[
    "ALERTS",
    "muster_unknown_events_total",
    "muster_events_extrapolated_total",
    "muster_series_overflow_total",
    "muster_server_streams_ended_total",
    "muster_server_connections_refused_total",
    "muster_server_credentials_refused_total",
    "muster_server_accept_paused",
    "muster_server_agent_configurations",
    "muster_server_reloads_total",
    "muster_destination_dropped_items_total",
    "muster_agent_events_dropped_total",
];

/// Panels of the shipped dashboards that answer nothing although they should, or nothing but NaN.
fn panel_faults(address: SocketAddr) -> Vec<String> {
    let mut faults = Vec::new();
    for query in dashboards::grafana::panel_queries() {
        let expression = query.for_all("1m", "5m");
        let may_be_empty =
            query.empty_by_nature.is_some() && QUIET.iter().any(|name| expression.contains(name));
        let fault = match ask(address, &expression) {
            Err(error) => Some(error),
            Ok(answer) if !may_be_empty && answer.iter().all(|series| series.1.is_nan()) => {
                Some(format!("answers nothing: {answer:?}"))
            }
            Ok(_) => None,
        };
        faults.extend(fault.map(|f| format!("{}, {}: {expression}\n    {f}", query.dashboard, query.panel)));
    }
    faults
}

/// Facts that the guides chart and that DevLoop itself never produces.
#[track_caller]
fn tell_what_the_demo_lacks(teller: &mut RawAgent) {
    let saved = |kind: v1::TimeSavedKind| {
        event(Kind::TimeSaved(v1::TimeSaved { kind: kind as i32, saved_us: 90_000_000, modelled: true }))
    };
    let push = |allowed, prevented_bad_push| {
        let gate = v1::PushGate::PrePush as i32;
        event(Kind::PushChecked(v1::PushChecked { gate, allowed, prevented_bad_push, reason: 0 }))
    };
    let found = |change: v1::FindingChange| {
        let (severity, change) = (v1::Severity::High as i32, change as i32);
        event(Kind::Finding(v1::Finding { severity, change, count: 2, ..Default::default() }))
    };
    let sample = v1::ResourceSample {
        scope: v1::ResourceScope::Tool as i32,
        cpu_percent: Some(12.5),
        memory_bytes: Some(262_144_000),
        disk_io_bytes: Some(4_096),
        ..Default::default()
    };
    let events = vec![
        run_finished("linter", v1::RunStatus::Success),
        run_finished("linter", v1::RunStatus::Error),
        saved(v1::TimeSavedKind::Developer),
        saved(v1::TimeSavedKind::Build),
        push(true, false),
        push(false, true),
        found(v1::FindingChange::Found),
        found(v1::FindingChange::Dismissed),
        event(Kind::FindingsFixed(v1::FindingsFixed { count: 1 })),
        event(Kind::ActiveFindings(v1::ActiveFindings { critical: 1, high: 2, medium: 3, low: 4 })),
        event(Kind::QueueDepth(v1::QueueDepth { worker: 0, depth: 3 })),
        event(Kind::FilesWatched(v1::FilesWatched { count: 10 })),
        event(Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(5_000) })),
        event(Kind::ResourceSample(sample)),
        event(Kind::RunFinished(v1::RunFinished {
            duration_us: Some(90_000),
            queued_us: Some(40_000),
            status: v1::RunStatus::Success as i32,
            ..Default::default()
        })),
        event(Kind::ToolCall(v1::ToolCall {
            status: v1::RunStatus::Failure as i32,
            duration_us: Some(70_000),
            ..Default::default()
        })),
        // Tokens whose cost nobody tells.
        event(Kind::Usage(v1::Usage { input_tokens: 900, cache_read_tokens: 90_000, ..Default::default() })),
        event(Kind::OtlpPayload(v1::OtlpPayload {
            signal: v1::OtlpSignal::Logs as i32,
            item_count: 2,
            ..Default::default()
        })),
    ];
    assert_eq!(teller.send("devloop", "told", events).outcome(), v1::verdict::Outcome::Appended);
}

/// The value of each series that a query answers with.
fn ask(address: SocketAddr, query: &str) -> Result<Vec<(String, f64)>, String> {
    let path = format!("/api/v1/query?query={}", http::encode(query));
    let answer = http::try_get(address, &path, &[]).ok_or("no answer")?.json();
    if answer["status"] != "success" {
        return Err(answer["error"].to_string());
    }
    let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let value = |series: &serde_json::Value| series["value"][1].as_str().and_then(|v| v.parse().ok());
    Ok(result.iter().filter_map(|s| Some((s["metric"].to_string(), value(s)?))).collect())
}

/// Scrapes the collector, and of the agents' pages what only the agents know. Evaluates the shipped rules.
fn start_prometheus(
    program: &Path,
    folder: &Path,
    listen: SocketAddr,
    collector: SocketAddr,
    agents: &[SocketAddr],
) -> Process {
    let rules = folder.join("rules");
    std::fs::create_dir_all(&rules).unwrap();
    for (name, text) in rule_files() {
        std::fs::write(rules.join(name), text).unwrap();
    }
    let agents: Vec<_> = agents.iter().map(|agent| format!("'{agent}'")).collect();
    let text = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nrule_files: ['{rules}/*.yml']\nscrape_configs:\n  \
         - job_name: muster\n    honor_labels: true\n    static_configs:\n      - targets: ['{collector}']\n        \
         labels: {{ environment: production }}\n  - job_name: muster-agent\n    static_configs:\n      \
         - targets: [{agents}]\n        labels: {{ environment: production }}\n    metric_relabel_configs:\n      \
         - source_labels: [__name__]\n        regex: muster_agent_.*\n        action: keep\n",
        rules = rules.display(),
        agents = agents.join(", "),
    );
    spawn_prometheus(program, folder, &text, listen)
}

fn spawn_prometheus(program: &Path, folder: &Path, config: &str, listen: SocketAddr) -> Process {
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", path.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
    command.arg(format!("--web.listen-address={listen}"));
    let process = Process::spawn("prometheus", command);
    wait_for("Prometheus", START_MAX, || http::try_get(listen, "/-/ready", &[]).filter(|r| r.status == 200));
    process
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
