//! Whose telemetry a resource's is: the tool, by `service.name`, the project, and the attributes that say so.

use std::sync::Arc;

use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, KeyValue};
use otlp::proto::resource::Resource;
use parking_lot::Mutex;

use crate::facts::{IdentityPart, Privacy, redact};
use crate::project::Machine;
use crate::sources::ProjectContext;

/// `service.name` of the tools we know (contracts/coding-agents.md sections 1 and 2, loki-mode.md section 4), by how it
/// begins, and what the tool is called here. The first that fits counts.
const TOOLS: &[(&str, &str)] = &[
    ("claude-code", "claude"),
    ("claude_code", "claude"),
    ("codex", "codex"),
    ("gemini-cli", "gemini"),
    ("gemini_cli", "gemini"),
    ("qwen-code", "qwen"),
    ("copilot", "copilot"),
    ("github-copilot", "copilot"),
    ("cursor", "cursor"),
    ("opencode", "opencode"),
    ("cline", "cline"),
    ("loki-mode", "loki"),
    ("devloop", "devloop"),
    // The SDKs' word for a program that gives itself no name.
    ("unknown_service", UNKNOWN_TOOL),
];
/// A tool without a name that may leave.
const UNKNOWN_TOOL: &str = "unknown";

/// Attributes that the agent sets on each resource, replacing what is there.
const USER: &str = "user.name";
const HOST: &str = "host.name";
const PROJECT: &str = "muster.project";
const TOOL: &str = "muster.tool";
/// Only the collector knows it.
const TEAM: &str = "muster.team";

/// Whose machine it is and which projects are on it.
#[derive(Debug)]
pub struct Origins {
    machine: Machine,
    configured_project: Option<String>,
    watched: Mutex<Arc<[ProjectContext]>>,
}

/// Whose a resource's telemetry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The tool's name.
    pub tool: String,
    /// Its version, "" if it does not say.
    pub tool_version: String,
    /// The project; its name is "" when none can be told.
    pub project: ProjectContext,
}

impl Origins {
    /// Of this machine; `configured_project` is `[agent.otlp] project`.
    pub fn new(machine: Machine, configured_project: Option<String>) -> Self {
        Self { machine, configured_project, watched: Mutex::new(Arc::new([])) }
    }

    /// Says which projects are watched now.
    pub fn watch(&self, projects: Vec<ProjectContext>) {
        *self.watched.lock() = projects.into();
    }

    /// The projects that are watched now.
    pub fn watched(&self) -> Arc<[ProjectContext]> {
        self.watched.lock().clone()
    }

    /// Whose `resource` is. It may be cleaned already: what is told of it are words.
    pub fn of(&self, resource: &Resource) -> Origin {
        let service = text_of(resource, "service.name").unwrap_or_default();
        Origin {
            tool: tool_of(service),
            tool_version: text_of(resource, "service.version").unwrap_or_default().to_owned(),
            project: self.project(text_of(resource, PROJECT)),
        }
    }

    /// Sets whose it is in `resource` itself, as far as it may leave.
    pub fn stamp(&self, resource: &mut Resource, origin: &Origin, privacy: &Privacy) {
        let stamps = [
            (USER, privacy.identity(IdentityPart::User, &self.machine.user)),
            (HOST, privacy.identity(IdentityPart::Host, &self.machine.host)),
            (PROJECT, redact::name(&origin.project.name)),
            (TOOL, origin.tool.clone()),
        ];
        resource
            .attributes
            .retain(|attribute| attribute.key != TEAM && stamps.iter().all(|(key, _)| attribute.key != *key));
        let said = stamps.into_iter().filter(|(_, value)| !value.is_empty());
        resource.attributes.extend(said.map(|(key, value)| text_attribute(key, value)));
    }

