//! Datadog's intake of series and events.
//!
//! Rows are added up over 10 s ([`history::datadog`]) and sent as whole intervals to `/api/v2/series`; a server that knows only
//! `/api/v1/series`, as VictoriaMetrics and proxies do, is sent that. A request stays under
//! [`PLAIN_BYTES_MAX`] and [`COMPRESSED_BYTES_MAX`], in halves where it must; an answer of 413 halves it as well.
//!
//! What Datadog throws away without a word is counted and told: points more than an hour old, unless Historical Metrics is
//! enabled for the metric, and points more than ten minutes ahead. Events more than 18 hours old are not sent.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use history::datadog::{Api, DatadogEncoder, Event, Series};
use history::dataset::DataSet;
use history::row::Rows;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use muster::clock::{Clock, WallTime};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::http::{Answer, Retries, Web, gzip, headers};
use super::{Destination, PassedOver, Refusal};
use crate::forward::client::ConnectError;

/// Most bytes of a request after compression (Datadog's API reference, "Submit metrics").
pub const COMPRESSED_BYTES_MAX: usize = 512_000;
/// Most bytes of a request before compression (ibid.).
pub const PLAIN_BYTES_MAX: usize = 5_242_880;
/// Points that are gathered before the next whole interval is sent.
const POINTS_MAX: usize = 20_000;
/// Series of one request, to begin with.
const SERIES_A_REQUEST: usize = 5_000;
/// Events that are gathered before they are sent.
const EVENTS_MAX: usize = 500;
const POINT_AGE_MAX_US: i64 = 3_600_000_000;
const POINT_AHEAD_MAX_US: i64 = 600_000_000;
const EVENT_AGE_MAX_S: i64 = 18 * 3600;

/// The sites that there are (Datadog's documentation, "Datadog sites").
const SITES: [&str; 9] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];

/// Where and how.
#[derive(Debug, Clone)]
pub struct DatadogSettings {
    /// The site, as in `DD_SITE`; `None` for `datadoghq.com`.
    pub site: Option<String>,
    /// Instead of the site: the address of an intake, to which `/api/v2/series` is added.
    pub url: Option<String>,
    /// The API key.
    pub api_key: SecretString,
    /// The application key. Intakes do not need it; it is sent where it is given.
    pub app_key: Option<SecretString>,
    /// Its certificate authorities in PEM; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
    /// How long it may be away.
    pub retries: Retries,
}

/// Why there can be no delivery.
#[derive(Debug, thiserror::Error)]
pub enum DatadogError {
    /// The site.
    #[error("{0:?} is no site of Datadog's; there are {sites}", sites = SITES.join(", "))]
    Site(String),
    /// The address.
    #[error("{0:?} is no URL of an intake; write it like https://api.datadoghq.com")]
    Url(String),
    /// A key.
    #[error("the {0} has characters that no header can have; was it cut when it was copied?")]
    Key(&'static str),
    /// The certificates.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A delivery to Datadog.
pub struct Datadog {
    web: Web,
    base: String,
    api: Api,
    headers: HeaderMap,
    encoder: DatadogEncoder,
    events: Vec<Event>,
    clock: Arc<dyn Clock>,
    old_rows: u64,
    future_rows: u64,
    old_events: u64,
}

impl Datadog {
    /// Connects to nothing yet.
    pub fn new(
        data_set: DataSet,
        settings: DatadogSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DatadogError> {
        let base = base_url(settings.site.as_deref(), settings.url.as_deref())?;
        let mut headers = headers("application/json");
        let mut sign = |name: &'static str, what, key: &SecretString| {
            let mut value =
                HeaderValue::from_str(key.expose_secret()).map_err(|_| DatadogError::Key(what))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
            Ok::<_, DatadogError>(())
        };
        sign("dd-api-key", "API key", &settings.api_key)?;
        let mut secrets = vec![settings.api_key];
        if let Some(app_key) = settings.app_key {
            sign("dd-application-key", "application key", &app_key)?;
            secrets.push(app_key);
        }
        Ok(Self {
            web: Web::new(settings.ca_file.as_deref(), settings.retries, clock.clone(), secrets)?,
            base,
            api: Api::V2,
            headers,
            encoder: DatadogEncoder::new(data_set),
            events: Vec::new(),
            clock,
            old_rows: 0,
            future_rows: 0,
            old_events: 0,
        })
    }

    async fn post_series(&mut self, series: &[Series]) -> Result<(), Refusal> {
        let mut waiting: Vec<&[Series]> = series.chunks(SERIES_A_REQUEST).rev().collect();
        while let Some(part) = waiting.pop() {
            let plain = body(part, self.api);
            let body = gzip(&plain)?;
            let is_large = plain.len() >= PLAIN_BYTES_MAX || body.len() > COMPRESSED_BYTES_MAX;
            if !is_large {
                let answer = self.post(self.path_of_series(), &body).await?;
                if answer.status.is_success() {
                    check_errors(&answer)?;
                    continue;
                }
                if self.api == Api::V2 && knows_no_v2(&answer) {
                    self.api = Api::V1;
                    waiting.push(part);
                    continue;
                }
                if answer.status != StatusCode::PAYLOAD_TOO_LARGE {
                    return Err(refusal(&answer));
                }
            }
            // A series has at most as many points as are gathered, which is far from too large.
            let (first, second) = part.split_at(part.len() / 2);
            if first.is_empty() {
                return Err(Refusal::Refused { why: "one series is too large for it".to_owned() });
            }
            waiting.extend([second, first]);
        }
        Ok(())
    }

    async fn post_events(&mut self, events: &[Event]) -> Result<(), Refusal> {
        let now_s = (self.clock.wall().0 / 1_000_000) as i64;
        for event in events {
            if now_s - event.time_s > EVENT_AGE_MAX_S {
                self.old_events += 1;
                continue;
            }
            let body = gzip(event.body.to_string().as_bytes())?;
            let answer = self.post("/api/v1/events", &body).await?;
            if !answer.status.is_success() {
                return Err(refusal(&answer));
            }
        }
        Ok(())
    }

    async fn post(&mut self, path: &str, body: &Bytes) -> Result<Answer, Refusal> {
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|_| Refusal::Refused { why: format!("{}{path} is no URL", self.base) })?;
        self.web.post(&uri, &self.headers, body).await
    }

    fn path_of_series(&self) -> &'static str {
        match self.api {
            Api::V1 => "/api/v1/series",
            Api::V2 => "/api/v2/series",
        }
    }

