//! What a destination gets of a payload that came over OTLP.
//!
//! Teams and families look at the payload as a whole, projects and tools at its resources (`muster.project`,
//! `muster.tool`, else `service.name`), severity at its log records. Only severity costs a decode.

use bytes::{Bytes, BytesMut};
use otlp::Signal;
use otlp::export::EventFacts;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::wire::{self, WireError};
use prost::Message;

use crate::config::destination::Filter;

/// The family of what came over OTLP.
pub const OTLP_FAMILY: &str = "otlp";
/// What every event's name starts with.
const EVENT_PREFIX: &str = "muster.";
/// Severity number of records without one: `INFO`.
const SEVERITY_DEFAULT: u8 = 9;

/// Where a payload comes from, as far as it does not say itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) team: &'a str,
    pub(super) project: &'a str,
    pub(super) tool: &'a str,
}

impl Filter {
    /// Whether anything of a team is wanted.
    pub(super) fn wants_team(&self, team: &str) -> bool {
        is_in(&self.teams, team)
    }

    /// Whether an event of Muster's own is wanted.
    pub(crate) fn wants_event(&self, facts: &EventFacts<'_>) -> bool {
        self.wants_series(facts.team, facts.project, Some(facts.tool))
            && self.wants_family(facts.name)
            && self.severity_min.is_none_or(|min| facts.severity.number() >= i32::from(min))
    }

    /// Whether a series of Muster's own is wanted. What belongs to no tool is, unless tools are named.
    pub(super) fn wants_series(&self, team: &str, project: &str, tool: Option<&str>) -> bool {
        is_in(&self.teams, team)
            && is_in(&self.projects, project)
            && (self.tools.is_empty() || tool.is_some_and(|tool| self.tools.contains(tool)))
    }

    /// Whether any of the families is that of the event's name: `run` is `muster.run` and `muster.run.finished`.
    fn wants_family(&self, name: &str) -> bool {
        let name = name.strip_prefix(EVENT_PREFIX).unwrap_or(name);
        let is_of = |family: &String| {
            let family = family.strip_prefix(EVENT_PREFIX).unwrap_or(family);
            name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.events.is_empty() || self.events.iter().any(is_of)
    }

    /// Whether anything of an OTLP payload can be wanted.
    pub(super) fn wants_payload(&self, team: &str) -> bool {
        is_in(&self.teams, team) && self.wants_family(OTLP_FAMILY)
    }

    /// The part of a payload that is wanted; the payload itself, untouched, where nothing looks inside.
    pub(super) fn select(
        &self,
        signal: Signal,
        request: &Bytes,
        origin: &Origin<'_>,
    ) -> Result<Bytes, WireError> {
        let mut selected = request.clone();
        if !self.projects.is_empty() || !self.tools.is_empty() {
            selected = self.select_resources(signal, request, origin)?;
        }
        match self.severity_min {
            Some(min) if signal == Signal::Logs => Ok(select_records(&selected, min)),
            _ => Ok(selected),
        }
    }

    fn select_resources(
        &self,
        signal: Signal,
        request: &Bytes,
        origin: &Origin<'_>,
    ) -> Result<Bytes, WireError> {
        let mut selected = BytesMut::new();
        for resource in wire::resources(signal, request) {
            let resource = resource?;
            let project = resource.attribute("muster.project").unwrap_or(origin.project);
            let tool = resource.attribute("muster.tool").or_else(|| resource.attribute("service.name"));
            let tool = if origin.tool.is_empty() { tool.unwrap_or_default() } else { origin.tool };
            if is_in(&self.projects, project) && is_in(&self.tools, tool) {
                selected.extend_from_slice(&resource.request);
            }
        }
        Ok(selected.freeze())
    }
}

fn is_in(names: &std::collections::BTreeSet<String>, name: &str) -> bool {
    names.is_empty() || names.contains(name)
}

/// What cannot be decoded stays as it is: it is refused where it is sent to, with a reason.
fn select_records(request: &Bytes, severity_min: u8) -> Bytes {
    let Ok(mut decoded) = ExportLogsServiceRequest::decode(request.as_ref()) else { return request.clone() };
    let severity = |number: i32| if number <= 0 { i32::from(SEVERITY_DEFAULT) } else { number };
    for resource in &mut decoded.resource_logs {
        for scope in &mut resource.scope_logs {
            scope.log_records.retain(|r| severity(r.severity_number) >= i32::from(severity_min));
        }
        resource.scope_logs.retain(|scope| !scope.log_records.is_empty());
    }
    decoded.resource_logs.retain(|resource| !resource.scope_logs.is_empty());
    decoded.encode_to_vec().into()
}
