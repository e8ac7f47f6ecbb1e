//! Teams and agents against each other, by a clock that the test moves.

use muster::clock::{ManualClock, WallTime};

use super::*;
use crate::config::TeamLimits;

fn rates(bytes: u64, events: u64, streams: u64) -> Rates {
    Rates { bytes: Some(bytes), events: Some(events), streams: Some(streams) }
}

fn quotas(limits: &Limits) -> (Arc<Quotas>, ManualClock) {
    let clock = ManualClock::at(WallTime(1));
    (Quotas::new(limits, Arc::new(clock.clone())), clock)
}

fn team(name: &str) -> Team {
    name.parse().expect("team")
}

fn agent(n: u64) -> Option<AgentId> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Some(AgentId::from_bytes(bytes))
}

const BATCH: Wanted = Wanted { bytes: 1_000, events: 10, streams: 0 };

#[test]
fn a_noisy_team_is_refused_and_a_quiet_one_never_is() {
    let limits = Limits { team_rates: rates(10_000, 100, 10), ..Limits::default() };
    let (quotas, clock) = quotas(&limits);
    let (mut noisy, mut quiet) = (0, 0);
    for _ in 0..1_000 {
        for _ in 0..100 {
            noisy += u64::from(quotas.take(&team("noisy"), agent(1), BATCH).is_ok());
        }
        quiet += u64::from(quotas.take(&team("quiet"), agent(1), BATCH).is_ok());
        clock.advance(Duration::from_millis(100));
    }
    assert_eq!(quiet, 1_000);
    // 10 batches a second for 100 s, and a burst.
    assert!((1_040..=1_060).contains(&noisy), "{noisy}");
    let counted: Vec<_> = quotas.refusals().into_iter().filter(|(.., count)| *count > 0).collect();
    assert_eq!(counted, [("noisy".to_owned(), "team_bytes", 100_000 - noisy)]);
}

#[test]
fn what_one_quota_refuses_costs_the_others_nothing() {
    let limits = Limits {
        team_rates: rates(1 << 30, 1 << 30, 10),
        agent_rates: rates(1_000, 1 << 30, 1),
        ..Limits::default()
    };
    let (quotas, clock) = quotas(&limits);
    let red = team("red");
    quotas.take(&red, agent(1), Wanted { bytes: 5_000, ..BATCH }).expect("a burst");
    for _ in 0..1_000_000 / 10 {
        let used_up = quotas.take(&red, agent(1), Wanted { events: 1 << 20, ..BATCH }).expect_err("used up");
        assert_eq!((used_up.reason, used_up.retry_after), (Reason::AgentBytes, Duration::from_secs(1)));
    }
    quotas.take(&red, agent(2), Wanted { events: 1 << 30, ..BATCH }).expect("the team's events are not used");
    clock.advance(Duration::from_secs(1));
    quotas.take(&red, agent(1), BATCH).expect("when it was told, there is room");
}

#[test]
fn a_team_of_its_own_has_its_own_rates_and_a_reload_changes_them_at_once() {
    let mut limits = Limits { team_rates: rates(1_000, 1_000, 1), ..Limits::default() };
    let own =
        TeamLimits { rates: Rates { bytes: Some(1_000_000), ..Rates::default() }, ..TeamLimits::default() };
    limits.teams.insert(team("large"), own);
    let (quotas, _) = quotas(&limits);
    let stream = Wanted { streams: 1, ..Wanted::default() };
    for name in ["large", "small"] {
        let granted = (0..100).filter(|_| quotas.take(&team(name), None, BATCH).is_ok()).count();
        assert_eq!(granted, if name == "large" { 100 } else { 5 }, "{name}");
        let streams = (0..100).filter(|_| quotas.take(&team(name), None, stream).is_ok()).count();
        assert_eq!(streams, 5, "what is not its own is everybody's");
    }
    quotas.set(&Limits::default());
    assert!((0..100).all(|_| quotas.take(&team("small"), None, BATCH).is_ok()));
}

#[test]
fn idle_senders_are_forgotten_and_many_are_bounded() {
    let limits = Limits { agent_rates: rates(1_000, 100, 1), ..Limits::default() };
    let (quotas, clock) = quotas(&limits);
    let red = team("red");
    for n in 0..SENDERS_MAX as u64 + 10 {
        quotas.take(&red, agent(n), BATCH).expect("room");
        assert!(quotas.used.lock().agents.len() < SENDERS_MAX);
    }
    clock.advance(IDLE);
    quotas.take(&red, agent(0), BATCH).expect("room");
    assert_eq!(quotas.used.lock().agents.len(), 1);
}

#[test]
fn a_deep_debt_is_not_forgotten_while_its_owner_waits() {
    let limits = Limits { agent_rates: rates(1 << 30, 10, 1), ..Limits::default() };
    let (quotas, clock) = quotas(&limits);
    quotas.take(&team("red"), agent(1), Wanted { events: 10_050, ..BATCH }).expect("into debt");
    for _ in 0..8 {
        clock.advance(IDLE * 2);
        quotas.take(&team("blue"), agent(2), BATCH).expect("somebody else, so that the idle are swept");
        quotas.take(&team("red"), agent(1), BATCH).expect_err("1,000 s of debt are not over");
    }
    clock.advance(Duration::from_secs(60));
    quotas.take(&team("red"), agent(1), BATCH).expect("now they are");
}
