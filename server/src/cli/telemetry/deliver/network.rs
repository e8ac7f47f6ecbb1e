//! Rows to a server that takes them in requests: InfluxDB, Datadog, OTLP.

use std::sync::Arc;
use std::time::Duration;

use history::format::Detail;
use history::line_protocol;
use muster::clock::{Clock, SystemClock, WallTime};
use muster::settings;
use secrecy::{ExposeSecret, SecretString};

use super::super::super::Failure;
use super::super::export::{ExportFormat, tell};
use super::super::interrupt::on_interrupt;
use super::super::progress::Progress;
use super::super::rows::RowSource;
use super::{DeliverArguments, DeliverJob, variable};
use crate::config::destination::Destination as OtlpDestination;
use crate::config::{Config, Overrides};
use crate::delivery::datadog::{Datadog, DatadogSettings};
use crate::delivery::influx::{Influx, InfluxCredential, InfluxSettings};
use crate::delivery::otlp::Otlp;
use crate::delivery::position::Position;
use crate::delivery::state::{self, StateFile, What};
use crate::delivery::{Cause, Delivered, Delivery, Destination, Retries};

/// A header file is a page of text.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// Delivers all rows, or says what was and how to go on.
pub(super) fn run(job: DeliverJob, rows: RowSource) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let data_set = job.asked.data_set;
    match job.format {
        ExportFormat::Influx => {
            let settings = influx(&job.flags, job.detail)?;
            deliver(&job, rows, || Influx::new(data_set, settings.clone(), clock.clone()))
        }
        ExportFormat::Datadog => {
            let settings = datadog(&job.flags)?;
            deliver(&job, rows, || Datadog::new(data_set, settings.clone(), clock.clone()))
        }
        _ => {
            let (destination, retries) = (otlp(&job.flags)?, job.flags.retries());
            deliver(&job, rows, || Otlp::new(data_set, destination.clone(), retries, clock.clone()))
        }
    }
}

fn deliver<D: Destination, E: std::error::Error>(
    job: &DeliverJob,
    rows: RowSource,
    make: impl Fn() -> Result<D, E>,
) -> Result<(), Failure> {
    let mut destination = make().map_err(Failure::other)?;
    let (state, mut from, mut rows) = begin(job, rows, &destination)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::other)?;
    on_interrupt(|word| tell(&format!("{word}; go on with the same command and --resume")))?;
    let mut progress = Progress::new(job.asked.range, false);
    let mut before = Delivered::default();
    loop {
        let delivery = Delivery { data_set: job.asked.data_set, from: from.clone(), state: Some(&state) };
        let noted = rows.map(|batch| {
            let batch = batch.map_err(|failure| failure.to_string())?;
            progress.note(&batch);
            Ok(batch)
        });
        let ended = delivery.run(&runtime, &mut destination, noted, |_, _| {});
        let mut stopped = match ended {
            Ok(mut delivered) => {
                progress.finish();
                delivered.add_told(before);
                state.remove().map_err(Failure::other)?;
                tell(&format!(
                    "{} rows of {} delivered to {}",
                    delivered.rows,
                    job.asked.data_set,
                    destination.describe()
                ));
                tell_rest(&delivered);
                return Ok(());
            }
            Err(stopped) => stopped,
        };
        // A collector ends a stream that takes nothing, as it does not while a destination is away: the rest is asked for. Not without end,
        // since something was delivered in between.
        let place = stopped.delivered.position.clone().filter(|place| Some(place) != from.as_ref());
        if let (Cause::Rows(why), Some(place)) = (&stopped.cause, place) {
            tell(&format!("{why}; asking for the rows after {place}"));
            if let Ok(rest) = rest(job, &state, &place) {
                before.add_told(stopped.delivered);
                (rows, from, destination) = (rest, Some(place), make().map_err(Failure::other)?);
                continue;
            }
        }
        progress.finish();
        stopped.delivered.add_told(before);
        tell_rest(&stopped.delivered);
        return Err(Failure::Other(stopped.to_string()));
    }
}

/// Where it is written down how far the delivery is, how far it was, and the rows from there on.
fn begin(
    job: &DeliverJob,
    rows: RowSource,
    destination: &impl Destination,
) -> Result<(StateFile, Option<Position>, RowSource), Failure> {
    let asked = &job.asked;
    let what = What {
        source: job.source.clone(),
        destination: destination.describe(),
        query: format!("{} {} {:?}", asked.data_set, detail_word(job.detail), asked.filter),
        from_us: asked.range.from.0,
        to_us: asked.range.to.0,
    };
    let path = job.flags.resume_file.clone();
    let path = path.unwrap_or_else(|| state::default_path(&what, &settings::process_environment));
    if !job.flags.resume {
        if path.exists() && !job.is_forced {
            return Err(Failure::Other(format!(
                "an earlier delivery of the same rows to this destination did not come to its end, and {} says how far it \
                 came: --resume goes on with it (with its range of time), --force forgets it and begins anew",
                path.display()
            )));
        }
        return Ok((StateFile::new(path, what), None, rows));
    }
    let (state, position) = StateFile::resume(path, what).map_err(Failure::other)?;
    tell(&format!("going on after {position}; {} rows were delivered before", position.rows));
    let rows = rest(job, &state, &position)?;
    Ok((state, Some(position), rows))
}

/// The rows of a delivery from a place on.
fn rest(job: &DeliverJob, state: &StateFile, place: &Position) -> Result<RowSource, Failure> {
    let mut rest = job.asked.clone();
    rest.range.from = WallTime(u64::try_from(place.key.time_us).unwrap_or(0));
    rest.range.to = WallTime(state.what().to_us);
    job.place.rows(&rest)
}

