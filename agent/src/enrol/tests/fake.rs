//! A collector of one agent: it issues certificates, takes streams, and keeps what it was sent.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use muster::clock::{Clock, SystemClock, WallTime};
use muster::credential::{Token, TokenKind};
use muster::ids::{AgentId, Seq};
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::collector_server::{Collector, CollectorServer};
use muster::v1::enrolment_server::{Enrolment as EnrolmentService, EnrolmentServer};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Request, Response, Status, Streaming};
use tower::Service as _;

use crate::enrol::key::{self, Requested};
use crate::enrol::{Certificate, Fingerprint, Store};
use crate::uplink::{ServerConfig, TokenSource};

pub const TEAM: &str = "payments";

/// An authority and what it did.
pub struct Fake {
    issuer: Issuer<'static, KeyPair>,
    pub authority_der: Vec<u8>,
    pub authority_pem: String,
    server_pem: String,
    server_key: String,
    pub asked: Mutex<Asked>,
}

/// What is to be answered, and what was asked.
#[derive(Default)]
pub struct Asked {
    /// Life of what is issued.
    pub life: Duration,
    /// Every request, as `Debug` has it, and its bytes.
    pub requests: Vec<(String, Vec<u8>)>,
    /// `Authorization` of each enrolment.
    pub authorizations: Vec<String>,
    /// Answered in place of a certificate, once.
    pub refuse: Option<Status>,
    /// No renewal is answered with a certificate.
    pub renews_nothing: bool,
    /// Streams end at the next message.
    pub cuts_streams: bool,
    /// Serials that streams were opened with, in order.
    pub streams: Vec<String>,
    /// Whether a stream came with a token besides.
    pub stream_tokens: usize,
    /// Numbers of events taken, in order; a repeated one is there twice.
    pub events: Vec<u64>,
    /// Reasons of goodbyes.
    pub goodbyes: Vec<String>,
    issued: u64,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a collector's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("authority");
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().expect("key");
        let server = CertificateParams::new(["localhost".to_owned()]).expect("name");
        let server = server.signed_by(&server_key, &issuer).expect("server");
        Arc::new(Self {
            authority_der: authority.der().to_vec(),
            authority_pem: authority.pem(),
            // As a real one: its own, then its authority.
            server_pem: server.pem() + &authority.pem(),
            server_key: server_key.serialize_pem(),
            issuer,
            asked: Mutex::new(Asked { life: Duration::from_secs(3600), ..Asked::default() }),
        })
    }

    /// Listens on loopback, with certificates of its own authority asked for and optional.
    pub async fn listen(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority_der.clone())).expect("authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .expect("verifier");
        let chain = CertificateDer::pem_slice_iter(self.server_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.server_key.as_bytes()).expect("key");
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.collect::<Result<_, _>>().expect("chain"), key)
            .expect("TLS");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(fake.clone(), acceptor.clone(), stream));
            }
        });
        address
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority_der)
    }

    /// A certificate for a request; `agent` is who it says it is for.
    pub fn issue(&self, csr_der: &[u8], agent: AgentId, life: Duration) -> v1::Issued {
        let now = SystemClock::new().wall();
        let csr = CertificateSigningRequestDer::from(csr_der.to_vec());
        let mut csr = CertificateSigningRequestParams::from_der(&csr).expect("a request that its key signed");
        let name = format!("muster://{TEAM}/agent/{agent}");
        csr.params.subject_alt_names = vec![SanType::URI(name.as_str().try_into().expect("ascii"))];
        let second = |time: WallTime| {
            OffsetDateTime::from_unix_timestamp((time.0 / 1_000_000) as i64).expect("this century")
        };
        let ends = WallTime(now.0 + life.as_micros() as u64);
        csr.params.not_before = second(now);
        csr.params.not_after = second(ends);
        let serial = {
            let mut asked = self.asked.lock();
            asked.issued += 1;
            asked.issued
        };
        csr.params.serial_number = Some((1000 + serial).into());
        let certificate = csr.signed_by(&self.issuer).expect("signed");
        v1::Issued {
            certificate_chain_der: vec![certificate.der().to_vec()],
            authorities_der: vec![self.authority_der.clone()],
            not_before_us: now.0,
            not_after_us: ends.0,
            team: TEAM.to_owned(),
            collector_is_of_authority: true,
        }
    }
}

