//! Commands without an agent, with one, and with one that comes or goes; the socket's manners.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use muster::batch::BatchView;
use muster::clock::{Clock, SystemClock};
use muster::ids::Seq;
use proptest::prelude::*;
use tokio::sync::watch;

use super::protocol::{Answer, Event, Reason, Refusal, Request, frame, length};
use super::recent::{IDS_MAX, RecentIds};
use super::*;
use crate::config::{AgentConfig, LocalConfig, Overrides};
use crate::facts::Privacy;
use crate::remote_configuration::Settings;
use crate::runtime::Agent;
use crate::spool::{Spool, SpoolConfig};

fn config(state_dir: &Path) -> LocalConfig {
    LocalConfig {
        spool: SpoolConfig::new(state_dir),
        settings: Settings::own(Privacy::default(), Duration::from_secs(60)),
        project_names: BTreeMap::new(),
    }
}

fn request(id: u64, workers: &[&str]) -> Request {
    let event = |worker: &&str| Event {
        kind: "run".into(),
        time_us: 1_773_133_200_000_000,
        fields: serde_json::from_value(serde_json::json!({"worker": worker, "status": "success"}))
            .expect("an object"),
    };
    Request {
        id: format!("{id:x}"),
        tool: "script".into(),
        tool_version: String::new(),
        project: Some("shop".into()),
        folder: "/".into(),
        repository: String::new(),
        branch: String::new(),
        events: workers.iter().map(event).collect(),
    }
}

/// Workers of all runs in a spool that nobody has open.
fn spooled(state_dir: &Path) -> Vec<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spool = Spool::open(SpoolConfig::new(state_dir), clock).expect("a free spool");
    let mut reader = spool.batches_after(Seq::ZERO);
    let mut workers = Vec::new();
    while let Some(batch) = reader.next_batch().expect("readable") {
        let batch = muster::batch::decode(&batch.bytes).expect("a batch");
        let view = BatchView::new(&batch);
        workers.extend(view.events().filter_map(|event| match event.kind {
            Some(muster::v1::event::Kind::RunFinished(run)) => Some(view.text(run.worker).to_owned()),
            _ => None,
        }));
    }
    workers
}

/// An agent that runs in a thread of its own until it is dropped.
struct RunningAgent {
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RunningAgent {
    fn start(state_dir: &Path) -> Self {
        let overrides = Overrides {
            state_dir: Some(state_dir.to_owned()),
            metrics_listen: Some("off".into()),
            ..Overrides::default()
        };
        let config =
            AgentConfig::parse("[agent]\nhost_samples = false", overrides, &|_| None).expect("valid");
        let (stop, shutdown) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let agent =
                    Agent::start(config, Arc::new(SystemClock::new()), shutdown).await.expect("an agent");
                ready.send(()).expect("somebody waits");
                agent.run().await.expect("a good end");
            });
        });
        is_ready.recv().expect("a running agent");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

#[test]
fn without_an_agent_a_command_spools_itself_and_leaves() {
    let state = tempfile::tempdir().expect("a folder");
    let delivered = deliver(&config(state.path()), &request(1, &["lint", "test"])).expect("spooled");
    assert_eq!(delivered, Delivered::ToSpool { events: 2 });
    assert_eq!(spooled(state.path()), ["lint", "test"]);
}

