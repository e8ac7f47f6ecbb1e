//! What the facts mean.

use muster::clock::WallTime;

use super::facts::{Credential, CredentialAnswer, Facts, Reached, Running, Tls, Unit};
use super::{Finding, Verdict, versions};
use crate::enrol::renewal;

use Verdict::{Failed, Ok, Skipped, Warning};

/// A clock that is off by more shows in every time; certificates allow for some minutes at most.
const SKEW_WARNING_SECONDS: u64 = 5;
const SKEW_FAILED_SECONDS: u64 = 300;
/// Events are at the collector within a second; a minute is a connection that was just made.
const LAG_WARNING_SECONDS: u64 = 60;
/// A part of its life that is left: whoever renews the collector's certificate should have by then.
const SERVED_LEFT_MIN: f64 = 0.1;

const NEW_TOKEN: &str = "ask for a token: `muster token create --enroll --team TEAM` for `muster agent enroll --force`, or \
                         `muster token create` for token_file; an agent that was revoked comes back with an empty state directory alone";

/// One finding a check, in the order in which things fail.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        service(facts),
        version(facts),
        configuration(facts),
        projects(facts),
        watch_limits(facts),
        permissions(facts),
        clock(facts),
        server(facts),
        tls(facts),
        credential(facts),
        versions::collector(facts),
        lag(facts),
        remote_configuration(facts),
    ]
}

fn service(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("service", verdict, words);
    match (&facts.unit, &facts.running) {
        (Unit::Installed { kind, state, .. }, Some(_)) => {
            say(Ok, format!("the agent runs ({kind}: {state})"))
        }
        (Unit::Installed { kind, state, start, look }, None) => {
            say(Failed, format!("the agent is installed and does not run ({kind}: {state})"))
                .with(format!("start it with `{start}`; why it stopped: `{look}`"))
        }
        (Unit::NotInstalled, Some(_)) => say(Warning, "the agent runs, but not as a service".to_owned())
            .with("it ends with the session that started it; set it up with `muster agent install`"),
        (Unit::NotInstalled, None) => say(Warning, "no agent is installed, and none runs".to_owned())
            .with("set it up with `muster agent install`, or try it with `muster agent run --watch PATH`"),
        (Unit::Unknown(why), Some(_)) => say(Ok, format!("the agent runs ({why})")),
        (Unit::Unknown(why), None) => {
            say(Warning, format!("no agent runs ({why})")).with("start one with `muster agent run`")
        }
    }
}

fn version(facts: &Facts) -> Finding {
    let own = &facts.own_version;
    let say = |verdict, words: String| Finding::new("version", verdict, words);
    match facts.running.as_ref().map(|running| running.version.as_str()) {
        None => say(Ok, format!("this is {own}; no agent runs that could be another")),
        Some("") => say(Skipped, format!("this is {own}; the running agent does not say what it is")),
        Some(running) if running == own => say(Ok, format!("the running agent is {own}, as this binary")),
        Some(running) => say(Warning, format!("the running agent is {running}, this binary is {own}"))
            .with("start the agent again: `systemctl --user restart muster-agent`"),
    }
}

fn configuration(facts: &Facts) -> Finding {
    let file = facts.configuration.file.as_ref().map(|path| path.display().to_string());
    let file = file.unwrap_or_else(|| "no file, defaults and variables alone".to_owned());
    match &facts.configuration.problem {
        None => Finding::new("configuration", Ok, format!("valid ({file})")),
        Some(problem) => Finding::new("configuration", Failed, format!("not valid ({file}): {problem}"))
            .with("correct it; an agent with it does not start"),
    }
}

