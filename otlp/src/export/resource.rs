//! Whose telemetry it is, and who says so.

use muster::batch::SourceView;

use super::attributes::Attributes;
use super::{keys, words};
use crate::proto::common::InstrumentationScope;
use crate::proto::resource::Resource;

/// The instrumentation scope of everything that is Muster's own.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "muster".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    }
}

/// The resource of a source's log records and spans.
pub(super) fn of_source(team: &str, source: &SourceView<'_>) -> Resource {
    let mut attributes = of_scope([team, source.user, source.host, source.project]);
    attributes.text(keys::OS, words::os_type(source.os));
    attributes.text(keys::TOOL, source.tool);
    attributes.text(keys::TOOL_VERSION, source.tool_version);
    attributes.text(keys::REPOSITORY, source.repository);
    attributes.text(keys::BRANCH, source.branch);
    resource(attributes)
}

/// The resource of the metrics of a team, user, host and project.
pub(super) fn of_series(scope: [&str; 4]) -> Resource {
    resource(of_scope(scope))
}

fn of_scope(scope @ [team, user, host, project]: [&str; 4]) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.text(keys::SERVICE_NAME, "muster");
    attributes.text(keys::SERVICE_INSTANCE, &instance(scope));
    attributes.text(keys::USER, user);
    attributes.text(keys::HOST, host);
    attributes.text(keys::TEAM, team);
    attributes.text(keys::PROJECT, project);
    attributes
}

/// Prometheus makes `instance` of it: without it, the series of two projects would be one.
fn instance([team, user, host, project]: [&str; 4]) -> String {
    format!("{team}/{user}@{host}/{project}")
}

fn resource(attributes: Attributes) -> Resource {
    Resource { attributes: attributes.into_vec(), ..Default::default() }
}
