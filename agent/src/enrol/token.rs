//! The enrolment token: from a file that is private or from a variable.

use std::path::Path;

use muster::credential::{Token, TokenError, TokenKind};
use secrecy::{ExposeSecret, SecretString};

/// Why there is no enrolment token. No variant carries what was read.
#[derive(Debug, thiserror::Error)]
pub enum EnrolTokenError {
    /// Neither a file nor the variable.
    #[error(
        "no enrolment token: name its file with --enroll-token-file, or set MUSTER_ENROLL_TOKEN; one is made at the \
         collector with `muster token create --enroll --team TEAM`"
    )]
    None,
    /// It cannot be read, or is none.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Reads a token from the value of `MUSTER_ENROLL_TOKEN`.
pub fn from_variable(value: Option<String>) -> Result<Token, EnrolTokenError> {
    let value = value.filter(|text| !text.trim().is_empty()).map(SecretString::from);
    let token = Token::parse(value.ok_or(EnrolTokenError::None)?.expose_secret())?;
    Ok(token.must_be(TokenKind::Enrolment)?)
}

/// Reads a token from a file that is private ([`muster::private_file`]).
pub fn from_file(path: &Path) -> Result<Token, EnrolTokenError> {
    Ok(Token::from_file(path)?.must_be(TokenKind::Enrolment)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrolment_token_is_whole_and_no_other_is_one() {
        let token = Token::of_kind(TokenKind::Enrolment, [9; 44]);
        let text = token.expose().to_owned();
        let read = |text: &str| from_variable(Some(text.to_owned()));
        assert_eq!(read(&format!("{text}\n")).expect("whole").id(), token.id());
        let cut = read(&text[..text.len() - 1]).expect_err("cut").to_string();
        assert!(cut.contains("was it cut"), "{cut}");
        let of_agent = Token::from_random([9; 44]);
        let wrong = read(of_agent.expose()).expect_err("another kind").to_string();
        assert!(wrong.contains("token_file") && !wrong.contains(of_agent.expose()), "{wrong}");
        assert!(matches!(read("  "), Err(EnrolTokenError::None)));
        assert!(matches!(from_variable(None), Err(EnrolTokenError::None)));
    }
}
