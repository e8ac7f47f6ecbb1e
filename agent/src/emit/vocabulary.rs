//! The kinds and their keys: one table for checks, errors and help.

use std::fmt;

use super::StatementError;
use super::value::Takes;

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A worker's run that ended, or began.
    Run,
    /// A session's state.
    Session,
    /// Issues that a worker reported, or that went away.
    Finding,
    /// Tokens and cost.
    Usage,
    /// A gate let a push or a commit through, or stopped it.
    Push,
    /// Time saved.
    Value,
    /// Anything else with a name.
    Log,
}

/// A key of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub takes: Takes,
    /// What it says, for help.
    pub about: &'static str,
}

/// When it was: of every kind.
pub const TIME: &str = "time";
/// What a log's attributes begin with on a command line.
pub const ATTRIBUTE_PREFIX: &str = "attr.";
/// A log's attributes as a JSON object.
pub const ATTRIBUTES: &str = "attributes";
/// Statuses of a run.
pub const RUN_STATUSES: &[&str] = &["success", "failure", "error", "skipped"];

/// Every kind with its name, what it is, and its keys. The first key names a statement's subject.
const KINDS: &[(Kind, &str, &str, &[Key])] = &[
    (Kind::Run, "run", "a worker's run that ended (or began, with event=started)", RUN),
    (Kind::Session, "session", "a session's state", SESSION),
    (Kind::Finding, "finding", "issues of one severity that a worker reported", FINDING),
    (Kind::Usage, "usage", "tokens and cost of a piece of work", USAGE),
    (Kind::Push, "push", "a gate let a push or a commit through, or stopped it", PUSH),
    (Kind::Value, "value", "time that was saved", VALUE),
    (Kind::Log, "log", "anything else that has a name, with attributes", LOG),
];

const fn key(name: &'static str, takes: Takes, about: &'static str) -> Key {
    Key { name, takes, about }
}

const SESSION_KEY: Key = key("session", Takes::Word, "the session that it belongs to");
const ITERATION_KEY: Key = key("iteration", Takes::Small, "the iteration that it belongs to");
const MODEL_KEY: Key = key("model", Takes::Word, "the model that worked");
const TIME_KEY: Key = key(TIME, Takes::Time, "when it was [now]");

const RUN: &[Key] = &[
    key("worker", Takes::Word, "what ran"),
    key("status", Takes::OneOf(RUN_STATUSES), "how it ended"),
    key("event", Takes::OneOf(&["finished", "started"]), "whether it ended or began [finished]"),
    key("duration", Takes::Duration, "how long it took"),
    key("queued", Takes::Duration, "how long it waited before"),
    key("run_id", Takes::Id, "the tool's own id of the run; only its hash leaves"),
    SESSION_KEY,
    ITERATION_KEY,
    MODEL_KEY,
    key("cpu", Takes::Duration, "processor time that it used"),
    key("memory_bytes", Takes::Bytes, "most memory that it used"),
    key("io_bytes", Takes::Bytes, "bytes that it read from and wrote to disk"),
    key("processes", Takes::Small, "most processes that it had at once"),
    TIME_KEY,
];

const SESSION: &[Key] = &[
    key("session", Takes::Word, "the session's name"),
    key("status", Takes::OneOf(&["running", "paused", "stopped"]), "what it does now"),
    ITERATION_KEY,
    key("iteration_max", Takes::Count, "how many iterations it may have"),
    key("started", Takes::Time, "when it began"),
    key("ended", Takes::Time, "when it ended [the time, when it is stopped]"),
    key("result", Takes::Word, "how it ended, in a word"),
    key("provider", Takes::Word, "who runs the model"),
    key("phase", Takes::Word, "what it is at, in a word"),
    key("exit_code", Takes::Signed, "its process's exit code"),
    TIME_KEY,
];

const FINDING: &[Key] = &[
    key("worker", Takes::Word, "who found it"),
    key("severity", Takes::OneOf(&["critical", "high", "medium", "low"]), "how bad it is"),
    key("change", Takes::OneOf(&["found", "fixed", "dismissed"]), "what became of it [found]"),
    key("count", Takes::Small, "how many [1]"),
    key("native_severity", Takes::Word, "the tool's own word for the severity"),
    key("file", Takes::File, "where; leaves only when files are opted in, relative to the project"),
    TIME_KEY,
];

