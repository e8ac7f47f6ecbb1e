//! An uplink that is offered configurations by a scripted collector.

use std::path::Path;

use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::SystemClock;
use muster::v1;
use muster::v1::configuration_report::State;
use muster::v1::event::Kind;
use prost::Message;
use sha2::{Digest, Sha256};

use super::scripted::Scripted;
use super::*;
use crate::enrol::Store;
use crate::facts::{IdentityPart, Privacy};
use crate::remote_configuration::{Own, Settings};
use crate::spool::SpoolConfig;

fn offer_of(settings: &v1::OfferedSettings) -> v1::ConfigurationOffer {
    let settings = settings.encode_to_vec();
    let hash = Sha256::digest(&settings).to_vec();
    v1::ConfigurationOffer { hash, settings, name: "ci-machines".to_owned() }
}

/// An uplink of an agent in `folder`, and what its agent does.
fn start(collector: &Scripted, folder: &Path, shutdown: watch::Receiver<bool>) -> Arc<RemoteConfiguration> {
    start_with_spool(collector, folder, shutdown).0
}

fn start_with_spool(
    collector: &Scripted,
    folder: &Path,
    shutdown: watch::Receiver<bool>,
) -> (Arc<RemoteConfiguration>, SharedSpool) {
    let uplink = uplink(collector, folder);
    let both = (uplink.configuration.clone(), uplink.spool.clone());
    tokio::spawn(run(uplink, shutdown));
    both
}

fn uplink(collector: &Scripted, folder: &Path) -> Uplink {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spool = Spool::open(SpoolConfig::new(folder), clock.clone()).expect("a spool");
    let own = Own {
        settings: Settings::own(Privacy::default(), Duration::from_secs(60)),
        takes_offers: true,
        labels: [("kind".to_owned(), "ci".to_owned())].into(),
    };
    let agent_id = spool.identity().agent_id;
    let configuration = Arc::new(RemoteConfiguration::load(own, agent_id, folder.to_owned()));
    let server = ServerConfig {
        address: format!("http://{}", collector.address).parse().expect("an address"),
        token: TokenSource::None,
        ca_file: None,
        tls_name: None,
        enrolment: Store::new(folder),
    };
    Uplink {
        server,
        spool: Arc::new(Mutex::new(spool)),
        speaker: Speaker { instance: Instance(7), host: "laptop".to_owned(), user: "dana".to_owned() },
        status: watch::Sender::default(),
        certificate: watch::channel(Situation::default()).1,
        configuration,
        clock,
    }
}

#[tokio::test]
async fn what_the_welcome_says_of_the_collector_is_in_the_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Scripted::listen().await;
    let (stop, shutdown) = watch::channel(false);
    let uplink = uplink(&collector, folder.path());
    let mut status = uplink.status.subscribe();
    assert_eq!(status.borrow().collector, None);
    tokio::spawn(run(uplink, shutdown));
    let welcomed = status.wait_for(|status| status.connected).await.expect("alive").collector.clone();
    assert_eq!(welcomed, Some(CollectorSaid { version: "1.4.2".to_owned(), protocol: 1 }));
    stop.send_replace(true);
}

async fn spool_one_event(spool: &SharedSpool) {
    let mut builder = BatchBuilder::new();
    let source =
        builder.source(&SourceIdentity { tool: "devloop".into(), ..Default::default() }).expect("room");
    let now = SystemClock::new().wall();
    builder.push(now, source, Kind::RunFinished(v1::RunFinished::default()));
    spool.lock().await.append_step("devloop@/p", Vec::new(), builder).await.expect("spooled");
}

fn offer_of_rescan(seconds: u32) -> v1::ConfigurationOffer {
    offer_of(&v1::OfferedSettings { rescan_interval_seconds: Some(seconds), ..Default::default() })
}

/// A pipe in the place of a file: who opens it waits, as for a disk that hangs.
#[cfg(unix)]
struct Hangs(std::path::PathBuf);

#[cfg(unix)]
impl Hangs {
    fn at(path: std::path::PathBuf) -> Self {
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        Self(path)
    }
}

