//! What is said of which facts.

use std::path::PathBuf;

use muster::clock::WallTime;

use super::*;

const NOON: WallTime = WallTime(1_771_588_800_000_000);
const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// A machine on which all is well.
fn well() -> Facts {
    Facts {
        now: NOON,
        unit: Unit::Installed {
            kind: "systemd user unit muster-agent.service",
            state: "active".to_owned(),
            start: "systemctl --user start muster-agent",
            look: "journalctl --user -u muster-agent -n 30",
        },
        running: Some(Running {
            version: "0.1.0".to_owned(),
            has_page: true,
            collector: Some(CollectorFacts { version: "0.1.3".to_owned(), protocol: 1 }),
            is_connected: true,
            remote_state: "applied".to_owned(),
            remote_words: "ci-machines (1f0c2ab49d37) is in force: withholds files".to_owned(),
            ..Running::default()
        }),
        own_version: "0.1.0".to_owned(),
        configuration: ConfigurationFacts {
            file: Some("/home/dana/.config/muster/muster.toml".into()),
            problem: None,
        },
        projects: Some(ProjectFacts {
            watched: 1,
            found: vec![("shop".to_owned(), vec!["loki", "devloop"])],
            ..ProjectFacts::default()
        }),
        watches: Some(WatchFacts {
            watches_max: 65_536,
            watches_used: 100,
            instances_max: 128,
            instances_used: 4,
            watches_needed: 20,
        }),
        permissions: vec![PermissionFacts { what: "state directory", problem: None, is_usable: true }],
        reached: Some(Reached {
            address: "https://collector.example:4317/".to_owned(),
            connect_problem: None,
            tls: Tls::Spoken { served: Some(served(7)), problem: None },
            credential: certificate(),
            answer: CredentialAnswer::Accepted,
            skew_seconds: Some(1),
        }),
        spool_bytes: 4096,
    }
}

fn served(days_left: u64) -> Served {
    Served {
        issuer: "CN=muster authority".to_owned(),
        not_before: WallTime(NOON.0 - 90 * DAY_US),
        not_after: WallTime(NOON.0 + days_left * DAY_US + 5 * DAY_US),
    }
}

fn certificate() -> Credential {
    Credential::Certificate {
        team: "payments".to_owned(),
        name: "laptop".to_owned(),
        not_after: WallTime(NOON.0 + DAY_US),
    }
}

/// The finding of one check after `change`.
fn after(check: &str, change: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = well();
    change(&mut facts);
    judge(&facts).into_iter().find(|finding| finding.check == check).expect("every check is said")
}

fn reached(facts: &mut Facts) -> &mut Reached {
    facts.reached.as_mut().expect("set")
}

#[test]
fn a_machine_on_which_all_is_well_has_thirteen_checks_in_the_order_in_which_things_fail() {
    let findings = judge(&well());
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    let order = [
        "service",
        "version",
        "configuration",
        "projects",
        "watch limits",
        "permissions",
        "clock",
        "server",
        "TLS",
        "credential",
        "collector",
        "lag",
        "remote config",
    ];
    assert_eq!(checks, order);
    for finding in &findings {
        assert_eq!((finding.verdict, &finding.advice), (Verdict::Ok, &None), "{finding:?}");
    }
    let text = in_words(&findings);
    assert_eq!(text.lines().count(), 13, "{text}");
    assert!(text.starts_with("ok       service        the agent runs"), "{text}");
}

