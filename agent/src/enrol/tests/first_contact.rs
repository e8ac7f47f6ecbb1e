//! `enrol`: what is trusted, what is sent, and what is said when it does not work.

use std::time::Duration;

use muster::ids::AgentId;
use secrecy::ExposeSecret;
use tonic::Status;

use super::fake::{Fake, TEAM, new_key, now, server, token};
use crate::enrol::client::{About, EnrolError, FirstContact, enrol, renew};
use crate::enrol::{Enrolment, Fingerprint, key};

fn about() -> About {
    About {
        agent_id: AgentId::from_bytes([7; 16]),
        name: String::new(),
        host: "laptop".to_owned(),
        user: "dana".to_owned(),
    }
}

async fn enrolled(fake: &std::sync::Arc<Fake>, contact: FirstContact) -> Result<Enrolment, EnrolError> {
    let address = fake.listen().await;
    let folder = tempfile::tempdir().expect("folder");
    enrol(&server(address, folder.path()), &contact, &token(), &about(), new_key(), now()).await
}

#[tokio::test]
async fn a_certificate_comes_for_a_key_that_never_left() {
    let fake = Fake::new();
    let held = enrolled(&fake, FirstContact::Pinned(fake.fingerprint())).await.expect("enrolled");
    assert_eq!(held.record.team, TEAM);
    assert_eq!(held.record.name, "laptop");
    assert_eq!(held.certificate.agent_id, about().agent_id);
    assert_eq!(
        key::public_key_of(held.key_pem.expose_secret()),
        Some(held.certificate.public_key_der.clone())
    );
    assert_eq!(held.authorities_pem, fake.authority_pem.replace("\r\n", "\n"));
    assert_eq!(held.ca_pem.as_deref(), Some(held.authorities_pem.as_str()));

    let asked = fake.asked.lock();
    assert_eq!(asked.authorizations, [format!("Bearer {}", token().expose())]);
    let (debug, sent) = asked.requests.first().expect("asked");
    assert!(debug.contains("laptop") && debug.contains("dana"));
    for secret in private_parts(&held) {
        assert!(!contains(sent, &secret), "the private key was sent");
        assert!(!format!("{held:?}").as_bytes().windows(secret.len()).any(|w| w == secret));
    }
    assert!(format!("{held:?}").contains("REDACTED"));
    assert!(!format!("{:?} {:?}", token(), held).contains(token().expose()));
}

/// What no message may hold: the key's number itself, and the digits of its PEM.
fn private_parts(held: &Enrolment) -> Vec<Vec<u8>> {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject;
    let pem = held.key_pem.expose_secret();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("PKCS#8");
    let der = der.secret_pkcs8_der();
    // RFC 5915: version 1, then 32 bytes.
    let mark = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = der.windows(mark.len()).position(|w| w == mark).expect("an EC key") + mark.len();
    let digits = pem.lines().nth(1).expect("digits").as_bytes().to_vec();
    vec![der[at..at + 32].to_vec(), digits]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn another_authority_than_the_pinned_one_is_refused_before_the_token_is_sent() {
    let fake = Fake::new();
    let other = Fingerprint::of(b"another");
    let error = enrolled(&fake, FirstContact::Pinned(other)).await.expect_err("refused").to_string();
    assert!(error.contains(&other.to_string()) && error.contains("muster authority show"), "{error}");
    let stranger = Fake::new().authority_pem.clone();
    for contact in [FirstContact::Public, FirstContact::Authorities(stranger)] {
        let error = enrolled(&fake, contact).await.expect_err("refused").to_string();
        // A stranger of the same name is found by its signature.
        assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    }
    assert!(fake.asked.lock().authorizations.is_empty());
}

#[tokio::test]
async fn a_pinned_authority_does_not_make_another_name_right() {
    let fake = Fake::new();
    let folder = tempfile::tempdir().expect("folder");
    let mut server = server(fake.listen().await, folder.path());
    server.tls_name = Some("collector.example.com".to_owned());
    let contact = FirstContact::Pinned(fake.fingerprint());
    let error = enrol(&server, &contact, &token(), &about(), new_key(), now())
        .await
        .expect_err("refused")
        .to_string();
    assert!(error.contains("collector.example.com"), "{error}");
    assert!(fake.asked.lock().authorizations.is_empty());
}

#[tokio::test]
async fn each_refusal_says_what_to_do_and_nothing_of_the_token() {
    let fake = Fake::new();
    for (status, words) in [
        (Status::unauthenticated("credential not accepted"), "muster token create --enroll"),
        (Status::unimplemented(""), "does not enrol agents"),
        (Status::unavailable("the journal is full"), "takes no other use of it"),
        (Status::resource_exhausted("slowly"), "slowly"),
    ] {
        fake.asked.lock().refuse = Some(status);
        let error = enrolled(&fake, FirstContact::Authorities(fake.authority_pem.clone())).await;
        let error = error.expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {error:?}").contains(token().expose()));
    }
}

#[tokio::test]
async fn plaintext_and_a_collector_that_is_not_there_are_told_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let mut server = server("127.0.0.1:1".parse().expect("address"), folder.path());
    let error =
        enrol(&server, &FirstContact::Public, &token(), &about(), new_key(), now()).await.expect_err("away");
    assert!(error.to_string().contains("refused"), "{error}");
    server.address = "http://collector.example.com:4317".parse().expect("address");
    let error = enrol(&server, &FirstContact::Public, &token(), &about(), new_key(), now())
        .await
        .expect_err("plaintext");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_not_taken() {
    let fake = Fake::new();
    let folder = tempfile::tempdir().expect("folder");
    let server = server(fake.listen().await, folder.path());
    let contact = FirstContact::Pinned(fake.fingerprint());
    let mut held = enrol(&server, &contact, &token(), &about(), new_key(), now()).await.expect("enrolled");
    held.record.agent_id = AgentId::from_bytes([8; 16]);
    let error = renew(&server, &held, now()).await.expect_err("not ours");
    assert!(matches!(error, EnrolError::Answer("its certificate is for another agent")), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_the_collector_and_told_with_what_to_do() {
    let fake = Fake::new();
    fake.asked.lock().life = Duration::from_secs(1);
    let folder = tempfile::tempdir().expect("folder");
    let server = server(fake.listen().await, folder.path());
    let contact = FirstContact::Pinned(fake.fingerprint());
    let held = enrol(&server, &contact, &token(), &about(), new_key(), now()).await.expect("enrolled");
    tokio::time::sleep(Duration::from_secs(2)).await;
    renew(&server, &held, now()).await.expect_err("it has ended");
    let words = crate::enrol::renewal::ended(held.certificate.not_after);
    assert!(words.contains("muster agent enroll --force"), "{words}");
}
