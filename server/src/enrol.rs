//! Certificates for agents: `muster.v1.Enrolment` on the gRPC port.
//!
//! ```text
//! Enrol:  token ─> request is signed by its key ─> a use of the token is claimed, durably ─> certificate ─> record ─> answer
//! Renew:  certificate, the newest or the one before ─> request is signed by its key ─> certificate ─> record ─> answer
//! ```
//!
//! A use is taken before anything is issued, so that no crash gives a token more uses than it has. It is taken for an agent
//! and a key: the same agent with the same token and key takes no other, from then until a certificate for that key has been
//! seen, so that an answer that was lost is asked for again. It is issued anew, in the place of the one that was lost; who has
//! not the private key can neither ask for it nor use it. Team and role come from the token, the agent's name in the
//! certificate from both; of the request only the public key is taken.
//!
//! | what comes | what happens |
//! |---|---|
//! | a port without TLS | FAILED_PRECONDITION: a certificate would be of no use there |
//! | a token that is wrong, expired, used up by others, or of another role | UNAUTHENTICATED, without a reason |
//! | a request for a key that is not taken, or not signed by it | INVALID_ARGUMENT; no use is taken |
//! | an agent that was revoked | PERMISSION_DENIED; no use is taken |
//! | a renewal with a certificate that is neither the agent's newest nor the one before | PERMISSION_DENIED |
//! | one with the one before, when the newest has been seen | the same: it is a copy's |
//! | more at once than [`WAITING_MAX`], too many of one address or agent | RESOURCE_EXHAUSTED with `retry-after` |
//! | the disk does not take it | UNAVAILABLE; what was taken is still claimed |
//! | an agent that went away before its turn | nothing is issued: it may ask again, and this one must not come later |
//!
//! This has its own bounds, so that a fleet that enrols takes nothing from one that sends, and the other way round.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster::clock::{Clock, WallTime};
use muster::credential::TokenId;
use muster::ids::AgentId;
use muster::v1;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::accept::network_of;
use crate::agents::{AgentFile, AgentFileError, AgentRecord, Standing, plain};
use crate::audit::{Entry, What, Who};
use crate::authority::{AgentName, AuthorityError, Issued, PeerCertificate, ProvenKey};
use crate::credentials::{
    CertificateRefused, Claim, Credentials, NotAccepted, TokenFile, TokenFileError, Use,
};
use crate::figures::{Enrolment as Became, Figures};
use crate::ingest::{Peer, presented};
use crate::tls::Certificate;

/// A request with its certificate request and a few names.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Issued at once: each waits for the disk twice.
const RUNNING_MAX: usize = 2;
/// And so many more wait for their turn.
const WAITING_MAX: usize = 512;
/// Longest turn to wait for.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Requests of one address at once: an office that rolls out behind one NAT.
const ADDRESS_BURST: NonZeroU32 = NonZeroU32::new(300).expect("not 0");
/// And then so many a minute.
const ADDRESS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not 0");
/// Renewals of one agent at once: one is usual in half a week.
const AGENT_BURST: NonZeroU32 = NonZeroU32::new(10).expect("not 0");
/// And then so many a minute.
const AGENT_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("not 0");
/// Addresses and agents that are remembered before those of long ago are forgotten.
const KEYS_KEPT: usize = 10_000;
/// When who was refused for its number may come again.
const RETRY_AFTER_SECONDS: u64 = 10;

/// What enrolling needs.
pub(crate) struct Shared {
    pub(crate) data_dir: PathBuf,
    pub(crate) credentials: Arc<Credentials>,
    /// `None` without TLS.
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The service.
#[derive(Clone)]
pub(crate) struct EnrolmentService(Arc<Inner>);

struct Inner {
    shared: Shared,
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    agents: DefaultKeyedRateLimiter<AgentName>,
}

/// Why nothing is issued.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    #[error(
        "this port speaks no TLS, where a certificate would be of no use: set [server.tls] at the collector"
    )]
    NoTls,
    #[error("{0}")]
    Invalid(String),
    #[error(
        "this agent was revoked; its machine can come back under a new id, from an empty state directory"
    )]
    Revoked,
    #[error("{0}")]
    Replaced(CertificateRefused),
    #[error("too many at once; come again in {RETRY_AFTER_SECONDS} s")]
    Limited,
    #[error("the collector cannot keep or issue it now; its log says more")]
    Failed,
}

