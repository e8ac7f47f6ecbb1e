use super::*;
use crate::agents::AgentRecord;
use crate::record_file::RecordFileError;
use muster::credential::TokenKind;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn token(seed: u8) -> Token {
    Token::from_random(std::array::from_fn(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)))
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.expose())
}

fn send(credentials: &Credentials, header: Option<&[u8]>) -> Result<Caller, NotAccepted> {
    credentials.authenticate(Presented::token(HERE, header))
}

fn read(credentials: &Credentials, header: &str) -> Result<Sight, ReaderRefused> {
    credentials
        .authenticate_reader(Presented::token(HERE, Some(header.as_bytes())))
        .map(|reading| reading.sight)
}

fn open(dir: &Path, anonymous_allowed: bool) -> Arc<Credentials> {
    Credentials::open(dir, anonymous_allowed, crate::telemetry::detached_figures()).expect("readable")
}

fn add(dir: &Path, token: &Token, team: &str) {
    let file = TokenFile::edit(dir).expect("free");
    file.add(token, Scope::Team(team.parse().expect("team")), WallTime(1)).expect("written");
}

#[test]
fn a_token_speaks_for_its_team_until_it_is_revoked() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let credentials = open(dir.path(), false);
    let caller = send(&credentials, Some(bearer(&token).as_bytes())).expect("valid");
    assert_eq!(caller.team.as_str(), "red");

    let changes = credentials.changes();
    TokenFile::edit(dir.path()).expect("free").revoke(token.id().as_str(), WallTime(2)).expect("known");
    credentials.look();
    assert!(changes.has_changed().expect("alive"));
    assert!(!credentials.is_valid(&caller));
    assert_eq!(send(&credentials, Some(bearer(&token).as_bytes())), Err(NotAccepted));
}

#[test]
fn an_operators_token_reads_everything_and_is_refused_where_something_is_sent() {
    let dir = tempfile::tempdir().expect("folder");
    let (token, of_team) = (self::token(1), self::token(2));
    let file = TokenFile::edit(dir.path()).expect("free");
    file.add(&token, Scope::Operator, WallTime(1)).expect("written");
    add(dir.path(), &of_team, "red");
    // On loopback too, where nobody needs a token: one that is given must be right.
    let credentials = open(dir.path(), true);
    let read = |token: &Token| self::read(&credentials, &bearer(token));
    assert_eq!(read(&token), Ok(Sight::All));
    assert_eq!(read(&of_team), Ok(Sight::Team("red".parse().expect("team"))));
    assert_eq!(send(&credentials, Some(bearer(&token).as_bytes())), Err(NotAccepted));
    assert_eq!(credentials.figures.credentials_refused.value(CredentialRefusal::Operator), 1);
    TokenFile::edit(dir.path()).expect("free").revoke(token.id().as_str(), WallTime(2)).expect("known");
    credentials.look();
    assert_eq!(read(&token), Err(NotAccepted.into()));
}

#[test]
fn a_record_that_lost_its_team_is_no_operators() {
    let dir = tempfile::tempdir().expect("folder");
    add(dir.path(), &token(1), "red");
    let path = dir.path().join("tokens.json");
    let text = std::fs::read_to_string(&path).expect("written");
    for broken in
        [text.replace("\"team\": \"red\",", ""), text.replace("\"team\"", "\"operator\": true, \"team\"")]
    {
        assert_ne!(broken, text);
        muster::atomic_file::replace(&path, broken.as_bytes(), muster::atomic_file::Access::Owner)
            .expect("write");
        let listed = TokenFile::list(dir.path());
        assert!(matches!(listed, Err(TokenFileError::File(RecordFileError::Invalid { .. }))), "{broken}");
    }
}

#[test]
fn every_wrong_credential_has_the_same_answer() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let credentials = open(dir.path(), true);
    let good = bearer(&token);
    let other = bearer(&self::token(2));
    for header in ["", "Bearer", "Bearer ", "Basic x", &good[..40], other.as_str()] {
        assert_eq!(send(&credentials, Some(header.as_bytes())), Err(NotAccepted), "{header:?}");
    }
    assert!(send(&credentials, None).is_ok());
    assert_eq!(send(&open(dir.path(), false), None), Err(NotAccepted));
}

#[test]
fn guesses_of_one_id_are_limited_for_their_address_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let credentials = open(dir.path(), false);
    let revoked = self::token(3);
    for _ in 0..1_000 {
        let refused = send(&credentials, Some(bearer(&revoked).as_bytes()));
        assert_eq!(refused, Err(NotAccepted));
    }
    assert!(credentials.figures.credentials_refused.value(CredentialRefusal::Limited) > 900);
    assert!(send(&credentials, Some(bearer(&token).as_bytes())).is_ok());
}

#[test]
fn a_broken_token_file_leaves_the_old_tokens_and_is_never_written_over() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let credentials = open(dir.path(), false);
    let path = dir.path().join("tokens.json");
    muster::atomic_file::replace(&path, b"{ broken", muster::atomic_file::Access::Owner).expect("write");
    credentials.look();
    assert!(send(&credentials, Some(bearer(&token).as_bytes())).is_ok());
    let edited = TokenFile::edit(dir.path());
    assert!(matches!(edited, Err(TokenFileError::File(RecordFileError::Invalid { .. }))));
}

