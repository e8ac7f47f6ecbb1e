//! What may leave the machine: pure rules over texts.

use std::borrow::Cow;

use super::WORD_BYTES_MAX;

/// What stands for a text that may not leave.
pub(crate) const REDACTED: &str = "redacted";

/// Keeps a text that looks like a name; answers [`REDACTED`] for prose, paths, addresses and secrets.
pub(crate) fn word(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.is_empty() {
        return Cow::Borrowed("");
    }
    let wordlike = text.len() <= WORD_BYTES_MAX
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/' | '@' | '+' | '#' | ' '))
        && text.split_whitespace().count() <= 4;
    if !wordlike
        || looks_like_path(text)
        || names_a_file(text)
        || looks_like_address(text)
        || looks_like_secret(text)
    {
        return Cow::Borrowed(REDACTED);
    }
    Cow::Borrowed(text)
}

/// The name of a project, a machine or a branch: never empty when given one, and two names never become the same. What a
/// label or a secret scanner could trip over is replaced; a name that looks like a secret becomes its checksum.
pub(crate) fn name(text: &str) -> String {
    let text = text.trim();
    if looks_like_secret(text) || looks_like_address(text) || text.len() > WORD_BYTES_MAX {
        return format!("{REDACTED}-{:08x}", crc32c::crc32c(text.as_bytes()));
    }
    text.chars().map(|c| if c.is_control() || c == '\\' { '_' } else { c }).collect()
}

/// Cuts a text and replaces what looks like a secret or a path in it, and the value that a secret's name is given.
pub(crate) fn scrub(text: &str, bytes_max: usize) -> String {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    let mut out = String::with_capacity(text.len());
    let mut secret = Secret::Unnamed;
    for piece in text
        .split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '=' | ',' | ';' | '(' | ')'))
    {
        let token = piece.trim_end_matches(|c: char| {
            c.is_whitespace() || matches!(c, '"' | '\'' | '=' | ',' | ';' | '(' | ')')
        });
        let is_given = secret.goes_on(token);
        let leaves =
            !(is_given || looks_like_secret(token) || looks_like_path(token) || looks_like_address(token));
        // `https://host/?to=x` goes on behind its sign, too.
        if piece.ends_with('=') && (!leaves || secret == Secret::Named) {
            secret = Secret::Given;
        }
        if !leaves {
            out.push_str(REDACTED);
            out.push_str(&piece[token.len()..]);
        } else {
            out.extend(piece.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
    }
    out
}

/// How far a text has come in saying `password = x` or `"password": "x"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secret {
    Unnamed,
    /// A token named one.
    Named,
    /// `=` or `:` came after it: the next token is its value.
    Given,
}

impl Secret {
    /// Takes the next token; answers whether it is the value of a secret.
    fn goes_on(&mut self, token: &str) -> bool {
        let (before, is_sign) = (*self, matches!(token, "=" | ":" | ":=" | "=>"));
        *self = match before {
            Secret::Given if token.is_empty() || is_sign => Secret::Given,
            Secret::Named if is_sign => Secret::Given,
            Secret::Named if token.is_empty() => Secret::Named,
            _ if looks_like_secret(token) && token.ends_with(':') => Secret::Given,
            _ if looks_like_secret(token) => Secret::Named,
            _ => Secret::Unnamed,
        };
        before == Secret::Given && !token.is_empty() && !is_sign
    }
}

/// Whether the last part of a text with slashes has a file's ending: `a/b.md`, and not `openai/gpt-5.3`.
fn names_a_file(text: &str) -> bool {
    let Some((_, last)) = text.rsplit_once(['/', '\\']) else { return false };
    last.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty() && (1..=5).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

/// Absolute, of a home folder, climbing, or with a scheme.
pub(crate) fn looks_like_path(text: &str) -> bool {
    let drive = text.len() > 2 && text.as_bytes()[1] == b':' && matches!(text.as_bytes()[2], b'\\' | b'/');
    drive
        || text.starts_with('/')
        || text.starts_with('~')
        || text.starts_with("\\\\")
        || text.contains("../")
        || text.contains("://")
}

/// E-mail addresses and `user:password@host`.
fn looks_like_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
}

