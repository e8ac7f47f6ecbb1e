//! What operators do to a collector under load: reloads, stops, and machines of other versions (reliability.md rows E1, E2,
//! E3). After each test the oracle says that every acknowledged event counts once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::atomic_file::{Access, replace};
use muster::batch::{BatchBuilder, SealedBatch};
use muster::clock::{Clock, SystemClock};
use muster::ids::{Seq, SeqRange};
use muster::v1::RunStatus;
use muster::v1::verdict::Outcome;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions, config_path};
use support::fleet::{Fleet, FleetOptions};
use support::live_project::LiveProject;
use support::otlp_sink::{Manner, OtlpSink};
use support::raw_agent::{Identity, RawAgent, run_finished, source};
use support::{oracle, pause, rounds, seeded, wait_until};
use tonic::transport::{Certificate, ClientTlsConfig};

const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Row E2.
const STOP_MAX: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and the files of the certificate that it issued last.
struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    authority: String,
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Certificates {
    fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap().pem();
        let (cert_file, key_file) = (folder.join("tls.pem"), folder.join("tls.key"));
        let certificates = Self { issuer: Issuer::new(params, key), authority, cert_file, key_file };
        certificates.issue();
        certificates
    }

    /// In the place of the one before.
    fn issue(&self) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap().pem();
        replace(&self.key_file, key.serialize_pem().as_bytes(), Access::Owner).unwrap();
        replace(&self.cert_file, certificate.as_bytes(), Access::Umask).unwrap();
    }

    fn trusted(&self) -> ClientTlsConfig {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority))
    }
}

/// Row E1. In each round, beside limits and certificates: a destination is added, changed and taken out, another one moves, one
/// is there that nobody listens at, and one stays: each event arrives there once, since nothing of it is begun anew.
#[test]
fn reloads_under_load_lose_nothing_and_cut_no_stream() {
    let mut random = seeded("reload");
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new(folder.path());
    let (cert_file, key_file) = (&certificates.cert_file, &certificates.key_file);
    let [stays, left, right, lab] = [(); 4].map(|()| OtlpSink::spawn(Manner::Take));
    let moves = |to: &OtlpSink| destination("moves", to.address);
    let config = format!(
        "[server.tls]\ncert_file = {cert_file:?}\nkey_file = {key_file:?}\n{}{}",
        destination("stays", stays.address),
        moves(&left)
    );
    let collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let file = std::fs::read_to_string(config_path(folder.path())).unwrap().replace(&moves(&left), "");
    let options = FleetOptions { tls: Some(certificates.trusted()), ..FleetOptions::new(20, collector.grpc) };
    let fleet = Fleet::start(options, SystemClock::new().wall(), &mut random);
    wait_until("all to be welcome", PATIENCE, || fleet.ledgers().all(|ledger| ledger.welcomes.len() == 1));

    let done = |result: &str| collector.page().sum("muster_server_reloads_total", &[("result", result)]);
    let reload = |more: &[&str], result: &str| {
        let before = done(result);
        std::fs::write(config_path(folder.path()), format!("{file}{}", more.concat())).unwrap();
        collector.process.signal(Signal::HUP);
        wait_until(result, PATIENCE, || done(result) > before);
    };
    let goes_on = |sink: &OtlpSink| {
        let before = sink.requests();
        wait_until("more to come", PATIENCE, || sink.requests() > before);
    };
    let added = destination("lab", lab.address) + &destination("dead", SocketAddr::from(([127, 0, 0, 1], 9)));
    for round in 0..rounds(5) {
        let (from, to) = if round % 2 == 0 { (&left, &right) } else { (&right, &left) };
        let (from, to) = (moves(from), (moves(to), to));
        reload(&[&from, &format!("[server.limits]\nstreams_max = {}\n", 100 + round)], "config_applied");
        reload(&[&from, "[server.limits]\nstream_max = 7\n"], "config_refused");
        reload(&[&from, &added], "config_applied");
        goes_on(&lab);
        let changed = added.replace("in_flight_max = 4", "in_flight_max = 2");
        reload(&[&to.0, &changed, "credential_file = \"/nowhere/key\"\n"], "config_refused");
        reload(&[&to.0, &changed], "config_applied");
        goes_on(&lab);
        goes_on(to.1);
        reload(&[&to.0], "config_applied");
        let before = done("tls_applied");
        certificates.issue();
        wait_until("the new certificate to be taken", PATIENCE, || done("tls_applied") > before);
    }
    fleet.drain(DRAIN_MAX);
    for ledger in fleet.ledgers() {
        assert_eq!(ledger.welcomes.len(), 1, "cut: {}", ledger.last_error);
    }
    println!("{} events acknowledged over {} reloads", fleet.acked(), 6 * rounds(5));
    let stored = oracle::check(&collector, &fleet);
    check_sinks(fleet.issued() + stored.fresh, &stays, &left, &right);
    check_taken_out(&collector, &["lab", "dead"]);
    let log = collector.process.log();
    let is_told = |line: &str| line.contains("dead") && line.contains("/nowhere/key");
    assert!(log.lines().any(is_told), "which one was refused, and why:\n{log}");
}