const USAGE: &[Key] = &[
    MODEL_KEY,
    SESSION_KEY,
    key("worker", Takes::Word, "who used it"),
    ITERATION_KEY,
    key("input_tokens", Takes::Count, "tokens in, without those of the cache"),
    key("output_tokens", Takes::Count, "tokens out"),
    key("cache_read_tokens", Takes::Count, "tokens read from the cache"),
    key("cache_write_tokens", Takes::Count, "tokens written to the cache"),
    key("reasoning_tokens", Takes::Count, "tokens of reasoning, a part of those out"),
    key("cost_usd", Takes::Usd, "what the tool says it cost"),
    key("computed_cost_usd", Takes::Usd, "what the tokens cost by a price list"),
    TIME_KEY,
];

const PUSH: &[Key] = &[
    key("gate", Takes::OneOf(&["pre_push", "pre_commit"]), "which gate"),
    key("allowed", Takes::Truth, "whether it went through"),
    key("prevented_bad_push", Takes::Truth, "whether a push that would have failed was stopped"),
    key("reason", Takes::Word, "why, in a word"),
    TIME_KEY,
];

const VALUE: &[Key] = &[
    key("saved", Takes::Duration, "how much time was saved"),
    key("of", Takes::OneOf(&["developer", "build"]), "whose time [developer]"),
    key("modelled", Takes::Truth, "by a model, not measured [false]"),
    TIME_KEY,
];

const LOG: &[Key] = &[
    key("name", Takes::Word, "what happened, like deploy.finished"),
    key("severity", Takes::OneOf(&["debug", "info", "warn", "error"]), "how bad it is [info]"),
    SESSION_KEY,
    key("message", Takes::Text, "in words; leaves only when messages are opted in"),
    TIME_KEY,
];

impl Kind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, ..)| *kind)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Result<Self, StatementError> {
        let found = KINDS.iter().find(|(_, known, ..)| *known == name);
        found.map(|(kind, ..)| *kind).ok_or_else(|| StatementError::UnknownKind {
            given: short(name),
            nearest: nearest(name, KINDS.iter().map(|(_, known, ..)| *known)),
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it is, in words.
    pub fn about(self) -> &'static str {
        self.row().2
    }

    /// Its keys.
    pub fn keys(self) -> &'static [Key] {
        self.row().3
    }

    /// All names, for an error.
    pub fn names() -> String {
        KINDS.iter().map(|(_, name, ..)| *name).collect::<Vec<_>>().join(", ")
    }

    /// All names of its keys, for an error.
    pub fn key_names(self) -> String {
        let mut names: Vec<_> = self.keys().iter().map(|key| key.name).collect();
        names.extend((self == Kind::Log).then_some("attr.NAME"));
        names.join(", ")
    }

    /// The key of this name.
    pub fn key(self, name: &str) -> Result<&'static Key, StatementError> {
        self.keys().iter().find(|key| key.name == name).ok_or_else(|| StatementError::UnknownKey {
            kind: self,
            given: short(name),
            nearest: nearest(name, self.keys().iter().map(|key| key.name)),
        })
    }

    /// What is missing among the keys that are there, with an example.
    pub(crate) fn missing(self, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
        let needs: &[(&[&str], &'static str)] = match self {
            Kind::Run => &[(&["worker"], "worker=NAME, like worker=lint")],
            Kind::Session => {
                &[(&["session"], "session=NAME"), (&["status"], "status=running, paused or stopped")]
            }
            Kind::Finding => &[
                (&["worker"], "worker=NAME, like worker=lint"),
                (&["severity"], "severity=critical, high, medium or low"),
            ],
            Kind::Usage => &[(
                &[
                    "input_tokens",
                    "output_tokens",
                    "cache_read_tokens",
                    "cache_write_tokens",
                    "reasoning_tokens",
                    "cost_usd",
                    "computed_cost_usd",
                ],
                "tokens or a cost, like input_tokens=1200 or cost_usd=0.04",
            )],
            Kind::Push => &[(&["allowed"], "allowed=true or allowed=false")],
            Kind::Value => &[(&["saved"], "saved=DURATION, like saved=15m")],
            Kind::Log => &[(&["name"], "name=NAME, like name=deploy.finished")],
        };
        let missing = needs.iter().find(|(any_of, _)| !any_of.iter().any(|key| has(key)));
        missing.map(|(_, what)| *what)
    }

    fn row(self) -> &'static (Kind, &'static str, &'static str, &'static [Key]) {
        // In the order of the variants; a test holds it to that.
        &KINDS[self as usize]
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A spelling this much alike is worth naming (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;

fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let given = short(given);
    let scored = known.map(|candidate| (strsim::jaro_winkler(&given, candidate), candidate));
    let best = scored.filter(|(score, _)| *score >= LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name.to_owned())
}

/// What of a wrong name is repeated.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
