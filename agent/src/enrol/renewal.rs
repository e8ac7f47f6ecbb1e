//! Having the certificate renewed while the agent runs.
//!
//! At half of what is left when a certificate comes, give or take a tenth, a new key is made and the collector asked for its
//! certificate over the old one. The pair is replaced as a whole ([`super::store`]), and the uplink is told: it sends nothing
//! more on its stream, waits for what is in flight to be answered (5 s at most), says goodbye, and opens the next stream with
//! the new certificate, where the collector's mark tells it to go on. The stream is not kept, although a collector might
//! let it: whoever is revoked, or whose authority is replaced, is then found out within one life of a certificate, and a
//! certificate that cannot be used is noticed while there is half of a life left to do something.
//!
//! The same way a certificate that somebody else wrote (`muster agent enroll` beside a running agent) is noticed within
//! [`LOOK_INTERVAL`].
//!
//! A renewal that fails is tried again after a growing pause, drawn from its upper half, up to a twentieth of the life or 10
//! minutes. Wall time decides when a renewal is due, since certificates end by it; a clock that is off by more than the life is
//! not believed, and the time since the certificate came counts.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::{Clock, Monotonic, WallTime};
use tokio::sync::watch;

use super::client;
use super::store::{Enrolment, Store};
use crate::uplink::{ServerConfig, stopped};

/// How often the files are looked at; a few `stat`s and reads.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// First and longest pause after a renewal that failed.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// What is known of the certificate on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Its number.
    pub serial: String,
    /// The collector that it is for.
    pub server: String,
    /// How the collector calls our team.
    pub team: String,
    /// What people call this agent.
    pub name: String,
    /// Nobody accepts it after.
    pub not_after: WallTime,
    /// When it is to be replaced.
    pub renew_at: WallTime,
}

/// How it stands with the certificate; for the uplink, the page and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Situation {
    /// `None`: not enrolled.
    pub stored: Option<StoredCertificate>,
    /// Why the files cannot be used, or why the last renewal failed.
    pub trouble: Option<String>,
    /// Renewals since the process started.
    pub renewed: u64,
    /// Renewals that failed since the process started.
    pub failed: u64,
}

impl Situation {
    /// What a person should know of it, if anything is wrong.
    pub fn warning(&self, now: WallTime) -> Option<String> {
        match (&self.stored, &self.trouble) {
            (Some(stored), _) if now >= stored.not_after => Some(ended(stored.not_after)),
            (_, Some(trouble)) => Some(trouble.clone()),
            _ => None,
        }
    }
}

/// What to do about a certificate that ended.
pub fn ended(not_after: WallTime) -> String {
    format!(
        "the agent's certificate ended at {}; ask for an enrolment token (muster token create --enroll --team TEAM) and run \
         `muster agent enroll --force`; events stay in the spool until then",
        in_words(not_after)
    )
}

/// A time as people write it, to the second, in UTC.
pub fn in_words(time: WallTime) -> String {
    let seconds = i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "an unknown time".to_owned(), |time| time.to_string())
}

/// When a certificate is to be replaced. `random` is uniform in `[0, 1)`.
pub fn due(held: &Enrolment, random: f64) -> WallTime {
    let (not_before, not_after) = (held.certificate.not_before, held.certificate.not_after);
    let received = held.record.received();
    let believable = not_before <= received && received <= not_after;
    let left = not_after.since(if believable { received } else { not_before });
    let wait = left.mul_f64(0.4 + 0.2 * random);
    WallTime(received.0.saturating_add(wait.as_micros() as u64))
}

/// The pause after the `failures`th failure in a row (from 1). `random` is uniform in `[0, 1)`.
pub fn retry_pause(failures: u32, life: Duration, random: f64) -> Duration {
    let cap_max = (life / 20).clamp(RETRY_FIRST, RETRY_MAX);
    let cap = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(cap_max);
    cap.mul_f64(0.5 + random / 2.0)
}

/// Follows the files and renews, until `shutdown` turns true. `server` is the collector of the configuration; a certificate
/// that is not for it is renewed where it came from.
pub async fn run(
    server: Option<ServerConfig>,
    store: Store,
    situation: watch::Sender<Situation>,
    clock: Arc<dyn Clock>,
    seed: u64,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut renewer = Renewer {
        server,
        store,
        situation,
        clock,
        random: fastrand::Rng::with_seed(seed),
        failures: 0,
        not_before: Monotonic::default(),
    };
    while !*shutdown.borrow() {
        let pause = tokio::select! {
            pause = renewer.look() => pause,
            () = stopped(&mut shutdown) => return,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut shutdown) => return,
        }
    }
}

