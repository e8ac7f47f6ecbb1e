use journal::Position;
use journal::stream::StreamEntry;
use muster::batch::{BatchBuilder, SourceIdentity, decode};
use muster::ids::{Epoch, Seq};
use muster::v1::event::Kind;

use super::*;

const NOON: u64 = 1_771_588_800_000_000;

fn key(team: &str, agent: u8) -> StreamKey {
    let epoch = Epoch::try_from(1).expect("not 0");
    StreamKey { team: team.parse().expect("team"), agent: AgentId::from_bytes([agent; 16]), epoch }
}

fn apply(fleet: &Fleet, key: &StreamKey, position: u64, first: u64, kinds: Vec<Kind>) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity { tool: "loki".into(), project: "shop".into(), ..Default::default() };
    let source = builder.source(&identity).expect("room");
    assert_eq!(builder.text("linter"), 3);
    for (n, kind) in kinds.into_iter().enumerate() {
        builder.push(WallTime(NOON + first + n as u64), source, kind);
    }
    let sealed = builder.seal(Seq(first)).expect("valid");
    let entry = StreamEntry {
        position: Position(position),
        appended_wall: WallTime(NOON),
        key: key.clone(),
        seqs: sealed.seqs,
        crc32c: sealed.crc32c,
        bytes: sealed.bytes.clone(),
    };
    fleet.apply(&entry, &decode(&sealed.bytes).expect("own batch"));
}

fn run() -> Kind {
    Kind::RunFinished(v1::RunFinished {
        worker: 3,
        status: v1::RunStatus::Failure.into(),
        ..Default::default()
    })
}

fn session(status: v1::SessionStatus) -> Kind {
    Kind::SessionState(v1::SessionState { session: 3, status: status.into(), ..Default::default() })
}

fn all(limit: usize) -> Selection {
    Selection { limit, ..Default::default() }
}

#[test]
fn pages_tell_every_row_once_and_in_order() {
    let fleet = Fleet::new();
    for position in 1..=4 {
        apply(&fleet, &key("red", 1), position, position * 10, vec![run(), run(), run()]);
    }
    let mut selection = all(5);
    let mut seen = Vec::new();
    loop {
        let page = fleet.runs(&selection);
        seen.extend(page.rows.iter().map(|run| (run.position, run.index)));
        let Some(next) = page.next else { break };
        selection.after = Some(Cursor::given(&next));
    }
    let mut expected: Vec<_> = (1..=4).flat_map(|p| (0..3).map(move |i| (p, i))).collect();
    expected.reverse();
    assert_eq!(seen, expected);
}

#[test]
fn one_team_does_not_see_the_rows_of_another() {
    let fleet = Fleet::new();
    apply(&fleet, &key("red", 1), 1, 1, vec![run(), session(v1::SessionStatus::Running)]);
    apply(&fleet, &key("blue", 2), 2, 1, vec![run(), session(v1::SessionStatus::Running)]);
    let red = Selection { team: Some("red".parse().expect("team")), ..all(10) };
    assert_eq!(fleet.runs(&red).rows.len(), 1);
    assert_eq!(fleet.sessions(&red).rows.len(), 1);
    assert_eq!(fleet.agents(&red).rows.len(), 1);
    assert_eq!(fleet.sessions(&all(10)).rows.len(), 2);
}

#[test]
fn a_session_of_a_project_that_is_watched_no_more_is_not_running() {
    let fleet = Fleet::new();
    let ended = Kind::SourceEnded(v1::SourceEnded {});
    apply(&fleet, &key("red", 1), 1, 1, vec![session(v1::SessionStatus::Running), ended]);
    assert_eq!(fleet.sessions(&all(1)).rows[0].status, "unknown");
}

