//! Whoever has the authority's key still has no way in: a certificate must be one that the collector issued, and not one of
//! long ago.

use muster::atomic_file::{Access, replace};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, SerialNumber};
use serde_json::Value;
use tonic::Code;
use tonic::transport::Identity;

use super::peer::{Machine, NAME, Stream, channel};
use super::support::collector::{Collector, CollectorOptions};
use super::{agents, collector, run, said, token};

/// An authority that somebody has a copy of, and a collector that it was brought along to.
struct Leaked {
    collector: Collector,
    ca: String,
    issuer: Issuer<'static, KeyPair>,
    params: CertificateParams,
    _folder: tempfile::TempDir,
}

impl Leaked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca_file, key_file) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        replace(&ca_file, ca.as_bytes(), Access::Umask).unwrap();
        replace(&key_file, key.serialize_pem().as_bytes(), Access::Owner).unwrap();
        let config = format!(
            "[server.tls]\nnames = [\"{NAME}\"]\n[server.authority]\ncert_file = {ca_file:?}\nkey_file = {key_file:?}\n"
        );
        let options = CollectorOptions { config, ..Default::default() };
        let collector = Collector::spawn(&folder.path().join("collector"), options);
        let issuer = Issuer::new(params.clone(), key);
        Self { collector, ca, issuer, params, _folder: folder }
    }

    async fn open(&self, identity: Identity) -> Result<Stream, tonic::Status> {
        let channel = channel(self.collector.grpc, &self.ca, Some(identity)).await;
        Stream::open(channel.map_err(tonic::Status::unavailable)?, [1; 16], None).await
    }
}

/// A certificate for a new key.
fn certificate(uri: &str, serial: Option<&str>, issuer: &Issuer<'_, KeyPair>) -> Identity {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let digits = |at: usize, text: &str| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    params.serial_number = serial.map(|serial| {
        let bytes: Vec<u8> = (0..serial.len()).step_by(2).map(|at| digits(at, serial)).collect();
        SerialNumber::from_slice(&bytes)
    });
    let key = KeyPair::generate().unwrap();
    Identity::from_pem(params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn refused_credentials(collector: &Collector) -> Vec<Value> {
    let lines = said(collector, &["audit", "--json"]);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["what"] == "credential_refused").collect()
}

#[test]
fn only_a_known_agent_of_the_trusted_authority_is_let_in() {
    let leaked = Leaked::new();
    let (collector, ca) = (&leaked.collector, &leaked.ca);
    let once = token(collector, &["--enroll"]);
    let other_issuer = Issuer::new(leaked.params.clone(), KeyPair::generate().unwrap());
    run(async {
        let mut dana = Machine::new(1);
        dana.enrol(collector.grpc, ca, &once).await.expect("of the authority that was brought along");
        dana.stream(collector.grpc, ca).await.expect("and is let in");
        let id = "01".repeat(16);
        for wrong in [
            format!("muster://blue/agent/{id}"),
            format!("muster://red/agent/{}", "02".repeat(16)),
            format!("spiffe://red/agent/{id}"),
            format!("muster://red/agent/{id}/more"),
        ] {
            let refused = leaked.open(certificate(&wrong, None, &leaked.issuer)).await.err().unwrap();
            assert_eq!(refused.code(), Code::Unauthenticated, "{wrong}: {refused:?}");
        }
        let uri = format!("muster://red/agent/{id}");
        let forged = leaked.open(certificate(&uri, None, &other_issuer)).await.err().unwrap();
        assert_ne!(forged.code(), Code::Unauthenticated, "the handshake fails: {forged:?}");
    });
}

#[test]
fn who_has_the_authoritys_key_neither_speaks_nor_renews_as_an_agent() {
    let leaked = Leaked::new();
    let (collector, ca) = (&leaked.collector, &leaked.ca);
    let once = token(collector, &["--enroll"]);
    run(async {
        let mut dana = Machine::new(1);
        dana.enrol(collector.grpc, ca, &once).await.unwrap();
        let known = agents(collector).remove(0);
        let uri = format!("muster://red/agent/{}", "01".repeat(16));
        for serial in [None, known["serial"].as_str()] {
            let forged = certificate(&uri, serial, &leaked.issuer);
            let refused = leaked.open(forged.clone()).await.err().unwrap();
            assert_eq!(refused.code(), Code::Unauthenticated, "with the serial {serial:?}: {refused:?}");
            let connection = channel(collector.grpc, ca, Some(forged)).await.unwrap();
            let refused = Machine::new(1).renew(connection).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "with the serial {serial:?}: {refused:?}");
        }
        assert_eq!(agents(collector).remove(0), known, "nothing was issued");
        dana.stream(collector.grpc, ca).await.expect("who it is goes on");
        dana.renew(dana.connect(collector.grpc, ca).await.unwrap()).await.expect("and renews");
    });
    let lines = refused_credentials(collector);
    assert!(
        lines.iter().any(|line| line["reason"] == "replaced" && line["agent"] == "01".repeat(16)),
        "{lines:?}"
    );
}

