//! InfluxDB's `/write`, which VictoriaMetrics and others have too.
//!
//! Line protocol ([`history::line_protocol`]), compressed, at most [`POINTS_MAX`] points or [`BYTES_MAX`] bytes a request. A
//! request that is too large for the server (413) goes in halves.
//!
//! InfluxDB has a point once however often it is sent. VictoriaMetrics keeps what it is sent, so that a request whose
//! answer was lost is there twice; it keeps milliseconds, no texts, and drops a line that it does not understand without a
//! word (`vm_rows_invalid_total`).

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use history::dataset::DataSet;
use history::line_protocol::{Detail, LineEncoder};
use history::row::Rows;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use muster::clock::Clock;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::http::{Answer, Retries, Web, encoded, gzip, headers};
use super::{Destination, PassedOver, Refusal};
use crate::forward::client::ConnectError;

/// Most points of a request: what InfluxData recommends.
pub const POINTS_MAX: usize = 5_000;
/// Most bytes of a request, before compression.
pub const BYTES_MAX: usize = 1 << 20;

/// Where and how.
#[derive(Debug, Clone)]
pub struct InfluxSettings {
    /// The server, such as `http://localhost:8086`.
    pub url: String,
    /// The database, or the bucket that InfluxDB 2 has under its name.
    pub database: String,
    /// How requests are signed.
    pub credential: InfluxCredential,
    /// Its certificate authorities in PEM; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
    /// How long it may be away.
    pub retries: Retries,
    /// How much of a row is sent.
    pub detail: Detail,
}

