//! `[agent.labels]`: what the agent calls itself, for the collector's choice of a configuration.
//!
//! They leave the machine in every hello, so they are words, as everything else that leaves.

use std::collections::BTreeMap;

use super::{ConfigError, invalid};
use crate::facts::redact;

/// Most labels (collector.proto, `Hello.labels`).
const LABELS_MAX: usize = 16;
/// Longest key.
const KEY_BYTES_MAX: usize = 64;
/// Longest value.
const VALUE_BYTES_MAX: usize = 64;

/// Checks the section.
pub(super) fn validate(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ConfigError> {
    if labels.len() > LABELS_MAX {
        return invalid("agent.labels", format!("{} labels are more than {LABELS_MAX}", labels.len()));
    }
    for (key, value) in &labels {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(is_allowed) {
            let problem = format!("the key {key:?} is not 1 to {KEY_BYTES_MAX} of a-z A-Z 0-9 _ - .");
            return invalid("agent.labels", problem);
        }
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || redact::word(value) != value.as_str() {
            let problem = format!(
                "the value of {key:?} is not a name of at most {VALUE_BYTES_MAX} bytes: at most four plain words, no path, \
                 no address, no secret"
            );
            return invalid("agent.labels", problem);
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use crate::config::{AgentConfig, ConfigError, Overrides};

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, Overrides::default(), &|_| None)
    }

    #[test]
    fn a_collector_may_ask_for_nothing_unless_the_file_says_so() {
        let config = parse("").expect("defaults");
        assert!(!config.remote_configuration && config.labels.is_empty());
        let text =
            "[agent]\nremote_configuration = true\n[agent.labels]\nkind = \"ci\"\nregion = \"eu west\"";
        let config = parse(text).expect("valid");
        assert!(config.remote_configuration);
        assert_eq!((config.labels.len(), config.labels["kind"].as_str()), (2, "ci"));
    }

    #[test]
    fn labels_that_are_no_words_or_too_many_are_refused_in_words() {
        let many: String = (0..17).map(|n| format!("k{n} = \"v\"\n")).collect();
        let long = format!("kind = \"{}\"", "x".repeat(65));
        for (labels, words) in [
            (many.as_str(), "more than 16"),
            (&long, "64 bytes"),
            ("\"a b\" = \"v\"", "the key \"a b\""),
            ("\"\" = \"v\"", "the key"),
            ("kind = \"\"", "the value of \"kind\""),
            ("home = \"/home/dana\"", "no path"),
            ("key = \"sk-ant-api03-abcdefgh1\"", "no secret"),
        ] {
            let error = parse(&format!("[agent.labels]\n{labels}")).expect_err(labels).to_string();
            assert!(error.contains(words) && error.starts_with("agent.labels"), "{labels}: {error}");
        }
        assert!(parse("[agent.labels]\nkind = 3").is_err());
    }

    #[test]
    fn the_collectors_section_of_the_same_file_is_not_the_agents_business() {
        assert!(parse("[[remote_configuration]]\nname = \"ci-machines\"").is_ok());
    }
}