#[test]
fn what_does_not_work_is_failed_and_says_what_to_do() {
    type Change = fn(&mut Facts);
    let cases: [(&str, &str, Change); 13] = [
        ("service", "systemctl --user start", |f| f.running = None),
        ("configuration", "does not start", |f| f.configuration.problem = Some("line 3: unknown key".into())),
        ("permissions", "others can read", |f| {
            f.permissions.push(PermissionFacts {
                what: "private key",
                problem: Some("chmod 600 key.pem".into()),
                is_usable: false,
            });
        }),
        ("clock", "set-ntp", |f| reached(f).skew_seconds = Some(-4000)),
        ("server", "firewall", |f| reached(f).connect_problem = Some("refused".into())),
        ("TLS", "--ca-fingerprint", |f| untrusted(f, "invalid peer certificate: UnknownIssuer")),
        ("TLS", "tls_name", |f| untrusted(f, "certificate not valid for name \"x\"")),
        ("TLS", "clocks", |f| untrusted(f, "invalid peer certificate: Expired")),
        ("credential", "muster token create --enroll", |f| reached(f).answer = CredentialAnswer::Refused),
        ("credential", "muster agent enroll --force", |f| f.now = WallTime(NOON.0 + 2 * DAY_US)),
        ("credential", "muster token create", |f| {
            reached(f).credential = Credential::Unusable("damaged".into())
        }),
        ("lag", "start it again", |f| running(f).is_connected = false),
        ("lag", "make room", |f| running(f).spool_trouble = "the disk is full".to_owned()),
    ];
    for (check, advice, change) in cases {
        let finding = after(check, change);
        assert_eq!(finding.verdict, Verdict::Failed, "{finding:?}");
        assert!(finding.advice.as_ref().is_some_and(|words| words.contains(advice)), "{advice}: {finding:?}");
    }
}

fn untrusted(facts: &mut Facts, problem: &str) {
    reached(facts).tls = Tls::Spoken { served: Some(served(7)), problem: Some(problem.to_owned()) };
}

fn running(facts: &mut Facts) -> &mut Running {
    facts.running.as_mut().expect("set")
}

#[test]
fn what_works_and_should_be_looked_at_is_a_warning() {
    type Change = fn(&mut Facts);
    let cases: [(&str, &str, Change); 12] = [
        ("permissions", "nevertheless", |f| {
            f.permissions[0] = PermissionFacts {
                what: "state directory",
                problem: Some("chmod 700 x".into()),
                is_usable: true,
            };
        }),
        ("service", "muster agent install", |f| f.unit = Unit::NotInstalled),
        ("version", "restart", |f| running(f).version = "0.0.9".to_owned()),
        ("projects", "--watch", |f| f.projects = Some(ProjectFacts::default())),
        ("projects", "noticed when it appears", |f| {
            f.projects.as_mut().expect("set").missing.push(PathBuf::from("/work/gone"));
        }),
        ("projects", "noticed when it begins", |f| f.projects.as_mut().expect("set").found.clear()),
        ("watch limits", "max_user_watches", |f| f.watches.as_mut().expect("set").watches_used = 65_536),
        ("watch limits", "max_user_instances", |f| f.watches.as_mut().expect("set").instances_used = 129),
        ("clock", "set-ntp", |f| reached(f).skew_seconds = Some(40)),
        ("TLS", "[server.tls]", |f| reached(f).tls = Tls::Plaintext { is_loopback: false }),
        ("TLS", "runs the collector", |f| {
            reached(f).tls = Tls::Spoken {
                served: Some(Served { not_after: WallTime(NOON.0 + DAY_US), ..served(0) }),
                problem: None,
            };
        }),
        ("lag", "holds it back", |f| running(f).oldest_seconds = Some(90)),
    ];
    for (check, advice, change) in cases {
        let finding = after(check, change);
        assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
        assert!(finding.advice.as_ref().is_some_and(|words| words.contains(advice)), "{advice}: {finding:?}");
    }
}