#[test]
fn with_an_agent_a_command_hands_its_events_to_it() {
    let state = tempfile::tempdir().expect("a folder");
    let agent = RunningAgent::start(state.path());
    let mode = std::fs::metadata(state.path().join("agent.sock")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let delivered = deliver(&config(state.path()), &request(1, &["lint"])).expect("spooled");
    assert_eq!(delivered, Delivered::ToAgent { events: 1 });
    drop(agent);
    assert!(!state.path().join("agent.sock").exists(), "an agent takes its socket away");
    assert_eq!(spooled(state.path()), ["lint"]);
}

#[test]
fn a_state_directory_with_a_long_name_has_a_socket_too() {
    let state = tempfile::tempdir().expect("a folder");
    let long = state.path().join("x".repeat(120));
    let _agent = RunningAgent::start(&long);
    let delivered = deliver(&config(&long), &request(1, &["lint"])).expect("spooled");
    assert_eq!(delivered, Delivered::ToAgent { events: 1 });
}

#[test]
fn a_repeated_request_is_answered_and_not_spooled_again_whoever_takes_it() {
    let state = tempfile::tempdir().expect("a folder");
    let config = config(state.path());
    deliver(&config, &request(7, &["once"])).expect("spooled");
    deliver(&config, &request(7, &["once"])).expect("known");
    {
        let _agent = RunningAgent::start(state.path());
        let again = deliver(&config, &request(7, &["once"])).expect("known");
        assert_eq!(again, Delivered::ToAgent { events: 1 });
        deliver(&config, &request(8, &["another"])).expect("spooled");
    }
    deliver(&config, &request(8, &["another"])).expect("known");
    assert_eq!(spooled(state.path()), ["once", "another"]);
}

#[test]
fn many_commands_at_once_and_an_agent_that_comes_and_goes_lose_and_double_nothing() {
    const COMMANDS: u64 = 12;
    let state = tempfile::tempdir().expect("a folder");
    let threads: Vec<_> = (0..COMMANDS)
        .map(|n| {
            let config = config(state.path());
            std::thread::spawn(move || {
                deliver(&config, &request(n + 1, &[&format!("w{n}")])).expect("spooled")
            })
        })
        .collect();
    for _ in 0..2 {
        drop(RunningAgent::start(state.path()));
    }
    for thread in threads {
        thread.join().expect("no panic");
    }
    let mut workers = spooled(state.path());
    workers.sort();
    let mut expected: Vec<_> = (0..COMMANDS).map(|n| format!("w{n}")).collect();
    expected.sort();
    assert_eq!(workers, expected);
}

#[test]
fn what_is_wrong_is_refused_by_the_agent_and_by_the_command_alike() {
    let state = tempfile::tempdir().expect("a folder");
    let config = config(state.path());
    let mut wrong = request(1, &["lint", "test"]);
    wrong.events[1].fields.insert("wroker".into(), "x".into());
    let refused = |config: &LocalConfig| match deliver(config, &wrong) {
        Err(DeliveryError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let alone = refused(&config);
    assert!(!state.path().join("identity.json").exists(), "nothing is touched");
    let _agent = RunningAgent::start(state.path());
    let by_agent = refused(&config);
    assert_eq!(alone, by_agent);
    assert_eq!(alone.reason, Reason::Invalid);
    assert!(alone.why.starts_with("event 2: run has no key"), "{}", alone.why);
}

#[test]
fn a_dead_agents_socket_is_in_nobodys_way() {
    let state = tempfile::tempdir().expect("a folder");
    drop(std::os::unix::net::UnixListener::bind(state.path().join("agent.sock")).expect("a socket"));
    let delivered = deliver(&config(state.path()), &request(1, &["lint"])).expect("spooled");
    assert_eq!(delivered, Delivered::ToSpool { events: 1 });
    let _agent = RunningAgent::start(state.path());
    let delivered = deliver(&config(state.path()), &request(2, &["lint"])).expect("spooled");
    assert_eq!(delivered, Delivered::ToAgent { events: 1 });
}

#[test]
fn a_full_spool_is_said() {
    let state = tempfile::tempdir().expect("a folder");
    let mut config = config(state.path());
    deliver(&config, &request(1, &["lint"])).expect("spooled");
    config.spool.bytes_max = 1;
    let refused = deliver(&config, &request(2, &["lint"])).expect_err("full");
    assert!(matches!(refused, DeliveryError::Refused(Refusal { reason: Reason::Full, .. })), "{refused}");
}

fn answer(stream: &mut UnixStream) -> Option<Answer> {
    let mut head = [0; 8];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; length(head, 1 << 20).expect("a frame")];
    stream.read_exact(&mut body).expect("the whole answer");
    Some(serde_json::from_slice(&body).expect("an answer"))
}

#[test]
fn bytes_that_are_no_request_are_answered_and_harm_nobody() {
    let state = tempfile::tempdir().expect("a folder");
    let agent = RunningAgent::start(state.path());
    let connect = || UnixStream::connect(state.path().join("agent.sock")).expect("connected");
    let said = |bytes: &[u8]| {
        let mut stream = connect();
        stream.write_all(bytes).expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        answer(&mut stream).and_then(|answer| answer.refusal).map(|refusal| refusal.reason)
    };
    let mut newer = frame(&request(1, &["x"]), 1 << 20).expect("a frame");
    newer[3] = 9;
    let mut huge = b"mus\x01".to_vec();
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(said(b"GET / HTTP/1.1\r\n\r\n"), Some(Reason::Version));
    assert_eq!(said(&newer), Some(Reason::Version));
    assert_eq!(said(&huge), Some(Reason::TooLarge));
    assert_eq!(said(&frame(&serde_json::json!({"id": 5}), 100).expect("a frame")), Some(Reason::Invalid));
    let whole = frame(&request(1, &["x"]), 1 << 20).expect("a frame");
    assert_eq!(said(&whole[..whole.len() - 1]), None, "half a request is none");
    // Two requests over one connection, and a silent neighbour.
    let silent = connect();
    let mut stream = connect();
    for id in [2, 3] {
        stream.write_all(&frame(&request(id, &["y"]), 1 << 20).expect("a frame")).expect("written");
        assert_eq!(answer(&mut stream), Some(Answer { spooled: 1, refusal: None }));
    }
    drop((silent, stream, agent));
    assert_eq!(spooled(state.path()), ["y", "y"]);
}

#[test]
fn the_oldest_id_leaves_when_there_are_too_many() {
    let ids = (0..IDS_MAX as u64 + 1).fold(RecentIds::default(), RecentIds::with);
    assert!(!ids.contains(0) && ids.contains(1) && ids.contains(IDS_MAX as u64));
    assert_eq!(RecentIds::decode(&ids.encode()), ids);
}

proptest! {
    #[test]
    fn any_bytes_are_a_head_or_a_refusal(head in any::<[u8; 8]>(), bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(length) = length(head, 4096) {
            prop_assert!(length <= 4096);
        }
        let _ = RecentIds::decode(&bytes);
    }
}
