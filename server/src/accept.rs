//! Taking connections so that no peer can take the collector's room (reliability.md section 0 rule 8).
//!
//! One loop a listener. It accepts only with a permit in hand, so that a flood waits in the kernel's queue; it refuses
//! an address that has its share; when the system has no descriptors left it waits, says so once and shows it as a
//! gauge. TLS handshakes run in the connection's own task with a bound in time. What a connection may do after that is
//! its handler's to bound.

mod io;
mod permits;
pub(crate) mod usage;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, Monotonic};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use io::PeerIo;
pub(crate) use permits::network_of;
pub use permits::{PerIp, Permits};

use crate::authority::PeerCertificate;
use crate::figures::{Door, Figures, Refusal};
use crate::readers::Readers;

/// A handshake is two round trips; a peer that needs longer is not one of ours.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From a connection to its first whole request, handshake included.
pub const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest wait when descriptors have run out.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A shortage that lasts is said again after this.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A listener with its bounds.
#[derive(Debug)]
pub struct Listener {
    /// Which it is, for figures.
    pub door: Door,
    /// The bound socket.
    pub socket: TcpListener,
    /// Set: every connection must speak TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// At the pages with TLS: who reads them with a certificate of another authority than the own.
    pub readers: Option<Arc<Readers>>,
    /// Connections in all.
    pub permits: Arc<Permits>,
    /// Connections from one address.
    pub per_ip: Arc<PerIp>,
    /// Where refusals are counted.
    pub figures: Arc<Figures>,
    /// For the deadline of the first request.
    pub clock: Arc<dyn Clock>,
}

/// A connection that may speak.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub io: PeerIo,
    /// Where it is.
    pub peer: SocketAddr,
    /// The certificate that it showed, verified; `None` without one or without TLS.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// What is left of [`FIRST_REQUEST_TIMEOUT`].
    pub first_request_within: Duration,
}

impl Listener {
    /// Accepts until `stop` is true; each connection is handled in its own task.
    pub async fn run<H, F>(self, handler: H, mut stop: watch::Receiver<bool>)
    where
        H: Fn(Accepted) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut shortage = Shortage::default();
        loop {
            let accepted = tokio::select! {
                () = crate::stop::stopped(&mut stop) => return,
                accepted = self.next(&mut shortage) => accepted,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let Some(share) = self.per_ip.take(peer.ip()) else {
                self.figures.connections_refused.add(Refusal::PerIp, 1);
                continue;
            };
            self.figures.connections_accepted.add(self.door, 1);
            let (tls, readers) = (self.tls.clone(), self.readers.clone());
            let (figures, clock) = (self.figures.clone(), self.clock.clone());
            let (handler, door) = (handler.clone(), self.door);
            tokio::spawn(async move {
                figures.connections(door).add(1);
                let greeted = greet((stream, peer), tls, readers.as_deref(), &figures, clock.as_ref()).await;
                if let Some(accepted) = greeted {
                    handler(accepted).await;
                }
                figures.connections(door).add(-1);
                drop((permit, share));
            });
        }
    }

    /// One connection; `None` when there was none to have, after a wait if the system is short of something.
    async fn next(&self, shortage: &mut Shortage) -> Option<(TcpStream, SocketAddr, permits::Permit)> {
        let permit = match self.permits.try_take() {
            Some(permit) => permit,
            None => {
                self.pause(shortage, "all connection permits are taken");
                self.permits.take().await
            }
        };
        match self.socket.accept().await {
            Ok((stream, peer)) => {
                self.figures.accept_paused(self.door).set(0);
                shortage.wait = BACK_OFF.0;
                Some((stream, peer, permit))
            }
            Err(error) if is_of_the_peer(&error) => None,
            Err(error) => {
                self.pause(shortage, &error.to_string());
                tokio::time::sleep(shortage.wait).await;
                shortage.wait = (shortage.wait * 2).min(BACK_OFF.1);
                None
            }
        }
    }

    fn pause(&self, shortage: &mut Shortage, reason: &str) {
        self.figures.accept_paused(self.door).set(1);
        let now = self.clock.monotonic();
        if shortage.said.is_none_or(|said| now.0.saturating_sub(said.0) >= WARNING_INTERVAL) {
            shortage.said = Some(now);
            tracing::warn!(door = ?self.door, reason, "connections wait: none can be accepted now");
        }
    }
}

#[derive(Debug)]
struct Shortage {
    wait: Duration,
    said: Option<Monotonic>,
}

impl Default for Shortage {
    fn default() -> Self {
        Self { wait: BACK_OFF.0, said: None }
    }
}

/// The peer went away between the kernel's queue and us: no reason to wait.
fn is_of_the_peer(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Sets the socket up and does the TLS handshake, if there is one to do.
async fn greet(
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<Arc<rustls::ServerConfig>>,
    readers: Option<&Readers>,
    figures: &Figures,
    clock: &dyn Clock,
) -> Option<Accepted> {
    let arrived = clock.monotonic();
    // Without it, acks wait 40 ms for the peer's delayed acknowledgement (performance.md section 0).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let io = match tls {
        None => PeerIo::Plain(stream),
        Some(config) => {
            // Boxed: the task lives as long as its connection, and would be as large as the handshake for all of it.
            let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => PeerIo::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    figures.connections_refused.add(Refusal::Handshake, 1);
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    return None;
                }
                Err(_) => {
                    figures.connections_refused.add(Refusal::HandshakeTimeout, 1);
                    return None;
                }
            }
        }
    };
    let certificate = io.peer_certificate(readers, clock.wall()).map(Arc::new);
    let spent = clock.monotonic().0.saturating_sub(arrived.0);
    let first_request_within = FIRST_REQUEST_TIMEOUT.saturating_sub(spent);
    Some(Accepted { io, peer, certificate, first_request_within })
}