struct Renewer {
    server: Option<ServerConfig>,
    store: Store,
    situation: watch::Sender<Situation>,
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    failures: u32,
    /// No renewal is tried before.
    not_before: Monotonic,
}

impl Renewer {
    /// Looks at the files, renews if it is time, and answers when to look again.
    async fn look(&mut self) -> Duration {
        let held = match self.store.load() {
            Ok(Some(held)) => held,
            Ok(None) => {
                self.situation.send_if_modified(|s| s.stored.take().is_some());
                return LOOK_INTERVAL;
            }
            Err(error) => {
                self.note_trouble(error.to_string());
                return LOOK_INTERVAL;
            }
        };
        let renew_at = self.note(&held);
        let left = renew_at.since(self.clock.wall());
        let rest = self.not_before.0.saturating_sub(self.clock.monotonic().0);
        if !left.is_zero() || !rest.is_zero() {
            return left.max(rest).min(LOOK_INTERVAL);
        }
        match self.renew(&held).await {
            Ok(()) => Duration::ZERO,
            Err(words) => {
                self.failures = self.failures.saturating_add(1);
                let life = held.certificate.not_after.since(held.certificate.not_before);
                let pause = retry_pause(self.failures, life, self.random.f64());
                self.not_before = Monotonic(self.clock.monotonic().0 + pause);
                tracing::warn!(error = %words, retry_in_ms = pause.as_millis() as u64, "the agent's certificate was not renewed");
                self.note_trouble(format!("the certificate was not renewed: {words}"));
                self.situation.send_modify(|s| s.failed += 1);
                pause.min(LOOK_INTERVAL)
            }
        }
    }

    async fn renew(&mut self, held: &Enrolment) -> Result<(), String> {
        let configured = self.server.clone().filter(|server| server.is_credential(held));
        let server = configured
            .or_else(|| ServerConfig::of_enrolment(held, &self.store))
            .ok_or_else(|| format!("{:?} in enrolment.json is no address", held.record.server))?;
        let new = match client::renew(&server, held, self.clock.wall()).await {
            Ok(new) => new,
            Err(_) if self.clock.wall() >= held.certificate.not_after => {
                return Err(ended(held.certificate.not_after));
            }
            Err(error) => return Err(muster::reasons::reasons(&error)),
        };
        let replaced = self.store.replace(&new, Some(&held.certificate.serial));
        match replaced {
            Ok(true) => {
                tracing::info!(until = %in_words(new.certificate.not_after), "the agent's certificate was renewed");
                self.situation.send_modify(|s| s.renewed += 1);
            }
            Ok(false) => {
                tracing::info!("the agent was enrolled again meanwhile; the renewed certificate is not used")
            }
            Err(error) => return Err(muster::reasons::reasons(&error)),
        }
        Ok(())
    }

    /// Takes over what the files say, and answers when to renew.
    fn note(&mut self, held: &Enrolment) -> WallTime {
        let known = self.situation.borrow().stored.as_ref().map(|s| (s.serial.clone(), s.renew_at));
        if let Some((serial, renew_at)) = known
            && serial == held.certificate.serial
        {
            if self.failures == 0 {
                self.situation.send_if_modified(|s| s.trouble.take().is_some());
            }
            return renew_at;
        }
        let renew_at = due(held, self.random.f64());
        self.failures = 0;
        self.not_before = Monotonic::default();
        let stored = StoredCertificate {
            serial: held.certificate.serial.clone(),
            server: held.record.server.clone(),
            team: held.record.team.clone(),
            name: held.record.name.clone(),
            not_after: held.certificate.not_after,
            renew_at,
        };
        self.situation.send_modify(|s| {
            s.stored = Some(stored);
            s.trouble = None;
        });
        renew_at
    }

    fn note_trouble(&self, words: String) {
        self.situation.send_if_modified(|s| {
            let is_new = s.trouble.as_ref() != Some(&words);
            s.trouble = Some(words);
            is_new
        });
    }
}
