//! Credentials, secrets and clones (reliability.md rows D1, D3, D5).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use muster::credential::Token;
use muster::v1::RunStatus;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use support::agent::{Agent, AgentOptions, state_dir, write_config};
use support::canary::{Canary, count_in_folder, find_in_folder};
use support::collector::{Collector, CollectorOptions, muster};
use support::live_project::line;
use support::raw_agent::{Identity, RawAgent, Refusal, run_finished};
use support::{fixture, pause, seeded, wait_until};
use tonic::Code;

const SETTLE: Duration = Duration::from_secs(30);

/// Row D1.
#[test]
fn wrong_revoked_and_cut_tokens_are_refused_without_detail_and_teams_come_from_tokens_alone() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let (red, _) = create_token(&collector, "red");
    let (blue, blue_id) = create_token(&collector, "blue");

    let mut as_red = RawAgent::connect(collector.grpc, &Identity::with_token(&red)).unwrap();
    let mut as_blue = RawAgent::connect(collector.grpc, &Identity::with_token(&blue)).unwrap();
    assert_eq!((as_red.welcome.team.as_str(), as_blue.welcome.team.as_str()), ("red", "blue"));
    let runs = |n| (0..n).map(|_| run_finished("linter", RunStatus::Success)).collect();
    assert_eq!(as_red.send("devloop", "p", runs(3)).outcome(), Outcome::Appended);
    assert_eq!(as_blue.send("devloop", "p", runs(4)).outcome(), Outcome::Appended);
    let count = |team| collector.page().sum("devloop_agent_runs_total", &[("team", team)]);
    wait_until("both teams' runs", SETTLE, || (count("red"), count("blue")) == (3.0, 4.0));

    let unknown = Token::from_random(std::array::from_fn(|_| fastrand::u8(..)));
    let other_secret = format!("{}{}", &red[..21], &unknown.expose()[21..]);
    let mut words = std::collections::BTreeSet::new();
    for wrong in [unknown.expose(), &red[..red.len() - 1], &red[..30], &other_secret, "", "mst_agt_", "x"] {
        match RawAgent::connect(collector.grpc, &Identity::with_token(wrong)) {
            Err(Refusal::Ended(code, message)) => {
                assert_eq!(code, Code::Unauthenticated, "{message}");
                words.insert(message);
            }
            other => panic!("{wrong:?} was not refused: {:?}", other.err()),
        }
    }
    assert_eq!(words.len(), 1, "the words tell why: {words:?}");

    revoke_token(&collector, &blue_id);
    let began = Instant::now();
    let ended = as_blue.hear();
    assert!(matches!(ended, Err(Refusal::Ended(Code::Unauthenticated, _))), "{ended:?}");
    println!("revoked on the open stream after {:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_secs(5), "revoking took {:?}", began.elapsed());
    let again = RawAgent::connect(collector.grpc, &Identity::with_token(&blue));
    assert!(matches!(again.err(), Some(Refusal::Ended(Code::Unauthenticated, _))));
    assert_eq!(as_red.send("devloop", "p", runs(1)).outcome(), Outcome::Appended, "the other team goes on");
    secret_is_sealed(&collector, &[&red, &blue]);
}

/// Row D1: a thousand guesses cost little and lock nobody out.
#[test]
fn a_thousand_guesses_are_limited_and_lock_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let (token, _) = create_token(&collector, "red");
    let (cpu, began) = (collector.process.cpu_time(), Instant::now());
    let guessed = Token::from_random([7; 44]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(guess(collector.grpc, guessed.expose(), 1_000));
    println!("1,000 guesses in {:?}, {:?} of CPU", began.elapsed(), collector.process.cpu_time() - cpu);
    assert_eq!(refused, 1_000);
    let page = collector.page();
    let limited = page.sum("muster_server_credentials_refused_total", &[("reason", "limited")]);
    assert!(limited >= 900.0, "only {limited} guesses were limited");
    assert!(collector.process.log().len() < 200_000, "guesses fill the log");
    RawAgent::connect(collector.grpc, &Identity::with_token(&token))
        .expect("the right token is welcome meanwhile");
}

/// A token file that others can read is refused, and nothing of it is told.
#[test]
fn a_token_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = Token::from_random(std::array::from_fn(|_| fastrand::u8(..)));
    let file = folder.path().join("token");
    std::fs::write(&file, token.expose()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let options = AgentOptions {
        server: Some("http://127.0.0.1:9".to_owned()),
        token_file: Some(file),
        ..AgentOptions::default()
    };
    let config = write_config(folder.path(), &options, "127.0.0.1:0".parse().unwrap());
    let output = muster().args(["agent", "run", "--config"]).arg(config).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("chmod 600"), "{said}");
    assert!(!said.contains(token.expose()), "{said}");
}