    /// What the telemetry says, else the configuration, else the one project that is watched, else none.
    fn project(&self, said: Option<&str>) -> ProjectContext {
        let watched = self.watched();
        let said = said.filter(|name| !name.is_empty() && redact::word(name) != redact::REDACTED);
        let name = match said.or(self.configured_project.as_deref()) {
            Some(name) => name,
            None => match &*watched {
                [single] => return single.clone(),
                _ => "",
            },
        };
        watched.iter().find(|project| project.name == name).cloned().unwrap_or_else(|| ProjectContext {
            root: Default::default(),
            name: name.to_owned(),
            user: self.machine.user.clone(),
            host: self.machine.host.clone(),
            repository: String::new(),
            branch: String::new(),
        })
    }
}

/// The tool's name for a `service.name`.
fn tool_of(service: &str) -> String {
    let lower = service.to_ascii_lowercase();
    let known = TOOLS.iter().find(|(begins, _)| lower.starts_with(begins));
    match known {
        Some((_, tool)) => (*tool).to_owned(),
        None if service.is_empty() || redact::word(service) == redact::REDACTED => UNKNOWN_TOOL.to_owned(),
        None => service.to_owned(),
    }
}

fn text_of<'a>(resource: &'a Resource, key: &str) -> Option<&'a str> {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
    match &attribute.value.as_ref()?.value {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn text_attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> ProjectContext {
        let machine = machine();
        ProjectContext {
            root: format!("/home/dana/{name}").into(),
            name: name.to_owned(),
            user: machine.user,
            host: machine.host,
            repository: "shop".to_owned(),
            branch: "main".to_owned(),
        }
    }

    fn machine() -> Machine {
        Machine { user: "dana".to_owned(), host: "laptop".to_owned() }
    }

    fn resource(attributes: &[(&str, &str)]) -> Resource {
        let attributes = attributes.iter().map(|(key, value)| text_attribute(key, (*value).to_owned()));
        Resource { attributes: attributes.collect(), ..Default::default() }
    }

    #[test]
    fn services_are_called_as_their_tools() {
        for (service, tool) in [
            ("claude-code", "claude"),
            ("claude-code-desktop", "claude"),
            ("codex_cli_rs", "codex"),
            ("gemini-cli", "gemini"),
            ("github-copilot", "copilot"),
            ("copilot-chat", "copilot"),
            ("loki-mode", "loki"),
            ("my-tool", "my-tool"),
            ("", "unknown"),
            ("unknown_service:node", "unknown"),
        ] {
            assert_eq!(Origins::new(machine(), None).of(&resource(&[("service.name", service)])).tool, tool);
        }
    }

    #[test]
    fn the_project_is_what_is_said_then_configured_then_the_only_one() {
        let said = resource(&[("muster.project", "said")]);
        let silent = resource(&[]);
        let origins = Origins::new(machine(), Some("configured".to_owned()));
        assert_eq!(origins.of(&said).project.name, "said");
        assert_eq!(origins.of(&silent).project.name, "configured");
        let origins = Origins::new(machine(), None);
        assert_eq!(origins.of(&silent).project.name, "");
        origins.watch(vec![project("api")]);
        assert_eq!(origins.of(&silent).project, project("api"));
        assert_eq!(origins.of(&said).project.branch, "");
        origins.watch(vec![project("api"), project("web")]);
        assert_eq!(origins.of(&silent).project.name, "");
    }

    #[test]
    fn stamps_replace_what_a_tool_says_of_user_host_and_team() {
        let origins = Origins::new(machine(), Some("shop".to_owned()));
        let mut stamped = resource(&[
            ("user.name", "mallory"),
            ("user.name", "again"),
            ("host.name", "elsewhere"),
            ("muster.team", "other"),
            ("service.name", "codex_exec"),
        ]);
        let origin = origins.of(&stamped);
        origins.stamp(&mut stamped, &origin, &Privacy::default());
        let said: Vec<_> =
            stamped.attributes.iter().map(|a| (a.key.as_str(), text_of(&stamped, &a.key))).collect();
        let expected = [
            ("service.name", Some("codex_exec")),
            ("user.name", Some("dana")),
            ("host.name", Some("laptop")),
            ("muster.project", Some("shop")),
            ("muster.tool", Some("codex")),
        ];
        assert_eq!(said, expected);
    }
}
