//! Which agents have a stream now, and what happens when one comes twice (reliability.md D5).
//!
//! ```text
//! free ── claim ──> live ── ends ──> free
//!                    │
//!                    ├─ claim, same process: the old stream is told to end, the new one is live
//!                    └─ claim, another process: the old stream is probed
//!                          ├─ it answers: the newcomer is a clone and is refused
//!                          └─ silence of 3 s: the old stream is dead and is told to end, the new one is live
//! ```
//!
//! A stream that was told to end appends nothing more, even if it has not noticed yet: it looks at its claim first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster::ids::{Instance, StreamKey};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a live agent has to answer a probe.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Commands that wait for a session: a few newcomers at once. More find no room and treat the session as silent.
const COMMANDS: usize = 8;
/// Streams whose damage is remembered. More are forgotten, which only gives a batch another try.
const DAMAGED_MAX: usize = 1_024;
/// A newcomer that loses the race so often gives up; it may come back.
const ATTEMPTS: usize = 8;

/// The live streams. Bounded by the bound on streams.
#[derive(Debug, Default)]
pub struct Registry {
    live: Mutex<HashMap<StreamKey, Live>>,
    /// Batches that came damaged once, by their last number.
    damaged: Mutex<HashMap<StreamKey, u64>>,
}

#[derive(Debug)]
struct Live {
    instance: Instance,
    commands: mpsc::Sender<Command>,
    is_ended: Arc<AtomicBool>,
}

/// What a session is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Ask the agent whether it is there, and tell when it answers.
    Probe(oneshot::Sender<()>),
    /// The same agent has another stream: end.
    Replace,
}

/// A session's right to append under its key; given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    registry: Arc<Registry>,
    key: StreamKey,
    is_ended: Arc<AtomicBool>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// Another live process uses this agent's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cloned;

enum Found {
    Free(Claim),
    SameProcess(mpsc::Sender<Command>),
    OtherProcess(mpsc::Sender<Command>, Arc<AtomicBool>),
}

impl Registry {
    /// No stream is live.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Claims a key for a stream of this process.
    pub(super) async fn claim(
        self: &Arc<Self>,
        key: &StreamKey,
        instance: Instance,
    ) -> Result<Claim, Cloned> {
        for _ in 0..ATTEMPTS {
            match self.look(key, instance) {
                Found::Free(claim) => return Ok(claim),
                Found::SameProcess(commands) => {
                    self.end(key, &commands);
                }
                Found::OtherProcess(commands, is_ended) => {
                    if answers_probe(&commands).await && !is_ended.load(Ordering::Acquire) {
                        return Err(Cloned);
                    }
                    self.end(key, &commands);
                }
            }
        }
        Err(Cloned)
    }

    /// Remembers that this batch came damaged; whether it did before.
    pub(super) fn is_second_damage(&self, key: &StreamKey, last_seq: u64) -> bool {
        let mut damaged = self.damaged.lock();
        if damaged.len() >= DAMAGED_MAX {
            damaged.clear();
        }
        damaged.insert(key.clone(), last_seq) == Some(last_seq)
    }

    fn look(self: &Arc<Self>, key: &StreamKey, instance: Instance) -> Found {
        let mut live = self.live.lock();
        if let Some(other) = live.get(key) {
            let commands = other.commands.clone();
            return if other.instance == instance {
                Found::SameProcess(commands)
            } else {
                Found::OtherProcess(commands, other.is_ended.clone())
            };
        }
        let (sender, commands) = mpsc::channel(COMMANDS);
        let is_ended = Arc::new(AtomicBool::new(false));
        live.insert(key.clone(), Live { instance, commands: sender, is_ended: is_ended.clone() });
        Found::Free(Claim { registry: self.clone(), key: key.clone(), is_ended, commands })
    }

    /// Ends the stream that has these commands, if it still is the key's.
    fn end(&self, key: &StreamKey, commands: &mpsc::Sender<Command>) {
        let mut live = self.live.lock();
        if live.get(key).is_some_and(|other| other.commands.same_channel(commands))
            && let Some(other) = live.remove(key)
        {
            other.is_ended.store(true, Ordering::Release);
            // Without room it still sees at its next batch that its claim has ended.
            let _ = other.commands.try_send(Command::Replace);
        }
    }
}

async fn answers_probe(commands: &mpsc::Sender<Command>) -> bool {
    let (answer, answered) = oneshot::channel();
    if commands.try_send(Command::Probe(answer)).is_err() {
        return false;
    }
    matches!(timeout(PROBE_TIMEOUT, answered).await, Ok(Ok(())))
}

impl Claim {
    /// Whether the key is still this stream's.
    pub(super) fn is_current(&self) -> bool {
        !self.is_ended.load(Ordering::Acquire)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut live = self.registry.live.lock();
        if live.get(&self.key).is_some_and(|other| Arc::ptr_eq(&other.is_ended, &self.is_ended)) {
            live.remove(&self.key);
        }
        self.is_ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster::ids::{AgentId, Epoch, Team};

    fn key() -> StreamKey {
        let epoch = Epoch::try_from(7).expect("not 0");
        StreamKey { team: Team::default_team(), agent: AgentId::from_bytes([1; 16]), epoch }
    }

    #[tokio::test]
    async fn a_reconnect_of_the_same_process_ends_the_old_stream_at_once() {
        let registry = Registry::new();
        let mut old = registry.claim(&key(), Instance(1)).await.expect("free");
        let new = registry.claim(&key(), Instance(1)).await.expect("replaces");
        assert!(!old.is_current() && new.is_current());
        assert!(matches!(old.commands.recv().await, Some(Command::Replace)));
        drop(old);
        assert!(new.is_current(), "the old claim takes nothing from the new one");
        assert_eq!(registry.live.lock().len(), 1);
        drop(new);
        assert!(registry.live.lock().is_empty());
    }

    #[tokio::test]
    async fn a_clone_is_refused_while_the_first_answers() {
        let registry = Registry::new();
        let mut first = registry.claim(&key(), Instance(1)).await.expect("free");
        let newcomer = tokio::spawn({
            let registry = registry.clone();
            async move { registry.claim(&key(), Instance(2)).await }
        });
        let Some(Command::Probe(answer)) = first.commands.recv().await else { panic!("no probe") };
        answer.send(()).expect("waits");
        assert_eq!(newcomer.await.expect("ran").err(), Some(Cloned));
        assert!(first.is_current());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_does_not_answer_gives_way() {
        let registry = Registry::new();
        let first = registry.claim(&key(), Instance(1)).await.expect("free");
        let second = registry.claim(&key(), Instance(2)).await.expect("the first is silent");
        assert!(!first.is_current() && second.is_current());
    }
}