impl EnrolmentService {
    pub(crate) fn new(shared: Shared) -> Self {
        let quota = |per_minute, burst| Quota::per_minute(per_minute).allow_burst(burst);
        Self(Arc::new(Inner {
            shared,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            addresses: RateLimiter::keyed(quota(ADDRESS_PER_MINUTE, ADDRESS_BURST)),
            agents: RateLimiter::keyed(quota(AGENT_PER_MINUTE, AGENT_BURST)),
        }))
    }

    /// Waits for a turn and does what blocks away from the threads that serve.
    async fn in_turn<T, F>(&self, work: F) -> Result<T, Refused>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &Certificate, &Asker) -> Result<T, Refused> + Send + 'static,
    {
        let Some(certificate) = self.0.shared.certificate.clone() else { return Err(Refused::NoTls) };
        let waits = self.0.waiting.clone().try_acquire_owned().map_err(|_| Refused::Limited)?;
        let turn = timeout(WAIT_MAX, self.0.running.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refused::Limited) };
        let inner = self.0.clone();
        let asker = Asker::default();
        let _tells = TellsEnd(asker.clone());
        let done = tokio::task::spawn_blocking(move || {
            // Held to the work's end: a client that goes away ends its request, and not this.
            let _held = (waits, turn);
            work(&inner.shared, &certificate, &asker)
        });
        let done = done.await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "issuing a certificate failed");
            Err(Refused::Failed)
        })
    }

    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<v1::Issued, Refused> {
        let peer = peer_of(&request)?;
        let inner = &self.0;
        if inner.shared.certificate.is_none() {
            return Err(Refused::NoTls);
        }
        if !is_within(&inner.addresses, &network_of(peer.ip())) {
            return Err(Refused::Limited);
        }
        let (team, token_id) = inner.shared.credentials.authenticate_enrolment(presented(peer, &request))?;
        let asked = request.into_inner();
        let agent = AgentId::try_from(&asked.agent_id[..]).map_err(|e| Refused::Invalid(e.to_string()))?;
        let key = ProvenKey::of_request(&asked.csr_der).map_err(|e| Refused::Invalid(e.to_string()))?;
        let name = AgentName { team, agent };
        let entry =
            |what| Entry::new(what, Who::Peer(peer.ip())).team(&name.team).agent(agent).token(&token_id);
        let (done, refused) = (entry(What::Enrolled), entry(What::EnrolmentRefused));
        let work = move |shared: &Shared, certificate: &Certificate, asker: &Asker| {
            let wish = Wish { name, token_id, key_sha256: key.sha256(), key, asked };
            enrol(shared, certificate, asker, wish, done)
        };
        let enrolled = self.in_turn(work).await;
        self.tell_refusal(refused, &enrolled);
        enrolled
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<v1::Issued, Refused> {
        let peer = peer_of(&request)?;
        let inner = &self.0;
        let shown = presented(peer, &request);
        let name = inner.shared.credentials.authenticate_agent(shown)?;
        let shown = shown.certificate.cloned().ok_or(NotAccepted)?;
        if !is_within(&inner.agents, &name) {
            return Err(Refused::Limited);
        }
        let asked = request.into_inner();
        let key = ProvenKey::of_request(&asked.csr_der).map_err(|e| Refused::Invalid(e.to_string()))?;
        let entry = |what| Entry::new(what, Who::Peer(peer.ip())).team(&name.team).agent(name.agent);
        let (done, refused) = (entry(What::Renewed), entry(What::EnrolmentRefused));
        let work = move |shared: &Shared, certificate: &Certificate, asker: &Asker| {
            let mut agents = asker.edit(shared)?;
            renew(shared, certificate, &mut agents, &name, &shown, &key, &done)
        };
        let renewed = self.in_turn(work).await;
        self.tell_refusal(refused, &renewed);
        renewed
    }

    fn tell_refusal(&self, entry: Entry, result: &Result<v1::Issued, Refused>) {
        if let (Err(refused), Some(audit)) = (result, self.0.shared.credentials.audit()) {
            audit.record_often(entry.refused(refused.to_string().as_str()));
        }
    }

    fn told(
        &self,
        became: Became,
        result: Result<v1::Issued, Refused>,
    ) -> Result<Response<v1::Issued>, Status> {
        let figures = &self.0.shared.figures;
        match result {
            Ok(issued) => {
                figures.enrolments.add(became, 1);
                Ok(Response::new(issued))
            }
            Err(refused) => {
                figures.enrolments.add(refused.became(), 1);
                Err(refused.status())
            }
        }
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::Issued>, Status> {
        let result = EnrolmentService::enrol(self, request).await;
        self.told(Became::Enrolled, result)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::Issued>, Status> {
        let result = EnrolmentService::renew(self, request).await;
        self.told(Became::Renewed, result)
    }
}

/// What an agent without a certificate asks for.
struct Wish {
    name: AgentName,
    token_id: TokenId,
    key: ProvenKey,
    key_sha256: String,
    asked: v1::EnrolRequest,
}

/// Whether who asks is still there.
#[derive(Debug, Clone, Default)]
struct Asker(Arc<AtomicBool>);

/// Says so when it is not.
struct TellsEnd(Asker);

impl Drop for TellsEnd {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

impl Asker {
    /// Opens the agents' records for a change, unless who asks has gone while others had them.
    fn edit(&self, shared: &Shared) -> Result<AgentFile, Refused> {
        let agents = AgentFile::edit(&shared.data_dir)?;
        if self.0.load(Ordering::Acquire) {
            tracing::debug!("who asked for a certificate has gone, and none is issued");
            return Err(Refused::Failed);
        }
        Ok(agents)
    }
}

fn enrol(
    shared: &Shared,
    certificate: &Certificate,
    asker: &Asker,
    wish: Wish,
    entry: Entry,
) -> Result<v1::Issued, Refused> {
    // Open until the end: enrolments and revocations come one after the other.
    let mut agents = asker.edit(shared)?;
    let known = agents.record(&wish.name).cloned();
    if known.as_ref().is_some_and(|record| record.revoked_us.is_some()) {
        return Err(Refused::Revoked);
    }
    // Before a use is taken for nothing.
    agents.check_room(&wish.name)?;
    let known = known.map(|mut record| {
        if shared.credentials.has_used(&record.sha256) {
            record.note_seen();
        }
        record
    });
    let is_due = known.as_ref().is_some_and(|record| record.is_answer_due(&wish.token_id, &wish.key_sha256));
    let now = shared.clock.wall();
    let claim = Claim { agent: wish.name.agent, key_sha256: wish.key_sha256.clone() };
    let tokens = TokenFile::edit(&shared.data_dir)?;
    let is_repeated = match tokens.take_use(&wish.token_id, &claim, is_due, now)? {
        Use::None => return Err(NotAccepted.into()),
        Use::Taken => false,
        Use::TakenBefore => true,
    };
    let issued = certificate.authority().issue(&wish.name, &wish.key)?;
    let mut record = wish.record(known, is_due, now);
    record.enrolled(&issued, &wish.key_sha256, now);
    let (name, token_id) = (&wish.name, &wish.token_id);
    tracing::info!(team = %name.team, agent = %name.agent, name = record.name, %token_id, is_repeated, "agent enrolled");
    // A new identity that nobody would know where from must not be.
    if let Some(audit) = shared.credentials.audit() {
        let entry = entry.with("name", record.name.as_str()).with("serial", record.serial.as_str());
        let entry = if is_repeated { entry.with("repeated", 1_u64) } else { entry };
        audit.record_durably(&entry).map_err(|error| failed(&error))?;
    }
    agents.enrolled(record)?;
    shared.credentials.know_agents(&agents);
    if let Err(error) = TokenFile::edit(&shared.data_dir).and_then(|tokens| tokens.settle(token_id, &claim)) {
        tracing::warn!(%error, "the claim of an enrolment stays with its token");
    }
    Ok(message(name, issued, certificate.is_of_authority()))
}

fn renew(
    shared: &Shared,
    certificate: &Certificate,
    agents: &mut AgentFile,
    name: &AgentName,
    shown: &PeerCertificate,
    key: &ProvenKey,
    entry: &Entry,
) -> Result<v1::Issued, Refused> {
    // As the file has it now: the collector may not have seen yet that it was revoked, or was busy with another renewal.
    let record = agents.record(name).filter(|record| record.revoked_us.is_none()).ok_or(NotAccepted)?;
    let now = shared.clock.wall();
    let standing = record.standing(shown, now);
    let is_seen = record.seen || shared.credentials.has_used(&record.sha256);
    if standing == Standing::Other || (standing == Standing::Previous && is_seen) {
        return Err(Refused::Replaced(CertificateRefused::Replaced));
    }
    let issued = certificate.authority().issue(name, key)?;
    agents.change(name, |record| {
        record.renewed(standing, &issued, &key.sha256(), now);
        true
    })?;
    shared.credentials.know_agents(agents);
    if let Some(audit) = shared.credentials.audit() {
        audit.record(&entry.clone().with("serial", issued.serial.as_str()));
    }
    tracing::info!(team = %name.team, agent = %name.agent, "agent renewed its certificate");
    Ok(message(name, issued, certificate.is_of_authority()))
}

impl Wish {
    /// The agent's record but for its new certificate, with those that it has had. One whose answer was lost may have been
    /// given another name meanwhile, and keeps it.
    fn record(&self, known: Option<AgentRecord>, is_due: bool, now: WallTime) -> AgentRecord {
        let (name, asked) = (&self.name, &self.asked);
        let called =
            [&asked.name, &asked.host].into_iter().map(|text| plain(text)).find(|text| !text.is_empty());
        let called = called.unwrap_or_else(|| name.agent.to_string());
        let mut record = known.unwrap_or_else(|| AgentRecord::without_certificate(name, &self.token_id));
        if !is_due {
            record.name = called;
        }
        record.host = plain(&asked.host);
        record.user = plain(&asked.user);
        record.os = plain(&asked.os);
        record.agent_version = plain(&asked.agent_version);
        record.enrolled_us = now.0;
        record.token_id = self.token_id.clone();
        record
    }
}

fn message(name: &AgentName, issued: Issued, collector_is_of_authority: bool) -> v1::Issued {
    let der = |certificates: Vec<rustls_pki_types::CertificateDer<'_>>| {
        certificates.iter().map(|certificate| certificate.to_vec()).collect()
    };
    v1::Issued {
        certificate_chain_der: der(issued.chain),
        authorities_der: der(issued.authorities),
        not_before_us: issued.not_before.0,
        not_after_us: issued.not_after.0,
        team: name.team.as_str().to_owned(),
        collector_is_of_authority,
    }
}

fn peer_of<T>(request: &Request<T>) -> Result<SocketAddr, Refused> {
    let peer = request.extensions().get::<Peer>().copied();
    peer.map(|Peer(peer)| peer).ok_or(Refused::Failed)
}

/// Counts one of this key.
fn is_within<K: Clone + Eq + std::hash::Hash>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> bool {
    if limiter.len() > KEYS_KEPT {
        limiter.retain_recent();
    }
    limiter.check_key(key).is_ok()
}

impl Refused {
    fn became(&self) -> Became {
        match self {
            Refused::NotAccepted(_) | Refused::Revoked | Refused::Replaced(_) => Became::Refused,
            Refused::NoTls | Refused::Invalid(_) => Became::Invalid,
            Refused::Limited => Became::Limited,
            Refused::Failed => Became::Failed,
        }
    }

    fn status(&self) -> Status {
        let words = self.to_string();
        match self {
            Refused::NotAccepted(_) => Status::unauthenticated(words),
            Refused::NoTls => Status::failed_precondition(words),
            Refused::Invalid(_) => Status::invalid_argument(words),
            Refused::Revoked | Refused::Replaced(_) => Status::permission_denied(words),
            Refused::Limited => {
                let mut status = Status::resource_exhausted(words);
                status.metadata_mut().insert("retry-after", RETRY_AFTER_SECONDS.into());
                status
            }
            Refused::Failed => Status::unavailable(words),
        }
    }
}

impl From<CertificateRefused> for Refused {
    fn from(refused: CertificateRefused) -> Self {
        match refused {
            CertificateRefused::NotAccepted(refused) => refused.into(),
            CertificateRefused::Replaced => Refused::Replaced(refused),
        }
    }
}

impl From<AgentFileError> for Refused {
    fn from(error: AgentFileError) -> Self {
        match error {
            AgentFileError::Revoked => Refused::Revoked,
            error => failed(&error),
        }
    }
}

impl From<TokenFileError> for Refused {
    fn from(error: TokenFileError) -> Self {
        failed(&error)
    }
}

impl From<AuthorityError> for Refused {
    fn from(error: AuthorityError) -> Self {
        failed(&error)
    }
}

fn failed(error: &dyn std::error::Error) -> Refused {
    tracing::error!(%error, "no certificate can be issued");
    Refused::Failed
}
