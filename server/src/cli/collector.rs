//! The pages of a running collector or agent: where they are, with which credential, trusting whom.
//!
//! Plain HTTP or TLS. A token is sent over plain HTTP to this machine alone: on the way to another everybody could read it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use muster::credential::Token;
use muster::reasons::reasons;
use rustls::ClientConfig;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Failure;
use crate::forward;

/// Where a collector's pages are unless told otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:9464";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A page is rendered within a second; a summary or a page of a million series takes some.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// A page of a million series has about 300 MiB.
const PAGE_BYTES_MAX: usize = 1 << 30;
/// What of a refusal is told.
const REFUSAL_CHARS_MAX: usize = 300;

/// Which collector.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which collector")]
pub(super) struct CollectorArguments {
    /// Its pages, http://HOST:PORT or https://HOST:PORT [default: http://127.0.0.1:9464].
    #[arg(long, value_name = "URL", alias = "http", env = "MUSTER_HTTP")]
    pub(super) server: Option<String>,
    /// File with a token, where the collector wants one: a team's shows that team, an operator's everything.
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// PEM of the authority that signed the collector's certificate [default: the public ones].
    #[arg(long, value_name = "FILE", env = "MUSTER_CA_FILE")]
    pub(super) ca_file: Option<PathBuf>,
}

/// What speaks to it.
pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Where it is, with which credential, trusting whom. Nothing is connected yet.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    base: String,
    token: Option<HeaderValue>,
    tls: Arc<ClientConfig>,
}

/// A collector whose pages are asked for one by one.
pub(super) struct Collector {
    connection: Connection,
    client: HttpClient,
    runtime: Runtime,
    page_timeout: Duration,
}

impl Connection {
    pub(super) fn new(arguments: &CollectorArguments) -> Result<Self, Failure> {
        let base = base(arguments.server.as_deref().unwrap_or(SERVER_DEFAULT))?;
        let mut token = None;
        if let Some(path) = &arguments.token_file {
            refuse_to_show(&base)?;
            let read = Token::from_file(path).map_err(Failure::other)?;
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", read.expose())).map_err(Failure::other)?;
            value.set_sensitive(true);
            token = Some(value);
        }
        let tls = forward::trusting(arguments.ca_file.as_deref()).map_err(Failure::other)?;
        Ok(Self { base, token, tls: Arc::new(tls.with_no_client_auth()) })
    }

    /// Its address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A GET of a page.
    pub(super) fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let uri = format!("{}{path}", self.base);
        let mut request = Request::get(uri).body(Empty::new()).map_err(Failure::other)?;
        let agent = concat!("muster/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }

    /// A client for one runtime: its connections end with that.
    pub(super) fn client(&self) -> HttpClient {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&self.tls));
        let connector = connector.https_or_http().enable_http1().wrap_connector(http);
        Client::builder(TokioExecutor::new()).build(connector)
    }
}

impl Collector {
    pub(super) fn new(arguments: &CollectorArguments) -> Result<Self, Failure> {
        let connection = Connection::new(arguments)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
        Ok(Self { client: connection.client(), connection, runtime, page_timeout: PAGE_TIMEOUT })
    }

    /// The same with less patience: for what a command can do without.
    pub(super) fn within(self, page_timeout: Duration) -> Self {
        Self { page_timeout, ..self }
    }

    /// Where it is.
    pub(super) fn base(&self) -> &str {
        self.connection.base()
    }

    /// A page; anything else than 200 is a failure, in words.
    pub(super) fn page(&self, path: &str) -> Result<String, Failure> {
        let (status, body) = self.ask(path)?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let base = self.base();
        Err(Failure::Other(match status {
            StatusCode::UNAUTHORIZED => format!(
                "{base} does not accept the credential; --token-file names one, `muster token create` makes one"
            ),
            StatusCode::NOT_FOUND => format!(
                "{base}{path} is not there: is it the address of a collector's pages (port 9464), and as new as this?"
            ),
            status => {
                let said: String = body.trim().chars().take(REFUSAL_CHARS_MAX).collect();
                format!("{base}{path} answered {}: {said}", status.as_u16())
            }
        }))
    }

    /// Whatever a page answers.
    pub(super) fn ask(&self, path: &str) -> Result<(StatusCode, String), Failure> {
        let request = self.connection.request(path)?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| self.away(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, PAGE_BYTES_MAX).collect().await;
            let body =
                body.map_err(|error| Failure::Other(format!("{} stopped answering: {error}", self.base())))?;
            Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        let within = self.page_timeout;
        let answered = self.runtime.block_on(async { timeout(within, exchange).await });
        answered.unwrap_or_else(|_| {
            Err(Failure::Other(format!("no answer from {} within {within:?}", self.base())))
        })
    }

    fn away(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        let words = reasons(error);
        Failure::Other(format!(
            "no answer from {}: {words}; {}",
            self.base(),
            advice(&words, error.is_connect())
        ))
    }
}

/// What most often is behind it.
fn advice(words: &str, is_connect: bool) -> &'static str {
    if words.contains("InvalidContentType") {
        "it speaks no TLS there; name it with --server http://..."
    } else if words.contains("certificate") {
        "--ca-file names the PEM of the authority that signed its certificate"
    } else if is_connect {
        "is it running? `muster up` or `muster serve` starts one, --server names another"
    } else {
        "it speaks no HTTP there; if it speaks TLS, name it with --server https://..."
    }
}

/// `http://host:port` of what was given; a bare `host:port` is plain HTTP.
pub(super) fn base(server: &str) -> Result<String, Failure> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let refused = || {
        Failure::Usage(format!(
            "--server {server:?} is no address; write http://HOST:PORT or https://HOST:PORT"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else { return Err(refused()) };
    let has_more = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/");
    if has_more || authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(refused());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// A token goes to another machine over TLS alone.
pub(super) fn refuse_to_show(base: &str) -> Result<(), Failure> {
    let uri: Uri = base.parse().map_err(Failure::other)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if uri.scheme_str() == Some("https") || is_here {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "{base} is plain HTTP to another machine, and would show the token to everybody between: use https://"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_host_and_a_port() {
        for (given, wanted) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("http://[::1]:9464/", "http://[::1]:9464"),
            ("https://collector.example:9464", "https://collector.example:9464"),
            ("collector.example", "http://collector.example"),
        ] {
            assert_eq!(base(given).expect(given), wanted);
        }
        for given in ["", "ftp://x", "http://", "https://a/metrics", "http://user@a:1", "a b", "http://x/?y"]
        {
            assert!(base(given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_token_goes_to_another_machine_over_tls_alone() {
        for base in
            ["https://collector.example:9464", "http://127.0.0.1:9464", "http://[::1]:1", "http://localhost"]
        {
            assert!(refuse_to_show(base).is_ok(), "{base}");
        }
        let said = refuse_to_show("http://collector.example:9464").expect_err("refused").to_string();
        assert!(said.contains("https://"), "{said}");
    }
}
