//! The token file: `{"version": 1, "tokens": [{id, team or operator, role, sha256, created_us, ...}]}`, readable by its
//! owner alone. [`crate::record_file`] says how it is changed.

use std::path::Path;

use muster::clock::WallTime;
use muster::credential::{Token, TokenHash, TokenId};
use muster::ids::{AgentId, Team};
use serde::{Deserialize, Serialize};

use super::Scope;
use crate::record_file::{self, Document, Edit, RecordFileError};

/// Most tokens, revoked ones included: one for each of 10,000 developers, and their replacements.
pub const TOKENS_MAX: usize = 50_000;
/// Most bytes of a token's name.
pub const TOKEN_NAME_BYTES_MAX: usize = 128;
/// Enrolment tokens that can be used no more leave the file so long after their end: until then `token list` shows them.
const ENDED_KEPT_US: u64 = 30 * 24 * 3_600 * 1_000_000;
/// Claims that a token keeps; the oldest goes, and with it one use: so many crashes in a row need not be borne.
const CLAIMS_MAX: usize = 16;
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
    /// Uses that were taken and of which no agent's record came yet: a crash, or a full disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
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

/// Who a use of an enrolment token was taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The agent.
    pub agent: AgentId,
    /// SHA-256 of its public key in hexadecimal digits.
    pub key_sha256: String,
}

/// What became of the wish to take a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It was taken now.
    Taken,
    /// It was taken before, for the same agent and key.
    TakenBefore,
    /// There is none to take.
    None,
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
        is_used_up || !self.may_be_shown(now)
    }

    /// Whether it was neither revoked nor has it ended by itself.
    fn may_be_shown(&self, now: WallTime) -> bool {
        let has_expired = self.expires_us.is_some_and(|expires_us| expires_us <= now.0);
        self.revoked_us.is_none() && !has_expired
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
            claims: Vec::new(),
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

    /// Takes one use of an enrolment token for this agent and key, durably: when this returns, nobody can take it again. With
    /// `is_repeated`, or when the same was taken before and its claim is not settled, none is taken.
    pub(crate) fn take_use(
        mut self,
        id: &TokenId,
        claim: &Claim,
        is_repeated: bool,
        now: WallTime,
    ) -> Result<Use, TokenFileError> {
        let Some(record) = self.0.document.tokens.iter_mut().find(|record| record.id == *id) else {
            return Ok(Use::None);
        };
        let Some(enrol) = record.enrol.filter(|_| record.may_be_shown(now)) else { return Ok(Use::None) };
        if is_repeated || record.claims.contains(claim) {
            return Ok(Use::TakenBefore);
        }
        let Some(uses_left) = enrol.uses_left.checked_sub(1) else { return Ok(Use::None) };
        record.enrol = Some(Enrol { uses_left });
        if record.claims.len() >= CLAIMS_MAX {
            record.claims.remove(0);
        }
        record.claims.push(claim.clone());
        self.0.save()?;
        Ok(Use::Taken)
    }

    /// The agent's record says it all from now on.
    pub(crate) fn settle(mut self, id: &TokenId, claim: &Claim) -> Result<(), TokenFileError> {
        let record = self.0.document.tokens.iter_mut().find(|record| record.id == *id);
        let Some(record) = record.filter(|record| record.claims.contains(claim)) else { return Ok(()) };
        record.claims.retain(|kept| kept != claim);
        Ok(self.0.save()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster::credential::TokenKind;

    fn take(dir: &Path, token: &Token, n: u8, now: u64) -> Use {
        let claim = claim(n);
        let file = TokenFile::edit(dir).expect("free");
        file.take_use(token.id(), &claim, false, WallTime(now)).expect("readable")
    }

    fn claim(n: u8) -> Claim {
        Claim { agent: AgentId::from_bytes([n; 16]), key_sha256: format!("key {n}") }
    }

    #[test]
    fn a_use_that_was_taken_is_no_other_use_for_the_same_agent_and_key_until_it_is_settled() {
        let dir = tempfile::tempdir().expect("folder");
        let token = Token::of_kind(TokenKind::Enrolment, [5; 44]);
        let scope = Scope::Enrolment("red".parse().expect("team"));
        let new = NewToken { scope, name: None, expires: Some(WallTime(10)), uses: 2 };
        TokenFile::edit(dir.path()).expect("free").add_new(&token, new, WallTime(1)).expect("kept");
        let take = |n, now| take(dir.path(), &token, n, now);
        assert_eq!([take(1, 2), take(1, 2), take(2, 2)], [Use::Taken, Use::TakenBefore, Use::Taken]);
        assert_eq!([take(1, 2), take(2, 2), take(3, 2)], [Use::TakenBefore, Use::TakenBefore, Use::None]);
        assert_eq!(take(1, 10), Use::None, "the token has expired");
        TokenFile::edit(dir.path()).expect("free").settle(token.id(), &claim(1)).expect("kept");
        assert_eq!([take(1, 2), take(2, 2)], [Use::None, Use::TakenBefore]);
        TokenFile::edit(dir.path()).expect("free").revoke(token.id().as_str(), WallTime(3)).expect("known");
        assert_eq!(take(2, 2), Use::None);
    }
}