/// Row D3: secrets in every file of real projects, in the environment and in paths stay on the machine.
#[test]
fn canary_secrets_in_every_file_never_leave_the_project() {
    let mut random = seeded("canaries");
    let canary = Canary::new(&mut random);
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join(format!("home-{}", canary.word));
    for (tool, tree) in
        [("loki", "running"), ("loki", "corrupt"), ("loki", "multi-session"), ("loki", "paused")]
            .into_iter()
            .chain([
                ("devloop", "healthy"),
                ("devloop", "failing"),
                ("devloop", "corrupt"),
                ("devloop", "sqlite-wal"),
            ])
    {
        let project = home.join(format!("{tool}-{tree}"));
        support::copy_folder(&fixture(&format!("{tool}/{tree}")), &project);
        canary.plant(&project);
    }
    let planted = count_in_folder(&home, &canary.secret) + count_in_folder(&home, &canary.prose);
    assert!(planted >= 80, "only {planted} files have a canary: the search proves nothing");
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let (token, _) = create_token(&collector, "red");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, &token).unwrap();
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = AgentOptions {
        watch: vec![home.clone()],
        server: Some(format!("http://{}", collector.grpc)),
        token_file: Some(token_file),
        environment: vec![
            ("OPENAI_API_KEY".to_owned(), canary.secret.clone()),
            ("MUSTER_LOG".to_owned(), "debug".to_owned()),
        ],
        ..AgentOptions::default()
    };
    let agent_folder = folder.path().join("agent");
    let agent = Agent::spawn(&agent_folder, options.clone());
    let page = collector.wait_page("facts of all projects", SETTLE, |page| {
        page.sum("loki_events_total", &[("project", "loki-running")]) > 0.0
            && page.sum("devloop_agent_runs_total", &[("project", "devloop-failing")]) > 0.0
            && page.sum("devloop_agent_runs_total", &[("project", "devloop-sqlite-wal")]) > 0.0
    });
    // Late lines as well, with everything that a prompt could hold.
    canary.plant(&home.join("loki-running"));
    pause(Duration::from_secs(3));

    let preview_config = write_config(&folder.path().join("agent"), &options, agent.metrics);
    let preview = muster().args(["agent", "preview", "--config"]).arg(preview_config).output().unwrap();
    let mut told = vec![
        ("the collector's page", page.text),
        ("the agent's page", agent.page().text),
        ("the agent's log", agent.process.log()),
        ("the collector's log", collector.process.log()),
        ("the preview", String::from_utf8_lossy(&[preview.stdout, preview.stderr].concat()).into_owned()),
    ];
    for path in ["/api/v1/agents", "/api/v1/sessions", "/api/v1/runs"] {
        told.push((path, collector.get(path).text()));
    }
    for pid in [agent.process.pid(), collector.process.pid()] {
        told.push(("a command line", std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap()));
    }
    // The canary that stands in the path of the projects may stand in the configuration, which names them.
    for (place, text) in &told {
        for secret in [&canary.secret, &canary.prose, &canary.address, &token] {
            assert!(!text.contains(secret.as_str()), "{secret:?} in {place}:\n{}", around(text, secret));
        }
    }
    for (place, text) in told.iter().filter(|(place, _)| !place.contains("agent's log")) {
        assert!(!text.contains(&canary.word), "the path in {place}:\n{}", around(text, &canary.word));
    }
    for kept in [collector.data_dir(), state_dir(&agent_folder)] {
        for secret in [&canary.secret, &canary.prose, &canary.address, &token] {
            assert_eq!(find_in_folder(&kept, secret), None, "{secret:?} under {}", kept.display());
        }
    }
    // The spool's own notes of how far it has read name the project's folder; they stay on the machine.
    assert_eq!(find_in_folder(&collector.data_dir(), &canary.word), None, "the path left the machine");
}