/// How requests are signed.
#[derive(Debug, Clone, Default)]
pub enum InfluxCredential {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Token`, as InfluxDB 2 has it.
    Token(SecretString),
    /// `Authorization: Basic`.
    Basic {
        /// Who.
        user: String,
        /// And their password.
        password: SecretString,
    },
}

/// Why there can be no delivery.
#[derive(Debug, thiserror::Error)]
pub enum InfluxError {
    /// The address.
    #[error("{0:?} is no URL of an InfluxDB; write it like http://localhost:8086")]
    Url(String),
    /// No database.
    #[error("no database is named; name one with --database")]
    Database,
    /// The credential.
    #[error("the credential has characters that no header can have; was it cut when it was copied?")]
    Credential,
    /// The certificates.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A delivery to InfluxDB.
pub struct Influx {
    web: Web,
    uri: Uri,
    headers: HeaderMap,
    url: String,
    database: String,
    lines: LineEncoder,
    gathered: Vec<u8>,
    points: usize,
}

impl Influx {
    /// Connects to nothing yet.
    pub fn new(
        data_set: DataSet,
        settings: InfluxSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InfluxError> {
        let InfluxSettings { url, database, credential, ca_file, retries, detail } = settings;
        if database.is_empty() {
            return Err(InfluxError::Database);
        }
        let url = url.trim_end_matches('/').to_owned();
        let uri = write_uri(&url, &database)?;
        let mut headers = headers("text/plain; charset=utf-8");
        let secrets = sign(credential, &mut headers)?;
        Ok(Self {
            web: Web::new(ca_file.as_deref(), retries, clock, secrets)?,
            uri,
            headers,
            url,
            database,
            lines: LineEncoder::new(data_set, detail),
            gathered: Vec::with_capacity(BYTES_MAX / 4),
            points: 0,
        })
    }

    async fn post(&mut self, lines: &[u8], points: usize) -> Result<(), Refusal> {
        // Halves of what is too large; a server's limit is found once a request.
        let mut waiting = vec![(lines, points)];
        while let Some((lines, points)) = waiting.pop() {
            let body: Bytes = gzip(lines)?;
            let answer = self.web.post(&self.uri, &self.headers, &body).await?;
            match answer.status {
                status if status.is_success() => {}
                StatusCode::PAYLOAD_TOO_LARGE if points > 1 => {
                    let (first, second) = halves(lines, points);
                    waiting.push((second, points - points / 2));
                    waiting.push((first, points / 2));
                }
                _ => return Err(self.refusal(&answer, points)),
            }
        }
        Ok(())
    }

    fn refusal(&self, answer: &Answer, points: usize) -> Refusal {
        let database = &self.database;
        let what = match answer.status {
            StatusCode::NOT_FOUND => {
                format!(
                    "{answer}. Is there a database {database:?}? Make it with CREATE DATABASE, or name another with --database"
                )
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("{answer}. Give a token, or user and password, that may write to {database:?}")
            }
            StatusCode::BAD_REQUEST => match dropped(&answer.said) {
                Some(dropped) => {
                    format!(
                        "{answer}. It kept {} of the last {points} points; sending them again changes nothing",
                        (points as u64).saturating_sub(dropped)
                    )
                }
                None => answer.to_string(),
            },
            status if status.is_redirection() => {
                format!("{answer}. Redirects are not followed: give the address that it names")
            }
            _ => answer.to_string(),
        };
        Refusal::Refused { why: what }
    }
}

impl Destination for Influx {
    fn describe(&self) -> String {
        format!("InfluxDB at {} (database {})", self.url, self.database)
    }

    fn is_due_before(&self, _rows: &Rows<'_>, _row: usize) -> bool {
        self.points >= POINTS_MAX || self.gathered.len() >= BYTES_MAX
    }

    fn take(&mut self, rows: &Rows<'_>, row: usize) -> Result<(), PassedOver> {
        self.lines
            .encode(rows, row, &mut self.gathered)
            .map_err(|_| PassedOver("their time is not between 1970 and 2262"))?;
        self.points += 1;
        Ok(())
    }

    fn pass_over(&mut self, rows: &Rows<'_>, row: usize) {
        self.lines.pass_over(rows, row);
    }

    async fn send(&mut self) -> Result<(), Refusal> {
        let (gathered, points) = (std::mem::take(&mut self.gathered), std::mem::take(&mut self.points));
        let sent = self.post(&gathered, points).await;
        self.gathered = gathered;
        self.gathered.clear();
        sent
    }
}

fn write_uri(url: &str, database: &str) -> Result<Uri, InfluxError> {
    let bad = || InfluxError::Url(url.chars().take(200).collect());
    let text = format!("{url}/write?db={}&precision=ns", encoded(database));
    let uri: Uri = text.parse().map_err(|_| bad())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    // What stands before the path would be taken for it.
    if !is_http || has_user || url.contains('?') || url.contains('#') { Err(bad()) } else { Ok(uri) }
}

/// Sets the header; returns what must not be shown.
fn sign(credential: InfluxCredential, headers: &mut HeaderMap) -> Result<Vec<SecretString>, InfluxError> {
    let (text, secret) = match credential {
        InfluxCredential::None => return Ok(Vec::new()),
        InfluxCredential::Token(token) => (format!("Token {}", token.expose_secret()), token),
        InfluxCredential::Basic { user, password } => {
            let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
            (format!("Basic {}", STANDARD.encode(pair.as_bytes())), password)
        }
    };
    let text = Zeroizing::new(text);
    let mut value = HeaderValue::from_str(&text).map_err(|_| InfluxError::Credential)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    let sent = text.split_once(' ').map_or("", |(_, sent)| sent);
    Ok(vec![SecretString::from(sent), secret])
}

/// Cuts after `points / 2` lines.
fn halves(lines: &[u8], points: usize) -> (&[u8], &[u8]) {
    let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let middle = ends.take(points / 2).last().unwrap_or(0);
    lines.split_at(middle)
}

/// How many points a partial write has dropped: `partial write: ... dropped=2`.
fn dropped(said: &str) -> Option<u64> {
    let (_, rest) = said.rsplit_once("dropped=")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|_| said.contains("partial write"))
}
