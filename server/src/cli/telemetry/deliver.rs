//! Rows to other systems: S3, InfluxDB, Datadog, and any destination over OTLP.

use std::convert::Infallible;
use std::path::PathBuf;

use history::format::Detail;
use secrecy::SecretString;

use super::super::Failure;
use super::export::ExportFormat;
use super::rows::{Asked, Place, RowSource};

/// Flags for where rows go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where to deliver")]
pub(super) struct DeliverArguments {
    /// An object store: s3://BUCKET/PREFIX/; with --format otlp the name of a destination of the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "output")]
    pub(super) destination: Option<String>,
    /// With --format influx: where InfluxDB is, http://HOST:8086.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// With --format influx: its database.
    #[arg(long, value_name = "NAME")]
    pub(super) database: Option<String>,
    /// File with the API key (or the key itself in DD_API_KEY).
    #[arg(long, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
    /// File with the application key (or the key itself in DD_APP_KEY).
    #[arg(long, value_name = "FILE")]
    pub(super) app_key_file: Option<PathBuf>,
    /// The API key itself. Everybody on this machine can see it in `ps`: rather use the file or the variable.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    pub(super) api_key: Option<SecretString>,
    /// The application key itself. Everybody on this machine can see it in `ps`.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    pub(super) app_key: Option<SecretString>,
    /// Go on where a delivery that failed stopped.
    #[arg(long)]
    pub(super) resume: bool,
}

/// What is to be delivered, and where.
#[derive(Debug)]
#[expect(dead_code, reason = "the deliveries read them")]
pub(super) struct DeliverJob {
    /// How it is written.
    pub(super) format: ExportFormat,
    /// How much of each row.
    pub(super) detail: Detail,
    /// Which rows `rows` are.
    pub(super) asked: Asked,
    /// Where they come from, for asking again or for others.
    pub(super) place: Place,
    /// Where they go.
    pub(super) flags: DeliverArguments,
}

impl DeliverArguments {
    /// Whether rows leave this machine's files.
    pub(super) fn is_delivery(&self, format: ExportFormat) -> bool {
        let is_network = matches!(format, ExportFormat::Influx | ExportFormat::Datadog | ExportFormat::Otlp);
        is_network || self.destination.is_some()
    }
}

/// Delivers all rows, or says what was and how to go on.
pub(super) fn run(job: DeliverJob, rows: RowSource) -> Result<(), Failure> {
    let DeliverJob { format, detail: _, asked: _, place: _, flags } = job;
    drop(rows);
    let target = flags.destination.unwrap_or_else(|| format.to_string());
    Err(Failure::Other(format!(
        "this version of muster cannot deliver to {target} yet; --output writes to a file"
    )))
}

fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}