async fn connection(fake: Arc<Fake>, acceptor: TlsAcceptor, stream: TcpStream) {
    // Refused clients are what some tests are about.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.and_then(|der| Certificate::from_der(der).ok());
    let enrolment = EnrolmentServer::new(Service(fake.clone()));
    let collector =
        CollectorServer::new(Service(fake)).accept_compressed(tonic::codec::CompressionEncoding::Zstd);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (mut enrolment, mut collector) = (enrolment.clone(), collector.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Shown(shown.clone()));
        async move {
            if request.uri().path().starts_with("/muster.v1.Enrolment/") {
                enrolment.call(request).await
            } else {
                collector.call(request).await
            }
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // The test's end cuts connections.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// The certificate of a connection.
#[derive(Clone)]
struct Shown(Option<Certificate>);

struct Service(Arc<Fake>);

#[tonic::async_trait]
impl EnrolmentService for Service {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::Issued>, Status> {
        use prost::Message;
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let inner = request.into_inner();
        let (refusal, life) = {
            let mut asked = self.0.asked.lock();
            asked.requests.push((format!("{inner:?}"), inner.encode_to_vec()));
            asked.authorizations.push(authorization);
            (asked.refuse.take(), asked.life)
        };
        let agent = AgentId::try_from(inner.agent_id.as_slice()).expect("an id");
        refusal.map_or_else(|| Ok(Response::new(self.0.issue(&inner.csr_der, agent, life))), Err)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::Issued>, Status> {
        use prost::Message;
        let shown = peer(&request).ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let inner = request.into_inner();
        let (refusal, life) = {
            let mut asked = self.0.asked.lock();
            asked.requests.push((format!("{inner:?}"), inner.encode_to_vec()));
            let nothing = asked.renews_nothing.then(|| Status::unavailable("not today"));
            (asked.refuse.take().or(nothing), asked.life)
        };
        refusal.map_or_else(|| Ok(Response::new(self.0.issue(&inner.csr_der, shown.agent_id, life))), Err)
    }
}

#[tonic::async_trait]
impl Collector for Service {
    type StreamStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let shown = peer(&request).ok_or_else(|| Status::unauthenticated("no certificate"))?;
        {
            let mut asked = self.0.asked.lock();
            asked.stream_tokens += usize::from(request.metadata().contains_key("authorization"));
            asked.streams.push(shown.serial);
        }
        let (outbox, messages) = tokio::sync::mpsc::channel(64);
        let fake = self.0.clone();
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                if fake.asked.lock().cuts_streams {
                    return;
                }
                let Some(answer) = fake.answer(message) else { continue };
                if outbox.send(Ok(v1::CollectorMessage { kind: Some(answer) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

impl Fake {
    fn answer(&self, message: v1::AgentMessage) -> Option<Down> {
        let mut asked = self.asked.lock();
        match message.kind? {
            Up::Hello(_) => Some(Down::Welcome(v1::Welcome {
                protocol_version: muster::limits::PROTOCOL_VERSION,
                high_water_mark: asked.events.last().copied().unwrap_or(0),
                batch_bytes_max: muster::limits::BATCH_BYTES_MAX as u64,
                batches_in_flight_max: 4,
                heartbeat_interval_ms: 15_000,
                team: TEAM.to_owned(),
                ..Default::default()
            })),
            Up::Batch(batch) => {
                asked.events.extend(batch.first_seq..=batch.last_seq);
                Some(Down::Verdict(v1::Verdict {
                    outcome: v1::verdict::Outcome::Appended.into(),
                    durable_seq: batch.last_seq,
                    ..Default::default()
                }))
            }
            Up::Goodbye(goodbye) => {
                asked.goodbyes.push(goodbye.reason);
                None
            }
            _ => None,
        }
    }
}

fn peer<T>(request: &Request<T>) -> Option<Certificate> {
    request.extensions().get::<Shown>()?.0.clone()
}

/// How an agent whose state is in `folder` reaches it.
pub fn server(address: SocketAddr, folder: &std::path::Path) -> ServerConfig {
    ServerConfig {
        address: format!("https://localhost:{}", address.port()).parse().expect("address"),
        token: TokenSource::None,
        ca_file: None,
        tls_name: None,
        enrolment: Store::new(folder),
    }
}

pub fn token() -> Token {
    Token::of_kind(TokenKind::Enrolment, std::array::from_fn(|n| n as u8))
}

pub fn new_key() -> Requested {
    key::request().expect("key")
}

pub fn now() -> WallTime {
    SystemClock::new().wall()
}

/// Without gaps and repeats, from 1.
pub fn is_each_once(events: &[u64], last: Seq) -> bool {
    events.iter().copied().eq(1..=last.0)
}