fn projects(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("projects", verdict, words);
    let Some(projects) = &facts.projects else { return say(Skipped, UNTIL_VALID.to_owned()) };
    if projects.watched == 0 {
        return say(Warning, "no path is watched".to_owned()).with(
            "name projects or folders of projects: `--watch PATH`, or watch = [\"~/work\"] in [agent]",
        );
    }
    let named: Vec<String> =
        projects.found.iter().take(5).map(|(name, tools)| format!("{name} ({})", tools.join(", "))).collect();
    let more = projects.found.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let found = format!("{} found: {}{more}", projects.found.len(), named.join(", "));
    if let Some(path) = projects.missing.first() {
        return say(Warning, format!("{} is watched and not there; {found}", path.display()))
            .with("correct `watch`, or make the folder: it is noticed when it appears");
    }
    if let Some(path) = projects.unreadable.first() {
        return say(Warning, format!("{} cannot be read; {found}", path.display()))
            .with("let the agent's user read it, or watch the projects themselves");
    }
    if projects.is_cut_short {
        return say(Warning, format!("too many folders below the watched paths to search all; {found}"))
            .with("watch the projects, or folders nearer to them");
    }
    if projects.found.is_empty() {
        return say(Warning, "no project below the watched paths has a tool's state".to_owned())
            .with("start Loki Mode or DevLoop in one; it is noticed when it begins, up to four levels deep");
    }
    say(Ok, found)
}

const UNTIL_VALID: &str = "not looked at until the configuration is valid";

fn watch_limits(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("watch limits", verdict, words);
    let Some(watches) = &facts.watches else {
        return say(Skipped, "this system has no such limits".to_owned());
    };
    // What the running agent has is among what is used.
    let to_come = |amount: u64| if facts.running.is_some() { 0 } else { amount };
    if watches.instances_used + to_come(1) > watches.instances_max {
        let words = format!(
            "all {} inotify instances of this user are in use; changes are looked for every two seconds instead",
            watches.instances_max
        );
        return say(Warning, words).with(
            "sudo sysctl fs.inotify.max_user_instances=1024 (and in /etc/sysctl.d, so that it stays), then start the agent again",
        );
    }
    let needed = watches.watches_used + to_come(watches.watches_needed);
    let words = format!(
        "{} of {} inotify watches and {} of {} instances in use, about {} needed by the agent",
        watches.watches_used,
        watches.watches_max,
        watches.instances_used,
        watches.instances_max,
        watches.watches_needed
    );
    if needed >= watches.watches_max {
        let wanted = (needed * 2).next_power_of_two().max(524_288);
        return say(Warning, words).with(format!(
            "sudo sysctl fs.inotify.max_user_watches={wanted} (and in /etc/sysctl.d, so that it stays); until then changes are \
             looked for every two seconds"
        ));
    }
    say(Ok, words)
}

fn permissions(facts: &Facts) -> Finding {
    let wrong: Vec<&str> = facts.permissions.iter().filter_map(|fact| fact.problem.as_deref()).collect();
    if wrong.is_empty() {
        let names: Vec<&str> = facts.permissions.iter().map(|fact| fact.what).collect();
        let words = match names.is_empty() {
            true => "nothing is there yet that could be read by others".to_owned(),
            false => format!("{}: for this user alone", names.join(", ")),
        };
        return Finding::new("permissions", Ok, words);
    }
    let is_usable = facts.permissions.iter().all(|fact| fact.problem.is_none() || fact.is_usable);
    let (verdict, advice) = match is_usable {
        true => {
            (Warning, "do as it says; the agent works nevertheless, and its secrets have modes of their own")
        }
        false => (Failed, "do as it says; an agent does not use a secret that others can read"),
    };
    Finding::new("permissions", verdict, wrong.join("; ")).with(advice)
}