#[test]
fn a_renewal_whose_answer_was_lost_is_repeated_and_a_copy_of_the_agent_has_no_part_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let once = token(&collector, &["--enroll"]);
    let open = async |identity: &Identity| {
        let channel = channel(collector.grpc, &ca, Some(identity.clone())).await.unwrap();
        Stream::open(channel, [1; 16], None).await
    };
    let connect =
        async |identity: &Identity| channel(collector.grpc, &ca, Some(identity.clone())).await.unwrap();
    run(async {
        let mut dana = Machine::new(1);
        dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        let first = dana.identity();
        dana.renew(connect(&first).await).await.expect("renewed");
        let lost = dana.identity();
        open(&first).await.expect("the one before is good");
        dana.renew(connect(&first).await).await.expect("asked again");
        let refused = open(&lost).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated, "nobody should have it: {refused:?}");

        let second = dana.identity();
        open(&second).await.expect("the newest");
        open(&first).await.expect("a connection that was begun before");
        let refused = Machine::new(1).renew(connect(&first).await).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "the answer was not lost: {refused:?}");
        assert!(refused.message().contains("copy of its state directory"), "{refused:?}");

        dana.renew(connect(&second).await).await.expect("renewed");
        let refused = open(&first).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated, "it was replaced twice: {refused:?}");
        open(&second).await.expect("the one before");
        open(&dana.identity()).await.expect("the newest");
    });
    let lines = refused_credentials(&collector);
    assert!(lines.iter().any(|line| line["reason"] == "replaced"), "{lines:?}");
    let page = collector.page();
    assert!(page.sum("muster_server_credentials_refused_total", &[("reason", "replaced")]) >= 2.0);
}

#[test]
fn a_teams_token_passes_for_no_agent_that_has_enrolled() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let (once, of_team) = (token(&collector, &["--enroll"]), token(&collector, &[]));
    let of_blue = said(&collector, &["token", "create", "--team", "blue"]).trim().to_owned();
    let by_token = async |agent: u8, token: &str| {
        let plain = channel(collector.grpc, &ca, None).await.unwrap();
        Stream::open(plain, [agent; 16], Some(token)).await
    };
    run(async {
        let mut before = by_token(1, &of_team).await.expect("it has not enrolled yet");
        before.send().await.unwrap();
        let mut dana = Machine::new(1);
        dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        dana.stream(collector.grpc, &ca).await.expect("by its certificate").send().await.expect("goes on");

        let refused = by_token(1, &of_team).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        by_token(2, &of_team).await.expect("who has no certificate");
        by_token(1, &of_blue).await.expect("another team's agent of that id");
        said(&collector, &["agents", "revoke", "laptop-1"]);
        let refused = by_token(1, &of_team).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "revoked: {refused:?}");
    });
    let audit = said(&collector, &["audit", "--json"]);
    let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<_> = lines.filter(|line| line["what"] == "identity_refused").collect();
    assert_eq!(refused[0]["said"], "01".repeat(16), "{refused:?}");
    let id = muster::credential::Token::parse(&of_team).unwrap().id().to_string();
    assert_eq!((&refused[0]["token"], &refused[0]["team"]), (&id.into(), &"red".into()));
}

#[test]
fn a_revoked_agent_is_forgotten_when_its_certificate_has_ended_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3);
    let once = token(&collector, &["--enroll"]);
    run(async { Machine::new(1).enrol(collector.grpc, &ca, &once).await.map(|_| ()) }).unwrap();
    let refused = || {
        let output = collector.command(&["agents", "forget", "laptop-1"]);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let words = refused();
    assert!(words.contains("muster agents revoke"), "{words}");
    said(&collector, &["agents", "revoke", "laptop-1"]);
    let words = refused();
    assert!(words.contains("is revoked") && words.contains("can be forgotten from"), "{words}");
    std::thread::sleep(std::time::Duration::from_millis(3_100));
    assert!(said(&collector, &["agents", "forget", "laptop-1"]).contains("is forgotten"));
    assert!(agents(&collector).is_empty());
    let audit = said(&collector, &["audit", "--json"]);
    assert!(audit.contains("agent_forgotten"), "{audit}");
}
