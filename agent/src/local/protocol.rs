//! The bytes between a command and the agent.
//!
//! ```text
//! frame    "mus" | version u8 = 1 | length u32, little-endian | a JSON object of that length
//! ```
//!
//! A connection carries requests and answers in turn. Fields that are not known are passed over; a change that an old
//! peer would misread raises the version, and a version that is not known is answered and the connection closed.
//!
//! ```json
//! {"id":"0f3c5a7799b2d410","tool":"script","folder":"/home/dana/shop","events":[
//!   {"kind":"run","time_us":1773133200000000,"fields":{"worker":"lint","status":"success","duration":"1.2s"}}]}
//! {"spooled":1}
//! {"refusal":{"reason":"invalid","why":"run has no key \"wroker\"; did you mean worker?"}}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::facts::STEP_EVENTS_MAX;

/// Version of the frames and of what is in them.
pub const VERSION: u8 = 1;
/// Largest request: some 2,000 events of 500 bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Largest answer.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Most events of a request: one step, one record of the spool.
pub const EVENTS_MAX: usize = STEP_EVENTS_MAX;

/// Bytes before the JSON.
pub const HEAD_BYTES: usize = 8;
const MAGIC: [u8; 3] = *b"mus";

/// Events that a command states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// 64 random bits in hexadecimal: a repeat of the request has the same.
    pub id: String,
    /// Who speaks: the label `tool`.
    pub tool: String,
    /// Its version, "" when it does not say.
    #[serde(default)]
    pub tool_version: String,
    /// The project's name, where the folder's is not the right one.
    #[serde(default)]
    pub project: Option<String>,
    /// Where the command runs, absolute.
    pub folder: String,
    /// The repository's name where the folder does not tell (a checkout in CI).
    #[serde(default)]
    pub repository: String,
    /// The branch where the folder does not tell.
    #[serde(default)]
    pub branch: String,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// See [`crate::emit::Kind`].
    pub kind: String,
    /// When, in microseconds since the epoch.
    pub time_us: u64,
    /// Keys and values of the kind.
    pub fields: Map<String, Value>,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Events that are durable.
    #[serde(default)]
    pub spooled: u64,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Why a request is not spooled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{why}")]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub why: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The request is wrong, and always will be.
    Invalid,
    /// A version or frame that is not known.
    Version,
    /// Larger than a request may be.
    TooLarge,
    /// The spool is full; later there is room.
    Full,
    /// The spool takes nothing: a full disk, a failed write.
    Trouble,
    /// The collector's configuration turned this way in off.
    Off,
    /// A reason of a newer agent.
    #[serde(other)]
    Other,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(reason: Reason, why: impl ToString) -> Self {
        Self { reason, why: why.to_string() }
    }
}

impl From<Result<u64, Refusal>> for Answer {
    fn from(outcome: Result<u64, Refusal>) -> Self {
        match outcome {
            Ok(spooled) => Self { spooled, refusal: None },
            Err(refusal) => Self { spooled: 0, refusal: Some(refusal) },
        }
    }
}

/// A frame around `message`. `None` when it is larger than `bytes_max`.
pub fn frame(message: &impl Serialize, bytes_max: usize) -> Option<Vec<u8>> {
    let mut frame = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut frame, message).ok()?;
    let length = frame.len() - HEAD_BYTES;
    if length > bytes_max {
        return None;
    }
    frame[..3].copy_from_slice(&MAGIC);
    frame[3] = VERSION;
    frame[4..HEAD_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    Some(frame)
}

/// The length of the JSON behind a head that may be `bytes_max` long.
pub fn length(head: [u8; HEAD_BYTES], bytes_max: usize) -> Result<usize, Refusal> {
    let [a, b, c, version, length @ ..] = head;
    if [a, b, c] != MAGIC {
        return Err(Refusal::new(Reason::Version, "these bytes are no frame of Muster's"));
    }
    if version != VERSION {
        let why = format!(
            "version {version} of the local protocol is not known here, {VERSION} is: use the same version of both programs"
        );
        return Err(Refusal::new(Reason::Version, why));
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > bytes_max {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!("{length} bytes are more than the {bytes_max} of a message"),
        ));
    }
    Ok(length)
}
