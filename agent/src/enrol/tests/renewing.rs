//! Certificates that are renewed under a stream that carries events.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::{Instance, Seq};
use muster::v1;
use muster::v1::event::Kind;
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tonic::Status;

use super::fake::{Fake, is_each_once, new_key, now, server, token};
use crate::enrol::client::{About, FirstContact, enrol};
use crate::enrol::renewal::{self, Situation};
use crate::enrol::{Enrolment, Store};
use crate::facts::Privacy;
use crate::remote_configuration::{Own, RemoteConfiguration, Settings};
use crate::spool::{Spool, SpoolConfig};
use crate::uplink::{self, ServerConfig, SharedSpool, Speaker, Uplink, UplinkStatus};

/// An enrolled agent's uplink and renewal over a spool.
struct Rig {
    server: ServerConfig,
    store: Store,
    spool: SharedSpool,
    situation: watch::Receiver<Situation>,
    status: watch::Receiver<UplinkStatus>,
    shutdown: watch::Sender<bool>,
    about: About,
    contact: FirstContact,
}

impl Rig {
    async fn start(fake: &Arc<Fake>, folder: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let spool = Spool::open(SpoolConfig::new(folder), clock.clone()).expect("spool");
        let server = server(fake.listen().await, folder);
        let contact = FirstContact::Pinned(fake.fingerprint());
        let (agent_id, host, user) = (spool.identity().agent_id, "laptop".to_owned(), "dana".to_owned());
        let about = About { agent_id, name: String::new(), host: host.clone(), user: user.clone() };
        let store = Store::new(folder);
        let held = enrol(&server, &contact, &token(), &about, new_key(), now()).await.expect("enrolled");
        store.replace(&held, None).expect("kept");

        let (shutdown, stop) = watch::channel(false);
        let (situation_sender, situation) = watch::channel(Situation::default());
        let (status_sender, status) = watch::channel(UplinkStatus::default());
        let spool: SharedSpool = Arc::new(tokio::sync::Mutex::new(spool));
        // A configured address without a token: renewal and uplink find the certificate by themselves.
        tokio::spawn(renewal::run(
            Some(server.clone()),
            store.clone(),
            situation_sender,
            clock.clone(),
            7,
            stop.clone(),
        ));
        let settings = Settings::own(Privacy::default(), Duration::from_secs(60));
        let own = Own { settings, takes_offers: false, labels: Default::default() };
        let uplink = Uplink {
            server: server.clone(),
            spool: spool.clone(),
            speaker: Speaker { instance: Instance(7), host, user },
            status: status_sender,
            certificate: situation.clone(),
            configuration: Arc::new(RemoteConfiguration::load(own, agent_id, folder.to_owned())),
            clock,
        };
        tokio::spawn(uplink::run(uplink, stop));
        Self { server, store, spool, situation, status, shutdown, about, contact }
    }

    /// Spools some events.
    async fn spool(&self, events: u64) -> Seq {
        let mut builder = BatchBuilder::new();
        let source =
            builder.source(&SourceIdentity { tool: "devloop".into(), ..Default::default() }).expect("room");
        for _ in 0..events {
            builder.push(now(), source, Kind::RunFinished(v1::RunFinished::default()));
        }
        let mut spool = self.spool.lock().await;
        spool.append_step("devloop@/p", Vec::new(), builder).await.expect("spooled");
        crate::uplink::SpoolFacts::last_seq(&*spool)
    }

