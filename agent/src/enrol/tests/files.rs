//! The files: whole at every moment, and for their owner alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use muster::ids::AgentId;

use super::fake::{Fake, TEAM, now};
use crate::enrol::store::{Enrolment, Record, Store, StoreError};
use crate::enrol::{Certificate, key, text};

fn enrolment(fake: &Fake) -> Enrolment {
    let requested = key::request().expect("key");
    let agent_id = AgentId::from_bytes([7; 16]);
    let issued = fake.issue(&requested.csr_der, agent_id, Duration::from_secs(3600));
    let own = issued.certificate_chain_der.first().expect("one").as_slice();
    Enrolment {
        record: Record {
            server: "https://localhost:4317/".to_owned(),
            tls_name: None,
            team: TEAM.to_owned(),
            name: "laptop".to_owned(),
            agent_id,
            enrolled_us: now().0,
            received_us: now().0,
            collector_is_of_authority: true,
        },
        certificate: Certificate::from_der(own).expect("ours"),
        certificate_pem: text::certificates([own]),
        key_pem: requested.key_pem,
        authorities_pem: fake.authority_pem.clone(),
        ca_pem: None,
    }
}

fn serial(store: &Store) -> String {
    store.load().expect("readable").expect("enrolled").certificate.serial
}

#[test]
fn what_is_kept_is_read_back_and_a_new_one_replaces_all_of_it() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let store = Store::new(folder.path());
    assert!(store.load().expect("nothing is no error").is_none());
    let (first, second) = (enrolment(&fake), enrolment(&fake));
    store.replace(&first, None).expect("kept");
    assert_eq!(store.load().expect("read").expect("there").record, first.record);
    assert!(store.replace(&second, Some(&first.certificate.serial)).expect("kept"));
    assert_eq!(serial(&store), second.certificate.serial);
    let late = enrolment(&fake);
    assert!(
        !store.replace(&late, Some(&first.certificate.serial)).expect("not an error"),
        "it was replaced before"
    );
    assert_eq!(serial(&store), second.certificate.serial);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["enrolment", "enrolment.lock"]);
}

#[test]
fn a_crash_at_any_moment_leaves_one_whole_pair() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let store = Store::new(folder.path());
    let (first, second) = (enrolment(&fake), enrolment(&fake));
    store.replace(&first, None).expect("kept");
    let [live, new, old] = ["enrolment", "enrolment.new", "enrolment.old"].map(|n| folder.path().join(n));

    // While the new files are written.
    copy(&live, &new);
    fs::remove_file(new.join("certificate.pem")).expect("half");
    assert_eq!(serial(&store), first.certificate.serial);
    // Between the two changes of name.
    rename(&live, &old);
    assert_eq!(serial(&store), first.certificate.serial);
    // The next try goes on from there.
    assert!(store.replace(&second, Some(&first.certificate.serial)).expect("kept"));
    assert_eq!(serial(&store), second.certificate.serial);
    // Before the old one was removed.
    copy(&live, &old);
    assert_eq!(serial(&store), second.certificate.serial);
    store.replace(&first, None).expect("kept");
    assert_eq!(serial(&store), first.certificate.serial);
    assert!(!new.exists() && !old.exists());
}

#[test]
fn a_reader_never_gets_half_of_two_pairs() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let store = Store::new(folder.path());
    let pairs = [enrolment(&fake), enrolment(&fake)];
    store.replace(&pairs[0], None).expect("kept");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..100 {
                store.replace(&pairs[turn % 2], None).expect("kept");
            }
        });
        let mut read = 0;
        while !writer.is_finished() || read == 0 {
            // Whether it is a pair is checked at each load.
            store.load().expect("always whole").expect("always there");
            read += 1;
        }
    });
}

#[cfg(unix)]
#[test]
fn the_key_is_for_its_owner_alone_and_a_loose_one_is_refused_with_the_command_that_helps() {
    use std::os::unix::fs::PermissionsExt;
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let store = Store::new(folder.path());
    store.replace(&enrolment(&fake), None).expect("kept");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&store.folder()), 0o700);
    let key = store.folder().join("key.pem");
    assert_eq!(mode(&key), 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = store.load().expect_err("loose");
    assert!(matches!(error, StoreError::LooseKey { mode: 0o644, .. }));
    assert!(error.to_string().contains(&format!("chmod 600 {}", key.display())), "{error}");
}

#[test]
fn damage_is_told_with_what_to_do_and_without_the_content() {
    let (fake, folder) = (Fake::new(), tempfile::tempdir().expect("folder"));
    let store = Store::new(folder.path());
    let (ours, other) = (enrolment(&fake), enrolment(&fake));
    store.replace(&ours, None).expect("kept");
    let key = store.folder().join("key.pem");
    use secrecy::ExposeSecret;
    let secret = other.key_pem.expose_secret();
    muster::atomic_file::replace(&key, secret.as_bytes(), muster::atomic_file::Access::Owner).expect("write");
    let error = store.load().expect_err("another's key").to_string();
    assert!(error.contains("--force") && error.contains("not the key"), "{error}");
    let digits = secret.lines().nth(1).expect("digits");
    assert!(!error.contains(digits));
    for name in ["enrolment.json", "certificate.pem", "key.pem"] {
        store.replace(&ours, None).expect("kept");
        let path = store.folder().join(name);
        muster::atomic_file::replace(&path, b"\xff\x00{", muster::atomic_file::Access::Owner).expect("write");
        store.load().expect_err(name);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}

#[expect(clippy::disallowed_methods, reason = "what a crash leaves")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("rename");
}
