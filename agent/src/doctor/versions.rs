//! Whether agent and collector go together. An agent may be older than its collector, and is updated after it: what a newer
//! one says, an older collector keeps and does not understand.

use super::facts::Facts;
use super::{Finding, Verdict};

const CHECK: &str = "collector";

/// Compares what the last welcome said of the collector with the agent that heard it.
pub(super) fn collector(facts: &Facts) -> Finding {
    let say = |verdict, words: String| Finding::new(CHECK, verdict, words);
    let Some(running) = facts.running.as_ref().filter(|running| running.has_page) else {
        return say(Verdict::Skipped, "not known: no agent's page says which it is".to_owned());
    };
    let Some(told) = &running.collector else {
        return say(Verdict::Skipped, "not known: none has welcomed the running agent yet".to_owned());
    };
    let agent = if running.version.is_empty() { &facts.own_version } else { &running.version };
    let of = match told.version.as_str() {
        "" => "the collector".to_owned(),
        version => format!("the collector ({version})"),
    };
    let ours = u64::from(muster::limits::PROTOCOL_VERSION);
    if told.protocol != ours {
        let words = format!(
            "{of} speaks protocol {}, and the agent ({agent}) {ours}: nothing is sent",
            told.protocol
        );
        let older = if told.protocol < ours { "the collector" } else { "the agent" };
        return say(Verdict::Warning, words)
            .with(format!("update {older}; events wait in the spool until then"));
    }
    let (Some(agent_release), Some(collector_release)) = (release(agent), release(&told.version)) else {
        let words = match told.version.as_str() {
            "" => "the collector does not say its version, as older ones".to_owned(),
            _ => format!("{of} and the agent ({agent}) cannot be compared"),
        };
        return say(Verdict::Skipped, words);
    };
    if agent_release > collector_release {
        let (major, minor) = collector_release;
        let words =
            format!("the agent is {agent}, newer than {of}, which may not understand all of what it sends");
        return say(Verdict::Warning, words).with(format!(
            "update the collector (collectors first, then agents), or go back to an agent of {major}.{minor}"
        ));
    }
    say(Verdict::Ok, format!("{of} is no older than the agent ({agent})"))
}

/// Major and minor version: patches change nothing between the two.
fn release(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
