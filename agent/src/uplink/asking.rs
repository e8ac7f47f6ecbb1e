//! What the collector asks of the agent on one stream: taken one after the other, away from the stream's task, since each
//! waits for the disk.
//!
//! | what comes | what happens |
//! |---|---|
//! | the welcome | the first thing that is done: what another collector asked for is over |
//! | an offer while another is taken | waits; past [`OFFERS_WAITING_MAX`] the oldest goes, which a newer one has replaced |
//! | an offer that cannot be kept (a full disk) | tried again after [`AGAIN_FIRST`], then longer, up to [`AGAIN_MAX`], until the next offer or the stream's end |
//! | the stream's end | what is being taken is taken; the next stream waits for it |

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use muster::v1;
use tokio::time::{Instant, sleep_until};

use crate::remote_configuration::{Issuer, RemoteConfiguration};

/// Offers that wait for the one that is taken.
const OFFERS_WAITING_MAX: usize = 16;
/// First and longest pause before an offer that could not be kept is tried again.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// What is asked on a stream, and what is to be reported.
pub(super) struct Asking {
    configuration: Arc<RemoteConfiguration>,
    /// Who asks.
    issuer: Issuer,
    is_welcomed: bool,
    waiting: VecDeque<Offer>,
    running: Option<Running>,
    again: Option<Offer>,
}

struct Offer {
    offer: v1::ConfigurationOffer,
    /// When it may be taken; `None`: at once, for the first time.
    not_before: Option<Instant>,
    /// How long it waits when it cannot be kept.
    pause: Duration,
}

struct Running {
    /// `None`: the welcome.
    offer: Option<Offer>,
    report: Pin<Box<dyn Future<Output = Option<v1::ConfigurationReport>> + Send>>,
}

impl Asking {
    pub(super) fn new(configuration: Arc<RemoteConfiguration>, issuer: Issuer) -> Self {
        Self {
            configuration,
            issuer,
            is_welcomed: false,
            waiting: VecDeque::new(),
            running: None,
            again: None,
        }
    }

    /// Takes an offer when its turn has come.
    pub(super) fn offered(&mut self, offer: v1::ConfigurationOffer) {
        self.again = None;
        if self.waiting.len() >= OFFERS_WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Offer { offer, not_before: None, pause: AGAIN_FIRST });
    }

    /// The next report. Nothing is lost when this is dropped and called again.
    pub(super) async fn report(&mut self) -> v1::ConfigurationReport {
        loop {
            if self.running.is_none() {
                let offer = if self.is_welcomed { Some(self.next_offer().await) } else { None };
                self.is_welcomed = true;
                self.begin(offer);
            }
            let Some(running) = &mut self.running else { continue };
            let report = running.report.as_mut().await;
            let offer = self.running.take().and_then(|running| running.offer);
            // A newer offer takes its place.
            if let Some(offer) = offer.filter(|_| self.waiting.is_empty())
                && self.configuration.may_be_kept_later()
            {
                self.again = Some(offer.later());
            }
            if let Some(report) = report {
                return report;
            }
        }
    }

    async fn next_offer(&mut self) -> Offer {
        if let Some(offer) = self.waiting.pop_front() {
            return offer;
        }
        match self.again.as_ref().and_then(|again| again.not_before) {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        match self.again.take() {
            Some(offer) => offer,
            None => std::future::pending().await,
        }
    }

    fn begin(&mut self, offer: Option<Offer>) {
        let (configuration, issuer) = (self.configuration.clone(), self.issuer.clone());
        let asked = offer.as_ref().map(|offer| (offer.offer.clone(), offer.not_before.is_some()));
        let work = move |configuration: &RemoteConfiguration| match asked {
            None => configuration.welcomed(&issuer),
            Some((offer, false)) => configuration.take(&offer, &issuer),
            Some((offer, true)) => configuration.take_again(&offer, &issuer),
        };
        let report = Box::pin(async move { configuration.in_turn(work).await.flatten() });
        self.running = Some(Running { offer, report });
    }
}

impl Offer {
    fn later(self) -> Self {
        let pause = self.pause.saturating_mul(2).min(AGAIN_MAX);
        Self { not_before: Some(Instant::now() + self.pause), pause, ..self }
    }
}
