//! What agents that take a configuration are offered, and what becomes of their answers (docs/remote-configuration.md).

use std::path::Path;

use muster::atomic_file::{Access, replace};
use muster::credential::Token;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::configuration_report::State;
use muster::v1::verdict::Outcome;
use prost::Message;
use serde_json::Value;
use server::audit;
use server::credentials::{Scope, TokenFile};
use server::figures::ConfigurationAnswer;
use server::serve::Server;
use sha2::{Digest, Sha256};

use crate::process::{Process, output, text, write_config};
use crate::support::{Agent, DANA, PATIENCE, Who, channel, config, get, start, sum};

const FILE: &str = "
[[remote_configuration]]
name = \"ci-of-red\"
teams = [\"red\"]
labels = { kind = \"ci\" }
sampling = { tool_call = 10 }

[[remote_configuration]]
name = \"red\"
teams = [\"red\"]
privacy = { withhold_identity = [\"user\"] }

[[remote_configuration]]
name = \"ci\"
labels = { kind = \"ci\" }
intervals = { rescan_seconds = 300 }
";

/// Opens a stream that takes a configuration; its labels say `kind`.
async fn taking(server: &Server, who: Who, token: Option<&Token>, kind: Option<&str>) -> Agent {
    let open = Agent::open(channel(server.grpc_address).await, token.map(Token::expose)).await;
    let mut agent = open.expect("stream");
    say_hello(&agent, who, kind).await;
    assert!(matches!(agent.next().await, Ok(Some(Down::Welcome(_)))));
    agent
}

async fn say_hello(agent: &Agent, who: Who, kind: Option<&str>) {
    let labels = kind.into_iter().map(|kind| ("kind".to_owned(), kind.to_owned())).collect();
    let hello = v1::Hello { labels, takes_configuration: true, ..who.hello() };
    agent.send(Up::Hello(hello)).await;
}

/// The offer that comes next; its hash is right.
async fn offer(agent: &mut Agent) -> v1::ConfigurationOffer {
    match agent.next().await {
        Ok(Some(Down::ConfigurationOffer(offer))) => {
            let hash =
                if offer.settings.is_empty() { vec![] } else { Sha256::digest(&offer.settings).to_vec() };
            assert_eq!(offer.hash, hash);
            offer
        }
        other => panic!("no offer but {other:?}"),
    }
}

fn settings(offer: &v1::ConfigurationOffer) -> v1::OfferedSettings {
    v1::OfferedSettings::decode(&offer.settings[..]).expect("settings")
}

fn applied(offer: &v1::ConfigurationOffer) -> Up {
    let state = if offer.hash.is_empty() { State::Own } else { State::Applied };
    let hash = offer.hash.clone();
    Up::ConfigurationReport(v1::ConfigurationReport { state: state.into(), hash, ..Default::default() })
}

fn rejected(offer: &v1::ConfigurationOffer, problem: &str) -> Up {
    Up::ConfigurationReport(v1::ConfigurationReport {
        state: State::Rejected.into(),
        hash: Vec::new(),
        rejected_hash: offer.hash.clone(),
        problem: problem.to_owned(),
    })
}

fn token(dir: &Path, seed: u8, team: &str) -> Token {
    let token = Token::from_random(std::array::from_fn(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)));
    let file = TokenFile::edit(dir).expect("free");
    let scope = Scope::Team(team.parse().expect("team"));
    file.add(&token, scope, muster::clock::WallTime(1)).expect("written");
    token
}

/// The first agent's row, once it is as wanted.
async fn wait_for_row(http: std::net::SocketAddr, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let row = get(http, "/api/v1/agents").await.json()["rows"][0].clone();
        if holds(&row) {
            return row;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}: {row}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_did_not_say_that_it_takes_one_is_never_offered_any() {
    let dir = tempfile::tempdir().expect("folder");
    let everybody = "[[remote_configuration]]\nname = \"all\"\nsampling = { tool_call = 2 }\n";
    let mut server = start(dir.path(), everybody).await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3), "nothing comes before the verdict");
    server.reload(config(dir.path(), &everybody.replace('2', "3"))).expect("valid");
    assert_eq!(agent.batch(4, 3).await, (Outcome::Appended, 6));
    // What it says without being asked is no matter.
    agent.send(applied(&v1::ConfigurationOffer { hash: vec![7; 32], ..Default::default() })).await;
    assert_eq!(agent.batch(7, 3).await, (Outcome::Appended, 9));
    let row = wait_for_row(server.http_address, "the agent", |row| row["connected"] == true).await;
    assert_eq!(
        (&row["configuration"]["state"], &row["configuration"]["hash"]),
        (&"not_taken".into(), &"".into())
    );
    assert_eq!(server.figures.configurations_offered.value(), 0);
    assert_eq!(server.figures.configuration_answers.iter().map(|(_, count)| count).sum::<u64>(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_comes_after_the_welcome_and_again_only_when_a_reload_changes_it() {
    let dir = tempfile::tempdir().expect("folder");
    let mut server = start(dir.path(), FILE).await;
    let mut agent = taking(&server, DANA, None, Some("ci")).await;
    let first = offer(&mut agent).await;
    assert_eq!((first.name.as_str(), settings(&first).rescan_interval_seconds), ("ci", Some(300)));

    // The same file, and one that is other for others alone.
    for file in [FILE.to_owned(), FILE.replace("tool_call = 10", "tool_call = 20")] {
        server.reload(config(dir.path(), &file)).expect("valid");
    }
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3), "no offer comes before the verdict");

    server.reload(config(dir.path(), &FILE.replace("300", "600"))).expect("valid");
    let second = offer(&mut agent).await;
    assert_eq!(settings(&second).rescan_interval_seconds, Some(600));
    server.reload(config(dir.path(), "")).expect("valid");
    assert_eq!(offer(&mut agent).await, v1::ConfigurationOffer::default(), "nothing is asked any more");
    server.reload(config(dir.path(), FILE)).expect("valid");
    assert_eq!(offer(&mut agent).await, first, "the same settings are the same bytes");
    assert_eq!(server.figures.configurations_offered.value(), 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_of_the_credential_and_the_labels_choose_and_nobody_gets_anothers() {
    let dir = tempfile::tempdir().expect("folder");
    let (red, blue) = (token(dir.path(), 1, "red"), token(dir.path(), 2, "blue"));
    let server = start(dir.path(), FILE).await;
    for (n, (token, kind, name)) in [
        (&red, Some("ci"), "ci-of-red"),
        (&red, Some("laptop"), "red"),
        (&red, None, "red"),
        (&blue, Some("ci"), "ci"),
        (&blue, Some("laptop"), ""),
        (&blue, None, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let who = Who { agent: n as u8 + 1, ..DANA };
        let offer = offer(&mut taking(&server, who, Some(token), kind).await).await;
        assert_eq!(offer.name, name, "{n}");
        assert_eq!(offer.settings.is_empty(), name.is_empty(), "{n}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_answers_is_told_in_the_api_the_metrics_and_the_audit_log() {
    let dir = tempfile::tempdir().expect("folder");
    let mut server = start(dir.path(), FILE).await;
    let http = server.http_address;
    let mut agent = taking(&server, DANA, None, Some("ci")).await;
    let first = offer(&mut agent).await;
    let state = |row: &Value| row["configuration"]["state"].as_str().map(str::to_owned);
    let row = wait_for_row(http, "the offer", |row| state(row).as_deref() == Some("pending")).await;
    assert_eq!((&row["labels"]["kind"], &row["configuration"]["offered_name"]), (&"ci".into(), &"ci".into()));
    agent.send(applied(&first)).await;
    let row = wait_for_row(http, "the answer", |row| state(row).as_deref() == Some("applied")).await;
    let told = &row["configuration"];
    assert_eq!((&told["name"], &told["hash"]), (&"ci".into(), &hex(&first.hash).into()));

    server.reload(config(dir.path(), &FILE.replace("300", "600"))).expect("valid");
    let second = offer(&mut agent).await;
    let mut wrong = v1::ConfigurationReport { state: State::Applied.into(), ..Default::default() };
    wrong.hash = vec![1; 31];
    agent.send(Up::ConfigurationReport(wrong)).await;
    agent.send(rejected(&second, "no \u{1b}[31mroom\n")).await;
    let row = wait_for_row(http, "the rejection", |row| state(row).as_deref() == Some("rejected")).await;
    let told = &row["configuration"];
    assert_eq!((&told["problem"], &told["hash"]), (&"no [31mroom".into(), &"".into()));
    assert_eq!(told["offered_hash"], hex(&second.hash));
    let page = get(http, "/metrics").await.text();
    for line in [
        "muster_server_agent_configurations{state=\"rejected\"} 1",
        "muster_server_agent_configurations{state=\"applied\"} 0",
        "muster_server_configuration_answers_total{answer=\"rejected\"} 1",
        "muster_server_configuration_answers_total{answer=\"invalid\"} 1",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    assert_eq!(sum(&page, "muster_server_configuration_offers_total"), 2.0);
    assert_eq!(server.figures.configuration_answers.value(ConfigurationAnswer::Applied), 1);
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3), "the stream goes on");
    server.stop().await;

    let lines: Vec<Value> =
        audit::lines(dir.path()).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    let of = |what: &str| lines.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();
    let offered = of("remote_configuration_changed");
    assert_eq!((offered.len(), &offered[1]["changed"][0]), (2, &"ci".into()), "{lines:?}");
    let [line] = of("remote_configuration_rejected")[..] else { panic!("{lines:?}") };
    assert_eq!(
        (&line["outcome"], &line["team"], &line["name"]),
        (&"refused".into(), &"default".into(), &"ci".into())
    );
    assert_eq!((&line["reason"], &line["hash"]), (&"no [31mroom".into(), &hex(&second.hash).into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_leaves_what_was_offered_and_people_are_told_of_it() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), FILE);
    let process = Process::start(&path);
    let mut agent = Agent::open(channel(process.grpc).await, None).await.expect("stream");
    say_hello(&agent, DANA, Some("ci")).await;
    assert!(matches!(agent.next().await, Ok(Some(Down::Welcome(_)))));
    let first = offer(&mut agent).await;

    write_config(dir.path(), &FILE.replace("300", "3"));
    let refused = output(&["check-config", path.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        text(&refused.stderr).contains("\"ci\": intervals.rescan_seconds 3 is not 5 to 3600"),
        "{refused:?}"
    );
    process.signal("HUP");
    process.wait_for_reload("config_refused").await;
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3), "no offer comes before the verdict");

    write_config(dir.path(), &FILE.replace("300", "600"));
    process.signal("HUP");
    process.wait_for_reload("config_applied").await;
    let second = offer(&mut agent).await;
    assert_eq!(settings(&second).rescan_interval_seconds, Some(600));
    agent.send(rejected(&second, "the disk is full")).await;
    let is_rejected = |row: &Value| row["configuration"]["state"] == "rejected";
    wait_for_row(process.http, "the rejection", is_rejected).await;
    let pages = process.http.to_string();
    let said = text(&output(&["status", "--server", &pages]).stdout);
    let hash = &hex(&second.hash)[..12];
    assert!(said.contains("lag events") && said.contains("configuration"), "{said}");
    assert!(said.contains(&format!("dana at laptop: ci {hash} rejected: the disk is full\n")), "{said}");
    assert_ne!(first.hash, second.hash);

    // The records of enrolled agents know nothing of it; the collector does.
    let data = dir.path().join("data");
    let record = serde_json::json!({ "id": "01".repeat(16), "team": "default", "name": "danas", "enrolled_us": 1,
        "token_id": Token::from_random([3; 44]).id(), "serial": "01", "not_after_us": 1 });
    let records = serde_json::json!({ "version": 1, "agents": [record] }).to_string();
    replace(&data.join("agents.json"), records.as_bytes(), Access::Owner).expect("written");
    let data = data.to_str().expect("text");
    let listed = text(&output(&["agents", "list", "--data-dir", data, "--server", &pages]).stdout);
    assert!(listed.contains("CONFIGURATION") && listed.contains(&format!("ci {hash} rejected")), "{listed}");
    let shown = text(&output(&["agents", "show", "danas", "--data-dir", data, "--server", &pages]).stdout);
    for line in ["labels        kind=ci\n", "problem       the disk is full\n"] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    // One that is configured and not there is done without; one that is named is not.
    drop(process);
    let listed = output(&["agents", "list", "--config", path.to_str().expect("text")]);
    assert!(listed.status.success() && !text(&listed.stdout).contains("CONFIGURATION"), "{listed:?}");
    assert!(!output(&["agents", "list", "--data-dir", data, "--server", &pages]).status.success());
}

#[test]
fn the_check_names_what_is_offered_and_entries_that_nobody_can_have() {
    let dir = tempfile::tempdir().expect("folder");
    let late = "[[remote_configuration]]\nname = \"late\"\nteams = [\"red\"]\nlabels = { kind = \"lab\" }\n";
    let path = write_config(dir.path(), &format!("{FILE}{late}"));
    let checked = output(&["check-config", path.to_str().expect("text")]);
    assert!(checked.status.success(), "{checked:?}");
    let (said, warned) = (text(&checked.stdout), text(&checked.stderr));
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(said.contains("remote configuration \"late\": asks nothing"), "{said}");
    let wanted =
        "warning: remote configuration \"late\": no agent can have it: \"red\" before it takes all of them\n";
    assert_eq!(warned, wanted);
}
