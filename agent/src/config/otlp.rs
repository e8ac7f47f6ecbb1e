//! `[agent.otlp]`: whether and where the tools of this machine may send OTLP.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{ConfigError, invalid};
use crate::facts::redact;

/// OTLP's own ports.
const GRPC_LISTEN_DEFAULT: &str = "127.0.0.1:4317";
const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:4318";

/// Keys of the section.
pub(super) const KEYS: [&str; 4] = ["enabled", "grpc_listen", "http_listen", "project"];

/// Where the agent takes OTLP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// OTLP/gRPC; `None` keeps it off.
    pub grpc_listen: Option<SocketAddr>,
    /// OTLP/HTTP; `None` keeps it off.
    pub http_listen: Option<SocketAddr>,
    /// The project of what does not say its own.
    pub project: Option<String>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawOtlp {
    #[serde(default)]
    enabled: bool,
    grpc_listen: Option<String>,
    http_listen: Option<String>,
    project: Option<String>,
}

impl RawOtlp {
    /// The checked section; `None` when OTLP is off. What is wrong in it is told even then.
    pub(super) fn validate(self) -> Result<Option<OtlpConfig>, ConfigError> {
        let grpc = self.grpc_listen.as_deref().unwrap_or(GRPC_LISTEN_DEFAULT);
        let grpc_listen = listen_address("agent.otlp.grpc_listen", grpc)?;
        let http = self.http_listen.as_deref().unwrap_or(HTTP_LISTEN_DEFAULT);
        let http_listen = listen_address("agent.otlp.http_listen", http)?;
        if grpc_listen.is_some_and(|grpc| grpc.port() != 0 && Some(grpc) == http_listen) {
            return invalid("agent.otlp.http_listen", format!("{http} is taken by agent.otlp.grpc_listen"));
        }
        if self.enabled && grpc_listen.is_none() && http_listen.is_none() {
            return invalid("agent.otlp.enabled", "grpc_listen and http_listen are both off".to_owned());
        }
        let project = self.project.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if let Some(name) = &project
            && redact::word(name) != name.as_str()
        {
            let problem = format!("{name:?} is no name: at most four plain words, no path, no address");
            return invalid("agent.otlp.project", problem);
        }
        Ok(self.enabled.then_some(OtlpConfig { grpc_listen, http_listen, project }))
    }
}

fn listen_address(setting: &'static str, text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        return invalid(setting, format!("{text:?} is not ADDRESS:PORT or off"));
    };
    if !address.ip().is_loopback() {
        let problem = format!(
            "{address} can be reached by other machines; the agent takes OTLP of this machine alone. Others send to the \
             collector, with a token"
        );
        return invalid(setting, problem);
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use crate::config::{AgentConfig, ConfigError, Overrides};

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, Overrides::default(), &|_| None)
    }

    #[test]
    fn otlp_is_off_unless_it_is_asked_for() {
        assert_eq!(parse("").expect("defaults").otlp, None);
        assert_eq!(parse("[agent.otlp]\nproject = \"shop\"").expect("off").otlp, None);
        let otlp = parse("[agent.otlp]\nenabled = true").expect("on").otlp.expect("on");
        assert_eq!(otlp.grpc_listen, "127.0.0.1:4317".parse().ok());
        assert_eq!(otlp.http_listen, "127.0.0.1:4318".parse().ok());
        let text = "[agent.otlp]\nenabled = true\ngrpc_listen = \"off\"\nhttp_listen = \"[::1]:0\"\nproject = \" shop \"";
        let otlp = parse(text).expect("on").otlp.expect("on");
        assert_eq!((otlp.grpc_listen, otlp.http_listen), (None, "[::1]:0".parse().ok()));
        assert_eq!(otlp.project.as_deref(), Some("shop"));
    }

    #[test]
    fn wrong_values_say_which_setting_and_what_to_do() {
        for (text, words) in [
            (
                "enabled = true\ngrpc_listen = \"0.0.0.0:4317\"",
                "agent.otlp.grpc_listen: 0.0.0.0:4317 can be reached",
            ),
            ("enabled = true\nhttp_listen = \"192.168.0.7:4318\"", "collector, with a token"),
            ("http_listen = \"[::]:4318\"", "agent.otlp.http_listen"),
            ("grpc_listen = \"localhost\"", "ADDRESS:PORT or off"),
            ("enabled = true\ngrpc_listen = \"127.0.0.1:4318\"", "taken by agent.otlp.grpc_listen"),
            ("enabled = true\ngrpc_listen = \"off\"\nhttp_listen = \"off\"", "both off"),
            ("project = \"/home/dana/shop\"", "agent.otlp.project"),
            ("enable = true", "did you mean `enabled`"),
        ] {
            let error = parse(&format!("[agent.otlp]\n{text}")).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
