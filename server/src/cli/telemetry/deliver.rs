//! Rows to other systems: S3, InfluxDB, Datadog, and any destination over OTLP ([`crate::delivery`]).

mod network;
mod object;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use history::format::Detail;
use secrecy::SecretString;

use super::super::Failure;
use super::export::{ExportFormat, tell};
use super::rows::{Asked, Place, RowSource};
use crate::config::destination::Credential;

/// Flags for where rows go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where to deliver")]
pub(super) struct DeliverArguments {
    /// An object store: s3://BUCKET/PREFIX/; with --format otlp the name of a destination of the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "output")]
    pub(super) destination: Option<String>,
    /// Where InfluxDB is, http://HOST:8086; or an OTLP server; or instead of Datadog's or Amazon's own address.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// With --format influx: its database.
    #[arg(long, value_name = "NAME")]
    pub(super) database: Option<String>,
    /// With --format otlp and --url: what kind of destination it is, as in `muster destination` [default: otlp].
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// With --format otlp and --url: file with more headers, a line `Name: value` each.
    #[arg(long, value_name = "FILE")]
    pub(super) header_file: Option<PathBuf>,
    /// The collector's configuration file, for --format otlp and --destination NAME.
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// PEM of the CA that signed the destination's certificate [default: the public CAs].
    #[arg(long, value_name = "FILE")]
    pub(super) destination_ca_file: Option<PathBuf>,
    /// File with the API key, the token, or user:password (or a variable: DD_API_KEY, INFLUX_TOKEN, INFLUX_USERNAME
    /// and INFLUX_PASSWORD).
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// File with the application key (or the key itself in DD_APP_KEY).
    #[arg(long, value_name = "FILE")]
    pub(super) app_key_file: Option<PathBuf>,
    /// The API key itself. Everybody on this machine can see it in `ps`: rather use the file or the variable.
    #[arg(long, value_name = "KEY", value_parser = secret, conflicts_with = "api_key_file")]
    pub(super) api_key: Option<SecretString>,
    /// The application key itself. Everybody on this machine can see it in `ps`.
    #[arg(long, value_name = "KEY", value_parser = secret, conflicts_with = "app_key_file")]
    pub(super) app_key: Option<SecretString>,
    /// Go on where a delivery that failed stopped.
    #[arg(long)]
    pub(super) resume: bool,
    /// Where it is written down how far a delivery is [default: among this user's state].
    #[arg(long, value_name = "FILE")]
    pub(super) resume_file: Option<PathBuf>,
    /// How long a destination may be away, in seconds, before the delivery ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(super) retry_seconds: u64,
}

/// What is to be delivered, and where.
#[derive(Debug)]
pub(super) struct DeliverJob {
    /// How it is written.
    pub(super) format: ExportFormat,
    /// How much of each row.
    pub(super) detail: Detail,
    /// Which rows `rows` are.
    pub(super) asked: Asked,
    /// Where they come from, for asking again or for others.
    pub(super) place: Place,
    /// Whether what is there may be overwritten.
    pub(super) is_forced: bool,
    /// Where they go.
    pub(super) flags: DeliverArguments,
}

impl DeliverArguments {
    /// Whether rows leave this machine's files.
    pub(super) fn is_delivery(&self, format: ExportFormat) -> bool {
        let is_network = matches!(format, ExportFormat::Influx | ExportFormat::Datadog | ExportFormat::Otlp);
        is_network || self.destination.is_some()
    }

    /// A key of a flag, a file or a variable, in this order.
    fn key(
        &self,
        (flag, value): (&str, Option<&SecretString>),
        file: Option<&Path>,
        variables: &[&str],
    ) -> Result<Option<SecretString>, Failure> {
        if let Some(value) = value {
            let instead = variables.first().copied().unwrap_or("a variable");
            tell(&format!(
                "warning: everybody on this machine can see {flag} in `ps`; use {flag}-file or {instead} instead"
            ));
            return Ok(Some(value.clone()));
        }
        if let Some(file) = file {
            return Credential::File(file.to_owned()).read().map(Some).map_err(Failure::other);
        }
        let set = variables.iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        set.map(|name| Credential::Variable((*name).to_owned()).read().map_err(Failure::other)).transpose()
    }

    fn api_key(&self, variables: &[&str]) -> Result<Option<SecretString>, Failure> {
        self.key(("--api-key", self.api_key.as_ref()), self.api_key_file.as_deref(), variables)
    }

    fn app_key(&self, variables: &[&str]) -> Result<Option<SecretString>, Failure> {
        self.key(("--app-key", self.app_key.as_ref()), self.app_key_file.as_deref(), variables)
    }
}

/// Delivers all rows, or says what was and how to go on.
pub(super) fn run(job: DeliverJob, rows: RowSource) -> Result<(), Failure> {
    match job.format.of_file() {
        Some(format) => object::run(job, format, rows),
        None => network::run(job, rows),
    }
}

fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

/// A variable of the environment, if it says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
