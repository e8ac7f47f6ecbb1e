//! The agent's side of the socket.

use std::io;
use std::sync::Arc;

use metrics::Applied;
use muster::ids::AgentId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::intake::Intake;
use super::protocol::{
    ANSWER_BYTES_MAX, Answer, HEAD_BYTES, REQUEST_BYTES_MAX, Reason, Refusal, Request, frame, length,
};
use super::{SPEAK_TIMEOUT, socket};
use crate::endpoint::Page;
use crate::runtime::local as local_page;
use crate::sources::ProjectContext;
use crate::uplink::stopped;

/// Commands that are served at once: each is done within milliseconds.
const CONNECTIONS_MAX: usize = 32;

/// Where commands come in, while the agent runs.
#[derive(Debug)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    intake: Intake,
    page: Arc<Page>,
    agent_id: AgentId,
    user: rustix::process::Uid,
}

impl Door {
    /// The projects that are watched now.
    pub fn watch(&self, projects: Vec<ProjectContext>) {
        self.0.intake.watch(projects);
    }
}

/// Listens until `shutdown` turns true. The agent works without it: that there is no socket is for the caller to say.
pub async fn listen(
    intake: Intake,
    page: Arc<Page>,
    agent_id: AgentId,
    tasks: &mut JoinSet<()>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<Door> {
    let state_dir = page.spool.lock().await.state_dir().to_owned();
    let listener = UnixListener::from_std(socket::bind(&state_dir)?)?;
    let inner = Arc::new(Inner { intake, page, agent_id, user: rustix::process::geteuid() });
    let door = Door(inner.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = accept(listener, inner) => {}
            () = stopped(&mut shutdown) => {}
        }
        // The agent still holds the lock, so this is no other one's.
        socket::remove(&state_dir);
    });
    Ok(door)
}

async fn accept(listener: UnixListener, inner: Arc<Inner>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let inner = inner.clone();
                tokio::spawn(async move {
                    inner.serve(stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors: they come back when others end.
                tracing::warn!(%error, "cannot accept a local command");
                tokio::time::sleep(SPEAK_TIMEOUT).await;
            }
        }
    }
}

impl Inner {
    async fn serve(&self, mut stream: UnixStream) {
        let peer = stream.peer_cred().map(|peer| peer.uid());
        if peer.ok() != Some(self.user.as_raw()) {
            self.counters().stranger();
            tracing::warn!("a local command of another user was turned away");
            return;
        }
        loop {
            let (outcome, goes_on) = match timeout(SPEAK_TIMEOUT, read(&mut stream)).await {
                Ok(Ok(Some(request))) => (self.take(request).await, true),
                Ok(Err(Some(refusal))) => (Err(refusal), false),
                // It said goodbye, broke off, or says nothing.
                Ok(Ok(None) | Err(None)) | Err(_) => return,
            };
            self.counters().answered(&outcome);
            let answer = frame(&Answer::from(outcome), ANSWER_BYTES_MAX).unwrap_or_default();
            let sent = timeout(SPEAK_TIMEOUT, stream.write_all(&answer)).await;
            if !goes_on || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn take(&self, request: Request) -> Result<u64, Refusal> {
        let facts = self.intake.facts(&request, self.page.clock.wall())?;
        let mut spool = self.page.spool.lock().await;
        let taken = Intake::spool(&mut spool, &request.id, facts).await?;
        if let Some(batch) = &taken.batch {
            let at = Applied { wall: self.page.clock.wall(), monotonic: self.page.clock.monotonic() };
            // Under the spool's lock: what stores both takes it as well, so neither is ahead of the other.
            local_page::apply(&mut self.page.aggregate.lock(), self.agent_id, batch, at);
        }
        Ok(taken.events)
    }

    fn counters(&self) -> &super::LocalCounters {
        &self.page.local
    }
}

/// The next request; `None` at the end. An error that the other side can be told is `Some`.
async fn read(stream: &mut UnixStream) -> Result<Option<Request>, Option<Refusal>> {
    let mut head = [0; HEAD_BYTES];
    match stream.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(_) => return Err(None),
        Ok(_) => {}
    }
    let length = length(head, REQUEST_BYTES_MAX).map_err(Some)?;
    let mut body = Vec::new();
    // Grows with what comes, not with what is announced.
    let read = stream.take(length as u64).read_to_end(&mut body).await.map_err(|_| None)?;
    if read < length {
        return Err(None);
    }
    let request = serde_json::from_slice(&body);
    request.map(Some).map_err(|error| Some(Refusal::new(Reason::Invalid, format!("not a request: {error}"))))
}
