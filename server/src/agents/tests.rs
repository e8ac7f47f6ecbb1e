use super::*;

fn record(n: u8) -> AgentRecord {
    let name = AgentName { team: "red".parse().expect("team"), agent: AgentId::from_bytes([n; 16]) };
    AgentRecord {
        name: format!("laptop-{n}"),
        host: "laptop".to_owned(),
        user: "dana".to_owned(),
        enrolled_us: 1,
        serial: "01".to_owned(),
        not_after_us: 10,
        ..AgentRecord::without_certificate(&name, muster::credential::Token::from_random([n; 44]).id())
    }
}

#[test]
fn an_agent_enrols_again_in_its_own_place_unless_it_was_revoked() {
    let dir = tempfile::tempdir().expect("folder");
    for n in [1, 2, 1] {
        AgentFile::edit(dir.path()).expect("free").enrolled(record(n)).expect("kept");
    }
    assert_eq!(AgentFile::list(dir.path()).expect("valid"), [record(1), record(2)]);
    let mut file = AgentFile::edit(dir.path()).expect("free");
    let revoke = |record: &mut AgentRecord| record.revoked_us.replace(5).is_none();
    file.change(&record(1).name(), revoke).expect("known");
    assert!(matches!(file.enrolled(record(1)), Err(AgentFileError::Revoked)));
    // The same id in another team is another agent.
    let elsewhere = AgentRecord { team: "blue".parse().expect("team"), ..record(1) };
    file.enrolled(elsewhere).expect("kept");
    assert!(matches!(file.change(&record(9).name(), |_| true), Err(AgentFileError::Missing)));
}

fn shown(serial: &str, sha256: &str) -> PeerCertificate {
    PeerCertificate {
        name: Some(record(1).name()),
        not_after: WallTime(u64::MAX),
        serial: serial.to_owned(),
        sha256: sha256.to_owned(),
        reader: None,
    }
}

fn issued(serial: &str) -> Issued {
    Issued {
        chain: Vec::new(),
        authorities: Vec::new(),
        serial: serial.to_owned(),
        sha256: format!("sha of {serial}"),
        not_before: WallTime(0),
        not_after: WallTime(100),
    }
}

#[test]
fn the_newest_certificate_and_the_one_before_are_good_and_no_other() {
    let mut record = record(1);
    let standing = |record: &AgentRecord, serial: &str, now| {
        record.standing(&shown(serial, &format!("sha of {serial}")), WallTime(now))
    };
    // As an older collector kept it: by the serial number alone.
    assert_eq!(standing(&record, "01", 5), Standing::Newest);
    record.renewed(Standing::Newest, &issued("02"), "key 02", WallTime(5));
    assert_eq!(standing(&record, "02", 5), Standing::Newest);
    assert_eq!(standing(&record, "01", 5), Standing::Previous);
    assert_eq!(standing(&record, "01", 10), Standing::Other, "it has ended, whatever it says of itself");
    // The answer was lost, and the agent asks again.
    record.renewed(Standing::Previous, &issued("03"), "key 03", WallTime(6));
    let all = ["01", "02", "03"].map(|serial| standing(&record, serial, 6));
    assert_eq!(all, [Standing::Previous, Standing::Other, Standing::Newest]);
    record.renewed(Standing::Newest, &issued("04"), "key 04", WallTime(7));
    let all = ["01", "03", "04"].map(|serial| standing(&record, serial, 7));
    assert_eq!(all, [Standing::Other, Standing::Previous, Standing::Newest]);
    let forged = shown("04", "sha of another with that number");
    assert_eq!(record.standing(&forged, WallTime(7)), Standing::Other);
}