fn destination(name: &str, sink: SocketAddr) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nprofile = \"otlp\"\ntransport = \"grpc\"\nendpoint = \"http://{sink}\"\n\
         compression = \"none\"\nsignals = [\"logs\"]\nrequests_in_flight_max = 4\n"
    )
}

/// At the destination that stays each event is there once; of the one that moved, at one of its places.
fn check_sinks(expected: u64, stays: &OtlpSink, left: &OtlpSink, right: &OtlpSink) {
    let moved = || left.ids().into_iter().chain(right.ids()).collect::<Vec<_>>();
    let known = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>().len() as u64;
    wait_until("every event to be there", DRAIN_MAX, || known(stays.ids()) >= expected);
    wait_until("every event to have moved", DRAIN_MAX, || known(moved()) >= expected);
    assert_eq!((stays.ids().len() as u64, known(stays.ids())), (expected, expected), "each once");
    assert_eq!(known(moved()), expected, "each known by its id");
    println!("{} repeated at the places of the one that moved", moved().len() as u64 - expected);
}

/// Nothing is left of destinations that were taken out: no figures, and no cursor that holds the journal.
fn check_taken_out(collector: &Collector, names: &[&str]) {
    for name in names {
        let cursor = oracle::journal_dir(&collector.data_dir()).join(format!("destination-{name}.cursor"));
        wait_until("the cursor to go", PATIENCE, || !cursor.exists());
        let page = collector.page();
        assert!(!page.text.contains(&format!("destination=\"{name}\"")), "{}", page.text);
        assert!(page.text.contains("destination=\"stays\""), "{}", page.text);
    }
}

/// Row E2. The agents are a fleet and a real one, which is stopped in the same way.
#[test]
fn a_collector_and_an_agent_that_are_told_to_stop_at_full_load_end_in_time_and_lose_nothing() {
    let mut random = seeded("stop");
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let project = LiveProject::create(&folder.path().join("shop"), random.fork());
    let server = Some(format!("http://{}", collector.grpc));
    let watching = AgentOptions { watch: vec![project.path().to_owned()], server, ..AgentOptions::default() };
    let mut agent = Agent::spawn(&folder.path().join("agent"), watching);
    let options = FleetOptions {
        batch_events: 100..=500,
        pause: Duration::from_millis(1),
        ..FleetOptions::new(20, collector.grpc)
    };
    let fleet = Fleet::start(options, SystemClock::new().wall(), &mut random);
    for _ in 0..rounds(10) {
        pause(Duration::from_millis(random.u64(200..=1_500)));
        let acked = fleet.acked();
        let stopped = collector.process.terminate(STOP_MAX);
        assert!(stopped.success(), "the collector ended with {stopped}:\n{}", collector.process.log());
        let stopped = agent.process.terminate(STOP_MAX);
        assert!(stopped.success(), "the agent ended with {stopped}:\n{}", agent.process.log());
        collector.restart();
        agent.restart();
        wait_until("the load to go on", PATIENCE, || fleet.acked() > acked);
    }
    let lines = project.stop();
    fleet.drain(DRAIN_MAX);
    println!("{} events acknowledged, {lines} lines of a project", fleet.acked());
    oracle::check_fleet_among_others(&collector, &fleet);
    let count = || collector.page().sum("loki_events_total", &[("project", "shop")]);
    wait_until("every line", PATIENCE, || count() >= lines as f64);
    pause(Duration::from_secs(1));
    assert_eq!(count(), lines as f64);
}

