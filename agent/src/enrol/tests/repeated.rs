//! `enroll` when an answer is lost: the same key asks again.

use std::path::Path;
use std::sync::Arc;

use muster::clock::{Clock, SystemClock};
use muster::v1;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::fake::{Fake, server, token};
use crate::config::{AgentConfig, Overrides};
use crate::enrol::command::{CommandError, Wish, enrol_here};
use crate::enrol::store::StoreError;
use crate::enrol::{EnrolError, FirstContact, Store};
use crate::project::Machine;
use crate::remote_configuration::{Issuer, Own, RemoteConfiguration};

fn wish(fake: &Fake) -> Wish {
    let first_contact = FirstContact::Pinned(fake.fingerprint());
    Wish { token: token(), first_contact, name: String::new(), force: false, new_key: false }
}

async fn config(fake: &Arc<Fake>, folder: &Path) -> AgentConfig {
    config_of("", fake, folder).await
}

async fn config_of(text: &str, fake: &Arc<Fake>, folder: &Path) -> AgentConfig {
    let overrides = Overrides {
        server: Some(server(fake.listen().await, folder).address.to_string()),
        state_dir: Some(folder.to_owned()),
        ..Overrides::default()
    };
    AgentConfig::parse(text, overrides, &|_| None).expect("valid")
}

/// What was asked, in order.
fn asked(fake: &Fake) -> Vec<v1::EnrolRequest> {
    let asked = fake.asked.lock();
    asked.requests.iter().map(|(_, bytes)| v1::EnrolRequest::decode(&bytes[..]).expect("ours")).collect()
}

/// The public keys that were asked for, in order.
fn keys_asked(fake: &Fake) -> Vec<Vec<u8>> {
    asked(fake).iter().map(|request| public_key(&request.csr_der)).collect()
}

fn public_key(csr_der: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let (_, request) =
        x509_parser::certification_request::X509CertificationRequest::from_der(csr_der).expect("ours");
    request.certification_request_info.subject_pki.raw.to_vec()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn pending(folder: &Path) -> std::path::PathBuf {
    folder.join("enrolment.pending.pem")
}

#[tokio::test]
async fn an_enrolment_whose_answer_was_lost_is_asked_for_again_with_the_same_key() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let config = config(&fake, folder.path()).await;
    fake.asked.lock().refuse = Some(Status::unavailable("the connection was cut"));
    let enrolled = enrol_here(&config, &wish(&fake), &clock()).await.expect("the second time");
    let keys = keys_asked(&fake);
    assert_eq!(keys, [enrolled.certificate.public_key_der.clone(), enrolled.certificate.public_key_der]);
    assert!(!pending(folder.path()).exists(), "its certificate is here");
}

#[tokio::test]
async fn a_command_that_gives_up_leaves_its_key_to_the_next_one_unless_that_wants_a_new_one() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let config = config(&fake, folder.path()).await;
    let once = async |wish: Wish| {
        fake.asked.lock().refuse = Some(Status::permission_denied("not now"));
        let refused = enrol_here(&config, &wish, &clock()).await.expect_err("refused");
        assert!(matches!(refused, CommandError::Enrol(EnrolError::Status { .. })), "{refused}");
    };
    once(wish(&fake)).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(pending(folder.path())).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    once(wish(&fake)).await;
    once(Wish { new_key: true, ..wish(&fake) }).await;
    enrol_here(&config, &wish(&fake), &clock()).await.expect("enrolled");
    let keys = keys_asked(&fake);
    assert!(keys[0] == keys[1] && keys[1] != keys[2] && keys[2] == keys[3]);
    // And the next enrolment has a key of its own, also when a crash left the one before.
    let held = Store::new(folder.path()).load().expect("whole").expect("enrolled");
    let secret = secrecy::ExposeSecret::expose_secret(&held.key_pem).as_bytes();
    let access = muster::atomic_file::Access::Owner;
    muster::atomic_file::replace(&pending(folder.path()), secret, access).expect("written");
    enrol_here(&config, &Wish { force: true, ..wish(&fake) }, &clock()).await.expect("enrolled");
    assert_ne!(keys_asked(&fake)[4], keys[3]);
}

#[tokio::test]
async fn two_commands_at_once_do_not_take_from_each_other_what_they_got() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let config = config(&fake, folder.path()).await;
    let asking = Store::new(folder.path()).ask().expect("free");
    let busy = enrol_here(&config, &wish(&fake), &clock()).await.expect_err("another asks");
    assert!(matches!(busy, CommandError::Store(StoreError::Busy { .. })), "{busy}");
    drop(asking);
    enrol_here(&config, &wish(&fake), &clock()).await.expect("enrolled");
}

#[tokio::test]
async fn what_the_configuration_in_force_withholds_is_not_in_an_enrolment_either() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let config = config_of("[agent]\nremote_configuration = true\n", &fake, folder.path()).await;
    let again = Wish { force: true, ..wish(&fake) };
    let held = enrol_here(&config, &again, &clock()).await.expect("enrolled");
    let (id, issuer) = (held.record.agent_id, Issuer { server: String::new(), team: String::new() });
    let own = Own { settings: config.settings_at_rest(), takes_offers: true, labels: Default::default() };
    let settings = v1::OfferedSettings {
        withheld_identity: vec!["user".to_owned(), "host".to_owned()],
        ..Default::default()
    };
    let settings = settings.encode_to_vec();
    let hash = Sha256::digest(&settings).to_vec();
    let offer = v1::ConfigurationOffer { hash, settings, name: "strict".to_owned() };
    let taken = RemoteConfiguration::load(own, id, folder.path().to_owned()).take(&offer, &issuer);
    assert_eq!(taken.expect("reported").problem, "");
    enrol_here(&config, &again, &clock()).await.expect("enrolled");
    let asked = asked(&fake);
    let machine = Machine::of_this_process();
    assert_eq!((&asked[0].user, &asked[0].host), (&machine.user, &machine.host));
    let stands = format!("withheld-{}", &id.to_string()[..8]);
    assert_eq!((&asked[1].user, &asked[1].host), (&stands, &stands));
    let held = Store::new(folder.path()).load().expect("whole").expect("enrolled");
    assert_eq!(held.record.name, stands, "as the collector calls it");
}