fn clock(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("clock", verdict, words);
    let skew = facts.reached.as_ref().and_then(|reached| reached.skew_seconds);
    let Some(skew) = skew else {
        return say(Skipped, "not compared: no collector told its time".to_owned());
    };
    let off = skew.unsigned_abs();
    let side = if skew > 0 { "before" } else { "behind" };
    let advice = "let the system keep its time: `timedatectl set-ntp true`";
    match off {
        0..=1 => say(Ok, "as the collector's, to the second".to_owned()),
        2..=SKEW_WARNING_SECONDS => say(Ok, format!("{off} s {side} the collector's")),
        off if off <= SKEW_FAILED_SECONDS => {
            say(Warning, format!("{off} s {side} the collector's; times of events are off by as much"))
                .with(advice)
        }
        off => {
            say(Failed, format!("{off} s {side} the collector's; certificates seem not yet valid or ended"))
                .with(advice)
        }
    }
}

fn server(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("server", verdict, words);
    let Some(reached) = &facts.reached else {
        if facts.configuration.problem.is_some() {
            return say(Skipped, UNTIL_VALID.to_owned());
        }
        return say(
            Skipped,
            "no collector is configured: the agent spools and serves its own page".to_owned(),
        )
        .with(
            "name one with server = \"https://HOST:4317\" in [agent], or enrol with `muster agent enroll`",
        );
    };
    match &reached.connect_problem {
        None => say(Ok, format!("{} is reached", reached.address)),
        Some(problem) => say(Failed, format!("{} is not reached: {problem}", reached.address))
            .with("is the address right, the collector running, and no firewall or VPN in between?"),
    }
}

fn tls(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("TLS", verdict, words);
    match facts.reached.as_ref().map(|reached| &reached.tls) {
        None | Some(Tls::NotTried) => say(Skipped, NO_CONNECTION.to_owned()),
        Some(Tls::Plaintext { is_loopback: true }) => {
            say(Ok, "not used, and not needed on loopback".to_owned())
        }
        Some(Tls::Plaintext { is_loopback: false }) => {
            say(Warning, "not used: credentials and telemetry can be read on the way".to_owned())
                .with("give the collector a certificate ([server.tls]), and use https:// here")
        }
        Some(Tls::Spoken { served, problem: Some(problem) }) => {
            let by = served.as_ref().map_or_else(String::new, |s| format!(" (issued by {})", s.issuer));
            say(Failed, format!("the collector's certificate{by} is not trusted: {problem}"))
                .with(untrusted(problem))
        }
        Some(Tls::Spoken { served: None, problem: None }) => say(Ok, "the collector is trusted".to_owned()),
        Some(Tls::Spoken { served: Some(served), problem: None }) => {
            let until = renewal::in_words(served.not_after);
            let words = format!("the collector is trusted: issued by {}, until {until}", served.issuer);
            let left = served.not_after.since(facts.now).as_secs_f64();
            let life = served.not_after.since(served.not_before).as_secs_f64();
            if left < life * SERVED_LEFT_MIN {
                return say(Warning, words)
                    .with("it should be renewed by now; tell whoever runs the collector");
            }
            say(Ok, words)
        }
    }
}

const NO_CONNECTION: &str = "not looked at: there is no connection";

/// What to do, by what rustls says.
fn untrusted(problem: &str) -> &'static str {
    if problem.contains("UnknownIssuer") || problem.contains("BadSignature") {
        "name the authority that issued it with ca_file in [agent], or enrol again with --ca-fingerprint (`muster authority show`)"
    } else if problem.contains("NotValidForName") || problem.contains("not valid for name") {
        "use a name in server that is in the certificate, or name it with tls_name in [agent]"
    } else if problem.contains("Expired") || problem.contains("NotValidYet") || problem.contains("expired") {
        "compare the clocks; if they are right, the collector needs a new certificate"
    } else {
        "compare server, ca_file and tls_name in [agent] with the collector's [server.tls]"
    }
}