#[test]
fn until_the_newest_certificate_was_seen_the_one_before_stays_good_whatever_is_issued() {
    let mut record = record(1);
    let now = WallTime(5);
    let standing = |record: &AgentRecord, serial: &str| {
        record.standing(&shown(serial, &format!("sha of {serial}")), now)
    };
    // An older collector kept no word of it: the newest is taken for seen.
    record.enrolled(&issued("02"), "key 02", now);
    let token = record.token_id.clone();
    assert!(record.is_answer_due(&token, "key 02") && !record.is_answer_due(&token, "key 03"));
    assert!(record.speaks_by_certificate(now), "with the one before");
    for serial in ["03", "04"] {
        record.enrolled(&issued(serial), &format!("key {serial}"), now);
        let both = [standing(&record, "01"), standing(&record, serial)];
        assert_eq!(both, [Standing::Previous, Standing::Newest]);
    }
    assert_eq!(standing(&record, "02"), Standing::Other);
    // A renewal in between takes nothing from an enrolment that was paid for.
    record.renewed(Standing::Previous, &issued("05"), "key 05", now);
    assert!(record.note_seen() && !record.note_seen(), "news once");
    assert!(record.is_answer_due(&token, "key 04"));
    record.enrolled(&issued("06"), "key 04", now);
    let all = ["01", "05", "06"].map(|serial| standing(&record, serial));
    assert_eq!(all, [Standing::Other, Standing::Previous, Standing::Newest]);
    assert!(record.note_seen() && !record.is_answer_due(&token, "key 04"), "it has arrived");
}

#[test]
fn an_agent_speaks_by_its_certificate_alone_from_when_the_first_is_seen_to_when_the_last_ends() {
    let mut record = AgentRecord { not_after_us: 0, ..record(1) };
    record.enrolled(&issued("02"), "key 02", WallTime(5));
    assert!(!record.speaks_by_certificate(WallTime(5)), "the answer may be lost");
    record.note_seen();
    assert!(record.speaks_by_certificate(WallTime(99)) && !record.speaks_by_certificate(WallTime(100)));
    let mut renewed = record.clone();
    let longer = Issued { not_after: WallTime(150), ..issued("02b") };
    renewed.renewed(Standing::Newest, &longer, "key 02b", WallTime(50));
    assert!(
        renewed.speaks_by_certificate(WallTime(149)),
        "it renewed, whether or not it has come back since"
    );
    assert!(!renewed.speaks_by_certificate(WallTime(150)));
    let later = Issued { not_after: WallTime(200), ..issued("03") };
    record.enrolled(&later, "key 03", WallTime(100));
    assert!(!record.speaks_by_certificate(WallTime(100)), "it had ended, and the new one may not have come");
}

#[test]
fn what_was_seen_is_written_down_for_the_newest_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let mut file = AgentFile::edit(dir.path()).expect("free");
    for n in [1, 2] {
        file.enrolled(AgentRecord { sha256: format!("sha {n}"), ..record(n) }).expect("kept");
    }
    // The first was seen with the one before as well.
    let seen = [(1, "sha 1"), (1, "of long ago"), (2, "of long ago")];
    let seen = seen.map(|(n, sha256)| (record(n).name(), sha256.to_owned()));
    file.note_seen(&seen).expect("kept");
    let listed = AgentFile::list(dir.path()).expect("valid");
    assert_eq!(listed.iter().map(|record| record.seen).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn an_agent_is_forgotten_when_no_certificate_of_it_can_be_valid_and_not_before() {
    let dir = tempfile::tempdir().expect("folder");
    let mut file = AgentFile::edit(dir.path()).expect("free");
    let life = Duration::from_micros(20);
    let revoked = AgentRecord { not_after_us: 1_000, revoked_us: Some(5), ..record(2) };
    for record in [record(1), revoked.clone(), record(3)] {
        file.enrolled(record).expect("kept");
    }
    let mut forget = |n: u8, now| file.forget(&record(n).name(), life, WallTime(now));
    assert!(matches!(forget(1, 9), Err(AgentFileError::Valid)));
    // The first expired at 10, the second was revoked at 5.
    for (n, now, wanted) in [(1, 29, 30), (2, 25, 1_000), (2, 999, 1_000)] {
        match forget(n, now) {
            Err(AgentFileError::EndedLately { forgettable_at }) => {
                assert_eq!(forgettable_at, WallTime(wanted))
            }
            other => panic!("{n} at {now}: {other:?}"),
        }
    }
    assert_eq!(forget(1, 30).expect("over"), record(1));
    assert_eq!(forget(2, 1_000).expect("over"), revoked);
    assert!(matches!(forget(2, 1_000), Err(AgentFileError::Missing)));
    assert_eq!(AgentFile::list(dir.path()).expect("valid"), [record(3)]);
}

#[test]
fn what_an_agent_says_cannot_disturb_a_table() {
    assert_eq!(plain("dana\u{1b}[31m\n's laptop"), "dana[31m's laptop");
    assert_eq!(plain(&"ä".repeat(200)).len(), AGENT_TEXT_BYTES_MAX);
}