#[cfg(unix)]
impl Drop for Hangs {
    fn drop(&mut self) {
        // Readers go on when somebody opens it to write; one that is replaced by now is a file.
        let _ = std::fs::File::options().read(true).write(true).open(&self.0);
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_disk_that_hangs_holds_up_no_event_and_offers_keep_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Scripted::listen().await;
    let (stop, shutdown) = watch::channel(false);
    let (configuration, spool) = start_with_spool(&collector, folder.path(), shutdown);
    collector.hello_after(0).await;
    let hangs = Hangs::at(folder.path().join("remote_configuration.pb"));
    let offers = [300, 5, 60].map(offer_of_rescan);
    for offer in &offers {
        collector.offer_only(offer.clone()).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    spool_one_event(&spool).await;
    collector.until_told("the event", |told| told.len() == 1).await;
    assert_eq!((collector.reports(), configuration.standing().name.as_str()), (0, ""), "the disk hangs");
    drop(hangs);
    for (at, offer) in offers.iter().enumerate() {
        let report = collector.report_after(at).await;
        assert_eq!((report.state(), &report.hash), (State::Applied, &offer.hash), "{at}: {report:?}");
    }
    assert_eq!(configuration.settings().borrow().rescan_interval, Duration::from_secs(60));
    stop.send_replace(true);
}

#[tokio::test]
async fn an_offer_that_could_not_be_kept_is_tried_again_on_the_same_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Scripted::listen().await;
    let (stop, shutdown) = watch::channel(false);
    let configuration = start(&collector, folder.path(), shutdown);
    collector.hello_after(0).await;
    // No file can take the place of a folder.
    let in_the_way = folder.path().join("remote_configuration.pb");
    std::fs::create_dir(&in_the_way).expect("a folder");
    let offer = offer_of_rescan(300);
    let report = collector.offer(offer.clone()).await;
    assert_eq!((report.state(), &report.rejected_hash), (State::Rejected, &offer.hash));
    assert!(report.problem.contains("tried again"), "{}", report.problem);
    assert_eq!(configuration.standing().problem, report.problem);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((collector.reports(), configuration.standing().rejected), (1, 1), "the same is said once");
    std::fs::remove_dir(&in_the_way).expect("removed");
    let report = collector.report_after(1).await;
    assert_eq!((report.state(), &report.hash), (State::Applied, &offer.hash));
    assert_eq!(configuration.settings().borrow().rescan_interval, Duration::from_secs(300));
    // What is refused for what it says is not tried again.
    let wrong = offer_of_rescan(1);
    assert_eq!(collector.offer(wrong).await.state(), State::Rejected);
    assert!(!configuration.may_be_kept_later());
    stop.send_replace(true);
}

/// Row E3 of reliability.md, the agent's side.
#[tokio::test]
async fn what_a_newer_collector_says_and_nobody_here_knows_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Scripted::listen().await;
    let (stop, shutdown) = watch::channel(false);
    let _configuration = start(&collector, folder.path(), shutdown);
    collector.hello_after(0).await;
    collector.say_unknown().await;
    let settings = v1::OfferedSettings { withheld_identity: vec!["user".to_owned()], ..Default::default() };
    let report = collector.offer(offer_of(&settings)).await;
    assert_eq!(report.state(), State::Applied, "{}", report.problem);
    assert_eq!(collector.hellos(), 1, "the stream was cut");
    stop.send_replace(true);
}

#[tokio::test]
async fn offers_are_taken_or_refused_and_each_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Scripted::listen().await;
    let (stop, shutdown) = watch::channel(false);
    let configuration = start(&collector, folder.path(), shutdown);
    let hello = collector.hello_after(0).await;
    assert!(hello.takes_configuration);
    assert_eq!((hello.labels["kind"].as_str(), hello.user.as_str()), ("ci", "dana"));

    let anonymous = offer_of(&v1::OfferedSettings {
        withheld_identity: vec!["user".to_owned(), "host".to_owned()],
        ..Default::default()
    });
    let report = collector.offer(anonymous.clone()).await;
    assert_eq!((report.state(), &report.hash), (State::Applied, &anonymous.hash));
    assert!(configuration.settings().borrow().privacy.withholds(IdentityPart::Host));

    let unknown =
        offer_of(&v1::OfferedSettings { withheld_content: vec!["dreams".to_owned()], ..Default::default() });
    let report = collector.offer(unknown.clone()).await;
    assert_eq!((report.state(), &report.hash), (State::Rejected, &anonymous.hash));
    assert_eq!(report.rejected_hash, unknown.hash);
    assert!(report.problem.contains("dreams"), "{}", report.problem);

    let reports = collector.reports();
    let hello = collector.cut().await;
    assert!(hello.user.starts_with("withheld-") && hello.user == hello.host, "{hello:?}");
    let report = collector.report_after(reports).await;
    assert_eq!(report.hash, anonymous.hash, "what is in force is said after each welcome");

    let report = collector.offer(v1::ConfigurationOffer::default()).await;
    assert_eq!((report.state(), report.hash.len()), (State::Own, 0));
    assert_eq!(collector.reports(), reports + 2, "one answer each");
    assert!(!configuration.settings().borrow().privacy.withholds(IdentityPart::Host));
    stop.send_replace(true);
}
