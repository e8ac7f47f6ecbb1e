//! An enrolment whose answer was lost: it is asked for again with the same key, and nothing is lost by it.

use serde_json::Value;
use tonic::Code;

use super::peer::{Machine, Stream, channel};
use super::support::collector::Collector;
use super::{agents, collector, run, said, token, until};

fn uses_left(collector: &Collector) -> Value {
    let tokens: Vec<Value> = serde_json::from_str(&said(collector, &["token", "list", "--json"])).unwrap();
    tokens.iter().find(|token| token["role"] == "enrolment").unwrap()["uses_left"].clone()
}

fn revoke_token(collector: &Collector, token: &str) {
    let id = muster::credential::Token::parse(token).unwrap().id().to_string();
    said(collector, &["token", "revoke", &id]);
}

/// The same machine and agent, with another key.
fn with_another_key(machine: &Machine) -> Machine {
    Machine::new(machine.agent[0])
}

/// The collector has written down which certificates it saw.
async fn until_seen(collector: &Collector) {
    let records = collector.data_dir().join("agents.json");
    until("what was seen to be kept", async || {
        let text = std::fs::read_to_string(&records).unwrap();
        let known: Value = serde_json::from_str(&text).unwrap();
        known["agents"].as_array().unwrap().iter().all(|agent| agent["seen"] == true)
    })
    .await;
}

#[test]
fn an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_key_and_takes_no_other_use() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, ca) = collector(folder.path(), 3_600);
    let once = token(&collector, &["--enroll"]);
    let mut dana = Machine::new(1);
    run(async {
        let lost = dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        // Nobody else gets anything by it: neither another key of the same agent, nor the same key as another agent.
        let stranger = with_another_key(&dana).enrol(collector.grpc, &ca, &once).await.unwrap_err();
        assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger:?}");
        let mut other = Machine { agent: [2; 16], key: Machine::new(2).key, issued: None };
        std::mem::swap(&mut other.key, &mut dana.key);
        let refused = other.enrol(collector.grpc, &ca, &once).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        std::mem::swap(&mut other.key, &mut dana.key);
        let again = dana.enrol(collector.grpc, &ca, &once).await.expect("asked again");
        assert_ne!(lost.certificate_chain_der[0], again.certificate_chain_der[0], "it is issued anew");
    });
    said(&collector, &["agents", "rename", "laptop-1", "danas"]);
    collector.restart();
    run(async {
        dana.enrol(collector.grpc, &ca, &once).await.expect("and after a restart");
        assert_eq!((uses_left(&collector), agents(&collector).len()), (0.into(), 1));
        assert_eq!(agents(&collector)[0]["name"], "danas", "a name that was given meanwhile stays");
        dana.stream(collector.grpc, &ca).await.expect("with the last of them").send().await.unwrap();
        // It has arrived: from now on it is a copy of the key that asks.
        let copy = dana.enrol(collector.grpc, &ca, &once).await.unwrap_err();
        assert_eq!(copy.code(), Code::Unauthenticated, "{copy:?}");
        until_seen(&collector).await;
        let audit = said(&collector, &["audit", "--json"]);
        let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let enrolled: Vec<_> = lines.filter(|line| line["what"] == "enrolled").collect();
        let repeated: Vec<_> = enrolled.iter().map(|line| line["repeated"].clone()).collect();
        assert_eq!(repeated, [Value::Null, 1.into(), 1.into()], "{enrolled:?}");
    });
    collector.restart();
    run(async {
        let copy = dana.enrol(collector.grpc, &ca, &once).await.unwrap_err();
        assert_eq!(copy.code(), Code::Unauthenticated, "what was seen is not forgotten: {copy:?}");
    });
}