/// Row E3: an agent of a later version sends kinds of events, fields and values that this collector does not know. What it
/// does not know is kept as it came and counted; what it knows counts as ever.
#[test]
fn what_a_newer_agent_says_is_kept_counted_and_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let identity = Identity::random();
    let mut agent =
        RawAgent::connect(collector.grpc, &identity).map_err(|refusal| format!("{refusal:?}")).unwrap();
    let send = |agent: &mut RawAgent, batch: SealedBatch| {
        agent.next_seq = batch.seqs.last().0 + 1;
        assert_eq!(agent.send_sealed(batch).outcome(), Outcome::Appended);
    };
    send(&mut agent, with_raw_event(1, &UNKNOWN_KIND));
    agent.say_unknown();
    let runs = || vec![run_finished("linter", RunStatus::Success)];
    assert_eq!(agent.send("devloop", "shop", runs()).outcome(), Outcome::Appended);
    send(&mut agent, with_raw_event(3, &RUN_WITH_AN_UNKNOWN_FIELD));
    send(&mut agent, with_raw_event(4, &RUN_WITH_AN_UNKNOWN_STATUS));
    assert_eq!(agent.send("devloop", "shop", runs()).outcome(), Outcome::Appended);
    let page = collector.wait_page("what is known", PATIENCE, |page| {
        page.sum("muster_runs_total", &[("project", "shop"), ("status", "success")]) >= 3.0
    });
    assert_eq!(page.sum("muster_runs_total", &[("status", "success")]), 3.0, "{}", page.text);
    assert_eq!(page.sum("muster_unknown_events_total", &[]), 1.0, "{}", page.text);
    assert_eq!(page.sum("muster_runs_total", &[]), 4.0, "a run of an unknown status is a run: {}", page.text);
    let stored = oracle::Stored::read(&collector.data_dir(), &[]);
    assert!(stored.faults.is_empty() && stored.foreign.len() == 5, "{stored:?}");
}

/// Field 1023 of an event, with a message in it.
const UNKNOWN_KIND: [u8; 5] = [0xFA, 0x3F, 0x02, 0x08, 0x01];
/// `run_finished` (field 4) with status 1, and field 1023.
const RUN_WITH_AN_UNKNOWN_FIELD: [u8; 7] = [0x22, 0x05, 0x10, 0x01, 0xF8, 0x3F, 0x07];
/// `run_finished` with status 99.
const RUN_WITH_AN_UNKNOWN_STATUS: [u8; 4] = [0x22, 0x02, 0x10, 0x63];

/// A batch of one event that is these bytes.
fn with_raw_event(first: u64, event: &[u8]) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    source(&mut builder, "devloop", "shop");
    let head = muster::v1::Batch { first_seq: first, base_time_us: 1, ..builder.as_batch().clone() };
    let mut bytes = head.encode_to_vec();
    // Field 5, `events`; without a time and a source of its own the event has the first ones.
    bytes.extend_from_slice(&[0x2A, event.len() as u8]);
    bytes.extend_from_slice(event);
    let seqs = SeqRange::new(Seq(first), Seq(first)).unwrap();
    SealedBatch { seqs, crc32c: crc32c::crc32c(&bytes), bytes: bytes.into() }
}