#[test]
fn a_session_goes_on_with_its_iterations_and_its_tools_phase() {
    let fleet = Fleet::new();
    let key = key("red", 1);
    let tool = |iteration, phase| {
        let state =
            v1::ToolState { iteration, iteration_max: 9, sessions_live: 1, phase, ..Default::default() };
        Kind::ToolState(state)
    };
    let run = |iteration| Kind::RunStarted(v1::RunStarted { session: 3, iteration, ..Default::default() });
    let told = |fleet: &Fleet| {
        let row = fleet.sessions(&all(1)).rows.remove(0);
        (row.iteration, row.iteration_max, row.phase, row.updated_us - NOON)
    };
    apply(&fleet, &key, 1, 1, vec![session(v1::SessionStatus::Running), run(1)]);
    assert_eq!(told(&fleet), (1, 0, String::new(), 2));
    apply(&fleet, &key, 2, 3, vec![tool(3, 3)]);
    assert_eq!(told(&fleet), (3, 9, "linter".to_owned(), 3), "the text is the batch's third");
    apply(&fleet, &key, 3, 4, vec![run(4)]);
    assert_eq!(told(&fleet).0, 4);
    // It has ended: what is told of the tool afterwards is of no session.
    apply(&fleet, &key, 4, 5, vec![session(v1::SessionStatus::Stopped), tool(7, 0), run(8)]);
    assert_eq!(told(&fleet), (0, 0, String::new(), 5));
}

#[test]
fn an_agent_lags_by_what_it_told_of_and_is_not_here() {
    let fleet = Fleet::new();
    let key = key("red", 1);
    let lag = || fleet.agents(&all(1)).rows[0].lag_events;
    let hello = v1::Hello { last_seq: 455, ..Default::default() };
    fleet.connected(&key, "10.1.1.1:5".parse().expect("address"), &hello, WallTime(NOON));
    assert_eq!(lag(), 455);
    apply(&fleet, &key, 1, 454, vec![run(), run()]);
    assert_eq!(lag(), 0, "whatever the last heartbeat said");
    let heartbeat = v1::Heartbeat { spool_events: 5, last_seq: 460, ..Default::default() };
    fleet.heartbeat(&key, &heartbeat, WallTime(NOON));
    assert_eq!(lag(), 5);
    // An older agent does not say how far it is.
    fleet.heartbeat(&key, &v1::Heartbeat { spool_events: 9, ..Default::default() }, WallTime(NOON));
    assert_eq!(lag(), 5);
    apply(&fleet, &key, 2, 456, vec![run(); 6]);
    assert_eq!(lag(), 0);
}

#[test]
fn what_is_saved_is_restored_and_agents_are_away_until_they_come() {
    let fleet = Fleet::new();
    let key = key("red", 1);
    fleet.connected(&key, "10.1.1.1:5".parse().expect("address"), &v1::Hello::default(), WallTime(NOON));
    apply(&fleet, &key, 1, 1, vec![run(), session(v1::SessionStatus::Paused)]);
    assert_eq!(fleet.agent_counts(), (1, 1));
    assert!(fleet.sessions(&all(1)).rows[0].agent_connected);

    let restored = Fleet::restore(&fleet.save()).expect("own bytes");
    assert_eq!(restored.agent_counts(), (0, 1));
    assert_eq!(restored.runs(&all(9)).rows, fleet.runs(&all(9)).rows);
    assert_eq!(restored.sessions(&all(9)).rows[0].status, "paused");
    assert!(!restored.sessions(&all(9)).rows[0].agent_connected);
}

#[test]
fn rows_are_bounded_and_the_oldest_go() {
    let fleet = Fleet::new();
    for n in 0..=(RUNS_MAX as u64 / 1_000) {
        apply(&fleet, &key("red", 1), n + 1, n * 1_000 + 1, vec![run(); 1_000]);
    }
    let page = fleet.runs(&all(usize::MAX));
    assert_eq!(page.rows.len(), RUNS_MAX);
    assert_eq!(page.rows.last().map(|run| run.position), Some(2));
}

#[test]
fn rows_of_before_there_were_configurations_are_restored_as_of_agents_that_take_none() {
    let fleet = Fleet::new();
    let hello = v1::Hello { takes_configuration: true, ..Default::default() };
    fleet.connected(&key("red", 1), "10.1.1.1:5".parse().expect("address"), &hello, WallTime(NOON));
    let counts = |fleet: &Fleet| fleet.configuration_counts().map(|(state, agents)| (state.name(), agents));
    assert_eq!(counts(&fleet)[1], ("pending", 1));
    let mut saved: serde_json::Value = serde_json::from_slice(&fleet.save()).expect("own bytes");
    let row = saved["agents"][0].as_object_mut().expect("a row");
    assert!(row.remove("configuration").is_some() && row.remove("labels").is_some());
    let restored = Fleet::restore(saved.to_string().as_bytes()).expect("an older snapshot");
    assert_eq!(restored.agents(&all(1)).rows[0].configuration, Configuration::default());
    assert!(counts(&restored).iter().all(|(_, agents)| *agents == 0), "those that are away are not counted");
}