/// Prefixes that issuers give their credentials so that scanners find them.
const SECRET_PREFIXES: [&str; 26] = [
    "sk-",
    "sk_",
    "pk_live",
    "rk_live",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "npm_",
    "pypi-",
    "hf_",
    "NRAK-",
    "dd_",
    "mst_agt_",
    "-----BEGIN",
];

/// Shortest text that the rule of mixed digits and letters calls a secret.
const RANDOM_LOOKING_BYTES_MIN: usize = 32;

/// Whether an issuer's prefix of credentials stands in a text that is long enough to be one.
pub(crate) fn has_secret_prefix(text: &str) -> bool {
    SECRET_PREFIXES.iter().any(|prefix| text.len() >= prefix.len() + 8 && begins_a_word(text, prefix))
}

fn looks_like_secret(text: &str) -> bool {
    if has_secret_prefix(text) {
        return true;
    }
    let upper = text.to_ascii_uppercase();
    if ["SECRET", "PASSWORD", "PASSWD", "APIKEY", "API_KEY", "PRIVATE_KEY"]
        .iter()
        .any(|mark| upper.contains(mark))
    {
        return true;
    }
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        run.len() >= RANDOM_LOOKING_BYTES_MIN
            && run.bytes().any(|b| b.is_ascii_digit())
            && run.bytes().any(|b| b.is_ascii_alphabetic())
    })
}

/// Whether `prefix` stands in `text` where a word begins: `task_completion` holds no `sk_`.
fn begins_a_word(text: &str, prefix: &str) -> bool {
    text.match_indices(prefix).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_models_and_states_are_kept() {
        for name in [
            "linter",
            "type-checker",
            "claude-opus-4.5",
            "gpt-5.3-codex",
            "council_approved",
            "code review",
            "feature/x-1",
            "task_completion_claim",
            "disk-usage-monitor",
        ] {
            assert_eq!(word(name), name);
        }
    }

    #[test]
    fn paths_addresses_prose_and_secrets_are_replaced() {
        for text in [
            "/home/dana/shop/api.py",
            "C:\\Users\\dana",
            "~/notes",
            "dana@example.com",
            "https://user:pw@host/x",
            "please implement the login page with a nice button",
            "sk-ant-api03-abcdefgh12345678",
            "ghp_0123456789abcdefghijABCDEFGHIJ",
            "key:sk-live-01234567",
            "line\nbreak",
            "0123456789abcdef0123456789abcdef",
            "docs/plans/launch.md",
        ] {
            assert_eq!(word(text), REDACTED, "{text:?}");
        }
    }

    #[test]
    fn names_of_projects_stay_apart_and_give_away_no_secret() {
        for text in
            ["shop (old)", "R&D's api [2]", "a name of more than four words", "canary-deploy", "feature/x"]
        {
            assert_eq!(name(text), text);
        }
        let [one, two] = ["sk-ant-api03-abcdefgh1", "sk-ant-api03-abcdefgh2"].map(name);
        assert!(one.starts_with(REDACTED) && two.starts_with(REDACTED) && one != two, "{one} {two}");
    }

    #[test]
    fn scrubbed_content_keeps_its_words_but_no_secret_and_no_path() {
        let text = scrub("failed with key=sk-live-0123456789abcdef in /home/dana/x.py, see log", 200);
        assert_eq!(text, "failed with key=redacted in redacted, see log");
    }

    #[test]
    fn the_value_of_a_named_secret_is_scrubbed_with_its_name() {
        for (text, scrubbed) in [
            ("login with password=hunter2 now", "login with redacted=redacted now"),
            ("PASSWORD: hunter2", "redacted redacted"),
            ("DB_PASSWORD = hunter2, next", "redacted = redacted, next"),
            ("see https://host/?to=dana&n=5 there", "see redacted=redacted=redacted there"),
            (r#"{"api_key": "hunter2", "n": 1}"#, r#"{"redacted": "redacted", "n": 1}"#),
            ("the password was wrong", "the redacted was wrong"),
        ] {
            assert_eq!(scrub(text, 200), scrubbed);
        }
    }
}