#[test]
fn what_is_not_used_or_not_got_to_is_skipped_and_fails_nothing() {
    let without = |f: &mut Facts| f.reached = None;
    for check in ["clock", "server", "TLS", "credential", "lag"] {
        assert_eq!(after(check, without).verdict, Verdict::Skipped, "{check}");
    }
    let unreachable = |f: &mut Facts| {
        let reached = reached(f);
        reached.connect_problem = Some("refused".into());
        (reached.tls, reached.answer, reached.skew_seconds) =
            (Tls::NotTried, CredentialAnswer::NotTried, None);
    };
    for check in ["clock", "TLS", "credential"] {
        assert_eq!(after(check, unreachable).verdict, Verdict::Skipped, "{check}");
    }
    let mut facts = well();
    (facts.running, facts.unit) = (None, Unit::NotInstalled);
    let findings = judge(&facts);
    assert!(findings.iter().all(|finding| finding.verdict != Verdict::Failed), "{findings:?}");
    let lag = findings.iter().find(|finding| finding.check == "lag").expect("lag");
    assert!(lag.words.contains("4 KiB"), "{lag:?}");
}

#[test]
fn a_limit_is_compared_with_what_a_stopped_agent_will_need() {
    let nearly_full = |running: bool| {
        after("watch limits", |f| {
            f.watches.as_mut().expect("set").watches_used = 65_530;
            if !running {
                f.running = None;
            }
        })
    };
    assert_eq!(nearly_full(true).verdict, Verdict::Ok, "its watches are among those in use");
    assert_eq!(nearly_full(false).verdict, Verdict::Warning);
}

#[test]
fn what_the_collector_asked_for_is_said_and_a_refused_offer_warns() {
    let with = |state: &'static str, problem: &'static str| {
        after("remote config", |facts| {
            let running = facts.running.as_mut().expect("set");
            (running.remote_state, running.remote_problem) = (state.to_owned(), problem.to_owned());
        })
    };
    assert_eq!(with("own", "").verdict, Verdict::Ok);
    assert_eq!(with("not_taken", "").verdict, Verdict::Skipped);
    assert_eq!(with("", "").verdict, Verdict::Skipped, "an older agent");
    let refused = with("rejected", "sampling: 0 is not 1 to 1000");
    assert_eq!(refused.verdict, Verdict::Warning);
    assert!(refused.advice.expect("advice").contains("[[remote_configuration]]"));
    assert_eq!(after("remote config", |facts| facts.running = None).verdict, Verdict::Skipped);
}

#[test]
fn an_agent_that_is_newer_than_its_collector_is_told_with_what_to_do() {
    let told = |agent: &str, collector: Option<(&str, u64)>| {
        let mut facts = well();
        let running = facts.running.as_mut().expect("runs");
        running.version = agent.to_owned();
        let collector = collector.map(|(version, protocol)| (version.to_owned(), protocol));
        running.collector = collector.map(|(version, protocol)| CollectorFacts { version, protocol });
        judge(&facts).into_iter().find(|finding| finding.check == "collector").expect("said")
    };
    for (agent, collector) in [("1.5.0", "1.4.9"), ("2.0.0", "1.9.0"), ("1.10.0", "1.9.0-rc.1")] {
        let finding = told(agent, Some((collector, 1)));
        assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
        assert!(finding.words.contains(agent) && finding.words.contains(collector), "{finding:?}");
        assert!(finding.advice.expect("said").contains("update the collector"));
    }
    for (agent, collector) in
        [("1.4.9", "1.4.0"), ("1.4.0", "1.4.9"), ("1.9.0", "1.10.0"), ("1.9.9", "2.0.0")]
    {
        assert_eq!(told(agent, Some((collector, 1))).verdict, Verdict::Ok, "{agent} at {collector}");
    }
    let silent = told("1.5.0", Some(("", 1)));
    assert!(silent.verdict == Verdict::Skipped && silent.words.contains("does not say"), "{silent:?}");
    assert_eq!(told("1.5.0", Some(("of today", 1))).verdict, Verdict::Skipped);
    assert_eq!(told("1.5.0", None).verdict, Verdict::Skipped);
    for (protocol, older) in [(2, "update the agent"), (0, "update the collector")] {
        let finding = told("1.5.0", Some(("1.5.0", protocol)));
        assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
        assert!(finding.advice.expect("said").contains(older));
    }
}
