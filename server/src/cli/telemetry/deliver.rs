//! Rows to other systems: S3, InfluxDB, Datadog, and any destination over OTLP ([`crate::delivery`]).

mod network;
mod object;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use history::datadog;
use history::format::Detail;
use history::query::TimeRange;
use history::when::rfc3339;
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
    /// Where they come from, in words.
    pub(super) source: String,
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

    /// Refuses the first flag that this kind of export would not look at.
    pub(super) fn refuse_unused(&self, format: ExportFormat) -> Result<(), Failure> {
        const STATE: [&str; 2] = ["--resume", "--resume-file"];
        const API_KEY: [&str; 2] = ["--api-key", "--api-key-file"];
        const APP_KEY: [&str; 2] = ["--app-key", "--app-key-file"];
        let (what, takes): (&str, &[&[&str]]) = match format {
            ExportFormat::Influx => {
                ("--format influx", &[&["--url", "--database", "--destination-ca-file"], &API_KEY, &STATE])
            }
            ExportFormat::Datadog => {
                ("--format datadog", &[&["--url", "--destination-ca-file"], &API_KEY, &APP_KEY, &STATE])
            }
            ExportFormat::Otlp if self.destination.is_some() => (
                "--format otlp with --destination NAME, which is in the configuration,",
                &[&["--destination", "--url"], &STATE],
            ),
            ExportFormat::Otlp => (
                "--format otlp",
                &[
                    &["--url", "--profile", "--header-file", "--destination-ca-file", "--api-key-file"],
                    &STATE,
                ],
            ),
            _ if self.destination.is_some() => {
                ("--destination s3://...", &[&["--destination", "--url", "--resume"]])
            }
            _ => ("a file", &[]),
        };
        let is_taken = |flag: &&str| takes.iter().any(|flags| flags.contains(flag));
        let Some(flag) = self.given().find(|flag| !is_taken(flag)) else { return Ok(()) };
        let instead = match (format, flag) {
            (ExportFormat::Otlp, "--api-key") if self.destination.is_none() => {
                ": name a file with --api-key-file, or the whole header with --header-file"
            }
            (_, "--api-key" | "--api-key-file")
                if self.destination.is_some() && format.of_file().is_some() =>
            {
                ": an object store's key comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            _ if format.of_file().is_some() && self.destination.is_none() => {
                ": --format influx, datadog or otlp, or --destination s3://..., sends rows elsewhere"
            }
            _ => "",
        };
        Err(Failure::Usage(format!("{what} takes no {flag}{instead}")))
    }

    /// The flags that were given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("--destination", self.destination.is_some()),
            ("--url", self.url.is_some()),
            ("--database", self.database.is_some()),
            ("--profile", self.profile.is_some()),
            ("--header-file", self.header_file.is_some()),
            ("--destination-ca-file", self.destination_ca_file.is_some()),
            ("--api-key", self.api_key.is_some()),
            ("--api-key-file", self.api_key_file.is_some()),
            ("--app-key", self.app_key.is_some()),
            ("--app-key-file", self.app_key_file.is_some()),
            ("--resume", self.resume),
            ("--resume-file", self.resume_file.is_some()),
        ];
        flags.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }

    /// Where rows go, for the audit log. A URL's user, path and query may be secrets: its host says enough.
    pub(super) fn whereto(&self, format: ExportFormat) -> String {
        if let Some(destination) = &self.destination {
            return destination.clone();
        }
        let uri: Option<http::Uri> = self.url.as_ref().and_then(|url| url.parse().ok());
        let host = uri.as_ref().and_then(|uri| {
            let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
            Some(format!("{}{port}", uri.host()?))
        });
        host.map_or_else(|| format.to_string(), |host| format!("{format} at {host}"))
    }

    /// The range that is delivered: Datadog's points stand for an interval, and one that is not whole would take the
    /// place of another's part of it.
    pub(super) fn whole(&self, format: ExportFormat, range: TimeRange) -> Result<TimeRange, Failure> {
        if format != ExportFormat::Datadog {
            return Ok(range);
        }
        datadog::whole_intervals(range).ok_or_else(|| {
            let words = format!(
                "the range from {} to {} has no end of {} s in it, for which one of Datadog's points stands: take a longer one",
                rfc3339(range.from),
                rfc3339(range.to),
                datadog::INTERVAL_SECONDS
            );
            Failure::Usage(words)
        })
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
