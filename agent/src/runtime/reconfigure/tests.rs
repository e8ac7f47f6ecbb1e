//! A running agent whose collector asks for one thing after another.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use muster::atomic_file::{self, Access};
use muster::clock::SystemClock;
use muster::v1;
use muster::v1::configuration_report::State;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::*;
use crate::config::{AgentConfig, Overrides};
use crate::uplink::scripted::{Scripted, Told};

/// A folder with an agent's state and a file of runs that it follows.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(machine.state()).expect("a folder");
        std::fs::File::create(machine.file()).expect("a file");
        machine
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("runs.jsonl")
    }

    fn append(&self, workers: &[&str]) {
        let mut file = std::fs::File::options().append(true).open(self.file()).expect("a file");
        for worker in workers {
            writeln!(file, "{{\"worker\": \"{worker}\", \"ok\": \"success\"}}").expect("written");
        }
    }

    /// Its agent, for a collector.
    async fn agent(&self, collector: &Scripted, shutdown: watch::Receiver<bool>) -> Agent {
        let text = format!(
            "[agent]\nserver = \"http://{}\"\nremote_configuration = true\nhost_samples = false\n\
             [[agent.source]]\nname = \"nightly\"\npath = \"{}\"\nkind = \"run\"\n\
             fields = {{ worker = \"worker\", status = \"ok\" }}\n",
            collector.address,
            self.file().display()
        );
        let overrides = Overrides {
            state_dir: Some(self.state()),
            metrics_listen: Some("off".to_owned()),
            ..Overrides::default()
        };
        let config = AgentConfig::parse(&text, overrides, &|_| None).expect("valid");
        Agent::start(config, Arc::new(SystemClock::new()), shutdown).await.expect("an agent")
    }

    /// Runs an agent while `script` does, and answers what that gave.
    async fn while_it_runs<T>(&self, collector: &Scripted, script: impl Future<Output = T>) -> T {
        let (stop, shutdown) = watch::channel(false);
        let agent = self.agent(collector, shutdown).await;
        let script = async {
            let answer = script.await;
            stop.send_replace(true);
            answer
        };
        let (ended, answer) = tokio::join!(agent.run(), script);
        ended.expect("a good end");
        answer
    }
}

fn asking(change: impl FnOnce(&mut v1::OfferedSettings)) -> v1::ConfigurationOffer {
    let mut settings = v1::OfferedSettings::default();
    change(&mut settings);
    let settings = settings.encode_to_vec();
    let hash = Sha256::digest(&settings).to_vec();
    v1::ConfigurationOffer { hash, settings, name: "ci-machines".to_owned() }
}

fn workers(told: &[Told]) -> Vec<&str> {
    told.iter().map(|event| event.worker.as_str()).filter(|worker| !worker.is_empty()).collect()
}

async fn has_run(collector: &Scripted, expected: &[&str]) -> Vec<Told> {
    collector.until_told("runs", |told| workers(told) == expected).await
}

#[tokio::test]
async fn a_source_that_is_off_keeps_its_place_and_nothing_is_lost() {
    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    machine.append(&["one", "two"]);
    let script = async {
        has_run(&collector, &["one", "two"]).await;
        let off = collector.offer(asking(|s| s.sources_off = vec!["nightly".into()])).await;
        assert_eq!(off.state(), State::Applied);
        collector.until_told("the end", |told| told.iter().any(|event| event.is_end)).await;
        machine.append(&["three"]);
        // Longer than a notification takes, and shorter than a rescan.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(workers(&collector.told()), ["one", "two"]);
        let own = collector.offer(v1::ConfigurationOffer::default()).await;
        assert_eq!(own.state(), State::Own);
        machine.append(&["four"]);
        has_run(&collector, &["one", "two", "three", "four"]).await;
    };
    machine.while_it_runs(&collector, script).await;
}

#[tokio::test]
async fn a_source_is_off_at_a_start_without_the_collector_and_reads_all_when_it_is_on_again() {
    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    machine.append(&["one"]);
    let script = async {
        has_run(&collector, &["one"]).await;
        collector.offer(asking(|s| s.sources_off = vec!["nightly".into()])).await;
        collector.until_told("the end", |told| told.iter().any(|event| event.is_end)).await;
    };
    machine.while_it_runs(&collector, script).await;
    machine.append(&["two"]);
    let reports = collector.reports();
    let script = async {
        // Said at once, and not as the answer to an offer.
        let report = collector.report_after(reports).await;
        assert_eq!(report.state(), State::Applied);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(workers(&collector.told()), ["one"]);
        collector.offer(v1::ConfigurationOffer::default()).await;
        has_run(&collector, &["one", "two"]).await;
    };
    machine.while_it_runs(&collector, script).await;
}