#[test]
fn who_was_revoked_or_has_a_token_that_ended_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "2"]);
    let short = token(&collector, &["--enroll", "--ttl", "10s"]);
    run(async {
        let (mut dana, mut kim, mut lee) = (Machine::new(1), Machine::new(2), Machine::new(3));
        lee.enrol(collector.grpc, &ca, &short).await.unwrap();
        dana.enrol(collector.grpc, &ca, &shared).await.unwrap();
        kim.enrol(collector.grpc, &ca, &shared).await.unwrap();
        said(&collector, &["agents", "revoke", "laptop-1"]);
        let refused = dana.enrol(collector.grpc, &ca, &shared).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        kim.enrol(collector.grpc, &ca, &shared).await.expect("the token is good yet");
        revoke_token(&collector, &shared);
        until("the revocation", async || {
            kim.enrol(collector.grpc, &ca, &shared).await.is_err_and(|e| e.code() == Code::Unauthenticated)
        })
        .await;
        until("the end of the other token", async || {
            lee.enrol(collector.grpc, &ca, &short).await.is_err_and(|e| e.code() == Code::Unauthenticated)
        })
        .await;
    });
}

#[test]
fn an_agent_goes_on_with_its_teams_token_until_its_certificate_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, ca) = collector(folder.path(), 3_600);
    let (of_team, once) = (token(&collector, &[]), token(&collector, &["--enroll"]));
    let mut dana = Machine::new(1);
    let by_token = async |at| {
        let plain = channel(at, &ca, None).await.unwrap();
        Stream::open(plain, [1; 16], Some(&of_team)).await
    };
    run(async {
        by_token(collector.grpc).await.expect("before").send().await.unwrap();
        dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        by_token(collector.grpc).await.expect("the answer was lost").send().await.unwrap();
    });
    collector.restart();
    run(async {
        by_token(collector.grpc).await.expect("and after a restart");
        dana.enrol(collector.grpc, &ca, &once).await.expect("asked again");
        dana.stream(collector.grpc, &ca).await.expect("by its certificate").send().await.unwrap();
        let refused = by_token(collector.grpc).await.err().expect("from now on by that alone");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        until_seen(&collector).await;
    });
    collector.restart();
    run(async {
        let refused = by_token(collector.grpc).await.err().expect("also after a restart");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    });
}

#[test]
fn answers_lost_in_a_row_leave_a_working_agent_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "4"]);
    let mut works = Machine::new(1);
    run(async {
        works.enrol(collector.grpc, &ca, &shared).await.unwrap();
        works.stream(collector.grpc, &ca).await.unwrap().send().await.unwrap();
        // Older agents ask with another key each time.
        for _ in 0..2 {
            with_another_key(&works).enrol(collector.grpc, &ca, &shared).await.expect("the answer is lost");
        }
        works.stream(collector.grpc, &ca).await.expect("its certificate is good").send().await.unwrap();
        // A renewal whose answer was lost, and an enrolment after it.
        let open = works.connect(collector.grpc, &ca).await.unwrap();
        let mut lost = Machine { issued: works.issued.clone(), ..with_another_key(&works) };
        lost.renew(open).await.expect("the answer is lost");
        let mut last = with_another_key(&works);
        last.enrol(collector.grpc, &ca, &shared).await.expect("lost as well");
        works.stream(collector.grpc, &ca).await.expect("it is still good").send().await.unwrap();
    });
    collector.restart();
    run(async {
        works.stream(collector.grpc, &ca).await.expect("and after a restart").send().await.unwrap();
        works.renew(works.connect(collector.grpc, &ca).await.unwrap()).await.expect("it may renew");
        works.stream(collector.grpc, &ca).await.expect("and use what it got").send().await.unwrap();
    });
}

#[test]
fn a_certificate_that_was_replaced_renews_nothing_after_a_restart_either() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, ca) = collector(folder.path(), 3_600);
    let once = token(&collector, &["--enroll"]);
    let mut dana = Machine::new(1);
    run(async {
        dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        let copied = dana.identity();
        dana.renew(dana.connect(collector.grpc, &ca).await.unwrap()).await.expect("renewed");
        dana.stream(collector.grpc, &ca).await.expect("and seen");
        until_seen(&collector).await;
        collector.restart();
        let of_copy = channel(collector.grpc, &ca, Some(copied)).await.unwrap();
        let refused = with_another_key(&dana).renew(of_copy).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        dana.stream(collector.grpc, &ca).await.expect("who renewed first goes on");
    });
}