#[test]
fn the_file_holds_no_secret() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let text = std::fs::read_to_string(dir.path().join("tokens.json")).expect("written");
    let secret = token.expose().rsplit('_').nth(1).expect("secret part");
    assert!(!text.contains(secret) && text.contains(token.id().as_str()));
}

#[test]
fn an_agents_token_sends_for_its_team_and_reads_nothing() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    let red: Team = "red".parse().expect("team");
    let file = TokenFile::edit(dir.path()).expect("free");
    file.add(&token, Scope::Agent(red.clone()), WallTime(1)).expect("written");
    let credentials = open(dir.path(), true);
    let header = bearer(&token);
    let caller = send(&credentials, Some(header.as_bytes())).expect("sends");
    assert_eq!(caller.team, red);
    assert!(credentials.is_valid(&caller));
    let read = read(&credentials, &header);
    assert_eq!(read, Err(ReaderRefused::ReadsNothing));
}

#[test]
fn an_enrolment_token_neither_sends_nor_reads() {
    let dir = tempfile::tempdir().expect("folder");
    let token = Token::of_kind(TokenKind::Enrolment, [5; 44]);
    let file = TokenFile::edit(dir.path()).expect("free");
    file.add(&token, Scope::Enrolment("red".parse().expect("team")), WallTime(1)).expect("written");
    let credentials = open(dir.path(), true);
    let header = bearer(&token);
    assert_eq!(send(&credentials, Some(header.as_bytes())), Err(NotAccepted));
    assert_eq!(read(&credentials, &header), Err(NotAccepted.into()));
    assert_eq!(credentials.figures.credentials_refused.value(CredentialRefusal::Role), 2);
}

#[test]
fn a_token_that_ends_by_itself_is_refused_then_and_its_streams_are_told() {
    let dir = tempfile::tempdir().expect("folder");
    let clock = Arc::new(muster::clock::ManualClock::at(WallTime(1_000)));
    let token = token(1);
    let file = TokenFile::edit(dir.path()).expect("free");
    let scope = Scope::Team("red".parse().expect("team"));
    let new = NewToken { scope, name: None, expires: Some(WallTime(2_000)), uses: 1 };
    file.add_new(&token, new, WallTime(1)).expect("written");
    let figures = crate::telemetry::detached_figures();
    let credentials = Credentials::with_clock(dir.path(), false, figures, clock.clone()).expect("readable");
    let caller = send(&credentials, Some(bearer(&token).as_bytes())).expect("valid yet");
    let changes = credentials.changes();
    credentials.look();
    assert!(!changes.has_changed().expect("alive") && credentials.is_valid(&caller));
    clock.set_wall(WallTime(2_000));
    credentials.look();
    assert!(changes.has_changed().expect("alive") && !credentials.is_valid(&caller));
    assert_eq!(send(&credentials, Some(bearer(&token).as_bytes())), Err(NotAccepted));
    assert_eq!(credentials.figures.credentials_refused.value(CredentialRefusal::Expired), 1);
}

/// An agent of the team red whose certificate ends then.
fn agent(n: u8, not_after_us: u64) -> AgentRecord {
    let words = serde_json::json!({
        "id": AgentId::from_bytes([n; 16]), "team": "red", "name": format!("laptop-{n}"), "enrolled_us": 1,
        "token_id": token(n).id(), "serial": "01", "not_after_us": not_after_us,
    });
    serde_json::from_value(words).expect("a record")
}

#[test]
fn a_revocation_is_told_though_another_agents_renewal_is_what_brings_it() {
    let dir = tempfile::tempdir().expect("folder");
    let record = |n| agent(n, u64::MAX);
    for n in [1, 2] {
        AgentFile::edit(dir.path()).expect("free").enrolled(record(n)).expect("kept");
    }
    let credentials = open(dir.path(), false);
    let changes = credentials.changes();
    let mut file = AgentFile::edit(dir.path()).expect("free");
    let revoke = |record: &mut AgentRecord| record.revoked_us.replace(5).is_none();
    file.change(&record(1).name(), revoke).expect("known");
    drop(file);
    // Before the next look at the file.
    let mut file = AgentFile::edit(dir.path()).expect("free");
    file.change(&record(2).name(), |record| record.renewed_us.replace(6).is_none()).expect("known");
    credentials.know_agents(&file);
    assert!(changes.has_changed().expect("alive"), "the streams of the revoked one are not told");
}

#[test]
fn a_certificates_end_is_told_though_another_agents_renewal_comes_first() {
    let dir = tempfile::tempdir().expect("folder");
    for agent in [agent(1, 2_000), agent(2, u64::MAX)] {
        AgentFile::edit(dir.path()).expect("free").enrolled(agent).expect("kept");
    }
    let clock = Arc::new(muster::clock::ManualClock::at(WallTime(1_000)));
    let figures = crate::telemetry::detached_figures();
    let credentials = Credentials::with_clock(dir.path(), false, figures, clock.clone()).expect("readable");
    let changes = credentials.changes();
    clock.set_wall(WallTime(2_000));
    let mut file = AgentFile::edit(dir.path()).expect("free");
    file.change(&agent(2, 0).name(), |record| record.renewed_us.replace(6).is_none()).expect("known");
    credentials.know_agents(&file);
    assert!(changes.has_changed().expect("alive"), "the streams of the one that ended are not told");
}
