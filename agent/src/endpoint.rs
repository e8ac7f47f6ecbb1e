//! The agent's own page, for this machine alone: `/metrics`, `/health` and `/status`.
//!
//! The same page is served where the guides have it: on `LOKI_METRICS_PORT` (57374) with `LOKI_METRICS_ENABLED=true`, and
//! on DevLoop's port and path when its `agents.json` enables them. A busy port there is a warning with the reason, and is
//! tried again; it never stops the agent (Loki Mode's own dashboard sits on 57374).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::exposition::merge_text;
use metrics::{Aggregate, Format, PageCursor, PageRequest};
use muster::clock::Clock;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::enrol::Situation;
use crate::figures::{CertificateFigures, Figures, RuntimeCounters};
use crate::local::LocalCounters;
use crate::otlp::OtlpCounters;
use crate::processes;
use crate::remote_configuration::RemoteConfiguration;
use crate::uplink::{SharedSpool, UplinkStatus, stopped};

/// What the page shows, filled by the runtime.
#[derive(Debug)]
pub struct Page {
    /// The series of the watched tools.
    pub aggregate: Mutex<Aggregate>,
    /// The spool, whose figures are read when they are asked for.
    pub spool: SharedSpool,
    /// The uplink's state.
    pub uplink: watch::Receiver<UplinkStatus>,
    /// The agent's certificate.
    pub certificate: watch::Receiver<Situation>,
    /// The runtime's counters, as of its last round.
    pub counters: Mutex<RuntimeCounters>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What the receiver of OTLP counts, when there is one.
    pub otlp: Option<Arc<OtlpCounters>>,
    /// What came from local commands.
    pub local: LocalCounters,
    /// What the collector asked for, and what is in force.
    pub configuration: Arc<RemoteConfiguration>,
}

impl Page {
    async fn figures(&self) -> Figures {
        let uplink = self.uplink.borrow().clone();
        let counters = *self.counters.lock();
        let certificate = CertificateFigures::of(&self.certificate.borrow(), self.clock.wall());
        let figures = Figures::gather(&*self.spool.lock().await, uplink, counters, processes::own_usage());
        Figures { certificate, configuration: self.configuration.standing(), ..figures }
    }
}

/// A place where the guides promise the page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuidePlace {
    /// Port on 127.0.0.1.
    pub port: u16,
    path: String,
    because: &'static str,
}

impl GuidePlace {
    /// The page on `port` at `path`; `because` names the setting that asks for it. The path comes from a file that anybody
    /// may have written: what is not `/` and letters, digits, `.`, `_`, `-` becomes `/metrics`.
    pub fn new(port: u16, path: &str, because: &'static str) -> Self {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-');
        let is_plain = path.len() > 1
            && path.len() <= PATH_BYTES_MAX
            && path.starts_with('/')
            && path.bytes().all(allowed);
        let path = if is_plain { path } else { "/metrics" };
        Self { port, path: path.to_owned(), because }
    }
}

/// Longest path of a page.
const PATH_BYTES_MAX: usize = 128;

/// How long a busy port is left alone before it is tried again.
const BUSY_PORT_RETRY: Duration = Duration::from_secs(60);

/// Serves the page on a listener until `shutdown` turns true.
pub async fn serve(listener: TcpListener, path: &str, page: Arc<Page>, mut shutdown: watch::Receiver<bool>) {
    let mut router = Router::new().route("/health", get(health)).route("/status", get(status));
    router = router.route("/metrics", get(metrics_page));
    if path != "/metrics" && path != "/health" && path != "/status" {
        router = router.route(path, get(metrics_page));
    }
    let stopped = async move { stopped(&mut shutdown).await };
    if let Err(error) = axum::serve(listener, router.with_state(page)).with_graceful_shutdown(stopped).await {
        tracing::warn!(%error, "the local page stopped");
    }
}

