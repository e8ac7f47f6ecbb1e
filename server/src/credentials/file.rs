//! The token file: `{"version": 1, "tokens": [{id, team or operator, role, sha256, created_us, ...}]}`, readable by its
//! owner alone. [`crate::record_file`] says how it is changed.

use std::path::Path;

use muster::clock::WallTime;
use muster::credential::{Token, TokenHash, TokenId};
use muster::ids::Team;
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::record_file::{self, Document, Edit, RecordFileError};

/// Most tokens, revoked ones included: one for each of 10,000 developers, and their replacements.
pub const TOKENS_MAX: usize = 50_000;
/// Most bytes of a token's name.
pub const TOKEN_NAME_BYTES_MAX: usize = 128;
/// Enrolment tokens that can be used no more leave the file so long after their end: until then `token list` shows them.
const ENDED_KEPT_US: u64 = 30 * 24 * 3_600 * 1_000_000;
const VERSION: u32 = 1;

/// One token as the collector keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its id. Not secret.
    pub id: TokenId,
    /// Who shows it speaks for this team. `None`: it is an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Team>,
    /// Who shows it reads everything and speaks for nobody. Said in the file, so that a record whose team is missing is
    /// a broken one and not an operator's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// What of a team's rights it has; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Set: it is for enrolling, and for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol: Option<Enrol>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of its text.
    pub sha256: TokenHash,
    /// When it was made, in microseconds since the epoch.
    pub created_us: u64,
    /// When it ends by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_us: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_us: Option<u64>,
}

/// A part of a team's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends and reads nothing.
    Agent,
}

/// What is left of an enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// How many agents it still takes.
    pub uses_left: u32,
}

/// What a new token is to be, besides its text.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub scope: Scope,
    /// What people call it.
    pub name: Option<String>,
    /// When it ends by itself.
    pub expires: Option<WallTime>,
    /// How many agents it enrols; of no meaning for another scope.
    pub uses: u32,
}

/// The file, open for a change: nobody else can change it until this is dropped.
#[derive(Debug)]
pub struct TokenFile(Edit<Tokens>);

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read or written, or is not valid.
    #[error(transparent)]
    File(#[from] RecordFileError),
    /// There are [`TOKENS_MAX`] tokens.
    #[error("there are {TOKENS_MAX} tokens: remove revoked ones from tokens.json first")]
    Full,
    /// No token has this id.
    #[error("no token has the id {0}; `muster token list` shows them")]
    NoSuchToken(String),
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    version: u32,
    pub(super) tokens: Vec<TokenRecord>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { version: VERSION, tokens: Vec::new() }
    }
}

impl Document for Tokens {
    const PATH: &'static str = "tokens.json";
    const LOCK: &'static str = "tokens.lock";
    const WHAT: &'static str = "token file";
    /// What [`TOKENS_MAX`] tokens need at most.
    const BYTES_MAX: u64 = 32 << 20;

    fn problem(&self) -> Option<String> {
        if self.version != VERSION {
            return Some(format!("version {} is not {VERSION}", self.version));
        }
        self.tokens.iter().find_map(|record| {
            if record.team.is_some() == record.operator {
                return Some(format!("token {} needs either a team or operator", record.id));
            }
            let is_narrowed = record.role.is_some() || record.enrol.is_some();
            let is_both = record.role.is_some() && record.enrol.is_some();
            ((record.operator && is_narrowed) || is_both)
                .then(|| format!("token {} has more than one role", record.id))
        })
    }
}

impl TokenRecord {
    /// What it is for.
    pub fn scope(&self) -> Scope {
        match (&self.team, self.role, self.enrol) {
            // A record without a team says that it is an operator's: the file is refused otherwise.
            (None, ..) => Scope::Operator,
            (Some(team), None, None) => Scope::Team(team.clone()),
            (Some(team), Some(Role::Agent), _) => Scope::Agent(team.clone()),
            (Some(team), None, Some(_)) => Scope::Enrolment(team.clone()),
        }
    }

    /// Whether nothing can be done with it any more.
    pub fn has_ended(&self, now: WallTime) -> bool {
        let is_used_up = self.enrol.is_some_and(|enrol| enrol.uses_left == 0);
        let has_expired = self.expires_us.is_some_and(|expires_us| expires_us <= now.0);
        self.revoked_us.is_some() || has_expired || is_used_up
    }

    fn may_be_forgotten(&self, now: WallTime) -> bool {
        let ended_us = self.expires_us.or(self.revoked_us).unwrap_or(u64::MAX);
        self.enrol.is_some() && self.has_ended(now) && ended_us.saturating_add(ENDED_KEPT_US) < now.0
    }
}

impl TokenFile {
    /// Opens it for a change, and waits while another program has it.
    pub fn edit(data_dir: &Path) -> Result<Self, TokenFileError> {
        Ok(Self(Edit::open(data_dir)?))
    }

    /// All tokens, revoked ones included, oldest first.
    pub fn list(data_dir: &Path) -> Result<Vec<TokenRecord>, TokenFileError> {
        Ok(record_file::read::<Tokens>(data_dir)?.tokens)
    }

    /// Keeps a new token that has no name and no end.
    pub fn add(self, token: &Token, scope: Scope, now: WallTime) -> Result<(), TokenFileError> {
        self.add_new(token, NewToken { scope, name: None, expires: None, uses: 1 }, now)
    }

    /// Keeps a new token. Enrolment tokens that ended long ago are forgotten at this occasion.
    pub fn add_new(mut self, token: &Token, new: NewToken, now: WallTime) -> Result<(), TokenFileError> {
        let tokens = &mut self.0.document.tokens;
        tokens.retain(|record| !record.may_be_forgotten(now));
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenFileError::Full);
        }
        let (team, role, enrol) = match new.scope {
            Scope::Operator => (None, None, None),
            Scope::Team(team) => (Some(team), None, None),
            Scope::Agent(team) => (Some(team), Some(Role::Agent), None),
            Scope::Enrolment(team) => (Some(team), None, Some(Enrol { uses_left: new.uses })),
        };
        tokens.push(TokenRecord {
            id: token.id().clone(),
            operator: team.is_none(),
            team,
            role,
            enrol,
            name: new.name,
            sha256: token.hash(),
            created_us: now.0,
            expires_us: new.expires.map(|expires| expires.0),
            revoked_us: None,
        });
        Ok(self.0.save()?)
    }

    /// Revokes a token; again is no error.
    pub fn revoke(mut self, id: &str, now: WallTime) -> Result<TokenId, TokenFileError> {
        let record = self.0.document.tokens.iter_mut().find(|record| record.id.as_str() == id);
        let record = record.ok_or_else(|| TokenFileError::NoSuchToken(id.chars().take(80).collect()))?;
        record.revoked_us.get_or_insert(now.0);
        let id = record.id.clone();
        self.0.save()?;
        Ok(id)
    }

    /// Takes one use of an enrolment token, durably: when this returns, nobody can take it again. `false`: there is none
    /// to take.
    pub(crate) fn take_use(mut self, id: &TokenId, now: WallTime) -> Result<bool, TokenFileError> {
        let record = self.0.document.tokens.iter_mut().find(|record| record.id == *id);
        let Some(record) = record.filter(|record| !record.has_ended(now)) else { return Ok(false) };
        let Some(enrol) = &mut record.enrol else { return Ok(false) };
        enrol.uses_left -= 1;
        self.0.save()?;
        Ok(true)
    }
}
