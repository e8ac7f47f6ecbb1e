//! An uplink that is offered configurations by a scripted collector.

use std::path::Path;

use muster::clock::SystemClock;
use muster::v1;
use muster::v1::configuration_report::State;
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
    let uplink = Uplink {
        server,
        spool: Arc::new(Mutex::new(spool)),
        speaker: Speaker { instance: Instance(7), host: "laptop".to_owned(), user: "dana".to_owned() },
        status: watch::Sender::default(),
        certificate: watch::channel(Situation::default()).1,
        configuration: configuration.clone(),
        clock,
    };
    tokio::spawn(run(uplink, shutdown));
    configuration
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