/// Serves the page at a guide's place as soon as its port is free.
pub async fn serve_guide_place(place: GuidePlace, page: Arc<Page>, mut shutdown: watch::Receiver<bool>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, place.port));
    let mut warned = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, because = place.because, "serving the page where the guide has it");
                return serve(listener, &place.path, page, shutdown).await;
            }
            Err(error) if !warned => {
                tracing::warn!(
                    %address, because = place.because, %error,
                    "port is busy (Loki Mode's own dashboard may sit there); the page stays on metrics_listen, and the port is tried again"
                );
                warned = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(BUSY_PORT_RETRY) => {}
            () = stopped(&mut shutdown) => return,
        }
    }
}

/// The place that Loki Mode's guide promises, if its variables ask for it.
pub fn loki_guide_place(variable: &dyn Fn(&str) -> Option<String>) -> Option<GuidePlace> {
    if variable("LOKI_METRICS_ENABLED")?.trim() != "true" {
        return None;
    }
    let port = match variable("LOKI_METRICS_PORT") {
        None => LOKI_PORT_DEFAULT,
        Some(text) => text.trim().parse().unwrap_or_else(|_| {
            tracing::warn!(given = %text, used = LOKI_PORT_DEFAULT, "LOKI_METRICS_PORT is not a port");
            LOKI_PORT_DEFAULT
        }),
    };
    let path = variable("LOKI_METRICS_PATH").unwrap_or_else(|| "/metrics".to_owned());
    Some(GuidePlace::new(port, &path, "LOKI_METRICS_ENABLED=true"))
}

/// Where Loki Mode's guide has the page.
const LOKI_PORT_DEFAULT: u16 = 57374;

async fn metrics_page(State(page): State<Arc<Page>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::negotiate(accept);
    let request = PageRequest { format, ..PageRequest::default() };
    let mut figures = page.figures().await.to_text();
    if let Some(otlp) = &page.otlp {
        otlp.write_text(&mut figures);
    }
    page.local.write_text(&mut figures);
    let mut body = Vec::with_capacity(16 << 10);
    {
        let aggregate = page.aggregate.lock();
        let (now, mut next) = (page.clock.wall(), Some(PageCursor::default()));
        while let Some(cursor) = next {
            next = aggregate.render_part(&request, now, cursor, usize::MAX, &mut body);
        }
    }
    merge_text(&figures, format, |_| true, &mut body);
    format.finish(&mut body);
    ([(header::CONTENT_TYPE, format.content_type())], body).into_response()
}

async fn health(State(page): State<Arc<Page>>) -> Response {
    let trouble = page.figures().await.spool_trouble;
    let body = match trouble {
        None => serde_json::json!({ "status": "healthy", "service": "muster-agent" }),
        Some(reason) => {
            serde_json::json!({ "status": "degraded", "service": "muster-agent", "reason": reason })
        }
    };
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn status(State(page): State<Arc<Page>>) -> Response {
    let figures = page.figures().await;
    ([(header::CONTENT_TYPE, "application/json")], figures.to_json().to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Option<GuidePlace> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        loki_guide_place(&|name| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn loki_modes_variables_mean_what_its_guide_says() {
        assert_eq!(place(&[]), None);
        assert_eq!(place(&[("LOKI_METRICS_ENABLED", "false")]), None);
        let default = place(&[("LOKI_METRICS_ENABLED", "true")]).expect("enabled");
        assert_eq!((default.port, default.path.as_str()), (57374, "/metrics"));
        let set =
            [("LOKI_METRICS_ENABLED", "true"), ("LOKI_METRICS_PORT", "9100"), ("LOKI_METRICS_PATH", "/m")];
        let set = place(&set).expect("enabled");
        assert_eq!((set.port, set.path.as_str()), (9100, "/m"));
    }

    #[test]
    fn a_path_that_is_no_plain_path_is_the_usual_one() {
        for path in ["", "/", "metrics", "/{id", "/a b", "/*all", "/:x", &format!("/{}", "x".repeat(200))] {
            assert_eq!(GuidePlace::new(1, path, "test").path, "/metrics", "{path:?}");
        }
        assert_eq!(GuidePlace::new(1, "/devloop/metrics", "test").path, "/devloop/metrics");
    }
}
