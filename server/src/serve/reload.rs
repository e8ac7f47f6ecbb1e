//! What a new configuration changes while the collector runs, and what it does not.
//!
//! What can be refused comes first and changes nothing: a certificate, a credential or an address that cannot be used leaves
//! everything as it was. What follows cannot fail; destinations end and begin behind it, each by itself
//! ([`crate::forward::Forwarding::apply`]).

use std::collections::BTreeMap;

use muster::ids::Team;

use crate::audit::{Entry, What, Who};
use crate::config::{Config, ConfigError, Limits, TeamLimits, refuse_own_doors};
use crate::figures::Reload;
use crate::forward::{Changes, ForwardError};
use crate::readers::Prepared;
use crate::tls::TlsError;

use super::{Server, parts};

/// What became of a new configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadReport {
    /// Settings that differ and need a restart.
    pub restart_needed: Vec<&'static str>,
    /// Destinations that are begun, ended, or both.
    pub destinations: Changes,
}

/// Why a new configuration is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The collector's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A destination is this collector, by the port that was really bound.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A destination's credential, certificates or address cannot be used.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Applies what can be applied. An error leaves everything as it was.
pub(super) fn apply(server: &mut Server, config: Config) -> Result<ReloadReport, ReloadError> {
    let doors = parts::doors(server.grpc_address, server.http_address, server.otlp_http_address);
    refuse_own_doors(&config.destinations, &doors)?;
    let plan = server.forwarding.plan(&config.destinations)?;
    let adjustable = &server.adjustable;
    // Read before anything is changed.
    let readers = Prepared::read(config.http_clients.clone())?;
    if let (Some(certificate), Some(source)) = (&adjustable.certificate, &config.tls) {
        certificate.reload(Some(source.clone()))?;
    }
    adjustable.credentials.set_readers(readers);
    let limits = &config.limits;
    let (grpc_max, otlp_max) = parts::connections_max(limits);
    adjustable.grpc_permits.set_max(grpc_max);
    adjustable.otlp_permits.set_max(otlp_max);
    adjustable.otlp_budget.set_max(limits.otlp_memory_bytes_max);
    adjustable.http_permits.set_max(limits.http_connections_max);
    adjustable.per_ip.set_max(limits.connections_per_ip_max);
    adjustable.admission.set_max(limits);
    adjustable.quotas.set(limits);
    adjustable.board.set(&config.remote_configuration);
    if !config.destinations.is_empty() {
        server.telemetry.observe_destinations(&server.forwarding.observed);
    }
    let destinations = server.forwarding.apply(plan);
    let report = ReloadReport { restart_needed: restart_needed(&server.config, &config), destinations };
    server.figures.reloads.add(Reload::ConfigApplied, 1);
    server.audit.record(&told_of(&report, applied("reload", &config)));
    // What needs a restart stays as it is, and is told again at the next reload.
    let kept = &server.config.limits;
    server.config.limits = Limits {
        series_per_family_max: kept.series_per_family_max,
        team_series_max: kept.team_series_max,
        agent_series_max: kept.agent_series_max,
        teams: kept_series(&kept.teams, config.limits.teams),
        snapshot_interval: kept.snapshot_interval,
        otlp_request_bytes_max: kept.otlp_request_bytes_max,
        ..config.limits
    };
    server.config.log = config.log;
    server.config.destinations = config.destinations;
    server.config.http_clients = config.http_clients;
    server.config.remote_configuration = config.remote_configuration;
    Ok(report)
}

/// For the audit log: from now on this configuration is in force, since a start or a reload.
pub(super) fn applied(at: &'static str, config: &Config) -> Entry {
    let entry = Entry::new(What::ConfigurationApplied, Who::Collector).with("at", at);
    entry.with("file_sha256", config.file_sha256.as_str())
}