fn credential(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("credential", verdict, words);
    let Some(reached) = &facts.reached else { return say(Skipped, NO_CONNECTION.to_owned()) };
    let shown = shown(reached);
    match (&reached.credential, &reached.answer) {
        (Credential::Unusable(why), _) => say(Failed, why.clone()).with(NEW_TOKEN),
        (Credential::Certificate { not_after, .. }, _) if facts.now >= *not_after => {
            say(Failed, ended(*not_after)).with(NEW_TOKEN)
        }
        (Credential::None, CredentialAnswer::NotTried) => say(Skipped, NO_CONNECTION.to_owned()),
        (_, CredentialAnswer::NotTried) => {
            say(Skipped, format!("{shown} was not shown to the collector: there is no connection"))
        }
        (_, CredentialAnswer::Accepted) => say(Ok, format!("{shown} is accepted")),
        (Credential::None, CredentialAnswer::Refused) => {
            say(Failed, "the collector wants a credential, and there is none".to_owned()).with(NEW_TOKEN)
        }
        (_, CredentialAnswer::Refused) => {
            say(Failed, format!("{shown} is not accepted: unknown, revoked or ended")).with(NEW_TOKEN)
        }
        (_, CredentialAnswer::Unclear(words)) => {
            say(Failed, format!("{shown}: the collector answered {words}"))
                .with("see the collector's log, and try again")
        }
    }
}

fn shown(reached: &Reached) -> String {
    match &reached.credential {
        Credential::None => "no credential".to_owned(),
        Credential::Token => "the token".to_owned(),
        Credential::Certificate { team, name, not_after } => {
            format!("the certificate of {name} in team {team}, until {},", renewal::in_words(*not_after))
        }
        Credential::Unusable(_) => "the credential".to_owned(),
    }
}

fn ended(not_after: WallTime) -> String {
    format!("the agent's certificate ended at {}; events stay in the spool", renewal::in_words(not_after))
}

fn lag(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new("lag", verdict, words);
    let Some(running) = facts.running.as_ref().filter(|running| running.has_page) else {
        let words =
            format!("not known: no agent's page answers; the spool has {} KiB", facts.spool_bytes / 1024);
        return say(Skipped, words);
    };
    let dropped = match running.events_dropped {
        0 => String::new(),
        events => format!("; {events} were dropped"),
    };
    let words = format!("{} events wait{}{dropped}", running.events_queued, oldest(running));
    if !running.spool_trouble.is_empty() {
        return say(Failed, format!("the spool takes nothing: {}; {words}", running.spool_trouble))
            .with("make room on the disk, or raise [agent.spool] bytes_max; sources wait meanwhile, nothing is lost yet");
    }
    if facts.reached.is_none() {
        return say(Skipped, format!("{words}; there is no collector to be behind of"));
    }
    if !running.is_connected {
        let why = if running.last_error.is_empty() { "no reason yet" } else { &running.last_error };
        return say(Failed, format!("the running agent is not connected ({why}); {words}"))
            .with("see the checks above; if they are all ok, the agent was started with other settings: start it again");
    }
    if running.oldest_seconds.is_some_and(|seconds| seconds > LAG_WARNING_SECONDS) {
        return say(Warning, words)
            .with("it catches up, or the collector holds it back: see `muster status` there");
    }
    if running.events_dropped > 0 {
        return say(Warning, words).with("`muster agent status` says why");
    }
    say(Ok, words)
}

fn remote_configuration(facts: &Facts) -> Finding {
    let say = |verdict, words: &str| Finding::new("remote config", verdict, words);
    match facts.running.as_ref().filter(|running| !running.remote_state.is_empty()) {
        None => say(Skipped, "not known: no agent's page says what the collector asked for"),
        Some(running) if running.remote_state == "not_taken" => say(Skipped, &running.remote_words),
        Some(running) if running.remote_problem.is_empty() => say(Ok, &running.remote_words),
        Some(running) => say(Warning, &running.remote_words)
            .with("tell whoever runs the collector: [[remote_configuration]] of its file, and `muster agents show` there"),
    }
}

fn oldest(running: &Running) -> String {
    running.oldest_seconds.map_or_else(String::new, |seconds| format!(", the oldest for {seconds} s"))
}
