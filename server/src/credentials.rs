//! Who may speak, and for which team.
//!
//! Tokens live in `<data_dir>/tokens.json` ([`mod@file`]), as the SHA-256 of their 256-bit secrets. `muster token` edits the
//! file while the collector runs; the collector looks at it every second and tells open streams, so that a revoked
//! token ends its streams within 5 s (reliability.md D1). A file that cannot be read any more leaves the old tokens.
//!
//! A token is a team's, which speaks for its agents and reads its data, or an operator's, which reads all teams' data and
//! the collector's own figures and is refused wherever something is sent.
//!
//! A peer is never told why its credential was refused. Refusals are limited by address and token id ([`guesses`]).

mod file;
mod guesses;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use muster::credential::{Token, TokenHash, TokenId};
use muster::ids::Team;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use file::{TOKENS_MAX, TokenFile, TokenFileError, TokenRecord};

use crate::figures::{CredentialRefusal, Figures, Reload};
use guesses::Guesses;

/// How often the token file is looked at.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The tokens that are valid now, and the rules for peers without one.
#[derive(Debug)]
pub struct Credentials {
    path: PathBuf,
    stamp: Mutex<Option<(SystemTime, u64)>>,
    tokens: ArcSwap<HashMap<TokenId, Known>>,
    anonymous_allowed: bool,
    guesses: Guesses,
    figures: Arc<Figures>,
    changed: watch::Sender<u64>,
}

/// What the collector knows of a token.
#[derive(Debug, Clone)]
struct Known {
    scope: Scope,
    hash: TokenHash,
    is_revoked: bool,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Sends for this team, and reads its data.
    Team(Team),
    /// Reads everything, sends nothing.
    Operator,
}

/// Who a peer is, by its credential alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its team.
    pub team: Team,
    /// Its token; `None` on loopback without one.
    pub token: Option<TokenId>,
}

/// The one answer to every credential that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("credential not accepted")]
pub struct NotAccepted;

impl Credentials {
    /// Reads the token file of `data_dir`; none is no tokens.
    pub fn open(
        data_dir: &Path,
        anonymous_allowed: bool,
        figures: Arc<Figures>,
    ) -> Result<Arc<Self>, TokenFileError> {
        let path = file::path(data_dir);
        let stamp = file::stamp(&path);
        let tokens = known(file::read(&path)?);
        Ok(Arc::new(Self {
            path,
            stamp: Mutex::new(stamp),
            tokens: ArcSwap::from_pointee(tokens),
            anonymous_allowed,
            guesses: Guesses::new(),
            figures,
            changed: watch::Sender::new(0),
        }))
    }

    /// Who the peer at `ip` with this `authorization` header is.
    pub fn authenticate(&self, ip: IpAddr, header: Option<&[u8]>) -> Result<Caller, NotAccepted> {
        self.authenticate_at(ip, header, self.anonymous_allowed)
    }

    /// As [`Credentials::authenticate`], at a listener with its own rule for peers without a token.
    pub fn authenticate_at(
        &self,
        ip: IpAddr,
        header: Option<&[u8]>,
        anonymous_allowed: bool,
    ) -> Result<Caller, NotAccepted> {
        let Some(header) = header else {
            return if anonymous_allowed {
                Ok(Caller { team: Team::default_team(), token: None })
            } else {
                Err(self.refused(CredentialRefusal::Missing))
            };
        };
        match self.identify(ip, header)? {
            (Scope::Team(team), token) => Ok(Caller { team, token: Some(token) }),
            (Scope::Operator, _) => Err(self.refused(CredentialRefusal::Operator)),
        }
    }

    /// What the reader of a page at `ip` with this `authorization` header may see.
    pub fn authenticate_reader(&self, ip: IpAddr, header: &[u8]) -> Result<Scope, NotAccepted> {
        self.identify(ip, header).map(|(scope, _)| scope)
    }

    fn identify(&self, ip: IpAddr, header: &[u8]) -> Result<(Scope, TokenId), NotAccepted> {
        let text = std::str::from_utf8(header).ok().and_then(strip_bearer);
        let Some(token) = text.and_then(|text| Token::parse(text).ok()) else {
            self.guesses.count(ip, None);
            return Err(self.refused(CredentialRefusal::Malformed));
        };
        if self.guesses.is_limited(ip, token.id()) {
            return Err(self.refused(CredentialRefusal::Limited));
        }
        let tokens = self.tokens.load();
        match tokens.get(token.id()) {
            Some(known) if known.hash.matches(&token) && !known.is_revoked => {
                Ok((known.scope.clone(), token.id().clone()))
            }
            Some(known) if known.is_revoked => Err(self.refuse_guess(ip, &token, CredentialRefusal::Revoked)),
            _ => Err(self.refuse_guess(ip, &token, CredentialRefusal::Unknown)),
        }
    }

    /// Whether a caller that was accepted still is.
    pub fn is_valid(&self, caller: &Caller) -> bool {
        match &caller.token {
            None => self.anonymous_allowed,
            Some(id) => {
                let tokens = self.tokens.load();
                let scope = Scope::Team(caller.team.clone());
                tokens.get(id).is_some_and(|known| !known.is_revoked && known.scope == scope)
            }
        }
    }

    /// Wakes when tokens have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks at the token file every [`POLL_INTERVAL`], for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut timer = tokio::time::interval(POLL_INTERVAL);
        loop {
            timer.tick().await;
            self.guesses.forget_old();
            self.look();
        }
    }

    fn look(&self) {
        let stamp = file::stamp(&self.path);
        if stamp == *self.stamp.lock() {
            return;
        }
        *self.stamp.lock() = stamp;
        match file::read(&self.path) {
            Ok(records) => {
                self.tokens.store(Arc::new(known(records)));
                self.changed.send_modify(|generation| *generation += 1);
                self.figures.reloads.add(Reload::TokensApplied, 1);
            }
            Err(error) => {
                self.figures.reloads.add(Reload::TokensRefused, 1);
                tracing::warn!(%error, "token file refused, the tokens read before stay in use");
            }
        }
    }

    fn refuse_guess(&self, ip: IpAddr, token: &Token, why: CredentialRefusal) -> NotAccepted {
        self.guesses.count(ip, Some(token.id()));
        self.refused(why)
    }

    fn refused(&self, why: CredentialRefusal) -> NotAccepted {
        self.figures.credentials_refused.add(why, 1);
        NotAccepted
    }
}

fn strip_bearer(header: &str) -> Option<&str> {
    let (scheme, text) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text)
}

fn known(records: Vec<TokenRecord>) -> HashMap<TokenId, Known> {
    let known = |record: TokenRecord| {
        let is_revoked = record.revoked_us.is_some();
        // A record without a team says that it is an operator's: the file is refused otherwise.
        let scope = record.team.map_or(Scope::Operator, Scope::Team);
        (record.id, Known { scope, hash: record.sha256, is_revoked })
    };
    records.into_iter().map(known).collect()
}