    fn note_age(&mut self, time_us: i64) {
        let WallTime(now) = self.clock.wall();
        let age_us = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(time_us);
        self.old_rows += u64::from(age_us > POINT_AGE_MAX_US);
        self.future_rows += u64::from(-age_us > POINT_AHEAD_MAX_US);
    }
}

impl Destination for Datadog {
    fn describe(&self) -> String {
        format!("Datadog at {}", self.base)
    }

    fn is_due_before(&self, rows: &Rows<'_>, row: usize) -> bool {
        let is_full = self.encoder.points() >= POINTS_MAX || self.events.len() >= EVENTS_MAX;
        is_full && self.encoder.begins_interval(rows, row)
    }

    fn take(&mut self, rows: &Rows<'_>, row: usize) -> Result<(), PassedOver> {
        self.encoder.add(rows, row).map_err(|_| PassedOver("there were too many series in 10 s"))?;
        self.events.extend(self.encoder.event(rows, row));
        self.note_age(rows.time_us(row));
        Ok(())
    }

    fn pass_over(&mut self, _rows: &Rows<'_>, _row: usize) {}

    async fn send(&mut self) -> Result<(), Refusal> {
        let (series, events) = (self.encoder.take(), std::mem::take(&mut self.events));
        self.post_series(&series).await?;
        self.post_events(&events).await
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.old_rows > 0 {
            warnings.push(format!(
                "{} rows are more than an hour old: Datadog takes their points and drops them, unless Historical Metrics is \
                 enabled for these metrics (Metrics > Summary)",
                self.old_rows
            ));
        }
        if self.future_rows > 0 {
            warnings.push(format!(
                "{} rows are more than ten minutes ahead of this machine's clock: Datadog drops their points",
                self.future_rows
            ));
        }
        if self.old_events > 0 {
            warnings.push(format!(
                "{} events were not sent, since Datadog takes none that is more than 18 hours old; their counts were",
                self.old_events
            ));
        }
        warnings
    }
}

fn base_url(site: Option<&str>, url: Option<&str>) -> Result<String, DatadogError> {
    let Some(url) = url else {
        let site = site.unwrap_or(SITES[0]);
        // `app.datadoghq.com` is what browsers show.
        let site = site.trim().trim_start_matches("app.");
        let known = SITES.contains(&site);
        return if known {
            Ok(format!("https://api.{site}"))
        } else {
            Err(DatadogError::Site(site.to_owned()))
        };
    };
    let url = url.trim_end_matches('/');
    let uri: Option<Uri> = url.parse().ok();
    let is_plain = uri.as_ref().is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if is_plain { Ok(url.to_owned()) } else { Err(DatadogError::Url(url.chars().take(200).collect())) }
}

fn body(series: &[Series], api: Api) -> Vec<u8> {
    let series: Vec<Value> = series.iter().map(|series| series.json(api)).collect();
    serde_json::json!({ "series": series }).to_string().into_bytes()
}

/// Of a server that only looks like Datadog.
fn knows_no_v2(answer: &Answer) -> bool {
    let is_unknown = answer.status == StatusCode::BAD_REQUEST && answer.said.contains("unsupported path");
    is_unknown || matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}

/// 202 may come with `{"errors": [...]}`.
fn check_errors(answer: &Answer) -> Result<(), Refusal> {
    let said: Option<Value> = serde_json::from_str(&answer.said).ok();
    let errors = said.as_ref().and_then(|said| said.get("errors")?.as_array()).map_or(0, Vec::len);
    if errors == 0 {
        Ok(())
    } else {
        Err(Refusal::Refused { why: format!("a part of what was sent: {answer}") })
    }
}

fn refusal(answer: &Answer) -> Refusal {
    let why = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!(
                "{answer}. Is it an API key (not an application key), and of this site? DD_SITE names another"
            )
        }
        _ => answer.to_string(),
    };
    Refusal::Refused { why }
}