fn tell_rest(delivered: &Delivered) {
    for (why, count) in &delivered.passed_over {
        tell(&format!("{count} rows were passed over: {}", why.0));
    }
    for warning in &delivered.warnings {
        tell(&format!("warning: {warning}"));
    }
}

impl DeliverArguments {
    fn retries(&self) -> Retries {
        Retries { give_up_after: Duration::from_secs(self.retry_seconds) }
    }
}

const fn detail_word(detail: Detail) -> &'static str {
    match detail {
        Detail::Guide => "figures",
        Detail::Full => "detailed",
    }
}

fn influx(flags: &DeliverArguments, detail: Detail) -> Result<InfluxSettings, Failure> {
    let missing = |words: &str| Failure::Usage(words.to_owned());
    let url = flags.url.clone().ok_or_else(|| missing("--format influx needs --url http://HOST:8086"))?;
    let database = flags.database.clone();
    let credential = influx_credential(flags)?;
    if !matches!(credential, InfluxCredential::None) {
        warn_of_plain(&url);
    }
    Ok(InfluxSettings {
        url,
        database: database.ok_or_else(|| missing("--format influx needs --database NAME"))?,
        credential,
        ca_file: flags.destination_ca_file.clone(),
        retries: flags.retries(),
        detail: match detail {
            Detail::Guide => line_protocol::Detail::Figures,
            Detail::Full => line_protocol::Detail::All,
        },
    })
}

fn influx_credential(flags: &DeliverArguments) -> Result<InfluxCredential, Failure> {
    let has_key = flags.api_key.is_some() || flags.api_key_file.is_some();
    if let (false, Some(user)) = (has_key, variable("INFLUX_USERNAME")) {
        let password = flags.api_key(&["INFLUX_PASSWORD"])?.unwrap_or_default();
        return Ok(InfluxCredential::Basic { user, password });
    }
    let Some(key) = flags.api_key(&["INFLUX_TOKEN"])? else { return Ok(InfluxCredential::None) };
    Ok(match key.expose_secret().split_once(':') {
        Some((user, password)) => {
            InfluxCredential::Basic { user: user.to_owned(), password: SecretString::from(password) }
        }
        None => InfluxCredential::Token(key),
    })
}

fn datadog(flags: &DeliverArguments) -> Result<DatadogSettings, Failure> {
    let api_key = flags.api_key(&["DD_API_KEY", "DATADOG_API_KEY"])?.ok_or_else(|| {
        Failure::Usage(
            "--format datadog needs an API key: set DD_API_KEY, or name a file with --api-key-file"
                .to_owned(),
        )
    })?;
    flags.url.as_deref().inspect(|url| warn_of_plain(url));
    Ok(DatadogSettings {
        site: variable("DD_SITE"),
        url: flags.url.clone(),
        api_key,
        app_key: flags.app_key(&["DD_APP_KEY", "DATADOG_APP_KEY"])?,
        ca_file: flags.destination_ca_file.clone(),
        retries: flags.retries(),
    })
}

/// A credential is about to go over a network that everybody between can read.
fn warn_of_plain(url: &str) {
    let uri: Option<http::Uri> = url.parse().ok();
    let Some(host) = uri.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(http::Uri::host)
    else {
        return;
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if host != "localhost" && !address.is_ok_and(|address| address.is_loopback()) {
        tell("warning: http:// shows the key to everybody between here and there; use https://");
    }
}

/// A destination of the configuration by its name, or one of the flags.
fn otlp(flags: &DeliverArguments) -> Result<OtlpDestination, Failure> {
    match (&flags.destination, &flags.url) {
        (Some(name), None) => configured(flags, name),
        (None, Some(url)) => of_flags(flags, url),
        _ => {
            let words =
                "--format otlp needs --url URL, or --destination NAME of the configuration (one of them)";
            Err(Failure::Usage(words.to_owned()))
        }
    }
}

fn configured(flags: &DeliverArguments, name: &str) -> Result<OtlpDestination, Failure> {
    let path = flags.config.clone().or_else(|| settings::default_file(&settings::process_environment));
    let config = Config::load(path.as_deref(), &Overrides::default())?;
    let names: Vec<_> = config.destinations.iter().map(|destination| destination.name.clone()).collect();
    let found = config.destinations.into_iter().find(|destination| destination.name == name);
    found.ok_or_else(|| {
        let known = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        Failure::Usage(format!("no destination of the configuration is named {name:?}; {known}"))
    })
}

fn of_flags(flags: &DeliverArguments, url: &str) -> Result<OtlpDestination, Failure> {
    let mut table = toml::Table::new();
    let mut set = |key: &str, value: &str| drop(table.insert(key.to_owned(), value.into()));
    set("name", "export");
    set("profile", flags.profile.as_deref().unwrap_or("otlp"));
    set("endpoint", url);
    for (key, file) in [("credential_file", &flags.api_key_file), ("ca_file", &flags.destination_ca_file)] {
        if let Some(file) = file {
            set(key, &file.to_string_lossy());
        }
    }
    if let Some(path) = &flags.header_file {
        table.insert("headers".to_owned(), headers(path)?.into());
    }
    OtlpDestination::of_table(table).map_err(|error| Failure::Usage(error.to_string()))
}

fn headers(path: &std::path::Path) -> Result<toml::Table, Failure> {
    use std::io::Read;
    let cannot = |error| Failure::Other(format!("cannot read header file {}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(HEADER_BYTES_MAX).read_to_string(&mut text).map_err(cannot)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            // The line may hold a secret: it is not shown.
            let pair = line.split_once(':').ok_or_else(|| {
                Failure::Usage(format!("{} has a line that is not `Name: value`", path.display()))
            })?;
            Ok((pair.0.trim().to_owned(), toml::Value::from(pair.1.trim())))
        })
        .collect()
}
