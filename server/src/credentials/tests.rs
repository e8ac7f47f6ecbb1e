use super::*;
use muster::clock::WallTime;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn token(seed: u8) -> Token {
    Token::from_random(std::array::from_fn(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)))
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.expose())
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
    let caller = credentials.authenticate(HERE, Some(bearer(&token).as_bytes())).expect("valid");
    assert_eq!(caller.team.as_str(), "red");

    let changes = credentials.changes();
    TokenFile::edit(dir.path()).expect("free").revoke(token.id().as_str(), WallTime(2)).expect("known");
    credentials.look();
    assert!(changes.has_changed().expect("alive"));
    assert!(!credentials.is_valid(&caller));
    assert_eq!(credentials.authenticate(HERE, Some(bearer(&token).as_bytes())), Err(NotAccepted));
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
    let read = |token: &Token| credentials.authenticate_reader(HERE, bearer(token).as_bytes());
    assert_eq!(read(&token), Ok(Scope::Operator));
    assert_eq!(read(&of_team), Ok(Scope::Team("red".parse().expect("team"))));
    assert_eq!(credentials.authenticate(HERE, Some(bearer(&token).as_bytes())), Err(NotAccepted));
    assert_eq!(credentials.figures.credentials_refused.value(CredentialRefusal::Operator), 1);
    TokenFile::edit(dir.path()).expect("free").revoke(token.id().as_str(), WallTime(2)).expect("known");
    credentials.look();
    assert_eq!(read(&token), Err(NotAccepted));
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
        assert!(matches!(TokenFile::list(dir.path()), Err(TokenFileError::Invalid { .. })), "{broken}");
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
        assert_eq!(credentials.authenticate(HERE, Some(header.as_bytes())), Err(NotAccepted), "{header:?}");
    }
    assert!(credentials.authenticate(HERE, None).is_ok());
    assert_eq!(open(dir.path(), false).authenticate(HERE, None), Err(NotAccepted));
}

#[test]
fn guesses_of_one_id_are_limited_for_their_address_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let token = token(1);
    add(dir.path(), &token, "red");
    let credentials = open(dir.path(), false);
    let revoked = self::token(3);
    for _ in 0..1_000 {
        let refused = credentials.authenticate(HERE, Some(bearer(&revoked).as_bytes()));
        assert_eq!(refused, Err(NotAccepted));
    }
    assert!(credentials.figures.credentials_refused.value(CredentialRefusal::Limited) > 900);
    assert!(credentials.authenticate(HERE, Some(bearer(&token).as_bytes())).is_ok());
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
    assert!(credentials.authenticate(HERE, Some(bearer(&token).as_bytes())).is_ok());
    assert!(matches!(TokenFile::edit(dir.path()), Err(TokenFileError::Invalid { .. })));
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