fn told_of(report: &ReloadReport, entry: Entry) -> Entry {
    let restart_needed =
        report.restart_needed.iter().map(|setting| (*setting).to_owned()).collect::<Vec<_>>();
    let mut entry = entry.with("restart_needed", restart_needed);
    let Changes { added, changed, removed } = &report.destinations;
    for (list, names) in
        [("destinations_added", added), ("destinations_changed", changed), ("destinations_removed", removed)]
    {
        if !names.is_empty() {
            entry = entry.with(list, names.clone());
        }
    }
    entry
}

/// The new bounds of single teams, with the bounds on series that they had.
fn kept_series(
    kept: &BTreeMap<Team, TeamLimits>,
    new: BTreeMap<Team, TeamLimits>,
) -> BTreeMap<Team, TeamLimits> {
    let unset = |limits: TeamLimits| TeamLimits { series_max: None, ..limits };
    let mut teams: BTreeMap<_, _> = new.into_iter().map(|(team, limits)| (team, unset(limits))).collect();
    for (team, old) in kept.iter().filter(|(_, old)| old.series_max.is_some()) {
        teams.entry(team.clone()).or_default().series_max = old.series_max;
    }
    teams
}

fn restart_needed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differs = [
        ("server.grpc_listen", old.grpc_listen != new.grpc_listen),
        ("server.http_listen", old.http_listen != new.http_listen),
        ("server.otlp_http_listen", old.otlp_http_listen != new.otlp_http_listen),
        ("server.data_dir", old.data_dir != new.data_dir),
        ("server.insecure", old.insecure != new.insecure),
        ("server.http_credentials", old.http_credentials_required != new.http_credentials_required),
        ("server.tls", old.tls.is_some() != new.tls.is_some()),
        ("server.authority", old.authority != new.authority),
        ("server.journal", old.journal != new.journal),
        ("history", old.history != new.history),
        ("server.limits.series_per_family_max", {
            old.limits.series_per_family_max != new.limits.series_per_family_max
        }),
        ("server.limits.team_series_max", old.limits.series_max() != new.limits.series_max()),
        ("server.limits.agent_series_max", old.limits.agent_series_max != new.limits.agent_series_max),
        ("server.limits.snapshot_interval_seconds", {
            old.limits.snapshot_interval != new.limits.snapshot_interval
        }),
        ("server.limits.otlp_request_bytes_max", {
            old.limits.otlp_request_bytes_max != new.limits.otlp_request_bytes_max
        }),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(setting, _)| setting).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster::clock::SystemClock;

    use super::*;
    use crate::config::Overrides;

    #[tokio::test]
    async fn what_needs_a_restart_is_told_at_each_reload_and_the_rest_is_applied() {
        let dir = tempfile::tempdir().expect("folder");
        let free = "127.0.0.1:0".parse().ok();
        let config = |limits: &str| {
            let overrides = Overrides {
                data_dir: Some(dir.path().to_owned()),
                grpc_listen: free,
                http_listen: free,
                otlp_http_listen: Some("off".to_owned()),
                ..Overrides::default()
            };
            Config::parse(&format!("[server.limits]\n{limits}"), &overrides).expect("valid")
        };
        let mut server = Server::start(config(""), Arc::new(SystemClock::new())).await.expect("starts");
        for _ in 0..2 {
            let report =
                server.reload(config("series_per_family_max = 7\nstreams_max = 3\n")).expect("applied");
            assert_eq!(report.restart_needed, ["server.limits.series_per_family_max"]);
            assert_eq!(server.config.limits.streams_max, 3);
            let of_team = "[server.limits.team.red]\nseries_max = 5\nstreams_max = 6\n";
            let report = server.reload(config(of_team)).expect("applied");
            assert_eq!(report.restart_needed, ["server.limits.team_series_max"]);
            let red = server.config.limits.teams[&"red".parse().expect("team")];
            assert_eq!((red.streams_max, red.series_max), (Some(6), None), "what is in force");
        }
        assert_eq!(server.reload(config("")).expect("applied"), ReloadReport::default());
        server.stop().await;
    }
}
