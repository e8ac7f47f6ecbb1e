//! A bound on wrong credentials.
//!
//! Refusals are counted by address and token id. Past the quota, tokens of that id from that address are refused
//! without looking at them, so nobody can be locked out by guesses that do not come from his own address. The secrets
//! have 256 bits: the limiter protects processor and log, not the secret.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster::credential::TokenId;

/// Refusals at once: a fleet of agents behind one address that starts with a token that was just revoked.
const BURST: NonZeroU32 = NonZeroU32::new(20).expect("not 0");
/// And then so many a minute.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("not 0");
/// Addresses and ids that are remembered; when there are more, all are forgotten, which only lets guesses be looked at.
const KEYS_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    ip: IpAddr,
    id: Option<TokenId>,
}

pub(super) struct Guesses {
    limiter: parking_lot::RwLock<DefaultKeyedRateLimiter<Key>>,
    limited: parking_lot::Mutex<std::collections::HashSet<Key>>,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self { limiter: parking_lot::RwLock::new(limiter()), limited: parking_lot::Mutex::default() }
    }

    /// Counts one refusal.
    pub(super) fn count(&self, ip: IpAddr, id: Option<&TokenId>) {
        let key = Key { ip, id: id.cloned() };
        let within = self.limiter.read().check_key(&key).is_ok();
        if !within && key.id.is_some() {
            let mut limited = self.limited.lock();
            if limited.len() < KEYS_MAX {
                limited.insert(key);
            }
        }
    }

    /// Whether tokens of this id from this address are not looked at for now.
    pub(super) fn is_limited(&self, ip: IpAddr, id: &TokenId) -> bool {
        let limited = self.limited.lock();
        // The usual case costs no allocation.
        !limited.is_empty() && limited.contains(&Key { ip, id: Some(id.clone()) })
    }

    /// Forgets what is no longer recent, and lifts what was limited long enough for a new guess to be counted.
    pub(super) fn forget_old(&self) {
        let limiter_now = self.limiter.read();
        limiter_now.retain_recent();
        let is_over = limiter_now.len() > KEYS_MAX;
        let mut limited = self.limited.lock();
        // `check_key` takes a cell when it succeeds, which is the price of one more look.
        limited.retain(|key| limiter_now.check_key(key).is_err());
        drop((limited, limiter_now));
        if is_over {
            *self.limiter.write() = limiter();
        }
    }
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guesses").finish_non_exhaustive()
    }
}

fn limiter() -> DefaultKeyedRateLimiter<Key> {
    RateLimiter::keyed(Quota::per_minute(PER_MINUTE).allow_burst(BURST))
}
