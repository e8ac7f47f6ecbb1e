//! The command's side: to the running agent, else into the spool, until one of them took it.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use tokio::sync::watch;

use super::intake::Intake;
use super::protocol::{ANSWER_BYTES_MAX, Answer, REQUEST_BYTES_MAX, Reason, Refusal, Request, frame};
use super::{DELIVERY_TIMEOUT, SPEAK_TIMEOUT};
use crate::config::LocalConfig;
use crate::identity::IdentityError;
use crate::project::Machine;
use crate::spool::{Spool, SpoolError};

/// First and longest pause between two tries: another command has the spool for some milliseconds.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Who took the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The running agent.
    ToAgent {
        /// How many are durable.
        events: u64,
    },
    /// Nobody was there: they are in the spool, and the next agent sends them.
    ToSpool {
        /// How many are durable.
        events: u64,
    },
}

/// Why events are not spooled.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Whoever has the spool says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The system gives no random numbers.
    #[error(transparent)]
    Random(#[from] IdentityError),
    /// The system is not what is needed.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// Somebody has the spool and does not answer.
    #[error("not spooled within {} s: {what} (state directory {state_dir})", timeout.as_secs())]
    TimedOut {
        /// How long it was tried.
        timeout: Duration,
        /// What was in the way last.
        what: String,
        /// Where.
        state_dir: String,
    },
}

/// How a command reaches the running agent.
trait Channel {
    /// Sends a framed request and waits for its answer.
    fn ask(&self, request: &[u8]) -> Result<Answer, AskError>;
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// Nobody listens.
    Absent,
    /// It does not speak as it should, or not in time; whether it took the request is not known.
    Unclear(String),
}

/// [`deliver_within`] the usual time.
pub fn deliver(config: &LocalConfig, request: &Request) -> Result<Delivered, DeliveryError> {
    deliver_within(config, request, DELIVERY_TIMEOUT)
}

/// Hands the request to the running agent, or spools it.
pub fn deliver_within(
    config: &LocalConfig,
    request: &Request,
    timeout: Duration,
) -> Result<Delivered, DeliveryError> {
    let Some(framed) = frame(request, REQUEST_BYTES_MAX) else {
        let why = format!("the events are more than the {REQUEST_BYTES_MAX} bytes of a request");
        return Err(Refusal::new(Reason::TooLarge, why).into());
    };
    let clock = Arc::new(SystemClock::new());
    let channel = SystemChannel { config, timeout: timeout.min(SPEAK_TIMEOUT) };
    let mut pause = PAUSE_FIRST;
    loop {
        let in_the_way = match channel.ask(&framed) {
            Ok(Answer { refusal: Some(refusal), .. }) => return Err(refusal.into()),
            Ok(Answer { spooled, .. }) => return Ok(Delivered::ToAgent { events: spooled }),
            Err(AskError::Unclear(what)) => what,
            Err(AskError::Absent) => match spool(config, request, clock.clone()) {
                Err(DeliveryError::Spool(error)) if error.is_locked() => {
                    "another process has the spool, and does not listen".to_owned()
                }
                outcome => return outcome,
            },
        };
        if clock.monotonic().0 + pause >= timeout {
            let state_dir = config.spool.state_dir.display().to_string();
            return Err(DeliveryError::TimedOut { timeout, what: in_the_way, state_dir });
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// An id for a request.
pub fn new_request_id() -> Result<String, DeliveryError> {
    let id = getrandom::u64().map_err(IdentityError::Random)?;
    Ok(format!("{id:016x}"))
}

/// Opens the spool, does what the agent would do, and leaves it.
fn spool(config: &LocalConfig, request: &Request, clock: Arc<dyn Clock>) -> Result<Delivered, DeliveryError> {
    let settings = watch::Sender::new(Arc::new(config.settings.clone())).subscribe();
    let intake = Intake::new(Machine::of_this_process(), settings, config.project_names.clone());
    // Checked before anything is touched.
    let facts = intake.facts(request, clock.wall())?;
    let mut spool = Spool::open_to_append(config.spool.clone(), clock)?;
    // Without drivers: it only lets one future come true.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let taken = runtime.block_on(Intake::spool(&mut spool, &request.id, facts))?;
    Ok(Delivered::ToSpool { events: taken.events })
}

struct SystemChannel<'a> {
    config: &'a LocalConfig,
    timeout: Duration,
}

#[cfg(unix)]
impl Channel for SystemChannel<'_> {
    fn ask(&self, request: &[u8]) -> Result<Answer, AskError> {
        super::socket::ask(&self.config.spool.state_dir, request, self.timeout, ANSWER_BYTES_MAX)
    }
}

/// Named pipes are not there yet.
#[cfg(not(unix))]
impl Channel for SystemChannel<'_> {
    fn ask(&self, _: &[u8]) -> Result<Answer, AskError> {
        Err(AskError::Absent)
    }
}