/// Row D5.
#[test]
fn a_cloned_state_directory_is_fenced_and_both_sides_count() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let options = |name: &str| AgentOptions {
        watch: vec![folder.path().join(name)],
        server: Some(format!("http://{}", collector.grpc)),
        config: "rescan_interval_seconds = 5\n".to_owned(),
        ..AgentOptions::default()
    };
    for project in ["one", "two"] {
        append_lines(&folder.path().join(project), 0..50);
    }
    let count = |project| collector.page().sum("loki_events_total", &[("project", project)]);
    let mut first = Agent::spawn(&folder.path().join("first"), options("one"));
    wait_until("the first's lines", SETTLE, || count("one") == 50.0);
    assert!(first.process.terminate(Duration::from_secs(10)).success());
    // The machine is cloned, and both come up.
    support::copy_folder(&state_dir(&folder.path().join("first")), &state_dir(&folder.path().join("second")));
    std::fs::set_permissions(
        state_dir(&folder.path().join("second")),
        std::fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    first.restart();
    let _second = Agent::spawn(&folder.path().join("second"), options("two"));
    for batch in 1..=5 {
        append_lines(&folder.path().join("one"), batch * 50..batch * 50 + 50);
        append_lines(&folder.path().join("two"), batch * 50..batch * 50 + 50);
        pause(Duration::from_millis(500));
    }
    wait_until("both sides' lines", Duration::from_secs(60), || {
        (count("one"), count("two")) == (300.0, 300.0)
    });
    pause(Duration::from_secs(2));
    assert_eq!((count("one"), count("two")), (300.0, 300.0), "counted once, on both sides");
    let fenced = collector.page().sum("muster_server_batches_total", &[("outcome", "fenced")]);
    assert!(fenced >= 1.0, "nobody was fenced");
}

/// Row D5 on the wire: the same identity on two live streams.
#[test]
fn a_second_live_stream_of_one_identity_is_fenced_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let identity = Identity::random();
    let mut original = RawAgent::connect(collector.grpc, &identity).unwrap();
    let runs = || vec![run_finished("linter", RunStatus::Success)];
    assert_eq!(original.send("devloop", "original", runs()).outcome(), Outcome::Appended);
    let clone = Identity { instance: identity.instance ^ 1, ..identity.clone() };
    match RawAgent::connect(collector.grpc, &clone).err() {
        Some(Refusal::Said(said)) => match *said {
            Down::Verdict(verdict) => assert_eq!(verdict.outcome(), Outcome::Fenced),
            other => panic!("{other:?}"),
        },
        other => panic!("the clone was not fenced: {other:?}"),
    }
    assert_eq!(
        original.send("devloop", "original", runs()).outcome(),
        Outcome::Appended,
        "the original goes on"
    );
    let renewed = Identity { epoch: identity.epoch ^ 1, ..clone };
    let mut renewed = RawAgent::connect(collector.grpc, &renewed).unwrap();
    assert_eq!(renewed.send("devloop", "clone", runs()).outcome(), Outcome::Appended);
    let count = |project| collector.page().sum("devloop_agent_runs_total", &[("project", project)]);
    wait_until("all three runs", SETTLE, || (count("original"), count("clone")) == (2.0, 1.0));
}

/// A token's text and the id that revokes it.
#[track_caller]
fn create_token(collector: &Collector, team: &str) -> (String, String) {
    let output = collector.command(&["token", "create", "--team", team]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let token =
        said.split_whitespace().find(|word| word.starts_with("mst_agt_")).expect("the token is printed");
    let id = Token::parse(token).expect("it is whole").id().to_string();
    // The collector looks at the file every second.
    wait_until("the token to be known", SETTLE, || {
        RawAgent::connect(collector.grpc, &Identity::with_token(token)).is_ok()
    });
    (token.to_owned(), id)
}

#[track_caller]
fn revoke_token(collector: &Collector, id: &str) {
    let output = collector.command(&["token", "revoke", id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The collector keeps hashes: no file, log or page has a token's text.
#[track_caller]
fn secret_is_sealed(collector: &Collector, tokens: &[&str]) {
    let list = collector.command(&["token", "list"]);
    let list = String::from_utf8_lossy(&[list.stdout, list.stderr].concat()).into_owned();
    for token in tokens {
        assert_eq!(find_in_folder(&collector.data_dir(), token), None);
        assert!(!list.contains(token) && !collector.process.log().contains(token));
        assert!(!collector.page().text.contains(token));
    }
}

/// Guesses on one connection; how many were refused as they must be.
async fn guess(address: std::net::SocketAddr, token: &str, times: usize) -> usize {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = muster::v1::collector_client::CollectorClient::new(endpoint.connect().await.unwrap());
    let mut refused = 0;
    for _ in 0..times {
        let mut request = tonic::Request::new(tokio_stream::empty());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        refused +=
            usize::from(client.stream(request).await.is_err_and(|s| s.code() == Code::Unauthenticated));
    }
    refused
}

fn append_lines(project: &Path, numbers: std::ops::Range<u64>) {
    use std::io::Write;
    std::fs::create_dir_all(project.join(".loki")).unwrap();
    let log = project.join(".loki/events.jsonl");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    numbers.for_each(|number| log.write_all(line(number, 10).as_bytes()).unwrap());
}

fn around<'a>(text: &'a str, found: &str) -> &'a str {
    let at = text.find(found).unwrap_or(0);
    &text[text.floor_char_boundary(at.saturating_sub(200))
        ..text.ceil_char_boundary((at + 200).min(text.len()))]
}
