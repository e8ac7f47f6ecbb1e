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
    file.add(token, team.parse().expect("team"), WallTime(1)).expect("written");
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
