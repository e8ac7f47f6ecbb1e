//! `doctor` over a collector that is there.

use std::path::Path;

use muster::clock::SystemClock;
use muster::ids::AgentId;

use super::fake::{Fake, new_key, now, server, token};
use crate::config::{AgentConfig, Overrides};
use crate::doctor::{Finding, Verdict, gather, judge};
use crate::enrol::Store;
use crate::enrol::client::{About, FirstContact, enrol};

async fn examined(address: &str, folder: &Path) -> Vec<Finding> {
    let overrides = Overrides {
        server: Some(address.to_owned()),
        state_dir: Some(folder.to_owned()),
        metrics_listen: Some("off".to_owned()),
        ..Overrides::default()
    };
    let config = AgentConfig::parse("", overrides, &|_| None);
    judge(&gather(config, None, &SystemClock::new()).await)
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.check == check).expect("said")
}

#[tokio::test]
async fn the_doctor_goes_all_the_way_to_the_credential_and_begins_no_stream() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    // Not there yet: it is made for its owner alone.
    let state_dir = folder.path().join("state");
    let server = server(fake.listen().await, &state_dir);
    let address = server.address.to_string();

    let before = examined(&address, &state_dir).await;
    let tls = of(&before, "TLS");
    assert_eq!((of(&before, "server").verdict, tls.verdict), (Verdict::Ok, Verdict::Failed), "{before:?}");
    assert!(tls.words.contains("a collector's authority") && tls.words.contains("UnknownIssuer"), "{tls:?}");

    let about = About {
        agent_id: AgentId::from_bytes([7; 16]),
        name: "danas-laptop".to_owned(),
        host: "laptop".to_owned(),
        user: "dana".to_owned(),
    };
    let contact = FirstContact::Pinned(fake.fingerprint());
    let held = enrol(&server, &contact, &token(), &about, new_key(), now()).await.expect("enrolled");
    Store::new(&state_dir).replace(&held, None).expect("kept");
    let after = examined(&address, &state_dir).await;
    for check in ["clock", "server", "TLS", "credential"] {
        assert_eq!(of(&after, check).verdict, Verdict::Ok, "{after:?}");
    }
    assert!(of(&after, "credential").words.contains("danas-laptop in team payments"), "{after:?}");
    assert!(of(&after, "permissions").words.contains("private key"), "{after:?}");
    assert!(fake.asked.lock().events.is_empty() && fake.asked.lock().goodbyes.is_empty());
}