    fn held(&self) -> Enrolment {
        self.store.load().expect("whole").expect("enrolled")
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 30 s: {what}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn renewals_under_load_lose_and_repeat_nothing_and_no_secret_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With two of them, what a test beside this one logs first is not taken for what nobody wants to hear.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    fake.asked.lock().life = Duration::from_secs(4);
    let rig = Rig::start(&fake, folder.path()).await;
    let mut keys = vec![rig.held().key_pem];
    let mut last = Seq::ZERO;
    while rig.situation.borrow().renewed < 4 {
        last = rig.spool(5).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let held = rig.held();
        if keys.last().map(ExposeSecret::expose_secret) != Some(held.key_pem.expose_secret()) {
            keys.push(held.key_pem);
        }
    }
    until("all events at the collector", || fake.asked.lock().events.last() == Some(&last.0)).await;
    {
        let asked = fake.asked.lock();
        assert!(is_each_once(&asked.events, last), "{} events of {}", asked.events.len(), last.0);
        assert!(asked.streams.len() >= 4, "{:?}", asked.streams);
        let mut serials = asked.streams.clone();
        serials.dedup();
        assert_eq!(serials, asked.streams, "each stream shows a certificate that none showed before");
        assert_eq!(asked.stream_tokens, 0);
        assert!(
            asked.goodbyes.iter().any(|reason| reason.contains("new certificate")),
            "{:?}",
            asked.goodbyes
        );
    }
    rig.shutdown.send_replace(true);
    let log = String::from_utf8_lossy(&log.0.lock()).into_owned();
    assert!(log.contains("the agent's certificate was renewed"), "the log is captured");
    assert!(keys.len() >= 4, "each renewal has a key of its own");
    for key in &keys {
        let digits = key.expose_secret().lines().nth(1).expect("digits");
        assert!(!log.contains(digits), "a private key was logged");
    }
    assert!(!log.contains(token().expose()), "the enrolment token was logged");
}

#[tokio::test]
async fn a_renewal_that_fails_is_told_and_tried_again_and_the_stream_goes_on() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    fake.asked.lock().life = Duration::from_secs(10);
    let rig = Rig::start(&fake, folder.path()).await;
    let first = rig.held().certificate.serial;
    fake.asked.lock().refuse = Some(Status::unavailable("in a moment"));
    until("a failure", || rig.situation.borrow().failed == 1).await;
    let warning = rig.situation.borrow().warning(now()).expect("told");
    assert!(warning.contains("in a moment"), "{warning}");
    assert!(rig.status.borrow().connected);
    let last = rig.spool(3).await;
    until("the events", || fake.asked.lock().events.last() == Some(&last.0)).await;
    until("the next try", || rig.situation.borrow().renewed == 1).await;
    until("its certificate noted", || rig.situation.borrow().warning(now()).is_none()).await;
    assert_ne!(rig.held().certificate.serial, first);
}

#[tokio::test]
async fn an_enrolment_beside_a_running_agent_is_taken_over() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    fake.asked.lock().life = Duration::from_secs(6);
    let rig = Rig::start(&fake, folder.path()).await;
    until("a stream", || fake.asked.lock().streams.len() == 1).await;
    fake.asked.lock().life = Duration::from_secs(3600);
    let again =
        enrol(&rig.server, &rig.contact, &token(), &rig.about, new_key(), now()).await.expect("enrolled");
    rig.store.replace(&again, None).expect("kept");
    let is_shown = || fake.asked.lock().streams.last() == Some(&again.certificate.serial);
    until("a stream with the new certificate", is_shown).await;
    assert_eq!(rig.held().certificate.serial, again.certificate.serial, "the old one's renewal did not win");
}

#[tokio::test]
async fn an_agent_whose_certificate_ended_says_so_and_keeps_its_events() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    {
        let mut asked = fake.asked.lock();
        (asked.life, asked.renews_nothing) = (Duration::from_secs(2), true);
    }
    let rig = Rig::start(&fake, folder.path()).await;
    until("its end", || rig.situation.borrow().warning(now()).is_some_and(|w| w.contains("ended at"))).await;
    // As a collector that ends the streams of whom it does not accept any more.
    fake.asked.lock().cuts_streams = true;
    let last = rig.spool(3).await;
    let told =
        || rig.status.borrow().last_error.as_ref().is_some_and(|words| words.contains("enroll --force"));
    until("the uplink to say it", told).await;
    assert!(fake.asked.lock().events.is_empty());

    // And with a new enrolment the events arrive.
    {
        let mut asked = fake.asked.lock();
        (asked.life, asked.cuts_streams) = (Duration::from_secs(3600), false);
    }
    let again =
        enrol(&rig.server, &rig.contact, &token(), &rig.about, new_key(), now()).await.expect("enrolled");
    rig.store.replace(&again, None).expect("kept");
    until("the events", || fake.asked.lock().events.last() == Some(&last.0)).await;
}

#[test]
fn an_ended_certificate_is_said_plainly_with_what_to_do() {
    let mut situation = Situation::default();
    assert_eq!(situation.warning(WallTime(0)), None);
    situation.stored = Some(renewal::StoredCertificate {
        serial: "1".to_owned(),
        server: "https://collector.example:4317/".to_owned(),
        team: "payments".to_owned(),
        name: "laptop".to_owned(),
        not_after: WallTime(1_771_588_800_000_000),
        renew_at: WallTime(1_771_588_000_000_000),
    });
    assert_eq!(situation.warning(WallTime(1_771_588_799_000_000)), None);
    let words = situation.warning(WallTime(1_771_588_800_000_000)).expect("ended");
    assert!(words.contains("ended at 2026-02-20T12:00:00Z") && words.contains("enroll --force"), "{words}");
}
