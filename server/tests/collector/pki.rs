//! Authorities and certificates of a company, a collector that knows them, and clients with them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster::atomic_file::{Access, replace};
use muster::clock::{Clock, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use server::config::{Config, Overrides};
use server::serve::Server;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Answer, ask_over};

const HOUR: i64 = 3_600;
/// The serial number of every certificate: it says nothing of who it is of.
pub const SERIAL: &str = "05";

/// An authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    key_pem: String,
}

/// A certificate with its key.
pub struct Client {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key_pem: String,
}

/// A company: the collector's own authority, which it brought along, and the one of its scrapers.
pub struct Pki {
    pub dir: tempfile::TempDir,
    pub own: Ca,
    pub scrapers: Ca,
}

/// Good from so many seconds after now until so many.
fn params(seconds: (i64, i64)) -> CertificateParams {
    let now_s = (SystemClock::new().wall().0 / 1_000_000) as i64;
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(now_s + seconds).expect("a time");
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (at(seconds.0), at(seconds.1));
    params
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let mut params = params((-24 * HOUR, 24 * 30 * HOUR));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Self { key_pem: key.serialize_pem(), issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A client's, good for an hour.
    pub fn issue(&self, name: &str) -> Client {
        self.issue_for(name, (-1, 1))
    }

    /// A client's, from so many hours after now until so many.
    pub fn issue_for(&self, name: &str, (from, until): (i64, i64)) -> Client {
        self.issue_within(name, (from * HOUR, until * HOUR))
    }

    /// The same in seconds.
    pub fn issue_within(&self, name: &str, seconds: (i64, i64)) -> Client {
        let mut params = params(seconds);
        let text = name.try_into().expect("ASCII");
        let name = if name.contains(':') { SanType::URI(text) } else { SanType::DnsName(text) };
        params.subject_alt_names = vec![name];
        params.serial_number = Some(5.into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Client {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Pki {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let pki = Self { dir, own: Ca::new("own"), scrapers: Ca::new("scrapers") };
        pki.write("own.pem", &pki.own.pem(), Access::Umask);
        pki.write("own.key", &pki.own.key_pem, Access::Owner);
        pki.write("scrapers.pem", &pki.scrapers.pem(), Access::Umask);
        pki
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, access: Access) {
        replace(&self.path(name), text.as_bytes(), access).expect("written");
    }

    pub fn data(&self) -> PathBuf {
        let data = self.path("data");
        std::fs::create_dir_all(&data).expect("a folder");
        data
    }

    /// A configuration with these readers: a name, and what it reads. The pages are where others can reach them.
    pub fn text(&self, readers: &[(&str, &str)]) -> String {
        let (own, key, scrapers) = (self.path("own.pem"), self.path("own.key"), self.path("scrapers.pem"));
        let entry =
            |(name, reads): &(&str, &str)| format!("[[server.http_client]]\nname = {name:?}\n{reads}\n");
        format!(
            "[server]\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"0.0.0.0:0\"\notlp_http_listen = \"127.0.0.1:0\"\n\
             data_dir = {data:?}\nhttp_client_ca_file = {scrapers:?}\n{readers}\
             [server.tls]\nnames = [\"localhost\"]\n[server.authority]\ncert_file = {own:?}\nkey_file = {key:?}\n",
            data = self.data(),
            readers = readers.iter().map(entry).collect::<String>(),
        )
    }

    pub fn config(&self, readers: &[(&str, &str)]) -> Config {
        Config::parse(&self.text(readers), &Overrides::default()).expect("valid")
    }

    pub async fn start(&self, readers: &[(&str, &str)]) -> Server {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Server::start(self.config(readers), clock).await.expect("starts")
    }

    /// A connection with TLS, and with this certificate.
    pub async fn connect(
        &self,
        address: SocketAddr,
        client: Option<&Client>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.certificate.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::try_from(pem_body(&client.key_pem)).expect("a key");
                builder.with_client_auth_cert(vec![client.certificate.clone()], key).expect("a pair")
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", address.port())).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Asks a page that is there after a while: history and journal are opened in the background.
    pub async fn ask(
        &self,
        address: SocketAddr,
        client: Option<&Client>,
        path: &str,
        headers: &str,
    ) -> std::io::Result<Answer> {
        loop {
            let answer = ask_over(self.connect(address, client).await?, "GET", path, headers).await?;
            if answer.status != 503 {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn status(&self, address: SocketAddr, client: Option<&Client>) -> u16 {
        self.ask(address, client, "/metrics", "").await.expect("an answer").status
    }
}

/// The DER in PEM.
fn pem_body(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).expect("base64")
}

/// Writes a file beside the collector's data, as the operator does.
pub fn write_config(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("muster.toml");
    replace(&path, text.as_bytes(), Access::Umask).expect("written");
    path
}
