//! An agent that a test leads by the hand: its key, its request, its certificate, and what it says with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::Seq;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::enrolment_client::EnrolmentClient;
use muster::v1::event::Kind;
use muster::v1::verdict::Outcome;
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use server::authority::pem_of;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};

/// Longer than anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name in the collector's certificate.
pub const NAME: &str = "localhost";

/// A machine with a key.
pub struct Machine {
    pub agent: [u8; 16],
    pub key: KeyPair,
    pub issued: Option<v1::Issued>,
}

/// An open stream.
pub struct Stream {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::CollectorMessage>,
    pub team: String,
    next_seq: u64,
}

impl Machine {
    pub fn new(n: u8) -> Self {
        Self { agent: [n; 16], key: KeyPair::generate().unwrap(), issued: None }
    }

    pub fn request(&self) -> Vec<u8> {
        CertificateParams::default().serialize_request(&self.key).unwrap().der().to_vec()
    }

    /// Enrols over an own connection.
    pub async fn enrol(&mut self, at: SocketAddr, ca: &str, token: &str) -> Result<v1::Issued, Status> {
        let request = self.request();
        self.enrol_with(channel(at, ca, None).await.unwrap(), token, request).await
    }

    pub async fn enrol_with(
        &mut self,
        channel: Channel,
        token: &str,
        csr_der: Vec<u8>,
    ) -> Result<v1::Issued, Status> {
        let asked = v1::EnrolRequest {
            agent_id: self.agent.to_vec(),
            csr_der,
            host: format!("laptop-{}", self.agent[0]),
            user: "dana".to_owned(),
            ..Default::default()
        };
        let mut request = Request::new(asked);
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        let issued = EnrolmentClient::new(channel).enrol(request).await?.into_inner();
        self.issued = Some(issued.clone());
        Ok(issued)
    }

    /// Renews with a new key.
    pub async fn renew(&mut self, channel: Channel) -> Result<(), Status> {
        let key = KeyPair::generate().unwrap();
        let csr_der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        let issued = EnrolmentClient::new(channel).renew(v1::RenewRequest { csr_der }).await?.into_inner();
        (self.key, self.issued) = (key, Some(issued));
        Ok(())
    }

    pub fn identity(&self) -> Identity {
        let chain = &self.issued.as_ref().expect("it has enrolled").certificate_chain_der;
        let pem: String = chain.iter().map(|der| pem_of(&CertificateDer::from(der.as_slice()))).collect();
        Identity::from_pem(pem, self.key.serialize_pem())
    }

    /// A connection that shows its certificate. `Err`: it was refused in the handshake.
    pub async fn connect(&self, at: SocketAddr, ca: &str) -> Result<Channel, String> {
        channel(at, ca, Some(self.identity())).await
    }

    pub async fn stream(&self, at: SocketAddr, ca: &str) -> Result<Stream, Status> {
        let channel = self.connect(at, ca).await.map_err(Status::unavailable)?;
        Stream::open(channel, self.agent, None).await
    }
}

/// A connection, with or without a certificate.
pub async fn channel(at: SocketAddr, ca: &str, identity: Option<Identity>) -> Result<Channel, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name(NAME);
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{at}")).unwrap().tls_config(tls).unwrap();
    endpoint.connect().await.map_err(|error| format!("{error:?}"))
}

/// The first certificate that the collector shows to who trusts `ca`.
pub async fn served(at: SocketAddr, ca: &str) -> Vec<u8> {
    let stream = secured(at, ca, None).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// What the collector says in the handshake to who shows its certificate.
pub async fn refused_in_handshake(at: SocketAddr, ca: &str, machine: &Machine) -> rustls::Error {
    // By TLS 1.3 a client has finished before the server has looked at its certificate.
    let error = match secured(at, ca, Some(machine)).await {
        Ok(mut stream) => stream.read_u8().await.expect_err("the connection goes on"),
        Err(error) => error,
    };
    let told = error.get_ref().and_then(|told| told.downcast_ref::<rustls::Error>());
    told.unwrap_or_else(|| panic!("no alert but {error:?}")).clone()
}

/// The status of a page behind TLS, for who shows these.
pub async fn status_of(
    at: SocketAddr,
    ca: &str,
    machine: Option<&Machine>,
    path: &str,
    token: Option<&str>,
) -> u16 {
    let mut stream = secured(at, ca, machine).await.unwrap();
    let header = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {NAME}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Whether the end is announced is no matter here.
    let _ = stream.read_to_end(&mut answer).await;
    let head = String::from_utf8_lossy(&answer);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

async fn secured(
    at: SocketAddr,
    ca: &str,
    machine: Option<&Machine>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = match machine {
        None => config.with_no_client_auth(),
        Some(machine) => {
            let chain = &machine.issued.as_ref().expect("it has enrolled").certificate_chain_der;
            let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            let key = PrivatePkcs8KeyDer::from(machine.key.serialize_der());
            config.with_client_auth_cert(chain, key.into()).unwrap()
        }
    };
    let tcp = TcpStream::connect(at).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from(NAME).unwrap(), tcp).await
}

impl Stream {
    /// Says hello and is welcomed, or not.
    pub async fn open(channel: Channel, agent: [u8; 16], token: Option<&str>) -> Result<Self, Status> {
        let (up, messages) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = token {
            let header = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", header);
        }
        let hello = v1::Hello {
            protocol_version: 1,
            agent_id: agent.to_vec(),
            epoch: 1,
            instance: 1,
            ..Default::default()
        };
        up.send(v1::AgentMessage { kind: Some(Up::Hello(hello)) }).await.unwrap();
        let down = CollectorClient::new(channel).stream(request).await?.into_inner();
        let mut stream = Self { up, down, team: String::new(), next_seq: 1 };
        match stream.hear().await? {
            Down::Welcome(welcome) => {
                stream.next_seq = welcome.high_water_mark + 1;
                stream.team = welcome.team;
                Ok(stream)
            }
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Sends a run and waits until it is durable.
    pub async fn send(&mut self) -> Result<(), Status> {
        let mut builder = BatchBuilder::new();
        let source = builder.source(&SourceIdentity::default()).unwrap();
        let run = v1::RunFinished { status: v1::RunStatus::Success.into(), ..Default::default() };
        builder.push(WallTime(1_771_588_800_000_000), source, Kind::RunFinished(run));
        let sealed = builder.seal(Seq(self.next_seq)).unwrap();
        let batch = v1::SealedBatch {
            first_seq: self.next_seq,
            last_seq: self.next_seq,
            batch: sealed.bytes,
            crc32c: sealed.crc32c,
        };
        if self.up.send(v1::AgentMessage { kind: Some(Up::Batch(batch)) }).await.is_err() {
            return Err(self.hear().await.expect_err("the stream has ended"));
        }
        match self.hear().await? {
            Down::Verdict(verdict) if verdict.outcome() == Outcome::Appended => {
                self.next_seq += 1;
                Ok(())
            }
            other => panic!("no verdict but {other:?}"),
        }
    }

    /// Waits for the end; its status.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }

    async fn hear(&mut self) -> Result<Down, Status> {
        let message = tokio::time::timeout(PATIENCE, self.down.message()).await.expect("an answer in time");
        let message = message?.ok_or_else(|| Status::new(Code::Ok, "the stream ended"))?;
        Ok(message.kind.unwrap())
    }
}
