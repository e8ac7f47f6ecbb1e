//! What a person is told of an agent's configuration, from its row in `/api/v1/agents`.

use serde_json::Value;

/// So many digits of a hash tell all configurations of a collector apart.
const HASH_DIGITS_SHOWN: usize = 12;

/// `-` for an agent that takes none, else the entry, the first digits of its hash, and what became of it.
pub(super) fn summary(agent: &Value) -> String {
    let configuration = &agent["configuration"];
    let text = |key: &str| configuration[key].as_str().unwrap_or_default();
    let state = text("state");
    if state.is_empty() || state == "not_taken" {
        return "-".to_owned();
    }
    let hash: String = text("offered_hash").chars().take(HASH_DIGITS_SHOWN).collect();
    let words = [text("offered_name"), &hash, state];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What an agent has against its configuration, if it refused it.
pub(super) fn problem(agent: &Value) -> Option<&str> {
    agent["configuration"]["problem"].as_str().filter(|problem| !problem.is_empty())
}

/// `kind=ci os=linux`.
pub(super) fn labels(agent: &Value) -> String {
    let labels = agent["labels"].as_object().into_iter().flatten();
    let label = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    labels.map(label).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_is_told_by_its_name_its_hash_and_what_became_of_it() {
        let of = |state: &str, name: &str, hash: &str| {
            summary(&json!({"configuration": {"state": state, "offered_name": name, "offered_hash": hash}}))
        };
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(of("not_taken", "", ""), "-");
        assert_eq!(of("applied", "ci", &hash), "ci 0123456789ab applied");
        assert_eq!(of("rejected", "ci", &hash), "ci 0123456789ab rejected");
        assert_eq!(of("own", "", ""), "own");
        assert_eq!(of("own", "lab", ""), "lab own");
        // An older collector.
        assert_eq!(summary(&json!({})), "-");
        assert_eq!(labels(&json!({"labels": {"kind": "ci", "os": "linux"}})), "kind=ci os=linux");
        assert_eq!(problem(&json!({"configuration": {"problem": "no"}})), Some("no"));
        assert_eq!(problem(&json!({"configuration": {"problem": ""}})), None);
    }
}