#[tokio::test]
async fn a_source_ends_under_its_old_name_when_user_and_host_are_withheld() {
    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    machine.append(&["one"]);
    let script = async {
        let told = has_run(&collector, &["one"]).await;
        let user = told[0].user.clone();
        assert!(!user.is_empty() && !user.starts_with("withheld"), "{user}");
        collector.offer(asking(|s| s.withheld_identity = vec!["user".into(), "host".into()])).await;
        let ended = collector.until_told("the end", |told| told.iter().any(|event| event.is_end)).await.len();
        machine.append(&["two"]);
        let told = has_run(&collector, &["one", "two"]).await;
        let (before, after) = told.split_at(ended);
        assert!(before.iter().all(|event| event.user == user), "{before:?}");
        assert!(after.iter().all(|event| event.user.starts_with("withheld-")), "{after:?}");
        assert_eq!(before.iter().filter(|event| event.is_end).count(), 1);
    };
    machine.while_it_runs(&collector, script).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_obey_what_is_in_force_with_an_agent_and_without() {
    use crate::config::LocalConfig;
    use crate::local::protocol::{Event, Reason, Request};
    use crate::local::{Delivered, DeliveryError, deliver};

    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    let file = machine.folder.path().join("muster.toml");
    let text = b"[agent]\nremote_configuration = true\n";
    atomic_file::replace(&file, text, Access::Owner).expect("a file");
    let state = machine.state();
    let emit = move |id: u64| {
        // Read anew by every command.
        let config = LocalConfig::load(Some(&file), Some(&state), &|_| None).expect("valid");
        let event = Event {
            kind: "log".to_owned(),
            time_us: 1_773_133_200_000_000,
            fields: serde_json::from_value(serde_json::json!({"name": "said"})).expect("an object"),
        };
        let request = Request {
            id: format!("{id:x}"),
            tool: "script".to_owned(),
            tool_version: String::new(),
            project: None,
            folder: "/".to_owned(),
            repository: String::new(),
            branch: String::new(),
            events: vec![event.clone(), event.clone(), event],
        };
        deliver(&config, &request)
    };
    let emit = Arc::new(emit);
    let by_command = |id: u64| {
        let emit = emit.clone();
        async move { tokio::task::spawn_blocking(move || emit(id)).await.expect("no panic") }
    };
    let script = async {
        collector.hello_after(0).await;
        let one_in_two = vec![v1::Sampling { kind: "log_record".into(), one_in: 2 }];
        collector.offer(asking(|s| s.sampling = one_in_two)).await;
        assert_eq!(by_command(1).await.expect("taken"), Delivered::ToAgent { events: 3 });
        let told = collector.until_told("records", |told| told.iter().any(|e| e.tool == "script")).await;
        let weights: Vec<u64> = told.iter().filter(|e| e.tool == "script").map(|e| e.weight).collect();
        assert_eq!(weights, [2, 1]);
        collector.offer(asking(|s| s.sources_off = vec!["local".into()])).await;
        let refused = by_command(2).await;
        assert!(matches!(&refused, Err(DeliveryError::Refused(r)) if r.reason == Reason::Off), "{refused:?}");
    };
    machine.while_it_runs(&collector, script).await;
    let alone = by_command(3).await;
    assert!(matches!(&alone, Err(DeliveryError::Refused(r)) if r.reason == Reason::Off), "{alone:?}");
}

#[tokio::test]
async fn intervals_are_taken_over_and_given_back() {
    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    let (_stop, shutdown) = watch::channel(false);
    let mut agent = machine.agent(&collector, shutdown).await;
    let issuer = crate::remote_configuration::Issuer { server: "here".into(), team: "payments".into() };
    let page = agent.page.clone();
    page.configuration.take(&asking(|s| s.rescan_interval_seconds = Some(7)), &issuer);
    agent.reconfigure().await;
    assert_eq!(agent.in_force.rescan_interval, Duration::from_secs(7));
    page.configuration.take(&v1::ConfigurationOffer::default(), &issuer);
    agent.reconfigure().await;
    assert_eq!(agent.in_force.rescan_interval, Duration::from_secs(60));
}

#[tokio::test]
async fn the_machine_is_measured_again_when_it_may_be() {
    let (machine, collector) = (Machine::new(), Scripted::listen().await);
    let (_stop, shutdown) = watch::channel(false);
    let mut agent = machine.agent(&collector, shutdown).await;
    agent.config.host_samples = true;
    let issuer = crate::remote_configuration::Issuer { server: "here".into(), team: "payments".into() };
    let page = agent.page.clone();
    for (off, is_measured) in [(vec![], true), (vec!["host".to_owned()], false), (vec![], true)] {
        let offer = asking(|s| {
            s.sources_off = off;
            s.host_sample_interval_seconds = Some(30);
        });
        page.configuration.take(&offer, &issuer).expect("taken");
        agent.reconfigure().await;
        assert_eq!(agent.host.is_some(), is_measured);
    }
}
